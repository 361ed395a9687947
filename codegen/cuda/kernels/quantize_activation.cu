// quantize_activation: x rounded to fp8 and back, with the scale of its row and group of columns: a warp has a group, or the block the whole row. x passes
// its prologue twice.
KERNEL BOUNDS(KERNEL_THREADS_quantize_activation, KERNEL_BLOCKS_quantize_activation)
void quantize_activation(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 row = block_index_x(), columns = kernel_dim_0_1(&env);
#if KERNEL_ATTR_group == 0
    const i64 group = 0, first = 0, end = columns;
    const i32 member = thread_index(), n_members = block_threads();
#else
    const i64 group = (i64)block_index_y() * (block_threads() / 32) + warp_index();
    const i64 first = min_i64(group * KERNEL_ATTR_group, columns);
    const i64 end = min_i64(first + KERNEL_ATTR_group, columns);
    const i32 member = lane_index(), n_members = 32;
#endif
    u32 largest = 0;
    for (i64 c = first + member; c < end; c += n_members)
        largest = max_u32(largest, magnitude_bits(kernel_load_0(&env, row, c)));
#if KERNEL_ATTR_group == 0
    largest = block_max_u32(largest);
#else
    largest = warp_max_u32(largest);
#endif
    float given = 0.0f;
#if KERNEL_HAS_1
    if (first < end) given = ((const float *)kernel_pointer_1(&env))[group];
#endif
    const float scale = quantize_scale(
        KERNEL_ATTR_mantissa_bits, given, largest, (float)KERNEL_ATTR_floor);
    for (i64 c = first + member; c < end; c += n_members) {
        const float rounded =
            quantize_round(KERNEL_ATTR_mantissa_bits, kernel_load_0(&env, row, c) / scale);
        kernel_store_0(&env, row, c, rounded * scale);
    }
}
