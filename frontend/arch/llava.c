// llava: LLaVA. The language model, a Llama or a Mistral, of a checkpoint that holds a vision model and a projector as well; images are not supported yet.
// What its text_config leaves out is Llama 2 7B's, as in Hugging Face's LlamaConfig.
// Source: Liu et al. 2023 (arXiv 2304.08485); LlavaForConditionalGeneration of Hugging Face transformers for names and arithmetic.
#include "frontend/arch/fields.h"

#include <string.h>

static const char *const architectures[] = {"LlamaForCausalLM", "MistralForCausalLM", NULL};

// What MLC LLM puts before, into and behind text_config.
// clang-format off
static const arch_field fields[] = {
    KEPT_FIELD("image_token_index", "image_token_id"),
    INTEGER_DEFAULT("hidden_size", d_model, 4096),
    INTEGER_DEFAULT("intermediate_size", d_ff, 11008),
    INTEGER_DEFAULT("num_attention_heads", n_heads, 32),
    FIELD("num_hidden_layers", ARCH_FIELD_INTEGER, n_layers, ARCH_OPTIONAL, 1024, 32, 0, NONE),
    REAL_FIELD("rms_norm_eps", norm_eps, ARCH_OPTIONAL, 1e-6, NONE),
    INTEGER_DEFAULT("vocab_size", vocab, 32000),
    TIE_WORD_EMBEDDINGS(ARCH_OPTIONAL, 0),
    POSITION_EMBEDDING_BASE,
    ROPE_SCALING(ARCH_OPTIONAL),
    FIELD("context_window_size", ARCH_FIELD_INTEGER, context_window_size, ARCH_OPTIONAL, INT32_MAX, 2048, 0, "max_position_embeddings", "max_sequence_length"),
    PREFILL_CHUNK_SIZE,
    NUM_KEY_VALUE_HEADS,
    HEAD_DIM,
    TENSOR_PARALLEL_SHARDS,
    PIPELINE_PARALLEL_STAGES,
    MAX_BATCH_SIZE,
    BOOL_FIELD("disaggregation", disaggregation, ARCH_OPTIONAL, 0, NONE),
    KEPT_FIELD("vision_config", NONE),
    INTEGER_DEFAULT("vocab_size", vocab, 32000),
    FIELD("context_window_size", ARCH_FIELD_INTEGER, context_window_size, ARCH_OPTIONAL, INT32_MAX, 2048, 0, "max_position_embeddings", "max_sequence_length"),
    SLIDING_WINDOW("sliding_window_size", ARCH_OPTIONAL, "sliding_window"),
    PREFILL_CHUNK_SIZE,
    TENSOR_PARALLEL_SHARDS,
    MAX_BATCH_SIZE,
    {.name = "text_architecture", .kind = ARCH_FIELD_CHOICE, .offset = offsetof(hf_model_config, text_architecture), .choices = architectures},
    BOOL_FIELD("attention_bias", attention_bias, ARCH_EXTRA, 0, NONE),
    BOOL_FIELD("mlp_bias", mlp_bias, ARCH_EXTRA, 0, NONE),
};
// clang-format on

static const arch_condition conditions[] = {
    {"hidden_act", {"\"silu\"", "\"swish\""}, NULL},
};

enum { N_BEFORE = 1, N_NESTED = 17 };

static mlcc_status *finish(hf_model_config *config) {
    if (config->document == NULL) return NULL; // an MLC file says text_architecture
    const mlcc_json_value *text = mlcc_json_get(mlcc_json_root(config->document), "text_config");
    const char *type = mlcc_json_text(mlcc_json_get(text, "model_type"), NULL);
    if (type == NULL) return NULL;
    const bool is_mistral = strcmp(type, "mistral") == 0;
    if (!is_mistral && strcmp(type, "llama") != 0)
        return MLCC_ERROR(
            UNSUPPORTED,
            "text_config.model_type is '%.80s'; accepted in llava are llama and mistral, others by "
            "their own name with --model-type",
            type);
    config->text_architecture = architectures[is_mistral];
    return NULL;
}

// clang-format off
static const arch_weight weights[] = {
    ATTENTION_WEIGHTS("self_attn.qkv_proj"),
    ATTENTION_BIASES("self_attn.qkv_proj", .when = WHEN(attention_bias)),
    OUTPUT_WEIGHT,
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    GATED_MLP_WEIGHTS,
    GATED_MLP_BIASES(.when = WHEN(mlp_bias)),
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    EMBEDDING_WEIGHT("language_model.model.embed_tokens.weight", .source = "model.embed_tokens.weight"),
    NORM(ARCH_FINAL_NORM, "language_model.model.norm", .source = "model.norm.weight"),
    HEAD_WEIGHT("language_model.lm_head.weight", .source = "lm_head.weight"),
};
// clang-format on

static const char *const unused[] = {"self_attn.rotary_emb.inv_freq", NULL};

static const arch_decoder decoder = {
    .layers = "language_model.model.layers.",
    .layers_source = "model.layers.",
    .layer = weights,
    .n_layer_weights = COUNT_OF(weights),
    .model = model_weights,
    .n_model_weights = COUNT_OF(model_weights),
    .unused = unused,
};

const arch_info arch_llava = {
    .fields = fields,
    .n_fields = COUNT_OF(fields),
    .conditions = conditions,
    .n_conditions = COUNT_OF(conditions),
    .n_before = N_BEFORE,
    .n_nested = N_NESTED,
    .max_prefill_chunk = 8192,
    .finish = finish,
    .decoder = &decoder,
};
