// olmo2: OLMo 2. A Llama that norms what attention and MLP give instead of what they get, and whole rows of q and k.
// Source: OLMo Team 2024 (arXiv 2501.00656); Olmo2Model of Hugging Face transformers for names and arithmetic.
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
    REAL_FIELD("rms_norm_eps", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
};

static const arch_condition conditions[] = {
    {"attention_bias", {"false"}, NULL},
};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    OUTPUT_WEIGHT,
    VECTOR(ARCH_Q_NORM, "self_attn.q_norm.weight", NULL, ARCH_Q_WIDTH, ALWAYS),
    VECTOR(ARCH_K_NORM, "self_attn.k_norm.weight", NULL, ARCH_KV_WIDTH, ALWAYS),
    GATED_MLP_WEIGHTS,
    NORM(ARCH_ATTENTION_OUTPUT_NORM, "post_attention_layernorm", ALWAYS),
    NORM(ARCH_MLP_OUTPUT_NORM, "post_feedforward_layernorm", ALWAYS),
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

const arch_info arch_olmo2 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
