// linear_tile16: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, on the tensor cores: w in tile16 form, x f16 or bf16, sums in f32
// (linear_halves.cu).
//
//   linear_few    1 … 8 tokens, a block for every tile of 16 outputs
//   linear_many   any number: a block makes 64 tokens x 128 outputs

KERNEL BOUNDS(KERNEL_THREADS_linear_few, KERNEL_BLOCKS_linear_few) void linear_few(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i32 n_tokens = (i32)kernel_dim_0_0(&env), n_units = (i32)tile16_units(f, n_k);
    const char *tile =
        (const char *)kernel_pointer_1(&env) + block_index_x() * tile16_tile_bytes(f, n_k);

    tile16_lane lanes[4];
    const tile16_at at = tile16_at_unit(f, tile + warp_index() * tile16_unit_bytes(f));
    linear_few_start(f, at, n_units, lanes);
    // Weights are there before the launch before has ended.
    grid_wait();
    grid_release();

    const linear_rows rows = linear_rows_from(n_k, 0, n_tokens);
    float sum[4];
    linear_few_rows(&env, f, at, lanes, &rows, shared, sum);
    const float total = linear_few_all(f, tile, &lanes[0], sum, shared);
    const i32 token = thread_index() / TILE16_ROWS;
    const i64 output = (i64)block_index_x() * TILE16_ROWS + thread_index() % TILE16_ROWS;
    if (token >= n_tokens || output >= n_outputs) return;
    kernel_store_0(&env, token, output, total + kernel_load_2(&env, 0, output));
}

KERNEL BOUNDS(KERNEL_THREADS_linear_many, KERNEL_BLOCKS_linear_many) void linear_many(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i64 first_token = (i64)block_index_x() * LINEAR_MANY_TOKENS;
    const i64 first_output = (i64)block_index_y() * LINEAR_MANY_OUTPUTS;
    const i32 n_tokens = (i32)min_i64(kernel_dim_0_0(&env) - first_token, LINEAR_MANY_TOKENS);

    tile16_lane lanes[LINEAR_MANY_TILES];
    tile16_at tiles[LINEAR_MANY_TILES];
    linear_many_start(f, kernel_pointer_1(&env), n_outputs, n_k, first_output, tiles, lanes);
    grid_wait();
    grid_release();

    const linear_rows rows = linear_rows_from(n_k, first_token, n_tokens);
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
    linear_many_rows(&env, f, tiles, lanes, &rows, shared, sums);

    block_sync();
    float *turned = (float *)shared; // [token][output]
    linear_many_turn(f, 1.0f, lanes, sums, turned);
    block_sync();
    const i64 output = first_output + thread_index();
    if (output >= n_outputs) return;
    const float bias = kernel_load_2(&env, 0, output);
    for (i32 token = 0; token < n_tokens; token++) {
        const float total = turned[token * LINEAR_MANY_SUM_PITCH + thread_index()];
        kernel_store_0(&env, first_token + token, output, total + bias);
    }
}
