// linear_generic_tile: 16 outputs of up to eight tokens, products and sums in f32: what linear_generic and linear_experts_generic do once they know which.
// Warps take the units of K in turn, each lane multiplies the k it holds of two rows. Order of summation: a lane's k in rising order, then the lanes of a
// quad, then the warps: no result depends on other tokens.

// Elements for units [begin, end) of the block's tokens to shared memory, as f32 [token][slot].
DEVICE void linear_generic_stage(
    const kernel_env *env, tile16_format f, float *shared, const linear_rows *rows, i32 begin,
    i32 end) {
    const i32 n_slots = (end - begin) * tile16_unit_slots(f);
    const i32 pitch = linear_generic_chunk(f) * tile16_unit_slots(f);
    for (i32 token = 0; token < rows->n; token++) {
        for (i32 i = thread_index(); i < n_slots; i += LINEAR_GENERIC_THREADS) {
            const i64 k = tile16_slot_k(f, (i64)begin * tile16_unit_slots(f) + i);
            shared[token * pitch + i] = linear_element(env, rows, token, k);
        }
    }
}

// One unit's contribution; x: this lane's piece of the unit's first block.
DEVICE void linear_generic_unit(
    tile16_format f, const char *unit, const float *x, i32 n_tokens,
    float sums[2][LINEAR_GENERIC_TOKENS]) {
    const i32 pitch = linear_generic_chunk(f) * tile16_unit_slots(f);
    tile16_lane lane;
    tile16_load_unit(f, tile16_at_unit(f, unit), &lane);
    UNROLL
    for (i32 block = 0; block < tile16_unit_slots(f) / 32; block++) {
        float low[8], high[8];
        tile16_floats(f, &lane, block, 0, low);
        tile16_floats(f, &lane, block, 1, high);
        UNROLL
        for (i32 token = 0; token < LINEAR_GENERIC_TOKENS; token++) {
            if (token >= n_tokens) continue;
            UNROLL
            for (i32 i = 0; i < 2; i++) {
                const f32x4 four = *(const f32x4 *)(x + token * pitch + block * 32 + i * 4);
                const float values[4] = {four.x, four.y, four.z, four.w};
                UNROLL
                for (i32 j = 0; j < 4; j++) {
                    sums[0][token] = fma_f32(low[i * 4 + j], values[j], sums[0][token]);
                    sums[1][token] = fma_f32(high[i * 4 + j], values[j], sums[1][token]);
                }
            }
        }
    }
}

// The sum of all warps for token thread / 16 and row thread % 16 (0 beyond eight tokens), through `shared`. All threads must call.
DEVICE float linear_generic_total(const float sums[2][LINEAR_GENERIC_TOKENS], float *shared) {
    const i32 warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
    block_sync();
    UNROLL
    for (i32 half = 0; half < 2; half++) {
        UNROLL
        for (i32 token = 0; token < LINEAR_GENERIC_TOKENS; token++) {
            float sum = sums[half][token];
            sum += shuffle_xor_f32(sum, 1);
            sum += shuffle_xor_f32(sum, 2);
            if (t == 0)
                shared[(warp * LINEAR_GENERIC_TOKENS + token) * TILE16_ROWS + half * 8 + g] = sum;
        }
    }
    block_sync();
    float total = 0.0f;
    if (thread_index() >= LINEAR_GENERIC_TOKENS * TILE16_ROWS) return total;
    UNROLL
    for (i32 w = 0; w < LINEAR_GENERIC_WARPS; w++)
        total += shared[w * LINEAR_GENERIC_TOKENS * TILE16_ROWS + thread_index()];
    return total;
}

// The block's rows times the tile of weights at `tile`: the sum for token thread / 16 and output thread % 16, as above.
DEVICE float linear_generic_tile(
    const kernel_env *env, tile16_format f, const char *tile, const linear_rows *rows,
    float *shared) {
    const i32 n_units = (i32)tile16_units(f, rows->n_k), chunk = linear_generic_chunk(f);
    const i32 warp = warp_index(), t = lane_index() % 4;
    float sums[2][LINEAR_GENERIC_TOKENS];
    UNROLL
    for (i32 i = 0; i < 2 * LINEAR_GENERIC_TOKENS; i++)
        sums[i / LINEAR_GENERIC_TOKENS][i % LINEAR_GENERIC_TOKENS] = 0.0f;
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_generic_stage(env, f, shared, rows, begin, end);
        block_sync();
        NO_UNROLL
        for (i32 unit = begin + warp; unit < end; unit += LINEAR_GENERIC_WARPS) {
            linear_generic_unit(
                f, tile + (i64)unit * tile16_unit_bytes(f),
                shared + (unit - begin) * tile16_unit_slots(f) + t * 8, rows->n, sums);
        }
    }
    return linear_generic_total(sums, shared);
}
