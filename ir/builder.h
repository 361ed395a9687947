// builder: constructors that check operands and infer result types. A wrong call is an error with op, operand and shapes in it
// (a model file can cause it), so constructors return a status; `ir_build` is sticky to keep models readable:
//
//   ir_build b = ir_build_start(function);
//   ir_value *h = ir_rms_norm(&b, x, gain, 1e-5);
//   ir_value *y = ir_linear(&b, h, weight, NULL);
//   ir_build_return(&b, &y, 1);
//   MLCC_TRY(b.status);              the first error; later calls after an error return a dummy value and do nothing
#ifndef MLCC_IR_BUILDER_H
#define MLCC_IR_BUILDER_H

#include "ir/ir.h"

ir_module *ir_module_create(mlcc_arena *keep, const char *name);
// An existing symbol of that name is returned (its bound raised to the larger).
ir_symbol *ir_module_symbol(ir_module *module, const char *name, int64_t bound);
// NULL when the name is taken.
ir_param *ir_module_add_param(
    ir_module *module, const char *name, ir_type type, const char *const *sources,
    int32_t n_sources);
// data is copied
ir_const *ir_module_add_const(ir_module *module, const char *name, ir_type type, const void *data);
// NULL when the name is taken. Groups are placed before the first entry function, so that they precede their callers.
ir_function *ir_module_add_function(ir_module *module, const char *name, bool is_group);
ir_value *ir_function_add_arg(ir_function *function, const char *name, ir_type type);
void ir_function_set_returns(ir_function *function, ir_value *const *values, int32_t n_values);
// An unused name "prefix", "prefix.1", … for functions.
const char *ir_module_fresh_name(ir_module *module, const char *prefix);

typedef struct ir_build {
    ir_function *function;
    ir_node *before;     // new nodes are inserted before it; NULL = at the end
    mlcc_status *status; // first error; the caller owns it
} ir_build;
ir_build ir_build_start(ir_function *function);

// The general constructor: attributes start at their defaults (`required` ones must be set through `attrs`), result types are inferred.
// `result_dtype` is used by ops whose result dtype is free (cast; linear, embedding: pass the activation dtype); IR_N_DTYPES = the op's default.
// Returns NULL on error (b->status is set).
ir_node *ir_build_node(
    ir_build *b, ir_op op, ir_value *const *operands, int32_t n_operands, const ir_attr *attrs,
    int32_t n_attrs, ir_dtype result_dtype);

ir_value *ir_embedding(ir_build *b, ir_value *ids, ir_value *table, ir_dtype result);
ir_value *ir_linear(
    ir_build *b, ir_value *x, ir_value *weight, ir_value *bias,
    ir_dtype result); // bias may be NULL; IR_N_DTYPES = dtype of x
ir_value *ir_rms_norm(ir_build *b, ir_value *x, ir_value *gain, double eps);
// Every `group` columns by themselves: the heads of q or k. gain [group].
ir_value *ir_rms_norm_groups(ir_build *b, ir_value *x, ir_value *gain, double eps, int64_t group);
// gain and bias may be NULL; no bias without a gain.
ir_value *ir_layer_norm(ir_build *b, ir_value *x, ir_value *gain, ir_value *bias, double eps);
// Every `group` columns by themselves; gain and bias [columns of x] or [group].
ir_value *ir_layer_norm_groups(
    ir_build *b, ir_value *x, ir_value *gain, ir_value *bias, double eps, int64_t group);
ir_value *ir_binary(ir_build *b, ir_op op, ir_value *a, ir_value *b_operand);
ir_value *ir_unary(ir_build *b, ir_op op, ir_value *x);
ir_value *ir_scale(ir_build *b, ir_value *x, double factor);
ir_value *ir_softcap(ir_build *b, ir_value *x, double cap);
// Bounds may be infinite: none on that side.
ir_value *ir_clamp(ir_build *b, ir_value *x, double min, double max);
ir_value *ir_cast(ir_build *b, ir_value *x, ir_dtype dtype);
ir_value *ir_slice(ir_build *b, ir_value *x, int64_t begin, int64_t end);
// Of every one of `parts` equal blocks of columns.
ir_value *ir_slice_parts(ir_build *b, ir_value *x, int64_t parts, int64_t begin, int64_t end);
ir_value *ir_rope_table(ir_build *b, ir_value *positions, ir_value *inv_freq, double magnitude);
// With attributes growth and period.
ir_value *ir_rope_table_growing(
    ir_build *b, ir_value *positions, ir_value *inv_freq, double magnitude, double growth,
    int64_t period);
ir_value *ir_rope(ir_build *b, ir_value *x, ir_value *table, int64_t head_dim, bool interleaved);
ir_value *ir_kv_append(
    ir_build *b, ir_value *cache, ir_value *k, ir_value *v, ir_value *page_table, ir_value *seq_ids,
    ir_value *positions);
// What paged_attention does to its scores (ir/ops.def, ir/attrs.def). `sinks` and `slopes` may be NULL; slopes need sinks.
typedef struct ir_attention {
    int64_t head_dim;
    double scale;
    int64_t window; // 0: all positions
    double softcap; // 0: none
    ir_value *sinks, *slopes;
} ir_attention;
ir_value *ir_paged_attention(
    ir_build *b, ir_value *q, ir_value *cache, ir_value *page_table, ir_value *seq_ids,
    ir_value *positions, const ir_attention *attention);
// q, k, v [T, H*head_dim], segments i32 [T, 2]: the rows that each token sees.
ir_value *ir_segment_attention(
    ir_build *b, ir_value *q, ir_value *k, ir_value *v, ir_value *segments, int64_t head_dim,
    double scale);
ir_value *ir_latent_append(
    ir_build *b, ir_value *cache, ir_value *latent, ir_value *rotated, ir_value *page_table,
    ir_value *seq_ids, ir_value *positions);
ir_value *ir_latent_attention(
    ir_build *b, ir_value *q, ir_value *rotated, ir_value *cache, ir_value *page_table,
    ir_value *seq_ids, ir_value *positions, int64_t rank, double scale);
ir_value *ir_linear_heads(ir_build *b, ir_value *x, ir_value *weight);
ir_value *ir_take_rows(ir_build *b, ir_value *x, ir_value *rows);
// `scale` may be NULL: computed at run time.
ir_value *ir_quantize_activation(
    ir_build *b, ir_value *x, ir_value *scale, int64_t mantissa_bits, int64_t group, double floor);
// results[0]: codes, results[1]: scales; NULL after an error.
ir_node *ir_encode_activation(
    ir_build *b, ir_value *x, ir_value *scale, int64_t mantissa_bits, int64_t group, double floor);
ir_value *ir_linear_scaled(
    ir_build *b, ir_value *codes, ir_value *weight, ir_value *scales, ir_value *bias, int64_t group,
    ir_dtype result); // bias may be NULL; IR_N_DTYPES = f32
ir_value *ir_observe_max(ir_build *b, ir_value *maximum, ir_value *x);
// `history`: ranges, tokens, subtracted (ir/ops.def).
ir_value *ir_sample(
    ir_build *b, ir_value *logits, ir_value *settings, ir_value *random,
    ir_value *const history[3]);
// Attributes of route_experts (ir/attrs.def); n_groups, top_groups and group_best 0 = 1, scale 0 = 1.
typedef struct ir_routing {
    int64_t k, scoring;
    bool renormalize;
    double scale;
    int64_t n_groups, top_groups, group_best;
} ir_routing;
// results[0]: experts, results[1]: weights; NULL after an error. `bias` may be NULL.
ir_node *ir_route_experts(ir_build *b, ir_value *logits, ir_value *bias, const ir_routing *routing);
ir_value *ir_linear_experts(
    ir_build *b, ir_value *x, ir_value *weight, ir_value *experts, ir_value *bias,
    ir_dtype result); // bias may be NULL; IR_N_DTYPES = dtype of x
ir_value *ir_linear_scaled_experts(
    ir_build *b, ir_value *codes, ir_value *weight, ir_value *experts, ir_value *scales,
    ir_value *bias, int64_t group,
    ir_dtype result); // bias may be NULL; IR_N_DTYPES = f32
ir_value *ir_combine_experts(ir_build *b, ir_value *y, ir_value *weights);
ir_node *ir_call(ir_build *b, ir_function *callee, ir_value *const *operands, int32_t n_operands);

#endif
