// llama: Llama 1 to 3.2 and what shares its code (TinyLlama, CodeLlama, SmolLM, …).
// Source: Touvron et al. 2023 (arXiv 2302.13971, 2307.09288); LlamaModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/arch.h"

#define AT(member) offsetof(hf_model_config, member)

// The last column holds Hugging Face's names.
// clang-format off
static const arch_field fields[] = {
    {"hidden_size",              ARCH_FIELD_INTEGER,      AT(d_model),                  ARCH_REQUIRED, 1 << 24,   0, {NULL}},
    {"intermediate_size",        ARCH_FIELD_INTEGER,      AT(d_ff),                     ARCH_REQUIRED, 1 << 28,   0, {NULL}},
    {"num_attention_heads",      ARCH_FIELD_INTEGER,      AT(n_heads),                  ARCH_REQUIRED, 1 << 16,   0, {NULL}},
    {"num_hidden_layers",        ARCH_FIELD_INTEGER,      AT(n_layers),                 ARCH_REQUIRED, 1024,      0, {NULL}},
    {"rms_norm_eps",             ARCH_FIELD_REAL,         AT(norm_eps),                 ARCH_REQUIRED, 0,         0, {NULL}},
    {"vocab_size",               ARCH_FIELD_INTEGER,      AT(vocab),                    ARCH_REQUIRED, INT32_MAX, 0, {NULL}},
    {"tie_word_embeddings",      ARCH_FIELD_BOOL,         AT(tie_word_embeddings),      ARCH_OPTIONAL, 0,         0, {NULL}},
    {"position_embedding_base",  ARCH_FIELD_ROPE_BASE,    AT(rope_theta),               ARCH_OPTIONAL, 0,         0, {"rope_theta"}},
    {"rope_scaling",             ARCH_FIELD_ROPE_SCALING, AT(rope_scaling),             ARCH_OPTIONAL, 0,         0, {"rope_parameters"}},
    {"context_window_size",      ARCH_FIELD_INTEGER,      AT(context_window_size),      ARCH_OPTIONAL, INT32_MAX, 0, {"max_position_embeddings", "max_sequence_length"}},
    {"prefill_chunk_size",       ARCH_FIELD_INTEGER,      AT(prefill_chunk_size),       ARCH_OPTIONAL, INT32_MAX, 0, {NULL}},
    {"num_key_value_heads",      ARCH_FIELD_INTEGER,      AT(n_kv_heads),               ARCH_OPTIONAL, 1 << 16,   0, {NULL}},
    {"head_dim",                 ARCH_FIELD_INTEGER,      AT(head_dim),                 ARCH_OPTIONAL, 1 << 16,   0, {NULL}},
    {"tensor_parallel_shards",   ARCH_FIELD_INTEGER,      AT(tensor_parallel_shards),   ARCH_OPTIONAL, 1 << 16,   1, {NULL}},
    {"pipeline_parallel_stages", ARCH_FIELD_INTEGER,      AT(pipeline_parallel_stages), ARCH_OPTIONAL, 1 << 16,   1, {NULL}},
    {"max_batch_size",           ARCH_FIELD_INTEGER,      AT(max_batch_size),           ARCH_OPTIONAL, 1 << 16,   1, {NULL}},
    {"disaggregation",           ARCH_FIELD_BOOL,         AT(disaggregation),           ARCH_OPTIONAL, 0,         0, {NULL}},
};

static const arch_condition conditions[] = {
    {"hidden_act",            {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias",        {"false"},                 "MLC LLM's llama has no attention biases either"},
    {"mlp_bias",              {"false"},                 "MLC LLM's llama has no MLP biases either"},
    {"rope_interleaved",      {"false"},                 "permute the rows of q_proj and k_proj to the halves layout"},
    {"partial_rotary_factor", {"1.0", "1"},              NULL},
};

static const arch_weight weights[] = {
    {ARCH_Q,                   "self_attn.q_proj.weight",         "self_attn.qkv_proj.weight", ARCH_Q_WIDTH,  ARCH_D_MODEL},
    {ARCH_K,                   "self_attn.k_proj.weight",         "self_attn.qkv_proj.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_V,                   "self_attn.v_proj.weight",         "self_attn.qkv_proj.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_O,                   "self_attn.o_proj.weight",         NULL,                        ARCH_D_MODEL,  ARCH_Q_WIDTH},
    {ARCH_GATE,                "mlp.gate_proj.weight",            "mlp.gate_up_proj.weight",   ARCH_D_FF,     ARCH_D_MODEL},
    {ARCH_UP,                  "mlp.up_proj.weight",              "mlp.gate_up_proj.weight",   ARCH_D_FF,     ARCH_D_MODEL},
    {ARCH_DOWN,                "mlp.down_proj.weight",            NULL,                        ARCH_D_MODEL,  ARCH_D_FF},
    {ARCH_INPUT_NORM,          "input_layernorm.weight",          NULL,                        ARCH_D_MODEL,  ARCH_ABSENT},
    {ARCH_POST_ATTENTION_NORM, "post_attention_layernorm.weight", NULL,                        ARCH_D_MODEL,  ARCH_ABSENT},
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

const arch_decoder arch_decoder_llama = {
    .embedding = "model.embed_tokens.weight",
    .layers = "model.layers.",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer = weights,
    .n_layer_weights = sizeof weights / sizeof weights[0],
    .activation = IR_OP_SILU,
    .unused = unused,
};

const arch_info arch_llama = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof fields[0],
    .conditions = conditions,
    .n_conditions = sizeof conditions / sizeof conditions[0],
    .max_prefill_chunk = 8192,
    .decoder = &arch_decoder_llama,
};
