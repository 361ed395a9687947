// simd_halves: the two 256-bit registers of a vector of 16 lanes, for instructions that clang's vector types do not reach.
#ifndef MLCC_CODEGEN_CPU_KERNELS_SIMD_HALVES_H
#define MLCC_CODEGEN_CPU_KERNELS_SIMD_HALVES_H

#include "codegen/cpu/kernels/simd.h"

#include <immintrin.h>

KERNEL_INLINE __m256i simd_half(i32x16 v, int half) {
    return half == 0 ? (__m256i)__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
                     : (__m256i)__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}

KERNEL_INLINE i32x16 simd_join(__m256i low, __m256i high) {
    typedef int32_t i32x8 __attribute__((vector_size(32)));
    return __builtin_shufflevector(
        (i32x8)low, (i32x8)high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Per 32-bit lane the products of the two signed halves, added up.
KERNEL_INLINE i32x16 simd_pairs(i32x16 a, i32x16 b) {
    return simd_join(
        _mm256_madd_epi16(simd_half(a, 0), simd_half(b, 0)),
        _mm256_madd_epi16(simd_half(a, 1), simd_half(b, 1)));
}

#endif
