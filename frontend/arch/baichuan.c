// baichuan: Baichuan and Baichuan 2, 7B. A Llama whose file holds q, k and v as one, and whose second edition divides every row of the head by its
// length; the editions are told apart by their vocabularies, 64000 and 125696 tokens. The 13B models know positions by ALiBi and have no
// max_position_embeddings.
// Source: Yang et al. 2023 (arXiv 2309.10305); its modeling_baichuan.py for names and arithmetic. MLC LLM leaves the head's rows as they are.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    RMS_NORM_EPS,
    INTERMEDIATE_SIZE,
    KEPT_FIELD("use_cache", NONE),
    KEPT_FIELD("pad_token_id", NONE),
    KEPT_FIELD("bos_token_id", NONE),
    KEPT_FIELD("eos_token_id", NONE),
    CONTEXT_WINDOW("max_position_embeddings"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
    ROPE_BASE_EXTRA,
};

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
    {"tie_word_embeddings", {"false"}, NULL},
};
// clang-format on

static const char *const ignored_keys[] = {
    "model_max_length", "_from_model_config", "z_loss_weight", "gradient_checkpointing", NULL};

static mlcc_status *finish(hf_model_config *config) {
    config->has_unit_head = config->vocab == 125696;
    config->has_plain_head = !config->has_unit_head;
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
