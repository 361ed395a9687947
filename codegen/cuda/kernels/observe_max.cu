// observe_max: maximum f32[1] becomes max(maximum, max |x|), x through its prologue; NaN counts as 0. A block has some columns of a row. Floats that are
// not negative order like their bits as integers, and every negative one is below them.
KERNEL BOUNDS(KERNEL_THREADS_observe_max, KERNEL_BLOCKS_observe_max)
void observe_max(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 row = block_index_x(), columns = kernel_dim_1_1(&env);
    const i64 step = (i64)block_count_y() * block_threads();
    u32 largest = 0;
    for (i64 c = (i64)block_index_y() * block_threads() + thread_index(); c < columns; c += step)
        largest = max_u32(largest, magnitude_bits(kernel_load_1(&env, row, c)));
    largest = block_max_u32(largest);
    if (thread_index() == 0) atomic_max_i32((i32 *)kernel_result_pointer_0(&env), (i32)largest);
}
