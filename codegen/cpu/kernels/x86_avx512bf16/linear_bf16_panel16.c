// linear_bf16_panel16 with AVX-512 and BF16: a tile of twelve rows by two panels is 24 of 32 registers and loads 14 times for 24
// products of pairs.
#include <immintrin.h>

#define LINEAR_BF16_ROWS    12
#define LINEAR_BF16_PANELS  2
#define LINEAR_BF16_SIDE(R) ((R) <= 4 ? 4 : 2)
#include "codegen/cpu/kernels/linear_bf16_body.h"

KERNEL_INLINE f32x16 simd_dot2(f32x16 sum, u32x16 weights, uint32_t x) {
    return (f32x16)_mm512_dpbf16_ps(
        (__m512)sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32((int32_t)x));
}
