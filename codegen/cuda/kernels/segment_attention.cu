// segment_attention: softmax(scale q k^T) v over the rows of a token's own sequence, any dtypes. A block takes eight neighbouring tokens and one head, a
// warp each: 32 rows of keys and values come into shared memory at a time, for all of them. Every lane scores one row; then the lanes share the head's
// columns for the sums. Tokens of several sequences in one block pass over each other's rows, whose numbers they never use.

#define HEAD_DIM ((i32)KERNEL_ATTR_head_dim)
#define COLUMNS  ((HEAD_DIM + 31) / 32) // of a lane
#define STRIDE   SEGMENT_STRIDE(HEAD_DIM)

typedef struct segment_span {
    i32 begin, end;
} segment_span;

DEVICE segment_span span_of(const kernel_env *env, i64 token) {
    const i32 *segments = (const i32 *)kernel_pointer_3(env);
    segment_span span = {segments[2 * token], segments[2 * token + 1]};
    return span;
}

KERNEL BOUNDS(KERNEL_THREADS_segment_attention, KERNEL_BLOCKS_segment_attention) void segment_attention(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    float *keys = (float *)shared;                     // [SEGMENT_KEYS, STRIDE]
    float *values = keys + SEGMENT_KEYS * STRIDE;      // [SEGMENT_KEYS, HEAD_DIM]
    float *query = values + SEGMENT_KEYS * HEAD_DIM + warp_index() * HEAD_DIM;
    const i64 n_tokens = kernel_dim_0_0(&env), first = (i64)block_index_x() * SEGMENT_TOKENS;
    const i64 token = first + warp_index(), column = (i64)block_index_y() * HEAD_DIM;
    const i32 lane = lane_index();
    const bool has_token = token < n_tokens;
    if (has_token) {
        for (i32 d = lane; d < HEAD_DIM; d += 32) query[d] = kernel_load_0(&env, token, column + d);
    }
    const segment_span own = span_of(&env, has_token ? token : first);
    segment_span all = own;
    for (i64 t = first; t < first + SEGMENT_TOKENS && t < n_tokens; t++) {
        const segment_span other = span_of(&env, t);
        all.begin = min_i32(all.begin, other.begin);
        all.end = max_i32(all.end, other.end);
    }
    float largest = -1e30f, total = 0.0f, sums[COLUMNS];
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
    NO_UNROLL
    for (i32 base = all.begin; base < all.end; base += SEGMENT_KEYS) {
        const i32 n_rows = min_i32(all.end - base, SEGMENT_KEYS);
        block_sync();
        for (i32 i = thread_index(); i < n_rows * HEAD_DIM; i += block_threads()) {
            const i32 row = i / HEAD_DIM, d = i % HEAD_DIM;
            keys[row * STRIDE + d] = kernel_load_1(&env, base + row, column + d);
            values[i] = kernel_load_2(&env, base + row, column + d);
        }
        block_sync();
        const i32 begin = max_i32(own.begin - base, 0), end = min_i32(own.end - base, n_rows);
        if (!has_token || begin >= end) continue;
        float exponent = -INFINITY_F32;
        if (lane >= begin && lane < end) {
            float product = 0.0f;
            for (i32 d = 0; d < HEAD_DIM; d++) product += query[d] * keys[lane * STRIDE + d];
            exponent = product * (float)(KERNEL_ATTR_scale * 1.4426950408889634);
        }
        const float now = max_f32(largest, warp_max_f32(exponent));
        const float factor = exp2_f32(largest - now), weight = exp2_f32(exponent - now);
        largest = now;
        total = total * factor + weight;
        UNROLL
        for (i32 c = 0; c < COLUMNS; c++) sums[c] *= factor;
        for (i32 i = begin; i < end; i++) {
            const float share = shuffle_f32(weight, i);
            UNROLL
            for (i32 c = 0; c < COLUMNS; c++) {
                const i32 d = c * 32 + lane;
                if (d < HEAD_DIM) sums[c] += share * values[i * HEAD_DIM + d];
            }
        }
    }
    if (!has_token) return; // the whole warp, and nobody waits any more
    total = warp_sum_f32(total);
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) {
        const i32 d = c * 32 + lane;
        if (d < HEAD_DIM) kernel_store_0(&env, token, column + d, sums[c] / total);
    }
}
