// linear_scaled_pairs: products of codes on machines that multiply bytes or halves in pairs only (AVX2).
//
// int4   unsigned by signed bytes, two products to a 16-bit lane: sixteen of at most 15 * 128 fit it, which is a lane's share of
//        32 k, so lanes are widened once a group.
// int8   would overflow those lanes; even and odd bytes of a line become halves, which two instructions a row multiply and add
//        in pairs to 32 bits, and x lies in memory as halves.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_PAIRS_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_PAIRS_H

#include "codegen/cpu/kernels/linear_scaled_x.h"

// Per 16-bit lane acc + two products: unsigned bytes of `codes` times the signed bytes of `x`.
KERNEL_INLINE i16x32 simd_byte_pairs(i16x32 acc, u32x16 codes, int32_t x);

KERNEL_INLINE int32_t scaled_parts(int32_t code) {
    (void)code;
    return 2;
}

KERNEL_INLINE u32x16 scaled_part(int32_t code, u32x16 words, int part) {
    if (code == KERNEL_CODE_INT4)
        return (u32x16)((u16x32)(part == 0 ? words : words >> 4u) & (uint16_t)0x0f0f);
    return part == 0 ? words & 0x00ff00ffu : (u32x16)((u16x32)words >> (uint16_t)8);
}

KERNEL_INLINE i32x16 scaled_begin(int32_t code, i32x16 start) {
    return code == KERNEL_CODE_INT4 ? (i32x16){0} : start;
}

KERNEL_INLINE i32x16 scaled_dot(int32_t code, i32x16 acc, u32x16 part, int32_t x) {
    if (code == KERNEL_CODE_INT4) return (i32x16)simd_byte_pairs((i16x32)acc, part, x);
    return acc + simd_pairs((i32x16)part, (i32x16){0} + x);
}

KERNEL_INLINE i32x16 scaled_end(int32_t code, i32x16 acc, i32x16 start) {
    if (code != KERNEL_CODE_INT4) return acc;
    return simd_pairs(acc, (i32x16){0} + 0x00010001) + start;
}

KERNEL_INLINE int32_t scaled_x_bytes(int32_t code) {
    return code == KERNEL_CODE_INT4 ? 32 : 64;
}

KERNEL_INLINE void scaled_x_order(int32_t code, i8x32 codes, char *target) {
    if (code == KERNEL_CODE_INT4) {
        codes = scaled_nibble_order(codes);
        __builtin_memcpy(target, &codes, sizeof codes);
        return;
    }
    const i16x32 halves = __builtin_convertvector(
        __builtin_shufflevector(
            codes, codes, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15, 16, 18, 17, 19, 20,
            22, 21, 23, 24, 26, 25, 27, 28, 30, 29, 31),
        i16x32);
    __builtin_memcpy(target, &halves, sizeof halves);
}

#endif
