// linear_heads: out[t, h*N … h*N+N-1] = x[t, h*K … h*K+K-1] times w[h] of [H, N, K] transposed, every dtype of x, w as it is stored (F32, F16 or
// BF16), products and sums in f32. A block makes 32 outputs of one head for eight tokens, whose x lies in shared memory; a warp brings a row of w once
// for the eight.

// Elements k and k + 1 of a row of w.
DEVICE f32x2 heads_weights(const kernel_env *env, i64 index, bool has_second) {
    const void *weights = kernel_pointer_1(env);
    f32x2 pair;
#if KERNEL_DTYPE_1 == KERNEL_F32
    pair.x = ((const float *)weights)[index];
    pair.y = has_second ? ((const float *)weights)[index + 1] : 0.0f;
#else
    const u16 *halves = (const u16 *)weights + index;
    const u32 bits = KERNEL_DIM_1_2 % 2 == 0 ? load_global_u32(halves)
                                             : (u32)halves[0] | (has_second ? (u32)halves[1] << 16 : 0u);
#    if KERNEL_DTYPE_1 == KERNEL_F16
    pair = unpack_f16x2(bits);
#    else
    pair = unpack_bf16x2(bits);
#    endif
#endif
    return pair;
}

KERNEL BOUNDS(KERNEL_THREADS_linear_heads, KERNEL_BLOCKS_linear_heads) void linear_heads(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    float *x = (float *)shared; // [HEADS_TOKENS, K]
    const i32 n_k = (i32)KERNEL_DIM_1_2, n = (i32)KERNEL_DIM_1_1;
    const i64 n_tokens = kernel_dim_0_0(&env), first_token = (i64)block_index_x() * HEADS_TOKENS;
    const i32 head = block_index_y(), lane = lane_index();
    const i32 n_rows = (i32)min_i64(n_tokens - first_token, HEADS_TOKENS);
    for (i32 i = thread_index(); i < HEADS_TOKENS * n_k; i += block_threads())
        x[i] = i / n_k < n_rows ? kernel_load_0(&env, first_token + i / n_k, (i64)head * n_k + i % n_k) : 0.0f;
    block_sync();
    const i32 end = min_i32(n, (block_index_z() + 1) * HEADS_OUTPUTS);
    for (i32 output = block_index_z() * HEADS_OUTPUTS + warp_index(); output < end; output += block_threads() / 32) {
        float sums[HEADS_TOKENS];
        UNROLL
        for (i32 t = 0; t < HEADS_TOKENS; t++) sums[t] = 0.0f;
        for (i32 k = 2 * lane; k < n_k; k += 64) {
            const bool has_second = k + 1 < n_k;
            const f32x2 weights = heads_weights(&env, ((i64)head * n + output) * n_k + k, has_second);
            UNROLL
            for (i32 t = 0; t < HEADS_TOKENS; t++) {
                sums[t] += weights.x * x[t * n_k + k];
                if (has_second) sums[t] += weights.y * x[t * n_k + k + 1];
            }
        }
        UNROLL
        for (i32 t = 0; t < HEADS_TOKENS; t++) {
            const float total = warp_sum_f32(sums[t]);
            if (lane == t && t < n_rows) kernel_store_0(&env, first_token + t, (i64)head * n + output, total);
        }
    }
}
