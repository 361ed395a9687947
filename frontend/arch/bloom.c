// bloom: BLOOM. No positions but the heads' slopes (ALiBi); a norm behind the embedding; q, k and v lie together, head by head; layer norms, biases. Files
// come with and without the prefix `transformer.`.
// Source: Le Scao et al. 2022 (arXiv 2211.05100); BloomModel of Hugging Face transformers for names and arithmetic. MLC LLM has no such type; the fields are
// Hugging Face's.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    INTEGER_FIELD("hidden_size", d_model, ARCH_REQUIRED, 1 << 24, "n_embed"),
    INTEGER_FIELD("n_layer", n_layers, ARCH_REQUIRED, 1024, "num_hidden_layers"),
    INTEGER_FIELD("n_head", n_heads, ARCH_REQUIRED, 1 << 16, "num_attention_heads"),
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    FIELD("context_window_size", ARCH_FIELD_INTEGER, context_window_size, ARCH_OPTIONAL, INT32_MAX, 2048, 0, "seq_length", "max_position_embeddings"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 1),
};

static const arch_condition conditions[] = {
    {"apply_residual_connection_post_layernorm", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "masked_softmax_fusion",
    "n_inner",
    "offset_alibi",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "slow_but_exact",
    "unk_token_id",
    NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->has_alibi = true;
    config->hidden_act = "gelu_new";
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", ALWAYS),
    WEIGHT(ARCH_QKV, "self_attention.query_key_value.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .form = HF_GROUPED_QKV),
    VECTOR(ARCH_QKV_BIAS, "self_attention.query_key_value.bias", NULL, ARCH_QKV_WIDTH, .form = HF_GROUPED_QKV),
    WEIGHT(ARCH_O, "self_attention.dense.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "self_attention.dense.bias", NULL, ARCH_D_MODEL, ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", ALWAYS),
    WEIGHT(ARCH_UP, "mlp.dense_h_to_4h.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.dense_h_to_4h.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.dense_4h_to_h.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.dense_4h_to_h.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.word_embeddings.weight", ALWAYS),
    NORM(ARCH_EMBEDDING_NORM, "transformer.word_embeddings_layernorm", ALWAYS),
    NORM_BIAS(ARCH_EMBEDDING_NORM_BIAS, "transformer.word_embeddings_layernorm", ALWAYS),
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
    .optional_prefix = "transformer.",
    .has_layer_norms = true,
};

const arch_info arch_bloom = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
