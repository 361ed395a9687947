// rms_norm: x * gain / sqrt(mean(x^2) + eps) per row, or per group of its columns; an item is a row. x passes its prologue once per element, is kept for the
// group's other result if it has one, and waits in scratch for the second pass.
#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_KEEP(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_F64(eps);
KERNEL_ATTR_I64(group);

int64_t kernel_rms_norm_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_rms_norm_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// Sum of squares in 32 running sums: the error stays near that of one rounding.
KERNEL_INLINE float rms_norm_squares(const float *row, int64_t columns) {
    f32x16 low = simd_splat(0.0f), high = simd_splat(0.0f);
    int64_t c = 0;
    for (; c + 32 <= columns; c += 32) {
        const f32x16 a = simd_load(row + c), b = simd_load(row + c + 16);
        low = simd_fma(a, a, low);
        high = simd_fma(b, b, high);
    }
    for (; c < columns; c += 16) {
        const f32x16 a =
            columns - c < 16 ? simd_load_part(row + c, columns - c) : simd_load(row + c);
        low = simd_fma(a, a, low);
    }
    return simd_sum(low + high);
}

void kernel_rms_norm(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_dim_0_1(env);
    const void *gain = kernel_pointer_1(env);
    const int32_t dtype = kernel_dtype_1(env);
    const double eps = kernel_attr_eps(env);
    const int64_t group = kernel_attr_group(env) > 0 ? kernel_attr_group(env) : columns;
    float *row = (float *)kernel_scratch(env);
    for (int64_t r = begin; r < end; r++) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < columns; c++) {
            const float value = kernel_load_0(env, r, c);
            kernel_keep_0(env, r, c, value);
            row[c] = value;
        }
        for (int64_t first = 0; first < columns; first += group) {
            const double mean = (double)rms_norm_squares(row + first, group) / (double)group;
            const float factor = (float)(1.0 / __builtin_sqrt(mean + eps));
            KERNEL_VECTOR_LOOP for (int64_t c = 0; c < group; c++) {
                const float y = row[first + c] * factor * kernel_load_as_f32(gain, dtype, c);
                kernel_store_0(env, r, first + c, y);
            }
        }
    }
}
