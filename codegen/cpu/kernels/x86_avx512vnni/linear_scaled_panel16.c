// linear_scaled_panel16 with AVX-512 and VNNI: a tile of eight rows has 16 sums in registers, and products take x from memory.
#include "codegen/cpu/kernels/linear_scaled_dot4.h"

#include <immintrin.h>

#define LINEAR_SCALED_ROWS    8
#define LINEAR_SCALED_STREAMS 2
#include "codegen/cpu/kernels/linear_scaled_body.h"

KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t x) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(x));
}

KERNEL_INLINE i32x16 simd_pairs(i32x16 a, i32x16 b) {
    return (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}
