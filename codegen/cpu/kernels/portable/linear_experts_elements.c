// linear_experts_elements: out[t, j*N … j*N+N-1] = x times w[e] of [E, N, K] transposed, plus bias[e], e = experts[t, j], for every
// dtype of x: the general row that always fits. x and bias come through load hooks; the stack is one weight [E*N, K] in panel16 form.
// An item is a panel of one slot (t, j); of the panels that an expert shares with its neighbours only its own outputs are stored.
//
// Order of summation: as in linear_elements.
#include "codegen/cpu/kernels/panel16_codes.h"

KERNEL_DIM(0, 1);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DIM(1, 2);
KERNEL_DIM(2, 0);
KERNEL_DIM(2, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_POINTER(2);
KERNEL_LOAD(0);
KERNEL_LOAD(3);
KERNEL_STORE(0);

// Panels that an expert lies in, at most.
KERNEL_INLINE int64_t experts_panels(const kernel_env *env) {
    const int64_t n = kernel_dim_1_1(env);
    return kernel_panel16_panels(n % 16 == 0 ? n : n + 15);
}

int64_t kernel_linear_experts_elements_items(const kernel_env *env) {
    return kernel_dim_2_0(env) * kernel_dim_2_1(env) * experts_panels(env);
}

int64_t kernel_linear_experts_elements_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_linear_experts_elements_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// 16 outputs: panel of the stack, row of x from `first_x` on.
KERNEL_INLINE f32x16 experts_product(
    const kernel_env *env, kernel_panel16_format format, const char *panel, int64_t row,
    int64_t first_x) {
    const int64_t n_k = kernel_dim_1_2(env);
    f32x16 sum = simd_splat(0.0f);
    for (int64_t k = 0; k < n_k; k += format.group) {
        const int64_t last = n_k - k < format.group ? n_k : k + format.group;
        f32x16 group = simd_splat(0.0f);
        for (int64_t i = k; i < last; i++) {
            const f32x16 x = simd_splat(kernel_load_0(env, row, first_x + i));
            group = simd_fma(panel16_unscaled(format, panel, i), x, group);
        }
        sum = simd_fma(group, panel16_scales_at(format, panel, k), sum);
    }
    return sum;
}

void kernel_linear_experts_elements(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *experts = (const int32_t *)kernel_pointer_2(env);
    const int64_t n = kernel_dim_1_1(env), n_k = kernel_dim_1_2(env);
    const int64_t n_panels = experts_panels(env), n_chosen = kernel_dim_2_1(env);
    const int64_t x_step = kernel_dim_0_1(env) == n_k ? 0 : n_k;
    const kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
    const int64_t panel_bytes = kernel_panel16_panel_bytes(format, n_k);
    for (int64_t item = begin; item < end; item++) {
        const int64_t slot = item / n_panels, expert = experts[slot];
        if (expert < 0 || expert >= kernel_dim_1_0(env)) continue;
        const int64_t panel = expert * n / 16 + item % n_panels;
        const int64_t first = panel * 16 - expert * n; // output of the panel's first row
        if (first >= n) continue;
        const char *weights = (const char *)kernel_pointer_1(env) + panel * panel_bytes;
        const int64_t row = slot / n_chosen, part = slot % n_chosen;
        float values[16];
        simd_store(values, experts_product(env, format, weights, row, part * x_step));
        for (int64_t c = first < 0 ? -first : 0; c < 16 && first + c < n; c++) {
            const float bias = kernel_load_3(env, expert, first + c);
            kernel_store_0(env, row, part * n + first + c, values[c] + bias);
        }
    }
}
