#include "frontend/arch/decoder.h"

#include "frontend/arch/rope_frequencies.h"
#include "ir/builder.h"

#include <math.h>

typedef struct layer_params {
    ir_value *by_role[ARCH_N_ROLES]; // NULL: the family has none
    arch_experts_params experts;
} layer_params;

// Everything that lives while one module is built.
typedef struct builder {
    const arch_decoder *decoder;
    const hf_model_config *config;
    const import_options *options;
    mlcc_arena *keep;
    ir_module *module;
    ir_function *function;
    ir_build build;

    ir_value *embedding, *final_norm, *head; // params; head is the embedding in a tied model
    layer_params *layers;
    ir_value *ids, *positions, *seq_ids, *page_table, *logit_rows; // args
    ir_value **caches;
    ir_value *rope_table;
} builder;

// ---- params ------------------------------------------------------------------------------------------

static int64_t extent_of(const hf_model_config *config, arch_extent extent) {
    switch (extent) {
    case ARCH_ABSENT: return 0;
    case ARCH_D_MODEL: return config->d_model;
    case ARCH_D_FF: return config->d_ff;
    case ARCH_Q_WIDTH: return config->n_heads * config->head_dim;
    case ARCH_KV_WIDTH: return config->n_kv_heads * config->head_dim;
    }
    return 0;
}

// columns 0 = a vector. MLC's name and Hugging Face's are the same here.
static mlcc_status *add_param(
    builder *b, const char *name, const char *fused_name, int64_t rows, int64_t columns,
    ir_value **out) {
    ir_type type = columns == 0 ? ir_type_vector(IR_F32, ir_dim_const(rows))
                                : ir_type_matrix(IR_F32, ir_dim_const(rows), ir_dim_const(columns));
    ir_param *param = ir_module_add_param(b->module, name, type, &name, 1);
    if (param == NULL) return MLCC_ERROR(INTERNAL, "two params are called '%s'", name);
    param->fused_name = fused_name;
    *out = &param->value;
    return NULL;
}

static mlcc_status *add_layer_params(builder *b, int64_t layer) {
    for (size_t i = 0; i < b->decoder->n_layer_weights; i++) {
        const arch_weight *weight = &b->decoder->layer[i];
        const char *prefix =
            mlcc_arena_printf(b->keep, "%s%lld.", b->decoder->layers, (long long)layer);
        if (weight->role == ARCH_EXPERTS) {
            MLCC_TRY(arch_experts_add(
                b->decoder->experts, b->config, prefix, b->module, &b->layers[layer].experts));
            continue;
        }
        const char *name = mlcc_arena_printf(b->keep, "%s%s", prefix, weight->name);
        const char *fused_name =
            weight->fused_name != NULL
                ? mlcc_arena_printf(b->keep, "%s%s", prefix, weight->fused_name)
                : NULL;
        MLCC_TRY(add_param(
            b, name, fused_name, extent_of(b->config, weight->rows),
            extent_of(b->config, weight->columns), &b->layers[layer].by_role[weight->role]));
    }
    return NULL;
}

static mlcc_status *add_params(builder *b) {
    const hf_model_config *config = b->config;
    b->layers = MLCC_NEW_ARRAY(b->keep, layer_params, (size_t)config->n_layers);
    MLCC_TRY(
        add_param(b, b->decoder->embedding, NULL, config->vocab, config->d_model, &b->embedding));
    for (int64_t layer = 0; layer < config->n_layers; layer++) MLCC_TRY(add_layer_params(b, layer));
    MLCC_TRY(add_param(b, b->decoder->final_norm, NULL, config->d_model, 0, &b->final_norm));
    b->head = b->embedding;
    if (!config->tie_word_embeddings)
        MLCC_TRY(add_param(b, b->decoder->head, NULL, config->vocab, config->d_model, &b->head));
    return NULL;
}

// ---- args ----------------------------------------------------------------------------------------------

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void add_args(builder *b) {
    const hf_model_config *config = b->config;
    int64_t max_tokens =
        b->options->max_tokens > 0 ? b->options->max_tokens : config->prefill_chunk_size;
    int64_t max_sequences =
        b->options->max_sequences > 0 ? b->options->max_sequences : config->max_batch_size;
    int64_t max_context = config->context_window_size > 0 ? config->context_window_size : INT32_MAX;
    int64_t max_slots = (max_context + ARCH_PAGE_TOKENS - 1) / ARCH_PAGE_TOKENS;
    // Caches are caller memory, so this bound plans nothing; it only has to be a number that a page id can hold.
    int64_t max_pages =
        max_slots > INT32_MAX / max_sequences ? INT32_MAX : max_slots * max_sequences;

    ir_dim n_tokens = ir_dim_symbol(ir_module_symbol(b->module, "n_tokens", max_tokens));
    ir_dim n_seqs = ir_dim_symbol(ir_module_symbol(b->module, "n_seqs", max_sequences));
    ir_dim n_logits = ir_dim_symbol(ir_module_symbol(b->module, "n_logits", max_sequences));
    ir_dim n_slots = ir_dim_symbol(ir_module_symbol(b->module, "n_page_slots", max_slots));
    ir_dim n_pages =
        ir_dim_symbol(ir_module_symbol(b->module, "n_pages", min_i64(max_pages, INT32_MAX)));

    ir_type per_token = ir_type_vector(IR_I32, n_tokens);
    b->ids = ir_function_add_arg(b->function, "ids", per_token);
    b->positions = ir_function_add_arg(b->function, "positions", per_token);
    b->seq_ids = ir_function_add_arg(b->function, "seq_ids", per_token);
    b->page_table =
        ir_function_add_arg(b->function, "page_table", ir_type_matrix(IR_I32, n_seqs, n_slots));
    b->logit_rows =
        ir_function_add_arg(b->function, "logit_rows", ir_type_vector(IR_I32, n_logits));

    ir_type cache = {
        .dtype = b->options->kv_dtype,
        .rank = 5,
        .dims = {
            n_pages, ir_dim_const(2), ir_dim_const(config->n_kv_heads),
            ir_dim_const(ARCH_PAGE_TOKENS), ir_dim_const(config->head_dim)}};
    b->caches = MLCC_NEW_ARRAY(b->keep, ir_value *, (size_t)config->n_layers);
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        b->caches[layer] = ir_function_add_arg(
            b->function, mlcc_arena_printf(b->keep, "kv.%lld", (long long)layer), cache);
}

// ---- nodes ---------------------------------------------------------------------------------------------

static ir_value *project(
    builder *b, ir_value *x, const layer_params *layer, arch_role weight, arch_role bias) {
    return ir_linear(
        &b->build, x, layer->by_role[weight], layer->by_role[bias], b->options->activation_dtype);
}

// The residual branch of attention; caches[layer] becomes the cache with the new tokens in it.
static ir_value *build_attention(
    builder *b, ir_value *x, const layer_params *layer, ir_value **cache) {
    ir_build *build = &b->build;
    int64_t head_dim = b->config->head_dim;
    int64_t window = b->config->sliding_window_size > 0 ? b->config->sliding_window_size : 0;
    ir_value *h = ir_rms_norm(build, x, layer->by_role[ARCH_INPUT_NORM], b->config->norm_eps);
    ir_value *q = project(b, h, layer, ARCH_Q, ARCH_Q_BIAS);
    ir_value *k = project(b, h, layer, ARCH_K, ARCH_K_BIAS);
    ir_value *v = project(b, h, layer, ARCH_V, ARCH_V_BIAS);
    q = ir_rope(build, q, b->rope_table, head_dim, false);
    k = ir_rope(build, k, b->rope_table, head_dim, false);
    *cache = ir_kv_append(build, *cache, k, v, b->page_table, b->seq_ids, b->positions);
    ir_value *attention = ir_paged_attention(
        build, q, *cache, b->page_table, b->seq_ids, b->positions, head_dim,
        1 / sqrt((double)head_dim), window, 0);
    return project(b, attention, layer, ARCH_O, ARCH_O_BIAS);
}

static ir_value *build_mlp(builder *b, ir_value *x, const layer_params *layer) {
    ir_build *build = &b->build;
    ir_dtype dtype = b->options->activation_dtype;
    ir_value *h =
        ir_rms_norm(build, x, layer->by_role[ARCH_POST_ATTENTION_NORM], b->config->norm_eps);
    if (b->decoder->experts != NULL) {
        return arch_experts_build(
            b->decoder->experts, b->config, &layer->experts, b->decoder->activation, dtype, h,
            build);
    }
    ir_value *gate = ir_linear(build, h, layer->by_role[ARCH_GATE], NULL, dtype);
    ir_value *up = ir_linear(build, h, layer->by_role[ARCH_UP], NULL, dtype);
    ir_value *product =
        ir_binary(build, IR_OP_MUL, ir_unary(build, b->decoder->activation, gate), up);
    return ir_linear(build, product, layer->by_role[ARCH_DOWN], NULL, dtype);
}

static mlcc_status *build_nodes(builder *b) {
    const hf_model_config *config = b->config;
    b->build = ir_build_start(b->function);
    ir_build *build = &b->build;

    float *frequencies = MLCC_NEW_ARRAY(b->keep, float, (size_t)(config->head_dim / 2));
    arch_rope_frequencies(config, frequencies);
    ir_type pairs = ir_type_vector(IR_F32, ir_dim_const(config->head_dim / 2));
    ir_const *inv_freq = ir_module_add_const(b->module, "inv_freq", pairs, frequencies);
    b->rope_table = ir_rope_table(build, b->positions, &inv_freq->value, 1.0);

    ir_value *x = ir_embedding(build, b->ids, b->embedding, b->options->activation_dtype);
    for (int64_t layer = 0; layer < config->n_layers && build->status == NULL; layer++) {
        const layer_params *params = &b->layers[layer];
        x = ir_binary(build, IR_OP_ADD, x, build_attention(b, x, params, &b->caches[layer]));
        x = ir_binary(build, IR_OP_ADD, x, build_mlp(b, x, params));
    }
    x = ir_take_rows(build, x, b->logit_rows);
    x = ir_rms_norm(build, x, b->final_norm, config->norm_eps);
    ir_value *logits = ir_linear(build, x, b->head, NULL, IR_F32);
    MLCC_TRY(build->status);

    ir_value **returns = MLCC_NEW_ARRAY(b->keep, ir_value *, (size_t)config->n_layers + 1);
    returns[0] = logits;
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        returns[layer + 1] = b->caches[layer];
    ir_function_set_returns(b->function, returns, (int32_t)config->n_layers + 1);
    return NULL;
}

mlcc_status *arch_decoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out) {
    *out = NULL;
    builder b = {.decoder = decoder, .config = config, .options = options, .keep = keep};
    b.module = ir_module_create(keep, config->model_type);
    b.function = ir_module_add_function(b.module, "forward", false);
    MLCC_TRY(add_params(&b));
    add_args(&b);
    MLCC_TRY(build_nodes(&b));
    *out = b.module;
    return NULL;
}
