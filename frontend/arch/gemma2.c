// gemma2: Gemma 2. Gemma with norms on both sides of attention and MLP, soft caps on scores and logits, a scale of its own for q, and a window in
// every other layer, the first among them.
// Source: Gemma Team 2024 (arXiv 2408.00118); Gemma2Model of Hugging Face transformers for names and arithmetic. MLC LLM leaves the cap of the scores
// out and cuts the context down to the window; here both are as in the paper.
#include "frontend/arch/fields.h"

#include <math.h>

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    KEPT_FIELD("hidden_activation", "hidden_act"),
    POSITION_EMBEDDING_BASE,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    REAL_FIELD("attn_logit_softcapping", attention_softcap, ARCH_OPTIONAL, 0, NONE),
    REAL_FIELD("final_logit_softcapping", logit_softcap, ARCH_OPTIONAL, 0, NONE),
    REAL_FIELD("query_pre_attn_scalar", query_pre_attn_scalar, ARCH_OPTIONAL, 0, NONE),
    SLIDING_WINDOW("sliding_window", ARCH_OPTIONAL, NONE),
    LAYER_TYPES,
};

static const arch_condition conditions[] = {
    {"hidden_activation", {"\"gelu\"", "\"gelu_pytorch_tanh\""}, NULL},
    {"hidden_act", {"\"gelu\"", "\"gelu_pytorch_tanh\""}, NULL},
    {"tie_word_embeddings", {"true"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"cache_implementation", NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->hidden_act = "gelu_pytorch_tanh";
    config->embedding_scale = sqrt((double)config->d_model);
    config->tie_word_embeddings = true;
    config->global_period = 2;
    if (config->query_pre_attn_scalar > 0)
        config->attention_scale = 1 / sqrt(config->query_pre_attn_scalar);
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", PLUS_ONE),
    NORM(ARCH_ATTENTION_OUTPUT_NORM, "post_attention_layernorm", PLUS_ONE),
    NORM(ARCH_MLP_NORM, "pre_feedforward_layernorm", PLUS_ONE),
    NORM(ARCH_MLP_OUTPUT_NORM, "post_feedforward_layernorm", PLUS_ONE),
};

static const arch_weight model_weights[] = {
    MODEL_WEIGHTS(PLUS_ONE),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
};

const arch_info arch_gemma2 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
