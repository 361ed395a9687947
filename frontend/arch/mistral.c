// mistral: Mistral 7B and what shares its code. A Llama whose tokens see the last `sliding_window` tokens when a window is set.
// Source: Jiang et al. 2023 (arXiv 2310.06825); MistralModel of Hugging Face transformers for names and arithmetic.
//
// With a window the context has no limit (context_window_size -1), as in MLC LLM. attention_sink_size is MLC's: the first tokens that its rolling
// cache never drops. It is carried in the files and changes nothing here: the paged cache keeps all tokens, and a token sees exactly its window, as in
// Hugging Face's model. Params are Llama's.
#include "frontend/arch/arch.h"

#define AT(member) offsetof(hf_model_config, member)

// clang-format off
static const arch_field fields[] = {
    {"hidden_size",             ARCH_FIELD_INTEGER,      AT(d_model),                ARCH_REQUIRED, 1 << 24,   0,  {NULL}},
    {"intermediate_size",       ARCH_FIELD_INTEGER,      AT(d_ff),                   ARCH_REQUIRED, 1 << 28,   0,  {NULL}},
    {"num_attention_heads",     ARCH_FIELD_INTEGER,      AT(n_heads),                ARCH_REQUIRED, 1 << 16,   0,  {NULL}},
    {"num_hidden_layers",       ARCH_FIELD_INTEGER,      AT(n_layers),               ARCH_REQUIRED, 1024,      0,  {NULL}},
    {"rms_norm_eps",            ARCH_FIELD_REAL,         AT(norm_eps),               ARCH_REQUIRED, 0,         0,  {NULL}},
    {"vocab_size",              ARCH_FIELD_INTEGER,      AT(vocab),                  ARCH_REQUIRED, INT32_MAX, 0,  {NULL}},
    {"position_embedding_base", ARCH_FIELD_ROPE_BASE,    AT(rope_theta),             ARCH_OPTIONAL, 0,         0,  {"rope_theta"}},
    {"num_key_value_heads",     ARCH_FIELD_INTEGER,      AT(n_kv_heads),             ARCH_OPTIONAL, 1 << 16,   0,  {NULL}},
    {"head_dim",                ARCH_FIELD_INTEGER,      AT(head_dim),               ARCH_OPTIONAL, 1 << 16,   0,  {NULL}},
    {"context_window_size",     ARCH_FIELD_WINDOW,       AT(context_window_size),    ARCH_OPTIONAL, INT32_MAX, 0,  {"max_position_embeddings", "max_sequence_length"}},
    {"sliding_window_size",     ARCH_FIELD_WINDOW,       AT(sliding_window_size),    ARCH_OPTIONAL, INT32_MAX, -1, {"sliding_window"}},
    {"prefill_chunk_size",      ARCH_FIELD_INTEGER,      AT(prefill_chunk_size),     ARCH_OPTIONAL, INT32_MAX, 0,  {NULL}},
    {"attention_sink_size",     ARCH_FIELD_COUNT,        AT(attention_sink_size),    ARCH_OPTIONAL, INT32_MAX, 4,  {NULL}},
    {"tensor_parallel_shards",  ARCH_FIELD_INTEGER,      AT(tensor_parallel_shards), ARCH_OPTIONAL, 1 << 16,   1,  {NULL}},
    {"max_batch_size",          ARCH_FIELD_INTEGER,      AT(max_batch_size),         ARCH_OPTIONAL, 1 << 16,   1,  {NULL}},
    {"tie_word_embeddings",     ARCH_FIELD_BOOL,         AT(tie_word_embeddings),    ARCH_EXTRA,    0,         0,  {NULL}},
    {"rope_scaling",            ARCH_FIELD_ROPE_SCALING, AT(rope_scaling),           ARCH_EXTRA,    0,         0,  {"rope_parameters"}},
};

static const arch_condition conditions[] = {
    {"hidden_act",     {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias", {"false"},                 NULL},
    {"mlp_bias",       {"false"},                 NULL},
};
// clang-format on

const arch_info arch_mistral = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof fields[0],
    .conditions = conditions,
    .n_conditions = sizeof conditions / sizeof conditions[0],
    .max_prefill_chunk = 8192,
    .decoder = &arch_decoder_llama,
};
