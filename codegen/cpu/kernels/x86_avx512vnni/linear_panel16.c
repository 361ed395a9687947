// linear_panel16 with AVX-512 and VNNI: 4-bit weights as integers.
#include <immintrin.h>

#define LINEAR_INTEGER
#include "codegen/cpu/kernels/linear_panel16_body.h"

KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t digits) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(digits));
}
