// bert: BERT, and what is trained from it to embed sentences (BGE, E5, GTE, MiniLM, Arctic). An encoder: layer norms behind the residual, learned positions,
// biases everywhere. Files come with and without the prefix `bert.`; heads and poolers of other tasks are not read.
// Source: Devlin et al. 2018 (arXiv 1810.04805); BertModel of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    FIELD("intermediate_size", ARCH_FIELD_WINDOW, d_ff, ARCH_REQUIRED, 1 << 28, -1, 0, NONE),
    ACTIVATION_FIELD("hidden_act", ARCH_REQUIRED, GELU, NONE),
    LAYER_NORM_EPS,
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    INTEGER_DEFAULT("type_vocab_size", type_vocab, 2),
    FIELD("pad_token_id", ARCH_FIELD_COUNT, pad_token, ARCH_OPTIONAL, INT32_MAX, 0, 0, NONE),
    FIELD("position_offset", ARCH_FIELD_COUNT, position_offset, ARCH_OPTIONAL, INT32_MAX, 0, 0, NONE),
    HEAD_DIM,
    MAX_BATCH_SIZE,
    INTEGER_EXTRA("max_position_embeddings", max_position, NONE),
};

static const arch_condition conditions[] = {
    {"position_embedding_type", {"\"absolute\""}, NULL},
    {"position_offset", {"0"}, NULL},
    {"is_decoder", {"false"}, NULL},
    {"add_cross_attention", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "directionality",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "tie_word_embeddings",
    NULL};

// clang-format off
static const arch_weight weights[] = {
    WEIGHT(ARCH_Q, "attention.self.query.weight", "attention.self.qkv.weight", ARCH_Q_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_K, "attention.self.key.weight", "attention.self.qkv.weight", ARCH_Q_WIDTH, ARCH_D_MODEL),
    WEIGHT(ARCH_V, "attention.self.value.weight", "attention.self.qkv.weight", ARCH_Q_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_Q_BIAS, "attention.self.query.bias", "attention.self.qkv.bias", ARCH_Q_WIDTH, ALWAYS),
    VECTOR(ARCH_K_BIAS, "attention.self.key.bias", "attention.self.qkv.bias", ARCH_Q_WIDTH, ALWAYS),
    VECTOR(ARCH_V_BIAS, "attention.self.value.bias", "attention.self.qkv.bias", ARCH_Q_WIDTH, ALWAYS),
    WEIGHT(ARCH_O, "attention.output.dense.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    VECTOR(ARCH_O_BIAS, "attention.output.dense.bias", NULL, ARCH_D_MODEL, ALWAYS),
    NORM(ARCH_ATTENTION_OUTPUT_NORM, "attention.output.LayerNorm", ALWAYS),
    NORM_BIAS(ARCH_ATTENTION_OUTPUT_NORM_BIAS, "attention.output.LayerNorm", ALWAYS),
    WEIGHT(ARCH_UP, "intermediate.dense.weight", NULL, ARCH_D_FF, ARCH_D_MODEL),
    VECTOR(ARCH_UP_BIAS, "intermediate.dense.bias", NULL, ARCH_D_FF, ALWAYS),
    WEIGHT(ARCH_DOWN, "output.dense.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    VECTOR(ARCH_DOWN_BIAS, "output.dense.bias", NULL, ARCH_D_MODEL, ALWAYS),
    NORM(ARCH_MLP_OUTPUT_NORM, "output.LayerNorm", ALWAYS),
    NORM_BIAS(ARCH_MLP_OUTPUT_NORM_BIAS, "output.LayerNorm", ALWAYS),
};

#define TABLE(role, text, rows) \
    WEIGHT(role, "embeddings." text ".weight", NULL, rows, ARCH_D_MODEL, .source = "bert.embeddings." text ".weight")
static const arch_weight model_weights[] = {
    TABLE(ARCH_EMBEDDING, "word_embeddings", ARCH_VOCAB),
    TABLE(ARCH_POSITION_EMBEDDING, "position_embeddings", ARCH_POSITIONS),
    TABLE(ARCH_TOKEN_TYPE_EMBEDDING, "token_type_embeddings", ARCH_TOKEN_TYPES),
    NORM(ARCH_EMBEDDING_NORM, "embeddings.LayerNorm", .source = "bert.embeddings.LayerNorm.weight"),
    NORM_BIAS(ARCH_EMBEDDING_NORM_BIAS, "embeddings.LayerNorm", .source = "bert.embeddings.LayerNorm.bias"),
};
// clang-format on

static const char *const unused[] = {
    "embeddings.position_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
    "cls.predictions.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "LayerNorm.gamma", // read under their new names
    "LayerNorm.beta",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
    NULL};

static const char *const old_endings[] = {
    "LayerNorm.weight", "LayerNorm.gamma", "LayerNorm.bias", "LayerNorm.beta", NULL};

static const arch_decoder encoder = {
    .layers = "encoder.layer.",
    .layers_source = "bert.encoder.layer.",
    .optional_prefix = "bert.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .old_endings = old_endings,
    .is_encoder = true,
    .has_layer_norms = true,
    .positions = ARCH_LEARNED,
    .unused = unused,
};

#define BERT \
    { \
        .fields = fields, \
        .n_fields = COUNT_OF(fields), \
        .conditions = conditions, \
        .n_conditions = COUNT_OF(conditions), \
        .ignored_keys = ignored_keys, \
        .max_prefill_chunk = INT32_MAX, \
        .decoder = &encoder, \
    }

const arch_info arch_bert = BERT;
const arch_info arch_bert_bge = BERT;
