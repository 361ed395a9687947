// numbers: f16, bf16 and 8-bit floats as f32 and back, in forms that vectorise; NaN becomes PTX's canonical NaN.
#ifndef MLCC_TESTS_PTX_NUMBERS_H
#define MLCC_TESTS_PTX_NUMBERS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t ptx_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float ptx_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float ptx_from_f16(uint16_t bits) {
    const uint32_t magnitude = (uint32_t)(bits & 0x7fffu) << 13;
    const uint32_t scaled = ptx_bits(ptx_float(magnitude) * 0x1p112f); // exact, subnormals too
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0;
    return ptx_float(scaled | special | (uint32_t)(bits & 0x8000u) << 16);
}

// Rounded to nearest even.
static inline uint16_t ptx_to_f16(float value) {
    const uint32_t bits = ptx_bits(value);
    const uint32_t sign = bits & 0x80000000u;
    const uint32_t magnitude = bits ^ sign;
    // Normal: the mantissa's lowest 13 bits are rounded away. Subnormal: adding 0.5 lets the addition round at 2^-24.
    const uint32_t normal =
        (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13 & 0xffffu;
    const uint32_t subnormal = ptx_bits(ptx_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x47800000u ? 0x7c00u : result;
    result |= sign >> 16;
    return (uint16_t)(magnitude > 0x7f800000u ? 0x7fffu : result);
}

static inline float ptx_from_bf16(uint16_t bits) {
    return ptx_float((uint32_t)bits << 16);
}

static inline uint16_t ptx_to_bf16(float value) {
    const uint32_t bits = ptx_bits(value);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : rounded);
}

// To f32 so that a later rounding to 22 bits or fewer gives what rounding the double once would ("round to odd").
static inline float ptx_narrow_odd(double value) {
    const float nearest = (float)value;
    uint32_t bits = ptx_bits(nearest);
    const double back = (double)nearest;
    const double magnitude = value < 0 ? -value : value;
    const double back_magnitude = back < 0 ? -back : back;
    if (back_magnitude > magnitude) bits--;
    if (back_magnitude != magnitude) bits |= 1u;
    return value != value ? nearest : ptx_float(bits);
}

static inline float ptx_flush(float value) {
    const uint32_t bits = ptx_bits(value);
    return ptx_float((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

#define PTX_CANONICAL_NAN 0x7fffffffu

// PTX's canonical NaN for every NaN.
static inline float ptx_canonical(float value) {
    return value != value ? ptx_float(PTX_CANONICAL_NAN) : value;
}

// min and max: a number beats NaN unless NaN wins (.NaN); -0 is less than +0.
static inline float ptx_min(float x, float y, bool nan_wins) {
    if (nan_wins && (x != x || y != y)) return ptx_float(PTX_CANONICAL_NAN);
    if (x == y) return ptx_float(ptx_bits(x) | ptx_bits(y));
    return x < y || y != y ? x : y;
}

static inline float ptx_max(float x, float y, bool nan_wins) {
    if (nan_wins && (x != x || y != y)) return ptx_float(PTX_CANONICAL_NAN);
    if (x == y) return ptx_float(ptx_bits(x) & ptx_bits(y));
    return x > y || y != y ? x : y;
}

#endif
