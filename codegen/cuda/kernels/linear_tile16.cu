// linear_tile16: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, on the tensor cores: w in tile16 form, x f16 or bf16, sums in f32.
// Weights stand on the A side of the matrix instruction (16 outputs), tokens on the B side (8), so that what a lane loads of a weight is
// its fragment once decoded.
//
//   linear_few    1 … 8 tokens: bound by the weights' bytes. A block makes one tile of 16 outputs; its warps take the units of K in turn and add
//                 their sums up at the end. The next unit's lines are under way while one is used.
//   linear_many   any number: a block makes 64 tokens x 128 outputs; activations come through a ring in shared memory, weights straight into
//                 registers.
//
// Order of summation of linear_few: a warp's units in rising order, then the warps in rising order: no result depends on other tokens.

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
DEVICE u32 linear_activation(const kernel_env *env, tile16_format f, i64 token, i64 slot) {
    const i64 k = tile16_slot_k(f, slot);
    if (k < 0 || k >= kernel_dim_0_1(env)) return 0;
    const float value = kernel_load_0(env, token, k);
    kernel_keep_0(env, token, k, value);
    return LINEAR_IS_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
}

// Eight slots of a token.
DEVICE u32x4 linear_gather(const kernel_env *env, tile16_format f, i64 token, i64 slot) {
    u32 pairs[4];
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        pairs[i] = linear_activation(env, f, token, slot + 2 * i) |
                   linear_activation(env, f, token, slot + 2 * i + 1) << 16;
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
    const kernel_env *env, tile16_format f, u8 *shared, i32 n_tokens, i64 first, i32 n_slots,
    i32 pitch) {
    const i64 n_k = kernel_dim_0_1(env);
    for (i32 token = 0; token < n_tokens; token++) {
        for (i32 i = thread_index(); i < n_slots / 8; i += LINEAR_FEW_THREADS) {
            u32x4 eight = {0, 0, 0, 0};
            if (!linear_is_straight(f, n_k))
                eight = linear_gather(env, f, token, first + i * 8);
            else if (first + i * 8 < n_k)
                eight = *(const u32x4 *)((const u16 *)kernel_pointer_0(env) + token * n_k + first +
                                         i * 8);
            store_shared_u32x4(shared + token * pitch + i * 16, eight);
        }
    }
}

KERNEL BOUNDS(KERNEL_THREADS_linear_few, KERNEL_BLOCKS_linear_few) void linear_few(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i32 n_tokens = (i32)kernel_dim_0_0(&env), n_units = (i32)tile16_units(f, n_k);
    const i32 warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
    const i32 ring = linear_few_ring(f), round = ring * LINEAR_FEW_WARPS;
    const char *tile =
        (const char *)kernel_pointer_1(&env) + block_index_x() * tile16_tile_bytes(f, n_k);

    tile16_lane lanes[4];
    tile16_at at = tile16_at_unit(f, tile + warp * tile16_unit_bytes(f));
    UNROLL
    for (i32 r = 0; r < ring; r++) {
        if (warp + r * LINEAR_FEW_WARPS < n_units)
            tile16_load_unit(f, tile16_after(f, at, r * LINEAR_FEW_WARPS), &lanes[r]);
    }
    // Weights are there before the launch before has ended.
    grid_wait();
    grid_release();

    const i32 chunk = min_i32(linear_few_chunk(f, n_tokens), n_units);
    const i32 pitch = linear_few_pitch(chunk * tile16_unit_slots(f));
    const i32 unit_x_bytes = tile16_unit_slots(f) * 2;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_few_stage(
            &env, f, shared, n_tokens, (i64)begin * tile16_unit_slots(f),
            (end - begin) * tile16_unit_slots(f), pitch);
        block_sync();
        // Columns of absent tokens repeat the first one; nobody reads them.
        const u8 *x = shared + (g < n_tokens ? g : 0) * pitch + t * 16 + warp * unit_x_bytes;
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
                    unit + round < n_units, &sum);
            }
            x += round * unit_x_bytes;
        }
    }

    linear_few_scale(f, tile, &lanes[0], sum);
    block_sync();
    float *sums = (float *)shared;
    linear_few_put(sums, 0, sum);
    block_sync();
    const i32 token = thread_index() / TILE16_ROWS, row = thread_index() % TILE16_ROWS;
    const i64 output = (i64)block_index_x() * TILE16_ROWS + row;
    if (token >= n_tokens || output >= n_outputs) return;
    const float total = linear_few_total(sums, 0, token, row);
    kernel_store_0(&env, token, output, total + kernel_load_2(&env, 0, output));
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
    const kernel_env *env, tile16_format f, u8 *stage, i64 first_token, i64 step) {
    const i32 eighths = linear_many_slots(f) / 8, stride = LINEAR_MANY_THREADS / eighths;
    const i32 row = thread_index() / eighths, eighth = thread_index() % eighths;
    const i64 n_k = kernel_dim_0_1(env), slot = step * linear_many_slots(f) + eighth * 8;
    // From this thread's first row on; none beyond K.
    i32 n_rows = (i32)min_i64(kernel_dim_0_0(env) - first_token - row, LINEAR_MANY_TOKENS);
    if (slot >= n_k) n_rows = 0;
    const char *from = (const char *)kernel_pointer_0(env);
    if (n_rows > 0) from += ((first_token + row) * n_k + slot) * 2;
    u8 *to = stage + linear_many_at(f, row, eighth);
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TOKENS; i += stride) {
        const u32 distance = i < n_rows ? (u32)(i * n_k * 2) : 0; // K is below 2^24
        copy_async16(to + i * linear_many_slots(f) * 2, from + distance, i < n_rows);
    }
}

// The same where slots must be gathered.
DEVICE void linear_many_gather(
    const kernel_env *env, tile16_format f, u8 *stage, i64 first_token, i64 step) {
    const i32 eighths = linear_many_slots(f) / 8;
    NO_UNROLL
    for (i32 i = thread_index(); i < LINEAR_MANY_TOKENS * eighths; i += LINEAR_MANY_THREADS) {
        const i32 row = i / eighths, eighth = i % eighths;
        const i64 token = first_token + row, slot = step * linear_many_slots(f) + eighth * 8;
        u32x4 eight = {0, 0, 0, 0};
        if (token < kernel_dim_0_0(env)) eight = linear_gather(env, f, token, slot);
        store_shared_u32x4(stage + linear_many_at(f, row, eighth), eight);
    }
}

DEVICE void linear_many_stage(
    const kernel_env *env, tile16_format f, u8 *stage, i64 first_token, i64 step) {
    if (linear_is_straight(f, kernel_dim_0_1(env)))
        linear_many_copy(env, f, stage, first_token, step);
    else
        linear_many_gather(env, f, stage, first_token, step);
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
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++)
            tile16_load_block(f, next[i], block, &lanes[i]);
    }
    if (!has_next || f.is_one_scale) return;
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tile16_load_header(f, next[i], &lanes[i]);
}

KERNEL BOUNDS(KERNEL_THREADS_linear_many, KERNEL_BLOCKS_linear_many) void linear_many(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i64 n_tokens = kernel_dim_0_0(&env),
              first_token = (i64)block_index_x() * LINEAR_MANY_TOKENS;
    const i64 first_output = (i64)block_index_y() * LINEAR_MANY_OUTPUTS;
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const i32 n_units = (i32)tile16_units(f, n_k);
    const i32 step_units = linear_many_slots(f) / tile16_unit_slots(f);
    const i32 n_steps = (n_units + step_units - 1) / step_units;
    const i32 ring = linear_many_ring(f);

    tile16_lane lanes[LINEAR_MANY_TILES];
    tile16_at tiles[LINEAR_MANY_TILES];
    linear_many_start(f, kernel_pointer_1(&env), n_outputs, n_k, first_output, tiles, lanes);
    grid_wait();
    grid_release();

    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
    linear_many_clear(sums);

    UNROLL
    for (i32 step = 0; step < ring - 1; step++) {
        if (step < n_steps)
            linear_many_stage(
                &env, f, shared + step * linear_many_stage_bytes(f), first_token, step);
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
                &env, f, shared + before * linear_many_stage_bytes(f), first_token,
                step + ring - 1);
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

    block_sync();
    float *turned = (float *)shared; // [token][output]
    linear_many_turn(f, 1.0f, lanes, sums, turned);
    block_sync();
    const i64 output = first_output + thread_index();
    if (output >= n_outputs) return;
    const float bias = kernel_load_2(&env, 0, output);
    const i32 n_here = (i32)min_i64(n_tokens - first_token, LINEAR_MANY_TOKENS);
    for (i32 token = 0; token < n_here; token++) {
        const float total = turned[token * LINEAR_MANY_SUM_PITCH + thread_index()];
        kernel_store_0(&env, first_token + token, output, total + bias);
    }
}
