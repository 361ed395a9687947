// quantize_activation: x rounded to fp8 and back, with the scale of its row and group of columns. x passes its prologue twice.
KERNEL BOUNDS(KERNEL_THREADS_quantize_activation, KERNEL_BLOCKS_quantize_activation)
void quantize_activation(const kernel_env env) {
    grid_wait();
    grid_release();
    const quantize_group here = quantize_group_here(&env);
    u32 largest = 0;
    for (i64 c = here.first + here.member; c < here.end; c += here.n_members)
        largest = max_u32(largest, magnitude_bits(kernel_load_0(&env, here.row, c)));
    const float scale = quantize_group_scale(&env, &here, largest);
    for (i64 c = here.first + here.member; c < here.end; c += here.n_members) {
        const float rounded =
            quantize_round(KERNEL_ATTR_mantissa_bits, kernel_load_0(&env, here.row, c) / scale);
        kernel_store_0(&env, here.row, c, rounded * scale);
    }
}
