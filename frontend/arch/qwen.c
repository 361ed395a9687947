// qwen: Qwen 1. A Llama with q, k and v in one tensor with biases; its config counts the rows of gate and up together.
// Source: Bai et al. 2023 (arXiv 2309.16609); its modeling_qwen.py for names and arithmetic.
#include "frontend/arch/fields.h"

// clang-format off
static const arch_field fields[] = {
    VOCAB_SIZE,
    HIDDEN_SIZE,
    NUM_HIDDEN_LAYERS,
    NUM_ATTENTION_HEADS,
    REAL_FIELD("layer_norm_epsilon", norm_eps, ARCH_REQUIRED, 0, NONE),
    KEPT_FIELD("scale_attn_weights", NONE),
    KEPT_FIELD("kv_channels", NONE),
    ROPE_BASE_FIELD("rotary_emb_base", 10000, NONE),
    INTEGER_FIELD("intermediate_size", d_gate_up, ARCH_REQUIRED, 1 << 28, NONE),
    CONTEXT_WINDOW_SIZE,
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    HEAD_DIM,
};

static const arch_condition conditions[] = {
    {"no_bias", {"true"}, NULL},
    {"scale_attn_weights", {"true"}, NULL},
    {"rotary_pct", {"1.0", "1"}, NULL},
    {"tie_word_embeddings", {"false"}, NULL},
};

// use_dynamic_ntk and use_logn_attn act beyond the length of training, seq_length.
static const char *const ignored_keys[] = {
    "attn_dropout_prob", "emb_dropout_prob", "bf16", "fp16", "fp32", "onnx_safe", "seq_length", "use_dynamic_ntk", "use_flash_attn", "use_logn_attn",
    "use_cache_quantization", "use_cache_kernel", "softmax_in_fp32", NULL};
// clang-format on

static mlcc_status *finish(hf_model_config *config) {
    if (config->d_gate_up % 2 != 0)
        return MLCC_ERROR(
            INVALID,
            "intermediate_size is %lld; of qwen it counts gate and up together: an even number",
            (long long)config->d_gate_up);
    config->d_ff = config->d_gate_up / 2;
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    WEIGHT(ARCH_QKV, "attn.c_attn.weight", NULL, ARCH_QKV_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_QKV_BIAS, "attn.c_attn.bias", NULL, ARCH_QKV_WIDTH, ALWAYS),
    WEIGHT(ARCH_O, "attn.c_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
    WEIGHT(ARCH_UP, "mlp.w1.weight", "mlp.gate_up_proj.weight", ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_GATE, "mlp.w2.weight", "mlp.gate_up_proj.weight", ARCH_D_FF, ARCH_D_MODEL),
    WEIGHT(ARCH_DOWN, "mlp.c_proj.weight", NULL, ARCH_D_MODEL, ARCH_D_FF),
    NORM(ARCH_INPUT_NORM, "ln_1", ALWAYS),
    NORM(ARCH_MLP_NORM, "ln_2", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("transformer.wte.weight", ALWAYS),
    NORM(ARCH_FINAL_NORM, "transformer.ln_f", ALWAYS),
    HEAD_WEIGHT("lm_head.weight", ALWAYS),
};
// clang-format on

static const char *const unused[] = {"attn.rotary_emb.inv_freq", "attn.masked_bias", NULL};

static const arch_decoder decoder = {
    .layers = "transformer.h.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .unused = unused,
};

const arch_info arch_qwen = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .ignored_keys = ignored_keys,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
