// cohere: Command R and Aya. Attention and MLP side by side behind one layer norm without bias, pairs of neighbouring columns turn, logits are scaled;
// the embedding serves as head.
// Source: CohereModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    KEPT_FIELD("model_type", NONE),
    HIDDEN_SIZE,
    VOCAB_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    NUM_KEY_VALUE_HEADS,
    INTERMEDIATE_SIZE,
    LAYER_NORM_EPS,
    POSITION_EMBEDDING_BASE,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    REAL_FIELD("logit_scale", logit_scale, ARCH_EXTRA, 0.0625, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_EXTRA, 0, NONE),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 1),
    ROPE_SCALING(ARCH_EXTRA),
    BOOL_FIELD("use_qk_norm", normed_heads, ARCH_EXTRA, 0, NONE),
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};

static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    WEIGHT(ARCH_O, "self_attn.out_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH, .source = "self_attn.o_proj.weight"),
    VECTOR(ARCH_O_BIAS, "self_attn.out_proj.bias", NULL, ARCH_D_MODEL, .source = "self_attn.o_proj.bias", .when = WHEN(attention_bias)),
    VECTOR(ARCH_Q_NORM, "self_attn.q_norm.weight", NULL, ARCH_Q_WIDTH, .form = HF_FLATTENED, .when = WHEN(normed_heads)),
    VECTOR(ARCH_K_NORM, "self_attn.k_norm.weight", NULL, ARCH_KV_WIDTH, .form = HF_FLATTENED, .when = WHEN(normed_heads)),
    WEIGHT(ARCH_GATE, "mlp.gate_proj.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_UP, "mlp.up_proj.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_DOWN, "mlp.down_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};
// clang-format on

static const arch_decoder decoder = {
    .layers = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
    .rope_interleaves = true,
    .is_parallel = true,
};

const arch_info arch_cohere = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
