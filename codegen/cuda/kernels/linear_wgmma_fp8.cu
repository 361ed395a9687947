// linear_wgmma for fp8 codes x with one scale a token, and fp8 weights with one scale a row. Sums stay in the matrix instruction for all of K, where
// they keep fewer bits than f32 (about 14 of the largest product); what needs more, like scales along K, is for linear_fp8.
//
// The order of k: 32 slots are one instruction of 32 k. Lane t of a quad holds of a row slots 8 t … 8 t + 7, two words that are the instruction's
// k 4 t … and 16 + 4 t …, the codes of each in the order 2, 0, 3, 1. So word j of the eight codes of a token, in that order, is word t of piece j of
// these 32 slots' two pieces of 16 bytes. 16 bytes of x are such words of two lanes side by side.
#define LINEAR_WGMMA_X_BYTES      1
#define LINEAR_WGMMA_INSTRUCTIONS 1

// Where the words of the eighth of a token's row go.
DEVICE void linear_wgmma_places(i32 row, i32 eighth, i32 to[4]) {
    UNROLL
    for (i32 j = 0; j < 4; j++)
        to[j] = row * 128 + ((eighth / 2 * 2 + j % 2) ^ row % 8) * 16 + eighth % 2 * 8 + j / 2 * 4;
}

DEVICE void linear_wgmma_put(u8 *tile, const i32 to[4], u32x4 codes) {
    wgmma_store_u32x2(
        tile + to[0], permute_bytes(codes.x, 0, 0x1302), permute_bytes(codes.z, 0, 0x1302));
    wgmma_store_u32x2(
        tile + to[1], permute_bytes(codes.y, 0, 0x1302), permute_bytes(codes.w, 0, 0x1302));
}

DEVICE void linear_wgmma_fragments(
    tile16_format f, const tile16_lane *lane, i32 block, u32 a[1][4]) {
    (void)f;
    a[0][0] = lane->lines[block].x;
    a[0][1] = lane->lines[block].z;
    a[0][2] = lane->lines[block].y;
    a[0][3] = lane->lines[block].w;
}

DEVICE void linear_wgmma_multiply(i32 block_tokens, float *sums, const u32 a[4], u64 b) {
    const bool is_e4m3 = tile16_format_of(KERNEL_DTYPE_1).code == TILE16_E4M3;
    if (block_tokens == 256) {
        if (is_e4m3)
            wgmma_e4m3_64x256x32(sums, a, b);
        else
            wgmma_e5m2_64x256x32(sums, a, b);
    } else if (is_e4m3) {
        wgmma_e4m3_64x128x32(sums, a, b);
    } else {
        wgmma_e5m2_64x128x32(sums, a, b);
    }
}

// Scales of e4m3 weights are stored times 256.
DEVICE float linear_wgmma_row_factor(tile16_format f, const tile16_lane *lane, i32 half) {
    return tile16_scale(f, lane, half, 0) * (f.code == TILE16_E4M3 ? 0.00390625f : 1.0f);
}

DEVICE float linear_wgmma_token_factor(const kernel_env *env, i64 token) {
    return ((const float *)kernel_pointer_2(env))[token];
}

DEVICE float linear_wgmma_bias(const kernel_env *env, i64 output) {
    return kernel_load_3(env, 0, output);
}
