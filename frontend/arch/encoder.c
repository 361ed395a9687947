#include "frontend/arch/encoder.h"

#include <math.h>

typedef struct builder {
    const hf_model_config *config;
    ir_dtype dtype; // of activations
    ir_build build;
    arch_weight_set model, *layers;
    ir_value *ids, *positions, *token_types, *segments; // args
} builder;

static void add_args(builder *b, const import_options *options, ir_module *module) {
    ir_function *function = ir_module_add_function(module, "embed", false);
    const int64_t max_tokens =
        options->max_tokens > 0 ? options->max_tokens : b->config->prefill_chunk_size;
    const ir_dim n_tokens = ir_dim_symbol(ir_module_symbol(module, "n_tokens", max_tokens));
    const ir_type per_token = ir_type_vector(IR_I32, n_tokens);
    b->ids = ir_function_add_arg(function, "ids", per_token);
    b->positions = ir_function_add_arg(function, "positions", per_token);
    b->token_types = ir_function_add_arg(function, "token_types", per_token);
    b->segments = ir_function_add_arg(
        function, "segments", ir_type_matrix(IR_I32, n_tokens, ir_dim_const(2)));
    b->build = ir_build_start(function);
}

static ir_value *norm(builder *b, ir_value *x, const arch_weight_set *set, arch_role role) {
    return ir_layer_norm(
        &b->build, x, set->by_role[role], set->by_role[role + 1], b->config->norm_eps);
}

static ir_value *project(builder *b, ir_value *x, const arch_weight_set *set, arch_role role) {
    return ir_linear(&b->build, x, set->by_role[role], set->by_role[role + 1], b->dtype);
}

static ir_value *add(builder *b, ir_value *x, ir_value *y) {
    return ir_binary(&b->build, IR_OP_ADD, x, y);
}

static ir_value *embed(builder *b, ir_value *ids, arch_role role) {
    return ir_embedding(&b->build, ids, b->model.by_role[role], b->dtype);
}

static ir_value *build_embedding(builder *b) {
    ir_value *x =
        add(b, embed(b, b->ids, ARCH_EMBEDDING), embed(b, b->positions, ARCH_POSITION_EMBEDDING));
    x = add(b, x, embed(b, b->token_types, ARCH_TOKEN_TYPE_EMBEDDING));
    return norm(b, x, &b->model, ARCH_EMBEDDING_NORM);
}

static ir_value *build_layer(builder *b, ir_value *x, const arch_weight_set *set) {
    const int64_t head_dim = b->config->head_dim;
    ir_value *q = project(b, x, set, ARCH_Q);
    ir_value *k = project(b, x, set, ARCH_K);
    ir_value *v = project(b, x, set, ARCH_V);
    ir_value *seen =
        ir_segment_attention(&b->build, q, k, v, b->segments, head_dim, 1 / sqrt((double)head_dim));
    x = norm(b, add(b, x, project(b, seen, set, ARCH_O)), set, ARCH_ATTENTION_OUTPUT_NORM);
    ir_value *up = arch_activate(b->config, &b->build, project(b, x, set, ARCH_UP));
    return norm(b, add(b, x, project(b, up, set, ARCH_DOWN)), set, ARCH_MLP_OUTPUT_NORM);
}

static mlcc_status *build_nodes(builder *b) {
    ir_value *x = build_embedding(b);
    for (int64_t layer = 0; layer < b->config->n_layers && b->build.status == NULL; layer++)
        x = build_layer(b, x, &b->layers[layer]);
    if (b->dtype != IR_F32) x = ir_cast(&b->build, x, IR_F32);
    MLCC_TRY(b->build.status);
    ir_function_set_returns(b->build.function, &x, 1);
    return NULL;
}

mlcc_status *arch_encoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out) {
    *out = NULL;
    if (config->context_window_size > config->max_position)
        return MLCC_ERROR(
            INVALID,
            "context_window_size is %lld, but the model has positions for %lld tokens "
            "(max_position_embeddings); lower it",
            (long long)config->context_window_size, (long long)config->max_position);
    ir_module *module = ir_module_create(keep, config->model_type);
    builder b = {.config = config, .dtype = options->activation_dtype};
    MLCC_TRY(arch_decoder_add_params(decoder, config, module, keep, &b.model, &b.layers));
    add_args(&b, options, module);
    MLCC_TRY(build_nodes(&b));
    *out = module;
    return NULL;
}
