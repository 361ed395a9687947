// latent_append: writes latents and rotated columns of new tokens into the paged cache of latents [P, page, width] (F32, F16 or BF16), both through
// their prologues. An item is one token.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 1);
KERNEL_DIM(0, 2);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DIM(3, 1);
KERNEL_DTYPE(0);
KERNEL_POINTER(3);
KERNEL_POINTER(4);
KERNEL_POINTER(5);
KERNEL_LOAD(1);
KERNEL_LOAD(2);
KERNEL_RESULT_POINTER(0);

int64_t kernel_latent_append_items(const kernel_env *env) {
    return kernel_dim_1_0(env);
}

int64_t kernel_latent_append_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_1_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_latent_append(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t page_tokens = kernel_dim_0_1(env), width = kernel_dim_0_2(env);
    const int64_t rank = kernel_dim_1_1(env), n_slots = kernel_dim_3_1(env);
    const int32_t *page_table = (const int32_t *)kernel_pointer_3(env);
    const int32_t *seq_ids = (const int32_t *)kernel_pointer_4(env);
    const int32_t *positions = (const int32_t *)kernel_pointer_5(env);
    const int32_t dtype = kernel_dtype_0(env);
    char *cache = (char *)kernel_result_pointer_0(env);
    const int64_t element_bytes = dtype == KERNEL_F32 ? 4 : 2;
    for (int64_t token = begin; token < end; token++) {
        const int64_t position = positions[token];
        const int64_t page = page_table[seq_ids[token] * n_slots + position / page_tokens];
        const int64_t row = page * page_tokens + position % page_tokens;
        char *latent = cache + row * width * element_bytes;
        char *rotated = latent + rank * element_bytes;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < rank; d++)
            kernel_store_as(latent, dtype, d, kernel_load_1(env, token, d));
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < width - rank; d++)
            kernel_store_as(rotated, dtype, d, kernel_load_2(env, token, d));
    }
}
