// eval_ops: one evaluator per op. Each gets operands that agree with the node's types and results
// of the right shape, and writes every element, rounded once from double to the result's dtype. To
// add one: a line here, a case in eval.c's switch (the compiler asks for it), the loops.
#ifndef MLCC_IR_EVAL_OPS_H
#define MLCC_IR_EVAL_OPS_H

#include "ir/eval.h"

typedef struct eval_call {
    const ir_node *node;
    ir_tensor *const *operands;
    ir_tensor *const *results;
    mlcc_arena *scratch; // ends with the run
} eval_call;

// To the dtype in one step; through binary32 rounded to odd, so that two roundings are as one.
float eval_round(ir_dtype dtype, double value);

// eval_tensor.c
bool eval_is_int(ir_dtype dtype);
// A tensor without elements yet.
ir_tensor *eval_tensor_head(mlcc_arena *keep, ir_dtype dtype, int32_t rank, const int64_t *dims);
void eval_tensor_copy(ir_tensor *to, const ir_tensor *from);
ir_tensor *eval_const_tensor(mlcc_arena *keep, const ir_const *constant);
// A tensor agrees with a type; symbols get their value where they are first seen (`symbols` holds
// -1 for those without one).
mlcc_status *eval_bind_type(
    const ir_type *type, const ir_tensor *tensor, int64_t *symbols, const char *what);
// The extents of a type under known symbols; refuses tensors above 2^40 elements.
mlcc_status *eval_resolve_dims(const ir_type *type, const int64_t *symbols, int64_t *dims);

// eval_rows.c: row by row, sums in double
mlcc_status *ir_eval_embedding(const eval_call *call);
mlcc_status *ir_eval_linear(const eval_call *call);
mlcc_status *ir_eval_linear_scaled(const eval_call *call);
mlcc_status *ir_eval_rms_norm(const eval_call *call);
mlcc_status *ir_eval_layer_norm(const eval_call *call);
mlcc_status *ir_eval_take_rows(const eval_call *call);
// eval_elementwise.c
mlcc_status *ir_eval_add(const eval_call *call);
mlcc_status *ir_eval_mul(const eval_call *call);
mlcc_status *ir_eval_scale(const eval_call *call);
mlcc_status *ir_eval_silu(const eval_call *call);
mlcc_status *ir_eval_gelu(const eval_call *call);
mlcc_status *ir_eval_gelu_tanh(const eval_call *call);
mlcc_status *ir_eval_relu(const eval_call *call);
mlcc_status *ir_eval_sigmoid(const eval_call *call);
mlcc_status *ir_eval_softcap(const eval_call *call);
mlcc_status *ir_eval_clamp(const eval_call *call);
mlcc_status *ir_eval_cast(const eval_call *call);
mlcc_status *ir_eval_slice(const eval_call *call);
// eval_activation.c: activations rounded to fewer bits, in float32 arithmetic that kernels repeat exactly
mlcc_status *ir_eval_quantize_activation(const eval_call *call);
mlcc_status *ir_eval_encode_activation(const eval_call *call);
mlcc_status *ir_eval_observe_max(const eval_call *call);
// eval_attention.c: positions, the kv cache
mlcc_status *ir_eval_rope_table(const eval_call *call);
mlcc_status *ir_eval_rope(const eval_call *call);
mlcc_status *ir_eval_kv_append(const eval_call *call);
mlcc_status *ir_eval_paged_attention(const eval_call *call);
// eval_segment_attention.c: whole sequences at a time, no cache
mlcc_status *ir_eval_segment_attention(const eval_call *call);
// eval_latent.c: attention over a cache of latents
mlcc_status *ir_eval_latent_append(const eval_call *call);
mlcc_status *ir_eval_latent_attention(const eval_call *call);
mlcc_status *ir_eval_linear_heads(const eval_call *call);
// eval_experts.c: mixtures of experts
mlcc_status *ir_eval_route_experts(const eval_call *call);
mlcc_status *ir_eval_linear_experts(const eval_call *call);
mlcc_status *ir_eval_linear_scaled_experts(const eval_call *call);
mlcc_status *ir_eval_combine_experts(const eval_call *call);
// eval_sample.c: in whole numbers, which kernels repeat exactly
mlcc_status *ir_eval_sample(const eval_call *call);

#endif
