// device: the layer that kernels are written against. One spelling, two implementations: under NVRTC inline PTX for sm_80 and newer; on the
// host plain C where every CUDA thread is a fiber (device_host.h, tests only). Kernel files are C that is also valid C++.
//
//   types        u8 u16 u32 u64 i8 i16 i32 i64, u32x2 {x y}, u32x4 {x y z w} and f32x2, f32x4 (aligned to their size, up to 16)
//   DEVICE       a function of the device: always inlined             RESTRICT      the pointer is the only way to its memory
//   KERNEL BOUNDS(threads, min_blocks) void name(const kernel_env env)  an entry function; min_blocks 0: not stated
//   SHARED(name)                  u8 name[]: the dynamic shared memory of the block, aligned to 1024 bytes
//   SHARED_ARRAY(type, name, n)   type name[n]: static shared memory
//   UNROLL  NO_UNROLL             stand before a loop
//
//   i32 thread_index() block_threads() block_index_x/y/z() block_count_x/y/z() lane_index() warp_index()
//   block_sync()                  all threads of the block that have not ended; orders shared and global memory among them
//   warp_sync()                   all 32 lanes
//   device_fence()                writes before it are seen by other blocks before writes after it
//   grid_wait()                   every thread calls it, once, before it touches anything that a launch before may have written: the launches before have
//                                 ended then. Prepared params and constants may be read earlier, which is why a launch may begin early (sm_90 and newer)
//   grid_release()                the next launch may begin, and come as far as its grid_wait, once every block of this one has called it or ended
//   shuffle_f32/u32(value, lane)  the value of that lane; shuffle_xor_f32/u32(value, mask); u32 ballot(bool)
//   warp_sum_f32 warp_max_f32 warp_max_u32   reductions; every lane gets the same bits
//
//   load_global_u32/u32x2/u32x4(p)   used once: past the L1. In order with grid_wait(), which the instructions for read-only memory are not: the
//                                 compiler puts what stands before it behind it, or the other way round
//   load_shared_u32x2(p) load_shared_u32x4(p) store_shared_u32x4(p, value)   aligned to their size
//   copy_async16(shared, global, is_valid)   16 bytes, both ends aligned; zeros when not valid (global is then not read, but must be a valid pointer)
//   copy_async_commit() copy_async_wait(n)   groups as in cp.async; n: constant number of groups that may still be under way
//   atomic_add_f32(p, v) atomic_add_u32(p, v) atomic_max_u32(p, v) atomic_max_i32(p, v)   return the old value
//
//   mma_f16_16x8x16(float d[4], const u32 a[4], const u32 b[2])      d += a b, all 32 lanes; also mma_bf16_16x8x16
//   mma_e4m3_16x8x32, mma_e5m2_16x8x32(float d[4], const u32 a[4], const u32 b[2])   the same for fp8; sm_89 and newer
//   ldmatrix_x4(u32 r[4], p)  ldmatrix_x4_trans(u32 r[4], p)         p: 16-byte row of shared memory, lane l gives row l % 8 of matrix l / 8
//
//   and_or(x, mask, bits)         (x & mask) | bits in one instruction
//   permute_bytes(a, b, selector) four bytes of b:a, one selector nibble each (0-3 a, 4-7 b)
//   half2_add/sub/mul/fma(u32 …)  two f16 side by side, each rounded to nearest even; bf162_fma
//   f16_to_f32(u16) f32_to_f16(f) bf16_to_f32(u16) f32_to_bf16(f)    nearest even
//   f16x2_of_e4m3x2(u32 codes)    the f16 of the two low bytes; sm_89 and newer
//   pack_f16x2(low, high) pack_bf16x2(low, high) -> u32;   unpack_f16x2(u32) unpack_bf16x2(u32) -> f32x2
//   float_bits(f) bits_float(u32)
//   rsqrt_f32 exp2_f32 reciprocal_f32   the approximate instructions, 2 ulp; rsqrt_f64, fma_f32, sqrt_f32
//   min_/max_ of f32 (a NaN loses), i32, i64, u32;  abs_f32;  INFINITY_F32 NAN_F32
#ifndef MLCC_CODEGEN_CUDA_KERNELS_DEVICE_H
#define MLCC_CODEGEN_CUDA_KERNELS_DEVICE_H

#ifdef __CUDACC_RTC__

// Not every kernel calls every function.
#    pragma nv_diag_suppress 177

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef struct __align__(8) {
    u32 x, y;
} u32x2;
typedef struct __align__(16) {
    u32 x, y, z, w;
} u32x4;
typedef struct __align__(8) {
    float x, y;
} f32x2;
typedef struct __align__(16) {
    float x, y, z, w;
} f32x4;

#    define DEVICE                      static __device__ __forceinline__
#    define KERNEL                      extern "C" __global__
#    define BOUNDS(threads, min_blocks) __launch_bounds__(threads, min_blocks)
#    define RESTRICT                    __restrict__
#    define SHARED(name)                extern __shared__ __align__(1024) u8 name[]
#    define SHARED_ARRAY(type, name, n) __shared__ type name[n]
#    define UNROLL                      _Pragma("unroll")
#    define NO_UNROLL                   _Pragma("unroll 1")

// ---- where this thread stands -----------------------------------------------------------------------------

// clang-format off
DEVICE i32 thread_index()  { return (i32)threadIdx.x; }
DEVICE i32 block_threads() { return (i32)blockDim.x; }
DEVICE i32 block_index_x() { return (i32)blockIdx.x; }
DEVICE i32 block_index_y() { return (i32)blockIdx.y; }
DEVICE i32 block_index_z() { return (i32)blockIdx.z; }
DEVICE i32 block_count_x() { return (i32)gridDim.x; }
DEVICE i32 block_count_y() { return (i32)gridDim.y; }
DEVICE i32 block_count_z() { return (i32)gridDim.z; }
DEVICE i32 lane_index()    { return (i32)(threadIdx.x & 31u); }
DEVICE i32 warp_index()    { return (i32)(threadIdx.x >> 5); }
// clang-format on

// ---- threads together -------------------------------------------------------------------------------------

// clang-format off
DEVICE void block_sync()   { __syncthreads(); }
DEVICE void warp_sync()    { __syncwarp(); }
DEVICE void device_fence() { __threadfence(); }
#    if __CUDA_ARCH__ >= 900
DEVICE void grid_wait()    { asm volatile("griddepcontrol.wait;" : : : "memory"); }
DEVICE void grid_release() { asm volatile("griddepcontrol.launch_dependents;" : : : "memory"); }
#    else
DEVICE void grid_wait()    {}
DEVICE void grid_release() {}
#    endif
DEVICE float shuffle_f32(float value, i32 lane)     { return __shfl_sync(0xffffffffu, value, lane); }
DEVICE u32   shuffle_u32(u32 value, i32 lane)       { return __shfl_sync(0xffffffffu, value, lane); }
DEVICE float shuffle_xor_f32(float value, i32 mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE u32   shuffle_xor_u32(u32 value, i32 mask)   { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE u32   ballot(bool condition)                 { return __ballot_sync(0xffffffffu, condition); }
// clang-format on

// ---- memory -----------------------------------------------------------------------------------------------

DEVICE u32 load_global_u32(const void *p) {
    u32 r;
    asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(r) : "l"(p));
    return r;
}

DEVICE u32x2 load_global_u32x2(const void *p) {
    u32x2 r;
    asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
                 : "=r"(r.x), "=r"(r.y)
                 : "l"(p));
    return r;
}

DEVICE u32x4 load_global_u32x4(const void *p) {
    u32x4 r;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "l"(p));
    return r;
}

DEVICE u32x2 load_shared_u32x2(const void *p) {
    return *(const u32x2 *)p;
}

DEVICE u32x4 load_shared_u32x4(const void *p) {
    return *(const u32x4 *)p;
}

DEVICE void store_shared_u32x4(void *p, u32x4 value) {
    *(u32x4 *)p = value;
}

DEVICE u32 device_shared_address(const void *p) {
    return (u32)__cvta_generic_to_shared(p);
}

DEVICE void copy_async16(void *shared, const void *global, bool is_valid) {
    const u32 n_bytes = is_valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(device_shared_address(shared)), "l"(global), "r"(n_bytes)
                 : "memory");
}

DEVICE void copy_async_commit() {
    asm volatile("cp.async.commit_group;" : : : "memory");
}

#    define copy_async_wait(n) asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory")

// clang-format off
DEVICE float atomic_add_f32(float *p, float value) { return atomicAdd(p, value); }
DEVICE u32   atomic_add_u32(u32 *p, u32 value)     { return atomicAdd(p, value); }
DEVICE u32   atomic_max_u32(u32 *p, u32 value)     { return atomicMax(p, value); }
DEVICE i32   atomic_max_i32(i32 *p, i32 value)     { return atomicMax(p, value); }
// clang-format on

// ---- matrix instructions ----------------------------------------------------------------------------------

DEVICE void mma_f16_16x8x16(float d[4], const u32 a[4], const u32 b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_bf16_16x8x16(float d[4], const u32 a[4], const u32 b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#    if __CUDA_ARCH__ >= 890
DEVICE void mma_e4m3_16x8x32(float d[4], const u32 a[4], const u32 b[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_e5m2_16x8x32(float d[4], const u32 a[4], const u32 b[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#    endif

DEVICE void ldmatrix_x4(u32 r[4], const void *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(device_shared_address(p)));
}

DEVICE void ldmatrix_x4_trans(u32 r[4], const void *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(device_shared_address(p)));
}

// ---- bits and small floats --------------------------------------------------------------------------------

DEVICE u32 and_or(u32 x, u32 mask, u32 bits) {
    u32 r;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(x), "r"(mask), "r"(bits));
    return r;
}

DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
    return __byte_perm(a, b, selector);
}

DEVICE u32 half2_add(u32 a, u32 b) {
    u32 r;
    asm("add.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

DEVICE u32 half2_sub(u32 a, u32 b) {
    u32 r;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

DEVICE u32 half2_mul(u32 a, u32 b) {
    u32 r;
    asm("mul.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

DEVICE u32 half2_fma(u32 a, u32 b, u32 c) {
    u32 r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

DEVICE u32 bf162_fma(u32 a, u32 b, u32 c) {
    u32 r;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

DEVICE u32 float_bits(float value) {
    return __float_as_uint(value);
}

DEVICE float bits_float(u32 bits) {
    return __uint_as_float(bits);
}

DEVICE float f16_to_f32(u16 half) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(half));
    return r;
}

DEVICE u16 f32_to_f16(float value) {
    u16 r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(value));
    return r;
}

DEVICE float bf16_to_f32(u16 bits) {
    return bits_float((u32)bits << 16);
}

DEVICE u16 f32_to_bf16(float value) {
    u16 r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(value));
    return r;
}

#    if __CUDA_ARCH__ >= 890
DEVICE u32 f16x2_of_e4m3x2(u32 codes) {
    u32 r;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"((u16)codes));
    return r;
}
#    endif

DEVICE u32 pack_f16x2(float low, float high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

DEVICE u32 pack_bf16x2(float low, float high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

// ---- arithmetic -------------------------------------------------------------------------------------------

DEVICE float exp2_f32(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

DEVICE float rsqrt_f32(float x) {
    float r;
    asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

DEVICE float reciprocal_f32(float x) {
    float r;
    asm("rcp.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

// clang-format off
DEVICE double rsqrt_f64(double x)                  { return 1.0 / sqrt(x); }
DEVICE float sqrt_f32(float x)                     { return __fsqrt_rn(x); }
DEVICE float fma_f32(float a, float b, float c)    { return __fmaf_rn(a, b, c); }
DEVICE float abs_f32(float x)                      { return fabsf(x); }
DEVICE float min_f32(float a, float b)             { return fminf(a, b); }
DEVICE float max_f32(float a, float b)             { return fmaxf(a, b); }
// clang-format on

#else
#    include <device_host.h>
#endif

// ---- the same for both ------------------------------------------------------------------------------------

#define INFINITY_F32 (bits_float(0x7f800000u))
#define NAN_F32      (bits_float(0x7fc00000u))

// clang-format off
DEVICE i32 min_i32(i32 a, i32 b) { return a < b ? a : b; }
DEVICE i32 max_i32(i32 a, i32 b) { return a > b ? a : b; }
DEVICE u32 min_u32(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 max_u32(u32 a, u32 b) { return a > b ? a : b; }
DEVICE i64 min_i64(i64 a, i64 b) { return a < b ? a : b; }
DEVICE i64 max_i64(i64 a, i64 b) { return a > b ? a : b; }
// clang-format on

DEVICE f32x2 unpack_f16x2(u32 pair) {
    f32x2 r;
    r.x = f16_to_f32((u16)pair);
    r.y = f16_to_f32((u16)(pair >> 16));
    return r;
}

DEVICE f32x2 unpack_bf16x2(u32 pair) {
    f32x2 r;
    r.x = bits_float(pair << 16);
    r.y = bits_float(pair & 0xffff0000u);
    return r;
}

DEVICE float warp_sum_f32(float value) {
    UNROLL
    for (i32 mask = 16; mask != 0; mask >>= 1) value += shuffle_xor_f32(value, mask);
    return value;
}

DEVICE float warp_max_f32(float value) {
    UNROLL
    for (i32 mask = 16; mask != 0; mask >>= 1) value = max_f32(value, shuffle_xor_f32(value, mask));
    return value;
}

DEVICE u32 warp_max_u32(u32 value) {
    UNROLL
    for (i32 mask = 16; mask != 0; mask >>= 1) value = max_u32(value, shuffle_xor_u32(value, mask));
    return value;
}

#endif
