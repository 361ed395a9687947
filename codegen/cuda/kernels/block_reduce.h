// block_reduce: one number from all threads of a block; every thread gets the same bits. All threads must call.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_BLOCK_REDUCE_H
#define MLCC_CODEGEN_CUDA_KERNELS_BLOCK_REDUCE_H

// Per warp, then the warps' sums in order: the result does not depend on who comes first.
DEVICE float block_sum_f32(float value) {
    SHARED_ARRAY(float, sums, 32);
    value = warp_sum_f32(value);
    if (lane_index() == 0) sums[warp_index()] = value;
    block_sync();
    float sum = 0.0f;
    for (i32 i = 0; i < block_threads() / 32; i++) sum += sums[i];
    block_sync(); // the next call writes again
    return sum;
}

DEVICE u32 block_max_u32(u32 value) {
    SHARED_ARRAY(u32, maxima, 32);
    value = warp_max_u32(value);
    if (lane_index() == 0) maxima[warp_index()] = value;
    block_sync();
    u32 maximum = 0;
    for (i32 i = 0; i < block_threads() / 32; i++) maximum = max_u32(maximum, maxima[i]);
    block_sync();
    return maximum;
}

// Bits of |value|, which order like magnitudes; NaN counts as 0.
DEVICE u32 magnitude_bits(float value) {
    const u32 bits = float_bits(value) & 0x7fffffffu;
    return bits > 0x7f800000u ? 0 : bits;
}

#endif
