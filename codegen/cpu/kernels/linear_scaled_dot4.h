// linear_scaled_dot4: products of codes on machines that multiply unsigned by signed bytes and add four products to a 32-bit
// lane. The includer supplies simd_dot4.
//
// A line of int4 has two parts, the low nibbles of its words and the high ones, which belong to even and odd k; a line of int8
// is one part. x lies accordingly: for every part the four codes that its bytes meet.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_DOT4_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_DOT4_H

#include "codegen/cpu/kernels/linear_scaled_x.h"

// acc + the four products in every lane: unsigned bytes of `codes` times the signed bytes of `x`.
KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t x);

KERNEL_INLINE int32_t scaled_parts(int32_t code) {
    return code == KERNEL_CODE_INT4 ? 2 : 1;
}

KERNEL_INLINE u32x16 scaled_part(int32_t code, u32x16 words, int part) {
    // Less 128 in every byte: the top bit turned.
    if (code == KERNEL_CODE_INT8) return words ^ (uint32_t)scaled_code_offset(code) * 0x01010101u;
    // In bytes, which some machines shift without a mask.
    typedef uint8_t u8x64 __attribute__((vector_size(64)));
    const u8x64 bytes = (u8x64)words;
    return (u32x16)(part == 0 ? bytes & (uint8_t)15 : bytes >> (uint8_t)4);
}

KERNEL_INLINE i32x16 scaled_begin(int32_t code, i32x16 start) {
    (void)code;
    return start;
}

KERNEL_INLINE i32x16 scaled_dot(int32_t code, i32x16 acc, u32x16 part, int32_t x) {
    (void)code;
    return simd_dot4(acc, part, x);
}

KERNEL_INLINE i32x16 scaled_end(int32_t code, i32x16 acc, i32x16 start) {
    (void)code;
    (void)start;
    return acc;
}

KERNEL_INLINE int32_t scaled_x_bytes(int32_t code) {
    (void)code;
    return 32;
}

KERNEL_INLINE void scaled_x_order(int32_t code, i8x32 codes, char *target) {
    if (code == KERNEL_CODE_INT4) codes = scaled_nibble_order(codes);
    __builtin_memcpy(target, &codes, sizeof codes);
}

#endif
