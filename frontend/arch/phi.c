// phi: Phi 1, 1.5 and 2 in Hugging Face's names. Attention and MLP side by side behind one layer norm, biases everywhere, also in the head; a part of
// every head turns.
// Source: Gunasekar et al. 2023 (arXiv 2306.11644); PhiModel of Hugging Face transformers for names and arithmetic. MLC LLM stores it in the names of
// Microsoft's own code.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    INTEGER_DEFAULT("vocab_size", vocab, 51200),
    INTEGER_DEFAULT("hidden_size", d_model, 2048),
    INTEGER_DEFAULT("intermediate_size", d_ff, 8192),
    INTEGER_DEFAULT("num_hidden_layers", n_layers, 24),
    INTEGER_DEFAULT("num_attention_heads", n_heads, 32),
    REAL_FIELD("layer_norm_eps", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    POSITION_EMBEDDING_BASE,
    REAL_FIELD("partial_rotary_factor", partial_rotary_factor, ARCH_OPTIONAL, 0.5, NONE),
    NUM_KEY_VALUE_HEADS,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    ACTIVATION_FIELD("hidden_act", ARCH_EXTRA, GELU_NEW, NONE),
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"qk_layernorm", {"false"}, NULL},
    {"tie_word_embeddings", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"embd_pdrop", NULL};

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "ln", .source = "input_layernorm.weight"),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "ln", .source = "input_layernorm.bias"),
    WEIGHT(ARCH_Q, "mixer.q_proj.weight", "mixer.Wqkv.weight", ARCH_Q_WIDTH, ARCH_D_MODEL, .source = "self_attn.q_proj.weight"),
    VECTOR(ARCH_Q_BIAS, "mixer.q_proj.bias", "mixer.Wqkv.bias", ARCH_Q_WIDTH, .source = "self_attn.q_proj.bias"),
    WEIGHT(ARCH_K, "mixer.k_proj.weight", "mixer.Wqkv.weight", ARCH_KV_WIDTH, ARCH_D_MODEL, .source = "self_attn.k_proj.weight"),
    VECTOR(ARCH_K_BIAS, "mixer.k_proj.bias", "mixer.Wqkv.bias", ARCH_KV_WIDTH, .source = "self_attn.k_proj.bias"),
    WEIGHT(ARCH_V, "mixer.v_proj.weight", "mixer.Wqkv.weight", ARCH_KV_WIDTH, ARCH_D_MODEL, .source = "self_attn.v_proj.weight"),
    VECTOR(ARCH_V_BIAS, "mixer.v_proj.bias", "mixer.Wqkv.bias", ARCH_KV_WIDTH, .source = "self_attn.v_proj.bias"),
    WEIGHT(ARCH_O, "mixer.out_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH, .source = "self_attn.dense.weight"),
    VECTOR(ARCH_O_BIAS, "mixer.out_proj.bias", NULL, ARCH_D_MODEL, .source = "self_attn.dense.bias"),
    WEIGHT(ARCH_UP, "mlp.fc1.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.fc1.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.fc2.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.fc2.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.embd.weight", .source = "model.embed_tokens.weight"),
    NORM(ARCH_FINAL_NORM, "lm_head.ln", .source = "model.final_layernorm.weight"),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "lm_head.ln", .source = "model.final_layernorm.bias"),
    HEAD_WEIGHT("lm_head.linear.weight", .source = "lm_head.weight"),
    VECTOR(ARCH_HEAD_BIAS, "lm_head.linear.bias", NULL, ARCH_VOCAB, .source = "lm_head.bias"),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .layers_source = "model.layers.",
    .has_layer_norms = true,
    .is_parallel = true,
};

const arch_info arch_phi = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
