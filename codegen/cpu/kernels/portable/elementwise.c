// elementwise: a group without an anchor. Everything that the group does is in the generated load; this file only says which elements one
// work item covers: a block of columns of one row, so that one long row keeps several threads busy.
#include "codegen/cpu/kernels/kernel.h"

KERNEL_LOAD(0);
KERNEL_STORE(0);
KERNEL_RESULT_DIM(0, 0);
KERNEL_RESULT_DIM(0, 1);

enum { ELEMENTWISE_BLOCK = 512 };

int64_t kernel_elementwise_items(const kernel_env *env) {
    const int64_t n_blocks =
        (kernel_result_dim_0_1(env) + ELEMENTWISE_BLOCK - 1) / ELEMENTWISE_BLOCK;
    return kernel_result_dim_0_0(env) * n_blocks;
}

int64_t kernel_elementwise_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t n_items = kernel_elementwise_items(env);
    const int64_t chunk = n_items / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_elementwise(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_result_dim_0_1(env);
    const int64_t n_blocks = (columns + ELEMENTWISE_BLOCK - 1) / ELEMENTWISE_BLOCK;
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / n_blocks;
        const int64_t first = item % n_blocks * ELEMENTWISE_BLOCK;
        const int64_t last =
            columns - first < ELEMENTWISE_BLOCK ? columns : first + ELEMENTWISE_BLOCK;
        for (int64_t column = first; column < last; column++) {
            kernel_store_0(env, row, column, kernel_load_0(env, row, column));
        }
    }
}
