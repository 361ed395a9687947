// decoder: the skeleton that all decoder-only models share. A family is two tables of weights plus a few choices; the skeleton declares the params
// and builds @forward from them. What has no weight in the tables is left out, so the tables are the structure:
//
//   x = embedding_norm(embedding(ids) (+ position_embedding(positions)), times the config's embedding_scale)
//   per layer:   h = input_norm(x);  q, k, v = linear(h), one by one or cut out of one product;  clamped where the config says so (clip_qkv);
//                q, k = q_norm(q), k_norm(k), per head or per row;
//                q, k = rope(q), rope(k);  cache' = kv_append(cache, k, v)
//                a = attention_output_norm(linear(paged_attention(q, cache')))      the config's scale or 1/sqrt(head_dim), soft cap, layer's window
//                one after the other:  x = x + a;  h = mlp_norm(x);  x = x + mlp_output_norm(mlp(h))
//                side by side:         x = x + a + mlp(mlp_norm(x), or the h above where there is no mlp_norm)
//                mlp(h) = linear(activation(gate) * up), or linear(activation(up)) where there is no gate, or a mixture of experts (experts.h),
//                         plus an MLP of shared experts where there is one, times sigmoid(linear(h)) where that has a gate of its own
//   at the end:  logits = linear(final_norm(take_rows(x, logit_rows)), head) as f32, times the config's logit_scale, soft cap
//
// Latent attention (arXiv 2405.04434, section 2.1) caches for all heads one row a token, [kv_a_norm(latent) | rope(key)] = linear(h), and absorbs the
// projections that would make keys and values of it:
//                q = linear(h), or linear(q_a_norm(linear(h)));  cache' = latent_append(cache, row)
//                a = linear_heads(latent_attention(linear_heads(q's plain columns), rope(q's others), cache'))
//
// Rows are taken before the last norm, so that a prefill norms and projects only the rows whose logits somebody reads.
// Projections stand alone; those that MLC LLM stores joined carry the joined name in `fused_name`, for the pass fuse_projections. Where Hugging Face's
// file has them joined already, a row with a joint role says so.
#ifndef MLCC_FRONTEND_ARCH_DECODER_H
#define MLCC_FRONTEND_ARCH_DECODER_H

#include "frontend/arch/experts.h"
#include "frontend/hf/arranged_source.h"
#include "frontend/hf/model_config.h"
#include "frontend/import.h"
#include "ir/builder.h"

#define ARCH_PAGE_TOKENS 16 // tokens in one page of the KV cache; runtime/abi.h has the same number

// What a weight is for. The skeleton asks for it by role; a bias stands right behind its weight.
typedef enum arch_role {
    ARCH_Q,
    ARCH_Q_BIAS,
    ARCH_K,
    ARCH_K_BIAS,
    ARCH_V,
    ARCH_V_BIAS,
    ARCH_QKV, // rows of q, then k, then v
    ARCH_QKV_BIAS,
    ARCH_O,
    ARCH_O_BIAS,
    ARCH_GATE,
    ARCH_GATE_BIAS,
    ARCH_UP,
    ARCH_UP_BIAS,
    ARCH_GATE_UP, // rows of gate, then up
    ARCH_GATE_UP_BIAS,
    ARCH_DOWN,
    ARCH_DOWN_BIAS,
    ARCH_INPUT_NORM, // before attention
    ARCH_INPUT_NORM_BIAS,
    ARCH_ATTENTION_OUTPUT_NORM,
    ARCH_ATTENTION_OUTPUT_NORM_BIAS,
    ARCH_MLP_NORM, // before the MLP
    ARCH_MLP_NORM_BIAS,
    ARCH_MLP_OUTPUT_NORM,
    ARCH_MLP_OUTPUT_NORM_BIAS,
    ARCH_Q_NORM, // of every head by itself where it has head_dim elements
    ARCH_Q_NORM_BIAS,
    ARCH_K_NORM,
    ARCH_K_NORM_BIAS,
    ARCH_SINKS, // a score of every head that has no value
    // Latent attention, where ARCH_KV_A is; without ARCH_Q_A queries are ARCH_Q's.
    ARCH_Q_A,
    ARCH_Q_A_BIAS,
    ARCH_Q_A_NORM,
    ARCH_Q_A_NORM_BIAS,
    ARCH_Q_B,
    ARCH_Q_B_BIAS,
    ARCH_KV_A, // rows of the latent, then of the key's columns that turn
    ARCH_KV_A_BIAS,
    ARCH_KV_A_NORM, // of the latent
    ARCH_KV_A_NORM_BIAS,
    ARCH_KEY_HEADS,   // of every head: latents from its query's columns that do not turn
    ARCH_VALUE_HEADS, // of every head: its value from latents
    // Shared experts as one MLP beside ARCH_EXPERTS, in the order of the roles of an MLP.
    ARCH_SHARED_GATE,
    ARCH_SHARED_GATE_BIAS,
    ARCH_SHARED_UP,
    ARCH_SHARED_UP_BIAS,
    ARCH_SHARED_GATE_UP,
    ARCH_SHARED_GATE_UP_BIAS,
    ARCH_SHARED_DOWN,
    ARCH_SHARED_DOWN_BIAS,
    ARCH_SHARED_WEIGHT, // one row: the sigmoid of its product weighs the shared experts
    ARCH_SHARED_WEIGHT_BIAS,
    ARCH_EXPERTS, // the place of arch_decoder.experts among the params, instead of an MLP; the row has no name
    // of the model
    ARCH_EMBEDDING,
    ARCH_POSITION_EMBEDDING,
    ARCH_TOKEN_TYPE_EMBEDDING,
    ARCH_EMBEDDING_NORM, // of the sum of the embeddings
    ARCH_EMBEDDING_NORM_BIAS,
    ARCH_FINAL_NORM,
    ARCH_FINAL_NORM_BIAS,
    ARCH_HEAD, // of a tied model: the embedding
    ARCH_HEAD_BIAS,
    ARCH_N_ROLES
} arch_role;

// A dimension of a weight, in terms of the config.
typedef enum arch_extent {
    ARCH_ABSENT, // second dimension of a vector; both: a norm without weights
    ARCH_D_MODEL,
    ARCH_D_FF,
    ARCH_D_SHARED, // of the shared experts together
    ARCH_ONE,
    ARCH_N_HEADS,
    ARCH_GATE_UP_WIDTH, // 2 * d_ff
    ARCH_Q_WIDTH,       // n_heads * head_dim
    ARCH_KV_WIDTH,      // n_kv_heads * head_dim
    ARCH_QKV_WIDTH,     // q and twice kv
    ARCH_HEAD_WIDTH,    // head_dim
    ARCH_QUERY_RANK,
    ARCH_LATENT_RANK,
    ARCH_LATENT_WIDTH, // latent_rank + rotary_dim
    ARCH_PLAIN_WIDTH,  // n_plain
    ARCH_VALUE_WIDTH,  // value_dim
    ARCH_VALUES_WIDTH, // n_heads * value_dim
    ARCH_VOCAB,
    ARCH_POSITIONS,  // max_position
    ARCH_TOKEN_TYPES // type_vocab
} arch_extent;

// Which layers have a weight (hf_model_config_has_experts).
typedef enum arch_layers { ARCH_ALL_LAYERS, ARCH_DENSE_LAYERS, ARCH_EXPERT_LAYERS } arch_layers;

typedef struct arch_weight {
    arch_role role;
    const char *
        name; // in MLC's file, below the layer: "self_attn.q_proj.weight"; NULL: a norm without weights, or experts
    const char *fused_name; // "self_attn.qkv_proj.weight"; NULL = stays alone
    arch_extent rows, columns;
    // Hugging Face's name where it differs. With %lld: of the vector of every head, which lie one behind the other in the param.
    const char *source;
    hf_arrangement_form form; // how Hugging Face's tensor becomes the param
    double addend;            // added to every element of it
    size_t
        when; // offset of a bool of hf_model_config that says whether the weight is there; 0 = always
    arch_layers layers;
    bool is_per_head; // a stack [n_heads, rows, columns]
    const char *
        part_of; // Hugging Face's tensor that this is cut out of as `form` says; NULL = it is a tensor itself
} arch_weight;

typedef enum arch_positions {
    ARCH_ROPE,   // unless the config has_alibi: then none but the slopes of the heads
    ARCH_LEARNED // a table with role ARCH_POSITION_EMBEDDING
} arch_positions;

typedef struct arch_decoder {
    const char *layers;          // "model.layers."; the layer's number and a dot follow
    const char *layers_source;   // Hugging Face's where it differs
    const char *optional_prefix; // of all source names, which some files leave out; NULL = none
    const arch_weight *layer;    // in the order of MLC's modules, which is the order of the params
    size_t n_layer_weights;
    const arch_weight
        *model; // embedding … head; the embeddings stand before the layers, the rest behind them
    size_t n_model_weights;
    const arch_experts *experts; // of layers with a row for ARCH_EXPERTS; NULL: none
    const char *const *
        old_endings; // pairs: how a source's name ends, how it ends in old files; NULL-terminated, NULL = none
    bool is_encoder; // built by encoder.h: whole sequences at a time, norms behind the residual
    bool has_layer_norms;  // layer_norm instead of rms_norm
    bool rope_interleaves; // pairs (2i, 2i + 1)
    bool
        has_layers_behind; // Hugging Face's file may hold layers behind the last that predict further tokens; nobody reads them
    bool is_parallel; // attention and MLP side by side; or as the config's parallel_residual says
    arch_positions positions;
    const char *const *
        unused; // endings of source names that nobody reads, NULL-terminated: derived tables that old files store; NULL = none
} arch_decoder;

// The weights of a layer, or of the model around the layers.
typedef struct arch_weight_set {
    bool has[ARCH_N_ROLES];
    ir_value *by_role[ARCH_N_ROLES]; // NULL: the family has none, or a norm has no weights
    arch_experts_params experts;     // where has[ARCH_EXPERTS]
} arch_weight_set;

// Whether the config's model turns queries and keys.
bool arch_has_rope(const arch_decoder *decoder, const hf_model_config *config);
// Whether the config's model has the weight. `layer` -1: a weight of the model.
bool arch_weight_exists(const arch_weight *weight, const hf_model_config *config, int64_t layer);
// The row of a role among the model's own weights; NULL when there is none.
const arch_weight *arch_decoder_find(const arch_decoder *decoder, arch_role role);
// Names in Hugging Face's file. `layer` -1: a weight of the model.
const char *arch_weight_source(
    const arch_decoder *decoder, const arch_weight *weight, int64_t layer, mlcc_arena *keep);

// Declares the params of the tables, in MLC's order: those of the model in *model, of its layers in (*layers)[n_layers], which lives in `keep`.
mlcc_status *arch_decoder_add_params(
    const arch_decoder *decoder, const hf_model_config *config, ir_module *module, mlcc_arena *keep,
    arch_weight_set *model, arch_weight_set **layers);
// x through the config's activation.
ir_value *arch_activate(const hf_model_config *config, ir_build *build, ir_value *x);

// A verified-by-construction module at GRAPH level, in `keep`.
mlcc_status *arch_decoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out);

#endif
