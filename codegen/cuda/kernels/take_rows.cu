// take_rows: out[r, :] = x[rows[r], :], x through its prologue. A thread has two columns of a row. Row numbers outside x give zeros.
KERNEL BOUNDS(KERNEL_THREADS_take_rows, KERNEL_BLOCKS_take_rows)
void take_rows(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 target = block_index_x(), columns = kernel_dim_0_1(&env);
    const i64 column = ((i64)block_index_y() * block_threads() + thread_index()) * 2;
    const i64 source = ((const i32 *)kernel_pointer_1(&env))[target];
    const bool is_inside = source >= 0 && source < kernel_dim_0_0(&env);
    if (column + 1 < columns) {
        f32x2 pair = {0.0f, 0.0f};
        if (is_inside) pair = kernel_load2_0(&env, source, column);
        kernel_store2_0(&env, target, column, pair);
    } else if (column < columns) {
        const float value = is_inside ? kernel_load_0(&env, source, column) : 0.0f;
        kernel_store_0(&env, target, column, value);
    }
}
