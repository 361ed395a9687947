// mistral: Mistral 7B and what shares its code. A Llama whose tokens see the last `sliding_window` tokens when a window is set.
// Source: Jiang et al. 2023 (arXiv 2310.06825); MistralModel of Hugging Face transformers for names and arithmetic.
//
// With a window the context has no limit (context_window_size -1), as in MLC LLM. attention_sink_size is MLC's: the first tokens that its rolling
// cache never drops. It is carried in the files and changes nothing here: the paged cache keeps all tokens, and a token sees exactly its window, as in
// Hugging Face's model. Params are Llama's.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    POSITION_EMBEDDING_BASE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    FIELD("context_window_size", ARCH_FIELD_WINDOW, context_window_size, ARCH_OPTIONAL, INT32_MAX, 0, 0, "max_position_embeddings", "max_sequence_length"),
    SLIDING_WINDOW("sliding_window_size", ARCH_OPTIONAL, "sliding_window"),
    PREFILL_CHUNK_SIZE,
    COUNT_FIELD("attention_sink_size", attention_sink_size, INT32_MAX, 4, NONE),
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias", {"false"}, NULL},
    {"mlp_bias", {"false"}, NULL},
};
// clang-format on

const arch_info arch_mistral = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .rolls_context = true,
    .decoder = &arch_decoder_llama,
};
