// linear_few: the inner step of the kernels that multiply up to eight tokens with weights in tile16 form. Sums are those of 16 outputs and 8 tokens.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LINEAR_FEW_H
#define MLCC_CODEGEN_CUDA_KERNELS_LINEAR_FEW_H

DEVICE void linear_few_mma(bool is_bf16, float d[4], const u32 a[4], u32 b0, u32 b1) {
    const u32 b[2] = {b0, b1};
    if (is_bf16)
        mma_bf16_16x8x16(d, a, b);
    else
        mma_f16_16x8x16(d, a, b);
}

// Both steps of a block of 32 slots. part: sums of the group that the block stands in, not yet scaled.
DEVICE void linear_few_block(
    tile16_format f, bool is_bf16, const tile16_lane *lane, i32 block, u32x4 eight, float part[4],
    float sum[4]) {
    const i32 steps = f.group_slots / 16;
    u32 a[2][4];
    tile16_fragments(f, lane, block, is_bf16, a);
    UNROLL
    for (i32 s = 0; s < 2; s++) {
        const u32 b0 = s == 0 ? eight.x : eight.z, b1 = s == 0 ? eight.y : eight.w;
        if (f.is_one_scale) {
            linear_few_mma(is_bf16, sum, a[s], b0, b1);
            continue;
        }
        linear_few_mma(is_bf16, part, a[s], b0, b1);
        const i32 step = 2 * block + s;
        if (step % steps != steps - 1) continue;
        UNROLL
        for (i32 i = 0; i < 4; i++) {
            sum[i] += part[i] * tile16_scale(f, lane, i / 2, step / steps);
            part[i] = 0.0f;
        }
    }
}

// The contribution of one unit of each of n_tiles tiles (a constant, up to 2). x: this lane's piece of the unit's first block. Where `has_next`,
// every register is filled from `next` as soon as it is free.
DEVICE void linear_few_unit(
    tile16_format f, bool is_bf16, i32 n_tiles, tile16_lane *lanes, const u8 *x,
    const tile16_at *next, bool has_next, float (*sums)[4]) {
    const i32 n_blocks = tile16_unit_slots(f) / 32;
    float parts[2][4] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
    UNROLL
    for (i32 block = 0; block < n_blocks; block++) {
        const u32x4 eight = load_shared_u32x4(x + block * 64);
        UNROLL
        for (i32 i = 0; i < n_tiles; i++)
            linear_few_block(f, is_bf16, &lanes[i], block, eight, parts[i], sums[i]);
        if (!has_next) continue;
        UNROLL
        for (i32 i = 0; i < n_tiles; i++) tile16_load_block(f, next[i], block, &lanes[i]);
    }
    if (!has_next || f.is_one_scale) return;
    UNROLL
    for (i32 i = 0; i < n_tiles; i++) tile16_load_header(f, next[i], &lanes[i]);
}

#endif
