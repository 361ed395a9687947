// paged_attention_prefill: a block per kv head and 128 rows (64 of wide heads), a row being a token and one query head of the group (so all heads
// share the keys they read). Keys and values come through shared memory in steps of 32 or 64 positions, each copied while the one before is
// computed with. Rows of two sequences take turns; where a tile holds more than two, as in a batch of single tokens, its warps go through the
// tokens one by one as in decode.
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
    float slopes[ROW_TILES][2]; // as measures
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

// Adds what a row's slope makes of the distance to each position.
DEVICE void slant_row(float scores[KEY_TILES][4], i32 first, float slope, attention_span span, i32 base) {
    const float distance = attention_distance(base + 2 * (lane_index() % 4), span);
    UNROLL
    for (i32 i = 0; i < KEY_TILES * 2; i++)
        scores[i / 2][first + i % 2] += slope * (distance + (float)(i / 2 * 8 + i % 2));
}

// Scores of positions base … become weights; the state moves on to the new largest measures.
DEVICE void weigh_tile(
    row_state *state, i32 m, const row_spans *spans, i32 base, float scores[KEY_TILES][4]) {
    float factor[2];
    UNROLL
    for (i32 i = 0; i < KEY_TILES * 4; i++) scores[i / 4][i % 4] = score_measure(scores[i / 4][i % 4]);
    if (HAS_SLOPES) {
        UNROLL
        for (i32 r = 0; r < 2; r++) slant_row(scores, 2 * r, state->slopes[m][r], spans->of[m][r], base);
    }
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

DEVICE void row_state_clear(const kernel_env *env, const row_tile *tile, row_state *state) {
    UNROLL
    for (i32 m = 0; m < ROW_TILES; m++) {
        UNROLL
        for (i32 r = 0; r < 2; r++) {
            const i32 row = tile->first_row + warp_index() * WARP_ROWS + 16 * m + 8 * r + lane_index() / 4;
            const i32 head = tile->kv_head * GROUP + row % GROUP;
            state->largest[m][r] = NO_SCORE;
            state->total[m][r] = 0.0f;
            state->slopes[m][r] = HAS_SLOPES ? head_slope(env, head) / SCORE_UNIT : 0.0f;
            if (HAS_SINKS) {
                const float sink = head_sink(env, head);
                state->largest[m][r] = max_f32(sink / SCORE_UNIT, NO_SCORE);
                state->total[m][r] = lane_index() % 4 == 0 ? sink_total(sink) : 0.0f;
            }
        }
        UNROLL
        for (i32 i = 0; i < PADDED / 8 * 4; i++) state->sums[m][i / 4][i % 4] = 0.0f;
    }
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
    row_state_clear(env, tile, &state);
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
    NO_UNROLL
    for (i32 i = block_index_z() * ATTENTION_PREFILL_WARPS + warp_index(); i < (end - begin) * SETS;
         i += block_count_z() * ATTENTION_PREFILL_WARPS) {
        // A token at the tile's edge belongs to it with some of its heads only.
        const i32 token = begin + i / SETS, first = i % SETS * ATTENTION_HEADS;
        const i32 head = max_i32(first, tile->first_row - token * GROUP);
        const i32 n_heads = min_i32(min_i32(first + ATTENTION_HEADS, GROUP), tile->end_row - token * GROUP) - head;
        if (n_heads <= 0) continue;
        const i32 first_head = tile->kv_head * GROUP + head;
        const attention_span span = token_span(env, token);
        page_walk walk;
        walk_start(
            env, &walk, token, tile->kv_head, first_head, span, span.begin / ATTENTION_PAGE,
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
