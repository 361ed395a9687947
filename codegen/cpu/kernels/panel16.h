// panel16: the device layout of weights [N, K] (and of embedding tables [V, D]) on the CPU. Shared by prepare, linear and
// embedding kernels, and by the host code that plans sizes, so it is plain C without hooks.
//
// Rows lie in panels of 16, K-major inside a panel, so that one vector load brings 16 rows at the same k. Panel p holds rows
// 16p … 16p+15; rows beyond N are zero. Panels follow each other without gaps; the whole is padded to 64 bytes.
//
//   F32, F16, BF16   element [p][k][r]                        16 K elements a panel
//   Q4G32_F16        unit [p][u], u = k / 64, 576 bytes (nine cache lines, always 64-byte aligned):
//                      f16 scale [group 0 of the unit][r], f16 scale [group 1][r]         2 x 16 x 2 = 64 bytes
//                      u32 word  [group 0][w = 0 … 3][r], u32 word [group 1][w][r]        2 x 4 x 16 x 4 = 512 bytes
//                    Word w of group g of row r holds k = 64u + 32g + 8w + 0 … 7, low nibble first: exactly MLC's q_weight word.
//                    value = (nibble - 7) * scale. k beyond K, groups beyond the last and rows beyond N have code 7 and scale 0
//                    (a started group keeps its scale), so every element of a unit may be used without a test.
//
// Two groups share a unit so that every word vector is one aligned cache line; with 288-byte groups every other load would
// straddle two.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PANEL16_H
#define MLCC_CODEGEN_CPU_KERNELS_PANEL16_H

#include "codegen/cpu/kernels/kernel.h"

#include <stdbool.h>

// Changes when the bytes of a prepared weight change: part of the key of prepared caches.
#define KERNEL_PANEL16_VERSION 1

enum {
    KERNEL_PANEL16_ROWS = 16,
    KERNEL_PANEL16_GROUP = 32, // k that share a scale
    KERNEL_PANEL16_UNIT = 64,  // k of one Q4G32_F16 unit
    KERNEL_PANEL16_UNIT_BYTES = 576,
    KERNEL_PANEL16_UNIT_WORDS = 64, // offset of the first word vector inside a unit
};

static inline int64_t kernel_panel16_panels(int64_t n) {
    return n / 16 + (n % 16 != 0);
}

static inline int64_t kernel_panel16_units(int64_t k) {
    return k / 64 + (k % 64 != 0);
}

// Bytes of one panel; n and k must have passed kernel_panel16_size.
static inline int64_t kernel_panel16_panel_bytes(int32_t dtype, int64_t k) {
    if (dtype == KERNEL_Q4G32_F16) return kernel_panel16_units(k) * KERNEL_PANEL16_UNIT_BYTES;
    return k * KERNEL_PANEL16_ROWS * (dtype == KERNEL_F32 ? 4 : 2);
}

// Bytes of a prepared weight [n, k], a multiple of 64. false: the dtype has no panel16 form, or 63 bits do not hold the size.
static inline bool kernel_panel16_size(int32_t dtype, int64_t n, int64_t k, int64_t *size_bytes) {
    if (dtype != KERNEL_F32 && dtype != KERNEL_F16 && dtype != KERNEL_BF16 &&
        dtype != KERNEL_Q4G32_F16)
        return false;
    if (n < 0 || k < 0 || k > (INT64_MAX >> 7)) return false;
    int64_t bytes;
    if (__builtin_mul_overflow(
            kernel_panel16_panels(n), kernel_panel16_panel_bytes(dtype, k), &bytes))
        return false;
    if (__builtin_add_overflow(bytes, (int64_t)63, &bytes)) return false;
    *size_bytes = bytes & ~(int64_t)63;
    return true;
}

#endif
