// linear_elements: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, for every dtype of x: the general row that always fits. x and bias
// come through load hooks, weights in panel16 form. An item is one panel of one row.
//
// Order of summation: the format's groups of k in ascending order, as in linear_panel16_body.h.
#include "codegen/cpu/kernels/panel16_codes.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_LOAD(2);
KERNEL_STORE(0);

int64_t kernel_linear_elements_items(const kernel_env *env) {
    return kernel_dim_0_0(env) * kernel_panel16_panels(kernel_dim_1_0(env));
}

int64_t kernel_linear_elements_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_linear_elements_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_linear_elements(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t n = kernel_dim_1_0(env), n_k = kernel_dim_1_1(env);
    const int64_t n_panels = kernel_panel16_panels(n);
    const kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
    const int64_t panel_bytes = kernel_panel16_panel_bytes(format, n_k);
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / n_panels, first = item % n_panels * 16;
        const char *panel = (const char *)kernel_pointer_1(env) + item % n_panels * panel_bytes;
        f32x16 sum = simd_splat(0.0f);
        for (int64_t k = 0; k < n_k; k += format.group) {
            const int64_t last = n_k - k < format.group ? n_k : k + format.group;
            f32x16 group = simd_splat(0.0f);
            for (int64_t i = k; i < last; i++) {
                const f32x16 x = simd_splat(kernel_load_0(env, row, i));
                group = simd_fma(panel16_unscaled(format, panel, i), x, group);
            }
            sum = simd_fma(group, panel16_scales_at(format, panel, k), sum);
        }
        float values[16];
        simd_store(values, sum);
        for (int64_t c = 0; c < 16 && first + c < n; c++) {
            kernel_store_0(env, row, first + c, values[c] + kernel_load_2(env, 0, first + c));
        }
    }
}
