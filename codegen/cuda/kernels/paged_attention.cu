// paged_attention: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] of 16-bit floats on matrix instructions.
//
// Both functions keep a running softmax (m' = max(m, e); p = 2^(e - m'); sums = sums 2^(m - m') + p v; total likewise) in floats. Where steps
// and splits begin follows from a token's own length, and a masked position adds an exact zero, so neighbours in the batch decide only which
// entry takes the launch and which of the ways below a token goes; these differ in the order of sums.
//
//   paged_attention_decode   blocks per token, kv head and 8 of its query heads. The pages that a token sees are cut by their number into at
//                            most as many splits as the grid is deep; blocks beyond the last one leave at once. A block's warps take every
//                            4th page of its split, keys and values coming straight into the registers that the matrix instructions want:
//                            values of a page and keys of the next are on their way at a time. The warps' softmaxes are joined through shared
//                            memory and left in scratch memory; the block that arrives last joins all splits, in their order. A context of 4
//                            pages or less is one split and needs no scratch.
//   paged_attention_prefill  a block per kv head and 128 rows (64 of wide heads), a row being a token and one query head of the group (so
//                            all heads share the keys they read). Keys and values come through shared memory in steps of 32 or 64
//                            positions, each copied while the one before is computed with. Rows of two sequences take turns; where a tile
//                            holds more than two, as in a batch of single tokens, its warps go through the tokens one by one as in decode.

#define CHUNKS  ATTENTION_CHUNKS(HEAD_DIM) // of 32 columns of keys
#define BLOCKS  ATTENTION_BLOCKS(HEAD_DIM) // of 64 columns of values
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
    float sums[BLOCKS][4][4];   // [block][i]: columns 64 block + 8 g + 2 i (first two) and one more (last two) of both heads
} head_state;

DEVICE void head_state_clear(head_state *state) {
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        state->largest[j] = NO_SCORE;
        state->total[j] = 0.0f;
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

// Scores become weights; the state moves on to the new largest exponents. The page's rows begin … end-1 are seen.
DEVICE void weigh_page(head_state *state, i32 begin, i32 end, float scores[4]) {
    const i32 g = lane_index() / 4;
    float factor[2];
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        const i32 row = g + i / 2 * 8;
        scores[i] = row >= begin && row < end ? score_exponent(scores[i]) : -INFINITY_F32;
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
    i32 slot, end_slot, stride, kv_head;
    const u8 *page;                  // in the cache, at `slot`
    i32 next;                        // number of the page after it
    u32x4 low[CHUNKS], high[CHUNKS]; // its keys, unless heads are wide
} page_walk;

DEVICE i32 walk_page(const page_walk *walk, i32 slot) {
    return slot < walk->end_slot ? walk->pages[slot] : 0;
}

// The span's pages slot … end_slot-1; page 0 stands for what is not there.
DEVICE void walk_start(
    const kernel_env *env, page_walk *walk, i32 token, i32 kv_head, attention_span span, i32 slot,
    i32 end_slot, i32 stride) {
    walk->span = span;
    walk->pages = token_pages(env, token);
    walk->slot = slot;
    walk->end_slot = end_slot;
    walk->stride = stride;
    walk->kv_head = kv_head;
    walk->page = cache_at(env, walk_page(walk, slot), kv_head);
    walk->next = walk_page(walk, slot + stride);
    if (!IS_WIDE && slot < end_slot) load_keys(walk->page, walk->low, walk->high);
}

// All of the way.
DEVICE void attend_pages(const kernel_env *env, page_walk *walk, const u8 *queries, head_state *state) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    u32x4 query[CHUNKS], values[BLOCKS][4];
    head_state_clear(state);
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

// ---- decode ----------------------------------------------------------------------------------------------------

#define SETS           ((GROUP + ATTENTION_HEADS - 1) / ATTENTION_HEADS) // of 8 query heads, of a kv head
#define DECODE_THREADS (ATTENTION_DECODE_WARPS * 32)
#define JOINED_AT_ONCE 16 // splits whose sums a thread has on their way

// Pages begin_slot … end_slot-1 are a split's, of n_splits that have any.
typedef struct page_split {
    i32 begin_slot, end_slot, n_splits;
} page_split;

// Every warp of a block has the same number of pages, but for the last block.
DEVICE page_split page_split_at(attention_span span, i32 split, i32 most_splits) {
    const i32 first = span.begin / ATTENTION_PAGE;
    const i32 count = (span.end + ATTENTION_PAGE - 1) / ATTENTION_PAGE - first;
    const i32 of_warp = (count + most_splits * ATTENTION_DECODE_WARPS - 1) / (most_splits * ATTENTION_DECODE_WARPS);
    const i32 of_split = of_warp * ATTENTION_DECODE_WARPS;
    page_split range;
    range.begin_slot = first + split * of_split;
    range.end_slot = min_i32(range.begin_slot + of_split, first + count);
    range.n_splits = (count + of_split - 1) / of_split;
    return range;
}

// The block's part of its warps' parts.
DEVICE void join_warps(const float *parts, float *part, i32 n_heads) {
    NO_UNROLL
    for (i32 i = thread_index(); i < n_heads * (HEAD_DIM / 2); i += DECODE_THREADS) {
        const i32 head = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        const joined_part all = join_parts(parts, ATTENTION_DECODE_WARPS, head, d);
        *(f32x2 *)(part + part_sums(head) + d) = all.sum;
        if (d == 0) {
            part[head] = all.largest;
            part[ATTENTION_HEADS + head] = all.total;
        }
    }
}

// Whether this block is the last of n_blocks that get here; then it sees what all of them wrote before. `counter` is 0 before and after.
DEVICE bool arrive_last(u32 *counter, u32 n_blocks, u32 *shared) {
    device_fence();
    block_sync(); // all threads' writes are out
    if (thread_index() == 0) *shared = atomic_add_u32(counter, 1) + 1;
    block_sync();
    if (*shared != n_blocks) return false;
    device_fence();
    if (thread_index() == 0) *counter = 0;
    return true;
}

// The result out of the splits' parts. `factors` is shared memory, [n_heads][ATTENTION_MAX_SPLITS].
DEVICE void store_splits(
    const kernel_env *env, const float *splits, i32 n_splits, float *factors, i32 token, i32 first_head,
    i32 n_heads) {
    const i32 lane = lane_index();
    NO_UNROLL
    for (i32 head = warp_index(); head < n_heads; head += ATTENTION_DECODE_WARPS) {
        float own[2], totals[2], largest = NO_SCORE;
        UNROLL
        for (i32 k = 0; k < 2; k++) {
            const i32 split = lane + 32 * k;
            own[k] = split < n_splits ? splits[split * PART + head] : NO_SCORE;
            totals[k] = split < n_splits ? splits[split * PART + ATTENTION_HEADS + head] : 0.0f;
            largest = max_f32(largest, own[k]);
        }
        largest = warp_max_f32(largest);
        UNROLL
        for (i32 k = 0; k < 2; k++) own[k] = exp2_f32(own[k] - largest);
        const float total = warp_sum_f32(own[0] * totals[0] + own[1] * totals[1]);
        UNROLL
        for (i32 k = 0; k < 2; k++) {
            // Beyond the last split too, where the factor is zero.
            factors[head * ATTENTION_MAX_SPLITS + lane + 32 * k] = own[k] / total;
        }
    }
    block_sync();
    NO_UNROLL
    for (i32 i = thread_index(); i < n_heads * (HEAD_DIM / 4); i += DECODE_THREADS) {
        const i32 head = i / (HEAD_DIM / 4), d = i % (HEAD_DIM / 4) * 4;
        const float *columns = splits + part_sums(head) + d, *factor = factors + head * ATTENTION_MAX_SPLITS;
        f32x2 sum[2] = {{0.0f, 0.0f}, {0.0f, 0.0f}};
        NO_UNROLL
        for (i32 base = 0; base < n_splits; base += JOINED_AT_ONCE) {
            const f32x2 zero = {0.0f, 0.0f};
            f32x2 part[JOINED_AT_ONCE][2];
            UNROLL
            for (i32 k = 0; k < 2 * JOINED_AT_ONCE; k++) {
                const f32x2 *pair = (const f32x2 *)(columns + (base + k / 2) * PART) + k % 2;
                part[k / 2][k % 2] = base + k / 2 < n_splits ? *pair : zero;
            }
            UNROLL
            for (i32 k = 0; k < 2 * JOINED_AT_ONCE; k++) {
                sum[k % 2].x += factor[base + k / 2] * part[k / 2][k % 2].x;
                sum[k % 2].y += factor[base + k / 2] * part[k / 2][k % 2].y;
            }
        }
        UNROLL
        for (i32 k = 0; k < 2; k++)
            kernel_store2_0(env, token, (i64)(first_head + head) * HEAD_DIM + d + 2 * k, sum[k]);
    }
}

// Grid: tokens, sets of query heads of all kv heads, splits.
KERNEL BOUNDS(KERNEL_THREADS_paged_attention_decode, IS_WIDE ? 1 : KERNEL_BLOCKS_paged_attention_decode) void
paged_attention_decode(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    float *parts = (float *)(shared + QUERY);
    const i32 thread = thread_index(), warp = warp_index();
    const i32 token = block_index_x(), kv_head = block_index_y() / SETS, first = block_index_y() % SETS * ATTENTION_HEADS;
    const i32 n_heads = min_i32(GROUP - first, ATTENTION_HEADS), first_head = kv_head * GROUP + first;
    const attention_span span = token_span(&env, token);
    const page_split split = page_split_at(span, block_index_z(), block_count_z());
    if (split.begin_slot >= split.end_slot) return; // all threads of it
    page_walk walk;
    walk_start(
        &env, &walk, token, kv_head, span, split.begin_slot + warp, split.end_slot, ATTENTION_DECODE_WARPS);
    stage_queries(&env, (u32 *)shared, thread, DECODE_THREADS, token, first_head, n_heads);
    block_sync();
    head_state state;
    attend_pages(&env, &walk, shared, &state);
    store_part(&state, parts + warp * PART);
    block_sync();
    if (split.n_splits == 1) {
        store_joined(
            &env, parts, ATTENTION_DECODE_WARPS, thread, DECODE_THREADS, token, first_head, n_heads);
        return;
    }
    const i32 place = token * block_count_y() + block_index_y();
    u32 *counter = (u32 *)kernel_scratch(&env) + place;
    float *splits =
        (float *)(kernel_scratch(&env) + KERNEL_COUNTER_BYTES) + (i64)place * block_count_z() * PART;
    join_warps(parts, splits + block_index_z() * PART, n_heads);
    if (arrive_last(counter, (u32)split.n_splits, (u32 *)shared))
        store_splits(&env, splits, split.n_splits, parts, token, first_head, n_heads);
}

// ---- prefill ---------------------------------------------------------------------------------------------------
//
// S = Q K^T with 16 or 32 rows a warp and 32 or 64 positions: element (row 16 m + g or + 8, position 8 n + 2t or + 1) of tile (m, n) lies in lane
// (g, t), which is how the next instruction wants its left side, so weights go from scores to P V without leaving the registers.

#define PADDED     ATTENTION_PADDED(HEAD_DIM)
#define ROW_BYTES  ATTENTION_ROW_BYTES(HEAD_DIM)
#define TILE_BYTES ATTENTION_TILE_BYTES(HEAD_DIM)
#define THREADS    (ATTENTION_PREFILL_WARPS * 32)
#define PLACES     (PADDED / 8) // of 16 bytes in a row
#define ROW_LANES  (PLACES >= 8 ? 8 : 4) // neighbouring threads that copy one row
#define PASS_ROWS  (THREADS / ROW_LANES) // a page or two
#define PASSES     (KEYS / PASS_ROWS)
#define NO_END     0x7fffffff
#define KEYS       ATTENTION_KEYS(HEAD_DIM) // positions of a step
#define KEY_TILES  (KEYS / 8)
#define ROW_TILES  ATTENTION_ROW_TILES(HEAD_DIM) // of 16 rows, of a warp
#define QUERIES    ATTENTION_QUERIES(HEAD_DIM)   // rows of a block
#define WARP_ROWS  (16 * ROW_TILES)

// Rows first_row … end_row-1 of this tile, row = token * GROUP + query head of the group.
typedef struct row_tile {
    i32 first_row, end_row, kv_head;
    u8 *steps, *queries; // keys and values of two steps, used in turn
    i32 turn;            // 0 or 1: where the next step goes
} row_tile;

// Of rows g and g + 8 of each row tile; `total` of this lane's positions.
typedef struct row_state {
    float largest[ROW_TILES][2], total[ROW_TILES][2];
    float sums[ROW_TILES][PADDED / 8][4];
} row_state;

typedef struct row_spans {
    attention_span of[ROW_TILES][2];
    i32 inside_begin, inside_end; // steps in between need no mask in this warp
} row_spans;

// First token after `begin` (and before `end`) of another sequence, or `end`.
DEVICE i32 run_end(const kernel_env *env, i32 begin, i32 end) {
    const i32 *sequences = (const i32 *)kernel_pointer_3(env);
    const i32 sequence = sequences[begin];
    u32 found = (u32)end;
    for (i32 token = begin + lane_index(); token < end && found == (u32)end; token += 32) {
        if (sequences[token] != sequence) found = (u32)token;
    }
    return (i32)~warp_max_u32(~found);
}

// Positions that any of the tokens sees.
DEVICE attention_span run_span(const kernel_env *env, i32 begin, i32 end) {
    u32 first = NO_END, last = 0;
    for (i32 token = begin + lane_index(); token < end; token += 32) {
        const attention_span span = token_span(env, token);
        first = min_u32(first, (u32)span.begin);
        last = max_u32(last, (u32)span.end);
    }
    attention_span all;
    all.begin = (i32)~warp_max_u32(~first);
    all.end = (i32)warp_max_u32(last);
    return all;
}

// Pages of the rows of a step that this thread copies; page 0 where no row is seen.
DEVICE void find_pages(const i32 *pages, attention_span span, i32 base, i32 found[PASSES]) {
    UNROLL
    for (i32 pass = 0; pass < PASSES; pass++) {
        const i32 position = base + pass * PASS_ROWS + thread_index() / ROW_LANES;
        const bool is_seen = position >= span.begin && position < span.end;
        found[pass] = is_seen ? pages[position / ATTENTION_PAGE] : 0;
    }
}

// Starts the copy of keys (or values, to_half elements later) at positions base …; rows that are not seen and columns beyond the head become zero.
DEVICE void copy_tile(
    const kernel_env *env, const row_tile *tile, u8 *rows, const i32 pages[PASSES], i64 to_half,
    attention_span span, i32 base) {
    const i32 lane = thread_index() % ROW_LANES;
    UNROLL
    for (i32 pass = 0; pass < PASSES; pass++) {
        const i32 row = pass * PASS_ROWS + thread_index() / ROW_LANES;
        const bool is_seen = base + row >= span.begin && base + row < span.end;
        const u8 *source = cache_at(env, pages[pass], tile->kv_head) +
                           (to_half + row % ATTENTION_PAGE * HEAD_DIM) * 2;
        UNROLL
        for (i32 i = 0; i < (PLACES + ROW_LANES - 1) / ROW_LANES; i++) {
            const i32 place = i * ROW_LANES + lane;
            const bool is_valid = is_seen && place * 8 < HEAD_DIM;
            if (PLACES % ROW_LANES == 0 || place < PLACES) {
                copy_async16(rows + row * ROW_BYTES + place * 16, source + (is_valid ? place * 16 : 0), is_valid);
            }
        }
    }
}

DEVICE void score_tile(const row_tile *tile, const u8 *keys, float scores[ROW_TILES][KEY_TILES][4]) {
    const i32 lane = lane_index();
    const u8 *queries = tile->queries + (warp_index() * WARP_ROWS + lane % 16) * ROW_BYTES + lane / 16 * 16;
    keys += (lane % 8 + lane / 16 * 8) * ROW_BYTES + lane / 8 % 2 * 16;
    UNROLL
    for (i32 i = 0; i < ROW_TILES * KEY_TILES * 4; i++) scores[i / (KEY_TILES * 4)][i / 4 % KEY_TILES][i % 4] = 0.0f;
    UNROLL
    for (i32 k = 0; k < PADDED / 16; k++) {
        u32 query[ROW_TILES][4];
        UNROLL
        for (i32 m = 0; m < ROW_TILES; m++) ldmatrix_x4(query[m], queries + m * 16 * ROW_BYTES + k * 32);
        UNROLL
        for (i32 n = 0; n < KEY_TILES; n += 2) {
            u32 b[4];
            ldmatrix_x4(b, keys + n * 8 * ROW_BYTES + k * 32);
            UNROLL
            for (i32 m = 0; m < ROW_TILES; m++) {
                mma(scores[m][n], query[m], b);
                mma(scores[m][n + 1], query[m], b + 2);
            }
        }
    }
}

// Measures of positions base + 8 n + i % 2 that a row (elements first, first + 1) does not see lose everything.
DEVICE void mask_row(float scores[KEY_TILES][4], i32 first, attention_span span, i32 base) {
    const i32 begin = span.begin - base, end = span.end - base;
    UNROLL
    for (i32 i = 0; i < KEY_TILES * 2; i++) {
        const i32 position = i / 2 * 8 + i % 2;
        const bool is_seen = position < end && (KERNEL_ATTR_window == 0 || position >= begin);
        if (!is_seen) scores[i / 2][first + i % 2] = -INFINITY_F32;
    }
}

// Scores of positions base … become weights; the state moves on to the new largest measures.
DEVICE void weigh_tile(
    row_state *state, i32 m, const row_spans *spans, i32 base, float scores[KEY_TILES][4]) {
    float factor[2];
    UNROLL
    for (i32 i = 0; i < KEY_TILES * 4; i++) scores[i / 4][i % 4] = score_measure(scores[i / 4][i % 4]);
    if (base < spans->inside_begin || base + KEYS > spans->inside_end) {
        UNROLL
        for (i32 r = 0; r < 2; r++) mask_row(scores, 2 * r, spans->of[m][r], base + 2 * (lane_index() % 4));
    }
    UNROLL
    for (i32 r = 0; r < 2; r++) {
        float largest = state->largest[m][r], total = 0.0f;
        UNROLL
        for (i32 i = 0; i < KEY_TILES * 2; i++) largest = max_f32(largest, scores[i / 2][2 * r + i % 2]);
        largest = max_f32(largest, shuffle_xor_f32(largest, 1));
        largest = max_f32(largest, shuffle_xor_f32(largest, 2));
        const float offset = score_offset(largest);
        factor[r] = score_factor(state->largest[m][r], largest);
        UNROLL
        for (i32 i = 0; i < KEY_TILES * 2; i++) {
            float *score = &scores[i / 2][2 * r + i % 2];
            *score = score_weight(*score, offset);
            total += *score;
        }
        state->largest[m][r] = largest;
        state->total[m][r] = state->total[m][r] * factor[r] + total;
    }
    // After the first steps the largest measure seldom moves.
    if (ballot(factor[0] != 1.0f || factor[1] != 1.0f) == 0) return;
    UNROLL
    for (i32 i = 0; i < PADDED / 8 * 4; i++) state->sums[m][i / 4][i % 4] *= factor[i % 4 / 2];
}

DEVICE void sum_tile(const u8 *values, row_state *state, float weights[ROW_TILES][KEY_TILES][4]) {
    const i32 lane = lane_index();
    values += lane % 16 * ROW_BYTES + lane / 16 * 16;
    UNROLL
    for (i32 k = 0; k < KEYS / 16; k++) {
        u32 a[ROW_TILES][4];
        UNROLL
        for (i32 m = 0; m < ROW_TILES; m++) {
            UNROLL
            for (i32 i = 0; i < 4; i++)
                a[m][i] = pack2(weights[m][2 * k + i / 2][i % 2 * 2], weights[m][2 * k + i / 2][i % 2 * 2 + 1]);
        }
        UNROLL
        for (i32 n = 0; n < PADDED / 8; n += 2) {
            u32 b[4];
            ldmatrix_x4_trans(b, values + k * 16 * ROW_BYTES + n * 16);
            UNROLL
            for (i32 m = 0; m < ROW_TILES; m++) {
                mma(state->sums[m][n], a[m], b);
                mma(state->sums[m][n + 1], a[m], b + 2);
            }
        }
    }
}

// Positions that a row sees: none when its token is not in the run, all when it is beyond the tile (its query is zero, nobody reads its result).
DEVICE attention_span row_span(const kernel_env *env, const row_tile *tile, i32 row, i32 begin, i32 end) {
    const i32 token = row / GROUP;
    attention_span span = {0, NO_END};
    if (row >= tile->end_row) return span;
    if (token >= begin && token < end) return token_span(env, token);
    span.end = 0;
    return span;
}

// What this lane's rows see of the run's tokens.
DEVICE row_spans warp_spans(const kernel_env *env, const row_tile *tile, i32 begin, i32 end) {
    row_spans spans;
    u32 last_begin = 0, first_end = NO_END;
    UNROLL
    for (i32 i = 0; i < 2 * ROW_TILES; i++) {
        const i32 row = tile->first_row + warp_index() * WARP_ROWS + 8 * i + lane_index() / 4;
        const attention_span span = row_span(env, tile, row, begin, end);
        spans.of[i / 2][i % 2] = span;
        last_begin = max_u32(last_begin, (u32)span.begin);
        first_end = min_u32(first_end, (u32)span.end);
    }
    spans.inside_begin = (i32)warp_max_u32(last_begin);
    spans.inside_end = (i32)~warp_max_u32(~first_end);
    return spans;
}

// Where the keys of a turn lie; its values follow.
DEVICE u8 *turn_keys(const row_tile *tile, i32 turn) {
    return tile->steps + turn * 2 * TILE_BYTES;
}

// Starts the copies of a step, whose pages are known, to the place of the turn.
DEVICE void copy_step(
    const kernel_env *env, const row_tile *tile, i32 turn, const i32 pages[PASSES], attention_span span, i32 base) {
    u8 *keys = turn_keys(tile, turn);
    copy_tile(env, tile, keys, pages, 0, span, base);
    copy_tile(env, tile, keys + TILE_BYTES, pages, TO_VALUES, span, base);
}

// The tile's rows of tokens begin … end-1, which are of one sequence. All copies have been waited for when it returns.
DEVICE void attend_run(const kernel_env *env, row_tile *tile, i32 begin, i32 end, row_state *state) {
    const i32 *pages = token_pages(env, begin);
    const attention_span span = run_span(env, begin, end);
    const row_spans spans = warp_spans(env, tile, begin, end);
    i32 next[PASSES];
    i32 base = span.begin / KEYS * KEYS;
    find_pages(pages, span, base, next);
    copy_step(env, tile, tile->turn, next, span, base);
    copy_async_commit();
    find_pages(pages, span, base + KEYS, next);
    NO_UNROLL
    for (; base < span.end; base += KEYS) {
        const u8 *keys = turn_keys(tile, tile->turn);
        tile->turn ^= 1;
        copy_async_wait(0);
        block_sync(); // the step (at first the queries too) is there, and all warps are done with the one before
        if (base + KEYS < span.end) copy_step(env, tile, tile->turn, next, span, base + KEYS);
        copy_async_commit();
        find_pages(pages, span, base + 2 * KEYS, next);
        float scores[ROW_TILES][KEY_TILES][4];
        score_tile(tile, keys, scores);
        UNROLL
        for (i32 m = 0; m < ROW_TILES; m++) weigh_tile(state, m, &spans, base, scores[m]);
        sum_tile(keys + TILE_BYTES, state, scores);
    }
}

// The warp's results: through shared memory, so that neighbouring lanes store neighbouring columns.
DEVICE void store_rows(const kernel_env *env, const row_tile *tile, float *rows, row_state *state, i32 m) {
    const i32 lane = lane_index(), g = lane / 4, t = lane % 4, stride = PADDED + 4;
    UNROLL
    for (i32 r = 0; r < 2; r++) {
        float total = state->total[m][r];
        total += shuffle_xor_f32(total, 1);
        total += shuffle_xor_f32(total, 2);
        const float factor = 1.0f / total;
        UNROLL
        for (i32 n = 0; n < PADDED / 8; n++) {
            float *to = rows + (g + 8 * r) * stride + 8 * n + 2 * t;
            to[0] = state->sums[m][n][2 * r] * factor;
            to[1] = state->sums[m][n][2 * r + 1] * factor;
        }
    }
    warp_sync();
    const i32 first_row = tile->first_row + warp_index() * WARP_ROWS + 16 * m;
    NO_UNROLL
    for (i32 i = lane; i < 16 * (HEAD_DIM / 2); i += 32) {
        const i32 row = first_row + i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        if (row < tile->end_row) {
            const float *from = rows + i / (HEAD_DIM / 2) * stride + d;
            const f32x2 pair = {from[0], from[1]};
            kernel_store2_0(env, row / GROUP, (i64)(tile->kv_head * GROUP + row % GROUP) * HEAD_DIM + d, pair);
        }
    }
    warp_sync(); // the next rows may lie in the same place
}

// The tile's tokens begin … end-1 are of one or two sequences: begin … split-1 and the rest.
DEVICE void attend_tile(const kernel_env *env, row_tile *tile, i32 begin, i32 split, i32 end) {
    NO_UNROLL
    for (i32 i = thread_index(); i < QUERIES * (PADDED / 2); i += THREADS) {
        const i32 row = tile->first_row + i / (PADDED / 2), d = i % (PADDED / 2) * 2;
        u32 pair = 0;
        if (row < tile->end_row)
            pair = query2(env, row / GROUP, tile->kv_head * GROUP + row % GROUP, d);
        *(u32 *)(tile->queries + i / (PADDED / 2) * ROW_BYTES + d * 2) = pair;
    }
    row_state state;
    UNROLL
    for (i32 m = 0; m < ROW_TILES; m++) {
        UNROLL
        for (i32 r = 0; r < 2; r++) {
            state.largest[m][r] = NO_SCORE;
            state.total[m][r] = 0.0f;
        }
        UNROLL
        for (i32 i = 0; i < PADDED / 8 * 4; i++) state.sums[m][i / 4][i % 4] = 0.0f;
    }
    NO_UNROLL
    for (i32 run = begin; run < end; run = split, split = end) attend_run(env, tile, run, split, &state);
    block_sync(); // all warps are done with keys and values
    UNROLL
    for (i32 m = 0; m < ROW_TILES; m++)
        store_rows(env, tile, (float *)tile->steps + warp_index() * 16 * (PADDED + 4), &state, m);
}

// Every warp of the tile's blocks takes tokens (and of each 8 query heads) by itself.
DEVICE void attend_singly(const kernel_env *env, const row_tile *tile, i32 begin, i32 end) {
    u8 *queries = tile->steps + warp_index() * ATTENTION_WARP_SHARED(HEAD_DIM, GROUP);
    float *part = (float *)(queries + QUERY);
    const i32 n_sets = (GROUP + ATTENTION_HEADS - 1) / ATTENTION_HEADS;
    NO_UNROLL
    for (i32 i = block_index_z() * ATTENTION_PREFILL_WARPS + warp_index(); i < (end - begin) * n_sets;
         i += block_count_z() * ATTENTION_PREFILL_WARPS) {
        // A token at the tile's edge belongs to it with some of its heads only.
        const i32 token = begin + i / n_sets, first = i % n_sets * ATTENTION_HEADS;
        const i32 head = max_i32(first, tile->first_row - token * GROUP);
        const i32 n_heads = min_i32(min_i32(first + ATTENTION_HEADS, GROUP), tile->end_row - token * GROUP) - head;
        if (n_heads <= 0) continue;
        const i32 first_head = tile->kv_head * GROUP + head;
        const attention_span span = token_span(env, token);
        page_walk walk;
        walk_start(
            env, &walk, token, tile->kv_head, span, span.begin / ATTENTION_PAGE,
            (span.end + ATTENTION_PAGE - 1) / ATTENTION_PAGE, 1);
        warp_sync(); // the part before has been read
        stage_queries(env, (u32 *)queries, lane_index(), 32, token, first_head, n_heads);
        warp_sync();
        head_state state;
        attend_pages(env, &walk, queries, &state);
        store_part(&state, part);
        warp_sync();
        store_joined(env, part, 1, lane_index(), 32, token, first_head, n_heads);
    }
}

// Grid: tiles of rows, kv heads, blocks that share a tile of many sequences.
KERNEL BOUNDS(KERNEL_THREADS_paged_attention_prefill, KERNEL_BLOCKS_paged_attention_prefill) void
paged_attention_prefill(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    // Late tokens see most: their tiles go first.
    row_tile tile;
    tile.first_row = (block_count_x() - 1 - block_index_x()) * QUERIES;
    tile.end_row = min_i32(tile.first_row + QUERIES, (i32)kernel_dim_0_0(&env) * GROUP);
    tile.kv_head = block_index_y();
    tile.steps = shared;
    tile.turn = 0;
    tile.queries = shared + 4 * TILE_BYTES;
    const i32 begin = tile.first_row / GROUP, end = (tile.end_row - 1) / GROUP + 1;
    const i32 split = run_end(&env, begin, end);
    if (split < end && run_end(&env, split, end) < end) {
        attend_singly(&env, &tile, begin, end);
    } else if (block_index_z() == 0) {
        attend_tile(&env, &tile, begin, split, end);
    }
}
