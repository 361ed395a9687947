// Grids of the kernels that work on rows, and what they refuse. Rows go along x, which may be long; blocks of columns along y.
#include "codegen/cuda/cuda_grid.h"

#include "codegen/artifact.h"

static void set_grid(cuda_extent grid[3], cuda_extent x, cuda_extent y) {
    grid[0] = x;
    grid[1] = y;
    grid[2] = cuda_extent_constant(1);
}

// Rows, and blocks of 512 columns: 256 threads with two each.
static void set_columns(cuda_extent grid[3], ir_dim rows, ir_dim columns) {
    set_grid(grid, cuda_extent_of(rows, 1, 1), cuda_extent_of(columns, 1, 512));
}

// ---- grids --------------------------------------------------------------------------------------------

void cuda_grid_elementwise(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *type = cuda_operand_type(group, 0);
    const ir_dim rows = type->rank == 1 ? ir_dim_const(1) : type->dims[0];
    set_columns(grid, rows, type->dims[type->rank - 1]);
}

void cuda_grid_take_rows(const ir_function *group, cuda_extent grid[3]) {
    set_columns(grid, cuda_operand_type(group, 1)->dims[0], cuda_operand_type(group, 0)->dims[1]);
}

// A block for every row of operand 0.
static void set_rows(const ir_function *group, cuda_extent grid[3]) {
    const ir_dim rows = cuda_operand_type(group, 0)->dims[0];
    set_grid(grid, cuda_extent_of(rows, 1, 1), cuda_extent_constant(1));
}

// Columns that share a root; 0 = all of them.
static int64_t norm_columns(const ir_function *group) {
    return ir_attr_i64(codegen_group_anchor(group), "group");
}

void cuda_grid_rms_norm(const ir_function *group, cuda_extent grid[3]) {
    const int64_t columns = norm_columns(group);
    set_rows(group, grid);
    if (columns > 0) grid[1] = cuda_extent_of(cuda_operand_type(group, 0)->dims[1], 1, columns);
}

void cuda_grid_rope_table(const ir_function *group, cuda_extent grid[3]) {
    set_rows(group, grid);
}

void cuda_grid_kv_append(const ir_function *group, cuda_extent grid[3]) {
    const ir_dim tokens = cuda_operand_type(group, 1)->dims[0];
    const ir_dim heads = cuda_operand_type(group, 0)->dims[2];
    set_grid(grid, cuda_extent_of(tokens, 1, 1), cuda_extent_of(heads, 1, 1));
}

// The eight warps of a block have a group each; without groups the block has the row.
void cuda_grid_quantize_activation(const ir_function *group, cuda_extent grid[3]) {
    const int64_t columns = ir_attr_i64(codegen_group_anchor(group), "group");
    set_rows(group, grid);
    if (columns > 0) grid[1] = cuda_extent_of(cuda_operand_type(group, 0)->dims[1], 1, 8 * columns);
}

void cuda_grid_observe_max(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *x = cuda_operand_type(group, 1);
    set_grid(grid, cuda_extent_of(x->dims[0], 1, 1), cuda_extent_of(x->dims[1], 1, 4096));
}

void cuda_grid_sample(const ir_function *group, cuda_extent grid[3]) {
    set_rows(group, grid);
}

// Three words for each of 2048 bins, two for each of 2048 listed candidates, and a bit for each token.
int64_t cuda_shared_sample(const ir_function *group) {
    return (5 * 2048 + (cuda_operand_type(group, 0)->dims[1].value + 31) / 32) * 4;
}

void cuda_grid_route_experts(const ir_function *group, cuda_extent grid[3]) {
    set_rows(group, grid);
}

// Scores, keys and keys of groups; marks of experts, to whole words, and of groups.
int64_t cuda_shared_route_experts(const ir_function *group) {
    return cuda_operand_type(group, 0)->dims[1].value * (3 * 4 + 2) + 3;
}

// ---- refusals -----------------------------------------------------------------------------------------

const char *cuda_refuse_elementwise(const ir_function *group) {
    const int32_t rank = cuda_operand_type(group, 0)->rank;
    return rank == 1 || rank == 2 ? NULL : "the result is neither a matrix nor a vector";
}

const char *cuda_refuse_rms_norm(const ir_function *group) {
    return norm_columns(group) % 2 == 0 ? NULL : "a group has an odd number of columns";
}

// What every device of sm_80 and newer has for one block, without the kernel's own arrays.
const char *cuda_refuse_sample(const ir_function *group) {
    return cuda_shared_sample(group) <= 96 * 1024 ? NULL : "the vocabulary is too large";
}

const char *cuda_refuse_observe_max(const ir_function *group) {
    return cuda_operand_type(group, 1)->rank == 2 ? NULL : "operand 1 is no matrix";
}
