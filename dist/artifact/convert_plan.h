// convert_plan: which source tensors make which stored records, checked before anything is written,
// and in which order they are written.
//
// Order (MLC's loader): source files by first appearance; inside a file its tensors in file order;
// each tensor pulls every param that needs it and has not been written; a param's pieces follow
// each other. A fused param is thus written when its first source comes up. A param without sources
// follows the one that it stands behind in the module.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_PLAN_H
#define MLCC_DIST_ARTIFACT_CONVERT_PLAN_H

#include "frontend/hf/model_config.h"
#include "frontend/hf/weight_source.h"
#include "quantization/format.h"

// A source tensor and the rows of the param that it makes; for a param with a fallback it makes all
// of them.
typedef struct convert_source {
    const hf_tensor *tensor;
    int64_t first_row, n_rows;
} convert_source;

typedef struct convert_param {
    const ir_param *param;
    const quant_format *format;
    convert_source *sources; // joined along axis 0; a param with a fallback: the ones that exist
    size_t n_sources;
    int64_t n_rows, columns; // as quant_rows_of has them
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces;
    uint64_t source_bytes;
} convert_param;

typedef struct convert_plan {
    convert_param *params; // in order of writing
    size_t n_params;
    uint64_t source_bytes; // of all params: what progress counts
    // MLC's total_params: every tensor counts each time that its file is loaded.
    uint64_t n_source_elements;
} convert_plan;

// Checks that `source` has what the params of a module at GRAPH level before fusion need: one error
// lists all missing tensors; shapes and element types are compared one by one. Adds the names of
// the tensors that are read to `used`.
mlcc_status *convert_check_sources(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source,
    mlcc_map *used);
// The plan for a module after fusion and quantization. Call convert_check_sources before, with the
// same `used`.
mlcc_status *convert_plan_make(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source,
    mlcc_map *used, mlcc_arena *keep, convert_plan *out);
// One warning in the log that lists the tensors that nobody reads.
void convert_warn_unused(
    const hf_model_config *config, const hf_weight_source *source, const mlcc_map *used);

#endif
