// group_int_x86: the group encoders over AVX2 and AVX-512 vectors. Only the primitives differ; what
// is done with them stands once, in group_int_x86_body.h. Rounding is the default, nearest even.
#include "quantization/formats/group_int_x86.h"

#if defined(__x86_64__)
#    include "quantization/formats/element.h"
#    include "quantization/formats/vector.h"

#    include <immintrin.h>

// Instructions that round need not raise flags.
#    define NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

enum { GROUPS_AT_ONCE = 4 };

// The scales of n groups, from their largest magnitudes; stored, and turned into what the weights
// are divided by, or multiplied with (quant_f16_factor).
QUANT_TARGET_AVX2 QUANT_INLINE void scales_of(
    ir_dtype dtype, int32_t max_code, bool multiplies, int32_t n, float *factors, void *scales) {
    __m128 scale = _mm_div_ps(
        _mm_setr_ps(factors[0], factors[1], factors[2], factors[3]), _mm_set1_ps((float)max_code));
    if (dtype == IR_F16) {
        const __m128i halves = _mm_cvtps_ph(scale, NEAREST);
        memcpy(scales, &halves, (size_t)n * sizeof(uint16_t));
        scale = _mm_cvtph_ps(halves);
    }
    _mm_storeu_ps(factors, scale);
    for (int32_t g = 0; g < n && dtype != IR_F16; g++) {
        factors[g] = quant_round_to(dtype, factors[g]);
        quant_store_scale(dtype, scales, g, factors[g]);
    }
    if (multiplies) _mm_storeu_ps(factors, _mm_div_ps(_mm_set1_ps(1.0f), scale));
}

// ---- AVX2 and F16C: 8 lanes ----

#    define AVX2 QUANT_TARGET_AVX2 QUANT_INLINE
typedef __m256 floats_avx2;
typedef __m256i ints_avx2;

AVX2 __m256 all_avx2(float value) {
    return _mm256_set1_ps(value);
}

AVX2 __m256 load_f32_avx2(const float *in, int32_t left) {
    if (left >= 8) return _mm256_loadu_ps(in);
    float part[8] = {0};
    memcpy(part, in, (size_t)left * sizeof part[0]);
    return _mm256_loadu_ps(part);
}

AVX2 __m128i load_u16_avx2(const uint16_t *in, int32_t left) {
    if (left >= 8) return _mm_loadu_si128((const __m128i *)(const void *)in);
    uint16_t part[8] = {0};
    memcpy(part, in, (size_t)left * sizeof part[0]);
    return _mm_loadu_si128((const __m128i *)(const void *)part);
}

AVX2 __m256 load_f16_avx2(const uint16_t *in, int32_t left) {
    return _mm256_cvtph_ps(load_u16_avx2(in, left));
}

AVX2 __m256 load_bf16_avx2(const uint16_t *in, int32_t left) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_u16_avx2(in, left)), 16));
}

AVX2 __m256 without_nan_avx2(__m256 x) {
    return _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q));
}

// No NaN comes here.
AVX2 __m256 round_to_avx2(ir_dtype dtype, __m256 x) {
    if (dtype == IR_F32) return x;
    if (dtype == IR_F16) return _mm256_cvtph_ps(_mm256_cvtps_ph(x, NEAREST));
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    return _mm256_castsi256_ps(_mm256_and_si256(sum, _mm256_set1_epi32(-0x10000)));
}

AVX2 __m256 larger_magnitude_avx2(__m256 largest, __m256 x) {
    return _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x));
}

AVX2 float largest_of_avx2(__m256 wide) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(wide), _mm256_extractf128_ps(wide, 1));
    x = _mm_max_ps(x, _mm_permute_ps(x, 0x4e));
    return _mm_cvtss_f32(_mm_max_ps(x, _mm_permute_ps(x, 0xb1)));
}

AVX2 __m256 multiply_avx2(__m256 a, __m256 b) {
    return _mm256_mul_ps(a, b);
}

AVX2 __m256 divide_avx2(__m256 a, __m256 b) {
    return _mm256_div_ps(a, b);
}

AVX2 __m256 add_avx2(__m256 a, __m256 b) {
    return _mm256_add_ps(a, b);
}

AVX2 __m256 clamp_avx2(__m256 x, float most) {
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(most));
}

AVX2 __m256i nearest_avx2(__m256 x) {
    return _mm256_cvtps_epi32(x);
}

// Lanes from `left` on become 0.
AVX2 __m256i first_lanes_avx2(__m256i x, int32_t left) {
    if (left >= 8) return x;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_and_si256(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lane));
}

AVX2 __m128i bytes_avx2(__m256i x) {
    const __m128i halves =
        _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_packus_epi16(halves, halves);
}

AVX2 void store_bytes_avx2(__m256i x, uint8_t *out) {
    _mm_storel_epi64((__m128i *)(void *)out, bytes_avx2(x));
}

// Byte 2 i plus 16 times byte 2 i + 1.
AVX2 void store_nibbles_avx2(__m256i x, uint32_t *word) {
    const __m128i pairs = _mm_maddubs_epi16(bytes_avx2(x), _mm_set1_epi16(0x1001));
    const int32_t nibbles = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
    memcpy(word, &nibbles, sizeof nibbles);
}

#    define LANES         8
#    define LANES_TARGET  QUANT_TARGET_AVX2
#    define LANES_NAME(x) x##_avx2
#    include "quantization/formats/group_int_x86_body.h"

// ---- AVX-512 F, BW, DQ, VL: 16 lanes ----

#    define AVX512 QUANT_TARGET_AVX512 QUANT_INLINE
// For a conversion that gcc without optimization makes a macro, whose own mask is the int -1.
#    define ALL_16 ((__mmask16)0xffff)
typedef __m512 floats_avx512;
typedef __m512i ints_avx512;

AVX512 __m512 all_avx512(float value) {
    return _mm512_set1_ps(value);
}

AVX512 __mmask16 mask_avx512(int32_t left) {
    return (__mmask16)(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
}

AVX512 __m512 load_f32_avx512(const float *in, int32_t left) {
    return left >= 16 ? _mm512_loadu_ps(in) : _mm512_maskz_loadu_ps(mask_avx512(left), in);
}

AVX512 __m256i load_u16_avx512(const uint16_t *in, int32_t left) {
    return left >= 16 ? _mm256_loadu_si256((const __m256i *)(const void *)in)
                      : _mm256_maskz_loadu_epi16(mask_avx512(left), in);
}

AVX512 __m512 load_f16_avx512(const uint16_t *in, int32_t left) {
    return _mm512_cvtph_ps(load_u16_avx512(in, left));
}

AVX512 __m512 load_bf16_avx512(const uint16_t *in, int32_t left) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(load_u16_avx512(in, left)), 16));
}

AVX512 __m512 without_nan_avx512(__m512 x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x);
}

AVX512 __m512 round_to_avx512(ir_dtype dtype, __m512 x) {
    if (dtype == IR_F32) return x;
    if (dtype == IR_F16) return _mm512_cvtph_ps(_mm512_maskz_cvtps_ph(ALL_16, x, NEAREST));
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    return _mm512_castsi512_ps(_mm512_and_si512(sum, _mm512_set1_epi32(-0x10000)));
}

AVX512 __m512 larger_magnitude_avx512(__m512 largest, __m512 x) {
    return _mm512_max_ps(largest, _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x));
}

AVX512 float largest_of_avx512(__m512 x) {
    return largest_of_avx2(_mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}

AVX512 __m512 multiply_avx512(__m512 a, __m512 b) {
    return _mm512_mul_ps(a, b);
}

AVX512 __m512 divide_avx512(__m512 a, __m512 b) {
    return _mm512_div_ps(a, b);
}

AVX512 __m512 add_avx512(__m512 a, __m512 b) {
    return _mm512_add_ps(a, b);
}

AVX512 __m512 clamp_avx512(__m512 x, float most) {
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_setzero_ps()), _mm512_set1_ps(most));
}

AVX512 __m512i nearest_avx512(__m512 x) {
    return _mm512_cvtps_epi32(x);
}

AVX512 __m512i first_lanes_avx512(__m512i x, int32_t left) {
    return left >= 16 ? x : _mm512_maskz_mov_epi32(mask_avx512(left), x);
}

AVX512 void store_bytes_avx512(__m512i x, uint8_t *out) {
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_cvtepi32_epi8(x));
}

AVX512 void store_nibbles_avx512(__m512i x, uint32_t *words) {
    const __m128i pairs = _mm_maddubs_epi16(_mm512_cvtepi32_epi8(x), _mm_set1_epi16(0x1001));
    _mm_storel_epi64((__m128i *)(void *)words, _mm_packus_epi16(pairs, pairs));
}

#    define LANES         16
#    define LANES_TARGET  QUANT_TARGET_AVX512
#    define LANES_NAME(x) x##_avx512
#    include "quantization/formats/group_int_x86_body.h"

#endif
