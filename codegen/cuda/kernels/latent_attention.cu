// latent_attention: softmax(scale (q c^T + rotated d^T)) c over a paged cache of latents, any dtypes. A block takes eight heads of a token, a warp each:
// the rows of a page, which are keys and values of all heads, come into shared memory once for the eight. Sixteen lanes score a position each over one
// half of its columns, the others over the other half; then the lanes share the latent's columns for the sums.
//
// Grid: tokens, sets of eight heads, splits. Few tokens leave a device empty, so their contexts are cut into splits, a block each, whose parts meet in
// scratch memory: the block that comes last joins them.

#define RANK    ((i32)KERNEL_ATTR_rank)
#define WIDTH   ((i32)KERNEL_DIM_2_2)
#define N_HEADS ((i32)(KERNEL_DIM_0_1 / KERNEL_ATTR_rank))
#define COLUMNS ((RANK + 31) / 32) // of a lane
#define HALF    ((WIDTH + 1) / 2)

// What a warp has of its head: of its positions, or of all.
typedef struct latent_state {
    float largest, total, sums[COLUMNS];
} latent_state;

DEVICE float latent_at(const kernel_env *env, i64 index) {
    const void *cache = kernel_pointer_2(env);
#if KERNEL_DTYPE_2 == KERNEL_F32
    return ((const float *)cache)[index];
#elif KERNEL_DTYPE_2 == KERNEL_F16
    return f16_to_f32(((const u16 *)cache)[index]);
#else
    return bf16_to_f32(((const u16 *)cache)[index]);
#endif
}

// Exponent of the lane's position, the same in both halves of the warp.
DEVICE float latent_score(const float *query, const float *row) {
    const i32 begin = lane_index() / 16 * HALF, end = min_i32(begin + HALF, WIDTH);
    float product = 0.0f;
    for (i32 d = begin; d < end; d++) product += query[d] * row[d];
    product += shuffle_xor_f32(product, 16);
    return product * (float)(KERNEL_ATTR_scale * 1.4426950408889634);
}

// The first n_seen positions of the page in shared memory.
DEVICE void latent_attend(latent_state *state, const float *query, const float *rows, i32 n_seen) {
    const i32 lane = lane_index(), place = lane % LATENT_PAGE;
    float exponent = latent_score(query, rows + min_i32(place, n_seen - 1) * LATENT_STRIDE(WIDTH));
    if (place >= n_seen) exponent = -INFINITY_F32;
    const float now = max_f32(state->largest, warp_max_f32(exponent));
    const float factor = exp2_f32(state->largest - now), weight = exp2_f32(exponent - now);
    state->largest = now;
    // Both halves of the warp hold every weight.
    state->total = state->total * factor + warp_sum_f32(weight) * 0.5f;
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) state->sums[c] *= factor;
    for (i32 i = 0; i < n_seen; i++) {
        const float share = shuffle_f32(weight, i);
        const float *row = rows + i * LATENT_STRIDE(WIDTH);
        UNROLL
        for (i32 c = 0; c < COLUMNS; c++) {
            const i32 d = c * 32 + lane;
            if (d < RANK) state->sums[c] += share * row[d];
        }
    }
}

DEVICE void latent_store(const kernel_env *env, const latent_state *state, i32 token, i32 head) {
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) {
        const i32 d = c * 32 + lane_index();
        if (d < RANK) kernel_store_0(env, token, (i64)head * RANK + d, state->sums[c] / state->total);
    }
}

// ---- parts of splits: [largest, total, sums] of each head -------------------------------------------------

DEVICE void latent_store_part(const latent_state *state, float *part) {
    if (lane_index() == 0) {
        part[0] = state->largest;
        part[1] = state->total;
    }
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) {
        const i32 d = c * 32 + lane_index();
        if (d < RANK) part[2 + d] = state->sums[c];
    }
}

// A lane per split for the maximum and the total, all lanes for the columns. `parts` is the head's part of the first split.
DEVICE void latent_join(latent_state *state, const float *parts, i32 n_splits) {
    const i32 lane = lane_index();
    const float *own = parts + (i64)min_i32(lane, n_splits - 1) * LATENT_PART_FLOATS(RANK);
    state->largest = warp_max_f32(own[0]);
    const float factor = lane < n_splits ? exp2_f32(own[0] - state->largest) : 0.0f;
    state->total = warp_sum_f32(factor * own[1]);
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) state->sums[c] = 0.0f;
    for (i32 split = 0; split < n_splits; split++) {
        const float share = shuffle_f32(factor, split);
        const float *sums = parts + (i64)split * LATENT_PART_FLOATS(RANK) + 2;
        UNROLL
        for (i32 c = 0; c < COLUMNS; c++) {
            const i32 d = c * 32 + lane;
            if (d < RANK) state->sums[c] += share * sums[d];
        }
    }
}

KERNEL BOUNDS(KERNEL_THREADS_latent_attention, KERNEL_BLOCKS_latent_attention) void latent_attention(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    float *rows = (float *)shared; // [LATENT_PAGE, LATENT_STRIDE(WIDTH)]
    float *query = rows + LATENT_PAGE * LATENT_STRIDE(WIDTH) + warp_index() * WIDTH;
    const i32 lane = lane_index(), token = block_index_x();
    const i32 head = block_index_y() * LATENT_HEADS + warp_index();
    const bool has_head = head < N_HEADS;
    const i32 end = ((const i32 *)kernel_pointer_5(&env))[token] + 1;
    const i32 *pages = (const i32 *)kernel_pointer_3(&env) +
                       ((const i32 *)kernel_pointer_4(&env))[token] * kernel_dim_3_1(&env);
    // Pages of a split, the same for all of them; the last may have fewer.
    const i32 n_pages = (end + LATENT_PAGE - 1) / LATENT_PAGE;
    const i32 of_split = (n_pages + block_count_z() - 1) / block_count_z();
    const i32 n_splits = (n_pages + of_split - 1) / of_split;
    const i32 first_page = block_index_z() * of_split, end_page = min_i32(first_page + of_split, n_pages);
    if (block_index_z() >= n_splits) return; // all threads of it
    if (has_head) {
        for (i32 d = lane; d < RANK; d += 32) query[d] = kernel_load_0(&env, token, (i64)head * RANK + d);
        for (i32 d = lane; d < WIDTH - RANK; d += 32)
            query[RANK + d] = kernel_load_1(&env, token, (i64)head * (WIDTH - RANK) + d);
    }
    latent_state state;
    state.largest = -1e30f;
    state.total = 0.0f;
    UNROLL
    for (i32 c = 0; c < COLUMNS; c++) state.sums[c] = 0.0f;
    NO_UNROLL
    for (i32 slot = first_page; slot < end_page; slot++) {
        const i32 n_seen = min_i32(end - slot * LATENT_PAGE, LATENT_PAGE);
        const i64 page = (i64)pages[slot] * (LATENT_PAGE * WIDTH);
        block_sync();
        for (i32 i = thread_index(); i < n_seen * WIDTH; i += block_threads())
            rows[i / WIDTH * LATENT_STRIDE(WIDTH) + i % WIDTH] = latent_at(&env, page + i);
        block_sync();
        if (has_head) latent_attend(&state, query, rows, n_seen);
    }
    if (n_splits > 1) {
        const i64 place = (i64)token * block_count_y() + block_index_y();
        u32 *counter = (u32 *)kernel_scratch(&env) + place;
        // [sets of tokens, heads, splits, part]
        float *parts = (float *)(kernel_scratch(&env) + KERNEL_COUNTER_BYTES) +
                       (place * LATENT_HEADS + warp_index()) * block_count_z() * LATENT_PART_FLOATS(RANK);
        if (has_head) latent_store_part(&state, parts + block_index_z() * LATENT_PART_FLOATS(RANK));
        if (!arrive_last(counter, (u32)n_splits, (u32 *)shared)) return;
        if (has_head) latent_join(&state, parts, n_splits);
    }
    if (has_head) latent_store(&env, &state, token, head);
}
