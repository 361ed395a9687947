// falcon: Falcon 7B (one norm, one head of k and v), 40B/180B (two norms, groups), 11B (one norm, groups) and RW (ALiBi, one after the other). Elsewhere
// attention and MLP stand side by side; q, k and v lie together, group by group.
// Source: Almazrouei et al. 2023 (arXiv 2311.16867); FalconModel of Hugging Face transformers for names and arithmetic. MLC LLM has no such type; the
// fields are Hugging Face's.
#include "frontend/arch/fields.h"

#include <math.h>

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    INTEGER_FIELD("num_hidden_layers", n_layers, ARCH_REQUIRED, 1024, "n_layer"),
    INTEGER_FIELD("num_attention_heads", n_heads, ARCH_REQUIRED, 1 << 16, "n_head"),
    INTEGER_FIELD("num_kv_heads", n_kv_heads, ARCH_OPTIONAL, 1 << 16, "n_head_kv"),
    FIELD("ffn_hidden_size", ARCH_FIELD_WINDOW, d_ff, ARCH_OPTIONAL, 1 << 28, -1, 0, NONE),
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    BOOL_FIELD("bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    BOOL_FIELD("multi_query", multi_query, ARCH_OPTIONAL, 1, NONE),
    BOOL_FIELD("new_decoder_architecture", new_decoder, ARCH_OPTIONAL, 0, NONE),
    FIELD("num_ln_in_parallel_attn", ARCH_FIELD_INTEGER, n_parallel_norms, ARCH_EXTRA, 2, 0, 0, NONE),
    BOOL_FIELD("alibi", has_alibi, ARCH_EXTRA, 0, NONE),
    BOOL_FIELD("parallel_attn", parallel_residual, ARCH_EXTRA, 1, NONE),
    ROPE_THETA,
    ROPE_SCALING(ARCH_OPTIONAL),
    FIELD("context_window_size", ARCH_FIELD_INTEGER, context_window_size, ARCH_OPTIONAL, INT32_MAX, 2048, 0, "max_position_embeddings"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ACTIVATION_FIELD("activation", ARCH_EXTRA, GELU, NONE),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 1),
};
// clang-format on

static const char *const ignored_keys[] = {"apply_residual_connection_post_layernorm", NULL};

static mlcc_status *finish(hf_model_config *config) {
    if (config->multi_query && !config->new_decoder) config->n_kv_heads = 1;
    config->has_two_norms = config->new_decoder && config->n_parallel_norms != 1;
    config->has_one_norm = !config->has_two_norms;
    config->parallel_residual |= config->new_decoder;
    config->has_mlp_norm = !config->parallel_residual;
    // Slopes are added before the scores are scaled.
    config->alibi_factor = 1 / sqrt((double)config->head_dim);
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "input_layernorm", .when = WHEN(has_one_norm)),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", .when = WHEN(has_one_norm)),
    NORM(ARCH_INPUT_NORM, "ln_attn", .when = WHEN(has_two_norms)),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "ln_attn", .when = WHEN(has_two_norms)),
    NORM(ARCH_MLP_NORM, "ln_mlp", .when = WHEN(has_two_norms)),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "ln_mlp", .when = WHEN(has_two_norms)),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", .when = WHEN(has_mlp_norm)),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", .when = WHEN(has_mlp_norm)),
    WEIGHT(ARCH_QKV, "self_attention.query_key_value.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .form = HF_GROUPED_QKV),
    VECTOR(ARCH_QKV_BIAS, "self_attention.query_key_value.bias", NULL, ARCH_QKV_WIDTH, .form = HF_GROUPED_QKV, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_O, "self_attention.dense.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "self_attention.dense.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_UP, "mlp.dense_h_to_4h.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.dense_h_to_4h.bias", NULL, ARCH_D_FF, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_DOWN, "mlp.dense_4h_to_h.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.dense_4h_to_h.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.word_embeddings.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "transformer.ln_f", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "transformer.ln_f", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
};

const arch_info arch_falcon = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
