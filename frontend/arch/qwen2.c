// qwen2: Qwen 1.5, 2 and 2.5. A Llama with biases on q, k and v.
// Source: Yang et al. 2024 (arXiv 2407.10671); Qwen2Model of Hugging Face transformers for names and arithmetic.
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
    ROPE_SCALING(ARCH_EXTRA),
};
// clang-format on

// MLC LLM's qwen2 attends to everything; Hugging Face's has a window in the layers from max_window_layers on when asked for.
// clang-format off
static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"use_sliding_window", {"false"}, "set it to false to attend to the whole context, as MLC LLM does"},
};
// clang-format on

static const char *const ignored_keys[] = {
    "sliding_window", "max_window_layers", "layer_types", NULL};

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.c_attn"),
    ATTENTION_BIASES("self_attn.c_attn", ALWAYS),
    OUTPUT_WEIGHT,
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

const arch_info arch_qwen2 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
