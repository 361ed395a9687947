// float16: binary32 to and from binary16 and bfloat16, nearest even, in integer arithmetic: the
// same bits on every machine.
#include "ir/eval.h"

#include <string.h>

static uint32_t bits_of(float value) {
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Drops the low `n` bits (1 … 31), nearest even.
static uint32_t round_shift(uint32_t bits, uint32_t n) {
    uint32_t kept = bits >> n;
    uint32_t dropped = bits & ((1u << n) - 1);
    uint32_t half = 1u << (n - 1);
    return kept + (dropped > half || (dropped == half && (kept & 1) != 0));
}

float ir_f16_to_f32(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = (bits >> 10) & 31;
    uint32_t fraction = bits & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    // Subnormal: fraction * 2^-24, exact in binary32.
    float magnitude = (float)fraction * 0x1p-24f;
    return float_of(sign | bits_of(magnitude));
}

uint16_t ir_f32_to_f16(float value) {
    uint32_t bits = bits_of(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        // A NaN keeps the top of its payload and becomes quiet.
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    }
    if (magnitude >= 0x47800000) return sign | 0x7c00; // 2^16 and above
    if (magnitude >= 0x38800000) {
        // Normal: the carry of rounding runs into the exponent, up to infinity, by itself.
        return (uint16_t)(sign | round_shift(magnitude - (112u << 23), 13));
    }
    uint32_t exponent = magnitude >> 23;
    if (exponent < 102) return sign; // below half of the smallest subnormal
    uint32_t fraction = (magnitude & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | round_shift(fraction, 126 - exponent));
}

float ir_bf16_to_f32(uint16_t bits) {
    return float_of((uint32_t)bits << 16);
}

uint16_t ir_f32_to_bf16(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)round_shift(bits, 16);
}

float ir_round_to(ir_dtype dtype, float value) {
    switch (dtype) {
    case IR_F16: return ir_f16_to_f32(ir_f32_to_f16(value));
    case IR_BF16: return ir_bf16_to_f32(ir_f32_to_bf16(value));
    case IR_F8E4M3: return ir_f8e4m3_to_f32(ir_f32_to_f8e4m3(value));
    case IR_F8E5M2: return ir_f8e5m2_to_f32(ir_f32_to_f8e5m2(value));
    default: return value;
    }
}
