// linear_generic: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, for every dtype of x and w: the general row that always fits. Products
// and sums are f32. A block makes 16 outputs of eight tokens: its warps take the units of K in turn, each lane multiplies the k it holds of
// two rows.
//
// Order of summation: a lane's k in rising order, then the lanes of a quad, then the warps: no result depends on other tokens.

// Slots of units [begin, end) of the block's tokens to shared memory, as f32 [token][slot].
DEVICE void linear_generic_stage(
    const kernel_env *env, tile16_format f, float *shared, i64 first_token, i32 n_tokens, i32 begin,
    i32 end) {
    const i32 n_slots = (end - begin) * tile16_unit_slots(f);
    const i32 pitch = linear_generic_chunk(f) * tile16_unit_slots(f);
    for (i32 token = 0; token < n_tokens; token++) {
        for (i32 i = thread_index(); i < n_slots; i += LINEAR_GENERIC_THREADS) {
            const i64 k = tile16_slot_k(f, (i64)begin * tile16_unit_slots(f) + i);
            float value = 0.0f;
            if (k >= 0 && k < kernel_dim_0_1(env)) {
                value = kernel_load_0(env, first_token + token, k);
                kernel_keep_0(env, first_token + token, k, value);
            }
            shared[token * pitch + i] = value;
        }
    }
}

KERNEL BOUNDS(KERNEL_THREADS_linear_generic, KERNEL_BLOCKS_linear_generic) void linear_generic(
    const kernel_env env) {
    SHARED(bytes);
    grid_wait();
    grid_release();
    float *shared = (float *)bytes;
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i64 first_token = (i64)block_index_y() * LINEAR_GENERIC_TOKENS;
    const i32 n_tokens = (i32)min_i64(kernel_dim_0_0(&env) - first_token, LINEAR_GENERIC_TOKENS);
    const i32 n_units = (i32)tile16_units(f, n_k), chunk = linear_generic_chunk(f);
    const i32 warp = warp_index(), t = lane_index() % 4;
    const char *tile =
        (const char *)kernel_pointer_1(&env) + block_index_x() * tile16_tile_bytes(f, n_k);

    float sums[2][LINEAR_GENERIC_TOKENS];
    UNROLL
    for (i32 i = 0; i < 2 * LINEAR_GENERIC_TOKENS; i++)
        sums[i / LINEAR_GENERIC_TOKENS][i % LINEAR_GENERIC_TOKENS] = 0.0f;
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_generic_stage(&env, f, shared, first_token, n_tokens, begin, end);
        block_sync();
        NO_UNROLL
        for (i32 unit = begin + warp; unit < end; unit += LINEAR_GENERIC_WARPS) {
            linear_generic_unit(
                f, tile + (i64)unit * tile16_unit_bytes(f),
                shared + (unit - begin) * tile16_unit_slots(f) + t * 8, n_tokens, sums);
        }
    }

    const float total = linear_generic_total(sums, shared);
    const i32 token = thread_index() / TILE16_ROWS, row = thread_index() % TILE16_ROWS;
    const i64 output = (i64)block_index_x() * TILE16_ROWS + row;
    if (token >= n_tokens || output >= n_outputs) return;
    kernel_store_0(&env, first_token + token, output, total + kernel_load_2(&env, 0, output));
}
