// gpu_sheet: data sheets of common GPUs, one row each: what reports measure against, and what budgets of compiled kernels are computed with.
#ifndef MLCC_DIST_CLI_RUN_GPU_SHEET_H
#define MLCC_DIST_CLI_RUN_GPU_SHEET_H

#include <stddef.h>
#include <stdint.h>

typedef struct gpu_sheet {
    const char *name; // part of what the driver calls the device: "H100 PCIe"
    int32_t arch;     // 90
    int32_t n_multiprocessors;
    double clock_ghz;                // under load
    double gb_per_s;                 // device memory
    double f16_tflop_per_s;          // matrix units, dense, sums in float32
    double fp8_tflop_per_s;          // 0: none
    int32_t shared_kib;              // of a multiprocessor, for blocks
    int32_t max_threads, max_blocks; // of a multiprocessor
    int32_t l2_mib;
} gpu_sheet;

const gpu_sheet *gpu_sheet_table(size_t *n_rows);
// The row whose name is in `device_name`; NULL: unknown.
const gpu_sheet *gpu_sheet_find(const char *device_name);

#endif
