// linear_fp8: out[M, N] = fp8 codes x[M, K] times fp8 weights w[N, K] transposed, times the scales of both, plus bias. Sums are f32; scales along K,
// of 128 x 128 weights or of 128 columns of x, meet the sum of each unit, others the whole sum. How codes are multiplied stands in fp8_direct.h and
// fp8_halves.h. Weights, in tile16 form, stand on the A side of the matrix instruction (16 outputs), tokens on the B side (8).
//
//   linear_fp8_few    1 … 8 tokens: bound by the weights' bytes. A block makes one tile of 16 outputs; its warps take the units of K in turn and add
//                     their sums up at the end. The next unit's lines are under way while one is used.
//   linear_fp8_many   any number: a block makes 64 tokens x 128 outputs; codes come through a ring in shared memory, weights straight into registers.
//
// Order of summation of linear_fp8_few: a warp's units in rising order, then the warps in rising order: no result depends on other tokens.

#define LINEAR_HAS_GROUPS (KERNEL_ATTR_group != 0)

// Whether every unit's sum is scaled.
DEVICE bool linear_has_parts(tile16_format f) {
    return LINEAR_HAS_GROUPS || !f.is_one_scale;
}

// ---- codes --------------------------------------------------------------------------------------------------

// Whether sixteen k are 16 aligned bytes of memory.
DEVICE bool linear_is_straight(i64 n_k) {
    return n_k % 16 == 0;
}

// Sixteen codes of a token from k on; zeros beyond K.
DEVICE u32x4 linear_gather(const kernel_env *env, i64 token, i64 k) {
    const i64 n_k = kernel_dim_0_1(env);
    const u8 *codes = (const u8 *)kernel_pointer_0(env) + token * n_k;
    u32 words[4] = {0, 0, 0, 0};
    UNROLL
    for (i32 i = 0; i < 16; i++) {
        if (k + i < n_k) words[i / 4] |= (u32)codes[k + i] << (i % 4 * 8);
    }
    u32x4 all;
    all.x = words[0];
    all.y = words[1];
    all.z = words[2];
    all.w = words[3];
    return all;
}

// The scale of a token's group.
DEVICE float linear_token_scale(const kernel_env *env, i64 token, i64 group) {
    return ((const float *)kernel_pointer_2(env))[token * kernel_dim_2_1(env) + group];
}

// ---- few tokens ---------------------------------------------------------------------------------------------

// Codes and scales of units [begin, end) of all tokens to shared memory, as linear_fp8_size.h places them for `chunk` units. All codes that are 16
// bytes of memory are under way together.
DEVICE void linear_fp8_few_stage(
    const kernel_env *env, u8 *shared, i32 n_tokens, i32 begin, i32 end, i32 chunk) {
    const i64 n_k = kernel_dim_0_1(env), first = (i64)begin * LINEAR_FP8_UNIT;
    const i32 n_pieces = (end - begin) * (LINEAR_FP8_UNIT / 16);
    const u8 *codes = (const u8 *)kernel_pointer_0(env);
    NO_UNROLL
    for (i32 token = 0; token < n_tokens; token++) {
        u8 *to = shared + token * linear_fp8_few_pitch(chunk);
        NO_UNROLL
        for (i32 i = thread_index(); i < n_pieces; i += LINEAR_FEW_THREADS) {
            const i64 k = first + i * 16;
            if (linear_is_straight(n_k))
                copy_async16(to + i * 16, codes + (k < n_k ? token * n_k + k : 0), k < n_k);
            else
                store_shared_u32x4(to + i * 16, linear_gather(env, token, k));
        }
    }
    copy_async_commit();
    if (!LINEAR_HAS_GROUPS) return;
    float *scales = (float *)(shared + linear_fp8_few_scales_at(n_tokens, chunk));
    const i32 n_scales = (end - begin) * LINEAR_FEW_TOKENS;
    for (i32 i = thread_index(); i < n_scales; i += LINEAR_FEW_THREADS) {
        const i32 unit = begin + i / LINEAR_FEW_TOKENS, token = i % LINEAR_FEW_TOKENS;
        scales[i] = token < n_tokens ? linear_token_scale(env, token, unit) : 0.0f;
    }
}

// One unit's contribution. x: this lane's codes of the unit's first block; scales: of the unit, of the tokens whose sums the lane has. Where
// `has_next`, every register is filled from `next` as soon as it is free.
DEVICE void linear_fp8_few_unit(
    tile16_format f, tile16_lane *lane, const u8 *x, const float *scales, tile16_at next,
    bool has_next, float sum[4]) {
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    UNROLL
    for (i32 block = 0; block < LINEAR_FP8_UNIT / 32; block++) {
        const fp8_tokens tokens = fp8_tokens_of(f, load_shared_u32x2(x + block * 32));
        const fp8_weights weights = fp8_weights_of(f, lane->lines[block]);
        fp8_multiply(f, linear_has_parts(f) ? part : sum, &weights, &tokens);
        if (has_next) tile16_load_line(next, block, lane);
    }
    if (!linear_has_parts(f)) return;
    f32x2 of_token = {1.0f, 1.0f};
    if (LINEAR_HAS_GROUPS) of_token = *(const f32x2 *)scales;
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        const float of_row = f.is_one_scale ? 1.0f : tile16_scale(f, lane, i / 2, 0);
        sum[i] += part[i] * (of_row * (i % 2 == 0 ? of_token.x : of_token.y));
    }
    if (has_next && !f.is_one_scale) tile16_load_header(f, next, lane);
}

KERNEL BOUNDS(KERNEL_THREADS_linear_fp8_few, KERNEL_BLOCKS_linear_fp8_few) void linear_fp8_few(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i32 n_tokens = (i32)kernel_dim_0_0(&env), n_units = (i32)tile16_units(f, n_k);
    const i32 warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
    const char *tile =
        (const char *)kernel_pointer_1(&env) + block_index_x() * tile16_tile_bytes(f, n_k);

    tile16_lane lane;
    tile16_at at = tile16_at_unit(f, tile + warp * tile16_unit_bytes(f));
    if (warp < n_units) tile16_load_unit(f, at, &lane);
    // Weights are there before the launch before has ended.
    grid_wait();
    grid_release();

    const i32 chunk = min_i32(linear_fp8_few_chunk(n_tokens), n_units);
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_fp8_few_stage(&env, shared, n_tokens, begin, end, chunk);
        copy_async_wait(0);
        block_sync();
        // Columns of absent tokens repeat the first one; nobody reads them.
        const u8 *x = shared + (g < n_tokens ? g : 0) * linear_fp8_few_pitch(chunk) + t * 8 +
                      warp * LINEAR_FP8_UNIT;
        const float *scales = (const float *)(shared + linear_fp8_few_scales_at(n_tokens, chunk)) +
                              warp * LINEAR_FEW_TOKENS + 2 * t;
        NO_UNROLL
        for (i32 unit = begin + warp; unit < end; unit += LINEAR_FEW_WARPS) {
            at = tile16_after(f, at, LINEAR_FEW_WARPS);
            linear_fp8_few_unit(
                f, &lane, x, scales, at, unit + LINEAR_FEW_WARPS < n_units, sum);
            x += LINEAR_FEW_WARPS * LINEAR_FP8_UNIT;
            scales += LINEAR_FEW_WARPS * LINEAR_FEW_TOKENS;
        }
    }

    linear_few_scale(f, tile, &lane, sum);
    block_sync();
    float *sums = (float *)shared;
    linear_few_put(sums, 0, sum);
    block_sync();
    const i32 token = thread_index() / TILE16_ROWS, row = thread_index() % TILE16_ROWS;
    const i64 output = (i64)block_index_x() * TILE16_ROWS + row;
    if (token >= n_tokens || output >= n_outputs) return;
    float total = linear_few_total(sums, 0, token, row);
    total *= fp8_factor(f);
    if (!LINEAR_HAS_GROUPS) total *= linear_token_scale(&env, token, 0);
    kernel_store_0(&env, token, output, total + kernel_load_3(&env, 0, output));
}

// ---- many tokens --------------------------------------------------------------------------------------------

// Byte offset of 32 codes of a token in a stage. Rows have their 32-byte pieces exchanged by their number: the quads of four rows, which read a
// piece each at a time, meet no bank twice. Of one row, a piece's offset is the first one's with the bits of the block's number turned.
DEVICE i32 linear_fp8_many_at(i32 token, i32 block) {
    return token * LINEAR_FP8_UNIT + (block ^ (token & 3)) * 32;
}

// Codes of a unit of the block's tokens to a stage. A thread copies the same 16 k of every sixteenth token; where these are 16 bytes of memory, the
// copies are under way on return.
DEVICE void linear_fp8_many_stage(const kernel_env *env, u8 *stage, i64 first_token, i64 unit) {
    const i32 stride = LINEAR_MANY_THREADS / (LINEAR_FP8_UNIT / 16);
    const i32 row = thread_index() / (LINEAR_FP8_UNIT / 16);
    const i32 piece = thread_index() % (LINEAR_FP8_UNIT / 16);
    const i64 n_k = kernel_dim_0_1(env), k = unit * LINEAR_FP8_UNIT + piece * 16;
    u8 *to = stage + linear_fp8_many_at(row, piece / 2) + piece % 2 * 16;
    // From this thread's first row on; none beyond K.
    i32 n_rows = (i32)min_i64(kernel_dim_0_0(env) - first_token - row, LINEAR_MANY_TOKENS);
    if (k >= n_k) n_rows = 0;
    if (!linear_is_straight(n_k)) {
        NO_UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TOKENS; i += stride) {
            u32x4 codes = {0, 0, 0, 0};
            if (i < n_rows) codes = linear_gather(env, first_token + row + i, k);
            store_shared_u32x4(to + i * LINEAR_FP8_UNIT, codes);
        }
        return;
    }
    const u8 *from = (const u8 *)kernel_pointer_0(env);
    if (n_rows > 0) from += (first_token + row) * n_k + k;
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TOKENS; i += stride) {
        const u32 distance = i < n_rows ? (u32)(i * n_k) : 0; // K is below 2^24
        copy_async16(to + i * LINEAR_FP8_UNIT, from + distance, i < n_rows);
    }
}

// The scale of a unit that this thread brings to shared memory: of the token with the thread's number.
DEVICE float linear_fp8_many_scale(
    const kernel_env *env, i64 first_token, i32 unit, i32 n_units) {
    const i64 token = first_token + thread_index();
    if (!LINEAR_HAS_GROUPS || thread_index() >= LINEAR_MANY_TOKENS || unit >= n_units ||
        token >= kernel_dim_0_0(env)) {
        return 0.0f;
    }
    return linear_token_scale(env, token, unit);
}

// One unit of both tiles. place: byte offset of this lane's codes of the unit's first block in `shared`; scales: of the unit, from the first token on
// whose sums the lane has. Every register is filled from `next` as soon as it is free.
DEVICE void linear_fp8_many_unit(
    tile16_format f, tile16_lane lanes[LINEAR_MANY_TILES], const u8 *shared, i32 place,
    const float *scales, const tile16_at next[LINEAR_MANY_TILES],
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4]) {
    float parts[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
    linear_many_clear(parts);
    UNROLL
    for (i32 block = 0; block < LINEAR_FP8_UNIT / 32; block++) {
        fp8_weights weights[LINEAR_MANY_TILES];
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++)
            weights[i] = fp8_weights_of(f, lanes[i].lines[block]);
        UNROLL
        for (i32 n = 0; n < LINEAR_MANY_TOKENS / 8; n++) {
            const fp8_tokens tokens = fp8_tokens_of(
                f, load_shared_u32x2(shared + (place ^ block * 32) + n * 8 * LINEAR_FP8_UNIT));
            UNROLL
            for (i32 i = 0; i < LINEAR_MANY_TILES; i++)
                fp8_multiply(
                    f, linear_has_parts(f) ? parts[i][n] : sums[i][n], &weights[i], &tokens);
        }
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tile16_load_line(next[i], block, &lanes[i]);
    }
    if (!linear_has_parts(f)) return;
    UNROLL
    for (i32 n = 0; n < LINEAR_MANY_TOKENS / 8; n++) {
        f32x2 of_token = {1.0f, 1.0f};
        if (LINEAR_HAS_GROUPS) of_token = *(const f32x2 *)(scales + n * 8);
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES * 4; i++) {
            const i32 tile = i / 4, c = i % 4;
            const float of_row = f.is_one_scale ? 1.0f : tile16_scale(f, &lanes[tile], c / 2, 0);
            sums[tile][n][c] +=
                parts[tile][n][c] * (of_row * (c % 2 == 0 ? of_token.x : of_token.y));
        }
    }
    if (f.is_one_scale) return;
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES; i++) tile16_load_header(f, next[i], &lanes[i]);
}

// The sums, with what is the same for all of K, through shared memory to the results.
DEVICE void linear_fp8_many_store(
    const kernel_env *env, tile16_format f, u8 *shared, i64 first_token, i64 first_output,
    const tile16_lane lanes[LINEAR_MANY_TILES],
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4]) {
    float *turned = (float *)shared;
    linear_many_turn(f, fp8_factor(f), lanes, sums, turned);
    block_sync();
    const i64 output = first_output + thread_index();
    if (output >= kernel_dim_1_0(env)) return;
    const float bias = kernel_load_3(env, 0, output);
    const i32 n_here = (i32)min_i64(kernel_dim_0_0(env) - first_token, LINEAR_MANY_TOKENS);
    for (i32 token = 0; token < n_here; token++) {
        float total = turned[token * LINEAR_MANY_SUM_PITCH + thread_index()];
        if (!LINEAR_HAS_GROUPS) total *= linear_token_scale(env, first_token + token, 0);
        kernel_store_0(env, first_token + token, output, total + bias);
    }
}

KERNEL BOUNDS(KERNEL_THREADS_linear_fp8_many, KERNEL_BLOCKS_linear_fp8_many) void linear_fp8_many(
    const kernel_env env) {
    SHARED(shared);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i64 first_token = (i64)block_index_x() * LINEAR_MANY_TOKENS;
    const i64 first_output = (i64)block_index_y() * LINEAR_MANY_OUTPUTS;
    const i32 g = lane_index() / 4, t = lane_index() % 4, ring = LINEAR_FP8_MANY_RING;
    const i32 n_units = (i32)tile16_units(f, n_k);

    tile16_lane lanes[LINEAR_MANY_TILES];
    tile16_at tiles[LINEAR_MANY_TILES];
    linear_many_start(f, kernel_pointer_1(&env), n_outputs, n_k, first_output, tiles, lanes);
    // Weights are there before the launch before has ended.
    grid_wait();
    grid_release();

    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
    linear_many_clear(sums);
    const i32 place = linear_fp8_many_at(g, 0) + t * 8; // of this lane in a stage

    UNROLL
    for (i32 unit = 0; unit < ring - 1; unit++) {
        if (unit < n_units)
            linear_fp8_many_stage(
                &env, shared + unit * LINEAR_FP8_MANY_STAGE_BYTES, first_token, unit);
        copy_async_commit();
    }
    // A unit's scales are loaded two units before they are used and wait a unit long in a register.
    float *const scales = (float *)(shared + LINEAR_FP8_MANY_SCALES_AT);
    float coming = linear_fp8_many_scale(&env, first_token, 1, n_units);
    if (LINEAR_HAS_GROUPS && thread_index() < LINEAR_MANY_TOKENS)
        scales[thread_index()] = linear_fp8_many_scale(&env, first_token, 0, n_units);
    i32 here = 0; // the stage of the unit
    NO_UNROLL
    for (i32 unit = 0; unit < n_units; unit++) {
        // Groups count the units even where nothing was copied, so the newest ring - 2 may stay under way.
        copy_async_wait(LINEAR_FP8_MANY_RING - 2);
        block_sync();
        const i32 before = here == 0 ? ring - 1 : here - 1;
        if (unit + ring - 1 < n_units)
            linear_fp8_many_stage(
                &env, shared + before * LINEAR_FP8_MANY_STAGE_BYTES, first_token, unit + ring - 1);
        copy_async_commit();
        if (LINEAR_HAS_GROUPS && thread_index() < LINEAR_MANY_TOKENS)
            scales[(unit + 1) % 2 * LINEAR_MANY_TOKENS + thread_index()] = coming;
        coming = linear_fp8_many_scale(&env, first_token, unit + 2, n_units);
        // The last unit is its own next: its lines are loaded again, to no use.
        const i32 advance = unit + 1 < n_units ? 1 : 0;
        UNROLL
        for (i32 i = 0; i < LINEAR_MANY_TILES; i++)
            tiles[i] = tile16_after(f, tiles[i], advance);
        linear_fp8_many_unit(
            f, lanes, shared, here * LINEAR_FP8_MANY_STAGE_BYTES + place,
            scales + unit % 2 * LINEAR_MANY_TOKENS + 2 * t, tiles, sums);
        here = here == ring - 1 ? 0 : here + 1;
    }
    block_sync();
    linear_fp8_many_store(&env, f, shared, first_token, first_output, lanes, sums);
}
