// starcoder2: StarCoder 2. Layer norms, biases everywhere, an MLP without gate, a window in every layer; the embedding serves as head.
// Source: Lozhkov et al. 2024 (arXiv 2402.19173); Starcoder2Model of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    HIDDEN_ACT(GELU_TANH),
    REAL_FIELD("norm_epsilon", norm_eps, ARCH_REQUIRED, 0, NONE),
    INTERMEDIATE_SIZE,
    ROPE_THETA,
    BOOL_FIELD("use_bias", attention_bias, ARCH_OPTIONAL, 1, NONE),
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    SLIDING_WINDOW("sliding_window", ARCH_EXTRA, NONE),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 1),
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"norm_type", {"\"layer_norm\""}, NULL},
    {"mlp_type", {"\"default\""}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"activation_function", "attention_softmax_in_fp32",
                                           "embedding_dropout",   "layer_norm_epsilon",
                                           "residual_dropout",    "scale_attention_softmax_in_fp32",
                                           "scale_attn_weights",  NULL};

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.wqkv_pack"),
    ATTENTION_BIASES("self_attn.wqkv_pack", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    WEIGHT(ARCH_UP, "mlp.c_fc.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.c_fc.bias", NULL, ARCH_D_FF, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_DOWN, "mlp.c_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.c_proj.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "model.norm", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "model.norm", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
};

const arch_info arch_starcoder2 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
