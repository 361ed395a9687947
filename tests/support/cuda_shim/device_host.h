// device_host: the host side of codegen/cuda/kernels/device.h, which lists and explains the names. Included by it wherever NVRTC is not the
// compiler; one translation unit per compiled kernel, -std=gnu11 -fno-strict-aliasing.
//
// Rounding follows the instructions. Their approximate functions are the exact ones here: tests allow for that.
#ifndef MLCC_TESTS_SUPPORT_CUDA_SHIM_DEVICE_HOST_H
#define MLCC_TESTS_SUPPORT_CUDA_SHIM_DEVICE_HOST_H

#include "cuda_shim.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef long long i64;
typedef struct u32x2 {
    u32 x, y;
} __attribute__((aligned(8))) u32x2;
typedef struct u32x4 {
    u32 x, y, z, w;
} __attribute__((aligned(16))) u32x4;
typedef struct f32x2 {
    float x, y;
} __attribute__((aligned(8))) f32x2;
typedef struct f32x4 {
    float x, y, z, w;
} __attribute__((aligned(16))) f32x4;

#define DEVICE static inline __attribute__((unused))
#define KERNEL
#define BOUNDS(threads, min_blocks)
#define RESTRICT
#define SHARED(name) u8 *const name = cuda_shim_of_unit->shared
#define SHARED_ARRAY(type, name, n) \
    static char name##_key; \
    type *const name = (type *)cuda_shim_of_unit->shared_array(&name##_key, sizeof(type) * (n))
#define UNROLL
#define NO_UNROLL

// Set by whoever loads the unit, before the first launch.
__attribute__((visibility("default"))) cuda_shim *cuda_shim_of_unit;

// ---- where this thread stands -----------------------------------------------------------------------------

// clang-format off
DEVICE i32 thread_index(void)  { return cuda_shim_of_unit->thread; }
DEVICE i32 block_threads(void) { return cuda_shim_of_unit->n_threads; }
DEVICE i32 block_index_x(void) { return cuda_shim_of_unit->block[0]; }
DEVICE i32 block_index_y(void) { return cuda_shim_of_unit->block[1]; }
DEVICE i32 block_index_z(void) { return cuda_shim_of_unit->block[2]; }
DEVICE i32 block_count_x(void) { return cuda_shim_of_unit->n_blocks[0]; }
DEVICE i32 block_count_y(void) { return cuda_shim_of_unit->n_blocks[1]; }
DEVICE i32 block_count_z(void) { return cuda_shim_of_unit->n_blocks[2]; }
DEVICE i32 lane_index(void)    { return cuda_shim_of_unit->thread % 32; }
DEVICE i32 warp_index(void)    { return cuda_shim_of_unit->thread / 32; }
// clang-format on

// ---- bits -------------------------------------------------------------------------------------------------

DEVICE u32 float_bits(float value) {
    u32 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

DEVICE float bits_float(u32 bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

DEVICE u32 and_or(u32 x, u32 mask, u32 bits) {
    return (x & mask) | bits;
}

DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
    const u64 bytes = (u64)b << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; i++) {
        const u32 choice = selector >> (4 * i) & 15;
        u32 byte = (u32)(bytes >> (8 * (choice & 7))) & 0xff;
        if (choice & 8) byte = byte & 0x80 ? 0xff : 0; // its sign, eight times
        result |= byte << (8 * i);
    }
    return result;
}

// ---- threads together -------------------------------------------------------------------------------------

DEVICE u32 device_host_warp(cuda_shim_warp_op op, u32 first, u32 second) {
    u32 words[CUDA_SHIM_WARP_WORDS] = {first, second};
    cuda_shim_of_unit->warp(op, words);
    return words[0];
}

DEVICE void block_sync(void) {
    cuda_shim_of_unit->block_sync();
}

DEVICE void warp_sync(void) {
    device_host_warp(CUDA_SHIM_SYNC, 0, 0);
}

DEVICE void device_fence(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

// Grids run one after the other.
DEVICE void grid_wait(void) {}
DEVICE void grid_release(void) {}

DEVICE u32 shuffle_u32(u32 value, i32 lane) {
    return device_host_warp(CUDA_SHIM_SHUFFLE, value, (u32)lane);
}

DEVICE float shuffle_f32(float value, i32 lane) {
    return bits_float(shuffle_u32(float_bits(value), lane));
}

DEVICE u32 shuffle_xor_u32(u32 value, i32 mask) {
    return shuffle_u32(value, lane_index() ^ mask);
}

DEVICE float shuffle_xor_f32(float value, i32 mask) {
    return bits_float(shuffle_xor_u32(float_bits(value), mask));
}

DEVICE u32 ballot(bool condition) {
    return device_host_warp(CUDA_SHIM_BALLOT, condition, 0);
}

// ---- memory -----------------------------------------------------------------------------------------------

DEVICE u32 load_global_u32(const void *p) {
    cuda_shim_of_unit->require_aligned(p, 4, "load_global_u32");
    return *(const u32 *)p;
}

DEVICE u32x2 load_global_u32x2(const void *p) {
    cuda_shim_of_unit->require_aligned(p, 8, "load_global_u32x2");
    return *(const u32x2 *)p;
}

DEVICE u32x4 load_global_u32x4(const void *p) {
    cuda_shim_of_unit->require_aligned(p, 16, "load_global_u32x4");
    return *(const u32x4 *)p;
}

DEVICE u32x2 load_shared_u32x2(const void *p) {
    cuda_shim_of_unit->require_aligned(p, 8, "load_shared_u32x2");
    return *(const u32x2 *)p;
}

DEVICE u32x4 load_shared_u32x4(const void *p) {
    cuda_shim_of_unit->require_aligned(p, 16, "load_shared_u32x4");
    return *(const u32x4 *)p;
}

DEVICE void store_shared_u32x4(void *p, u32x4 value) {
    cuda_shim_of_unit->require_aligned(p, 16, "store_shared_u32x4");
    *(u32x4 *)p = value;
}

DEVICE void copy_async16(void *shared, const void *global, bool is_valid) {
    cuda_shim_of_unit->copy_async16(shared, global, is_valid);
}

DEVICE void copy_async_commit(void) {
    cuda_shim_of_unit->copy_async_commit();
}

#define copy_async_wait(n) cuda_shim_of_unit->copy_async_wait(n)

DEVICE float atomic_add_f32(float *p, float value) {
    const float before = *p;
    *p = before + value;
    return before;
}

DEVICE u32 atomic_add_u32(u32 *p, u32 value) {
    const u32 before = *p;
    *p = before + value;
    return before;
}

DEVICE u32 atomic_max_u32(u32 *p, u32 value) {
    const u32 before = *p;
    if (value > before) *p = value;
    return before;
}

DEVICE i32 atomic_max_i32(i32 *p, i32 value) {
    const i32 before = *p;
    if (value > before) *p = value;
    return before;
}

// ---- matrix instructions ----------------------------------------------------------------------------------

DEVICE void device_host_mma(cuda_shim_warp_op op, float d[4], const u32 a[4], const u32 b[2]) {
    u32 words[CUDA_SHIM_WARP_WORDS];
    memcpy(words, d, 16);
    memcpy(words + 4, a, 16);
    memcpy(words + 8, b, 8);
    cuda_shim_of_unit->warp(op, words);
    memcpy(d, words, 16);
}

DEVICE void mma_f16_16x8x16(float d[4], const u32 a[4], const u32 b[2]) {
    device_host_mma(CUDA_SHIM_MMA_F16, d, a, b);
}

DEVICE void mma_bf16_16x8x16(float d[4], const u32 a[4], const u32 b[2]) {
    device_host_mma(CUDA_SHIM_MMA_BF16, d, a, b);
}

DEVICE void mma_e4m3_16x8x32(float d[4], const u32 a[4], const u32 b[2]) {
    device_host_mma(CUDA_SHIM_MMA_E4M3, d, a, b);
}

DEVICE void mma_e5m2_16x8x32(float d[4], const u32 a[4], const u32 b[2]) {
    device_host_mma(CUDA_SHIM_MMA_E5M2, d, a, b);
}

DEVICE void device_host_ldmatrix(cuda_shim_warp_op op, u32 r[4], const void *p) {
    const u64 address = (u64)(uintptr_t)p;
    u32 words[CUDA_SHIM_WARP_WORDS] = {(u32)address, (u32)(address >> 32)};
    cuda_shim_of_unit->require_aligned(p, 16, "ldmatrix_x4");
    cuda_shim_of_unit->warp(op, words);
    memcpy(r, words, 16);
}

DEVICE void ldmatrix_x4(u32 r[4], const void *p) {
    device_host_ldmatrix(CUDA_SHIM_LDMATRIX, r, p);
}

DEVICE void ldmatrix_x4_trans(u32 r[4], const void *p) {
    device_host_ldmatrix(CUDA_SHIM_LDMATRIX_TRANS, r, p);
}

// ---- small floats -----------------------------------------------------------------------------------------

__extension__ typedef _Float16 device_host_half;

DEVICE float f16_to_f32(u16 bits) {
    device_host_half half;
    memcpy(&half, &bits, sizeof half);
    return (float)half;
}

DEVICE u16 f32_to_f16(float value) {
    if (value != value) return 0x7fff; // the NaN that the instruction gives
    const device_host_half half = (device_host_half)value;
    u16 bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

DEVICE float bf16_to_f32(u16 bits) {
    return bits_float((u32)bits << 16);
}

DEVICE u16 f32_to_bf16(float value) {
    if (value != value) return 0x7fff;
    const u32 bits = float_bits(value);
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

DEVICE u32 pack_f16x2(float low, float high) {
    return f32_to_f16(low) | (u32)f32_to_f16(high) << 16;
}

DEVICE u32 pack_bf16x2(float low, float high) {
    return f32_to_bf16(low) | (u32)f32_to_bf16(high) << 16;
}

// Exponent and fraction in the fields of an f16 are a 256th of the value; the only NaN has all bits set.
DEVICE u32 f16x2_of_e4m3x2(u32 codes) {
    float values[2];
    for (int i = 0; i < 2; i++) {
        const u32 code = codes >> (8 * i) & 0xffu;
        values[i] = f16_to_f32((u16)((code & 0x80u) << 8 | (code & 0x7fu) << 7)) * 256.0f;
        if ((code & 0x7fu) == 0x7fu) values[i] = bits_float(0x7fc00000u);
    }
    return pack_f16x2(values[0], values[1]);
}

DEVICE float device_host_half_of(u32 pair, int i) {
    return f16_to_f32((u16)(pair >> (16 * i)));
}

DEVICE u32 half2_add(u32 a, u32 b) {
    return pack_f16x2(
        device_host_half_of(a, 0) + device_host_half_of(b, 0),
        device_host_half_of(a, 1) + device_host_half_of(b, 1));
}

DEVICE u32 half2_sub(u32 a, u32 b) {
    return pack_f16x2(
        device_host_half_of(a, 0) - device_host_half_of(b, 0),
        device_host_half_of(a, 1) - device_host_half_of(b, 1));
}

DEVICE u32 half2_mul(u32 a, u32 b) {
    return pack_f16x2(
        device_host_half_of(a, 0) * device_host_half_of(b, 0),
        device_host_half_of(a, 1) * device_host_half_of(b, 1));
}

// The product of two halves is exact in float32; the sum is rounded to odd before it becomes a half, so that there is one rounding in all.
DEVICE u16 device_host_fma_f16(float a, float b, float c) {
    const double sum = (double)a * (double)b + (double)c;
    float rounded = (float)sum;
    if ((double)rounded != sum && rounded == rounded && !isinf(rounded)) {
        const bool is_above = fabs((double)rounded) > fabs(sum);
        rounded = bits_float((float_bits(rounded) - is_above) | 1u);
    }
    return f32_to_f16(rounded);
}

DEVICE u32 half2_fma(u32 a, u32 b, u32 c) {
    u32 result = 0;
    for (int i = 0; i < 2; i++) {
        const u16 half = device_host_fma_f16(
            device_host_half_of(a, i), device_host_half_of(b, i), device_host_half_of(c, i));
        result |= (u32)half << (16 * i);
    }
    return result;
}

DEVICE u32 bf162_fma(u32 a, u32 b, u32 c) {
    u32 result = 0;
    for (int i = 0; i < 2; i++) {
        const double x = (double)bf16_to_f32((u16)(a >> (16 * i)));
        const double y = (double)bf16_to_f32((u16)(b >> (16 * i)));
        const double z = (double)bf16_to_f32((u16)(c >> (16 * i)));
        result |= (u32)f32_to_bf16((float)(x * y + z)) << (16 * i);
    }
    return result;
}

// ---- arithmetic -------------------------------------------------------------------------------------------

// Subnormal results are flushed, as the instruction does.
DEVICE float exp2_f32(float x) {
    const float result = exp2f(x);
    return result < FLT_MIN ? 0.0f : result;
}

// clang-format off
DEVICE float rsqrt_f32(float x)                 { return 1.0f / sqrtf(x); }
DEVICE double rsqrt_f64(double x)               { return 1.0 / sqrt(x); }
DEVICE float reciprocal_f32(float x)            { return 1.0f / x; }
DEVICE float sqrt_f32(float x)                  { return sqrtf(x); }
DEVICE float fma_f32(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE float abs_f32(float x)                   { return fabsf(x); }
DEVICE float min_f32(float a, float b)          { return fminf(a, b); }
DEVICE float max_f32(float a, float b)          { return fmaxf(a, b); }
// clang-format on

#endif
