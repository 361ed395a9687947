// llama: Llama 1 to 3.2 and what shares its code (TinyLlama, CodeLlama, SmolLM, …).
// Source: Touvron et al. 2023 (arXiv 2302.13971, 2307.09288); LlamaModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    BOOL_FIELD("disaggregation", disaggregation, ARCH_OPTIONAL, 0, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_EXTRA, 0, NONE),
    BOOL_FIELD("mlp_bias", mlp_bias, ARCH_EXTRA, 0, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"rope_interleaved", {"false"}, "permute the rows of q_proj and k_proj to the halves layout"},
    {"partial_rotary_factor", {"1.0", "1"}, NULL},
};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    GATED_MLP_WEIGHTS,
    GATED_MLP_BIASES(.when = WHEN(mlp_bias)),
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

const arch_decoder arch_decoder_llama = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .unused = unused,
};

const arch_info arch_llama = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .decoder = &arch_decoder_llama,
};
