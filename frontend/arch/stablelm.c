// stablelm: StableLM 2 and Zephyr. A Llama with layer norms, of whose heads a part turns; biases on q, k and v and the parallel form if the config says so.
// Source: Bellagente et al. 2024 (arXiv 2402.17834); StableLmModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    LAYER_NORM_EPS,
    REAL_FIELD("partial_rotary_factor", partial_rotary_factor, ARCH_OPTIONAL, 0.25, NONE),
    ROPE_THETA,
    INTERMEDIATE_SIZE,
    BOOL_FIELD("use_qkv_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    HEAD_DIM,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
    BOOL_FIELD("use_parallel_residual", parallel_residual, ARCH_EXTRA, 0, NONE),
    ROPE_SCALING(ARCH_EXTRA),
    BOOL_FIELD("qk_layernorm", normed_heads, ARCH_EXTRA, 0, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};
// clang-format on

static mlcc_status *finish(hf_model_config *config) {
    config->has_mlp_norm = !config->parallel_residual;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    VECTOR(ARCH_Q_NORM, "self_attn.q_layernorm.weight", NULL, ARCH_Q_WIDTH, .source = "self_attn.q_layernorm.norms.%lld.weight", .when = WHEN(normed_heads)),
    VECTOR(ARCH_K_NORM, "self_attn.k_layernorm.weight", NULL, ARCH_KV_WIDTH, .source = "self_attn.k_layernorm.norms.%lld.weight", .when = WHEN(normed_heads)),
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", .when = WHEN(has_mlp_norm)),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", .when = WHEN(has_mlp_norm)),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "model.norm", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "model.norm", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
    .unused = unused,
};

const arch_info arch_stablelm = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
