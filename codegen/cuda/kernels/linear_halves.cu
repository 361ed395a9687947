// linear_halves: rows of x times weights in tile16 form on the tensor cores, x f16 or bf16, sums in f32: what linear_tile16 and linear_experts_tile16 do
// once they know which rows and which tiles. Weights stand on the A side of the matrix instruction (16 outputs), tokens on the B side (8), so that
// what a lane loads of a weight is its fragment once decoded.
//
//   few    1 … 8 tokens: bound by the weights' bytes. A block makes one tile of 16 outputs; its warps take the units of K in turn and add
//          their sums up at the end. The next unit's lines are under way while one is used. Order of summation: a warp's units in rising order,
//          then the warps in rising order: no result depends on other tokens.
//   many   64 tokens x 128 outputs; activations come through a ring in shared memory, weights straight into registers.

#define LINEAR_IS_BF16 (KERNEL_DTYPE_0 == KERNEL_BF16)

DEVICE void linear_mma(float d[4], const u32 a[4], u32 b0, u32 b1) {
    linear_few_mma(LINEAR_IS_BF16, d, a, b0, b1);
}

// ---- activations --------------------------------------------------------------------------------------------

// Whether eight slots are eight neighbouring k in memory, 16-byte aligned.
DEVICE bool linear_is_straight(tile16_format f, i64 n_k) {
    return KERNEL_MEMORY_0 && f.group == f.group_slots && n_k % 8 == 0;
}

// The activation of a token at a slot: zero where there is none.
DEVICE u32 linear_activation(
    const kernel_env *env, tile16_format f, const linear_rows *rows, i32 token, i64 slot) {
    const float value = linear_element(env, rows, token, tile16_slot_k(f, slot));
    return LINEAR_IS_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
}

// Eight slots of a token.
DEVICE u32x4 linear_gather(
    const kernel_env *env, tile16_format f, const linear_rows *rows, i32 token, i64 slot) {
    u32 pairs[4];
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        pairs[i] = linear_activation(env, f, rows, token, slot + 2 * i) |
                   linear_activation(env, f, rows, token, slot + 2 * i + 1) << 16;
    }
    u32x4 all;
    all.x = pairs[0];
    all.y = pairs[1];
    all.z = pairs[2];
    all.w = pairs[3];
    return all;
}

// ---- few tokens ---------------------------------------------------------------------------------------------

// Slots [first, first + n_slots) of all tokens to shared memory.
DEVICE void linear_few_stage(
    const kernel_env *env, tile16_format f, u8 *shared, const linear_rows *rows, i64 first,
    i32 n_slots, i32 pitch) {
    const i64 n_k = rows->n_k;
    for (i32 token = 0; token < rows->n; token++) {
        for (i32 i = thread_index(); i < n_slots / 8; i += LINEAR_FEW_THREADS) {
            u32x4 eight = {0, 0, 0, 0};
            if (!linear_is_straight(f, n_k))
                eight = linear_gather(env, f, rows, token, first + i * 8);
            else if (first + i * 8 < n_k)
                eight = *(const u32x4 *)((const u16 *)kernel_pointer_0(env) +
                                         linear_row_of(rows, token) * n_k + first + i * 8);
            store_shared_u32x4(shared + token * pitch + i * 16, eight);
        }
    }
}

// The first units of a tile to registers, for linear_few_rows.
DEVICE void linear_few_start(tile16_format f, tile16_at at, i32 n_units, tile16_lane lanes[4]) {
    UNROLL
    for (i32 r = 0; r < linear_few_ring(f); r++) {
        if (warp_index() + r * LINEAR_FEW_WARPS < n_units)
            tile16_load_unit(f, tile16_after(f, at, r * LINEAR_FEW_WARPS), &lanes[r]);
    }
}

// The block's rows times the tile whose units the warp reads from `at` on: this warp's sums.
DEVICE void linear_few_rows(
    const kernel_env *env, tile16_format f, tile16_at at, tile16_lane lanes[4],
    const linear_rows *rows, u8 *shared, float sum[4]) {
    const i32 warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
    const i32 ring = linear_few_ring(f), round = ring * LINEAR_FEW_WARPS;
    const i32 n_units = (i32)tile16_units(f, rows->n_k);
    const i32 chunk = min_i32(linear_few_chunk(f, rows->n), n_units);
    const i32 pitch = linear_few_pitch(chunk * tile16_unit_slots(f));
    const i32 unit_x_bytes = tile16_unit_slots(f) * 2;
    UNROLL
    for (i32 i = 0; i < 4; i++) sum[i] = 0.0f;
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_few_stage(
            env, f, shared, rows, (i64)begin * tile16_unit_slots(f),
            (end - begin) * tile16_unit_slots(f), pitch);
        block_sync();
        // Columns of absent tokens repeat the first one; nobody reads them.
        const u8 *x = shared + (g < rows->n ? g : 0) * pitch + t * 16 + warp * unit_x_bytes;
        NO_UNROLL
        for (i32 first = begin + warp; first < end; first += round) {
            at = tile16_after(f, at, round);
            UNROLL
            for (i32 r = 0; r < ring; r++) {
                const i32 unit = first + r * LINEAR_FEW_WARPS;
                if (unit >= end) continue;
                const tile16_at next = tile16_after(f, at, r * LINEAR_FEW_WARPS);
                linear_few_unit(
                    f, LINEAR_IS_BF16, 1, &lanes[r], x + r * LINEAR_FEW_WARPS * unit_x_bytes, &next,
                    unit + round < n_units, (float(*)[4])sum);
            }
            x += round * unit_x_bytes;
        }
    }
}

// The sum of all warps for token thread / 16 and output thread % 16, through `shared`. All threads must call.
DEVICE float linear_few_all(
    tile16_format f, const char *tile, tile16_lane *lane, float sum[4], u8 *shared) {
    linear_few_scale(f, tile, lane, sum);
    block_sync();
    float *sums = (float *)shared;
    linear_few_put(sums, 0, sum);
    block_sync();
    const i32 token = thread_index() / TILE16_ROWS, row = thread_index() % TILE16_ROWS;
    return token < LINEAR_FEW_TOKENS ? linear_few_total(sums, 0, token, row) : 0.0f;
}

// ---- many tokens --------------------------------------------------------------------------------------------

// Scales that differ along K meet the weights of integer formats: few instructions for a group of 32, where scaling sums would cost as many as
// the matrix instructions do. Blocks of float8 have their sums scaled, which rounds less.
DEVICE bool linear_many_scales_weights(tile16_format f) {
    return !f.is_one_scale && (f.code == TILE16_INT4 || f.code == TILE16_INT8);
}

// A pair of weights times the scale of their row and group.
DEVICE u32
linear_many_times(tile16_format f, const tile16_lane *lane, i32 half, i32 group, u32 pair) {
    if (f.scale != KERNEL_DTYPE_0) {
        const f32x2 two = LINEAR_IS_BF16 ? unpack_bf16x2(pair) : unpack_f16x2(pair);
        const float scale = tile16_scale(f, lane, half, group);
        return LINEAR_IS_BF16 ? pack_bf16x2(two.x * scale, two.y * scale)
                              : pack_f16x2(two.x * scale, two.y * scale);
    }
    const u32 scale = tile16_scale_pair(f, lane, half, group);
    return LINEAR_IS_BF16 ? bf162_fma(pair, scale, 0x80008000u) : half2_mul(pair, scale);
}

// Byte offset of eight slots of a token in a stage. Odd rows have the halves of every 128 bytes exchanged: the quads of two rows, which read
// 64 bytes each at a time, meet no bank twice.
DEVICE i32 linear_many_at(tile16_format f, i32 token, i32 eighth) {
    return token * linear_many_slots(f) * 2 + (eighth ^ (token & 1) * 4) * 16;
}

// Slots of step `step` of the block's tokens to a stage, where eight slots are 16 bytes of memory; the copies are under way on return. A thread
// copies the same slots of every eighth token.
DEVICE void linear_many_copy(
    const kernel_env *env, tile16_format f, u8 *stage, const linear_rows *rows, i64 step) {
    const i32 eighths = linear_many_slots(f) / 8, stride = LINEAR_MANY_THREADS / eighths;
    const i32 row = thread_index() / eighths, eighth = thread_index() % eighths;
    const i64 n_k = rows->n_k, slot = step * linear_many_slots(f) + eighth * 8;
    // From this thread's first row on; none beyond K.
    const i32 n_rows = slot >= n_k ? 0 : rows->n - row;
    const char *from = (const char *)kernel_pointer_0(env);
    if (n_rows > 0) from += ((rows->chosen != 0 ? 0 : (rows->first + row) * n_k) + slot) * 2;
    u8 *to = stage + linear_many_at(f, row, eighth);
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TOKENS; i += stride) {
        // K is below 2^24. Chosen rows may lie anywhere.
        const u32 near = i < n_rows ? (u32)(i * n_k * 2) : 0;
        const i64 far = rows->chosen != 0 && i < n_rows ? rows->chosen[row + i] * n_k * 2 : 0;
        const char *at = rows->chosen != 0 ? from + far : from + near;
        copy_async16(to + i * linear_many_slots(f) * 2, at, i < n_rows);
    }
}

// The same where slots must be gathered.
DEVICE void linear_many_gather(
    const kernel_env *env, tile16_format f, u8 *stage, const linear_rows *rows, i64 step) {
    const i32 eighths = linear_many_slots(f) / 8;
    NO_UNROLL
    for (i32 i = thread_index(); i < LINEAR_MANY_TOKENS * eighths; i += LINEAR_MANY_THREADS) {
        const i32 token = i / eighths, eighth = i % eighths;
        const i64 slot = step * linear_many_slots(f) + eighth * 8;
        u32x4 eight = {0, 0, 0, 0};
        if (token < rows->n) eight = linear_gather(env, f, rows, token, slot);
        store_shared_u32x4(stage + linear_many_at(f, token, eighth), eight);
    }
}

DEVICE void linear_many_stage(
    const kernel_env *env, tile16_format f, u8 *stage, const linear_rows *rows, i64 step) {
    if (linear_is_straight(f, rows->n_k))
        linear_many_copy(env, f, stage, rows, step);
    else
        linear_many_gather(env, f, stage, rows, step);
}

// Fragments of a block of a unit, with their scales where these meet the weights.
DEVICE void linear_many_fragments(
    tile16_format f, const tile16_lane *lane, i32 block, u32 a[2][4]) {
    tile16_fragments(f, lane, block, LINEAR_IS_BF16, a);
    if (!linear_many_scales_weights(f)) return;
    UNROLL
    for (i32 s = 0; s < 2; s++) {
        const i32 group = (2 * block + s) / (f.group_slots / 16);
        UNROLL
        for (i32 i = 0; i < 4; i++) a[s][i] = linear_many_times(f, lane, i % 2, group, a[s][i]);
    }
}

// One unit of both tiles. x: this lane's pieces of the unit's first two blocks in the stage, eight tokens of which follow one another.
DEVICE void linear_many_unit(
    tile16_format f, tile16_lane lanes[LINEAR_MANY_TILES], const u8 *const x[2],
    const tile16_at next[LINEAR_MANY_TILES], bool has_next,
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4]) {
    const i32 steps = f.group_slots / 16, n_blocks = tile16_unit_slots(f) / 32;
    const bool has_parts = !f.is_one_scale && !linear_many_scales_weights(f);
    float parts[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
    UNROLL
    for (i32 block = 0; block < n_blocks; block++) {
        u32 a[LINEAR_MANY_TILES][2][4];
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++)
            linear_many_fragments(f, &lanes[i], block, a[i]);
        UNROLL
        for (i32 n = 0; n < LINEAR_MANY_TOKENS / 8; n++) {
            const u32x4 eight = load_shared_u32x4(
                x[block % 2] + block / 2 * 128 + n * 8 * linear_many_slots(f) * 2);
            UNROLL
            for (i32 i = 0; i < LINEAR_MANY_TILES; i++) {
                UNROLL
                for (i32 s = 0; s < 2; s++) {
                    const u32 b0 = s == 0 ? eight.x : eight.z, b1 = s == 0 ? eight.y : eight.w;
                    if (!has_parts) {
                        linear_mma(sums[i][n], a[i][s], b0, b1);
                        continue;
                    }
                    float *part = parts[i][n];
                    const i32 step = 2 * block + s;
                    UNROLL
                    for (i32 c = 0; c < 4; c++) {
                        if (step % steps == 0) part[c] = 0.0f;
                    }
                    linear_mma(part, a[i][s], b0, b1);
                    if (step % steps != steps - 1) continue;
                    UNROLL
                    for (i32 c = 0; c < 4; c++)
                        sums[i][n][c] += part[c] * tile16_scale(f, &lanes[i], c / 2, step / steps);
                }
            }
        }
        if (!has_next) continue;
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tile16_load_block(f, next[i], block, &lanes[i]);
    }
    if (!has_next || f.is_one_scale) return;
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tile16_load_header(f, next[i], &lanes[i]);
}

// The block's rows times the warp's tiles, whose first units are in `lanes`.
DEVICE void linear_many_rows(
    const kernel_env *env, tile16_format f, tile16_at tiles[LINEAR_MANY_TILES],
    tile16_lane lanes[LINEAR_MANY_TILES], const linear_rows *rows, u8 *shared,
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4]) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const i32 n_units = (i32)tile16_units(f, rows->n_k);
    const i32 step_units = linear_many_slots(f) / tile16_unit_slots(f);
    const i32 n_steps = (n_units + step_units - 1) / step_units;
    const i32 ring = linear_many_ring(f);
    linear_many_clear(sums);
    UNROLL
    for (i32 step = 0; step < ring - 1; step++) {
        if (step < n_steps)
            linear_many_stage(env, f, shared + step * linear_many_stage_bytes(f), rows, step);
        copy_async_commit();
    }
    i32 here = 0; // the stage of the step
    NO_UNROLL
    for (i32 step = 0; step < n_steps; step++) {
        // Groups count the steps even where nothing was copied, so the newest ring - 2 may stay under way.
        if (ring == 3)
            copy_async_wait(1);
        else
            copy_async_wait(0);
        block_sync();
        const i32 before = here == 0 ? ring - 1 : here - 1;
        if (step + ring - 1 < n_steps)
            linear_many_stage(
                env, f, shared + before * linear_many_stage_bytes(f), rows, step + ring - 1);
        copy_async_commit();
        UNROLL
        for (i32 u = 0; u < step_units; u++) {
            const i32 unit = step * step_units + u;
            if (unit >= n_units) continue;
            UNROLL
            for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tiles[i] = tile16_after(f, tiles[i], 1);
            const u8 *x[2];
            UNROLL
            for (i32 b = 0; b < 2; b++) {
                const i32 block = u * tile16_unit_slots(f) / 32 + b;
                x[b] = shared + here * linear_many_stage_bytes(f) +
                       linear_many_at(f, g, block * 4 + t);
            }
            linear_many_unit(f, lanes, x, tiles, unit + 1 < n_units, sums);
        }
        here = here == ring - 1 ? 0 : here + 1;
    }
}
