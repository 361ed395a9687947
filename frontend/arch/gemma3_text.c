// gemma3_text: the language model of Gemma 3. Gemma 2 without soft caps, with normed heads of q and k, a window in five layers of six and a rope base of
// its own for these; a rope_scaling holds for the sixth.
// Source: Gemma Team 2025 (arXiv 2503.19786); Gemma3TextModel of Hugging Face transformers for names and arithmetic. MLC LLM keeps q, k and v apart,
// puts `language_model.` before all names, and cuts the context down to the window; here it stays whole. A soft cap of scores is refused: Hugging Face's
// code reads it and leaves it out.
#include "frontend/arch/fields.h"

#include <math.h>

// What stands in MLC LLM's text_config first.
// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_HIDDEN_LAYERS,
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    INTEGER_DEFAULT("num_attention_heads", n_heads, 8),
    INTEGER_DEFAULT("num_key_value_heads", n_kv_heads, 4),
    INTEGER_DEFAULT("head_dim", head_dim, 256),
    REAL_FIELD("rms_norm_eps", norm_eps, ARCH_OPTIONAL, 1e-6, NONE),
    KEPT_FIELD("hidden_activation", "hidden_act"),
    ROPE_BASE_FIELD("position_embedding_base", 1000000, "rope_theta"),
    ROPE_SCALING(ARCH_OPTIONAL),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    REAL_FIELD("query_pre_attn_scalar", query_pre_attn_scalar, ARCH_OPTIONAL, 256, NONE),
    SLIDING_WINDOW("sliding_window_size", ARCH_OPTIONAL, "sliding_window"),
    VOCAB_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    CONTEXT_WINDOW_SIZE,
    SLIDING_WINDOW("sliding_window_size", ARCH_OPTIONAL, "sliding_window"),
    PREFILL_CHUNK_SIZE,
    BOOL_FIELD("is_text_model", is_text_model, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("rope_local_base_freq", rope_local_theta, ARCH_EXTRA, 10000, NONE),
    COUNT_EXTRA("sliding_window_pattern", global_period, 6, "_sliding_window_pattern"),
    REAL_FIELD("final_logit_softcapping", logit_softcap, ARCH_EXTRA, 0, NONE),
    LAYER_TYPES,
};

static const arch_condition conditions[] = {
    {"hidden_activation", {"\"gelu\"", "\"gelu_pytorch_tanh\""}, NULL},
    {"hidden_act", {"\"gelu\"", "\"gelu_pytorch_tanh\""}, NULL},
    {"tie_word_embeddings", {"true"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"cache_implementation", "text_config", NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->hidden_act = "gelu_pytorch_tanh";
    config->embedding_scale = sqrt((double)config->d_model);
    config->tie_word_embeddings = true;
    if (config->query_pre_attn_scalar > 0)
        config->attention_scale = 1 / sqrt(config->query_pre_attn_scalar);
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    WEIGHT(ARCH_Q, "self_attn.q_proj.weight", NULL, ARCH_Q_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_K, "self_attn.k_proj.weight", NULL, ARCH_KV_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_V, "self_attn.v_proj.weight", NULL, ARCH_KV_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_Q_BIAS, "self_attn.q_proj.bias", NULL, ARCH_Q_WIDTH, .when = WHEN(attention_bias)),
    VECTOR(ARCH_K_BIAS, "self_attn.k_proj.bias", NULL, ARCH_KV_WIDTH, .when = WHEN(attention_bias)),
    VECTOR(ARCH_V_BIAS, "self_attn.v_proj.bias", NULL, ARCH_KV_WIDTH, .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    VECTOR(ARCH_Q_NORM, "self_attn.q_norm.weight", NULL, ARCH_HEAD_WIDTH, PLUS_ONE),
    VECTOR(ARCH_K_NORM, "self_attn.k_norm.weight", NULL, ARCH_HEAD_WIDTH, PLUS_ONE),
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", PLUS_ONE),
    NORM(ARCH_ATTENTION_OUTPUT_NORM, "post_attention_layernorm", PLUS_ONE),
    NORM(ARCH_MLP_NORM, "pre_feedforward_layernorm", PLUS_ONE),
    NORM(ARCH_MLP_OUTPUT_NORM, "post_feedforward_layernorm", PLUS_ONE),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("language_model.model.embed_tokens.weight", .source = "model.embed_tokens.weight"),
    NORM(ARCH_FINAL_NORM, "language_model.model.norm", PLUS_ONE, .source = "model.norm.weight"),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "language_model.model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .layers_source = "model.layers.",
};

const arch_info arch_gemma3_text = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .n_nested = 15,
    .finish = finish,
    .decoder = &decoder,
};
