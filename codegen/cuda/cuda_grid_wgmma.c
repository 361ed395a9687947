// Grids of linear_wgmma, and what it refuses.
#include "codegen/artifact.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/tile16.h"

#include "codegen/cuda/kernels/linear_wgmma_size.h"

_Static_assert(
    LINEAR_WGMMA_PRODUCERS *LINEAR_WGMMA_PRODUCER_REGISTERS +
            LINEAR_WGMMA_CONSUMERS * LINEAR_WGMMA_CONSUMER_REGISTERS <=
        LINEAR_WGMMA_THREADS / 32 * LINEAR_WGMMA_REGISTERS,
    "the consumers would wait for registers that nobody gives");
_Static_assert(LINEAR_WGMMA_THREADS *LINEAR_WGMMA_REGISTERS <= 65536, "no block would start");

// Tokens go along x, so that blocks which read the same weights run at the same time.
static void set_grid(const ir_function *group, int block_tokens, cuda_extent grid[3]) {
    grid[0] = cuda_extent_of(cuda_operand_type(group, 0)->dims[0], 1, block_tokens);
    grid[1] = cuda_extent_of(cuda_operand_type(group, 1)->dims[0], 1, LINEAR_WGMMA_OUTPUTS);
    grid[2] = cuda_extent_constant(1);
}

void cuda_grid_linear_wgmma_128(const ir_function *group, cuda_extent grid[3]) {
    set_grid(group, 128, grid);
}

void cuda_grid_linear_wgmma_256(const ir_function *group, cuda_extent grid[3]) {
    set_grid(group, 256, grid);
}

int64_t cuda_shared_linear_wgmma_128(const ir_function *group) {
    (void)group;
    return linear_wgmma_shared_bytes(128);
}

int64_t cuda_shared_linear_wgmma_256(const ir_function *group) {
    (void)group;
    return linear_wgmma_shared_bytes(256);
}

// Both read x as it lies in memory, 16 bytes at a time.
static const char *refuse_activations(const ir_function *group, int64_t piece) {
    const int64_t n_k = cuda_operand_type(group, 1)->dims[1].value;
    if (codegen_group_anchor(group)->operands[0]->kind == IR_VALUE_RESULT) {
        return "operand 0 is computed in the group";
    }
    if (n_k % piece != 0) return "rows of operand 0 are no multiple of 16 bytes";
    if (n_k >= 1 << 22) return "rows have 2^22 columns or more";
    return NULL;
}

const char *cuda_refuse_linear_wgmma(const ir_function *group) {
    const char *refusal = cuda_refuse_linear_tile16(group);
    if (refusal == NULL) refusal = refuse_activations(group, 8);
    if (refusal != NULL) return refusal;
    const tile16_format f = linear_wgmma_format((int)cuda_operand_type(group, 1)->dtype);
    if (f.group != f.group_slots) return "groups of the weight have empty slots";
    if (f.code == TILE16_E4M3 && !f.is_one_scale) return "scales of blocks want sums of their own";
    return NULL;
}

const char *cuda_refuse_linear_fp8_wgmma(const ir_function *group) {
    const char *refusal = cuda_refuse_linear_fp8(group);
    if (refusal == NULL) refusal = refuse_activations(group, 16);
    if (refusal != NULL) return refusal;
    const tile16_format f = linear_wgmma_format((int)cuda_operand_type(group, 1)->dtype);
    if (ir_attr_i64(codegen_group_anchor(group), "group") != 0 || !f.is_one_scale) {
        return "scales along K want sums of their own";
    }
    return NULL;
}
