// bench_layers: where the time of a step goes, layer by layer, beside the machine's roofs.
#ifndef MLCC_DIST_CLI_RUN_BENCH_LAYERS_H
#define MLCC_DIST_CLI_RUN_BENCH_LAYERS_H

#include "dist/cli/run/bench_inside.h"
#include "runtime/base/status.h"

// Runs every case a few times with the runtime's trace on, prints a table to standard error and writes a roofline to `path`. One step of at most
// one pass each; cases that are none are left out. UNSUPPORTED for a CUDA device; MISMATCH for a library whose metadata does not say what its
// stretches hold.
mlcc_status *bench_layers(
    const benching *b, const bench_case *cases, size_t n_cases, const char *path);

#endif
