// math: the functions that kernels and fused expressions need, without libm. Scalar, without branches and calls, so that a
// loop around them becomes vector code after inlining. Largest error found over the whole range stands beside each
// (tests/bench/kernels_bench.c measures it again).
//
// KERNEL_MATH_API: linkage of every function; portable/math.c sets it to give generated expressions symbols to call (and inline).
#ifndef MLCC_CODEGEN_CPU_KERNELS_MATH_H
#define MLCC_CODEGEN_CPU_KERNELS_MATH_H

#include "codegen/cpu/kernels/kernel.h"

#ifndef KERNEL_MATH_API
#    define KERNEL_MATH_API KERNEL_INLINE
#endif

// The conversion instructions exist in F16C and on every AArch64; elsewhere a half would become a call into compiler-rt.
#if defined(__F16C__) || defined(__aarch64__)
#    define KERNEL_HAS_F16 1
#else
#    define KERNEL_HAS_F16 0
#endif

KERNEL_MATH_API float kernel_bits_float(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

KERNEL_MATH_API uint32_t kernel_float_bits(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

KERNEL_MATH_API float kernel_f16_to_f32(uint16_t half) {
#if KERNEL_HAS_F16
    _Float16 value;
    __builtin_memcpy(&value, &half, sizeof value);
    return (float)value;
#else
    // Moved into float32's fields and multiplied by 2^112, which also normalises subnormals; infinities and NaN get their exponent.
    uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t finite = kernel_float_bits(kernel_bits_float(magnitude) * 0x1p112f);
    uint32_t special = magnitude | 0x7f800000u;
    return kernel_bits_float(sign | (magnitude >= 0x0f800000u ? special : finite));
#endif
}

// Nearest even.
KERNEL_MATH_API uint16_t kernel_f32_to_f16(float value) {
#if KERNEL_HAS_F16
    _Float16 half = (_Float16)value;
    uint16_t bits;
    __builtin_memcpy(&bits, &half, sizeof bits);
    return bits;
#else
    uint32_t bits = kernel_float_bits(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
    // Adding 0.5 makes the float adder shift a subnormal result to its place and round it.
    uint32_t subnormal = kernel_float_bits(kernel_bits_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    return (uint16_t)(sign | (magnitude >= 0x47800000u ? special : finite));
#endif
}

KERNEL_MATH_API float kernel_bf16_to_f32(uint16_t bits) {
    return kernel_bits_float((uint32_t)bits << 16);
}

// Nearest even; NaN stays NaN.
KERNEL_MATH_API uint16_t kernel_f32_to_bf16(float value) {
    uint32_t bits = kernel_float_bits(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

// Element `index` of an array of F32, F16 or BF16.
KERNEL_MATH_API float kernel_load_as_f32(const void *array, int32_t dtype, int64_t index) {
    if (dtype == KERNEL_F16) return kernel_f16_to_f32(((const uint16_t *)array)[index]);
    if (dtype == KERNEL_BF16) return kernel_bf16_to_f32(((const uint16_t *)array)[index]);
    return ((const float *)array)[index];
}

KERNEL_MATH_API void kernel_store_as(void *array, int32_t dtype, int64_t index, float value) {
    if (dtype == KERNEL_F16)
        ((uint16_t *)array)[index] = kernel_f32_to_f16(value);
    else if (dtype == KERNEL_BF16)
        ((uint16_t *)array)[index] = kernel_f32_to_bf16(value);
    else
        ((float *)array)[index] = value;
}

// exp(x), 1.1 ulp; 0 below -104, infinity above 88.73, NaN stays NaN.
// x = n ln 2 + r, |r| <= ln 2 / 2; 2^n is applied in two halves so that subnormal results and the last binade come out right.
KERNEL_MATH_API float kernel_exp(float x) {
    float bounded = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits; no conversion, so NaN is harmless.
    float shifted = bounded * 1.44269504f + 12582912.0f;
    int32_t exponent = (int32_t)(kernel_float_bits(shifted) - 0x4b400000u);
    float n = shifted - 12582912.0f;
    float r = (bounded - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = 1.37805939e-3f;
    p = p * r + 8.37312452e-3f;
    p = p * r + 4.16695364e-2f;
    p = p * r + 1.66664720e-1f;
    p = p * r + 4.99999851e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t half = exponent >> 1;
    float low = kernel_bits_float((uint32_t)(half + 127) << 23);
    float high = kernel_bits_float((uint32_t)(exponent - half + 127) << 23);
    float result = p * low * high;
    return x != x ? x : result;
}

KERNEL_MATH_API float kernel_sigmoid(float x) {
    return 1.0f / (1.0f + kernel_exp(-x));
}

// tanh(x): an odd polynomial near zero (Cephes), from exp elsewhere.
KERNEL_MATH_API float kernel_tanh(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = p * z * x + x;
    float magnitude = x < 0.0f ? -x : x;
    float far = 1.0f - 2.0f / (kernel_exp(2.0f * magnitude) + 1.0f);
    far = x < 0.0f ? -far : far;
    return magnitude < 0.625f ? near : far;
}

// sin and cos of `angle`, |angle| < 2^27, both within 1e-13.
// The quarter turns are taken off in two steps whose products are exact, so large positions lose nothing.
KERNEL_MATH_API void kernel_sincos(double angle, double *sine, double *cosine) {
    double n = (angle * 0.63661977236758134308 + 0x1.8p52) - 0x1.8p52;
    double r = angle - n * 0x1.921fb5p+0; // pi/2 cut to 25 bits: n (27 bits) times it is exact
    r = r - n * 0x1.110b46p-26;           // the next 24 bits
    r = r - n * 0x1.1a62633145c07p-54;
    double z = r * r;
    double s = 1.60590438368216146e-10; // Taylor to r^13: the rest is below 6e-14 for |r| <= pi/4
    s = s * z - 2.50521083854417188e-8;
    s = s * z + 2.75573192239858907e-6;
    s = s * z - 1.98412698412698413e-4;
    s = s * z + 8.33333333333333333e-3;
    s = s * z - 1.66666666666666667e-1;
    s = s * z * r + r;
    double c = -1.14707455977297247e-11;
    c = c * z + 2.08767569878680990e-9;
    c = c * z - 2.75573192239858907e-7;
    c = c * z + 2.48015873015873016e-5;
    c = c * z - 1.38888888888888889e-3;
    c = c * z + 4.16666666666666667e-2;
    c = c * z * z + (1.0 - 0.5 * z);
    int64_t quadrant = (int64_t)n & 3;
    double first = (quadrant & 1) != 0 ? c : s;
    double second = (quadrant & 1) != 0 ? s : c;
    *sine = (quadrant & 2) != 0 ? -first : first;
    *cosine = ((quadrant + 1) & 2) != 0 ? -second : second;
}

#endif
