// rwkv: RWKV 5.2 and 6.0, recurrent models: a layer keeps one matrix a head and two rows a sequence instead of a cache of keys and values. Their
// configuration is read and written as MLC LLM does it; the graph is not built, so there are no weights here.
// Source: Peng et al. 2024, arXiv 2404.05892; RWKV5Config and RWKV6Config of MLC LLM.
#include "frontend/arch/fields.h"

// The width of the MLP that a config leaves out: 3.5 times the model's, in steps of 32.
static int64_t usual_d_ff(int64_t d_model) {
    return d_model * 7 / 2 / 32 * 32;
}

static mlcc_status *finish(hf_model_config *config) {
    if (config->d_ff == 0) config->d_ff = usual_d_ff(config->d_model);
    if (config->n_heads == 0) config->n_heads = config->d_model / config->head_dim;
    if (config->n_heads * config->head_dim != config->d_model)
        return MLCC_ERROR(
            INVALID,
            "num_heads %lld times head_size %lld is not hidden_size %lld; correct them, or leave "
            "num_heads out and give a head_size that divides hidden_size",
            (long long)config->n_heads, (long long)config->head_dim, (long long)config->d_model);
    if (config->tensor_parallel_shards != 1)
        return MLCC_ERROR(
            INVALID, "tensor_parallel_shards is %lld; model type '%s' accepts 1 (override it)",
            (long long)config->tensor_parallel_shards, config->model_type);
    return NULL;
}

// What Hugging Face's classes say besides; MLC LLM computes the number of heads from their size, too.
static const char *const ignored_keys[] = {
    "attention_hidden_size", "context_length",      "head_size_divisor",
    "num_attention_heads",   "tie_word_embeddings", NULL,
};

// clang-format off
#define FIELDS(versions, presence_) \
    HIDDEN_SIZE, \
    INTEGER_FIELD("intermediate_size", d_ff, ARCH_OPTIONAL, 1 << 28, NONE), \
    NUM_HIDDEN_LAYERS, \
    VOCAB_SIZE, \
    {.name = "model_version", .kind = ARCH_FIELD_CHOICE, .offset = offsetof(hf_model_config, model_version), .presence = presence_, .choices = versions}, \
    TENSOR_PARALLEL_SHARDS, \
    COUNT_FIELD("rescale_every", rescale_every, 1 << 16, 0, NONE), \
    INTEGER_DEFAULT("head_size", head_dim, 64), \
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_OPTIONAL, 1e-5, NONE), \
    FIELD("context_window_size", ARCH_FIELD_WINDOW, context_window_size, ARCH_OPTIONAL, INT32_MAX, -1, 0, NONE), \
    INTEGER_DEFAULT("prefill_chunk_size", prefill_chunk_size, 4096), \
    INTEGER_FIELD("num_heads", n_heads, ARCH_OPTIONAL, 1 << 24, NONE), \
    MAX_BATCH_SIZE
// clang-format on

static const char *const versions_5[] = {"5_2", NULL};
static const char *const versions_6[] = {"6_0", NULL};
static const arch_field fields_5[] = {FIELDS(versions_5, ARCH_REQUIRED)};
static const arch_field fields_6[] = {FIELDS(versions_6, ARCH_OPTIONAL)};

const arch_info arch_rwkv5 = {
    .fields = fields_5,
    .n_fields = COUNT_OF(fields_5),
    .ignored_keys = ignored_keys,
    .finish = finish,
};

const arch_info arch_rwkv6 = {
    .fields = fields_6,
    .n_fields = COUNT_OF(fields_6),
    .ignored_keys = ignored_keys,
    .finish = finish,
};
