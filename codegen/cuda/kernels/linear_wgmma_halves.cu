// linear_wgmma for f16 or bf16 x: weights of any format decoded and, where scales differ along K, scaled (functions of linear_tile16).
//
// The order of k: 32 slots are two instructions of 16 k. Lane t of a quad holds of a row slots 8 t … 8 t + 7, two words for the first instruction, two for
// the second; these are the instruction's k 2 t, 2 t + 1 and 2 t + 8, 2 t + 9. So word j of the eight slots of a token is word t of piece j of these 32
// slots' four pieces of 16 bytes. A warp stores word j of 4 tokens x 8 times eight slots at once: eight pieces that the swizzle puts into different
// banks.
#define LINEAR_WGMMA_X_BYTES      2
#define LINEAR_WGMMA_INSTRUCTIONS 2

// Where the words of the eighth of a token's row go.
DEVICE void linear_wgmma_places(i32 row, i32 eighth, i32 to[4]) {
    UNROLL
    for (i32 j = 0; j < 4; j++)
        to[j] = row * 128 + ((eighth / 4 * 4 + j) ^ row % 8) * 16 + eighth % 4 * 4;
}

DEVICE void linear_wgmma_put(u8 *tile, const i32 to[4], u32x4 eight) {
    wgmma_store_u32(tile + to[0], eight.x);
    wgmma_store_u32(tile + to[1], eight.y);
    wgmma_store_u32(tile + to[2], eight.z);
    wgmma_store_u32(tile + to[3], eight.w);
}

DEVICE void linear_wgmma_fragments(
    tile16_format f, const tile16_lane *lane, i32 block, u32 a[2][4]) {
    linear_many_fragments(f, lane, block, a);
}

DEVICE void linear_wgmma_multiply(i32 block_tokens, float *sums, const u32 a[4], u64 b) {
    if (block_tokens == 256) {
        if (LINEAR_IS_BF16)
            wgmma_bf16_64x256x16(sums, a, b);
        else
            wgmma_f16_64x256x16(sums, a, b);
    } else if (LINEAR_IS_BF16) {
        wgmma_bf16_64x128x16(sums, a, b);
    } else {
        wgmma_f16_64x128x16(sums, a, b);
    }
}

DEVICE float linear_wgmma_row_factor(tile16_format f, const tile16_lane *lane, i32 half) {
    return f.is_one_scale && f.code != TILE16_PLAIN ? tile16_scale(f, lane, half, 0) : 1.0f;
}

DEVICE float linear_wgmma_token_factor(const kernel_env *env, i64 token) {
    (void)env, (void)token;
    return 1.0f;
}

DEVICE float linear_wgmma_bias(const kernel_env *env, i64 output) {
    return kernel_load_2(env, 0, output);
}
