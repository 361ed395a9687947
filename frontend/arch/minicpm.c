// minicpm: MiniCPM 1 (dense). A Llama with factors: of the embedding, of every residual branch by the model's depth, of the logits by its width.
// Source: Hu et al. 2024 (arXiv 2404.06395); its modeling_minicpm.py for names and arithmetic.
#include "frontend/arch/fields.h"

#include <math.h>

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    INTERMEDIATE_SIZE,
    HIDDEN_ACT(SILU),
    RMS_NORM_EPS,
    KEPT_FIELD("use_cache", NONE),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    ROPE_THETA,
    REAL_FIELD("scale_emb", embedding_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("scale_depth", scale_depth, ARCH_OPTIONAL, 0, NONE),
    INTEGER_FIELD("dim_model_base", dim_model_base, ARCH_OPTIONAL, 1 << 24, NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ROPE_SCALING(ARCH_EXTRA),
};

static const arch_condition conditions[] = {
    {"attention_bias", {"false"}, NULL},
};
// clang-format on

static mlcc_status *finish(hf_model_config *config) {
    if (config->scale_depth > 0)
        config->residual_scale = config->scale_depth / sqrt((double)config->n_layers);
    if (config->dim_model_base > 0)
        config->logit_scale = (double)config->dim_model_base / (double)config->d_model;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.wqkv_pack"),
    OUTPUT_WEIGHT,
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .unused = unused,
};

const arch_info arch_minicpm = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
