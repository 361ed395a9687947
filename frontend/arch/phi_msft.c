// phi-msft: Phi 1.5 and 2 in the names of Microsoft's first files, which MLC LLM keeps for `phi`, too; q, k and v lie together.
// Source: Gunasekar et al. 2023 (arXiv 2306.11644); Microsoft's modeling_phi.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    KEPT_FIELD("model_type", NONE),
    INTEGER_FIELD("vocab_size", vocab, ARCH_REQUIRED, INT32_MAX, NONE),
    INTEGER_FIELD("n_positions", max_position, ARCH_REQUIRED, INT32_MAX, NONE),
    INTEGER_FIELD("n_embd", d_model, ARCH_REQUIRED, 1 << 24, NONE),
    INTEGER_FIELD("n_layer", n_layers, ARCH_REQUIRED, 1024, NONE),
    INTEGER_FIELD("n_inner", d_ff, ARCH_OPTIONAL, 1 << 28, NONE),
    INTEGER_FIELD("n_head", n_heads, ARCH_REQUIRED, 1 << 16, NONE),
    INTEGER_FIELD("rotary_dim", rotary_dim, ARCH_OPTIONAL, 1 << 16, NONE),
    POSITION_EMBEDDING_BASE,
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_OPTIONAL, 1e-5, NONE),
    CONTEXT_WINDOW("n_positions", "max_position_embeddings"),
    PREFILL_CHUNK_SIZE,
    INTEGER_FIELD("n_head_kv", n_kv_heads, ARCH_OPTIONAL, 1 << 16, NONE),
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    ACTIVATION_FIELD("activation_function", ARCH_EXTRA, GELU_NEW, NONE),
};

static const arch_condition conditions[] = {
    {"tie_word_embeddings", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "attn_pdrop", "embd_pdrop", "flash_attn", "flash_rotary", "fused_dense", "img_processor", NULL};

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "ln", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "ln", ALWAYS),
    WEIGHT(ARCH_QKV, "mixer.Wqkv.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_QKV_BIAS, "mixer.Wqkv.bias", NULL, ARCH_QKV_WIDTH, ALWAYS),
    WEIGHT(ARCH_O, "mixer.out_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "mixer.out_proj.bias", NULL, ARCH_D_MODEL, ALWAYS),
    WEIGHT(ARCH_UP, "mlp.fc1.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.fc1.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.fc2.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.fc2.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.embd.weight", .source = "transformer.embd.wte.weight"),
    NORM(ARCH_FINAL_NORM, "lm_head.ln", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "lm_head.ln", ALWAYS),
    HEAD_WEIGHT("lm_head.linear.weight", ALWAYS),
    VECTOR(ARCH_HEAD_BIAS, "lm_head.linear.bias", NULL, ARCH_VOCAB, ALWAYS),
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
    .is_parallel = true,
};

const arch_info arch_phi_msft = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = INT32_MAX,
    .decoder = &decoder,
};
