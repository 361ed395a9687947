// tune_bench: times an instance on this machine: operands of its types, as many copies of the weight as no cache holds, a thread for every core.
#ifndef MLCC_CODEGEN_CPU_TUNE_BENCH_H
#define MLCC_CODEGEN_CPU_TUNE_BENCH_H

#include "codegen/cpu/emit_llvm.h"
#include "codegen/cpu/tune_cache.h"

typedef struct tune_bench tune_bench;

mlcc_status *tune_bench_create(tune_bench **out); // starts the threads
int32_t tune_bench_threads(const tune_bench *bench);
// Operands and results of an instance that multiplies. false: they need too much memory to be timed; then nothing is open.
bool tune_bench_open(
    tune_bench *bench, const codegen_artifact *artifact, int32_t instance, const kernel_row *row);
// What a function took with 1, 8 and 128 rows of x (or the most that the model has).
typedef struct tune_times {
    double us
        [CPU_TUNE_ROWS]; // of a launch: where the fastest tenth ends, for neighbours only add time
    double gain
        [CPU_TUNE_ROWS]; // log of how many times as fast as functions[base]: the median over rounds of neighbouring launches
} tune_times;
// The functions (CPU_KNOB_MAX_CANDIDATES at most) run in turn.
void tune_bench_time(
    tune_bench *bench, emit_llvm_trial *const *functions, int32_t n, int32_t base,
    tune_times *times);
void tune_bench_close(tune_bench *bench);
void tune_bench_free(tune_bench *bench);

#endif
