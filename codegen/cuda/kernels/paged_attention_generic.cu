// paged_attention_generic: softmax(scale q k^T) v, one warp per token and query head, any dtypes, heads up to 512 wide. In steps of 32
// positions every lane scores one position; then the lanes share the head's columns for the sums.

#define COLUMNS ((HEAD_DIM + 31) / 32) // of a lane

DEVICE float cache_at(const kernel_env *env, i64 index) {
    const void *cache = kernel_pointer_1(env);
#if KERNEL_DTYPE_1 == KERNEL_F32
    return ((const float *)cache)[index];
#elif KERNEL_DTYPE_1 == KERNEL_F16
    return f16_to_f32(((const u16 *)cache)[index]);
#else
    return bf16_to_f32(((const u16 *)cache)[index]);
#endif
}

DEVICE float score(const kernel_env *env, const float *query, i64 key) {
    float product = 0.0f;
    for (i32 d = 0; d < HEAD_DIM; d++) product += query[d] * cache_at(env, key + d);
    return score_exponent(product);
}

KERNEL BOUNDS(KERNEL_THREADS_paged_attention_generic, KERNEL_BLOCKS_paged_attention_generic) void
paged_attention_generic(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    const i32 lane = lane_index();
    const i32 token = block_index_x();
    const i32 head = block_index_y() * ATTENTION_GENERIC_WARPS + warp_index();
    if (head >= GROUP * N_KV_HEADS) return; // the whole warp; warps do not wait for each other
    float *query = (float *)shared + warp_index() * HEAD_DIM;
    for (i32 d = lane; d < HEAD_DIM; d += 32) query[d] = kernel_load_0(&env, token, head * HEAD_DIM + d);
    warp_sync();

    const attention_span span = token_span(&env, token);
    const i32 *pages = token_pages(&env, token);
    const i32 kv_head = head / GROUP;
    float largest = NO_SCORE, total = 0.0f, sums[COLUMNS];
    if (HAS_SINKS) {
        largest = head_sink(&env, head);
        total = lane == 0 ? sink_total(largest) : 0.0f;
    }
    for (i32 c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
    NO_UNROLL
    for (i32 base = span.begin / 32 * 32; base < span.end; base += 32) {
        const i32 position = base + lane;
        const bool is_seen = position >= span.begin && position < span.end;
        float exponent = -INFINITY_F32;
        if (is_seen) {
            const i64 key = key_place(pages[position / ATTENTION_PAGE], kv_head) +
                            position % ATTENTION_PAGE * HEAD_DIM;
            exponent = score(&env, query, key);
            if (HAS_SLOPES) exponent += head_slope(&env, head) * attention_distance(position, span);
        }
        const float now = max_f32(largest, warp_max_f32(exponent));
        const float factor = exp2_f32(largest - now), weight = exp2_f32(exponent - now);
        largest = now;
        total = total * factor + weight;
        UNROLL
        for (i32 c = 0; c < COLUMNS; c++) sums[c] *= factor;
        const i32 end = min_i32(span.end - base, 32);
        for (i32 i = max_i32(span.begin - base, 0); i < end; i++) {
            const float share = shuffle_f32(weight, i);
            const i64 value = key_place(pages[(base + i) / ATTENTION_PAGE], kv_head) +
                              TO_VALUES + (base + i) % ATTENTION_PAGE * HEAD_DIM;
            UNROLL
            for (i32 c = 0; c < COLUMNS; c++) {
                const i32 d = c * 32 + lane;
                if (d < HEAD_DIM) sums[c] += share * cache_at(&env, value + d);
            }
        }
    }
    total = warp_sum_f32(total);
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) {
        const i32 d = c * 32 + lane;
        if (d < HEAD_DIM) kernel_store_0(&env, token, head * HEAD_DIM + d, sums[c] / total);
    }
}
