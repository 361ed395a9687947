// quantization_config: what a checkpoint says about its own quantization, whichever tool wrote it.
//
// Looked for in this order: config.json's "quantization_config", config.json's "compression_config" (LLMC), quantize_config.json (GPTQ),
// quant_config.json (AutoAWQ before 0.2). What it says is a hint: names, dtypes and shapes of the tensors decide (foreign_source.h).
#ifndef MLCC_FRONTEND_HF_QUANTIZATION_CONFIG_H
#define MLCC_FRONTEND_HF_QUANTIZATION_CONFIG_H

#include "quantization/foreign/foreign.h"
#include "runtime/base/json.h"

typedef struct hf_quantization_config {
    const char
        *method; // "awq", "gptq", "compressed-tensors", "fp8"; NULL: the checkpoint says nothing
    const char *
        format; // "gemm", "gemv", "gemv_fast", "marlin", "gptq", "gptq_v2", "pack-quantized", …; lower case; NULL = unknown
    const char *file; // where it stood, for messages
    quant_foreign_hints hints;
    // Modules that stay in float, as the file lists them. AWQ: substrings; compressed-tensors: names, or patterns behind "re:"; fp8: names.
    const char **ignored;
    size_t n_ignored;
    bool is_substring_list;
    int64_t block_rows, block_columns; // fp8 blocks; 0 = none
    bool has_static_activations;       // stored activation scales
} hf_quantization_config;

// `directory` holds config.json and its neighbours; `config` is the parsed config.json (may be NULL). Values out of range are INVALID errors that
// name file, key, value and what is accepted; unknown methods are UNSUPPORTED and list the known ones; unknown keys are harmless.
mlcc_status *hf_quantization_config_read(
    const char *directory, const mlcc_json_value *config, mlcc_arena *keep,
    hf_quantization_config *out);
// Whether `module` ("model.layers.0.self_attn.q_proj") is among `ignored`.
mlcc_status *hf_quantization_config_ignores(
    const hf_quantization_config *config, const char *module, bool *out);

#endif
