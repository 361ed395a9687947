// linear_scaled_panel16 with tile registers (AMX): few rows as with AVX-512 and VNNI, bound by memory; more by tiles. Both give the
// same bits.
#include "codegen/cpu/kernels/kernel.h"

#define LINEAR_SCALED_NAME(suffix) scaled_run##suffix

#ifdef LINEAR_EXPERTS

#    include "codegen/cpu/kernels/x86_avx512vnni/linear_scaled_panel16.c"

#    include "codegen/cpu/kernels/linear_scaled_amx.h"

#    define LINEAR_EXPERTS_SCALED        amx_run_expert
#    define LINEAR_EXPERTS_PRODUCT_BYTES KERNEL_LINEAR_AMX_SCRATCH_BYTES
#    include "codegen/cpu/kernels/linear_experts_body.h"

#else

KERNEL_INLINE void scaled_run(const kernel_env *env, int64_t begin, int64_t end);
KERNEL_INLINE int64_t scaled_run_items(const kernel_env *env);
KERNEL_INLINE int64_t scaled_run_chunk(const kernel_env *env, int64_t n_threads);

#    include "codegen/cpu/kernels/x86_avx512vnni/linear_scaled_panel16.c"

#    include "codegen/cpu/kernels/linear_scaled_amx.h"

KERNEL_INLINE int takes_tiles(const kernel_env *env) {
    return amx_takes(scaled_groups(kernel_dim_1_1(env)), kernel_dim_0_0(env));
}

int64_t kernel_linear_scaled_panel16_items(const kernel_env *env) {
    return takes_tiles(env) ? amx_items(env) : scaled_run_items(env);
}

int64_t kernel_linear_scaled_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    return takes_tiles(env) ? amx_chunk(env, n_threads) : scaled_run_chunk(env, n_threads);
}

void kernel_linear_scaled_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    if (takes_tiles(env))
        amx_run(env, begin, end);
    else
        scaled_run(env, begin, end);
}

#endif
