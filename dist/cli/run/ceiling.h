// ceiling: what this machine can do at most: on the CPU bytes read and float32 multiply-adds a second, measured now on a thread pool; on a CUDA
// device bytes copied, measured now, and what its data sheet says (gpu_sheet.h).
#ifndef MLCC_DIST_CLI_RUN_CEILING_H
#define MLCC_DIST_CLI_RUN_CEILING_H

#include "runtime/base/status.h"

#include <stdint.h>

typedef struct ceiling {
    // Measured: reading an array far larger than the caches, four streams a thread; on a device copying one, reads and writes counted. 0: unknown.
    double gb_per_s;
    // float32 fused multiply-adds from registers, two operations each; on a device the data sheet's float16 matrix rate. 0: unknown.
    double gflop_per_s;
    double sheet_gb_per_s, fp8_gflop_per_s; // a device's data sheet; 0: unknown
} ceiling;

// Takes about a second. n_threads 0 = physical cores allowed.
mlcc_status *ceiling_measure(int32_t n_threads, ceiling *out);
// `device`: "cuda:0"; `description`: holds its name (mlcc_model_info). Takes device memory for a moment: a GiB, or nothing is measured.
mlcc_status *ceiling_measure_cuda(const char *device, const char *description, ceiling *out);

#endif
