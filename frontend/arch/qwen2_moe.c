// qwen2_moe: Qwen 1.5 MoE and Qwen 2 57B-A14B. A Qwen 2 whose layers are mixtures of experts beside a shared expert with a gate of its own.
// Source: Yang et al. 2024 (arXiv 2407.10671); Qwen2MoeModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_ACT(SILU),
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
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
    EXPERT_SIZE("moe_intermediate_size", ARCH_OPTIONAL),
    INTEGER_FIELD("shared_expert_intermediate_size", d_shared, ARCH_REQUIRED, 1 << 28, NONE),
    CHOSEN_EXPERTS("num_experts_per_tok"),
    N_EXPERTS("num_experts"),
    EXPERT_PERIOD("decoder_sparse_step"),
    NORM_TOPK_PROB,
    DENSE_LAYERS,
    BOOL_FIELD("qkv_bias", attention_bias, ARCH_EXTRA, 1, NONE),
    ROPE_SCALING(ARCH_EXTRA),
};
// clang-format on

// MLC LLM's class has no dense layers between, and attends to everything; Hugging Face's has a window in the layers from max_window_layers on when asked for.
// clang-format off
static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
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
    SHARED_EXPERT_WEIGHTS("mlp.shared_expert"),
    WEIGHT(ARCH_SHARED_WEIGHT, "mlp.shared_expert_gate.weight", NULL, ARCH_ONE, ARCH_D_MODEL, .layers = ARCH_EXPERT_LAYERS),
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

const arch_info arch_qwen2_moe = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
