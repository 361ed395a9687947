// mixtral: a Llama whose MLP is eight experts, of which a router picks two for every token.
// Source: Jiang et al. 2024 (arXiv 2401.04088); MixtralModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/arch.h"

#define AT(member) offsetof(hf_model_config, member)

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
    {"num_local_experts",        ARCH_FIELD_INTEGER,      AT(n_experts),                ARCH_REQUIRED, IR_MAX_EXPERTS, 0, {NULL}},
    {"num_experts_per_tok",      ARCH_FIELD_INTEGER,      AT(n_chosen_experts),         ARCH_REQUIRED, IR_MAX_CHOSEN_EXPERTS, 0, {NULL}},
};

// MLC LLM's mixtral attends to everything.
static const arch_condition conditions[] = {
    {"hidden_act",     {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias", {"false"},                 NULL},
    {"sliding_window", {"null"},                  "set it to null to attend to the whole context, as MLC LLM does"},
};

static const char *const ignored_keys[] = {"output_router_logits", "router_aux_loss_coef", "router_jitter_noise", NULL};

static const arch_weight weights[] = {
    {ARCH_Q,                   "self_attn.q_proj.weight",         "self_attn.qkv_proj.weight", ARCH_Q_WIDTH,  ARCH_D_MODEL},
    {ARCH_K,                   "self_attn.k_proj.weight",         "self_attn.qkv_proj.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_V,                   "self_attn.v_proj.weight",         "self_attn.qkv_proj.weight", ARCH_KV_WIDTH, ARCH_D_MODEL},
    {ARCH_O,                   "self_attn.o_proj.weight",         NULL,                        ARCH_D_MODEL,  ARCH_Q_WIDTH},
    {ARCH_EXPERTS,             NULL,                              NULL,                        ARCH_ABSENT,   ARCH_ABSENT},
    {ARCH_INPUT_NORM,          "input_layernorm.weight",          NULL,                        ARCH_D_MODEL,  ARCH_ABSENT},
    {ARCH_POST_ATTENTION_NORM, "post_attention_layernorm.weight", NULL,                        ARCH_D_MODEL,  ARCH_ABSENT},
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_experts experts = {
    .router = "moe.gate.weight",
    .gate_up = "moe.e1_e3.weight",
    .down = "moe.e2.weight",
    .router_source = "block_sparse_moe.gate.weight",
    .gate_source = "block_sparse_moe.experts.%lld.w1.weight",
    .up_source = "block_sparse_moe.experts.%lld.w3.weight",
    .down_source = "block_sparse_moe.experts.%lld.w2.weight",
    .routing = {.renormalize = true},
};

static const arch_decoder decoder = {
    .embedding = "model.embed_tokens.weight",
    .layers = "model.layers.",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer = weights,
    .n_layer_weights = sizeof weights / sizeof weights[0],
    .experts = &experts,
    .activation = IR_OP_SILU,
    .unused = unused,
};

const arch_info arch_mixtral = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof fields[0],
    .conditions = conditions,
    .n_conditions = sizeof conditions / sizeof conditions[0],
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
