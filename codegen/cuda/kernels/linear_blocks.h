// linear_blocks: how blocks that multiply few tokens, or 64, with weights in tile16 form begin and end: the tiles of a warp, the sums of all warps. Sums
// are what the matrix instruction leaves: element i of row g + i / 2 * 8 of a tile and token 2 t + i % 2.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LINEAR_BLOCKS_H
#define MLCC_CODEGEN_CUDA_KERNELS_LINEAR_BLOCKS_H

// ---- few tokens: every warp has sums of the block's tiles ---------------------------------------------------

// Sums times the scale of their row, where it is one for all of K.
DEVICE void linear_few_scale(tile16_format f, const char *tile, tile16_lane *lane, float sum[4]) {
    if (!f.is_one_scale || f.code == TILE16_PLAIN) return;
    tile16_load_header(f, tile16_at_unit(f, tile), lane);
    UNROLL
    for (i32 i = 0; i < 4; i++) sum[i] *= tile16_scale(f, lane, i / 2, 0);
}

// Where a warp's sum lies in shared memory, LINEAR_FEW_SUM_BYTES for each of the block's tiles.
DEVICE i32 linear_few_at(i32 tile, i32 warp, i32 token, i32 row) {
    return ((tile * LINEAR_FEW_WARPS + warp) * LINEAR_FEW_TOKENS + token) * LINEAR_FEW_SUM_PITCH +
           row;
}

DEVICE void linear_few_put(float *sums, i32 tile, const float sum[4]) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    UNROLL
    for (i32 i = 0; i < 4; i++)
        sums[linear_few_at(tile, warp_index(), 2 * t + i % 2, g + i / 2 * 8)] = sum[i];
}

// The warps' sums in rising order.
DEVICE float linear_few_total(const float *sums, i32 tile, i32 token, i32 row) {
    float total = 0.0f;
    UNROLL
    for (i32 w = 0; w < LINEAR_FEW_WARPS; w++) total += sums[linear_few_at(tile, w, token, row)];
    return total;
}

// ---- many tokens: every warp has tiles of its own -----------------------------------------------------------

// Where the warp's tiles of a weight of n_outputs x n_k begin, and their first units.
DEVICE void linear_many_start(
    tile16_format f, const void *weight, i64 n_outputs, i64 n_k, i64 first_output,
    tile16_at tiles[LINEAR_MANY_TILES], tile16_lane lanes[LINEAR_MANY_TILES]) {
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES; i++) {
        // Tiles beyond the last repeat it; nothing of them is stored.
        const i64 tile = min_i64(
            first_output / TILE16_ROWS + warp_index() * LINEAR_MANY_TILES + i,
            tile16_tiles(n_outputs) - 1);
        tiles[i] = tile16_at_unit(f, (const char *)weight + tile * tile16_tile_bytes(f, n_k));
        tile16_load_unit(f, tiles[i], &lanes[i]);
    }
}

DEVICE void linear_many_clear(float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4]) {
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES * LINEAR_MANY_TOKENS / 8 * 4; i++)
        sums[i / (LINEAR_MANY_TOKENS / 2)][i / 4 % (LINEAR_MANY_TOKENS / 8)][i % 4] = 0.0f;
}

// The sums, times `factor` and the scale of their row where it is one for all of K, to shared memory: [token][output], so that neighbouring threads
// store neighbours.
DEVICE void linear_many_turn(
    tile16_format f, float factor, const tile16_lane lanes[LINEAR_MANY_TILES],
    float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4], float *turned) {
    const i32 g = lane_index() / 4, t = lane_index() % 4;
    const bool is_scaled = f.is_one_scale && f.code != TILE16_PLAIN;
    UNROLL
    for (i32 i = 0; i < LINEAR_MANY_TILES; i++) {
        UNROLL
        for (i32 n = 0; n < LINEAR_MANY_TOKENS / 8; n++) {
            UNROLL
            for (i32 c = 0; c < 4; c++) {
                const i32 token = n * 8 + 2 * t + c % 2;
                const i32 row =
                    (warp_index() * LINEAR_MANY_TILES + i) * TILE16_ROWS + g + c / 2 * 8;
                const float scale = is_scaled ? tile16_scale(f, &lanes[i], c / 2, 0) : 1.0f;
                turned[token * LINEAR_MANY_SUM_PITCH + row] = sums[i][n][c] * (scale * factor);
            }
        }
    }
}

#endif
