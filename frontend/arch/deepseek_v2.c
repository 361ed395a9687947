// deepseek_v2, deepseek_v3: latent attention (one cached row a token for all heads) beside fine-grained and shared experts; the first layers are dense.
// Sources: DeepSeek-V2 (arXiv 2405.04434), DeepSeek-V3 (arXiv 2412.19437); DeepseekV2Model and DeepseekV3Model of Hugging Face transformers for names
// and arithmetic. They norm latents with their own epsilon, 1e-6; MLC LLM takes the config's.
// MLC's files also hold kv_b_proj, of which w_uk and w_uv are the halves: its prefill multiplies with it, nothing here does.
#include "frontend/arch/fields.h"

#include <math.h>
#include <string.h>

static const char *const softmax[] = {"softmax", NULL}, *const sigmoid[] = {"sigmoid", NULL};
static const char *const whole_or_groups[] = {"greedy", "group_limited_greedy", NULL};
static const char *const groups_by_two[] = {"noaux_tc", NULL};

// clang-format off
#define TEXT_FIELD(text, member, texts) \
    {.name = text, .kind = ARCH_FIELD_CHOICE, .offset = offsetof(hf_model_config, member), .choices = texts}

#define FIELDS(scorings, methods, norms) \
    VOCAB_SIZE, \
    HIDDEN_SIZE, \
    INTERMEDIATE_SIZE, \
    EXPERT_SIZE("moe_intermediate_size", ARCH_REQUIRED), \
    NUM_HIDDEN_LAYERS, \
    NUM_ATTENTION_HEADS, \
    NUM_KEY_VALUE_HEADS, \
    SHARED_EXPERTS, \
    N_EXPERTS("n_routed_experts"), \
    CHOSEN_EXPERTS("num_experts_per_tok"), \
    BOOL_FIELD("norm_topk_prob", norm_topk_prob, ARCH_OPTIONAL, norms, NONE), \
    FIRST_DENSE_LAYERS, \
    EXPERT_PERIOD("moe_layer_freq"), \
    REAL_FIELD("routed_scaling_factor", routed_scaling_factor, ARCH_OPTIONAL, 1, NONE), \
    TEXT_FIELD("scoring_func", scoring_func, scorings), \
    TEXT_FIELD("topk_method", topk_method, methods), \
    ONE_OR_MORE("n_group", n_expert_groups), \
    ONE_OR_MORE("topk_group", n_top_groups), \
    BOOL_FIELD("attention_bias", attention_bias, ARCH_OPTIONAL, 0, NONE), \
    INTEGER_FIELD("kv_lora_rank", latent_rank, ARCH_REQUIRED, 1 << 16, NONE), \
    INTEGER_FIELD("qk_rope_head_dim", rotary_dim, ARCH_REQUIRED, 1 << 16, NONE), \
    INTEGER_FIELD("v_head_dim", value_dim, ARCH_REQUIRED, 1 << 16, NONE), \
    INTEGER_FIELD("qk_nope_head_dim", n_plain, ARCH_REQUIRED, 1 << 16, NONE), \
    RMS_NORM_EPS, \
    ROPE_THETA, \
    INTEGER_FIELD("q_lora_rank", query_rank, ARCH_VERBATIM, 1 << 24, NONE), \
    ROPE_SCALING(ARCH_OPTIONAL), \
    CONTEXT_WINDOW_SIZE, \
    PREFILL_CHUNK_SIZE, \
    TENSOR_PARALLEL_SHARDS, \
    DTYPE, \
    MAX_BATCH_SIZE, \
    WEIGHT_BLOCK_SIZE, \
    TIE_WORD_EMBEDDINGS(ARCH_EXTRA, 0)

static const arch_field v2_fields[] = {FIELDS(softmax, whole_or_groups, 0)};
static const arch_field v3_fields[] = {FIELDS(sigmoid, groups_by_two, 1)};

static const arch_condition conditions[] = {
    {"hidden_act",      {"\"silu\"", "\"swish\""}, NULL},
    {"mlp_bias",        {"false"},                 NULL},
    {"rope_interleave", {"true"},                  NULL},
};

static const char *const ignored_keys[] = {
    "aux_loss_alpha", "seq_aux", "ep_size", "head_dim", "qk_head_dim", "num_nextn_predict_layers", "num_mtp_layers", "output_router_logits",
    "router_aux_loss_coef", NULL};

static const arch_weight weights[] = {
    WEIGHT(ARCH_Q, "self_attn.q_proj.weight", NULL, ARCH_Q_WIDTH, ARCH_D_MODEL, .when = WHEN(has_whole_query)),
    WEIGHT(ARCH_Q_A, "self_attn.q_a_proj.weight", NULL, ARCH_QUERY_RANK, ARCH_D_MODEL, .when = WHEN(has_query_rank)),
    VECTOR(ARCH_Q_A_BIAS, "self_attn.q_a_proj.bias", NULL, ARCH_QUERY_RANK, .when = WHEN(has_query_rank_bias)),
    VECTOR(ARCH_Q_A_NORM, "self_attn.q_a_layernorm.weight", NULL, ARCH_QUERY_RANK, .when = WHEN(has_query_rank)),
    WEIGHT(ARCH_Q_B, "self_attn.q_b_proj.weight", NULL, ARCH_Q_WIDTH, ARCH_QUERY_RANK, .when = WHEN(has_query_rank)),
    WEIGHT(ARCH_KV_A, "self_attn.kv_a_proj_with_mqa.weight", NULL, ARCH_LATENT_WIDTH, ARCH_D_MODEL),
    VECTOR(ARCH_KV_A_BIAS, "self_attn.kv_a_proj_with_mqa.bias", NULL, ARCH_LATENT_WIDTH, .when = WHEN(attention_bias)),
    VECTOR(ARCH_KV_A_NORM, "self_attn.kv_a_layernorm.weight", NULL, ARCH_LATENT_RANK),
    WEIGHT(ARCH_KEY_HEADS, "self_attn.w_uk", NULL, ARCH_LATENT_RANK, ARCH_PLAIN_WIDTH, .is_per_head = true,
           .part_of = "self_attn.kv_b_proj.weight", .form = HF_PART_OF_HEADS_TRANSPOSED),
    WEIGHT(ARCH_VALUE_HEADS, "self_attn.w_uv", NULL, ARCH_VALUE_WIDTH, ARCH_LATENT_RANK, .is_per_head = true,
           .part_of = "self_attn.kv_b_proj.weight", .form = HF_PART_OF_HEADS),
    WEIGHT(ARCH_O, "self_attn.o_proj.weight", NULL, ARCH_D_MODEL, ARCH_VALUES_WIDTH),
    OUTPUT_BIAS(.when = WHEN(attention_bias)),
    EXPERTS,
    SHARED_EXPERT_WEIGHTS("mlp.shared_experts"),
    DENSE_MLP_WEIGHTS,
    NORM(ARCH_INPUT_NORM, "input_layernorm", ALWAYS),
    NORM(ARCH_MLP_NORM, "post_attention_layernorm", ALWAYS),
};

static const arch_weight model_weights[] = {
    USUAL_MODEL_WEIGHTS,
};

static const char *const unused[] = {"self_attn.kv_b_proj.weight", "self_attn.rotary_emb.inv_freq", NULL};

static const arch_experts v2_experts = {.weights = {USUAL_EXPERT_WEIGHTS}};
static const arch_experts v3_experts = {
    .weights = {USUAL_EXPERT_WEIGHTS, [ARCH_CHOICE_BIAS] = {.name = "mlp.e_score_correction_bias", .sources = {"mlp.gate.e_score_correction_bias"}}},
    .routing = {.scoring = 1, .group_best = 2}};

#define DECODER(mixture) \
    { \
        .layers = "model.layers.", .layer = weights, .n_layer_weights = COUNT_OF(weights), .model = model_weights, \
        .n_model_weights = COUNT_OF(model_weights), .experts = mixture, .rope_interleaves = true, .has_layers_behind = true, .unused = unused, \
    }
static const arch_decoder v2_decoder = DECODER(&v2_experts), v3_decoder = DECODER(&v3_experts);
// clang-format on

static mlcc_status *finish(hf_model_config *config) {
    const double factor = config->rope_scaling.score_factor;
    config->attention_scale = (factor > 0 ? factor : 1) / sqrt((double)config->head_dim);
    config->has_query_rank = config->query_rank > 0;
    config->has_whole_query = !config->has_query_rank;
    config->has_query_rank_bias = config->has_query_rank && config->attention_bias;
    if (strcmp(config->topk_method, "greedy") == 0) config->n_expert_groups = 1;
    return NULL;
}

// clang-format off
#define INFO(table, structure) \
    { \
        .fields = table, .n_fields = COUNT_OF(table), .conditions = conditions, .n_conditions = COUNT_OF(conditions), .ignored_keys = ignored_keys, \
        .max_prefill_chunk = 2048, .finish = finish, .decoder = structure, \
    }
const arch_info arch_deepseek_v2 = INFO(v2_fields, &v2_decoder), arch_deepseek_v3 = INFO(v3_fields, &v3_decoder);
// clang-format on
