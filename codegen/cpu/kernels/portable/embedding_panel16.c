// embedding_panel16: rows of a table [V, D] in panel16 form, any dtype (the form that a tied head needs). An item is a token.
// Ids outside the table give zeros.
#include "codegen/cpu/kernels/panel16_codes.h"

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

void kernel_embedding_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *ids = (const int32_t *)kernel_pointer_0(env);
    const char *table = (const char *)kernel_pointer_1(env);
    const int64_t vocab = kernel_dim_1_0(env), columns = kernel_dim_1_1(env);
    const kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
    for (int64_t token = begin; token < end; token++) {
        const int64_t id = ids[token];
        if (id < 0 || id >= vocab) {
            KERNEL_VECTOR_LOOP for (int64_t k = 0; k < columns; k++)
                kernel_store_0(env, token, k, 0.0f);
            continue;
        }
        const char *panel = table + id / 16 * kernel_panel16_panel_bytes(format, columns);
        const int64_t r = id % 16;
        KERNEL_VECTOR_LOOP for (int64_t k = 0; k < columns; k++)
            kernel_store_0(env, token, k, panel16_element(format, panel, r, k));
    }
}
