// baichuan: Baichuan and Baichuan 2. A Llama whose file holds q, k and v as one, and whose second edition divides every row of the head by its
// length; the editions are told apart by their vocabularies, 64000 and 125696 tokens. The 13B models know positions by ALiBi; what tells
// them from the others is that they have model_max_length and no max_position_embeddings.
// Source: Yang et al. 2023 (arXiv 2309.10305); its modeling_baichuan.py for names and arithmetic. MLC LLM leaves the head's rows as they are and has the
// 7B models only.
#include "frontend/arch/fields.h"

// Read for whether they are there; never written.
#define ROTARY_LENGTH \
    FIELD("max_position_embeddings", ARCH_FIELD_KEPT, model_type, ARCH_EXTRA, 0, 0, 0, NONE)
#define PLAIN_LENGTH \
    FIELD("model_max_length", ARCH_FIELD_KEPT, model_type, ARCH_EXTRA, 0, 0, 0, NONE)

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    KEPT_FIELD("initializer_range", NONE),
    INTERMEDIATE_SIZE,
    RMS_NORM_EPS,
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("pad_token_id", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    CONTEXT_WINDOW("max_position_embeddings", "model_max_length"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ROPE_BASE_EXTRA,
    BOOL_FIELD("alibi", has_alibi, ARCH_EXTRA, 0, NONE),
    ROTARY_LENGTH,
    PLAIN_LENGTH,
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"tie_word_embeddings", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "_from_model_config", "z_loss_weight", "gradient_checkpointing", NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->has_unit_head = config->vocab == 125696;
    config->has_plain_head = !config->has_unit_head;
    // The last two rows of the table.
    const bool has_rotary_length = config->found[COUNT_OF(fields) - 2] != NULL,
               has_plain_length = config->found[COUNT_OF(fields) - 1] != NULL;
    config->has_alibi |= has_plain_length && !has_rotary_length;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    WEIGHT(ARCH_QKV, "self_attn.W_pack.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL),
    OUTPUT_WEIGHT,
    GATED_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "model.norm", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", .when = WHEN(has_plain_head)),
    HEAD_WEIGHT("lm_head.weight", .form = HF_UNIT_ROWS, .when = WHEN(has_unit_head)),
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

const arch_info arch_baichuan = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
