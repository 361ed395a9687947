// float8_oracle: the two 8-bit formats straight from the definition (OCP OFP8, 2023), slow and
// without any bit trick: what the conversions of ir and quantization are compared with.
#ifndef MLCC_TESTS_SUPPORT_FLOAT8_ORACLE_H
#define MLCC_TESTS_SUPPORT_FLOAT8_ORACLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct float8_oracle {
    int exponent_bits, fraction_bits, bias;
    uint8_t largest; // the code of the largest number
    bool has_infinity;
} float8_oracle;

static const float8_oracle oracle_e4m3 = {4, 3, 7, 0x7e, false};
static const float8_oracle oracle_e5m2 = {5, 2, 15, 0x7b, true};

// The value of a code by its fields; every value is exact in double and in float32.
static inline double oracle_value(const float8_oracle *format, uint8_t code) {
    const double sign = (code & 0x80) != 0 ? -1.0 : 1.0;
    const int magnitude = code & 0x7f;
    if (magnitude > format->largest) {
        return format->has_infinity && magnitude == format->largest + 1 ? sign * (double)INFINITY
                                                                        : (double)NAN;
    }
    const int exponent = magnitude >> format->fraction_bits;
    const double fraction =
        ldexp((double)(magnitude & ((1 << format->fraction_bits) - 1)), -format->fraction_bits);
    if (exponent == 0) return sign * ldexp(fraction, 1 - format->bias);
    return sign * ldexp(1.0 + fraction, exponent - format->bias);
}

// The code of the nearest number, ties to the even code, saturating: looks at every one. Not for
// NaN.
static inline uint8_t oracle_code(const float8_oracle *format, float value) {
    const double magnitude = fabs((double)value);
    uint8_t best = 0;
    for (uint8_t code = 1; code <= format->largest; code++) {
        const double now = fabs(magnitude - oracle_value(format, code));
        const double before = fabs(magnitude - oracle_value(format, best));
        if (now < before || (now == before && code % 2 == 0)) best = code;
    }
    if (magnitude > oracle_value(format, format->largest)) best = format->largest;
    return (uint8_t)(best | (signbit(value) ? 0x80 : 0));
}

#endif
