// granite: IBM Granite 3 (dense). A Llama with factors: of the embedding, of every residual branch, of the scores and of the logits.
// Source: GraniteModel of Hugging Face transformers for names and arithmetic. MLC LLM has no such type; the fields are its llama's and the factors.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    REAL_FIELD("embedding_multiplier", embedding_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("residual_multiplier", residual_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("attention_multiplier", attention_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("logits_scaling", logits_divisor, ARCH_OPTIONAL, 1, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    BOOL_FIELD("mlp_bias", mlp_bias, ARCH_OPTIONAL, 0, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};
// clang-format on

static mlcc_status *finish(hf_model_config *config) {
    if (!(config->logits_divisor > 0))
        return MLCC_ERROR(
            INVALID, "logits_scaling is %g; expected a number above 0", config->logits_divisor);
    config->logit_scale = 1 / config->logits_divisor;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    GATED_MLP_WEIGHTS,
    GATED_MLP_BIASES(.when = WHEN(mlp_bias)),
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
};

const arch_info arch_granite = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
