// ministral3: Ministral 3. A mistral with yarn, whose queries grow with the logarithm of the original contexts before them (llama_4_scaling_beta). Its files
// hold a vision model as well, which is left out.
// Source: Ministral3Model of Hugging Face transformers for names and arithmetic. MLC LLM leaves the growth out and multiplies the scores by the square of
// yarn's magnitude.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    COUNT_FIELD("attention_sink_size", attention_sink_size, INT32_MAX, 0, NONE),
    FIELD("context_window_size", ARCH_FIELD_WINDOW, context_window_size, ARCH_OPTIONAL, INT32_MAX, 0, 0, "max_position_embeddings", "max_sequence_length"),
    DTYPE,
    HEAD_DIM,
    HIDDEN_ACT(SILU),
    MAX_BATCH_SIZE,
    NUM_KEY_VALUE_HEADS,
    POSITION_EMBEDDING_BASE,
    PREFILL_CHUNK_SIZE,
    FIELD("rope_parameters", ARCH_FIELD_ROPE_SCALING, rope_scaling, ARCH_REQUIRED, 0, 0, 0, "rope_scaling"),
    SLIDING_WINDOW("sliding_window_size", ARCH_OPTIONAL, "sliding_window"),
    TENSOR_PARALLEL_SHARDS,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    WEIGHT_BLOCK_SIZE,
    KEPT_LIST("modules_to_not_convert", "quantization_config.modules_to_not_convert"),
};

static const arch_condition conditions[] = {
    {"attention_bias", {"false"}, NULL},
    {"mlp_bias", {"false"}, NULL},
};
// clang-format on

const arch_info arch_ministral3 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .rolls_context = true,
    .decoder = &arch_decoder_llama,
};
