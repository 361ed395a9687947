// fields: rows of field tables that several model types share, by name, so that a type's table is the list of MLC LLM's fields in its order.
//
//   static const arch_field fields[] = {HIDDEN_SIZE, INTERMEDIATE_SIZE, …, CONTEXT_WINDOW("max_position_embeddings"), …};
//
// INTEGER_FIELD and its like make rows of a type's own. Only files of model types include this.
#ifndef MLCC_FRONTEND_ARCH_FIELDS_H
#define MLCC_FRONTEND_ARCH_FIELDS_H

#include "frontend/arch/arch.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

// The last argument are aliases: Hugging Face's names where they differ; NONE without.
#define NONE NULL
#define FIELD(text, kind_, member, presence_, max_, fallback_, otherwise_, ...) \
    { \
        .name = text, .kind = kind_, .offset = offsetof(hf_model_config, member), \
        .presence = presence_, .max = max_, .fallback = fallback_, .otherwise = otherwise_, \
        .aliases = { \
            __VA_ARGS__ \
        } \
    }

#define INTEGER_FIELD(text, member, presence, max, ...) \
    FIELD(text, ARCH_FIELD_INTEGER, member, presence, max, 0, 0, __VA_ARGS__)
#define COUNT_FIELD(text, member, max, fallback, ...) \
    FIELD(text, ARCH_FIELD_COUNT, member, ARCH_OPTIONAL, max, fallback, 0, __VA_ARGS__)
#define REAL_FIELD(text, member, presence, otherwise, ...) \
    FIELD(text, ARCH_FIELD_REAL, member, presence, 0, 0, otherwise, __VA_ARGS__)
#define BOOL_FIELD(text, member, presence, fallback, ...) \
    FIELD(text, ARCH_FIELD_BOOL, member, presence, 0, fallback, 0, __VA_ARGS__)
#define INTEGER_DEFAULT(text, member, fallback) \
    FIELD(text, ARCH_FIELD_INTEGER, member, ARCH_OPTIONAL, 1 << 28, fallback, 0, NONE)
#define INTEGER_EXTRA(text, member, ...) \
    FIELD(text, ARCH_FIELD_INTEGER, member, ARCH_EXTRA, INT32_MAX, 0, 0, __VA_ARGS__)
#define COUNT_EXTRA(text, member, fallback, ...) \
    FIELD(text, ARCH_FIELD_COUNT, member, ARCH_EXTRA, 1 << 16, fallback, 0, __VA_ARGS__)
#define KEPT_FIELD(text, ...) \
    FIELD(text, ARCH_FIELD_KEPT, model_type, ARCH_OPTIONAL, 0, 0, 0, __VA_ARGS__)
#define KEPT_LIST(text, ...) \
    { \
        .name = text, .kind = ARCH_FIELD_KEPT, .json = "[]", .aliases = { __VA_ARGS__ } \
    }
#define WEIGHT_BLOCK_SIZE KEPT_FIELD("weight_block_size", "quantization_config.weight_block_size")
#define ROPE_BASE_EXTRA \
    FIELD("rope_theta", ARCH_FIELD_ROPE_BASE, rope_theta, ARCH_EXTRA, 0, 0, 10000, NONE)
#define ACTIVATION_FIELD(text, presence, id, ...) \
    FIELD( \
        text, ARCH_FIELD_ACTIVATION, hidden_act, presence, 0, ARCH_ACTIVATION_##id, 0, \
        __VA_ARGS__)
#define ROPE_BASE_FIELD(text, otherwise, ...) \
    FIELD(text, ARCH_FIELD_ROPE_BASE, rope_theta, ARCH_OPTIONAL, 0, 0, otherwise, __VA_ARGS__)

#define HIDDEN_SIZE       INTEGER_FIELD("hidden_size", d_model, ARCH_REQUIRED, 1 << 24, NONE)
#define INTERMEDIATE_SIZE INTEGER_FIELD("intermediate_size", d_ff, ARCH_REQUIRED, 1 << 28, NONE)
#define NUM_ATTENTION_HEADS \
    INTEGER_FIELD("num_attention_heads", n_heads, ARCH_REQUIRED, 1 << 16, NONE)
#define NUM_HIDDEN_LAYERS INTEGER_FIELD("num_hidden_layers", n_layers, ARCH_REQUIRED, 1024, NONE)
#define NUM_KEY_VALUE_HEADS \
    INTEGER_FIELD("num_key_value_heads", n_kv_heads, ARCH_OPTIONAL, 1 << 16, NONE)
#define HEAD_DIM       INTEGER_FIELD("head_dim", head_dim, ARCH_OPTIONAL, 1 << 16, NONE)
#define VOCAB_SIZE     INTEGER_FIELD("vocab_size", vocab, ARCH_REQUIRED, INT32_MAX, NONE)
#define RMS_NORM_EPS   REAL_FIELD("rms_norm_eps", norm_eps, ARCH_REQUIRED, 0, NONE)
#define LAYER_NORM_EPS REAL_FIELD("layer_norm_eps", norm_eps, ARCH_REQUIRED, 0, NONE)
#define TIE_WORD_EMBEDDINGS(presence, fallback) \
    BOOL_FIELD("tie_word_embeddings", tie_word_embeddings, presence, fallback, NONE)
#define HIDDEN_ACT(id)          ACTIVATION_FIELD("hidden_act", ARCH_OPTIONAL, id, NONE)
#define POSITION_EMBEDDING_BASE ROPE_BASE_FIELD("position_embedding_base", 10000, "rope_theta")
#define ROPE_THETA              ROPE_BASE_FIELD("rope_theta", 10000, NONE)
#define ROPE_SCALING(presence) \
    FIELD( \
        "rope_scaling", ARCH_FIELD_ROPE_SCALING, rope_scaling, presence, 0, 0, 0, \
        "rope_parameters")
#define CONTEXT_WINDOW(...) \
    INTEGER_FIELD("context_window_size", context_window_size, ARCH_OPTIONAL, INT32_MAX, __VA_ARGS__)
#define CONTEXT_WINDOW_SIZE CONTEXT_WINDOW("max_position_embeddings", "max_sequence_length")
#define PREFILL_CHUNK_SIZE \
    INTEGER_FIELD("prefill_chunk_size", prefill_chunk_size, ARCH_OPTIONAL, INT32_MAX, NONE)
#define SLIDING_WINDOW(text, presence, ...) \
    FIELD(text, ARCH_FIELD_WINDOW, sliding_window_size, presence, INT32_MAX, -1, 0, __VA_ARGS__)
#define LAYER_TYPES \
    FIELD("layer_types", ARCH_FIELD_LAYER_TYPES, layer_types, ARCH_EXTRA, 0, 0, 0, NONE)
// Mixtures of experts.
#define N_EXPERTS(text) INTEGER_FIELD(text, n_experts, ARCH_REQUIRED, IR_MAX_EXPERTS, NONE)
#define CHOSEN_EXPERTS(text) \
    INTEGER_FIELD(text, n_chosen_experts, ARCH_REQUIRED, IR_MAX_CHOSEN_EXPERTS, NONE)
#define EXPERT_SIZE(text, presence) INTEGER_FIELD(text, d_expert, presence, 1 << 28, NONE)
#define EXPERT_PERIOD(text) \
    FIELD(text, ARCH_FIELD_INTEGER, expert_period, ARCH_OPTIONAL, 1 << 16, 1, 0, NONE)
#define NORM_TOPK_PROB     BOOL_FIELD("norm_topk_prob", norm_topk_prob, ARCH_OPTIONAL, 0, NONE)
#define SHARED_EXPERTS     COUNT_FIELD("n_shared_experts", n_shared_experts, 1 << 16, 0, NONE)
#define FIRST_DENSE_LAYERS COUNT_FIELD("first_k_dense_replace", n_dense_layers, 1 << 16, 0, NONE)
#define DENSE_LAYERS \
    FIELD("mlp_only_layers", ARCH_FIELD_LAYERS, dense_layers, ARCH_EXTRA, 0, 0, 0, NONE)
#define ONE_OR_MORE(text, member) \
    FIELD(text, ARCH_FIELD_INTEGER, member, ARCH_OPTIONAL, 1 << 16, 1, 0, NONE)
#define TENSOR_PARALLEL_SHARDS   ONE_OR_MORE("tensor_parallel_shards", tensor_parallel_shards)
#define PIPELINE_PARALLEL_STAGES ONE_OR_MORE("pipeline_parallel_stages", pipeline_parallel_stages)
#define MAX_BATCH_SIZE           ONE_OR_MORE("max_batch_size", max_batch_size)
#define DTYPE                    FIELD("dtype", ARCH_FIELD_DTYPE, dtype, ARCH_OPTIONAL, 0, 0, 0, NONE)

// Keys of the GPT-2 line's configs that say nothing about arithmetic: of training, of other heads, of other runtimes.
#define GPT2_IGNORED_KEYS \
    "attn_pdrop", "embd_pdrop", "n_ctx", "n_special", "predict_special_tokens", \
        "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", \
        "summary_use_proj", "reorder_and_upcast_attn", "attention_softmax_in_fp32", \
        "scale_attention_softmax_in_fp32", "runner_max_sequence_length", "inference_runner", \
        "validate_runner_input", "pre_allocate_kv_cache", "max_sequence_length", "max_batch_size"

// ---- weights --------------------------------------------------------------------------------------------

// WEIGHT(role, name, fused name or NULL, rows, columns[, .source = …, .form = …, .addend = …, .when = WHEN(member)])
#define WEIGHT(role_, text, fused, rows_, ...) \
    {.role = role_, .name = text, .fused_name = fused, .rows = rows_, .columns = __VA_ARGS__}
#define VECTOR(role_, text, fused, ...) \
    {.role = role_, .name = text, .fused_name = fused, .columns = ARCH_ABSENT, .rows = __VA_ARGS__}
#define WHEN(member) offsetof(hf_model_config, member)

// Hugging Face's usual names; `joined`: MLC's name of q, k and v as one. The arguments behind go to every row.
#define ATTENTION_WEIGHTS(joined) \
    WEIGHT(ARCH_Q, "self_attn.q_proj.weight", joined ".weight", ARCH_Q_WIDTH, ARCH_D_MODEL), \
        WEIGHT(ARCH_K, "self_attn.k_proj.weight", joined ".weight", ARCH_KV_WIDTH, ARCH_D_MODEL), \
        WEIGHT(ARCH_V, "self_attn.v_proj.weight", joined ".weight", ARCH_KV_WIDTH, ARCH_D_MODEL)
#define ATTENTION_BIASES(joined, ...) \
    VECTOR(ARCH_Q_BIAS, "self_attn.q_proj.bias", joined ".bias", ARCH_Q_WIDTH, __VA_ARGS__), \
        VECTOR(ARCH_K_BIAS, "self_attn.k_proj.bias", joined ".bias", ARCH_KV_WIDTH, __VA_ARGS__), \
        VECTOR(ARCH_V_BIAS, "self_attn.v_proj.bias", joined ".bias", ARCH_KV_WIDTH, __VA_ARGS__)
#define OUTPUT_WEIGHT WEIGHT(ARCH_O, "self_attn.o_proj.weight", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH)
#define OUTPUT_BIAS(...) \
    VECTOR(ARCH_O_BIAS, "self_attn.o_proj.bias", NULL, ARCH_D_MODEL, __VA_ARGS__)
#define GATED_MLP_BIASES(...) \
    VECTOR(ARCH_GATE_BIAS, "mlp.gate_proj.bias", "mlp.gate_up_proj.bias", ARCH_D_FF, __VA_ARGS__), \
        VECTOR(ARCH_UP_BIAS, "mlp.up_proj.bias", "mlp.gate_up_proj.bias", ARCH_D_FF, __VA_ARGS__), \
        VECTOR(ARCH_DOWN_BIAS, "mlp.down_proj.bias", NULL, ARCH_D_MODEL, __VA_ARGS__)
// kind: nothing, or SHARED_; `width`: of its columns in between. The arguments behind go to every row.
#define GATED_WEIGHTS(kind, module, width, ...) \
    WEIGHT( \
        ARCH_##kind##GATE, module ".gate_proj.weight", module ".gate_up_proj.weight", width, \
        ARCH_D_MODEL, __VA_ARGS__), \
        WEIGHT( \
            ARCH_##kind##UP, module ".up_proj.weight", module ".gate_up_proj.weight", width, \
            ARCH_D_MODEL, __VA_ARGS__), \
        WEIGHT( \
            ARCH_##kind##DOWN, module ".down_proj.weight", NULL, ARCH_D_MODEL, width, __VA_ARGS__)
#define GATED_MLP_WEIGHTS GATED_WEIGHTS(, "mlp", ARCH_D_FF, ALWAYS)
// Layers without experts, and what stands beside the experts in the others.
#define DENSE_MLP_WEIGHTS GATED_WEIGHTS(, "mlp", ARCH_D_FF, .layers = ARCH_DENSE_LAYERS)
#define SHARED_EXPERT_WEIGHTS(module) \
    GATED_WEIGHTS( \
        SHARED_, module, ARCH_D_SHARED, .layers = ARCH_EXPERT_LAYERS, \
        .when = WHEN(has_shared_experts))
// The members of arch_experts.weights of most types.
#define USUAL_EXPERT_WEIGHTS \
    [ARCH_ROUTER] = {.name = "mlp.gate.weight"}, \
    [ARCH_STACK_GATE_UP] = \
        {.name = "mlp.moe_gate_up_proj.weight", \
         .sources = {"mlp.experts.%lld.gate_proj.weight", "mlp.experts.%lld.up_proj.weight"}}, \
    [ARCH_STACK_DOWN] = { \
        .name = "mlp.moe_down_proj.weight", .sources = {"mlp.experts.%lld.down_proj.weight"}}
#define EXPERTS                    {.role = ARCH_EXPERTS, .layers = ARCH_EXPERT_LAYERS}
// WEIGHT_NORMS(role, name[, .addend = 1]) and the bias of such a norm.
#define NORM(role, text, ...)      VECTOR(role, text ".weight", NULL, ARCH_D_MODEL, __VA_ARGS__)
#define NORM_BIAS(role, text, ...) VECTOR(role, text ".bias", NULL, ARCH_D_MODEL, __VA_ARGS__)
#define ALWAYS                     .when = 0
#define PLUS_ONE                   .addend = 1.0

#define EMBEDDING_WEIGHT(text, ...) \
    WEIGHT(ARCH_EMBEDDING, text, NULL, ARCH_VOCAB, ARCH_D_MODEL, __VA_ARGS__)
#define HEAD_WEIGHT(text, ...) WEIGHT(ARCH_HEAD, text, NULL, ARCH_VOCAB, ARCH_D_MODEL, __VA_ARGS__)
// The arguments go to the norm.
#define MODEL_WEIGHTS(...) \
    EMBEDDING_WEIGHT("model.embed_tokens.weight", ALWAYS), \
        NORM(ARCH_FINAL_NORM, "model.norm", __VA_ARGS__), HEAD_WEIGHT("lm_head.weight", ALWAYS)
#define USUAL_MODEL_WEIGHTS MODEL_WEIGHTS(ALWAYS)

#endif
