// mixtral: a Llama whose MLP is eight experts, of which a router picks two for every token.
// Source: Jiang et al. 2024 (arXiv 2401.04088); MixtralModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    RMS_NORM_EPS,
    VOCAB_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    BOOL_FIELD("disaggregation", disaggregation, ARCH_OPTIONAL, 0, NONE),
    N_EXPERTS("num_local_experts"),
    CHOSEN_EXPERTS("num_experts_per_tok"),
    SLIDING_WINDOW("sliding_window", ARCH_EXTRA, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act",     {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias", {"false"},                 NULL},
};

static const char *const ignored_keys[] = {"output_router_logits", "router_aux_loss_coef", "router_jitter_noise", NULL};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    OUTPUT_WEIGHT,
    EXPERTS,
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
        {[ARCH_ROUTER] = {.name = "moe.gate.weight", .sources = {"block_sparse_moe.gate.weight"}},
         [ARCH_STACK_GATE_UP] =
             {.name = "moe.e1_e3.weight",
              .sources =
                  {"block_sparse_moe.experts.%lld.w1.weight",
                   "block_sparse_moe.experts.%lld.w3.weight"}},
         [ARCH_STACK_DOWN] =
             {.name = "moe.e2.weight", .sources = {"block_sparse_moe.experts.%lld.w2.weight"}}},
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

const arch_info arch_mixtral = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
