// paged_attention: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] of 16-bit floats on matrix instructions: what
// paged_attention_decode and paged_attention_prefill share, a warp that goes through the pages of one token and the part that it leaves.
//
// Both entries keep a running softmax (m' = max(m, e); p = 2^(e - m'); sums = sums 2^(m - m') + p v; total likewise) in floats. Where steps
// and splits begin follows from a token's own length, and a masked position adds an exact zero, so neighbours in the batch decide only which
// entry takes the launch and which of the ways a token goes; these differ in the order of sums.

#define CHUNKS  ATTENTION_CHUNKS(HEAD_DIM) // of 32 columns of keys
#define BLOCKS  ATTENTION_BLOCKS(HEAD_DIM) // of 64 columns of values
#define SETS    ((GROUP + ATTENTION_HEADS - 1) / ATTENTION_HEADS) // of 8 query heads, of a kv head
#define HEADS   ATTENTION_SET_HEADS(GROUP) // of a part
#define PART    ATTENTION_PART_FLOATS(HEAD_DIM, GROUP)
#define QUERY   ATTENTION_QUERY_BYTES(HEAD_DIM)
#define IS_WIDE (KERNEL_ATTR_head_dim > 128) // registers do not hold everything at once

#if KERNEL_DTYPE_1 == KERNEL_BF16
#    define mma   mma_bf16_16x8x16
#    define pack2 pack_bf16x2
#else
#    define mma   mma_f16_16x8x16
#    define pack2 pack_f16x2
#endif

DEVICE const u8 *cache_at(const kernel_env *env, i32 page, i32 kv_head) {
    return (const u8 *)kernel_pointer_1(env) + key_place(page, kv_head) * 2;
}

// Two columns of a query row as the cache's dtype; zeros beyond the head.
DEVICE u32 query2(const kernel_env *env, i32 token, i32 head, i32 d) {
    if (d >= HEAD_DIM) return 0;
    const f32x2 pair = kernel_load2_0(env, token, (i64)head * HEAD_DIM + d);
    return pack2(pair.x, pair.y);
}

// ---- a warp goes through the pages of one token --------------------------------------------------------------
//
// S^T = K Q^T, then O^T = V^T P^T: positions (then head columns) are the 16 rows of a matrix instruction, query heads its 8 columns. With
// lane = 4 g + t, an instruction's element (row g or g + 8, column 2t or 2t + 1) lies in lane (g, t), so every lane keeps two heads from
// the scores to the sums. The inner index may be permuted freely when both sides agree: lane t of a row takes 8 neighbouring columns of
// 32, in one load of 16 bytes. For values the rows are permuted too: lane (g, t) loads 8 columns from 8 g on of positions 2t, 2t + 1,
// 2t + 8 and 2t + 9, and word i of the four loads makes the rows 2i and 2i + 1 of each 8.

typedef struct head_state {
    float largest[2], total[2]; // of heads 2t and 2t + 1; total of this lane's positions
    float slopes[2];            // likewise
    float sums[BLOCKS][4][4];   // [block][i]: columns 64 block + 8 g + 2 i (first two) and one more (last two) of both heads
} head_state;

// Of heads first_head … ; `has_sinks`: their sinks belong to this state.
DEVICE void head_state_clear(const kernel_env *env, head_state *state, i32 first_head, bool has_sinks) {
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        // What a set has beyond the last head is nobody's.
        const i32 head = min_i32(first_head + lane_index() % 4 * 2 + j, GROUP * N_KV_HEADS - 1);
        state->largest[j] = NO_SCORE;
        state->total[j] = 0.0f;
        state->slopes[j] = HAS_SLOPES ? head_slope(env, head) : 0.0f;
        if (HAS_SINKS && has_sinks) {
            state->largest[j] = head_sink(env, head);
            state->total[j] = lane_index() < 4 ? sink_total(state->largest[j]) : 0.0f;
        }
    }
    UNROLL
    for (i32 b = 0; b < BLOCKS; b++) {
        UNROLL
        for (i32 i = 0; i < 16; i++) state->sums[b][i / 4][i % 4] = 0.0f;
    }
}

// Query heads first_head … of a kv head, [8][32 CHUNKS] 16-bit floats; missing heads are zero. Four loads of a thread are under way at a time.
DEVICE void stage_queries(
    const kernel_env *env, u32 *rows, i32 thread, i32 n_threads, i32 token, i32 first_head,
    i32 n_heads) {
    const i32 count = ATTENTION_HEADS * CHUNKS * 16;
    NO_UNROLL
    for (i32 base = thread; base < count; base += 4 * n_threads) {
        u32 pairs[4];
        UNROLL
        for (i32 k = 0; k < 4; k++) {
            const i32 i = base + k * n_threads;
            const i32 head = i / (CHUNKS * 16), d = i % (CHUNKS * 16) * 2;
            pairs[k] = head < n_heads ? query2(env, token, first_head + head, d) : 0;
        }
        UNROLL
        for (i32 k = 0; k < 4; k++) {
            if (base + k * n_threads < count) rows[base + k * n_threads] = pairs[k];
        }
    }
}

// Columns 32 c + 8 t … of rows g and g + 8 of a page.
DEVICE void load_keys(const u8 *page, u32x4 low[CHUNKS], u32x4 high[CHUNKS]) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const u32x4 zero = {0, 0, 0, 0};
    UNROLL
    for (i32 c = 0; c < CHUNKS; c++) {
        const i32 d = 32 * c + 8 * t;
        low[c] = d < HEAD_DIM ? load_global_u32x4(page + (g * HEAD_DIM + d) * 2) : zero;
        high[c] = d < HEAD_DIM ? load_global_u32x4(page + ((g + 8) * HEAD_DIM + d) * 2) : zero;
    }
}

// Columns 64 b + 8 g … of positions 2t, 2t + 1, 2t + 8, 2t + 9. Positions that are not seen may hold anything, even NaN: they become zero.
DEVICE void load_values(const u8 *page, i32 begin, i32 end, u32x4 values[BLOCKS][4]) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const u32x4 zero = {0, 0, 0, 0};
    UNROLL
    for (i32 b = 0; b < BLOCKS; b++) {
        const i32 d = 64 * b + 8 * g;
        UNROLL
        for (i32 i = 0; i < 4; i++) {
            const i32 row = 2 * t + i % 2 + i / 2 * 8;
            const bool is_seen = d < HEAD_DIM && row >= begin && row < end;
            values[b][i] =
                is_seen ? load_global_u32x4(page + TO_VALUES * 2 + (row * HEAD_DIM + d) * 2) : zero;
        }
    }
}

// Scores of rows g and g + 8 (elements 0, 1 and 2, 3) for heads 2t and 2t + 1.
DEVICE void score_page(
    const u32x4 query[CHUNKS], const u32x4 low[CHUNKS], const u32x4 high[CHUNKS], float scores[4]) {
    float even[4] = {0.0f, 0.0f, 0.0f, 0.0f}, odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    UNROLL
    for (i32 c = 0; c < CHUNKS; c++) {
        const u32 a0[4] = {low[c].x, high[c].x, low[c].y, high[c].y};
        const u32 b0[2] = {query[c].x, query[c].y};
        mma(even, a0, b0);
        const u32 a1[4] = {low[c].z, high[c].z, low[c].w, high[c].w};
        const u32 b1[2] = {query[c].z, query[c].w};
        mma(odd, a1, b1);
    }
    UNROLL
    for (i32 i = 0; i < 4; i++) scores[i] = even[i] + odd[i];
}

// Scores become weights; the state moves on to the new largest exponents. The page's rows begin … end-1 are seen, the last is the token's own.
DEVICE void weigh_page(head_state *state, i32 begin, i32 end, float scores[4]) {
    const i32 g = lane_index() / 4;
    float factor[2];
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        const i32 row = g + i / 2 * 8;
        scores[i] = row >= begin && row < end ? score_exponent(scores[i]) : -INFINITY_F32;
        if (HAS_SLOPES) scores[i] += state->slopes[i % 2] * (float)(row + 1 - end);
    }
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        float largest = max_f32(scores[j], scores[2 + j]);
        UNROLL
        for (i32 mask = 4; mask < 32; mask *= 2) largest = max_f32(largest, shuffle_xor_f32(largest, mask));
        largest = max_f32(largest, state->largest[j]);
        factor[j] = exp2_f32(state->largest[j] - largest);
        state->largest[j] = largest;
        scores[j] = exp2_f32(scores[j] - largest);
        scores[2 + j] = exp2_f32(scores[2 + j] - largest);
        state->total[j] = state->total[j] * factor[j] + (scores[j] + scores[2 + j]);
    }
    if (factor[0] != 1.0f || factor[1] != 1.0f) {
        UNROLL
        for (i32 b = 0; b < BLOCKS; b++) {
            UNROLL
            for (i32 i = 0; i < 16; i++) state->sums[b][i / 4][i % 4] *= factor[i % 2];
        }
    }
    warp_sync(); // the matrix instructions that follow need the lanes side by side again
}

// Weights of rows 2t, 2t + 1 for head g, out of those of row g for heads 2t, 2t + 1.
DEVICE u32 transpose_weights(u32 pair) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const u32 first = shuffle_u32(pair, 8 * t + g / 2), second = shuffle_u32(pair, 8 * t + 4 + g / 2);
    return permute_bytes(first, second, g % 2 == 0 ? 0x5410u : 0x7632u);
}

DEVICE void sum_page(head_state *state, const float weights[4], u32x4 values[BLOCKS][4]) {
    const u32 b[2] = {transpose_weights(pack2(weights[0], weights[1])),
                      transpose_weights(pack2(weights[2], weights[3]))};
    UNROLL
    for (i32 block = 0; block < BLOCKS; block++) {
        const u32x4 *v = values[block];
        const u32 words[4][4] = {{v[0].x, v[1].x, v[2].x, v[3].x},
                                 {v[0].y, v[1].y, v[2].y, v[3].y},
                                 {v[0].z, v[1].z, v[2].z, v[3].z},
                                 {v[0].w, v[1].w, v[2].w, v[3].w}};
        UNROLL
        for (i32 i = 0; i < 4; i++) {
            const u32 a[4] = {
                permute_bytes(words[i][0], words[i][1], 0x5410u), permute_bytes(words[i][0], words[i][1], 0x7632u),
                permute_bytes(words[i][2], words[i][3], 0x5410u), permute_bytes(words[i][2], words[i][3], 0x7632u)};
            mma(state->sums[block][i], a, b);
        }
    }
}

// A warp's way: pages slot, slot + stride, … before end_slot of a token's sequence. What comes next is on its way already.
typedef struct page_walk {
    attention_span span;
    const i32 *pages;
    i32 slot, end_slot, stride, kv_head, first_head;
    const u8 *page;                  // in the cache, at `slot`
    i32 next;                        // number of the page after it
    u32x4 low[CHUNKS], high[CHUNKS]; // its keys, unless heads are wide
} page_walk;

DEVICE i32 walk_page(const page_walk *walk, i32 slot) {
    return slot < walk->end_slot ? walk->pages[slot] : 0;
}

// The span's pages slot … end_slot-1; page 0 stands for what is not there.
DEVICE void walk_start(
    const kernel_env *env, page_walk *walk, i32 token, i32 kv_head, i32 first_head, attention_span span,
    i32 slot, i32 end_slot, i32 stride) {
    walk->span = span;
    walk->pages = token_pages(env, token);
    walk->slot = slot;
    walk->end_slot = end_slot;
    walk->stride = stride;
    walk->kv_head = kv_head;
    walk->first_head = first_head;
    walk->page = cache_at(env, walk_page(walk, slot), kv_head);
    walk->next = walk_page(walk, slot + stride);
    if (!IS_WIDE && slot < end_slot) load_keys(walk->page, walk->low, walk->high);
}

// All of the way.
DEVICE void attend_pages(const kernel_env *env, page_walk *walk, const u8 *queries, head_state *state) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    u32x4 query[CHUNKS], values[BLOCKS][4];
    // Of all ways through a span one begins with its first page.
    head_state_clear(env, state, walk->first_head, walk->slot == walk->span.begin / ATTENTION_PAGE);
    UNROLL
    for (i32 c = 0; c < CHUNKS; c++) query[c] = load_shared_u32x4(queries + (g * CHUNKS + c) * 64 + t * 16);
    NO_UNROLL
    while (walk->slot < walk->end_slot) {
        const i32 begin = walk->span.begin - walk->slot * ATTENTION_PAGE;
        const i32 end = walk->span.end - walk->slot * ATTENTION_PAGE;
        const i32 after = walk_page(walk, walk->slot + 2 * walk->stride);
        const u8 *following = cache_at(env, walk->next, walk->kv_head);
        float scores[4];
        // Loads run ahead of their use as far as registers allow: values of this page and keys of the next.
        if (IS_WIDE) load_keys(walk->page, walk->low, walk->high);
        if (!IS_WIDE) load_values(walk->page, begin, end, values);
        score_page(query, walk->low, walk->high, scores);
        walk->slot += walk->stride;
        if (!IS_WIDE && walk->slot < walk->end_slot) load_keys(following, walk->low, walk->high);
        if (IS_WIDE) load_values(walk->page, begin, end, values);
        weigh_page(state, begin, end, scores);
        sum_page(state, scores, values);
        walk->page = following;
        walk->next = after;
    }
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        UNROLL
        for (i32 mask = 4; mask < 32; mask *= 2) state->total[j] += shuffle_xor_f32(state->total[j], mask);
    }
}

// ---- parts -----------------------------------------------------------------------------------------------------
//
// A part: largest[8], total[8], sums[HEADS][64 BLOCKS].

// First of a head's sums.
DEVICE i32 part_sums(i32 head) {
    return 2 * ATTENTION_HEADS + head * BLOCKS * 64;
}

DEVICE void store_part(const head_state *state, float *part) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        const i32 head = 2 * t + j;
        if (g == 0) {
            part[head] = state->largest[j];
            part[ATTENTION_HEADS + head] = state->total[j];
        }
        if (head >= HEADS) continue;
        UNROLL
        for (i32 b = 0; b < BLOCKS; b++) {
            float *columns = part + part_sums(head) + 64 * b + 8 * g;
            UNROLL
            for (i32 i = 0; i < 4; i++) {
                columns[2 * i] = state->sums[b][i][j];
                columns[2 * i + 1] = state->sums[b][i][2 + j];
            }
        }
    }
}

typedef struct joined_part {
    float largest, total;
    f32x2 sum;
} joined_part;

// Columns d, d + 1 of a head of all parts, and their softmax.
DEVICE joined_part join_parts(const float *parts, i32 n_parts, i32 head, i32 d) {
    joined_part all = {NO_SCORE, 0.0f, {0.0f, 0.0f}};
    UNROLL
    for (i32 p = 0; p < n_parts; p++) all.largest = max_f32(all.largest, parts[p * PART + head]);
    UNROLL
    for (i32 p = 0; p < n_parts; p++) {
        const float *part = parts + p * PART, *columns = part + part_sums(head) + d;
        const float factor = exp2_f32(part[head] - all.largest);
        all.total += factor * part[ATTENTION_HEADS + head];
        all.sum.x += factor * columns[0];
        all.sum.y += factor * columns[1];
    }
    return all;
}

// The result of n_heads heads out of all parts.
DEVICE void store_joined(
    const kernel_env *env, const float *parts, i32 n_parts, i32 thread, i32 n_threads, i32 token,
    i32 first_head, i32 n_heads) {
    NO_UNROLL
    for (i32 i = thread; i < n_heads * (HEAD_DIM / 2); i += n_threads) {
        const i32 head = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        joined_part all = join_parts(parts, n_parts, head, d);
        all.sum.x /= all.total;
        all.sum.y /= all.total;
        kernel_store2_0(env, token, (i64)(first_head + head) * HEAD_DIM + d, all.sum);
    }
}
