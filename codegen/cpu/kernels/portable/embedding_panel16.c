// embedding_panel16: rows of a table [V, D] in panel16 form, any dtype (the form that a tied head needs). An item is a token.
// Ids outside the table give zeros.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(0);
KERNEL_POINTER(1);
KERNEL_STORE(0);

int64_t kernel_embedding_panel16_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_embedding_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// Element (r, k) of a Q4G32_F16 panel.
KERNEL_INLINE float embedding_q4(const char *panel, int64_t r, int64_t k) {
    const char *unit = panel + k / 64 * KERNEL_PANEL16_UNIT_BYTES;
    const int64_t group = k / 32 % 2;
    const uint32_t word =
        ((const uint32_t
              *)(const void *)(unit + KERNEL_PANEL16_UNIT_WORDS))[(group * 4 + k / 8 % 4) * 16 + r];
    const float scale = kernel_f16_to_f32(((const uint16_t *)(const void *)unit)[group * 16 + r]);
    return ((float)(int32_t)(word >> (4 * (k % 8)) & 15u) - 7.0f) * scale;
}

void kernel_embedding_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *ids = (const int32_t *)kernel_pointer_0(env);
    const char *table = (const char *)kernel_pointer_1(env);
    const int64_t vocab = kernel_dim_1_0(env), columns = kernel_dim_1_1(env);
    const int32_t dtype = kernel_dtype_1(env);
    for (int64_t token = begin; token < end; token++) {
        const int64_t id = ids[token];
        if (id < 0 || id >= vocab) {
            KERNEL_VECTOR_LOOP for (int64_t k = 0; k < columns; k++)
                kernel_store_0(env, token, k, 0.0f);
            continue;
        }
        const char *panel = table + id / 16 * kernel_panel16_panel_bytes(dtype, columns);
        const int64_t r = id % 16;
        KERNEL_VECTOR_LOOP for (int64_t k = 0; k < columns; k++) {
            const float value = dtype == KERNEL_Q4G32_F16
                                    ? embedding_q4(panel, r, k)
                                    : kernel_load_as_f32(panel, dtype, k * 16 + r);
            kernel_store_0(env, token, k, value);
        }
    }
}
