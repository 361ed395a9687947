#include "codegen/cuda/cuda_kernels.h"

#include "codegen/artifact.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/attention_size.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/latent_size.h"
#include "runtime/abi.h"

#include <string.h>

// clang-format off
#define DTYPE(id, text, kind, bits, group, scale, meaning) \
    _Static_assert(KERNEL_##id == (int)IR_##id, "kernels/kernel.h and ir/dtypes.def differ at " #id);
#include "ir/dtypes.def"
// clang-format on
_Static_assert(
    KERNEL_COUNTER_BYTES == MLCC_ABI_CUDA_COUNTER_BYTES, "kernels/kernel.h and abi.h differ");
_Static_assert(KERNEL_N_DTYPES == (int)IR_N_DTYPES, "kernels/kernel.h lacks a row of dtypes.def");

// ---- the table ----------------------------------------------------------------------------------------

#define IR_OP_N_OPS IR_N_OPS
#define IR_OP_CHAIN CUDA_CHAIN_OP
#define takes_all   NULL
#define no_shared   NULL
#define no_scratch  NULL

// clang-format off
static const cuda_kernel_row rows[] = {
#define ENTRY(symbol, max_rows, threads, min_blocks, grid, shared, scratch, max_registers, max_issue) \
    {symbol, max_rows, threads, min_blocks, grid, shared, scratch, max_registers, max_issue}
#define KERNEL(name, op, file, headers, min_arch, specific, min_nvrtc, refuses, meaning, ...) \
    {name, IR_OP_##op, file, headers, min_arch, specific, min_nvrtc, {__VA_ARGS__}, \
     (int32_t)(sizeof((const cuda_entry[]){__VA_ARGS__}) / sizeof(cuda_entry)), refuses, meaning},
#include "codegen/cuda/cuda_kernels.def"
    {.name = NULL}
};
// clang-format on
enum { N_ROWS = sizeof rows / sizeof rows[0] - 1 };

const cuda_kernel_row *cuda_kernel_table(size_t *n_rows) {
    *n_rows = N_ROWS;
    return rows;
}

const cuda_kernel_row *cuda_kernel_find(const char *name) {
    for (const cuda_kernel_row *row = rows; row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) return row;
    }
    return NULL;
}

// ---- helpers of grid functions ------------------------------------------------------------------------

const ir_type *cuda_operand_type(const ir_function *group, int32_t operand) {
    const ir_node *anchor = codegen_group_anchor(group);
    if (anchor == NULL) return &group->returns[0]->type;
    return operand < anchor->n_operands ? &anchor->operands[operand]->type : NULL;
}

cuda_extent cuda_extent_of(ir_dim dim, int64_t multiplier, int64_t divisor) {
    if (dim.symbol == NULL) {
        // Extents of a module are far below 2^40, so the product stays in range.
        const int64_t units = dim.value * multiplier;
        return cuda_extent_constant((units + divisor - 1) / divisor);
    }
    return (cuda_extent){.symbol = dim.symbol, .multiplier = multiplier, .divisor = divisor};
}

cuda_extent cuda_extent_constant(int64_t value) {
    return (cuda_extent){.symbol = NULL, .multiplier = value < 1 ? 1 : value, .divisor = 1};
}
