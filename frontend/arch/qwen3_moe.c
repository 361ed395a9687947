// qwen3_moe: Qwen 3 30B-A3B and 235B-A22B. A Qwen 3 whose layers are mixtures of experts.
// Source: Yang et al. 2025 (arXiv 2505.09388); Qwen3MoeModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_ACT(SILU),
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    NUM_KEY_VALUE_HEADS,
    RMS_NORM_EPS,
    ROPE_THETA,
    VOCAB_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    HEAD_DIM,
    DTYPE,
    MAX_BATCH_SIZE,
    WEIGHT_BLOCK_SIZE,
    EXPERT_SIZE("moe_intermediate_size", ARCH_OPTIONAL),
    CHOSEN_EXPERTS("num_experts_per_tok"),
    INTEGER_FIELD("num_experts", n_experts, ARCH_REQUIRED, IR_MAX_EXPERTS, "num_local_experts"),
    EXPERT_PERIOD("decoder_sparse_step"),
    NORM_TOPK_PROB,
    DENSE_LAYERS,
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"qkv_bias", {"false"}, NULL},
    {"use_sliding_window", {"false"}, "set it to false to attend to the whole context, as MLC LLM does"},
};
// clang-format on

static const char *const ignored_keys[] = {"sliding_window",       "max_window_layers",
                                           "layer_types",          "output_router_logits",
                                           "router_aux_loss_coef", NULL};

// Layers with experts are counted from one.
static mlcc_status *finish(hf_model_config *config) {
    config->expert_phase = 1;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.c_attn"),
    ATTENTION_BIASES("self_attn.c_attn", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    VECTOR(ARCH_Q_NORM, "self_attn.q_norm.weight", NULL, ARCH_HEAD_WIDTH, ALWAYS),
    VECTOR(ARCH_K_NORM, "self_attn.k_norm.weight", NULL, ARCH_HEAD_WIDTH, ALWAYS),
    EXPERTS,
    DENSE_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const arch_experts experts = {.weights = {USUAL_EXPERT_WEIGHTS}};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .experts = &experts,
};

const arch_info arch_qwen3_moe = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 2048,
    .finish = finish,
    .decoder = &decoder,
};
