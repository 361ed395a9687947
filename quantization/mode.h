// mode: the rows of modes.def. A mode decides the element format of every param; the graph keeps
// saying `linear`.
#ifndef MLCC_QUANTIZATION_MODE_H
#define MLCC_QUANTIZATION_MODE_H

#include "ir/ir.h"
#include "runtime/base/arena.h"

// What pass quantize_activations puts before every linear whose weight the mode quantizes (not the
// head).
typedef enum quant_activation {
    QUANT_ACTIVATION_NONE,
    QUANT_ACTIVATION_E5M2,            // rounded to e5m2, no scale
    QUANT_ACTIVATION_E4M3_CALIBRATED, // param X.q_calibration_scale f32[1]; 0 = scale per row at run time
    QUANT_ACTIVATION_E4M3_OBSERVED,    // scale per row at run time; the maximum is recorded
    QUANT_ACTIVATION_E4M3_BLOCK,       // scale per row and 128 columns at run time
    QUANT_ACTIVATION_E4M3_BLOCK_STATIC // param X.activation_scale f32[ceil(K/128)]; 0 = as E4M3_BLOCK
} quant_activation;

typedef struct quant_mode {
    const char *name;
    const char *kind;
    ir_dtype model, linear, embedding, head, fallback;
    quant_activation activation;
    const char *meaning;
    // Not part of the table, filled by quant_mode_resolve: modules (HF names without ".weight", for
    // example "model.layers.0.self_attn.o_proj") whose linears keep the model dtype.
    const char *const *float_modules;
    size_t n_float_modules;
} quant_mode;

// What a checkpoint adds to a mode; written to mlc-chat-config.json by gen_config (key
// "quantization_options") so that convert_weight and compile agree.
typedef struct quant_options {
    int64_t group_size; // of an AWQ checkpoint; 0 = the mode's own
    const char *const *float_modules;
    size_t n_float_modules;
} quant_options;

// Unknown: UNSUPPORTED, with the nearest name and the list of accepted ones. An alias of modes.def
// gives its mode and one warning in the log.
mlcc_status *quant_mode_find(const char *name, const quant_mode **out);
// The mode as a checkpoint wants it: a copy in `keep` (or the row itself when `options` is NULL or
// changes nothing). The group size counts only in awq modes: 32, 64, 128 are kept; a multiple of 128
// is held as 128, another multiple of 64 or 32 as that, -1 (the whole row) as 128, by repeating
// scales; any other is held as 128 and its weights are quantized anew (the converter says so).
mlcc_status *quant_mode_resolve(
    const char *name, const quant_options *options, mlcc_arena *keep, const quant_mode **out);
// Whether `module` is one of float_modules. `param_source` is a tensor name: "….o_proj.weight".
bool quant_mode_keeps_float(const quant_mode *mode, const char *param_source);
const quant_mode *quant_mode_table(size_t *n_modes);

#endif
