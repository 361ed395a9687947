// internlm2: InternLM 2 and 2.5. A Llama with names of its own whose q, k and v lie together, group by group.
// Source: Cai et al. 2024 (arXiv 2403.17297); its modeling_internlm2.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    RMS_NORM_EPS,
    INTERMEDIATE_SIZE,
    BOOL_FIELD("bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    KEPT_FIELD("use_cache", NONE),
    ROPE_THETA,
    KEPT_FIELD("pad_token_id", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ROPE_SCALING(ARCH_EXTRA),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"attn_implementation", NULL};

// clang-format off
static const arch_weight weights[] = {
    WEIGHT(ARCH_QKV, "attention.wqkv.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .form = HF_GROUPED_QKV),
    VECTOR(ARCH_QKV_BIAS, "attention.wqkv.bias", NULL, ARCH_QKV_WIDTH, .form = HF_GROUPED_QKV, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_O, "attention.wo.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "attention.wo.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_GATE, "feed_forward.w1.weight", "feed_forward.gate_up_proj.weight", ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_UP, "feed_forward.w3.weight", "feed_forward.gate_up_proj.weight", ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_DOWN, "feed_forward.w2.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    NORM(ARCH_INPUT_NORM, "attention_norm", ALWAYS),
    NORM(ARCH_MLP_NORM, "ffn_norm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.tok_embeddings.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "model.norm", ALWAYS),
    HEAD_WEIGHT("output.weight", ALWAYS),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
};

const arch_info arch_internlm2 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 2048,
    .decoder = &decoder,
};
