// cuda_bench_run: a small module on a CUDA device, to be timed: planned and compiled for the device with the best row that each group can have there,
// weights and arguments full of random numbers, run as the runtime runs it (a graph of launches that may overlap their beginnings).
//
//   bench_module *module = bench_module_open(text, &why);             NULL: nothing can be run here
//   bench_module_set(module, "n_tokens", 8);
//   bench_module_time(module, 20, &timing);
//   bench_module_close(module);
//
// A failure ends the program with a message: it is a bug.
#ifndef MLCC_TESTS_BENCH_CUDA_BENCH_RUN_H
#define MLCC_TESTS_BENCH_CUDA_BENCH_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_module bench_module;

typedef struct bench_device {
    char name[96];
    int capability; // 90
} bench_device;

// False: no driver, no device or no NVRTC; `why` says which.
bool bench_device_get(bench_device *out, const char **why);

// GRAPH text with a function @forward. Memory is taken for symbols at their bounds.
bench_module *bench_module_open(const char *text, const char **why);
void bench_module_close(bench_module *module);
// Only compiles, which leaves the code in the cache.
void bench_module_compile(const char *text);
// Names of the kernel rows in use, once each: "linear_tile16__sm80".
const char *bench_module_kernels(const bench_module *module);
void bench_module_set(bench_module *module, const char *symbol, int64_t value);
// Integer arguments are zeros otherwise.
void bench_module_give_ints(
    bench_module *module, const char *arg, const int32_t *values, size_t n_values);

typedef struct bench_timing {
    double us;     // of one run of the function; median of the rounds
    double spread; // (slowest - fastest round) / median
} bench_timing;

// Rounds of about `round_ms` between two events of the device, after runs that warm it up.
void bench_module_time(bench_module *module, double round_ms, bench_timing *out);

// What the device can do, by two kernels of cuda_ceilings.cu; 0 where one is not for the device.
typedef struct bench_ceilings {
    double read_gb_per_s;   // 16-byte loads of an array far larger than the cache
    double mma_tflop_per_s; // mma.sync m16n8k16 of f16 with sums in f32, from registers
} bench_ceilings;

void bench_ceilings_measure(bool is_quick, bench_ceilings *out);

#endif
