// round: float32 numbers rounded to the precision of a narrower format, and the bit conversions,
// without branches so that loops over them become vector code on every machine.
//
// Rounding one float32 operation gives the correctly rounded narrow operation: float32 has 24
// significant bits, at least 2 p + 2 for p = 11 (float16) and p = 8 (bfloat16), so rounding twice
// never differs (Figueroa, "When is double rounding innocuous?", 1995). The group encoders rely on
// it: `quant_round_f16(a / b)` is a float16 division. Numbers are little-endian; NaN stays NaN
// (quiet, sign and high payload kept, as the F16C instructions do).
#ifndef MLCC_QUANTIZATION_ROUND_H
#define MLCC_QUANTIZATION_ROUND_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#    error "mlcc stores and computes little-endian only"
#endif

#define QUANT_INLINE static inline __attribute__((always_inline))

QUANT_INLINE uint32_t quant_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

QUANT_INLINE float quant_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// All ones when the condition (0 or 1) holds.
QUANT_INLINE uint32_t quant_mask(int condition) {
    return (uint32_t)-condition;
}

QUANT_INLINE uint32_t quant_select(uint32_t mask, uint32_t yes, uint32_t no) {
    return (mask & yes) | (~mask & no);
}

// Cuts the low `n_bits` of the significand, nearest even; carries run into the exponent as they
// should. For magnitudes that are normal numbers of the narrow format, zero and infinity. (A quiet
// NaN stays one.)
QUANT_INLINE float quant_round_bits(float value, int n_bits) {
    uint32_t bits = quant_bits(value);
    uint32_t half = (1u << (n_bits - 1)) - 1u;
    uint32_t rounded = bits + half + ((bits >> n_bits) & 1u);
    return quant_float(rounded & ~((1u << n_bits) - 1u));
}

// Rounds to float16 where the magnitude is known to be 0, infinite, or in [2^-14, 65520).
QUANT_INLINE float quant_round_f16_normal(float value) {
    return quant_round_bits(value, 13);
}

// Rounds to float16: subnormal numbers have 2^-24 as their unit, 65520 and above become infinite.
QUANT_INLINE float quant_round_f16(float value) {
    uint32_t bits = quant_bits(value);
    uint32_t sign = bits & 0x80000000u;
    uint32_t magnitude = bits ^ sign;
    uint32_t normal = quant_bits(quant_round_f16_normal(quant_float(magnitude)));
    // Adding 0.5 moves the unit in the last place to 2^-24.
    uint32_t subnormal = quant_bits((quant_float(magnitude) + 0.5f) - 0.5f);
    uint32_t result = quant_select(quant_mask((int32_t)magnitude < 0x38800000), subnormal, normal);
    result = quant_select(quant_mask((int32_t)magnitude >= 0x477ff000), 0x7f800000u, result);
    uint32_t quiet = (magnitude | 0x00400000u) & ~0x1fffu;
    result = quant_select(quant_mask((int32_t)magnitude > 0x7f800000), quiet, result);
    return quant_float(result | sign);
}

QUANT_INLINE float quant_round_bf16(float value) {
    uint32_t bits = quant_bits(value);
    uint32_t quiet = (bits | 0x00400000u) & ~0xffffu;
    uint32_t is_nan = quant_mask((int32_t)(bits & 0x7fffffffu) > 0x7f800000);
    return quant_float(quant_select(is_nan, quiet, quant_bits(quant_round_bits(value, 16))));
}

// The bits of a number that is exact in float16: a rounded one.
QUANT_INLINE uint16_t quant_f16_bits_exact(float value) {
    uint32_t bits = quant_bits(value);
    uint32_t sign = (bits & 0x80000000u) >> 16;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - 0x38000000u) >> 13;
    uint32_t subnormal = quant_bits(quant_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t special = 0x7c00u | ((magnitude >> 13) & 0x3ffu);
    uint32_t result = quant_select(quant_mask((int32_t)magnitude < 0x38800000), subnormal, normal);
    result = quant_select(quant_mask((int32_t)magnitude >= 0x7f800000), special, result);
    return (uint16_t)(result | sign);
}

QUANT_INLINE uint16_t quant_f32_to_f16(float value) {
    return quant_f16_bits_exact(quant_round_f16(value));
}

QUANT_INLINE float quant_f16_to_f32(uint16_t half) {
    uint32_t wide = half;
    uint32_t sign = (wide & 0x8000u) << 16;
    uint32_t magnitude = wide & 0x7fffu;
    // The exponent bias differs by 112; the product also turns subnormal numbers into normal ones.
    uint32_t number = quant_bits(quant_float(magnitude << 13) * 0x1p112f);
    uint32_t special = 0x7f800000u | (magnitude << 13);
    special |= quant_mask((int32_t)magnitude > 0x7c00) & 0x00400000u;
    return quant_float(
        sign | quant_select(quant_mask((int32_t)magnitude >= 0x7c00), special, number));
}

QUANT_INLINE uint16_t quant_f32_to_bf16(float value) {
    return (uint16_t)(quant_bits(quant_round_bf16(value)) >> 16);
}

QUANT_INLINE float quant_bf16_to_f32(uint16_t bits) {
    return quant_float((uint32_t)bits << 16);
}

#endif
