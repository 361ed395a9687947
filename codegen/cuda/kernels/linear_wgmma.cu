// linear_wgmma: many tokens on Hopper: out^T[N, M] = w[N, K] x^T by the matrix instruction of warpgroups, m64, its n the block's tokens. A block makes
// 128 outputs of 256 tokens (or 128, where there would be too few blocks).
//
//   consumers   two warpgroups, 64 outputs each: a warp owns a tile of tile16, whose pieces are its rows of A as they are. Weights go from global
//               memory to registers, a line being loaded again as soon as its fragments are made, so three blocks of 32 slots ahead; the fragments of
//               the next block are made while the matrix instructions of the last one run.
//   producers   one warpgroup with fewer registers: x to shared memory in the order in which tile16's lanes hold k, a stage of 128 bytes of all
//               tokens at a time; every thread has 16 loads under way, each begins as its registers get free.
//   stages      a ring in shared memory, "full" barriers from producers to consumers, "empty" ones back.
//
// What differs by x stands in linear_wgmma_halves.cu and linear_wgmma_fp8.cu, one of which stands before this file:
//   LINEAR_WGMMA_X_BYTES        of an element of x
//   LINEAR_WGMMA_INSTRUCTIONS   for a block of 32 slots; each reads 32 bytes of a token
//   linear_wgmma_places, _put   the words of 16 bytes of x in a tile
//   linear_wgmma_fragments, _multiply   of a block; one instruction
//   linear_wgmma_row_factor, _token_factor, _bias   what the sums get at the end
//
// Budget for 256 tokens, int4 weights and f16, per stage (64 k) and quarter of a multiprocessor, whose tensor core does 512 multiplications a clock:
//   tensor core    2 consumer warps x 4 instructions x 128 clocks                                            1024 clocks
//   issue slots    2 consumers x 4 x 26 (tests/cuda/gates_test.c counts them) + producer 16 pieces x ~10     ~380 slots
//   shared memory  2 x 32 KB read as B + 32 KB written, at 128 bytes a clock                                 768 clocks
//   from L2        32 KB of x + 4.5 KB of w: 37 bytes a clock; under way: 32 KB of x, enough for 1000 clocks of latency, and 6 KB
//                  or more of w
// So the tensor core bounds it where the L2 gives 37 bytes a clock to every multiprocessor; with 30, an assumption, 80 % of the tensor peak are left.
// With 128 tokens w is loaded for half the work, 41 bytes a clock. fp8 has twice the k in the same bytes of x and the same clocks, and 16 KB of w a
// stage: 48 bytes a clock (64 with 128 tokens), so the L2 bounds it, near 60 % by the same assumption; nothing is decoded. These are computed, not
// measured. Shared memory: 128 KB of stages (96 KB for 128 tokens); one block a multiprocessor.

// ---- where things are -----------------------------------------------------------------------------------------

#define LINEAR_WGMMA_STAGE_SLOTS  (128 / LINEAR_WGMMA_X_BYTES)
#define LINEAR_WGMMA_STAGE_BLOCKS (LINEAR_WGMMA_STAGE_SLOTS / 32)
#define LINEAR_WGMMA_STEP_STAGES  (LINEAR_WGMMA_STEP_SLOTS / LINEAR_WGMMA_STAGE_SLOTS)

typedef struct linear_wgmma_block {
    const kernel_env *env;
    u8 *stages;
    u64 *full, *empty, *together;
    i64 first_token, first_output;
    i32 n_stages; // that pass through the ring
} linear_wgmma_block;

// Place in the ring and the parity of its phase.
typedef struct linear_wgmma_turn {
    i32 stage;
    u32 parity;
} linear_wgmma_turn;

DEVICE linear_wgmma_turn linear_wgmma_next(linear_wgmma_turn turn, i32 block_tokens) {
    const bool is_last = turn.stage == linear_wgmma_stages(block_tokens) - 1;
    turn.stage = is_last ? 0 : turn.stage + 1;
    turn.parity ^= is_last ? 1u : 0u;
    return turn;
}

// ---- producers ------------------------------------------------------------------------------------------------

#define LINEAR_WGMMA_PASS (4 * LINEAR_WGMMA_PRODUCERS) // tokens that the producers load at once

// Where a thread loads: 16 bytes of tokens LINEAR_WGMMA_PASS apart.
typedef struct linear_wgmma_source {
    const char *x;
    i64 slot;
    i32 n_rows; // from the thread's first token on
} linear_wgmma_source;

// Tokens beyond the last repeat the first one of the thread or of all: nobody reads their sums.
DEVICE u32x4 linear_wgmma_load(linear_wgmma_source from, i64 n_k, i32 pass) {
    const i32 row = pass * LINEAR_WGMMA_PASS;
    const u32 distance =
        row < from.n_rows ? (u32)row * (u32)n_k * LINEAR_WGMMA_X_BYTES : 0; // K is below 2^22
    return load_global_u32x4(from.x + distance);
}

// The next stage; beyond K the thread stays where it is, and zeros are stored.
DEVICE linear_wgmma_source linear_wgmma_advance(linear_wgmma_source from, i64 n_k) {
    from.slot += LINEAR_WGMMA_STAGE_SLOTS;
    if (from.slot < n_k) from.x += 128;
    return from;
}

// A stage, from its first piece on in registers; every register is filled from `next` as soon as it is free.
DEVICE void linear_wgmma_fill(
    u8 *stage, const i32 to[4], i32 n_passes, u32 mask, u32x4 *pieces, linear_wgmma_source next,
    i64 n_k) {
    UNROLL
    for (i32 pass = 0; pass < n_passes; pass++) {
        u32x4 piece = pieces[pass];
        piece.x &= mask;
        piece.y &= mask;
        piece.z &= mask;
        piece.w &= mask;
        linear_wgmma_put(stage + pass * LINEAR_WGMMA_PASS * 128, to, piece);
        // At the end the last stage once more: cheaper than a test.
        pieces[pass] = linear_wgmma_load(next, n_k, pass);
    }
}

DEVICE void linear_wgmma_produce(const linear_wgmma_block *block, i32 block_tokens) {
    const i64 n_k = kernel_dim_0_1(block->env), n_tokens = kernel_dim_0_0(block->env);
    const i32 row = thread_index() / 8, eighth = thread_index() % 8;
    // A thread has 16 loads under way, of one stage or two.
    const i32 n_passes = block_tokens / LINEAR_WGMMA_PASS, n_ahead = 16 / n_passes;
    i64 slot = eighth * (16 / LINEAR_WGMMA_X_BYTES);
    linear_wgmma_source from;
    from.slot = slot;
    from.n_rows = (i32)min_i64(n_tokens - block->first_token - row, block_tokens);
    const i64 token = block->first_token + (from.n_rows > 0 ? row : 0);
    from.x = (const char *)kernel_pointer_0(block->env) +
             (token * n_k + (slot < n_k ? slot : 0)) * LINEAR_WGMMA_X_BYTES;

    u32x4 pieces[16];
    UNROLL
    for (i32 i = 0; i < 16; i++) {
        pieces[i] = linear_wgmma_load(from, n_k, i % n_passes);
        if (i % n_passes == n_passes - 1) from = linear_wgmma_advance(from, n_k);
    }
    i32 to[4];
    linear_wgmma_places(row, eighth, to);

    linear_wgmma_turn turn = {0, 1};
    NO_UNROLL
    for (i32 first = 0; first < block->n_stages; first += n_ahead) {
        UNROLL
        for (i32 i = 0; i < n_ahead; i++) {
            if (first + i >= block->n_stages) continue;
            const bool is_inside = n_k % LINEAR_WGMMA_STEP_SLOTS == 0 || slot < n_k;
            barrier_wait(&block->empty[turn.stage], turn.parity);
            linear_wgmma_fill(
                block->stages + turn.stage * linear_wgmma_stage_bytes(block_tokens), to, n_passes,
                is_inside ? 0xffffffffu : 0, pieces + i * n_passes, from, n_k);
            wgmma_store_fence();
            warp_sync();
            if (lane_index() == 0) barrier_arrive(&block->full[turn.stage]);
            turn = linear_wgmma_next(turn, block_tokens);
            slot += LINEAR_WGMMA_STAGE_SLOTS;
            from = linear_wgmma_advance(from, n_k);
        }
    }
}

// ---- consumers ------------------------------------------------------------------------------------------------

// A warp's tile, and how far its lines have been loaded.
typedef struct linear_wgmma_weights {
    tile16_lane lane; // of the unit that is decoded
    tile16_lane next; // its header is that of the next unit
    tile16_at at;     // the next unit
    i32 n_lines;      // of the tile, from `at` on
    bool is_whole;    // no unit ends early
} linear_wgmma_weights;

// Lines of the next unit that the blocks up to `block` have used up. Plain weights may end inside the unit.
DEVICE void linear_wgmma_reload(tile16_format f, linear_wgmma_weights *w, i32 block) {
    UNROLL
    for (i32 line = tile16_block_line(f, block); line < tile16_block_line(f, block + 1); line++) {
        if (w->is_whole || line < w->n_lines)
            tile16_load_line(w->at, line, &w->lane);
        else
            w->lane.lines[line].x = w->lane.lines[line].y = w->lane.lines[line].z =
                w->lane.lines[line].w = 0;
    }
}

DEVICE void linear_wgmma_start(
    const linear_wgmma_block *block, tile16_format f, i32 consumer, linear_wgmma_weights *w) {
    const i64 n_k = kernel_dim_1_1(block->env);
    const tile16_format stored = tile16_format_of(KERNEL_DTYPE_1);
    // Tiles beyond the last repeat it; nothing of them is stored.
    const i64 tile = min_i64(
        block->first_output / TILE16_ROWS + consumer, tile16_tiles(kernel_dim_1_0(block->env)) - 1);
    w->at = tile16_at_unit(
        f, (const char *)kernel_pointer_1(block->env) + tile * tile16_tile_bytes(stored, n_k));
    w->n_lines = (i32)tile16_units(stored, n_k) * tile16_unit_lines(stored);
    w->is_whole = w->n_lines % tile16_unit_lines(f) == 0;
    UNROLL
    for (i32 b = 0; b < LINEAR_WGMMA_STEP_SLOTS / 32; b++) linear_wgmma_reload(f, w, b);
    tile16_load_header(f, w->at, &w->lane);
}

// All of K. Fragments of one block are used by the instructions under way while those of the next are decoded.
DEVICE void linear_wgmma_sum(
    const linear_wgmma_block *block, i32 block_tokens, tile16_format f, linear_wgmma_weights *w,
    float *sums) {
    const i32 n_steps = block->n_stages / LINEAR_WGMMA_STEP_STAGES;
    const i32 n_blocks = LINEAR_WGMMA_STEP_SLOTS / 32;
    u32 a[2][LINEAR_WGMMA_INSTRUCTIONS][4];
    linear_wgmma_fragments(f, &w->lane, 0, a[0]);
    linear_wgmma_turn turn = {0, 0};
    i32 before = 0; // stage of the block before
    NO_UNROLL
    for (i32 step = 0; step < n_steps; step++) {
        const bool has_next = step + 1 < n_steps;
        w->at = tile16_after(f, w->at, 1);
        w->n_lines -= tile16_unit_lines(f);
        if (has_next && !f.is_one_scale) tile16_load_header(f, w->at, &w->next);
        UNROLL
        for (i32 b = 0; b < n_blocks; b++) {
            const bool is_first = b % LINEAR_WGMMA_STAGE_BLOCKS == 0;
            if (is_first) barrier_wait(&block->full[turn.stage], turn.parity);
            const u64 tile =
                wgmma_tile(block->stages + turn.stage * linear_wgmma_stage_bytes(block_tokens)) +
                (u64)(b % LINEAR_WGMMA_STAGE_BLOCKS * LINEAR_WGMMA_INSTRUCTIONS * 2);
            wgmma_pin(a[b % 2][0], LINEAR_WGMMA_INSTRUCTIONS * 4);
            wgmma_fence();
            UNROLL
            for (i32 i = 0; i < LINEAR_WGMMA_INSTRUCTIONS; i++)
                linear_wgmma_multiply(block_tokens, sums, a[b % 2][i], tile + (u64)i * 2);
            wgmma_commit();
            // The block before is done: its fragments are free, and with a stage's first block the stage before.
            wgmma_wait(1);
            if (is_first && (step > 0 || b > 0) && lane_index() == 0)
                barrier_arrive(&block->empty[before]);
            if (b % LINEAR_WGMMA_STAGE_BLOCKS == LINEAR_WGMMA_STAGE_BLOCKS - 1) {
                before = turn.stage;
                turn = linear_wgmma_next(turn, block_tokens);
            }
            if (has_next) linear_wgmma_reload(f, w, b);
            if (b == n_blocks - 1 && !f.is_one_scale) {
                UNROLL
                for (i32 i = 0; i < tile16_piece_bytes(f) / 4; i++)
                    w->lane.header[i] = w->next.header[i];
            }
            linear_wgmma_fragments(f, &w->lane, (b + 1) % n_blocks, a[(b + 1) % 2]);
        }
    }
    wgmma_wait(0);
    wgmma_pin_sums(sums, block_tokens / 2);
}

// All consumers, and what each of them wrote to shared memory.
DEVICE void linear_wgmma_meet(const linear_wgmma_block *block, u32 parity) {
    warp_sync();
    if (lane_index() == 0) barrier_arrive(block->together);
    barrier_wait(block->together, parity);
}

// Sums to results through shared memory, so that lanes have neighbouring outputs.
DEVICE void linear_wgmma_store(
    const linear_wgmma_block *block, i32 block_tokens, tile16_format f, i32 consumer,
    const tile16_lane *lane, const float *sums) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const i32 thread = consumer * 32 + lane_index();
    const i64 n_tokens = kernel_dim_0_0(block->env), n_outputs = kernel_dim_1_0(block->env);
    const i64 output = block->first_output + thread % (LINEAR_WGMMA_OUTPUTS / 2) * 2;
    float scales[2];
    UNROLL
    for (i32 half = 0; half < 2; half++) scales[half] = linear_wgmma_row_factor(f, lane, half);
    float bias[2] = {0.0f, 0.0f};
    UNROLL
    for (i32 i = 0; i < 2; i++) {
        if (output + i < n_outputs) bias[i] = linear_wgmma_bias(block->env, output + i);
    }
    float *turned = (float *)block->stages; // [token][output]
    UNROLL
    for (i32 part = 0; part < block_tokens / LINEAR_WGMMA_SUM_TOKENS; part++) {
        linear_wgmma_meet(block, 0);
        UNROLL
        for (i32 i = 0; i < LINEAR_WGMMA_SUM_TOKENS / 2; i++) {
            const i32 token = i / 4 * 8 + 2 * t + i % 2,
                      row = consumer * TILE16_ROWS + g + i % 4 / 2 * 8;
            turned[token * LINEAR_WGMMA_SUM_PITCH + row] =
                sums[part * LINEAR_WGMMA_SUM_TOKENS / 2 + i] * scales[i % 4 / 2];
        }
        linear_wgmma_meet(block, 1);
        const i64 first = block->first_token + part * LINEAR_WGMMA_SUM_TOKENS;
        const i32 n_here = (i32)min_i64(n_tokens - first, LINEAR_WGMMA_SUM_TOKENS);
        NO_UNROLL
        for (i32 token = thread / (LINEAR_WGMMA_OUTPUTS / 2); token < n_here; token += 4) {
            const f32x2 sum =
                *(const f32x2 *)&turned
                    [token * LINEAR_WGMMA_SUM_PITCH + thread % (LINEAR_WGMMA_OUTPUTS / 2) * 2];
            const float factor = linear_wgmma_token_factor(block->env, first + token);
            f32x2 pair;
            pair.x = sum.x * factor + bias[0];
            pair.y = sum.y * factor + bias[1];
            if (output + 1 < n_outputs)
                kernel_store2_0(block->env, first + token, output, pair);
            else if (output < n_outputs)
                kernel_store_0(block->env, first + token, output, pair.x);
        }
    }
}

DEVICE void linear_wgmma_consume(const linear_wgmma_block *block, i32 block_tokens, i32 consumer) {
    const tile16_format f = linear_wgmma_format(KERNEL_DTYPE_1);
    linear_wgmma_weights weights;
    linear_wgmma_start(block, f, consumer, &weights);
    float sums[128];
    UNROLL
    for (i32 i = 0; i < block_tokens / 2; i++) sums[i] = 0.0f;
    wgmma_pin_sums(sums, block_tokens / 2);
    grid_wait();
    grid_release();
    linear_wgmma_sum(block, block_tokens, f, &weights, sums);
    linear_wgmma_store(block, block_tokens, f, consumer, &weights.lane, sums);
}

// ---- the block ------------------------------------------------------------------------------------------------

DEVICE void linear_wgmma(const kernel_env *env, u8 *shared, i32 block_tokens) {
    linear_wgmma_block block;
    block.env = env;
    block.stages = shared;
    block.full = (u64 *)(shared + linear_wgmma_barriers_at(block_tokens));
    block.empty = block.full + LINEAR_WGMMA_MAX_STAGES;
    block.together = block.empty + LINEAR_WGMMA_MAX_STAGES;
    block.first_token = (i64)block_index_x() * block_tokens;
    block.first_output = (i64)block_index_y() * LINEAR_WGMMA_OUTPUTS;
    // Whole steps: what lies beyond K is zero on both sides.
    const i32 n_steps =
        (i32)((kernel_dim_1_1(env) + LINEAR_WGMMA_STEP_SLOTS - 1) / LINEAR_WGMMA_STEP_SLOTS);
    block.n_stages = n_steps * LINEAR_WGMMA_STEP_STAGES;
    if (thread_index() == 0) {
        UNROLL
        for (i32 i = 0; i < linear_wgmma_stages(block_tokens); i++) {
            barrier_init(&block.full[i], LINEAR_WGMMA_PRODUCERS);
            barrier_init(&block.empty[i], LINEAR_WGMMA_CONSUMERS);
        }
        barrier_init(block.together, LINEAR_WGMMA_CONSUMERS);
    }
    block_sync();
    // The same for all lanes, which the compiler cannot see.
    const i32 warp = (i32)shuffle_u32((u32)warp_index(), 0);
    if (warp < LINEAR_WGMMA_PRODUCERS) {
        registers_give(LINEAR_WGMMA_PRODUCER_REGISTERS);
        grid_wait();
        grid_release();
        linear_wgmma_produce(&block, block_tokens);
    } else {
        registers_take(LINEAR_WGMMA_CONSUMER_REGISTERS);
        linear_wgmma_consume(&block, block_tokens, warp - LINEAR_WGMMA_PRODUCERS);
    }
}

KERNEL BOUNDS(
    KERNEL_THREADS_linear_wgmma_128,
    KERNEL_BLOCKS_linear_wgmma_128) void linear_wgmma_128(const kernel_env env) {
    SHARED(shared);
    linear_wgmma(&env, shared, 128);
}

KERNEL BOUNDS(
    KERNEL_THREADS_linear_wgmma_256,
    KERNEL_BLOCKS_linear_wgmma_256) void linear_wgmma_256(const kernel_env env) {
    SHARED(shared);
    linear_wgmma(&env, shared, 256);
}
