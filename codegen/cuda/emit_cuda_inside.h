// emit_cuda_inside: what the emit_cuda*.c files share. Nobody else includes it.
//
//   expression  elements of the group's values as text
//   hooks       the functions of kernels/kernel.h that the kernel's text mentions
//   chain       the functions of a chain's kernel
//   emit_cuda   constants, environment, the files in order
#ifndef MLCC_CODEGEN_CUDA_EMIT_CUDA_INSIDE_H
#define MLCC_CODEGEN_CUDA_EMIT_CUDA_INSIDE_H

#include "codegen/cuda/emit_cuda.h"

// One element of a tensor, or two neighbouring columns of one row. `row` and `column` are C expressions that may be repeated.
typedef struct cuda_place {
    const char *row, *column;
    int32_t width; // 1, or 2: `column` is even
} cuda_place;

// A value already computed at a place of the hook being written.
typedef struct cuda_memo {
    const ir_value *value;
    cuda_place place;
    const char *name;
} cuda_memo;

typedef struct emit_cuda {
    const codegen_instance *instance;
    const cuda_kernel_row *row;
    const ir_function *group;
    const ir_node *anchor; // NULL: element-wise group; of a chain its linear
    mlcc_arena *keep;
    mlcc_str *out;
    // The hook being written.
    const ir_value *pushed; // the value that the kernel hands over, or NULL
    cuda_place pushed_place;
    // Variable that is `pushed` at the only other place that is read, or NULL.
    const char *pushed_elsewhere;
    int32_t n_names; // variables so far
    cuda_memo *memo;
    size_t n_memo, memo_capacity;
} emit_cuda;

// ---- emit_cuda.c
// Number of an input of the instance, or -1.
int32_t emit_cuda_input(const emit_cuda *e, const ir_value *value);
// Where return `index` of the group lies: "env->out[0]", or of an in-place one "env->in[0]".
const char *emit_cuda_return_memory(const emit_cuda *e, int32_t index);
// An extent as a C expression: "64" or "env->dims[0]".
const char *emit_cuda_dim(const emit_cuda *e, ir_dim dim);
// The shortest literal of type float: "1e-05f".
const char *emit_cuda_f32(const emit_cuda *e, double value);

// ---- expression
// Appends statements that compute `value` at a place, not yet rounded to its dtype; *name is the variable: float, or f32x2 of a pair.
// INTERNAL when it cannot be computed there.
mlcc_status *emit_cuda_expression(
    emit_cuda *e, const ir_value *value, cuda_place place, const char **name);
// The same as an op or a kernel reads it: rounded.
mlcc_status *emit_cuda_operand(
    emit_cuda *e, const ir_value *value, cuda_place place, const char **name);
// Whether elements of this type can be loaded or stored one by one.
bool emit_cuda_has_elements(const ir_type *type);
// Appends the statement that stores variable `name` at a place of a tensor, rounded to nearest even.
void emit_cuda_store(
    emit_cuda *e, const ir_type *type, const char *memory, cuda_place place, const char *name);

// ---- chain
// Appends what kernels/linear_chain.cu asks for besides the hooks of its linear. INTERNAL when the group is no chain of its.
mlcc_status *emit_cuda_chain(emit_cuda *e);

// ---- hooks
// Appends every hook that `text` (the kernel file and its headers) mentions and the group can provide. INTERNAL when a return of the group is
// written by none of them.
mlcc_status *emit_cuda_hooks(emit_cuda *e, const char *text);

#endif
