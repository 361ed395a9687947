// paged_attention: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] of 16-bit floats on matrix instructions.
//
// Both entries keep a running softmax (m' = max(m, e); p = 2^(e - m'); sums = sums 2^(m - m') + p v; total likewise) in floats. Steps begin
// at fixed multiples of positions and a masked position adds an exact zero, so neighbours in the batch decide only which of the ways below a
// token goes; these differ in the order of sums.
//
//   paged_attention_decode   a block per token, kv head and 8 of its query heads. Every warp takes every 8th page of 16 positions and
//                            brings keys and values straight into the registers that the matrix instructions want; the warps' softmaxes
//                            are joined at the end through shared memory.
//   paged_attention_prefill  a block per kv head and 64 rows, a row being a token and one query head of the group (so all heads share the
//                            keys they read). Keys and values come through shared memory in tiles of 64 positions, each copied while the
//                            other is computed with. Rows of two sequences take turns; where a tile holds more than two, as in a batch
//                            of single tokens, its warps go through the tokens one by one as in decode.
//
// A decode block reads a whole context. One context alone on a large device wants its positions spread over more blocks: that needs memory
// for the parts of several blocks (shared memory of a cluster from sm_90 on, a workspace before), which a launch does not have.

#define CHUNKS  ATTENTION_CHUNKS(HEAD_DIM) // of 32 columns of keys
#define BLOCKS  ATTENTION_BLOCKS(HEAD_DIM) // of 64 columns of values
#define PART    ATTENTION_PART_FLOATS(HEAD_DIM)
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

// Query heads first_head … of a kv head, [8][32 CHUNKS] 16-bit floats; missing heads are zero.
DEVICE void stage_queries(
    const kernel_env *env, u32 *rows, i32 thread, i32 n_threads, i32 token, i32 first_head,
    i32 n_heads) {
    NO_UNROLL
    for (i32 i = thread; i < ATTENTION_HEADS * CHUNKS * 16; i += n_threads) {
        const i32 head = i / (CHUNKS * 16), d = i % (CHUNKS * 16) * 2;
        rows[i] = head < n_heads ? query2(env, token, first_head + head, d) : 0;
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

// Pages part, part + n_parts, … of the token's sequence, as far as it sees them.
DEVICE void attend_pages(
    const kernel_env *env, const u8 *queries, i32 token, i32 kv_head, i32 part, i32 n_parts,
    head_state *state) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const attention_span span = token_span(env, token);
    const i32 *pages = token_pages(env, token);
    const i32 end_slot = (span.end + ATTENTION_PAGE - 1) / ATTENTION_PAGE;
    i32 slot = span.begin / ATTENTION_PAGE;
    slot += (part + n_parts - slot % n_parts) % n_parts;
    head_state_clear(state);
    if (slot >= end_slot) return;

    u32x4 query[CHUNKS], low[CHUNKS], high[CHUNKS], values[BLOCKS][4];
    UNROLL
    for (i32 c = 0; c < CHUNKS; c++) query[c] = load_shared_u32x4(queries + (g * CHUNKS + c) * 64 + t * 16);
    const u8 *page = cache_at(env, pages[slot], kv_head);
    if (!IS_WIDE) load_keys(page, low, high);
    NO_UNROLL
    while (slot < end_slot) {
        const i32 begin = span.begin - slot * ATTENTION_PAGE, end = span.end - slot * ATTENTION_PAGE;
        const i32 next = slot + n_parts;
        const i32 next_page = next < end_slot ? pages[next] : 0;
        float scores[4];
        // Loads run ahead of their use as far as registers allow: values of this page and keys of the next.
        if (IS_WIDE) load_keys(page, low, high);
        if (!IS_WIDE) load_values(page, begin, end, values);
        score_page(query, low, high, scores);
        const u8 *following = cache_at(env, next_page, kv_head);
        if (!IS_WIDE && next < end_slot) load_keys(following, low, high);
        if (IS_WIDE) load_values(page, begin, end, values);
        weigh_page(state, begin, end, scores);
        sum_page(state, scores, values);
        slot = next;
        page = following;
    }
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        UNROLL
        for (i32 mask = 4; mask < 32; mask *= 2) state->total[j] += shuffle_xor_f32(state->total[j], mask);
    }
}

// A part in shared memory: largest[8], total[8], sums[8][64 BLOCKS].
DEVICE void store_part(const head_state *state, float *part) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    UNROLL
    for (i32 j = 0; j < 2; j++) {
        const i32 head = 2 * t + j;
        if (g == 0) {
            part[head] = state->largest[j];
            part[ATTENTION_HEADS + head] = state->total[j];
        }
        UNROLL
        for (i32 b = 0; b < BLOCKS; b++) {
            float *columns = part + 2 * ATTENTION_HEADS + (head * BLOCKS + b) * 64 + 8 * g;
            UNROLL
            for (i32 i = 0; i < 4; i++) {
                columns[2 * i] = state->sums[b][i][j];
                columns[2 * i + 1] = state->sums[b][i][2 + j];
            }
        }
    }
}

// The result of n_heads heads out of all parts.
DEVICE void join_parts(
    const kernel_env *env, const float *parts, i32 n_parts, i32 thread, i32 n_threads, i32 token,
    i32 first_head, i32 n_heads) {
    NO_UNROLL
    for (i32 i = thread; i < n_heads * (HEAD_DIM / 2); i += n_threads) {
        const i32 head = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        float largest = NO_SCORE, total = 0.0f;
        f32x2 sum = {0.0f, 0.0f};
        for (i32 p = 0; p < n_parts; p++) largest = max_f32(largest, parts[p * PART + head]);
        for (i32 p = 0; p < n_parts; p++) {
            const float *part = parts + p * PART;
            const float *columns = part + 2 * ATTENTION_HEADS + head * BLOCKS * 64 + d;
            const float factor = exp2_f32(part[head] - largest);
            total += factor * part[ATTENTION_HEADS + head];
            sum.x += factor * columns[0];
            sum.y += factor * columns[1];
        }
        sum.x /= total;
        sum.y /= total;
        kernel_store2_0(env, token, (i64)(first_head + head) * HEAD_DIM + d, sum);
    }
}

// Grid: tokens, kv heads, groups of 8 query heads.
KERNEL BOUNDS(KERNEL_THREADS_paged_attention_decode, KERNEL_BLOCKS_paged_attention_decode) void
paged_attention_decode(const kernel_env env) {
    SHARED(shared);
    float *parts = (float *)(shared + QUERY);
    const i32 thread = thread_index(), warp = warp_index();
    const i32 token = block_index_x(), kv_head = block_index_y();
    const i32 first = block_index_z() * ATTENTION_HEADS;
    const i32 n_heads = min_i32(GROUP - first, ATTENTION_HEADS), first_head = kv_head * GROUP + first;
    stage_queries(&env, (u32 *)shared, thread, ATTENTION_DECODE_WARPS * 32, token, first_head, n_heads);
    block_sync();
    head_state state;
    attend_pages(&env, shared, token, kv_head, warp, ATTENTION_DECODE_WARPS, &state);
    store_part(&state, parts + warp * PART);
    block_sync();
    join_parts(
        &env, parts, ATTENTION_DECODE_WARPS, thread, ATTENTION_DECODE_WARPS * 32, token, first_head, n_heads);
}

// ---- prefill ---------------------------------------------------------------------------------------------------
//
// S = Q K^T with 16 rows a warp and 64 positions: element (row g or g + 8, position 8 n + 2t or + 1) of tile n lies in lane (g, t), which
// is how the next instruction wants its left side, so weights go from scores to P V without leaving the registers.

#define PADDED     ATTENTION_PADDED(HEAD_DIM)
#define ROW_BYTES  ATTENTION_ROW_BYTES(HEAD_DIM)
#define TILE_BYTES ATTENTION_TILE_BYTES(HEAD_DIM)
#define THREADS    (ATTENTION_PREFILL_WARPS * 32)
#define PLACES     (PADDED / 8) // of 16 bytes in a row
#define ROW_LANES  (PLACES >= 8 ? 8 : PLACES >= 4 ? 4 : 2) // neighbouring threads that copy one row
#define PASS_ROWS  (THREADS / ROW_LANES)                   // a multiple of a page or a page
#define PASSES     (ATTENTION_KEYS / PASS_ROWS)
#define NO_END     0x7fffffff

// Rows first_row … end_row-1 of this tile, row = token * GROUP + query head of the group.
typedef struct row_tile {
    i32 first_row, end_row, kv_head;
    u8 *keys, *values, *queries;
} row_tile;

typedef struct row_state {
    float largest[2], total[2]; // of rows g and g + 8; total of this lane's positions
    float sums[PADDED / 8][4];
} row_state;

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

DEVICE void load_queries(const row_tile *tile, i32 k, u32 query[4]) {
    const i32 lane = lane_index();
    ldmatrix_x4(query, tile->queries + (warp_index() * 16 + lane % 16) * ROW_BYTES + (2 * k + lane / 16) * 16);
}

DEVICE void score_tile(const row_tile *tile, u32 queries[][4], float scores[8][4]) {
    const i32 lane = lane_index();
    const u8 *keys = tile->keys + (lane % 8 + lane / 16 * 8) * ROW_BYTES + lane / 8 % 2 * 16;
    UNROLL
    for (i32 n = 0; n < 8; n++) {
        UNROLL
        for (i32 i = 0; i < 4; i++) scores[n][i] = 0.0f;
    }
    UNROLL
    for (i32 k = 0; k < PADDED / 16; k++) {
        u32 query[4];
        if (IS_WIDE) load_queries(tile, k, query);
        UNROLL
        for (i32 n = 0; n < 8; n += 2) {
            u32 b[4];
            ldmatrix_x4(b, keys + n * 8 * ROW_BYTES + k * 32);
            mma(scores[n], IS_WIDE ? query : queries[k], b);
            mma(scores[n + 1], IS_WIDE ? query : queries[k], b + 2);
        }
    }
}

// Scores of positions base … become weights; spans are those of rows g and g + 8.
DEVICE void weigh_tile(row_state *state, const attention_span spans[2], bool is_inside, i32 base, float scores[8][4]) {
    const i32 t = lane_index() % 4;
    UNROLL
    for (i32 r = 0; r < 2; r++) {
        float largest = state->largest[r];
        UNROLL
        for (i32 n = 0; n < 8; n++) {
            UNROLL
            for (i32 i = 2 * r; i < 2 * r + 2; i++) {
                const i32 position = base + 8 * n + 2 * t + i % 2;
                scores[n][i] = score_exponent(scores[n][i]);
                if (!is_inside && (position < spans[r].begin || position >= spans[r].end))
                    scores[n][i] = -INFINITY_F32;
                largest = max_f32(largest, scores[n][i]);
            }
        }
        largest = max_f32(largest, shuffle_xor_f32(largest, 1));
        largest = max_f32(largest, shuffle_xor_f32(largest, 2));
        const float factor = exp2_f32(state->largest[r] - largest);
        state->largest[r] = largest;
        float total = 0.0f;
        UNROLL
        for (i32 n = 0; n < 8; n++) {
            UNROLL
            for (i32 i = 2 * r; i < 2 * r + 2; i++) {
                scores[n][i] = exp2_f32(scores[n][i] - largest);
                total += scores[n][i];
            }
        }
        state->total[r] = state->total[r] * factor + total;
        UNROLL
        for (i32 n = 0; n < PADDED / 8; n++) {
            state->sums[n][2 * r] *= factor;
            state->sums[n][2 * r + 1] *= factor;
        }
    }
}

DEVICE void sum_tile(const row_tile *tile, row_state *state, float weights[8][4]) {
    const i32 lane = lane_index();
    const u8 *values = tile->values + lane % 16 * ROW_BYTES + lane / 16 * 16;
    UNROLL
    for (i32 k = 0; k < 4; k++) {
        const u32 a[4] = {
            pack2(weights[2 * k][0], weights[2 * k][1]), pack2(weights[2 * k][2], weights[2 * k][3]),
            pack2(weights[2 * k + 1][0], weights[2 * k + 1][1]),
            pack2(weights[2 * k + 1][2], weights[2 * k + 1][3])};
        UNROLL
        for (i32 n = 0; n < PADDED / 8; n += 2) {
            u32 b[4];
            ldmatrix_x4_trans(b, values + k * 16 * ROW_BYTES + n * 16);
            mma(state->sums[n], a, b);
            mma(state->sums[n + 1], a, b + 2);
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

// The tile's rows of tokens begin … end-1, which are of one sequence. All copies have been waited for when it returns.
DEVICE void attend_run(
    const kernel_env *env, const row_tile *tile, u32 queries[][4], i32 begin, i32 end,
    row_state *state) {
    const i32 *pages = token_pages(env, begin);
    const attention_span span = run_span(env, begin, end);
    const i32 row = tile->first_row + warp_index() * 16 + lane_index() / 4;
    const attention_span spans[2] = {
        row_span(env, tile, row, begin, end), row_span(env, tile, row + 8, begin, end)};
    // Steps inside these need no mask in this warp.
    const i32 inside_begin = (i32)warp_max_u32((u32)max_i32(spans[0].begin, spans[1].begin));
    const i32 inside_end = (i32)~warp_max_u32(~(u32)min_i32(spans[0].end, spans[1].end));
    i32 here[PASSES], next[PASSES];
    i32 base = span.begin / ATTENTION_KEYS * ATTENTION_KEYS;
    find_pages(pages, span, base, next);
    copy_tile(env, tile, tile->keys, next, 0, span, base);
    copy_async_commit();
    NO_UNROLL
    for (; base < span.end; base += ATTENTION_KEYS) {
        float scores[8][4];
        UNROLL
        for (i32 pass = 0; pass < PASSES; pass++) here[pass] = next[pass];
        find_pages(pages, span, base + ATTENTION_KEYS, next);
        copy_async_wait(0);
        block_sync(); // keys are there, and all warps are done with the values before
        copy_tile(env, tile, tile->values, here, TO_VALUES, span, base);
        copy_async_commit();
        score_tile(tile, queries, scores);
        copy_async_wait(0);
        block_sync(); // values are there, and all warps are done with the keys
        if (base + ATTENTION_KEYS < span.end) copy_tile(env, tile, tile->keys, next, 0, span, base + ATTENTION_KEYS);
        copy_async_commit();
        const bool is_inside = base >= inside_begin && base + ATTENTION_KEYS <= inside_end;
        weigh_tile(state, spans, is_inside, base, scores);
        sum_tile(tile, state, scores);
    }
}

// The warp's results: through shared memory, so that neighbouring lanes store neighbouring columns.
DEVICE void store_rows(const kernel_env *env, const row_tile *tile, float *rows, row_state *state) {
    const i32 lane = lane_index(), g = lane / 4, t = lane % 4, stride = PADDED + 4;
    UNROLL
    for (i32 r = 0; r < 2; r++) {
        state->total[r] += shuffle_xor_f32(state->total[r], 1);
        state->total[r] += shuffle_xor_f32(state->total[r], 2);
        const float factor = 1.0f / state->total[r];
        UNROLL
        for (i32 n = 0; n < PADDED / 8; n++) {
            float *to = rows + (g + 8 * r) * stride + 8 * n + 2 * t;
            to[0] = state->sums[n][2 * r] * factor;
            to[1] = state->sums[n][2 * r + 1] * factor;
        }
    }
    warp_sync();
    const i32 first_row = tile->first_row + warp_index() * 16;
    NO_UNROLL
    for (i32 i = lane; i < 16 * (HEAD_DIM / 2); i += 32) {
        const i32 row = first_row + i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        if (row < tile->end_row) {
            const float *from = rows + i / (HEAD_DIM / 2) * stride + d;
            const f32x2 pair = {from[0], from[1]};
            kernel_store2_0(env, row / GROUP, (i64)(tile->kv_head * GROUP + row % GROUP) * HEAD_DIM + d, pair);
        }
    }
}

// The tile's tokens begin … end-1 are of one or two sequences: begin … split-1 and the rest.
DEVICE void attend_tile(const kernel_env *env, row_tile *tile, i32 begin, i32 split, i32 end) {
    // Registers hold the queries unless the head is wide; then their place is the values' before these come.
    tile->queries = IS_WIDE ? tile->values + TILE_BYTES : tile->values;
    NO_UNROLL
    for (i32 i = thread_index(); i < ATTENTION_QUERIES * (PADDED / 2); i += THREADS) {
        const i32 row = tile->first_row + i / (PADDED / 2), d = i % (PADDED / 2) * 2;
        u32 pair = 0;
        if (row < tile->end_row)
            pair = query2(env, row / GROUP, tile->kv_head * GROUP + row % GROUP, d);
        *(u32 *)(tile->queries + i / (PADDED / 2) * ROW_BYTES + d * 2) = pair;
    }
    block_sync();
    u32 queries[IS_WIDE ? 1 : PADDED / 16][4];
    UNROLL
    for (i32 k = 0; !IS_WIDE && k < PADDED / 16; k++) load_queries(tile, k, queries[k]);
    row_state state;
    UNROLL
    for (i32 r = 0; r < 2; r++) {
        state.largest[r] = NO_SCORE;
        state.total[r] = 0.0f;
    }
    UNROLL
    for (i32 n = 0; n < PADDED / 8; n++) {
        UNROLL
        for (i32 i = 0; i < 4; i++) state.sums[n][i] = 0.0f;
    }
    NO_UNROLL
    for (i32 run = begin; run < end; run = split, split = end) attend_run(env, tile, queries, run, split, &state);
    block_sync(); // all warps are done with keys and values
    store_rows(env, tile, (float *)tile->keys + warp_index() * 16 * (PADDED + 4), &state);
}

// Every warp of the tile's blocks takes tokens (and of each 8 query heads) by itself.
DEVICE void attend_singly(const kernel_env *env, const row_tile *tile, i32 begin, i32 end) {
    u8 *queries = tile->keys + warp_index() * ATTENTION_WARP_SHARED(HEAD_DIM);
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
        warp_sync(); // the part before has been read
        stage_queries(env, (u32 *)queries, lane_index(), 32, token, first_head, n_heads);
        warp_sync();
        head_state state;
        attend_pages(env, queries, token, tile->kv_head, 0, 1, &state);
        store_part(&state, part);
        warp_sync();
        join_parts(env, part, 1, lane_index(), 32, token, first_head, n_heads);
    }
}

// Grid: tiles of 64 rows, kv heads, blocks that share a tile of many sequences.
KERNEL BOUNDS(KERNEL_THREADS_paged_attention_prefill, KERNEL_BLOCKS_paged_attention_prefill) void
paged_attention_prefill(const kernel_env env) {
    SHARED(shared);
    // Late tokens see most: their tiles go first.
    row_tile tile;
    tile.first_row = (block_count_x() - 1 - block_index_x()) * ATTENTION_QUERIES;
    tile.end_row = min_i32(tile.first_row + ATTENTION_QUERIES, (i32)kernel_dim_0_0(&env) * GROUP);
    tile.kv_head = block_index_y();
    tile.keys = shared;
    tile.values = tile.queries = shared + TILE_BYTES;
    const i32 begin = tile.first_row / GROUP, end = (tile.end_row - 1) / GROUP + 1;
    const i32 split = run_end(&env, begin, end);
    if (split < end && run_end(&env, split, end) < end) {
        attend_singly(&env, &tile, begin, end);
    } else if (block_index_z() == 0) {
        attend_tile(&env, &tile, begin, split, end);
    }
}
