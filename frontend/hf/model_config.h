// model_config: what a model is, read from Hugging Face's config.json or from the model_config object of mlc-chat-config.json.
//
// Both readers and the writer are driven by one field table per model type (frontend/arch), in MLC LLM's declaration order. Keys that matter and are
// missing or out of range are errors; keys nobody knows are reported once, as a warning that lists them; keys that would change the computation in a
// way that mlcc does not do (biases, another activation, an unknown RoPE scaling) are errors that say what is accepted. What a checkpoint says about its
// quantization is read elsewhere (quantization_config.h).
#ifndef MLCC_FRONTEND_HF_MODEL_CONFIG_H
#define MLCC_FRONTEND_HF_MODEL_CONFIG_H

#include "ir/ir.h"
#include "quantization/mode.h"
#include "runtime/base/json.h"

typedef enum hf_rope_scaling_kind {
    HF_ROPE_NONE,
    HF_ROPE_LLAMA3,
    HF_ROPE_LINEAR,
    HF_ROPE_YARN,
    HF_ROPE_LONGROPE
} hf_rope_scaling_kind;

typedef struct hf_rope_scaling {
    hf_rope_scaling_kind kind;
    double factor;                            // longrope: 0 = the config's contexts divided
    double low_freq_factor, high_freq_factor; // llama3
    double beta_fast, beta_slow;              // yarn
    bool truncates;                           // yarn: the ends of the ramp are whole numbers
    double magnitude;                         // of cosines and sines; 0 = longrope's own rule
    double growth; // of queries, with the logarithm of original contexts before them; 0 = none
    double score_factor;      // yarn with mscale_all_dim: of scores of attention; 0 = none
    int64_t original_context; // 0 = hf_model_config.original_context
    // longrope: arrays of rotary_dim / 2 numbers, as found
    const mlcc_json_value *short_factors, *long_factors;
} hf_rope_scaling;

typedef enum hf_spelling { HF_NOT_GIVEN, HF_AS_INTEGER, HF_AS_REAL } hf_spelling;

// More fields than any model class has.
#define HF_MAX_FIELDS 48

typedef struct hf_model_config {
    const char *model_type; // registry key: "llama"
    const char *hidden_act; // "silu"
    const char *dtype;      // MLC's key of some model types, "float32" by default; decides nothing
    int64_t d_model, d_ff, n_layers, n_heads, n_kv_heads, head_dim, vocab;
    int64_t d_gate_up;                   // twice d_ff, of types whose config says that
    int64_t n_experts, n_chosen_experts; // of a mixture of experts; 0: the type has none
    int64_t d_expert;                    // d_ff of one of them; 0 = d_ff
    int64_t n_shared_experts,
        d_shared; // that every token reads; d_ff of all of them together; 0 = none
    // Layers with experts: from the n_dense_layers-th on, where expert_phase + the layer's number is a multiple of expert_period, that dense_layers
    // does not list.
    int64_t n_dense_layers, expert_period, expert_phase;
    const mlcc_json_value *dense_layers; // as found (see rope_scaling_json); NULL = none
    bool has_shared_experts;             // d_shared > 0
    bool norm_topk_prob;                 // weights of the chosen experts are divided by their sum
    double routed_scaling_factor;        // then times this
    double swiglu_limit;                 // clamps gate and up of experts; 0 = plain products
    int64_t type_vocab, pad_token, position_offset; // of encoders
    const char *text_architecture;                  // of a composite model's language model
    // How a router chooses (ir/attrs.def, route_experts); as configs say it: scoring_func, topk_method.
    const char *scoring_func, *topk_method;
    int64_t n_expert_groups, n_top_groups;
    // Latent attention: keys and values are made of latent_rank columns a token that all heads share; n_plain columns of a head's query and key do
    // not turn, rotary_dim do. Queries come through query_rank columns; 0 = from the model's own. latent_rank 0: plain attention.
    int64_t latent_rank, query_rank, n_plain, value_dim;
    double norm_eps;
    // Columns of a head that turn with the position: given, or a part of head_dim.
    int64_t rotary_dim;
    double partial_rotary_factor;
    double rope_theta;
    double
        rope_local_theta; // of layers with a window; 0 = rope_theta, and the scaling is theirs, too
    bool
        rope_theta_is_integer; // as found, so that MLC's file gets 10000 where MLC writes 10000 and 10000.0 where it writes that
    hf_rope_scaling rope_scaling;
    const mlcc_json_value *
        rope_scaling_json; // as found (belongs to `document`, or to the caller of _from_mlc), NULL when null or dropped
    int64_t max_position,
        original_context; // as some types have them beside context_window_size; 0 = not given
    bool tie_word_embeddings;
    bool attention_bias, mlp_bias, head_bias, normed_heads;
    bool has_alibi; // positions are known by the heads' slopes alone, times alibi_factor
    double alibi_factor;
    bool parallel_residual, multi_query, new_decoder, scales_by_layer, is_text_model;
    // Of types whose structure depends on their config; arch_info.finish sets them.
    bool has_query_rank, has_query_rank_bias, has_whole_query;
    bool has_mlp_norm, has_one_norm, has_two_norms, has_plain_head, has_unit_head;
    // Numbers that a type's arithmetic has; 0 = none. As the skeleton uses them (arch_info.finish computes what a config says in other words):
    double embedding_scale, residual_scale, attention_scale, logit_scale; // factors
    double attention_softcap, logit_softcap;
    double clip_qkv; // q, k and v are clamped to ± it
    // … and as configs say them.
    double query_pre_attn_scalar, scale_depth, logits_divisor, rope_ratio;
    int64_t dim_model_base, n_parallel_norms;
    // Of recurrent types: "5_2"; layers after which what flows between layers is halved, 0 = never.
    const char *model_version;
    int64_t rescale_every;
    // Layers that see the whole context although there is a window: every global_period-th; 0 = none. An array of names says it layer by layer.
    int64_t global_period;
    const mlcc_json_value *layer_types; // as found (see rope_scaling_json); NULL = by global_period
    int64_t context_window_size;        // > 0, or -1: no limit (types with a sliding window)
    int64_t sliding_window_size;        // tokens that a token sees; -1 = all
    int64_t attention_sink_size;        // of MLC's rolling cache; -1 = the type has none
    int64_t prefill_chunk_size;         // > 0, ≤ context_window_size where that has a limit
    int64_t tensor_parallel_shards, pipeline_parallel_stages, max_batch_size;
    bool disaggregation;
    // By index in the type's table. Kept and verbatim fields: as found (see rope_scaling_json). Real ones: how the number was spelled.
    const mlcc_json_value *found[HF_MAX_FIELDS];
    hf_spelling spelling[HF_MAX_FIELDS];
    quant_options
        quantization; // of _from_mlc: key "quantization_options"; all zero otherwise (import_quant_options)
    const char *
        directory; // where config.json lay: weights and tokenizer files stand beside it; NULL for a preset and for _from_mlc
    mlcc_json *document; // keeps the JSON alive; hf_model_config_free ends it; NULL for _from_mlc
} hf_model_config;

// Options of gen_config and compile that replace values; 0 = not given.
typedef struct hf_config_overrides {
    int64_t context_window_size, sliding_window_size, prefill_chunk_size, attention_sink_size;
    int64_t tensor_parallel_shards, pipeline_parallel_stages, max_batch_size;
} hf_config_overrides;

// `path`: a directory that holds config.json, that file, or a preset name (frontend/arch/presets.def); a directory or file of that name wins over a
// preset. model_type NULL or "auto" = the file's own. `overrides` may be NULL; one for a field that the model type lacks is dropped with a warning.
// The result lives in `keep` until hf_model_config_free.
mlcc_status *hf_model_config_read(
    const char *path, const char *model_type, const hf_config_overrides *overrides,
    mlcc_arena *keep, hf_model_config **out);
// The same from the text of a config.json; `what` names it in errors.
mlcc_status *hf_model_config_parse(
    const char *text, size_t length, const char *what, const char *model_type,
    const hf_config_overrides *overrides, mlcc_arena *keep, hf_model_config **out);
// From a parsed mlc-chat-config.json: its model_config object with the top-level keys laid over it, then the overrides.
mlcc_status *hf_model_config_from_mlc(
    const mlcc_json_value *mlc_chat_config, const char *what, const hf_config_overrides *overrides,
    mlcc_arena *keep, hf_model_config **out);
// Tokens that a token of `layer` sees; 0 = all.
int64_t hf_model_config_window(const hf_model_config *config, int64_t layer);
// Whether `layer` is a mixture of experts.
bool hf_model_config_has_experts(const hf_model_config *config, int64_t layer);
// The model_config object of mlc-chat-config.json: MLC's fields in MLC's order.
void hf_model_config_write(const hf_model_config *config, mlcc_json_writer *writer);
void hf_model_config_free(hf_model_config *config); // NULL is fine

#endif
