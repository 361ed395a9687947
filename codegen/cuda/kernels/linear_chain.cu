// linear_chain: a linear for up to 8 tokens with what stands around it (codegen/cuda/cuda_chain.h): the row norm in front, the gate or the cache write
// behind. Weights as in linear_few; a block makes two tiles of 16 outputs, CHAIN_DISTANCE tiles apart, so that the outputs which an epilogue reads
// together meet in its shared memory.
//
// Every block computes the factors of all rows, while its first weights are under way; the rows come from the L2. What the chain returns of them is
// stored by one block for each row: no result lies where another block still reads.
//
// Order of summation: squares as in rms_norm, products as in linear_few.
//
// Generated for a chain, besides the hooks of its linear (0 = x, 1 = w, 2 = bias):
//   CHAIN_HAS_NORM CHAIN_HAS_GATE CHAIN_HAS_APPEND   0 or 1
//   CHAIN_DISTANCE                        tiles between the two of a block
//   CHAIN_PARTNER_TILE CHAIN_PARTNER_ROW  1: an output's partner is in the other tile, in the neighbouring row
//   chain_row, chain_row2, chain_gain, chain_gain2   the norm's operands; CHAIN_EPS
//   chain_keep, chain_keep2, chain_keep_normed, chain_keep_normed2   store what the chain returns of a row, before and after the norm
//   chain_store(env, row, col, value)     the linear's result, where the chain returns it
//   chain_gate(env, row, col, value, other)    the gate's result of a column of either half
//   chain_key, chain_value(env, row, col, value, other)   what the cache gets; CHAIN_KEY_BEGIN, CHAIN_VALUE_BEGIN: columns of the linear's result
//   chain_cache, chain_page_table, chain_sequences, chain_positions, chain_page_slots(env)
//   CHAIN_CACHE_DTYPE, CHAIN_HEADS, CHAIN_PAGE_TOKENS, CHAIN_HEAD_DIM
#define CHAIN_TILES   2
#define CHAIN_IS_BF16 (KERNEL_DTYPE_0 == KERNEL_BF16)

DEVICE u32 chain_pack(float low, float high) {
    return CHAIN_IS_BF16 ? pack_bf16x2(low, high) : pack_f16x2(low, high);
}

// ---- rows ---------------------------------------------------------------------------------------------------

// Whether this block stores what is kept of a token's row.
DEVICE bool chain_keeps(i32 token) {
    return token % block_count_x() == block_index_x();
}

#if CHAIN_HAS_NORM
// rms_norm sums with 512 threads; a thread here stands for two of them, and the warps' sums are added in the same order.
#    define CHAIN_NORM_THREADS 512
#    define CHAIN_NORM_SUMS    (CHAIN_NORM_THREADS / 32)
#    define CHAIN_NORM_SHARE   (CHAIN_NORM_THREADS / LINEAR_FEW_THREADS)

// Leaves 1 / sqrt(mean of squares + eps) of every row in `factors`, and the rows in `shared` where they fit in (not NULL).
DEVICE void chain_factors(
    const kernel_env *env, i32 n_tokens, float *factors, u8 *shared, i32 pitch) {
    SHARED_ARRAY(float, squares, (LINEAR_FEW_TOKENS * CHAIN_NORM_SUMS));
    const i64 n_k = kernel_dim_0_1(env);
    for (i32 token = 0; token < n_tokens; token++) {
        const bool is_kept = chain_keeps(token);
        float sums[CHAIN_NORM_SHARE];
        UNROLL
        for (i32 s = 0; s < CHAIN_NORM_SHARE; s++) sums[s] = 0.0f;
        for (i64 begin = 2 * thread_index(); begin < n_k; begin += 2 * CHAIN_NORM_THREADS) {
            UNROLL
            for (i32 s = 0; s < CHAIN_NORM_SHARE; s++) {
                const i64 column = begin + s * 2 * LINEAR_FEW_THREADS;
                if (column >= n_k) continue;
                const f32x2 x = chain_row2(env, token, column);
                if (is_kept) chain_keep2(env, token, column, x);
                if (shared != 0)
                    *(u32 *)(shared + token * pitch + column * 2) = chain_pack(x.x, x.y);
                sums[s] += x.x * x.x + x.y * x.y;
            }
        }
        UNROLL
        for (i32 s = 0; s < CHAIN_NORM_SHARE; s++) {
            const float sum = warp_sum_f32(sums[s]);
            const i32 warp = warp_index() + s * LINEAR_FEW_WARPS;
            if (lane_index() == 0) squares[token * CHAIN_NORM_SUMS + warp] = sum;
        }
    }
    block_sync();
    if (thread_index() < n_tokens) {
        float sum = 0.0f;
        for (i32 i = 0; i < CHAIN_NORM_SUMS; i++)
            sum += squares[thread_index() * CHAIN_NORM_SUMS + i];
        factors[thread_index()] = 1.0f / sqrt_f32(sum / (float)n_k + (float)CHAIN_EPS);
    }
    block_sync();
}

// Two neighbouring columns of a row, as they are in `at` or from memory, normed and packed.
DEVICE u32
chain_normed2(const kernel_env *env, i32 token, i64 k, float factor, const u32 *at, bool is_there) {
    f32x2 x;
    if (is_there)
        x = CHAIN_IS_BF16 ? unpack_bf16x2(*at) : unpack_f16x2(*at);
    else
        x = chain_row2(env, token, k);
    const f32x2 gain = chain_gain2(env, 0, k);
    const f32x2 y = {x.x * factor * gain.x, x.y * factor * gain.y};
    if (chain_keeps(token)) chain_keep_normed2(env, token, k, y);
    return chain_pack(y.x, y.y);
}

DEVICE float chain_x(const kernel_env *env, i32 token, i64 k, float factor) {
    const float y = chain_row(env, token, k) * factor * chain_gain(env, 0, k);
    if (chain_keeps(token)) chain_keep_normed(env, token, k, y);
    return y;
}

// Slots that are k: [first, first + n_slots) of a row. Threads have the columns that they have in chain_factors.
DEVICE void chain_stage_row(
    const kernel_env *env, u8 *row, i32 token, i64 first, i32 n_slots, float factor,
    bool is_there) {
    for (i32 i = 2 * thread_index(); i < n_slots; i += 2 * LINEAR_FEW_THREADS) {
        u32 *at = (u32 *)(row + i * 2);
        const bool is_column = first + i < kernel_dim_0_1(env);
        *at = is_column ? chain_normed2(env, token, first + i, factor, at, is_there) : 0;
    }
}
#else
DEVICE float chain_x(const kernel_env *env, i32 token, i64 k, float factor) {
    (void)factor;
    const u16 bits = ((const u16 *)kernel_pointer_0(env))[token * kernel_dim_0_1(env) + k];
    return CHAIN_IS_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

DEVICE void chain_stage_row(
    const kernel_env *env, u8 *row, i32 token, i64 first, i32 n_slots, float factor,
    bool is_there) {
    (void)factor, (void)is_there;
    const i64 n_k = kernel_dim_0_1(env);
    const u16 *x = (const u16 *)kernel_pointer_0(env) + token * n_k + first;
    for (i32 i = thread_index(); i < n_slots / 8; i += LINEAR_FEW_THREADS) {
        u32x4 eight = {0, 0, 0, 0};
        if (first + i * 8 < n_k) eight = *(const u32x4 *)(x + i * 8);
        store_shared_u32x4(row + i * 16, eight);
    }
}
#endif

// The element at a slot: zero where there is none.
DEVICE float chain_at(const kernel_env *env, tile16_format f, i32 token, i64 slot, float factor) {
    const i64 k = tile16_slot_k(f, slot);
    return k < 0 || k >= kernel_dim_0_1(env) ? 0.0f : chain_x(env, token, k, factor);
}

DEVICE u32x4
chain_gather(const kernel_env *env, tile16_format f, i32 token, i64 slot, float factor) {
    u32 pairs[4];
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        pairs[i] = chain_pack(
            chain_at(env, f, token, slot + 2 * i, factor),
            chain_at(env, f, token, slot + 2 * i + 1, factor));
    }
    u32x4 eight;
    eight.x = pairs[0];
    eight.y = pairs[1];
    eight.z = pairs[2];
    eight.w = pairs[3];
    return eight;
}

// Whether slots are k, and rows are such that chain_stage_row reads them as they lie.
DEVICE bool chain_is_straight(tile16_format f, i64 n_k) {
    return f.group == f.group_slots && (CHAIN_HAS_NORM || n_k % 8 == 0);
}

// Slots [first, first + n_slots) of all tokens to shared memory, where rows before the norm may be already.
DEVICE void chain_stage(
    const kernel_env *env, tile16_format f, u8 *shared, i32 n_tokens, i64 first, i32 n_slots,
    i32 pitch, const float *factors, bool is_there) {
    for (i32 token = 0; token < n_tokens; token++) {
        const float factor = CHAIN_HAS_NORM ? factors[token] : 1.0f;
        u8 *row = shared + token * pitch;
        if (chain_is_straight(f, kernel_dim_0_1(env))) {
            chain_stage_row(env, row, token, first, n_slots, factor, is_there);
            continue;
        }
        for (i32 i = thread_index(); i < n_slots / 8; i += LINEAR_FEW_THREADS)
            store_shared_u32x4(row + i * 16, chain_gather(env, f, token, first + i * 8, factor));
    }
}

// ---- results ------------------------------------------------------------------------------------------------

#if CHAIN_HAS_APPEND
// Row of the cache, counted in rows of head_dim elements, where head 0 of a token's keys goes.
DEVICE i64 chain_cache_row(const kernel_env *env, i32 token) {
    const i64 sequence = chain_sequences(env)[token], position = chain_positions(env)[token];
    const i64 page =
        chain_page_table(env)[sequence * chain_page_slots(env) + position / CHAIN_PAGE_TOKENS];
    return page * 2 * CHAIN_HEADS * CHAIN_PAGE_TOKENS + position % CHAIN_PAGE_TOKENS;
}

DEVICE void chain_cache_store(const kernel_env *env, i64 row, i64 d, float value) {
    const i64 at = row * CHAIN_HEAD_DIM + d;
#    if CHAIN_CACHE_DTYPE == KERNEL_F16
    ((u16 *)chain_cache(env))[at] = f32_to_f16(value);
#    elif CHAIN_CACHE_DTYPE == KERNEL_BF16
    ((u16 *)chain_cache(env))[at] = f32_to_bf16(value);
#    else
    ((float *)chain_cache(env))[at] = value;
#    endif
}

// The key or value at a column of the linear's result, if it is one, to the cache.
DEVICE void chain_append(
    const kernel_env *env, i32 token, i64 output, i64 cache_row, float value, float other) {
    const i64 width = CHAIN_HEADS * CHAIN_HEAD_DIM;
    const i64 key = output - CHAIN_KEY_BEGIN, column = output - CHAIN_VALUE_BEGIN;
    if (key >= 0 && key < width) {
        const i64 row = cache_row + key / CHAIN_HEAD_DIM * CHAIN_PAGE_TOKENS;
        chain_cache_store(env, row, key % CHAIN_HEAD_DIM, chain_key(env, token, key, value, other));
    }
    if (column >= 0 && column < width) {
        const i64 row = cache_row + (CHAIN_HEADS + column / CHAIN_HEAD_DIM) * CHAIN_PAGE_TOKENS;
        chain_cache_store(
            env, row, column % CHAIN_HEAD_DIM, chain_value(env, token, column, value, other));
    }
}
#endif

// The block's total at an output; `other` is its partner's.
DEVICE void chain_finish(
    const kernel_env *env, i32 token, i64 output, i64 cache_row, float value, float other) {
    chain_store(env, token, output, value);
#if CHAIN_HAS_GATE
    if (thread_index() < LINEAR_FEW_THREADS / CHAIN_TILES)
        chain_gate(env, token, output, value, other);
#endif
#if CHAIN_HAS_APPEND
    chain_append(env, token, output, cache_row, value, other);
#endif
    (void)cache_row, (void)other;
}

// ---- the kernel ---------------------------------------------------------------------------------------------

KERNEL BOUNDS(KERNEL_THREADS_linear_chain, KERNEL_BLOCKS_linear_chain) void linear_chain(
    const kernel_env env) {
    SHARED(shared);
    SHARED_ARRAY(float, factors, LINEAR_FEW_TOKENS);
    SHARED_ARRAY(float, totals, LINEAR_FEW_THREADS);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_1(&env), n_outputs = kernel_dim_1_0(&env);
    const i32 n_tokens = (i32)kernel_dim_0_0(&env), n_units = (i32)tile16_units(f, n_k);
    const i32 warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
    const i32 ring = linear_few_ring(f), round = ring * LINEAR_FEW_WARPS;
    const i64 first_tile = (i64)block_index_x() / CHAIN_DISTANCE * (2 * CHAIN_DISTANCE) +
                           block_index_x() % CHAIN_DISTANCE;
    const char *weight = (const char *)kernel_pointer_1(&env);

    const char *tiles[CHAIN_TILES];
    tile16_at at[CHAIN_TILES];
    tile16_lane lanes[4][CHAIN_TILES];
    UNROLL
    for (i32 i = 0; i < CHAIN_TILES; i++) {
        // Of an odd number of tiles the last one is computed twice and stored once.
        const i64 tile = min_i64(first_tile + i * CHAIN_DISTANCE, tile16_tiles(n_outputs) - 1);
        tiles[i] = weight + tile * tile16_tile_bytes(f, n_k);
        at[i] = tile16_at_unit(f, tiles[i] + warp * tile16_unit_bytes(f));
    }
    UNROLL
    for (i32 r = 0; r < ring; r++) {
        if (warp + r * LINEAR_FEW_WARPS >= n_units) continue;
        UNROLL
        for (i32 i = 0; i < CHAIN_TILES; i++)
            tile16_load_unit(f, tile16_after(f, at[i], r * LINEAR_FEW_WARPS), &lanes[r][i]);
    }
    // Weights are there before the launch before has ended.
    grid_wait();
    grid_release();

    const i32 token = thread_index() / TILE16_ROWS % LINEAR_FEW_TOKENS;
    i64 cache_row = 0;
#if CHAIN_HAS_APPEND
    if (token < n_tokens) cache_row = chain_cache_row(&env, token);
#endif
    const i32 chunk = min_i32(linear_few_chunk(f, n_tokens), n_units);
    const i32 pitch = linear_few_pitch(chunk * tile16_unit_slots(f));
    // Rows that fit in as a whole are read once.
    const bool is_whole = CHAIN_HAS_NORM && chunk == n_units && chain_is_straight(f, n_k);
#if CHAIN_HAS_NORM
    chain_factors(&env, n_tokens, factors, is_whole ? shared : 0, pitch);
#endif
    const i32 unit_x_bytes = tile16_unit_slots(f) * 2;
    float sums[CHAIN_TILES][4] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        chain_stage(
            &env, f, shared, n_tokens, (i64)begin * tile16_unit_slots(f),
            (end - begin) * tile16_unit_slots(f), pitch, factors, is_whole);
        block_sync();
        // Columns of absent tokens repeat the first one; nobody reads them.
        const u8 *x = shared + (g < n_tokens ? g : 0) * pitch + t * 16 + warp * unit_x_bytes;
        NO_UNROLL
        for (i32 first = begin + warp; first < end; first += round) {
            UNROLL
            for (i32 i = 0; i < CHAIN_TILES; i++) at[i] = tile16_after(f, at[i], round);
            UNROLL
            for (i32 r = 0; r < ring; r++) {
                const i32 unit = first + r * LINEAR_FEW_WARPS;
                if (unit >= end) continue;
                tile16_at next[CHAIN_TILES];
                UNROLL
                for (i32 i = 0; i < CHAIN_TILES; i++)
                    next[i] = tile16_after(f, at[i], r * LINEAR_FEW_WARPS);
                linear_few_unit(
                    f, CHAIN_IS_BF16, CHAIN_TILES, lanes[r],
                    x + r * LINEAR_FEW_WARPS * unit_x_bytes, next, unit + round < n_units, sums);
            }
            x += round * unit_x_bytes;
        }
    }

    block_sync();
    float *partial = (float *)shared;
    UNROLL
    for (i32 i = 0; i < CHAIN_TILES; i++) {
        linear_few_scale(f, tiles[i], &lanes[0][i], sums[i]);
        linear_few_put(partial, i, sums[i]);
    }
    block_sync();
    // Half of the threads has the first tile, half the second: one output of one token each.
    const i32 half = thread_index() / (LINEAR_FEW_THREADS / CHAIN_TILES);
    const i32 row = thread_index() % TILE16_ROWS;
    const i64 output = (first_tile + half * CHAIN_DISTANCE) * TILE16_ROWS + row;
    const bool is_there = token < n_tokens && output < n_outputs;
    float total = linear_few_total(partial, half, token, row);
    if (is_there) total = total + kernel_load_2(&env, 0, output);
    totals[thread_index()] = total;
    block_sync();
    if (!is_there) return;
    const i32 partner = thread_index() ^ (CHAIN_PARTNER_TILE  ? LINEAR_FEW_THREADS / CHAIN_TILES
                                          : CHAIN_PARTNER_ROW ? 1
                                                              : 0);
    chain_finish(&env, token, output, cache_row, total, totals[partner]);
}
