// convert_plan: which source tensors make which stored records, checked before anything is written,
// and in which order they are written.
//
// Order (MLC's loader): source files by first appearance; inside a file its tensors in file order;
// each tensor pulls every param that needs it and has not been written; a param's pieces follow
// each other. A fused param is thus written when its first source comes up.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_PLAN_H
#define MLCC_DIST_ARTIFACT_CONVERT_PLAN_H

#include "frontend/hf/model_config.h"
#include "frontend/hf/weight_source.h"
#include "quantization/format.h"

typedef struct convert_param {
    const ir_param *param;
    const quant_format *format;
    const hf_tensor **sources; // [param->n_sources], joined along axis 0
    int64_t n_rows, columns;   // as quant_rows_of has them
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
// lists all missing tensors; shapes and element types are compared one by one. Tensors that nobody
// reads give one warning in the log.
mlcc_status *convert_check_sources(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source);
// The plan for a module after fusion and quantization. Call convert_check_sources before.
mlcc_status *convert_plan_make(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source,
    mlcc_arena *keep, convert_plan *out);

#endif
