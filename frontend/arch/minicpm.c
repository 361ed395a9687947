// minicpm: MiniCPM 1, dense or with mixtures of experts in all layers. A Llama with factors: of the embedding, of every residual branch by the model's depth, of the logits by its width.
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
    HIDDEN_ACT(SILU),
    RMS_NORM_EPS,
    INTERMEDIATE_SIZE,
    REAL_FIELD("scale_emb", embedding_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("scale_depth", scale_depth, ARCH_OPTIONAL, 0, NONE),
    INTEGER_FIELD("dim_model_base", dim_model_base, ARCH_OPTIONAL, 1 << 24, NONE),
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    ROPE_THETA,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    HEAD_DIM,
    MAX_BATCH_SIZE,
    INTEGER_FIELD("num_experts_per_tok", n_chosen_experts, ARCH_OPTIONAL, IR_MAX_CHOSEN_EXPERTS, NONE),
    INTEGER_FIELD("num_experts", n_experts, ARCH_OPTIONAL, IR_MAX_EXPERTS, NONE),
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
    EXPERTS,
    DENSE_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_experts experts = {
    .weights =
        {[ARCH_ROUTER] = {.name = "mlp.gate.weight"},
         [ARCH_STACK_GATE_UP] =
             {.name = "mlp.e1_e3.weight",
              .sources = {"mlp.experts.%lld.w1.weight", "mlp.experts.%lld.w3.weight"}},
         [ARCH_STACK_DOWN] = {.name = "mlp.e2.weight", .sources = {"mlp.experts.%lld.w2.weight"}}},
    .routing = {.renormalize = true},
};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .experts = &experts,
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
