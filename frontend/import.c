#include "frontend/import.h"

#include "frontend/arch/arch.h"
#include "ir/builder.h"
#include "runtime/base/str.h"

#include <string.h>

static mlcc_status *check_options(const hf_model_config *config, const import_options *options) {
    const struct {
        const char *name;
        ir_dtype dtype;
    } rows[] = {{"activation dtype", options->activation_dtype}, {"kv dtype", options->kv_dtype}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].dtype >= IR_N_DTYPES || ir_dtype_get(rows[i].dtype)->kind != IR_KIND_FLOAT)
            return MLCC_ERROR(
                INVALID, "%s %s is not a floating-point format; accepted: f32, f16, bf16",
                rows[i].name,
                rows[i].dtype < IR_N_DTYPES ? ir_dtype_get(rows[i].dtype)->text : "(none)");
    if (options->max_tokens < 0 || options->max_tokens > INT32_MAX || options->max_sequences < 0 ||
        options->max_sequences > INT32_MAX)
        return MLCC_ERROR(
            INVALID,
            "bounds of %lld tokens and %lld sequences; accepted: 1 to %d each, 0 for the config's",
            (long long)options->max_tokens, (long long)options->max_sequences, INT32_MAX);
    if (config->tensor_parallel_shards != 1 || config->pipeline_parallel_stages != 1)
        return MLCC_ERROR(
            UNSUPPORTED,
            "tensor_parallel_shards %lld and pipeline_parallel_stages %lld; accepted: 1 and 1 "
            "(override them)",
            (long long)config->tensor_parallel_shards, (long long)config->pipeline_parallel_stages);
    return NULL;
}

// Reads what @forward returns, where the runtime keeps it.
static mlcc_status *add_sample(ir_module *module) {
    const ir_type logits_type = ir_module_find(module, "forward")->returns[0]->type;
    const ir_dim rows = logits_type.dims[0];
    if (logits_type.dims[1].value > IMPORT_MAX_SAMPLED_VOCAB) return NULL;
    const ir_dim n_history =
        ir_dim_symbol(ir_module_symbol(module, "n_history", IMPORT_MAX_HISTORY));
    ir_function *function = ir_module_add_function(module, "sample", false);
    const ir_type settings_type = ir_type_matrix(IR_F32, rows, ir_dim_const(5));
    const ir_type pair_type = ir_type_matrix(IR_I32, rows, ir_dim_const(2));
    ir_value *logits = ir_function_add_arg(function, "logits", logits_type);
    ir_value *settings = ir_function_add_arg(function, "settings", settings_type);
    ir_value *random = ir_function_add_arg(function, "random", pair_type);
    ir_value *const history[] = {
        ir_function_add_arg(function, "ranges", pair_type),
        ir_function_add_arg(function, "tokens", ir_type_vector(IR_I32, n_history)),
        ir_function_add_arg(function, "subtracted", ir_type_vector(IR_F32, n_history))};
    ir_build b = ir_build_start(function);
    ir_value *token = ir_sample(&b, logits, settings, random, history);
    MLCC_TRY(b.status);
    ir_function_set_returns(function, &token, 1);
    return NULL;
}

mlcc_status *import_model(
    const hf_model_config *config, const import_options *options, mlcc_arena *keep,
    ir_module **out) {
    *out = NULL;
    const arch_info *arch = arch_find(config->model_type);
    if (arch == NULL) return arch_unknown(config->model_type);
    MLCC_TRY_NOTE(check_options(config, options), "importing a %s model", config->model_type);
    MLCC_TRY_NOTE(
        arch_decoder_build(arch->decoder, config, options, keep, out), "importing a %s model",
        config->model_type);
    return options->samples ? add_sample(*out) : NULL;
}

const char *const *import_model_types(size_t *n_types) {
    return arch_model_types(n_types);
}

const char *import_source_alternative(const hf_model_config *config, const char *source) {
    const arch_info *arch = arch_find(config->model_type);
    if (arch == NULL || !config->tie_word_embeddings) return NULL;
    if (strcmp(source, arch->decoder->embedding) == 0) return arch->decoder->head;
    if (strcmp(source, arch->decoder->head) == 0) return arch->decoder->embedding;
    return NULL;
}

bool import_source_is_unused(const hf_model_config *config, const char *source) {
    const arch_info *arch = arch_find(config->model_type);
    if (arch == NULL) return false;
    const arch_decoder *decoder = arch->decoder;
    if (config->tie_word_embeddings && strcmp(source, decoder->head) == 0) return true;
    for (const char *const *ending = decoder->unused; *ending != NULL; ending++)
        if (mlcc_text_ends_with(source, *ending)) return true;
    return false;
}
