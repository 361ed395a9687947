// kv_append: writes keys and values of new tokens into the paged cache [P, 2, Hkv, page, head_dim] (F32, F16 or BF16), k and v
// through their prologues. An item is one head of one token.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 2);
KERNEL_DIM(0, 3);
KERNEL_DIM(0, 4);
KERNEL_DIM(1, 0);
KERNEL_DIM(3, 1);
KERNEL_DTYPE(0);
KERNEL_POINTER(3);
KERNEL_POINTER(4);
KERNEL_POINTER(5);
KERNEL_LOAD(1);
KERNEL_LOAD(2);
KERNEL_RESULT_POINTER(0);

int64_t kernel_kv_append_items(const kernel_env *env) {
    return kernel_dim_1_0(env) * kernel_dim_0_2(env);
}

int64_t kernel_kv_append_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_kv_append_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_kv_append(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t n_heads = kernel_dim_0_2(env), page_tokens = kernel_dim_0_3(env),
                  head_dim = kernel_dim_0_4(env);
    const int64_t n_slots = kernel_dim_3_1(env);
    const int32_t *page_table = (const int32_t *)kernel_pointer_3(env);
    const int32_t *seq_ids = (const int32_t *)kernel_pointer_4(env);
    const int32_t *positions = (const int32_t *)kernel_pointer_5(env);
    const int32_t dtype = kernel_dtype_0(env);
    char *cache = (char *)kernel_result_pointer_0(env);
    const int64_t element_bytes = dtype == KERNEL_F32 ? 4 : 2;
    for (int64_t item = begin; item < end; item++) {
        const int64_t token = item / n_heads, head = item % n_heads;
        const int64_t position = positions[token];
        const int64_t page = page_table[seq_ids[token] * n_slots + position / page_tokens];
        const int64_t row = (page * 2 * n_heads + head) * page_tokens + position % page_tokens;
        char *keys = cache + row * head_dim * element_bytes;
        char *values = keys + n_heads * page_tokens * head_dim * element_bytes;
        const int64_t column = head * head_dim;
        // Half by half: a fused rotation treats a half's columns alike, which makes each loop plain vector code.
        KERNEL_UNROLL for (int64_t half = 0; half < 2; half++) {
            const int64_t first = half * (head_dim / 2), last = half == 0 ? head_dim / 2 : head_dim;
            KERNEL_VECTOR_LOOP for (int64_t d = first; d < last; d++)
                kernel_store_as(keys, dtype, d, kernel_load_1(env, token, column + d));
        }
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < head_dim; d++)
            kernel_store_as(values, dtype, d, kernel_load_2(env, token, column + d));
    }
}
