// ceiling: what this machine can do at most, measured now: bytes read and float32 multiply-adds a second on a thread pool.
#ifndef MLCC_DIST_CLI_RUN_CEILING_H
#define MLCC_DIST_CLI_RUN_CEILING_H

#include "runtime/base/status.h"

#include <stdint.h>

typedef struct ceiling {
    double gb_per_s;    // reading an array far larger than the caches, four streams a thread
    double gflop_per_s; // float32 fused multiply-adds from registers, two operations each
} ceiling;

// Takes about a second. n_threads 0 = physical cores allowed.
mlcc_status *ceiling_measure(int32_t n_threads, ceiling *out);

#endif
