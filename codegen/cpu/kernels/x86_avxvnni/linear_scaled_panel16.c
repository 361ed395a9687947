// linear_scaled_panel16 with AVX-VNNI, products of bytes in registers of eight lanes: a product takes five cycles, so six
// rows are worth float32 sums that wait in memory while a group is multiplied.
#include "codegen/cpu/kernels/linear_scaled_dot4.h"
#include "codegen/cpu/kernels/simd_halves.h"

#define LINEAR_SCALED_ROWS    6
#define LINEAR_SCALED_STREAMS 2
#include "codegen/cpu/kernels/linear_scaled_body.h"

KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t x) {
    const __m256i four = _mm256_set1_epi32(x);
    return simd_join(
        _mm256_dpbusd_avx_epi32(simd_half(acc, 0), simd_half((i32x16)codes, 0), four),
        _mm256_dpbusd_avx_epi32(simd_half(acc, 1), simd_half((i32x16)codes, 1), four));
}
