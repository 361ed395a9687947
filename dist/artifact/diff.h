// diff: two sets of weights of one model compared, param by param (the function behind `mlcc diff`).
//
// Params are matched by MLC's names, after fusion; values are compared as float32, dequantized. Both
// sides are read in blocks of rows by all threads, so memory stays bounded by a few blocks and, for a
// store, the scales of one param.
#ifndef MLCC_DIST_ARTIFACT_DIFF_H
#define MLCC_DIST_ARTIFACT_DIFF_H

#include "dist/artifact/convert_weight.h"
#include "dist/artifact/diff_side.h"

typedef struct artifact_diff_options {
    const char *a, *b;         // model directories or Hugging Face folders
    const char *source_format; // of folders; a name of hf_weight_formats; NULL or "auto"
    int32_t n_threads;         // 0 = physical cores
    artifact_progress *progress;
    void *progress_user;
} artifact_diff_options;

typedef struct diff_row {
    const char *name, *format_a, *format_b;
    int64_t n_rows, columns;
    double max_abs;           // over the elements that are finite on both sides
    double mean_square_error; // likewise
    double relative_error; // root of the squared differences over the squares of B (A where B is 0)
    double cosine;         // 1 where both are zero, 0 where one is
    uint64_t
        n_not_finite; // elements that are infinite or NaN on one side, or on both but not alike
    int32_t n_codes_a, n_codes_b; // 0: not quantized
    uint64_t *codes_a,
        *codes_b; // [DIFF_MAX_CODES] how often each code occurs; NULL when not quantized
} diff_row;

typedef struct artifact_diff_result {
    diff_row *rows; // worst first: not finite, then by relative error, then by name
    size_t n_rows;
    const char **only_a, **only_b; // params that the other side lacks
    size_t n_only_a, n_only_b;
    bool lacks_weights;  // among them are weights, not only activation scales
    const char **shapes; // params whose shapes differ: "name [2, 3] [2, 4]"
    size_t n_shapes;
    uint64_t n_elements;
    double max_abs, mean_square_error, relative_error, cosine; // over everything
    uint64_t n_not_finite;
    double seconds;
} artifact_diff_result;

// The result lives in `keep`.
mlcc_status *artifact_diff(
    const artifact_diff_options *options, mlcc_arena *keep, artifact_diff_result *result);
// Whether no element differs by more than `tolerance`, none is special on one side only, and both
// have the same weights with the same shapes.
bool artifact_diff_is_within(const artifact_diff_result *result, double tolerance);

#endif
