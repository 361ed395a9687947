// linear_scaled_neon: products of bytes with NEON, four registers to 16 lanes. The file that includes it supplies neon_dot4, and defines
// LINEAR_SCALED_SIGNED where that takes signed bytes only.
//
// Register tiles: a row by a panel takes eight of the 32 registers, four of integer sums and four of float32 ones. Integer sums of five rows
// take 20, those of float32 wait on the stack while a group is multiplied: loads are free there, and decoded weights serve five rows.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_NEON_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_NEON_H

#include "codegen/cpu/kernels/linear_scaled_dot4.h"

#include <arm_neon.h>

#define LINEAR_SCALED_ROWS    5
#define LINEAR_SCALED_STREAMS 2
#include "codegen/cpu/kernels/linear_scaled_body.h"

// sum + the four products in every lane: bytes of `codes` times the signed bytes of `x`.
KERNEL_INLINE int32x4_t neon_dot4(int32x4_t sum, uint32x4_t codes, int8x16_t x);

KERNEL_INLINE int32x4_t neon_quarter(i32x16 v, const int quarter) {
    switch (quarter) {
    case 0: return __builtin_shufflevector(v, v, 0, 1, 2, 3);
    case 1: return __builtin_shufflevector(v, v, 4, 5, 6, 7);
    case 2: return __builtin_shufflevector(v, v, 8, 9, 10, 11);
    default: return __builtin_shufflevector(v, v, 12, 13, 14, 15);
    }
}

KERNEL_INLINE i32x16 neon_join(const int32x4_t quarters[4]) {
    typedef int32_t i32x8 __attribute__((vector_size(32)));
    const i32x8 low = __builtin_shufflevector(quarters[0], quarters[1], 0, 1, 2, 3, 4, 5, 6, 7);
    const i32x8 high = __builtin_shufflevector(quarters[2], quarters[3], 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t x) {
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(x));
    int32x4_t sums[4];
    KERNEL_UNROLL for (int q = 0; q < 4; q++) sums[q] = neon_dot4(
        neon_quarter(acc, q), vreinterpretq_u32_s32(neon_quarter((i32x16)codes, q)), four);
    return neon_join(sums);
}

KERNEL_INLINE i32x16 simd_pairs(i32x16 a, i32x16 b) {
    int32x4_t sums[4];
    KERNEL_UNROLL for (int q = 0; q < 4; q++) {
        const int16x8_t left = vreinterpretq_s16_s32(neon_quarter(a, q)),
                        right = vreinterpretq_s16_s32(neon_quarter(b, q));
        sums[q] = vpaddq_s32(
            vmull_s16(vget_low_s16(left), vget_low_s16(right)), vmull_high_s16(left, right));
    }
    return neon_join(sums);
}

#endif
