// rope_table: cosines and sines of positions times frequencies, [T, R]: columns 0 … R/2-1 hold m * cos, the rest m * sin, where
// m = magnitude * (1 + growth * ln(1 + position / period)), the quotient being whole. One block per token. Angles are products in double, exact for every position below 2^27.
// ln of a number from 1 to 2^31, within 1e-11: that of a power of two and 2 artanh s, s = (m - 1) / (m + 1), for the rest m, which lies around 1.
DEVICE double rope_table_log(i64 number) {
    i32 exponent = 0;
    while (number >> exponent > 1) exponent++;
    double m = (double)number / (double)((i64)1 << exponent);
    if (m > 1.5) {
        m *= 0.5;
        exponent++;
    }
    const double s = (m - 1) / (m + 1), q = s * s;
    double series = 1.0 / 13;
    for (i32 k = 11; k >= 1; k -= 2) series = series * q + 1.0 / k;
    return exponent * 0.69314718055994530942 + 2 * s * series;
}

KERNEL BOUNDS(KERNEL_THREADS_rope_table, KERNEL_BLOCKS_rope_table)
void rope_table(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 token = block_index_x(), half = kernel_dim_1_0(&env);
    const i64 position = ((const i32 *)kernel_pointer_0(&env))[token];
    const float *frequencies = (const float *)kernel_pointer_1(&env);
    double magnitude = (double)KERNEL_ATTR_magnitude;
    if (KERNEL_ATTR_growth > 0)
        magnitude *= 1 + (double)KERNEL_ATTR_growth * rope_table_log(1 + position / (i64)KERNEL_ATTR_period);
    for (i64 i = thread_index(); i < half; i += block_threads()) {
        double sine, cosine;
        kernel_sincos((double)position * (double)frequencies[i], &sine, &cosine);
        kernel_store_0(&env, token, i, (float)(magnitude * cosine));
        kernel_store_0(&env, token, half + i, (float)(magnitude * sine));
    }
}
