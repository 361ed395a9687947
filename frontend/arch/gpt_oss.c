// gpt_oss: OpenAI's gpt-oss 20b and 120b. All layers are mixtures of experts with biases and clamped gates; attention has sinks, and a window in every
// other layer, the first among them. Experts are read as mxfp4 codes or as floats.
// Source: OpenAI 2025 (arXiv 2508.10925); GptOssModel of Hugging Face transformers for names and arithmetic. MLC LLM has no such type; the fields are its
// mixtral's and the type's own.
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
    ROPE_BASE_FIELD("position_embedding_base", 150000, "rope_theta"),
    ROPE_SCALING(ARCH_OPTIONAL),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    N_EXPERTS("num_local_experts"),
    INTEGER_FIELD("num_experts_per_tok", n_chosen_experts, ARCH_REQUIRED, IR_MAX_CHOSEN_EXPERTS, "experts_per_token"),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 1, NONE),
    REAL_FIELD("swiglu_limit", swiglu_limit, ARCH_OPTIONAL, 7, NONE),
    SLIDING_WINDOW("sliding_window", ARCH_OPTIONAL, NONE),
    LAYER_TYPES,
};

static const arch_condition conditions[] = {
    {"hidden_act",   {"\"silu\"", "\"swish\""}, NULL},
    {"swiglu_alpha", {"1.702"},               NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "initial_context_length", "output_router_logits", "router_aux_loss_coef", NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->global_period = 2;
    if (config->swiglu_limit > 0) return NULL;
    return MLCC_ERROR(
        INVALID, "swiglu_limit is %g; expected a number above 0", config->swiglu_limit);
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    VECTOR(ARCH_SINKS, "self_attn.sinks", NULL, ARCH_N_HEADS, ALWAYS),
    EXPERTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const char *const unused[] = {"_proj_blocks", "_proj_scales", NULL};

// Rows of gate and up stand in turn; weights of the chosen are a softmax over the chosen.
static const arch_experts experts = {
    .weights =
        {[ARCH_ROUTER] = {.name = "mlp.gate.weight", .sources = {"mlp.router.weight"}},
         [ARCH_ROUTER_BIAS] = {.name = "mlp.gate.bias", .sources = {"mlp.router.bias"}},
         [ARCH_STACK_GATE_UP] =
             {.name = "mlp.moe_gate_up_proj.weight",
              .sources = {"mlp.experts.gate_up_proj"},
              .form = HF_TRANSPOSED_PAIRS,
              .may_be_mxfp4 = true},
         [ARCH_STACK_GATE_UP_BIAS] =
             {.name = "mlp.moe_gate_up_proj.bias",
              .sources = {"mlp.experts.gate_up_proj_bias"},
              .form = HF_PAIRS},
         [ARCH_STACK_DOWN] =
             {.name = "mlp.moe_down_proj.weight",
              .sources = {"mlp.experts.down_proj"},
              .form = HF_TRANSPOSED,
              .may_be_mxfp4 = true},
         [ARCH_STACK_DOWN_BIAS] =
             {.name = "mlp.moe_down_proj.bias", .sources = {"mlp.experts.down_proj_bias"}}},
    .routing = {.scoring = 2},
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

const arch_info arch_gpt_oss = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
