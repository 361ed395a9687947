// convert_model: a model's weights before they are converted: config, mode, the params that the
// passes make of them, and the source that holds them. For whoever reads weights: convert_weight,
// diff.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_MODEL_H
#define MLCC_DIST_ARTIFACT_CONVERT_MODEL_H

#include "dist/artifact/convert_plan.h"
#include "quantization/mode.h"

typedef struct convert_model_options {
    const char *config;        // Hugging Face directory, config.json, or preset name
    const char *quantization;  // a mode of quantization/modes.def
    const quant_mode *mode;    // instead of `quantization`: a resolved one; NULL = none
    const char *model_type;    // NULL or "auto": the config's
    const char *source;        // directory, weight file or index; NULL or "auto": beside the config
    const char *source_format; // a name of hf_weight_formats; NULL or "auto"
    hf_weight_source *weights; // instead of `source`: an open source, which stays open; NULL = none
    bool random_weights;       // instead of `source`: made-up weights (random_weights.h)
} convert_model_options;

typedef struct convert_model {
    hf_model_config *config;
    const quant_mode *mode;
    ir_module *module; // after fusion and quantization
    hf_weight_source *source;
    const char *source_path; // file or directory of the source; NULL: there is none
    convert_plan plan;
    bool owns_source;
} convert_model;

// Reads everything and checks it: config, mode, source (missing tensors all at once, shapes, element
// types; quantized tensors are looked at closely), and warns of tensors that nobody reads. *out is to
// be closed even after an error.
mlcc_status *convert_model_open(
    const convert_model_options *options, mlcc_arena *keep, convert_model *out);
void convert_model_close(convert_model *model);

// The params of a config under a mode, without a source.
mlcc_status *convert_module_make(
    const hf_model_config *config, const quant_mode *mode, mlcc_arena *keep, ir_module **out);
// What the weights depend on, as a JSON object of texts on one line: version, config, mode, source
// (names, sizes and modification times of its files; names and shapes of its tensors).
void convert_model_inputs(const convert_model *model, bool f32_as_bf16, mlcc_str *out);

#endif
