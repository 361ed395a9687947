// take_rows: out[r, :] = x[rows[r], :], x through its prologue. An item is a block of columns of one row. Row numbers outside x
// give zeros.
#include "codegen/cpu/kernels/kernel.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DIM(1, 0);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_STORE(0);

enum { TAKE_ROWS_BLOCK = 1024 };

KERNEL_INLINE int64_t take_rows_blocks(const kernel_env *env) {
    return (kernel_dim_0_1(env) + TAKE_ROWS_BLOCK - 1) / TAKE_ROWS_BLOCK;
}

int64_t kernel_take_rows_items(const kernel_env *env) {
    return kernel_dim_1_0(env) * take_rows_blocks(env);
}

int64_t kernel_take_rows_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_take_rows_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_take_rows(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *rows = (const int32_t *)kernel_pointer_1(env);
    const int64_t n_rows = kernel_dim_0_0(env), columns = kernel_dim_0_1(env);
    const int64_t n_blocks = take_rows_blocks(env);
    for (int64_t item = begin; item < end; item++) {
        const int64_t target = item / n_blocks, source = rows[target];
        const int64_t first = item % n_blocks * TAKE_ROWS_BLOCK;
        const int64_t last = columns - first < TAKE_ROWS_BLOCK ? columns : first + TAKE_ROWS_BLOCK;
        if (source < 0 || source >= n_rows) {
            KERNEL_VECTOR_LOOP for (int64_t c = first; c < last; c++)
                kernel_store_0(env, target, c, 0.0f);
            continue;
        }
        KERNEL_VECTOR_LOOP for (int64_t c = first; c < last; c++)
            kernel_store_0(env, target, c, kernel_load_0(env, source, c));
    }
}
