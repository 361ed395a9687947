// ceiling: what this machine can do at most: on the CPU bytes read and operations of every arithmetic unit a second, measured now on a thread
// pool; on a CUDA device bytes copied, measured now, and what its data sheet says (gpu_sheet.h).
#ifndef MLCC_DIST_CLI_RUN_CEILING_H
#define MLCC_DIST_CLI_RUN_CEILING_H

#include "dist/cli/run/ceiling_units.h"
#include "runtime/base/status.h"

#include <stdint.h>

typedef struct ceiling {
    // Measured: reading an array far larger than the caches, four streams a thread; on a device copying one, reads and writes counted. 0: unknown.
    double gb_per_s;
    // Measured, by row of ceiling_units; 0: this machine has no such unit. Of a device all are 0.
    double unit_gop_per_s[CEILING_MAX_UNITS];
    double sheet_gb_per_s, f16_gflop_per_s, fp8_gflop_per_s; // a device's data sheet; 0: unknown
} ceiling;

// Takes about a second. n_threads 0 = physical cores allowed.
mlcc_status *ceiling_measure(int32_t n_threads, ceiling *out);
// The fastest measured unit for `arithmetic` that code with these features (comma separated) may use: row of ceiling_units. There is always one
// for float32; where there is none for the others, it is that.
size_t ceiling_unit_for(
    const ceiling *machine, ceiling_arithmetic arithmetic, const char *features);
// `device`: "cuda:0"; `description`: holds its name (mlcc_model_info). Takes device memory for a moment: a GiB, or nothing is measured.
mlcc_status *ceiling_measure_cuda(const char *device, const char *description, ceiling *out);

#endif
