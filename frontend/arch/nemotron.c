// nemotron: Nemotron 3 and 4, Minitron. Layer norms whose gains are stored without their 1, an MLP without gate under squared relu; half of every head turns.
// Source: Parmar et al. 2024 (arXiv 2402.16819); NemotronModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    INTEGER_FIELD("max_position_embeddings", max_position, ARCH_OPTIONAL, INT32_MAX, NONE),
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    ROPE_THETA,
    REAL_FIELD("partial_rotary_factor", partial_rotary_factor, ARCH_OPTIONAL, 0.5, "rope_percent"),
    ROPE_SCALING(ARCH_OPTIONAL),
    REAL_FIELD("norm_eps", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    HEAD_DIM,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    BOOL_FIELD("mlp_bias", mlp_bias, ARCH_OPTIONAL, 0, NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    BOOL_FIELD("disaggregation", disaggregation, ARCH_OPTIONAL, 0, NONE),
    ACTIVATION_FIELD("hidden_act", ARCH_EXTRA, RELU2, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_EXTRA, 0, NONE),
};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    WEIGHT(ARCH_UP, "mlp.up_proj.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.up_proj.bias", NULL, ARCH_D_FF, .when = WHEN(mlp_bias)),
    WEIGHT(ARCH_DOWN, "mlp.down_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.down_proj.bias", NULL, ARCH_D_MODEL, .when = WHEN(mlp_bias)),
    NORM(ARCH_INPUT_NORM, "input_layernorm", PLUS_ONE),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", PLUS_ONE),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "model.norm", PLUS_ONE),
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

const arch_info arch_nemotron = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
