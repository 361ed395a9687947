// embedding_rows: rows of a plain table [V, D] (F32, F16, BF16) as it is stored. An item is a token. Ids outside the table
// give zeros.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(0);
KERNEL_POINTER(1);
KERNEL_STORE(0);

int64_t kernel_embedding_rows_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_embedding_rows_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_embedding_rows(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *ids = (const int32_t *)kernel_pointer_0(env);
    const void *table = kernel_pointer_1(env);
    const int64_t vocab = kernel_dim_1_0(env), columns = kernel_dim_1_1(env);
    const int32_t dtype = kernel_dtype_1(env);
    for (int64_t token = begin; token < end; token++) {
        const int64_t id = ids[token];
        const int known = id >= 0 && id < vocab;
        const int64_t first = known ? id * columns : 0;
        KERNEL_VECTOR_LOOP for (int64_t k = 0; k < columns; k++) {
            const float value = kernel_load_as_f32(table, dtype, first + k);
            kernel_store_0(env, token, k, known ? value : 0.0f);
        }
    }
}
