// simd: vectors of 16 float32 as clang vector types. One body serves every machine: the compiler splits a vector into four
// SSE or NEON registers, two AVX2 ones, or keeps it in one AVX-512 register.
#ifndef MLCC_CODEGEN_CPU_KERNELS_SIMD_H
#define MLCC_CODEGEN_CPU_KERNELS_SIMD_H

#include "codegen/cpu/kernels/kernel.h"
#include "codegen/cpu/kernels/math.h"

// Every function here is inlined, so how a 64-byte vector would be passed does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef _Float16 f16x16 __attribute__((vector_size(32)));

// A loop over elements whose loads and stores (hooks included) do not depend on each other across iterations.
#define KERNEL_VECTOR_LOOP _Pragma("clang loop vectorize(assume_safety) unroll(disable)")
#define KERNEL_UNROLL      _Pragma("clang loop unroll(full)")

#if defined(__FMA__) || defined(__aarch64__)
#    define KERNEL_HAS_FMA 1
#else
#    define KERNEL_HAS_FMA 0
#endif

KERNEL_INLINE f32x16 simd_splat(float v) {
    return (f32x16){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
}

KERNEL_INLINE f32x16 simd_load(const float *source) {
    f32x16 value;
    __builtin_memcpy(&value, source, sizeof value);
    return value;
}

KERNEL_INLINE void simd_store(float *target, f32x16 value) {
    __builtin_memcpy(target, &value, sizeof value);
}

KERNEL_INLINE u32x16 simd_load_u32(const void *source) {
    u32x16 value;
    __builtin_memcpy(&value, source, sizeof value);
    return value;
}

// The first n (0 … 15) elements, zeros after them; nothing beyond is read.
KERNEL_INLINE f32x16 simd_load_part(const float *source, int64_t n) {
    float part[16] = {0};
    for (int64_t i = 0; i < n; i++) part[i] = source[i];
    return simd_load(part);
}

// a * b + c; rounded once where the machine has the instruction, always the same way on one machine.
KERNEL_INLINE f32x16 simd_fma(f32x16 a, f32x16 b, f32x16 c) {
#if KERNEL_HAS_FMA
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

KERNEL_INLINE f32x16 simd_select(i32x16 mask, f32x16 yes, f32x16 no) {
    return (f32x16)(((i32x16)yes & mask) | ((i32x16)no & ~mask));
}

KERNEL_INLINE f32x16 simd_max(f32x16 a, f32x16 b) {
    return simd_select(a > b, a, b);
}

// 16 halves as float32.
KERNEL_INLINE f32x16 simd_f16_to_f32(u16x16 half) {
#if KERNEL_HAS_F16
    return __builtin_convertvector((f16x16)half, f32x16);
#else
    // As kernel_f16_to_f32.
    u32x16 wide = __builtin_convertvector(half, u32x16);
    u32x16 magnitude = (wide & 0x7fffu) << 13;
    u32x16 sign = (wide & 0x8000u) << 16;
    f32x16 finite = (f32x16)magnitude * 0x1p112f;
    f32x16 special = (f32x16)(magnitude | 0x7f800000u);
    return (f32x16)((u32x16)simd_select((i32x16)magnitude >= 0x0f800000, special, finite) | sign);
#endif
}

KERNEL_INLINE f32x16 simd_load_f16(const void *source) {
    u16x16 half;
    __builtin_memcpy(&half, source, sizeof half);
    return simd_f16_to_f32(half);
}

KERNEL_INLINE f32x16 simd_load_bf16(const void *source) {
    u16x16 half;
    __builtin_memcpy(&half, source, sizeof half);
    return (f32x16)(__builtin_convertvector(half, u32x16) << 16);
}

// Elements index … index+15 of an array of F32, F16 or BF16.
KERNEL_INLINE f32x16 simd_load_as_f32(const void *array, int32_t dtype, int64_t index) {
    if (dtype == KERNEL_F16) return simd_load_f16((const uint16_t *)array + index);
    if (dtype == KERNEL_BF16) return simd_load_bf16((const uint16_t *)array + index);
    return simd_load((const float *)array + index);
}

#define KERNEL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

KERNEL_INLINE u16x16 simd_low(u16x32 v) {
    return KERNEL_SHUFFLE(v, v, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

KERNEL_INLINE u16x16 simd_high(u16x32 v) {
    return KERNEL_SHUFFLE(v, v, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}

// Sum and maximum of 16 elements: halves are folded on each other, so the order is the same everywhere.
KERNEL_INLINE float simd_sum(f32x16 v) {
    v += KERNEL_SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    v += KERNEL_SHUFFLE(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    v += KERNEL_SHUFFLE(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    return v[0] + v[1];
}

KERNEL_INLINE float simd_max_of(f32x16 v) {
    v = simd_max(
        v, KERNEL_SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    v = simd_max(v, KERNEL_SHUFFLE(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));
    v = simd_max(v, KERNEL_SHUFFLE(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));
    return v[0] > v[1] ? v[0] : v[1];
}

KERNEL_INLINE int32_t simd_sum_i32(i32x16 v) {
    v += KERNEL_SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    v += KERNEL_SHUFFLE(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    v += KERNEL_SHUFFLE(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    return v[0] + v[1];
}

KERNEL_INLINE i32x16 simd_max_i32(i32x16 a, i32x16 b) {
    return (a & (a > b)) | (b & ~(a > b));
}

KERNEL_INLINE int32_t simd_max_of_i32(i32x16 v) {
    v = simd_max_i32(
        v, KERNEL_SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    v = simd_max_i32(v, KERNEL_SHUFFLE(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));
    v = simd_max_i32(v, KERNEL_SHUFFLE(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));
    return v[0] > v[1] ? v[0] : v[1];
}

// exp(x) for x <= 0: 1.1 ulp, 0 below -87, NaN stays NaN.
KERNEL_INLINE f32x16 simd_exp_negative(f32x16 x) {
    // As kernel_exp; where the exponent underflows, the result is replaced.
    f32x16 shifted = x * 1.44269504f + 12582912.0f;
    u32x16 exponent = (u32x16)shifted - 0x4b400000u;
    f32x16 n = shifted - 12582912.0f;
    f32x16 r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    f32x16 p = simd_splat(1.37805939e-3f);
    p = p * r + 8.37312452e-3f;
    p = p * r + 4.16695364e-2f;
    p = p * r + 1.66664720e-1f;
    p = p * r + 4.99999851e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    f32x16 result = p * (f32x16)((exponent + 127u) << 23);
    return simd_select(x < -87.0f, simd_splat(0.0f), result);
}

// 2^x for x <= 0: 1.1 ulp, 0 below -126, NaN stays NaN. The polynomial is that of exp in powers of r ln 2.
KERNEL_INLINE f32x16 simd_exp2_negative(f32x16 x) {
    f32x16 shifted = x + 12582912.0f;
    u32x16 exponent = (u32x16)shifted - 0x4b400000u;
    f32x16 r = x - (shifted - 12582912.0f);
    f32x16 p = simd_splat(1.52834254e-4f);
    p = p * r + 1.33972251e-3f;
    p = p * r + 9.61879154e-3f;
    p = p * r + 5.55034604e-2f;
    p = p * r + 2.40226435e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
    f32x16 result = p * (f32x16)((exponent + 127u) << 23);
    return simd_select(x < -126.0f, simd_splat(0.0f), result);
}

// tanh(x), as kernel_tanh.
KERNEL_INLINE f32x16 simd_tanh(f32x16 x) {
    const f32x16 z = x * x;
    f32x16 p = simd_splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const f32x16 near = p * z * x + x;
    const u32x16 sign = (u32x16)x & 0x80000000u;
    const f32x16 magnitude = (f32x16)((u32x16)x & 0x7fffffffu);
    const f32x16 e = simd_exp_negative(-2.0f * magnitude);
    const f32x16 far = (f32x16)((u32x16)((1.0f - e) / (1.0f + e)) | sign);
    return simd_select(magnitude < 0.625f, near, far);
}

// Transposes 16 vectors in place. Two steps inside 128-bit lanes, two that move whole lanes: the form every machine has.
KERNEL_INLINE void simd_transpose(f32x16 v[16]) {
    f32x16 t[16];
    KERNEL_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = KERNEL_SHUFFLE(
            v[i], v[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        t[i + 1] = KERNEL_SHUFFLE(
            v[i], v[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    KERNEL_UNROLL for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = KERNEL_SHUFFLE(
                t[i + j], t[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            v[i + 2 * j + 1] = KERNEL_SHUFFLE(
                t[i + j], t[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        }
    }
    // v[4b + c]: lane L holds column 4L + c of rows 4b … 4b+3.
    KERNEL_UNROLL for (int c = 0; c < 4; c++) {
        f32x16 a = KERNEL_SHUFFLE(
            v[c], v[4 + c], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        f32x16 b = KERNEL_SHUFFLE(
            v[c], v[4 + c], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        f32x16 d = KERNEL_SHUFFLE(
            v[8 + c], v[12 + c], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        f32x16 e = KERNEL_SHUFFLE(
            v[8 + c], v[12 + c], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        t[c] = KERNEL_SHUFFLE(a, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        t[4 + c] = KERNEL_SHUFFLE(b, e, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        t[8 + c] =
            KERNEL_SHUFFLE(a, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
        t[12 + c] =
            KERNEL_SHUFFLE(b, e, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    KERNEL_UNROLL for (int i = 0; i < 16; i++) v[i] = t[i];
}

#endif
