// Grids of the kernels of latent attention, and what they refuse.
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/latent_size.h"

static int64_t width_of(const ir_function *group) {
    return cuda_operand_type(group, 2)->dims[2].value;
}

const char *cuda_refuse_latent_attention(const ir_function *group) {
    if (cuda_operand_type(group, 2)->dims[1].value != LATENT_PAGE)
        return "a cache page does not hold 16 tokens";
    return width_of(group) <= LATENT_MAX_WIDTH ? NULL : "cached rows are wider than 1024";
}

const char *cuda_refuse_linear_heads(const ir_function *group) {
    return cuda_operand_type(group, 1)->dims[2].value <= HEADS_MAX_K
               ? NULL
               : "heads have more than 2048 columns of x";
}

void cuda_grid_latent_append(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = cuda_extent_of(cuda_operand_type(group, 1)->dims[0], 1, 1);
    grid[1] = grid[2] = cuda_extent_constant(1);
}

// q has heads * rank columns, rotated heads * (width - rank): together heads * width.
static int64_t n_heads_of(const ir_function *group) {
    const ir_type *q = cuda_operand_type(group, 0), *rotated = cuda_operand_type(group, 1);
    return (q->dims[1].value + rotated->dims[1].value) / width_of(group);
}

// Sets of heads of a token, a block each.
static int64_t n_sets_of(const ir_function *group) {
    return (n_heads_of(group) + LATENT_HEADS - 1) / LATENT_HEADS;
}

// From the shape alone: what else runs does not change a token's result.
static int64_t n_splits_of(const ir_function *group) {
    const int64_t n = LATENT_SPLIT_BLOCKS / n_sets_of(group);
    return n < 1 ? 1 : n > LATENT_MAX_SPLITS ? LATENT_MAX_SPLITS : n;
}

void cuda_grid_latent_attention(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = cuda_extent_of(cuda_operand_type(group, 0)->dims[0], 1, 1);
    grid[1] = cuda_extent_constant(n_sets_of(group));
    grid[2] = cuda_extent_constant(1);
}

void cuda_grid_latent_attention_few(const ir_function *group, cuda_extent grid[3]) {
    cuda_grid_latent_attention(group, grid);
    grid[2] = cuda_extent_constant(n_splits_of(group));
}

_Static_assert(
    LATENT_FEW_TOKENS *LATENT_SPLIT_BLOCKS / 2 * 4 <= KERNEL_COUNTER_BYTES,
    "a counter for each token and set of heads that is split");

int64_t cuda_scratch_latent_attention_few(const ir_function *group) {
    const int64_t n_splits = n_splits_of(group), n_sets = n_sets_of(group);
    const int64_t rank = cuda_operand_type(group, 0)->dims[1].value / n_heads_of(group);
    const int64_t part_bytes = LATENT_PART_FLOATS(rank) * 4;
    return n_splits < 2 ? 0 : LATENT_FEW_TOKENS * n_sets * LATENT_HEADS * n_splits * part_bytes;
}

int64_t cuda_shared_latent_attention(const ir_function *group) {
    return LATENT_SHARED(width_of(group));
}

void cuda_grid_linear_heads(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *weight = cuda_operand_type(group, 1);
    grid[0] = cuda_extent_of(cuda_operand_type(group, 0)->dims[0], 1, HEADS_TOKENS);
    grid[1] = cuda_extent_constant(weight->dims[0].value);
    grid[2] = cuda_extent_constant((weight->dims[1].value + HEADS_OUTPUTS - 1) / HEADS_OUTPUTS);
}

int64_t cuda_shared_linear_heads(const ir_function *group) {
    return HEADS_SHARED(cuda_operand_type(group, 1)->dims[2].value);
}
