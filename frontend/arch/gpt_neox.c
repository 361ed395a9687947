// gpt_neox: GPT-NeoX, Pythia, RedPajama. Attention and MLP side by side, each behind a layer norm of its own, or one after the other; q, k and v lie
// together, head by head; a part of every head turns.
// Source: Black et al. 2022 (arXiv 2204.06745); GPTNeoXModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    BOOL_FIELD("use_parallel_residual", parallel_residual, ARCH_OPTIONAL, 1, NONE),
    HIDDEN_SIZE,
    INTERMEDIATE_SIZE,
    NUM_ATTENTION_HEADS,
    NUM_HIDDEN_LAYERS,
    LAYER_NORM_EPS,
    VOCAB_SIZE,
    REAL_FIELD("rotary_pct", partial_rotary_factor, ARCH_OPTIONAL, 0.25, "partial_rotary_factor"),
    ROPE_BASE_FIELD("position_embedding_base", 10000, "rope_theta", "rotary_emb_base"),
    CONTEXT_WINDOW_SIZE,
    HEAD_DIM,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    FIELD("ffn_out_dtype", ARCH_FIELD_DTYPE, dtype, ARCH_OPTIONAL, 0, 0, 0, NONE),
    MAX_BATCH_SIZE,
    ACTIVATION_FIELD("hidden_act", ARCH_EXTRA, GELU, NONE),
    BOOL_FIELD("attention_bias", attention_bias, ARCH_EXTRA, 1, NONE),
    ROPE_SCALING(ARCH_EXTRA),
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0),
};
// clang-format on

static const char *const ignored_keys[] = {"classifier_dropout", "gradient_checkpointing", NULL};

// clang-format off
static const arch_weight weights[] = {
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM_BIAS(ARCH_INPUT_NORM_BIAS, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
    NORM_BIAS(ARCH_MLP_NORM_BIAS, "post_attention_layernorm", ALWAYS),
    WEIGHT(ARCH_QKV, "attention.query_key_value.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL, .form = HF_GROUPED_QKV),
    VECTOR(ARCH_QKV_BIAS, "attention.query_key_value.bias", NULL, ARCH_QKV_WIDTH, .form = HF_GROUPED_QKV, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_O, "attention.dense.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "attention.dense.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
    WEIGHT(ARCH_UP, "mlp.dense_h_to_4h.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "mlp.dense_h_to_4h.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "mlp.dense_4h_to_h.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "mlp.dense_4h_to_h.bias", NULL, ARCH_D_MODEL, ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("gpt_neox.embed_in.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "gpt_neox.final_layer_norm", ALWAYS),
    NORM_BIAS(ARCH_FINAL_NORM_BIAS, "gpt_neox.final_layer_norm", ALWAYS),
    HEAD_WEIGHT("embed_out.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {
    "attention.masked_bias", "attention.bias", "attention.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "gpt_neox.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .has_layer_norms = true,
    .unused = unused,
};

const arch_info arch_gpt_neox = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .decoder = &decoder,
};
