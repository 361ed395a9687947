// linear_panel16 with AVX-512 and VNNI: plain dtypes as with AVX-512, 4-bit weights as integers.
#include <immintrin.h>

#define LINEAR_TILE_ROWS        6
#define LINEAR_TILE_PANELS      4
#define LINEAR_STREAM_ROWS      8
#define LINEAR_STREAM_PANELS(R) ((R) <= 4 ? 4 : 2)
#define LINEAR_INTEGER
#include "codegen/cpu/kernels/linear_panel16_body.h"

KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t digits) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(digits));
}
