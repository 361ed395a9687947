// device_hopper: what the device layer has on sm_90a beyond device.h: barriers in shared memory and the asynchronous matrix instruction of a
// warpgroup, which is four warps from a multiple of four on. Two implementations, as in device.h.
//
//   barrier_init(u64 *barrier, u32 n)     in shared memory; a phase of the barrier ends with n arrivals. By one thread, then block_sync
//   barrier_arrive(u64 *barrier)          what the thread did before is seen by whoever waits for the phase
//   barrier_wait(u64 *barrier, u32 parity)   until the phase of this parity has ended: 0 for the first, 1 for the second, 0 for the third …; nobody is
//                                         two phases behind. A new barrier counts as one whose phase 1 has ended
//   registers_give(n) registers_take(n)   all warps of a warpgroup: a thread has n registers from here on, n constant, a multiple of 8
//
// A tile of B is rows of 128 bytes, 64 k of a column each (128 of fp8), eight rows after each other 1024 bytes, at a multiple of 1024 bytes of SHARED. Piece p
// of row r, 16 bytes, lies at piece p ^ r % 8.
//
//   wgmma_store_u32(u8 *p, u32 value)     a word of a tile; wgmma_store_u32x2(u8 *p, u32 first, u32 second): two, 8-byte aligned
//   wgmma_store_fence()                   tiles' words that the thread wrote are seen by matrix instructions that begin after its next arrival
//   u64 wgmma_tile(const u8 *p)           names the tile at p; + 2 for every 16 k further on in its rows
//   wgmma_fence()                         before the first wgmma of a group: what registers hold is seen
//   wgmma_f16_64x128x16(float d[64], const u32 a[4], u64 b)   d += a b^T, under way on return; also 64x256x16 with d[128], and wgmma_bf16_…;
//                                         wgmma_e4m3_64x128x32 … of 128 bytes' rows of 128 k: a tile's + 2 is 32 k further on; also wgmma_e5m2_…
//                                         a warp has 16 rows of a and d: fragments as of the mma_ of the same k, d[4 j …] for columns 8 j … 8 j + 7
//   wgmma_commit()                        ends a group
//   wgmma_wait(n)                         until at most n groups (a constant) are under way: until then d must not be touched, a not be changed, tiles
//                                         not be overwritten
//   wgmma_pin(a, n) wgmma_pin_sums(d, n)  n registers are computed before this and read after it, which no compiler knows to do by itself: fragments
//                                         and first sums before wgmma_fence, the last sums after wgmma_wait(0)
#ifndef MLCC_CODEGEN_CUDA_KERNELS_DEVICE_HOPPER_H
#define MLCC_CODEGEN_CUDA_KERNELS_DEVICE_HOPPER_H

#ifdef __CUDACC_RTC__

// ---- barriers ---------------------------------------------------------------------------------------------

DEVICE void barrier_init(u64 *barrier, u32 n) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 :
                 : "r"(device_shared_address(barrier)), "r"(n)
                 : "memory");
}

DEVICE void barrier_arrive(u64 *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];"
                 :
                 : "r"(device_shared_address(barrier))
                 : "memory");
}

DEVICE void barrier_wait(u64 *barrier, u32 parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}"
                 :
                 : "r"(device_shared_address(barrier)), "r"(parity)
                 : "memory");
}

#    define registers_give(n) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(n))
#    define registers_take(n) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(n))

// ---- the matrix instruction -------------------------------------------------------------------------------

DEVICE void wgmma_store_u32(u8 *p, u32 value) {
    *(u32 *)p = value;
}

DEVICE void wgmma_store_u32x2(u8 *p, u32 first, u32 second) {
    u32x2 both;
    both.x = first;
    both.y = second;
    *(u32x2 *)p = both;
}

DEVICE void wgmma_store_fence() {
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}

DEVICE u64 wgmma_tile(const u8 *p) {
    const u64 swizzle_128 = 1, stride = 1024 >> 4;
    return (u64)(device_shared_address(p) >> 4) | (u64)1 << 16 | stride << 32 | swizzle_128 << 62;
}

DEVICE void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
}

DEVICE void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
}

#    define wgmma_wait(n) asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(n) : "memory")

DEVICE void wgmma_pin(u32 *a, i32 n) {
    UNROLL
    for (i32 i = 0; i < n; i++) asm volatile("" : "+r"(a[i]));
}

DEVICE void wgmma_pin_sums(float *d, i32 n) {
    UNROLL
    for (i32 i = 0; i < n; i++) asm volatile("" : "+f"(d[i]) : : "memory");
}

// clang-format off
#    define WGMMA_D4(i)  "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#    define WGMMA_D16(i) WGMMA_D4(i), WGMMA_D4((i) + 4), WGMMA_D4((i) + 8), WGMMA_D4((i) + 12)
#    define WGMMA_D64(i) WGMMA_D16(i), WGMMA_D16((i) + 16), WGMMA_D16((i) + 32), WGMMA_D16((i) + 48)

#    define WGMMA_64X128(k, type, order) \
        asm volatile("wgmma.mma_async.sync.aligned.m64n128" k ".f32." type "." type " {" \
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, " \
            "{%64, %65, %66, %67}, %68, 1, 1, 1" order ";" \
            : WGMMA_D64(0) \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

#    define WGMMA_64X256(k, type, order) \
        asm volatile("wgmma.mma_async.sync.aligned.m64n256" k ".f32." type "." type " {" \
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
            "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
            "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, " \
            "{%128, %129, %130, %131}, %132, 1, 1, 1" order ";" \
            : WGMMA_D64(0), WGMMA_D64(64) \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

DEVICE void wgmma_f16_64x128x16(float d[64], const u32 a[4], u64 b) { WGMMA_64X128("k16", "f16", ", 0"); }
DEVICE void wgmma_bf16_64x128x16(float d[64], const u32 a[4], u64 b) { WGMMA_64X128("k16", "bf16", ", 0"); }
DEVICE void wgmma_f16_64x256x16(float d[128], const u32 a[4], u64 b) { WGMMA_64X256("k16", "f16", ", 0"); }
DEVICE void wgmma_bf16_64x256x16(float d[128], const u32 a[4], u64 b) { WGMMA_64X256("k16", "bf16", ", 0"); }
DEVICE void wgmma_e4m3_64x128x32(float d[64], const u32 a[4], u64 b) { WGMMA_64X128("k32", "e4m3", ""); }
DEVICE void wgmma_e5m2_64x128x32(float d[64], const u32 a[4], u64 b) { WGMMA_64X128("k32", "e5m2", ""); }
DEVICE void wgmma_e4m3_64x256x32(float d[128], const u32 a[4], u64 b) { WGMMA_64X256("k32", "e4m3", ""); }
DEVICE void wgmma_e5m2_64x256x32(float d[128], const u32 a[4], u64 b) { WGMMA_64X256("k32", "e5m2", ""); }
// clang-format on

#else
#    include <device_hopper_host.h>
#endif

#endif
