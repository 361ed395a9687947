// float8: float32 numbers to and from the two 8-bit formats, without branches so that loops over
// them become vector code on every machine (as round.h does for 16 bits).
//
//           sign exponent fraction  bias  largest   smallest  beyond the largest
//   e4m3     1      4        3        7      448     2^-9     0x7f, 0xff are NaN; no infinity
//   e5m2     1      5        2       15    57344     2^-16    0x7c is infinity, above it NaN
//
// Encoding rounds to nearest even and saturates: what is larger than the largest number, infinity
// too, becomes the largest. NaN stays NaN (0x7f and 0x7e) and keeps its sign. Source: OCP 8-bit
// Floating Point Specification (OFP8), revision 1.0, 2023; "e4m3" is its E4M3, MLC's float8_e4m3fn.
#ifndef MLCC_QUANTIZATION_FLOAT8_H
#define MLCC_QUANTIZATION_FLOAT8_H

#include "quantization/round.h"

// Parameters are constants at every use: `n_fraction` bits of the fraction, `bias`, `largest` the
// code of the largest number, `nan` that of the NaN that is made.
QUANT_INLINE uint8_t
quant_encode_f8(float value, int n_fraction, int bias, uint32_t largest, uint32_t nan) {
    const uint32_t bits = quant_bits(value);
    const uint32_t sign = (bits >> 24) & 0x80u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    const int n_cut = 23 - n_fraction; // bits of the significand that float32 has more
    const uint32_t rebias = (uint32_t)(127 - bias) << 23;
    const uint32_t limit = (largest << n_cut) + rebias;
    const uint32_t ordered =
        quant_select(quant_mask((int32_t)magnitude > (int32_t)limit), limit, magnitude);
    const uint32_t rounded = quant_bits(quant_round_bits(quant_float(ordered), n_cut));
    const uint32_t normal = (rounded - rebias) >> n_cut;
    // Adding 2^23 units of the subnormal numbers leaves their count in the low bits.
    const uint32_t shifter = (uint32_t)(127 + 23 + 1 - bias - n_fraction) << 23;
    const uint32_t subnormal = quant_bits(quant_float(ordered) + quant_float(shifter)) - shifter;
    const int32_t smallest_normal = (int32_t)(rebias + (1u << 23));
    uint32_t code =
        quant_select(quant_mask((int32_t)magnitude < smallest_normal), subnormal, normal);
    code = quant_select(quant_mask((int32_t)magnitude > 0x7f800000), nan, code);
    return (uint8_t)(code | sign);
}

// Codes above `largest_number` are infinity (where `has_infinity` says so, the first of them) and
// NaN.
QUANT_INLINE float quant_decode_f8(
    uint8_t code, int n_fraction, int bias, uint32_t largest, int has_infinity) {
    const uint32_t sign = (code & 0x80u) << 24;
    const uint32_t magnitude = code & 0x7fu;
    // The product moves the exponent and turns subnormal numbers into normal ones.
    const float scale = quant_float((uint32_t)(127 + 127 - bias) << 23);
    const uint32_t number = quant_bits(quant_float(magnitude << (23 - n_fraction)) * scale);
    const uint32_t is_infinity = quant_mask(has_infinity && magnitude == largest + 1);
    const uint32_t special = quant_select(is_infinity, 0x7f800000u, 0x7fc00000u);
    return quant_float(
        sign | quant_select(quant_mask((int32_t)magnitude > (int32_t)largest), special, number));
}

QUANT_INLINE uint8_t quant_f32_to_f8e4m3(float value) {
    return quant_encode_f8(value, 3, 7, 0x7e, 0x7f);
}

QUANT_INLINE float quant_f8e4m3_to_f32(uint8_t code) {
    return quant_decode_f8(code, 3, 7, 0x7e, 0);
}

QUANT_INLINE uint8_t quant_f32_to_f8e5m2(float value) {
    return quant_encode_f8(value, 2, 15, 0x7b, 0x7e);
}

QUANT_INLINE float quant_f8e5m2_to_f32(uint8_t code) {
    return quant_decode_f8(code, 2, 15, 0x7b, 1);
}

#endif
