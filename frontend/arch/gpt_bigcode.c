// gpt_bigcode: SantaCoder, StarCoder. A GPT-2 whose matrices lie as everybody's, with one head of k and v for all of q, or q, k and v head by head.
// Source: Li et al. 2023 (arXiv 2305.06161); GPTBigCodeModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    INTEGER_FIELD("n_embd", d_model, ARCH_REQUIRED, 1 << 24, "hidden_size"),
    FIELD("n_inner", ARCH_FIELD_WINDOW, d_ff, ARCH_VERBATIM, 1 << 28, -1, 0, NONE),
    INTEGER_FIELD("n_head", n_heads, ARCH_REQUIRED, 1 << 16, "num_attention_heads"),
    INTEGER_FIELD("n_layer", n_layers, ARCH_REQUIRED, 1024, "num_hidden_layers"),
    INTEGER_FIELD("n_positions", max_position, ARCH_OPTIONAL, INT32_MAX, "max_position_embeddings"),
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_REQUIRED, 0, NONE),
    VOCAB_SIZE,
    CONTEXT_WINDOW("n_positions", "max_position_embeddings"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    ACTIVATION_FIELD("activation_function", ARCH_EXTRA, GELU_TANH, NONE),
    BOOL_FIELD("multi_query", multi_query, ARCH_EXTRA, 1, NONE),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 1),
};

static const arch_condition conditions[] = {
    {"scale_attn_weights", {"true"}, NULL},
    {"add_cross_attention", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {GPT2_IGNORED_KEYS, NULL};

static mlcc_status *finish(hf_model_config *config) {
    if (config->multi_query) config->n_kv_heads = 1;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "ln_1", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "ln_1", ALWAYS),
    WEIGHT(ARCH_QKV, "attn.c_attn.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .form = HF_GROUPED_QKV),
    VECTOR(ARCH_QKV_BIAS, "attn.c_attn.bias", NULL, ARCH_QKV_WIDTH, .form = HF_GROUPED_QKV),
    WEIGHT(ARCH_O, "attn.c_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH, .form = HF_AS_IT_IS),
    VECTOR(ARCH_O_BIAS, "attn.c_proj.bias", NULL, ARCH_D_MODEL, ALWAYS),
    NORM(ARCH_MLP_NORM, "ln_2", ALWAYS),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "ln_2", ALWAYS),
    WEIGHT(ARCH_UP, "mlp.c_fc.weight", NULL, ARCH_D_FF, ARCH_D_MODEL, .form = HF_AS_IT_IS),
    VECTOR(ARCH_UP_BIAS, "mlp.c_fc.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.c_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF, .form = HF_AS_IT_IS),
    VECTOR(ARCH_DOWN_BIAS, "mlp.c_proj.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.wte.weight", ALWAYS),
    WEIGHT(ARCH_POSITION_EMBEDDING, "transformer.wpe.weight", NULL, ARCH_POSITIONS, ARCH_D_MODEL),
    NORM(ARCH_FINAL_NORM, "transformer.ln_f", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "transformer.ln_f", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {"attn.bias", "attn.masked_bias", NULL};

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .optional_prefix = "transformer.",
    .has_layer_norms = true,
    .positions = ARCH_LEARNED,
    .unused = unused,
};

const arch_info arch_gpt_bigcode = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
