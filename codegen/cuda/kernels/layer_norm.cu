// layer_norm: (x - mean) / sqrt(mean of squares of that + eps), times gain, plus bias; one block per row or group of its columns. x passes its prologue
// once per element, is kept for the group's other result if it has one, and waits in registers for the two passes behind it; rows too long for that are
// loaded again.
#if KERNEL_ATTR_group > 0
#    define LAYER_NORM_PAIRS ((KERNEL_ATTR_group / 2 + KERNEL_THREADS_layer_norm - 1) / KERNEL_THREADS_layer_norm)
#elif defined(KERNEL_DIM_0_1)
#    define LAYER_NORM_PAIRS ((KERNEL_DIM_0_1 / 2 + KERNEL_THREADS_layer_norm - 1) / KERNEL_THREADS_layer_norm)
#else
#    define LAYER_NORM_PAIRS 1000
#endif
#define LAYER_NORM_IS_KEPT (LAYER_NORM_PAIRS <= 16)

// Columns are those of the row, groups have even lengths. Gain and bias have entries for all of them, or for those of one group.
#if KERNEL_ATTR_group > 0
#    define LAYER_NORM_ENTRY(i, column) ((column) % kernel_dim_##i##_0(env))
#else
#    define LAYER_NORM_ENTRY(i, column) (column)
#endif

DEVICE void layer_norm_store2(const kernel_env *env, i64 row, i64 column, f32x2 x, float factor) {
    f32x2 y = {x.x * factor, x.y * factor};
#if KERNEL_HAS_1
    const f32x2 gain = kernel_load2_1(env, 0, LAYER_NORM_ENTRY(1, column));
    y.x *= gain.x;
    y.y *= gain.y;
#endif
#if KERNEL_HAS_2
    const f32x2 bias = kernel_load2_2(env, 0, LAYER_NORM_ENTRY(2, column));
    y.x += bias.x;
    y.y += bias.y;
#endif
    kernel_store2_0(env, row, column, y);
}

DEVICE void layer_norm_store(const kernel_env *env, i64 row, i64 column, float x, float factor) {
    float y = x * factor;
#if KERNEL_HAS_1
    y *= kernel_load_1(env, 0, column);
#endif
#if KERNEL_HAS_2
    y += kernel_load_2(env, 0, column);
#endif
    kernel_store_0(env, row, column, y);
}

KERNEL BOUNDS(KERNEL_THREADS_layer_norm, KERNEL_BLOCKS_layer_norm)
void layer_norm(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 row = block_index_x();
    const i64 columns = KERNEL_ATTR_group > 0 ? KERNEL_ATTR_group : kernel_dim_0_1(&env);
    const i64 start = columns * block_index_y();
    const i64 first = 2 * (i64)thread_index(), step = 2 * KERNEL_THREADS_layer_norm;
    // The last column of a row of odd length belongs to the first thread (groups have even lengths).
    const bool has_last = columns % 2 != 0 && thread_index() == 0;
    float sum = 0.0f, squares = 0.0f, last = 0.0f;
    if (has_last) {
        last = kernel_load_0(&env, row, columns - 1);
        kernel_keep_0(&env, row, columns - 1, last);
        sum = last;
    }
#if LAYER_NORM_IS_KEPT
    f32x2 kept[LAYER_NORM_PAIRS + 1];
    UNROLL
    for (i32 i = 0; i < LAYER_NORM_PAIRS; i++) {
        const i64 column = first + i * step;
        if (column + 1 >= columns) continue;
        kept[i] = kernel_load2_0(&env, row, start + column);
        kernel_keep2_0(&env, row, start + column, kept[i]);
        sum += kept[i].x + kept[i].y;
    }
#else
    for (i64 column = first; column + 1 < columns; column += step) {
        const f32x2 x = kernel_load2_0(&env, row, start + column);
        kernel_keep2_0(&env, row, start + column, x);
        sum += x.x + x.y;
    }
#endif
    const float mean = block_sum_f32(sum) / (float)columns;
    last -= mean;
    if (has_last) squares = last * last;
#if LAYER_NORM_IS_KEPT
    UNROLL
    for (i32 i = 0; i < LAYER_NORM_PAIRS; i++) {
        const i64 column = first + i * step;
        if (column + 1 >= columns) continue;
        kept[i].x -= mean;
        kept[i].y -= mean;
        squares += kept[i].x * kept[i].x + kept[i].y * kept[i].y;
    }
#else
    for (i64 column = first; column + 1 < columns; column += step) {
        const f32x2 x = kernel_load2_0(&env, row, start + column);
        squares += (x.x - mean) * (x.x - mean) + (x.y - mean) * (x.y - mean);
    }
#endif
    const float square = block_sum_f32(squares) / (float)columns;
    const float factor = 1.0f / sqrt_f32(square + (float)KERNEL_ATTR_eps);
#if LAYER_NORM_IS_KEPT
    UNROLL
    for (i32 i = 0; i < LAYER_NORM_PAIRS; i++) {
        const i64 column = first + i * step;
        if (column + 1 < columns) layer_norm_store2(&env, row, start + column, kept[i], factor);
    }
#else
    for (i64 column = first; column + 1 < columns; column += step) {
        const f32x2 x = kernel_load2_0(&env, row, start + column);
        const f32x2 centered = {x.x - mean, x.y - mean};
        layer_norm_store2(&env, row, start + column, centered, factor);
    }
#endif
    if (has_last) layer_norm_store(&env, row, columns - 1, last, factor);
}
