// device_hopper_host: the host side of codegen/cuda/kernels/device_hopper.h, which lists and explains the names. Included by it.
#ifndef MLCC_TESTS_SUPPORT_CUDA_SHIM_DEVICE_HOPPER_HOST_H
#define MLCC_TESTS_SUPPORT_CUDA_SHIM_DEVICE_HOPPER_HOST_H

// ---- barriers ---------------------------------------------------------------------------------------------

DEVICE void barrier_init(u64 *barrier, u32 n) {
    cuda_shim_of_unit->barrier_init(barrier, n);
}

DEVICE void barrier_arrive(u64 *barrier) {
    cuda_shim_of_unit->barrier_arrive(barrier);
}

DEVICE void barrier_wait(u64 *barrier, u32 parity) {
    cuda_shim_of_unit->barrier_wait(barrier, parity);
}

#define registers_give(n) device_host_warp(CUDA_SHIM_REGISTERS, (n), 0)
#define registers_take(n) device_host_warp(CUDA_SHIM_REGISTERS, (n), 0)

// ---- the matrix instruction -------------------------------------------------------------------------------

DEVICE void wgmma_store_u32(u8 *p, u32 value) {
    cuda_shim_of_unit->wgmma_store_u32(p, value);
}

DEVICE void wgmma_store_u32x2(u8 *p, u32 first, u32 second) {
    cuda_shim_of_unit->require_aligned(p, 8, "wgmma_store_u32x2");
    cuda_shim_of_unit->wgmma_store_u32(p, first);
    cuda_shim_of_unit->wgmma_store_u32(p + 4, second);
}

DEVICE void wgmma_store_fence(void) {
    cuda_shim_of_unit->wgmma_store_fence();
}

// The bits are those of the device; the address counts from the block's shared memory.
DEVICE u64 wgmma_tile(const u8 *p) {
    const u64 swizzle_128 = 1, stride = 1024 >> 4;
    return (u64)(p - cuda_shim_of_unit->shared) >> 4 | (u64)1 << 16 | stride << 32 |
           swizzle_128 << 62;
}

DEVICE void wgmma_fence(void) {
    device_host_warp(CUDA_SHIM_WGMMA_FENCE, 0, 0);
}

DEVICE void wgmma_commit(void) {
    device_host_warp(CUDA_SHIM_WGMMA_COMMIT, 0, 0);
}

#define wgmma_wait(n) device_host_warp(CUDA_SHIM_WGMMA_WAIT, (n), 0)

DEVICE void wgmma_pin(u32 *a, i32 n) {
    (void)a, (void)n;
}

DEVICE void wgmma_pin_sums(float *d, i32 n) {
    (void)d, (void)n;
}

// clang-format off
DEVICE void wgmma_f16_64x128x16(float d[64], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 128, a, b, CUDA_SHIM_F16); }
DEVICE void wgmma_bf16_64x128x16(float d[64], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 128, a, b, CUDA_SHIM_BF16); }
DEVICE void wgmma_e4m3_64x128x32(float d[64], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 128, a, b, CUDA_SHIM_E4M3); }
DEVICE void wgmma_e5m2_64x128x32(float d[64], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 128, a, b, CUDA_SHIM_E5M2); }
DEVICE void wgmma_f16_64x256x16(float d[128], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 256, a, b, CUDA_SHIM_F16); }
DEVICE void wgmma_bf16_64x256x16(float d[128], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 256, a, b, CUDA_SHIM_BF16); }
DEVICE void wgmma_e4m3_64x256x32(float d[128], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 256, a, b, CUDA_SHIM_E4M3); }
DEVICE void wgmma_e5m2_64x256x32(float d[128], const u32 a[4], u64 b) { cuda_shim_of_unit->wgmma(d, 256, a, b, CUDA_SHIM_E5M2); }
// clang-format on

#endif
