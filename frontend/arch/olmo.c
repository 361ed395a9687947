// olmo: OLMo 1. A Llama whose norms are layer norms without weights, and whose q, k and v are clamped if the config says so.
// Source: Groeneveld et al. 2024 (arXiv 2402.00838); OlmoModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    INTERMEDIATE_SIZE,
    ACTIVATION_FIELD("hidden_act", ARCH_VERBATIM, SILU, NONE),
    NUM_HIDDEN_LAYERS,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    REAL_FIELD("clip_qkv", clip_qkv, ARCH_VERBATIM, 0, NONE),
    REAL_FIELD("layer_norm_eps", norm_eps, ARCH_EXTRA, 1e-5, NONE),
};

static const arch_condition conditions[] = {
    {"attention_bias", {"false"}, NULL},
};

// clang-format on
static mlcc_status *finish(hf_model_config *config) {
    if (config->clip_qkv >= 0) return NULL;
    return MLCC_ERROR(
        INVALID, "clip_qkv is %g; expected a number above 0, or null", config->clip_qkv);
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    OUTPUT_WEIGHT,
    GATED_MLP_WEIGHTS,
    {.role = ARCH_INPUT_NORM},
    {.role = ARCH_MLP_NORM},
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS),
    {.role = ARCH_FINAL_NORM},
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

const arch_info arch_olmo = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
