// eval: the meaning of every op in plain loops. The oracle for passes and kernels, and the engine of constant folding.
//
// A tensor here is always float32 (FLOAT and GROUPED dtypes, already dequantized) or int32 (INT dtypes), C order, constant shape. After every op
// the result is rounded to its IR dtype (f16, bf16: nearest even), sums run in double, so that the answer is the mathematically rounded one.
// Group calls and launches are evaluated through their callee. kv caches are copied, never changed in place.
#ifndef MLCC_IR_EVAL_H
#define MLCC_IR_EVAL_H

#include "ir/ir.h"

typedef struct ir_tensor {
    ir_dtype dtype; // as in the IR type
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
    float *f32;   // FLOAT and GROUPED
    int32_t *i32; // INT
} ir_tensor;
int64_t ir_tensor_count(const ir_tensor *tensor);
// zeros
ir_tensor *ir_tensor_create(mlcc_arena *keep, ir_dtype dtype, int32_t rank, const int64_t *dims);

// Gives the (dequantized) value of a param; called once per param and run.
typedef mlcc_status *ir_eval_param(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out);

typedef struct ir_eval_options {
    ir_eval_param *param;
    void *user;
} ir_eval_options;

// Runs `function` on `args` (one tensor per argument, shapes must agree with the types; symbols take the values found there).
// `results` receives n_returns tensors that live in `keep`. Errors: shapes that disagree, ids or table entries out of range.
mlcc_status *ir_eval_function(
    const ir_function *function, ir_tensor *const *args, const ir_eval_options *options,
    mlcc_arena *keep, ir_tensor **results);
// One node on given operand values, results rounded: for constant folding and tests.
// Scalar conversions, nearest even; also used by quantization.
mlcc_status *ir_eval_node(
    const ir_node *node, ir_tensor *const *operands, mlcc_arena *keep, ir_tensor **results);
float ir_f16_to_f32(uint16_t bits);
uint16_t ir_f32_to_f16(float value);
float ir_bf16_to_f32(uint16_t bits);
uint16_t ir_f32_to_bf16(float value);
float ir_round_to(ir_dtype dtype, float value);
// The 8-bit formats of OCP's "8-bit Floating Point Specification (OFP8)", 2023: e4m3fn has no infinity and one NaN (0x7f),
// e5m2 is IEEE-like. To fp8: nearest even, saturating (also infinities); NaN stays NaN.
float ir_f8e4m3_to_f32(uint8_t bits);
uint8_t ir_f32_to_f8e4m3(float value);
float ir_f8e5m2_to_f32(uint8_t bits);
uint8_t ir_f32_to_f8e5m2(float value);

#endif
