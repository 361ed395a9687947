// embedding_tile16: rows of a table [V, D] in tile16 form, any dtype (the form that a tied head needs). A block is 256 columns of a token.
// Ids outside the table give zeros.

KERNEL BOUNDS(
    KERNEL_THREADS_embedding_tile16,
    KERNEL_BLOCKS_embedding_tile16) void embedding_tile16(const kernel_env env) {
    grid_wait();
    grid_release();
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 token = block_index_x(), vocab = kernel_dim_1_0(&env),
              n_columns = kernel_dim_1_1(&env);
    const i64 column = (i64)block_index_y() * block_threads() + thread_index();
    if (column >= n_columns) return;
    const i64 id = ((const i32 *)kernel_pointer_0(&env))[token];
    float value = 0.0f;
    if (id >= 0 && id < vocab) {
        const char *tile = (const char *)kernel_pointer_1(&env) +
                           id / TILE16_ROWS * tile16_tile_bytes(f, n_columns);
        value = tile16_element(f, tile, (i32)(id % TILE16_ROWS), column);
    }
    kernel_store_0(&env, token, column, value);
}
