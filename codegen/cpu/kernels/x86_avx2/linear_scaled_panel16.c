// linear_scaled_panel16 with AVX2: two registers to 16 outputs; a tile of three rows fills 12 of 16.
#include "codegen/cpu/kernels/linear_scaled_pairs.h"
#include "codegen/cpu/kernels/simd_halves.h"

#define LINEAR_SCALED_ROWS    3
#define LINEAR_SCALED_STREAMS 2
#include "codegen/cpu/kernels/linear_scaled_body.h"

KERNEL_INLINE i16x32 simd_byte_pairs(i16x32 acc, u32x16 codes, int32_t x) {
    const __m256i four = _mm256_set1_epi32(x);
    return acc + (i16x32)simd_join(
                     _mm256_maddubs_epi16(simd_half((i32x16)codes, 0), four),
                     _mm256_maddubs_epi16(simd_half((i32x16)codes, 1), four));
}
