// rms_norm: x * gain / sqrt(mean(x^2) + eps), one block per row or group of its columns. x passes its prologue once per element, is kept for the group's other result if it
// has one, and waits in registers for the second pass; rows too long for that are loaded twice.
#if KERNEL_ATTR_group > 0
#    define RMS_NORM_PAIRS ((KERNEL_ATTR_group / 2 + KERNEL_THREADS_rms_norm - 1) / KERNEL_THREADS_rms_norm)
#elif defined(KERNEL_DIM_0_1)
#    define RMS_NORM_PAIRS ((KERNEL_DIM_0_1 / 2 + KERNEL_THREADS_rms_norm - 1) / KERNEL_THREADS_rms_norm)
#else
#    define RMS_NORM_PAIRS 1000
#endif
#define RMS_NORM_IS_KEPT (RMS_NORM_PAIRS <= 16)

// 1 / sqrt(mean + eps) for the block's row.
DEVICE float rms_norm_factor(float squares, i64 columns) {
    const float mean = block_sum_f32(squares) / (float)columns;
    return 1.0f / sqrt_f32(mean + (float)KERNEL_ATTR_eps);
}

// `start`: first column of the group, 0 without groups.
DEVICE void rms_norm_store2(
    const kernel_env *env, i64 row, i64 start, i64 column, f32x2 x, float factor) {
    const f32x2 gain = kernel_load2_1(env, 0, column);
    const f32x2 y = {x.x * factor * gain.x, x.y * factor * gain.y};
    kernel_store2_0(env, row, start + column, y);
}

KERNEL BOUNDS(KERNEL_THREADS_rms_norm, KERNEL_BLOCKS_rms_norm)
void rms_norm(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 row = block_index_x();
    const i64 columns = KERNEL_ATTR_group > 0 ? KERNEL_ATTR_group : kernel_dim_0_1(&env);
    const i64 start = columns * block_index_y();
    const i64 first = 2 * (i64)thread_index(), step = 2 * KERNEL_THREADS_rms_norm;
    // The last column of a row of odd length belongs to the first thread (groups have even lengths).
    const bool has_last = columns % 2 != 0 && thread_index() == 0;
    float squares = 0.0f, last = 0.0f;
    if (has_last) {
        last = kernel_load_0(&env, row, columns - 1);
        kernel_keep_0(&env, row, columns - 1, last);
        squares = last * last;
    }
#if RMS_NORM_IS_KEPT
    f32x2 kept[RMS_NORM_PAIRS + 1];
    UNROLL
    for (i32 i = 0; i < RMS_NORM_PAIRS; i++) {
        const i64 column = first + i * step;
        if (column + 1 >= columns) continue;
        kept[i] = kernel_load2_0(&env, row, start + column);
        kernel_keep2_0(&env, row, start + column, kept[i]);
        squares += kept[i].x * kept[i].x + kept[i].y * kept[i].y;
    }
    const float factor = rms_norm_factor(squares, columns);
    UNROLL
    for (i32 i = 0; i < RMS_NORM_PAIRS; i++) {
        const i64 column = first + i * step;
        if (column + 1 < columns) rms_norm_store2(&env, row, start, column, kept[i], factor);
    }
#else
    for (i64 column = first; column + 1 < columns; column += step) {
        const f32x2 x = kernel_load2_0(&env, row, start + column);
        kernel_keep2_0(&env, row, start + column, x);
        squares += x.x * x.x + x.y * x.y;
    }
    const float factor = rms_norm_factor(squares, columns);
    for (i64 column = first; column + 1 < columns; column += step)
        rms_norm_store2(&env, row, start, column, kernel_load2_0(&env, row, start + column), factor);
#endif
    if (has_last) {
        const float gain = kernel_load_1(&env, 0, columns - 1);
        kernel_store_0(&env, row, columns - 1, last * factor * gain);
    }
}
