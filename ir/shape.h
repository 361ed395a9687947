// shape: the result types of an op from its operands, and every rule on operand dtypes, shapes and
// attribute values. One rule per name in the `rule` column of ops.def. The builder, the parser and
// the verifier ask the same question.
#ifndef MLCC_IR_SHAPE_H
#define MLCC_IR_SHAPE_H

#include "ir/ir.h"

typedef struct ir_shape_query {
    ir_op op;
    ir_value *const *operands;
    int32_t n_operands;
    const ir_attr *attrs;  // all attributes of the op, in attrs.def order
    ir_dtype result_dtype; // for ops whose result dtype is free; IR_N_DTYPES = the op's default
    const ir_function
        *callee; // call and launch: the function named by `callee`, NULL if there is none
} ir_shape_query;

// True for ops that accept a result dtype of the caller's choice: cast, linear, linear_scaled, linear_experts, linear_scaled_experts,
// embedding.
bool ir_shape_dtype_is_free(ir_op op);
// Fills `results` (room for IR_MAX_OPERANDS) and `n_results`. Errors are INVALID: "linear: operand
// 1 @w is f32[3, 5], expected …".
mlcc_status *ir_shape_infer(const ir_shape_query *query, ir_type *results, int32_t *n_results);

#endif
