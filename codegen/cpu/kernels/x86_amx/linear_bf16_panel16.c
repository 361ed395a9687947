// linear_bf16_panel16 with tile registers (AMX).
#include "codegen/cpu/kernels/linear_bf16_amx.h"

int64_t kernel_linear_bf16_panel16_items(const kernel_env *env) {
    return bf16_items(env, BF16_AMX_ROWS);
}

int64_t kernel_linear_bf16_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    return linear_packed_chunk(
        bf16_items(env, BF16_AMX_ROWS), kernel_dim_0_0(env), n_threads, kernel_knob_panel_chunks());
}

void kernel_linear_bf16_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    bf16_run(env, begin, end, BF16_AMX_ROWS, bf16_amx_run_block);
}
