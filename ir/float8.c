// float8: binary32 to and from the two 8-bit formats, nearest even and saturating, in integer arithmetic.
#include "ir/eval.h"

#include <math.h>
#include <string.h>

typedef struct float8_format {
    int mantissa_bits;
    int bias;
    uint8_t largest; // code of the largest finite number; the codes above it are infinity and NaN
    uint8_t nan;
} float8_format;

static const float8_format e4m3 = {3, 7, 0x7e, 0x7f};
static const float8_format e5m2 = {2, 15, 0x7b, 0x7e};

// A code without its sign, of a finite number.
static float decode_magnitude(const float8_format *format, int code) {
    const int exponent = code >> format->mantissa_bits;
    const int fraction = code & ((1 << format->mantissa_bits) - 1);
    if (exponent == 0) return ldexpf((float)fraction, 1 - format->bias - format->mantissa_bits);
    const int significand = fraction | 1 << format->mantissa_bits;
    return ldexpf((float)significand, exponent - format->bias - format->mantissa_bits);
}

static uint8_t encode(const float8_format *format, float value) {
    const uint8_t sign = signbit(value) ? 0x80 : 0;
    if (isnan(value)) return sign | format->nan;
    const float magnitude = fabsf(value);
    if (magnitude >= decode_magnitude(format, format->largest)) return sign | format->largest;
    // Units in the last place: of the number's binade, or of the subnormal numbers and zero.
    int exponent = 0;
    (void)frexpf(magnitude, &exponent); // magnitude = f * 2^exponent, f in [0.5, 1)
    int binade = exponent - 1 + format->bias;
    if (binade < 1 || magnitude == 0.0f) binade = 1;
    const float unit = ldexpf(1.0f, binade - format->bias - format->mantissa_bits);
    // Exact division by a power of two; nearbyint rounds to nearest even.
    const int units = (int)nearbyintf(magnitude / unit);
    // A significand that rounded up to the next binade carries into the exponent by itself.
    const int code = ((binade - 1) << format->mantissa_bits) + units;
    return sign | (uint8_t)(code > format->largest ? format->largest : code);
}

float ir_f8e4m3_to_f32(uint8_t bits) {
    const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
    if ((bits & 0x7f) == 0x7f) return copysignf(NAN, sign);
    return sign * decode_magnitude(&e4m3, bits & 0x7f);
}

uint8_t ir_f32_to_f8e4m3(float value) {
    return encode(&e4m3, value);
}

float ir_f8e5m2_to_f32(uint8_t bits) {
    const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
    const int code = bits & 0x7f;
    if (code > 0x7c) return copysignf(NAN, sign);
    if (code == 0x7c) return sign * INFINITY;
    return sign * decode_magnitude(&e5m2, code);
}

uint8_t ir_f32_to_f8e5m2(float value) {
    return encode(&e5m2, value);
}
