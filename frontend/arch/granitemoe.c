// granitemoe: IBM Granite 3 MoE. A Granite whose layers are mixtures of experts, stored as stacks.
// Source: GraniteMoeModel of Hugging Face transformers for names and arithmetic. MLC LLM has no such type; the fields are its llama's and the factors.
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
    REAL_FIELD("embedding_multiplier", embedding_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("residual_multiplier", residual_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("attention_multiplier", attention_scale, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("logits_scaling", logits_divisor, ARCH_OPTIONAL, 1, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE),
    N_EXPERTS("num_local_experts"),
    CHOSEN_EXPERTS("num_experts_per_tok"),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {"output_router_logits", "router_aux_loss_coef", NULL};

static mlcc_status *finish(hf_model_config *config) {
    if (!(config->logits_divisor > 0))
        return MLCC_ERROR(
            INVALID, "logits_scaling is %g; expected a number above 0", config->logits_divisor);
    config->logit_scale = 1 / config->logits_divisor;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    EXPERTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

// Weights of the chosen are a softmax over the chosen.
static const arch_experts experts = {
    .weights =
        {[ARCH_ROUTER] =
             {.name = "moe.gate.weight", .sources = {"block_sparse_moe.router.layer.weight"}},
         [ARCH_STACK_GATE_UP] =
             {.name = "moe.e1_e3.weight", .sources = {"block_sparse_moe.input_linear.weight"}},
         [ARCH_STACK_DOWN] =
             {.name = "moe.e2.weight", .sources = {"block_sparse_moe.output_linear.weight"}}},
    .routing = {.scoring = 2},
};

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .experts = &experts,
};

const arch_info arch_granitemoe = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
