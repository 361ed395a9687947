// rope_table: cosines and sines of positions times frequencies, [T, R]: columns 0 … R/2-1 hold magnitude * cos, the rest magnitude * sin. One block per
// token. Angles are products in double, exact for every position below 2^27.
KERNEL BOUNDS(KERNEL_THREADS_rope_table, KERNEL_BLOCKS_rope_table)
void rope_table(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 token = block_index_x(), half = kernel_dim_1_0(&env);
    const double position = (double)((const i32 *)kernel_pointer_0(&env))[token];
    const float *frequencies = (const float *)kernel_pointer_1(&env);
    const double magnitude = (double)KERNEL_ATTR_magnitude;
    for (i64 i = thread_index(); i < half; i += block_threads()) {
        double sine, cosine;
        kernel_sincos(position * (double)frequencies[i], &sine, &cosine);
        kernel_store_0(&env, token, i, (float)(magnitude * cosine));
        kernel_store_0(&env, token, half + i, (float)(magnitude * sine));
    }
}
