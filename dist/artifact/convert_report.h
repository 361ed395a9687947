// convert_report: what became of the weights that came quantized, by families: the same weight of all
// layers ("model.layers.*.mlp.down_proj") that fared alike.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_REPORT_H
#define MLCC_DIST_ARTIFACT_CONVERT_REPORT_H

#include "dist/artifact/convert_stream.h"

enum { CONVERT_MAX_FAMILIES = 16 };

typedef struct convert_family {
    char name[96]; // digits replaced by '*'
    const char *reason;
    uint64_t n_tensors;
    double error_squares, value_squares;
} convert_family;

typedef struct convert_report {
    uint64_t n_unchanged, n_requantized, n_dequantized; // source tensors
    convert_family families[CONVERT_MAX_FAMILIES];      // of requantized ones, the first found
    size_t n_families;
    uint64_t n_optional, n_optional_missing; // activation scales: all, not in the checkpoint
} convert_report;

void convert_report_add(
    convert_report *report, const convert_param *param, const convert_outcome *outcome);
// Root of the squared error over the squared values.
double convert_family_error(const convert_family *family);
// Warnings in the log: weights that were quantized anew and why, activation scales that are missing.
void convert_report_log(const convert_report *report);

#endif
