// gptj: GPT-J. Attention and MLP side by side behind one layer norm, pairs of neighbouring columns turn, a head with a bias.
// Source: Wang and Komatsuzaki 2021; GPTJModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    INTEGER_FIELD("n_embd", d_model, ARCH_REQUIRED, 1 << 24, "hidden_size"),
    INTEGER_FIELD("n_layer", n_layers, ARCH_REQUIRED, 1024, "num_hidden_layers"),
    INTEGER_FIELD("n_head", n_heads, ARCH_REQUIRED, 1 << 16, "num_attention_heads"),
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_REQUIRED, 0, NONE),
    INTEGER_FIELD("rotary_dim", rotary_dim, ARCH_OPTIONAL, 1 << 16, NONE),
    ACTIVATION_FIELD("activation_function", ARCH_OPTIONAL, GELU_NEW, NONE),
    FIELD("n_inner", ARCH_FIELD_WINDOW, d_ff, ARCH_VERBATIM, 1 << 28, -1, 0, NONE),
    KEPT_FIELD("rope_scaling", NONE),
    CONTEXT_WINDOW("n_positions", "max_sequence_length"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
};

static const arch_condition conditions[] = {
    {"tie_word_embeddings", {"false"}, NULL},
    {"rotary", {"true"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    GPT2_IGNORED_KEYS, "scale_attn_weights", "rope_parameters", NULL};

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "ln_1", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "ln_1", ALWAYS),
    WEIGHT(ARCH_Q, "attn.q_proj.weight", "attn.c_attn.weight", ARCH_Q_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_K, "attn.k_proj.weight", "attn.c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_V, "attn.v_proj.weight", "attn.c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_O, "attn.out_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    WEIGHT(ARCH_UP, "mlp.fc_in.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.fc_in.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.fc_out.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.fc_out.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.wte.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "transformer.ln_f", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "transformer.ln_f", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
    VECTOR(ARCH_HEAD_BIAS, "lm_head.bias", NULL, ARCH_VOCAB, ALWAYS),
};
// clang-format on

static const char *const unused[] = {"attn.bias", "attn.masked_bias", "attn.embed_positions", NULL};

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
    .rope_interleaves = true,
    .is_parallel = true,
    .unused = unused,
};

const arch_info arch_gptj = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
