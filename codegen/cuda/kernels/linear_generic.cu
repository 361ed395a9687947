// linear_generic: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, for every dtype of x and w: the general row that always fits. Products
// and sums are f32. A block makes 16 outputs of eight tokens.

KERNEL BOUNDS(KERNEL_THREADS_linear_generic, KERNEL_BLOCKS_linear_generic) void linear_generic(
    const kernel_env env) {
    SHARED(bytes);
    grid_wait();
    grid_release();
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i64 first_token = (i64)block_index_y() * LINEAR_GENERIC_TOKENS;
    const i32 n_tokens = (i32)min_i64(kernel_dim_0_0(&env) - first_token, LINEAR_GENERIC_TOKENS);
    const linear_rows rows = linear_rows_from(n_k, first_token, n_tokens);
    const char *tile =
        (const char *)kernel_pointer_1(&env) + block_index_x() * tile16_tile_bytes(f, n_k);

    const float total = linear_generic_tile(&env, f, tile, &rows, (float *)bytes);
    const i32 token = thread_index() / TILE16_ROWS, row = thread_index() % TILE16_ROWS;
    const i64 output = (i64)block_index_x() * TILE16_ROWS + row;
    if (token >= n_tokens || output >= n_outputs) return;
    kernel_store_0(&env, first_token + token, output, total + kernel_load_2(&env, 0, output));
}
