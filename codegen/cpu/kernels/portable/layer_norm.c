// layer_norm: (x - mean) / sqrt(mean of squares of that + eps) per row, or per group of its columns, times gain, plus bias; an item is a row. x passes its prologue once per
// element, is kept for the group's other result if it has one, and waits in scratch for the two passes behind it.
#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DIM(1, 0);
KERNEL_DIM(2, 0);
KERNEL_DTYPE(1);
KERNEL_DTYPE(2);
KERNEL_POINTER(1);
KERNEL_POINTER(2);
KERNEL_LOAD(0);
KERNEL_KEEP(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_F64(eps);
KERNEL_ATTR_I64(group);

int64_t kernel_layer_norm_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_layer_norm_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// Sixteen running sums: the error stays near that of one rounding.
KERNEL_INLINE float layer_norm_mean(const float *row, int64_t columns) {
    f32x16 sums = simd_splat(0.0f);
    for (int64_t c = 0; c < columns; c += 16)
        sums += columns - c < 16 ? simd_load_part(row + c, columns - c) : simd_load(row + c);
    return (float)((double)simd_sum(sums) / (double)columns);
}

// Takes the mean off the row; returns the mean of the squares of what is left.
KERNEL_INLINE double layer_norm_center(float *row, int64_t columns, float mean) {
    f32x16 sums = simd_splat(0.0f);
    int64_t c = 0;
    for (; c + 16 <= columns; c += 16) {
        const f32x16 x = simd_load(row + c) - simd_splat(mean);
        simd_store(row + c, x);
        sums = simd_fma(x, x, sums);
    }
    float rest = 0.0f;
    for (; c < columns; c++) {
        row[c] -= mean;
        rest += row[c] * row[c];
    }
    return ((double)simd_sum(sums) + (double)rest) / (double)columns;
}

void kernel_layer_norm(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_dim_0_1(env);
    const void *gain = kernel_pointer_1(env), *bias = kernel_pointer_2(env);
    const int32_t gain_dtype = kernel_dtype_1(env), bias_dtype = kernel_dtype_2(env);
    const double eps = kernel_attr_eps(env);
    const int64_t group = kernel_attr_group(env) > 0 ? kernel_attr_group(env) : columns;
    // 0: every group reads the same entries.
    const int64_t gain_step = kernel_dim_1_0(env) == columns ? 1 : 0;
    const int64_t bias_step = kernel_dim_2_0(env) == columns ? 1 : 0;
    float *row = (float *)kernel_scratch(env);
    for (int64_t r = begin; r < end; r++) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < columns; c++) {
            const float value = kernel_load_0(env, r, c);
            kernel_keep_0(env, r, c, value);
            row[c] = value;
        }
        for (int64_t first = 0; first < columns; first += group) {
            float *part = row + first;
            const double square = layer_norm_center(part, group, layer_norm_mean(part, group));
            const float factor = (float)(1.0 / __builtin_sqrt(square + eps));
            const int64_t g0 = gain_step * first, b0 = bias_step * first;
            KERNEL_VECTOR_LOOP for (int64_t c = 0; c < group; c++) {
                const float g = gain != NULL ? kernel_load_as_f32(gain, gain_dtype, g0 + c) : 1.0f;
                const float b = bias != NULL ? kernel_load_as_f32(bias, bias_dtype, b0 + c) : 0.0f;
                kernel_store_0(env, r, first + c, part[c] * factor * g + b);
            }
        }
    }
}
