// phi3: Phi 3, 3.5 and 4 (mini). A Llama whose file holds q, k, v and gate, up joined, with longrope and a part of every head that does not turn.
// phi3_v: Phi 3 and 3.5 Vision, whose language model that is; images are not supported yet.
// Source: Abdin et al. 2024 (arXiv 2404.14219); Phi3Model of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    KEPT_FIELD("model_type", NONE),
    HIDDEN_SIZE,
    VOCAB_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    INTERMEDIATE_SIZE,
    RMS_NORM_EPS,
    NUM_KEY_VALUE_HEADS,
    INTEGER_FIELD("max_position_embeddings", max_position, ARCH_OPTIONAL, INT32_MAX, NONE),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    INTEGER_FIELD("original_max_position_embeddings", original_context, ARCH_OPTIONAL, INT32_MAX, NONE),
    CONTEXT_WINDOW("max_position_embeddings", NONE),
    PREFILL_CHUNK_SIZE,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    REAL_FIELD("partial_rotary_factor", partial_rotary_factor, ARCH_OPTIONAL, 1, NONE),
    SLIDING_WINDOW("sliding_window", ARCH_EXTRA, NONE),
};

// MLC LLM writes the vision model's sizes whatever the config says.
static const arch_field vision_fields[] = {
    KEPT_FIELD("model_type", NONE),
    HIDDEN_SIZE,
    VOCAB_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    INTERMEDIATE_SIZE,
    RMS_NORM_EPS,
    NUM_KEY_VALUE_HEADS,
    INTEGER_FIELD("max_position_embeddings", max_position, ARCH_OPTIONAL, INT32_MAX, NONE),
    {.name = "vision_config", .kind = ARCH_FIELD_KEPT, .json =
        "{\"hidden_size\":1024,\"image_size\":336,\"intermediate_size\":4096,\"num_attention_heads\":16,\"num_hidden_layers\":24,\"patch_size\":14,"
        "\"projection_dim\":768,\"vocab_size\":null,\"num_channels\":3,\"layer_norm_eps\":1e-05,\"kwargs\":{}}"},
    KEPT_FIELD("img_processor", NONE),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    INTEGER_FIELD("original_max_position_embeddings", original_context, ARCH_OPTIONAL, INT32_MAX, NONE),
    CONTEXT_WINDOW("max_position_embeddings", NONE),
    PREFILL_CHUNK_SIZE,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
    SLIDING_WINDOW("sliding_window", ARCH_EXTRA, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"attention_bias", {"false"}, NULL},
    {"mlp_bias", {"false"}, NULL},
    {"lm_head_bias", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "embd_pdrop", "embd_layer", "full_attn_mod", "interpolate_factor", NULL};

// A window as long as the context is none.
static mlcc_status *finish(hf_model_config *config) {
    if (config->sliding_window_size >= config->context_window_size)
        config->sliding_window_size = -1;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "ln", .source = "input_layernorm.weight"),
    WEIGHT(ARCH_QKV, "mixer.qkv_proj.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .source = "self_attn.qkv_proj.weight"),
    WEIGHT(ARCH_O, "mixer.out_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH, .source = "self_attn.o_proj.weight"),
    WEIGHT(ARCH_GATE_UP, "mlp.gate_up_proj.weight", NULL, ARCH_GATE_UP_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_DOWN, "mlp.down_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.embd.weight", .source = "model.embed_tokens.weight"),
    NORM(ARCH_FINAL_NORM, "transformer.norm", .source = "model.norm.weight"),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};

static const arch_weight vision_model_weights[] = {
    EMBEDDING_WEIGHT("model.embd.weight", .source = "model.embed_tokens.weight"),
    NORM(ARCH_FINAL_NORM, "model.norm", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .layers_source = "model.layers.",
    .unused = unused,
};

const arch_info arch_phi3 = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .completes_longrope = true,
    .finish = finish,
    .decoder = &decoder,
};

static const arch_decoder vision_decoder = {
    .layers = "model.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = vision_model_weights,
    .n_model_weights = COUNT_OF(vision_model_weights),
    .layers_source = "model.layers.",
    .unused = unused,
};

const arch_info arch_phi3_v = {
    .fields = vision_fields,
    .n_fields = COUNT_OF(vision_fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .completes_longrope = true,
    .finish = finish,
    .decoder = &vision_decoder,
};
