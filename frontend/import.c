#include "frontend/import.h"

#include "frontend/arch/arch.h"
#include "frontend/arch/encoder.h"
#include "ir/builder.h"
#include "runtime/base/str.h"

#include <stdlib.h>
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
    const arch_info *arch = NULL;
    MLCC_TRY(arch_find_graph(config->model_type, &arch));
    MLCC_TRY_NOTE(check_options(config, options), "importing a %s model", config->model_type);
    const bool is_encoder = arch->decoder->is_encoder;
    MLCC_TRY_NOTE(
        is_encoder ? arch_encoder_build(arch->decoder, config, options, keep, out)
                   : arch_decoder_build(arch->decoder, config, options, keep, out),
        "importing a %s model", config->model_type);
    return options->samples && !is_encoder ? add_sample(*out) : NULL;
}

// NULL: an unknown type, or one without a graph.
static const arch_decoder *decoder_of(const hf_model_config *config) {
    const arch_info *arch = arch_find(config->model_type);
    return arch != NULL ? arch->decoder : NULL;
}

bool import_is_encoder(const hf_model_config *config) {
    const arch_decoder *decoder = decoder_of(config);
    return decoder != NULL && decoder->is_encoder;
}

const char *import_task(const hf_model_config *config) {
    return arch_task(config->model_type);
}

const char *const *import_model_types(size_t *n_types) {
    return arch_model_types(n_types);
}

// Of a weight of the model; NULL when the family has none.
static const char *source_of(const arch_decoder *decoder, arch_role role) {
    const arch_weight *weight = arch_decoder_find(decoder, role);
    return weight == NULL ? NULL : arch_weight_source(decoder, weight, -1, NULL);
}

const char *import_source_alternative(const hf_model_config *config, const char *source) {
    const arch_decoder *decoder = decoder_of(config);
    if (decoder == NULL) return NULL;
    const char *prefix = decoder->optional_prefix;
    if (prefix != NULL && mlcc_text_starts_with(source, prefix)) return source + strlen(prefix);
    if (!config->tie_word_embeddings) return NULL;
    const char *embedding = source_of(decoder, ARCH_EMBEDDING);
    const char *head = source_of(decoder, ARCH_HEAD);
    if (strcmp(source, embedding) == 0) return head;
    return head != NULL && strcmp(source, head) == 0 ? embedding : NULL;
}

// ---- arrangement ----------------------------------------------------------------------------------------

// What the part of a head is that the weight's form takes: plain columns of keys, then values.
static void set_part(
    const hf_model_config *config, const arch_weight *weight, int64_t layer,
    const arch_decoder *decoder, mlcc_arena *keep, hf_arrangement *row) {
    const bool is_value = weight->role == ARCH_VALUE_HEADS;
    arch_weight whole = *weight;
    whole.source = weight->part_of;
    row->as = row->name;
    row->name = arch_weight_source(decoder, &whole, layer, keep);
    row->n_groups = config->n_heads;
    row->head_dim = config->n_plain + config->value_dim;
    row->part_begin = is_value ? config->n_plain : 0;
    row->part_rows = is_value ? config->value_dim : config->n_plain;
}

// The tensor under the name that old files have for it becomes `source`.
static void add_old_name(
    const arch_decoder *decoder, const char *source, mlcc_arena *keep, hf_arrangement *rows,
    size_t *n_rows) {
    for (const char *const *pair = decoder->old_endings; pair != NULL && *pair != NULL; pair += 2) {
        if (!mlcc_text_ends_with(source, pair[0])) continue;
        const int length = (int)(strlen(source) - strlen(pair[0]));
        rows[(*n_rows)++] =
            (hf_arrangement){.optional_prefix = decoder->optional_prefix,
                             .name = mlcc_arena_printf(keep, "%.*s%s", length, source, pair[1]),
                             .as = source};
    }
}

static void add_arrangement(
    const hf_model_config *config, const arch_decoder *decoder, const arch_weight *weight,
    int64_t layer, mlcc_arena *keep, hf_arrangement *rows, size_t *n_rows) {
    const bool is_zero = weight->addend >= 0 && weight->addend <= 0;
    if (!arch_weight_exists(weight, config, layer)) return;
    if (weight->role == ARCH_EXPERTS) {
        const char *layers =
            decoder->layers_source != NULL ? decoder->layers_source : decoder->layers;
        arch_experts_arrange(
            decoder->experts, mlcc_arena_printf(keep, "%s%lld.", layers, (long long)layer), keep,
            rows, n_rows);
        return;
    }
    if (weight->name == NULL) return;
    add_old_name(decoder, arch_weight_source(decoder, weight, layer, keep), keep, rows, n_rows);
    if (weight->form == HF_AS_IT_IS && is_zero) return;
    hf_arrangement *row = &rows[(*n_rows)++];
    *row = (hf_arrangement){.optional_prefix = decoder->optional_prefix,
                            .name = arch_weight_source(decoder, weight, layer, keep),
                            .form = weight->form,
                            .addend = weight->addend,
                            .n_groups = config->n_kv_heads,
                            .queries_per_group = config->n_heads / config->n_kv_heads,
                            .head_dim = config->head_dim};
    if (weight->part_of != NULL) set_part(config, weight, layer, decoder, keep, row);
}

mlcc_status *import_arrange_source(
    const hf_model_config *config, hf_weight_source *base, mlcc_arena *keep,
    hf_weight_source **out) {
    *out = base;
    const arch_info *arch = NULL;
    MLCC_TRY(arch_find_graph(config->model_type, &arch));
    const arch_decoder *decoder = arch->decoder;
    const size_t capacity =
        (size_t)config->n_layers * (decoder->n_layer_weights + 2 * (size_t)ARCH_N_EXPERT_ROLES) +
        decoder->n_model_weights;
    // An old name beside each.
    hf_arrangement *rows = MLCC_NEW_ARRAY(keep, hf_arrangement, 2 * capacity + 1);
    size_t n_rows = 0;
    for (size_t i = 0; i < decoder->n_model_weights; i++)
        add_arrangement(config, decoder, &decoder->model[i], -1, keep, rows, &n_rows);
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        for (size_t i = 0; i < decoder->n_layer_weights; i++)
            add_arrangement(config, decoder, &decoder->layer[i], layer, keep, rows, &n_rows);
    return hf_arranged_source_open(base, rows, n_rows, keep, out);
}

// "model.layers.61.…" of a model with 61 layers.
static bool is_layer_behind(
    const hf_model_config *config, const arch_decoder *decoder, const char *source) {
    const char *layers = decoder->layers_source != NULL ? decoder->layers_source : decoder->layers;
    if (!mlcc_text_starts_with(source, layers)) return false;
    const char *number = source + strlen(layers);
    const size_t n_digits = strspn(number, "0123456789");
    return n_digits > 0 && n_digits < 10 && number[n_digits] == '.' &&
           strtoll(number, NULL, 10) >= config->n_layers;
}

bool import_source_is_unused(const hf_model_config *config, const char *source) {
    const arch_decoder *decoder = decoder_of(config);
    if (decoder == NULL) return false;
    const char *head = source_of(decoder, ARCH_HEAD);
    if (config->tie_word_embeddings && head != NULL && strcmp(source, head) == 0) return true;
    if (decoder->has_layers_behind && is_layer_behind(config, decoder, source)) return true;
    const char *const *ending = decoder->unused;
    for (; ending != NULL && *ending != NULL; ending++)
        if (mlcc_text_ends_with(source, *ending)) return true;
    return false;
}
