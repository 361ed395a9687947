// elementwise: a group without an anchor. Everything that the group does is in the generated load; a thread has two columns of a row.
KERNEL BOUNDS(KERNEL_THREADS_elementwise, KERNEL_BLOCKS_elementwise)
void elementwise(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 row = block_index_x(), columns = kernel_result_dim_0_1(&env);
    const i64 column = ((i64)block_index_y() * block_threads() + thread_index()) * 2;
    if (column + 1 < columns) {
        kernel_store2_0(&env, row, column, kernel_load2_0(&env, row, column));
    } else if (column < columns) {
        kernel_store_0(&env, row, column, kernel_load_0(&env, row, column));
    }
}
