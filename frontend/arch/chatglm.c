// chatglm: ChatGLM 2 and 3, GLM-4 in their own names. A Llama with biases on q, k and v, whose file holds them, and gate and up, joined; pairs of
// neighbouring columns of half of every head turn.
// Source: Zeng et al. 2022 (arXiv 2210.02414); its modeling_chatglm.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTEGER_FIELD("num_layers", n_layers, ARCH_REQUIRED, 1024, NONE),
    INTEGER_FIELD("kv_channels", head_dim, ARCH_REQUIRED, 1 << 16, NONE),
    NUM_ATTENTION_HEADS,
    INTEGER_FIELD("ffn_hidden_size", d_ff, ARCH_REQUIRED, 1 << 28, NONE),
    REAL_FIELD("layernorm_epsilon", norm_eps, ARCH_REQUIRED, 0, NONE),
    KEPT_FIELD("post_layer_norm", NONE),
    KEPT_FIELD("rmsnorm", NONE),
    BOOL_FIELD("add_bias_linear", mlp_bias, ARCH_OPTIONAL, 0, NONE),
    BOOL_FIELD("add_qkv_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    KEPT_FIELD("apply_query_key_layer_scaling", NONE),
    BOOL_FIELD("multi_query_attention", multi_query, ARCH_OPTIONAL, 0, NONE),
    INTEGER_FIELD("multi_query_group_num", n_kv_heads, ARCH_OPTIONAL, 1 << 16, NONE),
    INTEGER_FIELD("vocab_size", vocab, ARCH_REQUIRED, INT32_MAX, "padded_vocab_size"),
    CONTEXT_WINDOW("max_position_embeddings", "seq_length"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    INTEGER_FIELD("head_dim", head_dim, ARCH_OPTIONAL, 1 << 16, "kv_channels"),
    MAX_BATCH_SIZE,
    REAL_FIELD("rope_ratio", rope_ratio, ARCH_EXTRA, 1, NONE),
};

static const arch_condition conditions[] = {
    {"rmsnorm", {"true"}, NULL},
    {"post_layer_norm", {"true"}, NULL},
    {"apply_residual_connection_post_layernorm", {"false"}, NULL},
    {"original_rope", {"true"}, NULL},
    {"tie_word_embeddings", {"false"}, NULL},
    {"pre_seq_len", {"0"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "attention_softmax_in_fp32", "bias_dropout_fusion", "fp32_residual_connection",
    "layernorm_epsilon",         "prefix_projection",   "interleaved_qkv",
    "quantization_bit",          "classifier_dropout",  NULL};

// rope_ratio stretches the base (GLM-4 with long contexts).
static mlcc_status *finish(hf_model_config *config) {
    if (!config->multi_query) config->n_kv_heads = config->n_heads;
    config->rotary_dim = config->head_dim / 2;
    config->rope_theta *= config->rope_ratio;
    config->rope_theta_is_integer = false;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    WEIGHT(ARCH_QKV, "self_attention.query_key_value.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_QKV_BIAS, "self_attention.query_key_value.bias", NULL, ARCH_QKV_WIDTH, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_O, "self_attention.dense.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "self_attention.dense.bias", NULL, ARCH_D_MODEL, .when = WHEN(mlp_bias)),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
    WEIGHT(ARCH_GATE_UP, "mlp.dense_h_to_4h.weight", NULL, ARCH_GATE_UP_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_GATE_UP_BIAS, "mlp.dense_h_to_4h.bias", NULL, ARCH_GATE_UP_WIDTH, .when = WHEN(mlp_bias)),
    WEIGHT(ARCH_DOWN, "mlp.dense_4h_to_h.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.dense_4h_to_h.bias", NULL, ARCH_D_MODEL, .when = WHEN(mlp_bias)),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.embedding.weight", .source = "transformer.embedding.word_embeddings.weight"),
    NORM(ARCH_FINAL_NORM, "transformer.encoder.final_layernorm", ALWAYS),
    HEAD_WEIGHT("transformer.output_layer.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {"rotary_pos_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "transformer.encoder.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .rope_interleaves = true,
    .unused = unused,
};

const arch_info arch_chatglm = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
