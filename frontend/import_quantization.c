// Which linears of a model a quantized checkpoint leaves in float, and its group size: from the architecture's names and the checkpoint's config.
#include "frontend/arch/arch.h"
#include "frontend/hf/quantization_config.h"
#include "frontend/import.h"
#include "runtime/base/str.h"

#include <string.h>

static mlcc_status *find_float_modules(
    const hf_model_config *model, const arch_decoder *decoder, const hf_quantization_config *config,
    mlcc_arena *keep, quant_options *out) {
    const char **modules = NULL;
    size_t n_modules = 0, capacity = 0;
    for (int64_t layer = 0; layer < model->n_layers; layer++) {
        for (size_t i = 0; i < decoder->n_layer_weights; i++) {
            const arch_weight *weight = &decoder->layer[i];
            if (weight->columns == ARCH_ABSENT || !arch_weight_exists(weight, model, layer) ||
                !mlcc_text_ends_with(weight->name, ".weight"))
                continue;
            const char *source = arch_weight_source(decoder, weight, layer, keep);
            const char *module =
                mlcc_arena_printf(keep, "%.*s", (int)(strlen(source) - strlen(".weight")), source);
            bool is_float = false;
            MLCC_TRY(hf_quantization_config_ignores(config, module, &is_float));
            if (!is_float) continue;
            MLCC_ARENA_GROW(keep, modules, n_modules, capacity);
            modules[n_modules++] = module;
        }
    }
    out->float_modules = modules;
    out->n_float_modules = n_modules;
    return NULL;
}

mlcc_status *import_quant_options(
    const hf_model_config *config, mlcc_arena *keep, quant_options *out) {
    *out = config->quantization;
    if (config->document == NULL) return NULL;
    const arch_info *arch = arch_find(config->model_type);
    if (arch == NULL) return arch_unknown(config->model_type);
    hf_quantization_config quantization;
    MLCC_TRY(hf_quantization_config_read(
        config->directory, mlcc_json_root(config->document), keep, &quantization));
    *out = (quant_options){0};
    if (quantization.method == NULL) return NULL;
    // 2- and 3-bit codes fit a 4-bit format as they are.
    const int32_t bits = quantization.hints.bits;
    if (bits >= 2 && bits <= 4) out->group_size = quantization.hints.group_size;
    if (quantization.n_ignored == 0 || !arch_has_graph(arch)) return NULL;
    return find_float_modules(config, arch->decoder, &quantization, keep, out);
}
