// integer_oracle: what tests of integer formats share: numbers rounded from double to a stored type,
// independently of quantization/round.h, and random weights of every kind.
#ifndef MLCC_TESTS_SUPPORT_INTEGER_ORACLE_H
#define MLCC_TESTS_SUPPORT_INTEGER_ORACLE_H

#include "ir/ir.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef _Float16 oracle_half;

// Rounded to nearest even, in one step from double, as a float16, bfloat16 or float32 operation
// rounds its exact result. (A double quotient or sum of two such numbers is close enough to the exact
// one.)
static inline float oracle_round(ir_dtype dtype, double value) {
    if (dtype == IR_F16) return (float)(oracle_half)value;
    if (dtype == IR_F32) return (float)value;
    if (!isfinite(value) || value == 0.0) return (float)value;
    int exponent = 0;
    frexp(value, &exponent);
    // 8 significant bits; below 2^-126 a fixed unit of 2^-133.
    const double unit = ldexp(1.0, exponent > -125 ? exponent - 8 : -133);
    return (float)(nearbyint(value / unit) * unit);
}

// Code of `value`, rounded to nearest even and clamped; NaN gives `if_nan`.
static inline int32_t oracle_code(double value, int32_t low, int32_t high, int32_t if_nan) {
    if (isnan(value)) return if_nan;
    if (value < low) return low;
    if (value > high) return high;
    return (int32_t)nearbyint(value);
}

static inline uint32_t oracle_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 32);
}

// A number of the type, stored in `to`.
static inline void oracle_store(ir_dtype dtype, float value, void *to) {
    if (dtype == IR_F32) {
        memcpy(to, &value, sizeof value);
    } else if (dtype == IR_F16) {
        const oracle_half half = (oracle_half)value;
        memcpy(to, &half, sizeof half);
    } else {
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        const uint16_t high = (uint16_t)(bits >> 16);
        memcpy(to, &high, sizeof high);
    }
}

static inline float oracle_load(ir_dtype dtype, const void *from, int64_t index) {
    if (dtype == IR_F32) {
        float value;
        memcpy(&value, (const char *)from + index * 4, sizeof value);
        return value;
    }
    uint16_t bits;
    memcpy(&bits, (const char *)from + index * 2, sizeof bits);
    if (dtype == IR_F16) {
        oracle_half half;
        memcpy(&half, &bits, sizeof half);
        return (float)half;
    }
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

// `count` elements of `dtype`: every 16 of them lie around one exponent, are zeros, or subnormal.
// `wild`: the exponents span the type's range, and NaN and infinity are among the numbers.
static inline void oracle_fill(ir_dtype dtype, int64_t count, int wild, uint64_t *seed, void *to) {
    const uint32_t mantissa_bits = dtype == IR_F32 ? 23 : dtype == IR_F16 ? 10 : 7;
    const uint32_t width = dtype == IR_F32 ? 32 : 16;
    const uint32_t exponents = (1u << (width - 1 - mantissa_bits)) - 1; // all ones
    const uint32_t mantissa = (1u << mantissa_bits) - 1, sign = 1u << (width - 1);
    for (int64_t i = 0; i < count; i++) {
        static uint32_t kind, exponent;
        if (i % 16 == 0) {
            kind = oracle_random(seed) % 8;
            exponent = wild ? oracle_random(seed) % (exponents - 3)
                            : exponents / 2 - 8 + oracle_random(seed) % 8;
        }
        const uint32_t r = oracle_random(seed);
        uint32_t bits;
        if (kind == 0) {
            bits = r & sign;
        } else if (kind == 1) {
            bits = r & (sign | 15u);
        } else {
            bits = (r & (sign | mantissa)) | (exponent + r % 3) << mantissa_bits;
        }
        if (wild && r % 1021 == 0)
            bits = (bits & sign) | exponents << mantissa_bits | (r >> 16) % 2;
        memcpy((char *)to + i * (width / 8), &bits, width / 8);
    }
}

#endif
