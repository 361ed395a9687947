// rope_table: cosines and sines of positions times frequencies, [T, R]: columns 0 … R/2-1 hold magnitude * cos, the rest
// magnitude * sin. An item is a token. Angles are products in double, exact for every position below 2^27.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_POINTER(0);
KERNEL_POINTER(1);
KERNEL_STORE(0);
KERNEL_ATTR_F64(magnitude);

int64_t kernel_rope_table_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_rope_table_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_rope_table(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *positions = (const int32_t *)kernel_pointer_0(env);
    const float *frequencies = (const float *)kernel_pointer_1(env);
    const int64_t half = kernel_dim_1_0(env);
    const double magnitude = kernel_attr_magnitude(env);
    for (int64_t token = begin; token < end; token++) {
        KERNEL_VECTOR_LOOP for (int64_t i = 0; i < half; i++) {
            double sine, cosine;
            kernel_sincos((double)positions[token] * (double)frequencies[i], &sine, &cosine);
            kernel_store_0(env, token, i, (float)(magnitude * cosine));
            kernel_store_0(env, token, half + i, (float)(magnitude * sine));
        }
    }
}
