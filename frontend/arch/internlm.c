// internlm: InternLM 1. A Llama with biases on q, k, v and o.
// Source: InternLM Team 2023; its modeling_internlm.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    RMS_NORM_EPS,
    INTERMEDIATE_SIZE,
    BOOL_FIELD("bias", attention_bias, ARCH_OPTIONAL, 1, NONE),
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("pad_token_id", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ROPE_BASE_EXTRA,
    ROPE_SCALING(ARCH_EXTRA),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.wqkv_pack"),
    ATTENTION_BIASES("self_attn.wqkv_pack", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .unused = unused,
};

const arch_info arch_internlm = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
