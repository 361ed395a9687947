// import_preset: a model in a quantization mode, as a GRAPH module with the limits that budgets are told for: 16 sequences, chunks of 2048 tokens.
// A static function in a header, because the support library does not link the frontend.
#ifndef MLCC_TESTS_SUPPORT_IMPORT_PRESET_H
#define MLCC_TESTS_SUPPORT_IMPORT_PRESET_H

#include "frontend/import.h"
#include "quantization/mode.h"

// `model`: a preset's name, or a path as for hf_model_config_read. `mode` is what the passes need to know besides.
static inline mlcc_status *import_preset(
    const char *model, const char *mode_name, mlcc_arena *keep, const quant_mode **mode,
    ir_module **out) {
    hf_model_config *config = NULL;
    const hf_config_overrides overrides = {.max_batch_size = 16, .prefill_chunk_size = 2048};
    MLCC_TRY(quant_mode_resolve(mode_name, NULL, keep, mode));
    MLCC_TRY(hf_model_config_read(model, NULL, &overrides, keep, &config));
    const import_options options = {
        .activation_dtype = (*mode)->model,
        .kv_dtype = (*mode)->model == IR_F32 ? IR_F32 : IR_F16,
        .max_tokens = 2048,
        .max_sequences = 16,
        .samples = true};
    mlcc_status *status = import_model(config, &options, keep, out);
    hf_model_config_free(config);
    return status;
}

#endif
