// qwen2: Qwen 1.5, 2 and 2.5. A Llama with biases on q, k and v.
// Source: Yang et al. 2024 (arXiv 2407.10671); Qwen2Model of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/arch.h"

#define AT(member) offsetof(hf_model_config, member)

// clang-format off
static const arch_field fields[] = {
    {"hidden_act",              ARCH_FIELD_ACTIVATION,   AT(hidden_act),             ARCH_OPTIONAL, 0,         0, {NULL}},
    {"hidden_size",             ARCH_FIELD_INTEGER,      AT(d_model),                ARCH_REQUIRED, 1 << 24,   0, {NULL}},
    {"intermediate_size",       ARCH_FIELD_INTEGER,      AT(d_ff),                   ARCH_REQUIRED, 1 << 28,   0, {NULL}},
    {"num_attention_heads",     ARCH_FIELD_INTEGER,      AT(n_heads),                ARCH_REQUIRED, 1 << 16,   0, {NULL}},
    {"num_hidden_layers",       ARCH_FIELD_INTEGER,      AT(n_layers),               ARCH_REQUIRED, 1024,      0, {NULL}},
    {"num_key_value_heads",     ARCH_FIELD_INTEGER,      AT(n_kv_heads),             ARCH_OPTIONAL, 1 << 16,   0, {NULL}},
    {"rms_norm_eps",            ARCH_FIELD_REAL,         AT(norm_eps),               ARCH_REQUIRED, 0,         0, {NULL}},
    {"rope_theta",              ARCH_FIELD_ROPE_BASE,    AT(rope_theta),             ARCH_OPTIONAL, 0,         0, {NULL}},
    {"vocab_size",              ARCH_FIELD_INTEGER,      AT(vocab),                  ARCH_REQUIRED, INT32_MAX, 0, {NULL}},
    {"tie_word_embeddings",     ARCH_FIELD_BOOL,         AT(tie_word_embeddings),    ARCH_OPTIONAL, 0,         0, {NULL}},
    {"context_window_size",     ARCH_FIELD_INTEGER,      AT(context_window_size),    ARCH_OPTIONAL, INT32_MAX, 0, {"max_position_embeddings", "max_sequence_length"}},
    {"prefill_chunk_size",      ARCH_FIELD_INTEGER,      AT(prefill_chunk_size),     ARCH_OPTIONAL, INT32_MAX, 0, {NULL}},
    {"tensor_parallel_shards",  ARCH_FIELD_INTEGER,      AT(tensor_parallel_shards), ARCH_OPTIONAL, 1 << 16,   1, {NULL}},
    {"head_dim",                ARCH_FIELD_INTEGER,      AT(head_dim),               ARCH_OPTIONAL, 1 << 16,   0, {NULL}},
    {"dtype",                   ARCH_FIELD_DTYPE,        AT(dtype),                  ARCH_OPTIONAL, 0,         0, {NULL}},
    {"max_batch_size",          ARCH_FIELD_INTEGER,      AT(max_batch_size),         ARCH_OPTIONAL, 1 << 16,   1, {NULL}},
    {"rope_scaling",            ARCH_FIELD_ROPE_SCALING, AT(rope_scaling),           ARCH_EXTRA,    0,         0, {"rope_parameters"}},
};

// MLC LLM's qwen2 attends to everything; Hugging Face's has a window in the layers from max_window_layers on when asked for.
static const arch_condition conditions[] = {
    {"hidden_act",         {"\"silu\"", "\"swish\""}, NULL},
    {"use_sliding_window", {"false"},                 "set it to false to attend to the whole context, as MLC LLM does"},
};

static const char *const ignored_keys[] = {"sliding_window", "max_window_layers", "layer_types", NULL};

static const arch_weight weights[] = {
    {ARCH_Q,                   "self_attn.q_proj.weight",         "self_attn.c_attn.weight", ARCH_Q_WIDTH,  ARCH_D_MODEL},
    {ARCH_Q_BIAS,              "self_attn.q_proj.bias",           "self_attn.c_attn.bias",   ARCH_Q_WIDTH,  ARCH_ABSENT},
    {ARCH_K,                   "self_attn.k_proj.weight",         "self_attn.c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_K_BIAS,              "self_attn.k_proj.bias",           "self_attn.c_attn.bias",   ARCH_KV_WIDTH, ARCH_ABSENT},
    {ARCH_V,                   "self_attn.v_proj.weight",         "self_attn.c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_V_BIAS,              "self_attn.v_proj.bias",           "self_attn.c_attn.bias",   ARCH_KV_WIDTH, ARCH_ABSENT},
    {ARCH_O,                   "self_attn.o_proj.weight",         NULL,                      ARCH_D_MODEL,  ARCH_Q_WIDTH},
    {ARCH_GATE,                "mlp.gate_proj.weight",            "mlp.gate_up_proj.weight", ARCH_D_FF,     ARCH_D_MODEL},
    {ARCH_UP,                  "mlp.up_proj.weight",              "mlp.gate_up_proj.weight", ARCH_D_FF,     ARCH_D_MODEL},
    {ARCH_DOWN,                "mlp.down_proj.weight",            NULL,                      ARCH_D_MODEL,  ARCH_D_FF},
    {ARCH_INPUT_NORM,          "input_layernorm.weight",          NULL,                      ARCH_D_MODEL,  ARCH_ABSENT},
    {ARCH_POST_ATTENTION_NORM, "post_attention_layernorm.weight", NULL,                      ARCH_D_MODEL,  ARCH_ABSENT},
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .embedding = "model.embed_tokens.weight",
    .layers = "model.layers.",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer = weights,
    .n_layer_weights = sizeof weights / sizeof weights[0],
    .activation = IR_OP_SILU,
    .unused = unused,
};

const arch_info arch_qwen2 = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof fields[0],
    .conditions = conditions,
    .n_conditions = sizeof conditions / sizeof conditions[0],
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
