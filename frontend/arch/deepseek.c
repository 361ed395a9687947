// deepseek: DeepSeek MoE 16B, the first of its line. A Llama with fine-grained experts beside shared ones; its first layers are dense.
// Source: Dai et al. 2024 (arXiv 2401.06066); its modeling_deepseek.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    EXPERT_SIZE("moe_intermediate_size", ARCH_REQUIRED),
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    SHARED_EXPERTS,
    N_EXPERTS("n_routed_experts"),
    EXPERT_PERIOD("moe_layer_freq"),
    FIRST_DENSE_LAYERS,
    HIDDEN_ACT(SILU),
    NORM_TOPK_PROB,
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    RMS_NORM_EPS,
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    ROPE_THETA,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    HEAD_DIM,
    MAX_BATCH_SIZE,
    CHOSEN_EXPERTS("num_experts_per_tok"),
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"hidden_act",   {"\"silu\"", "\"swish\""}, NULL},
    {"scoring_func", {"\"softmax\""},           NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"aux_loss_alpha", "seq_aux", NULL};

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.wqkv_pack"),
    ATTENTION_BIASES("self_attn.wqkv_pack", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    EXPERTS,
    SHARED_EXPERT_WEIGHTS("mlp.shared_experts"),
    DENSE_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_experts experts = {.weights = {USUAL_EXPERT_WEIGHTS}};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .experts = &experts,
    .unused = unused,
};

const arch_info arch_deepseek = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
