// kernel_run: what checks and timings of kernel units share: lookup, deterministic numbers, a team of threads, prepared weights.
#ifndef MLCC_TESTS_BENCH_KERNEL_RUN_H
#define MLCC_TESTS_BENCH_KERNEL_RUN_H

#include "quantization/format.h"
#include "tests/bench/kernel_unit.h"

#include <stdbool.h>
#include <stddef.h>

// NULL when that unit was not built.
const kernel_unit *unit_find(const char *kernel, const char *variant, int32_t dtype);
const char *unit_dtype_text(int32_t dtype);
// Whether this processor can run the variant.
bool unit_runs_here(const char *variant);

// Numbers in [-1, 1), from a counter: the same for every run.
float unit_random(uint64_t *state);
void *unit_alloc(
    size_t
        size_bytes); // 64-byte aligned, zeros, huge pages where the system has them; exits when memory is out

// Runs all items of a launch on n_threads threads (1 … 8), chunk by chunk as the runtime does. The threads wait between launches.
void unit_launch(const kernel_unit *unit, const kernel_env *env, int32_t n_threads);
double unit_seconds(void);
// Runs work(thread, user) on n_threads threads at the same time.
void unit_parallel(void (*work)(int32_t thread, void *user), void *user, int32_t n_threads);

// A weight [n, k]: as it is stored, as float32, and prepared.
typedef struct unit_weight {
    int32_t dtype;
    int64_t n, k;
    void *pieces[QUANT_MAX_PIECES];
    float *values;
    void *prepared;
    int64_t prepared_bytes;
} unit_weight;
// Whether the element format can hold a weight of this shape.
bool unit_weight_fits(int32_t dtype, int64_t n, int64_t k);
// Random numbers, stored as the element format stores them. with_values: also the float32 form, for checks.
unit_weight unit_weight_make(int32_t dtype, int64_t n, int64_t k, uint64_t seed, bool with_values);
void unit_weight_free(unit_weight *weight);

// Ceilings of this machine now, in some milliseconds: float32 operations in multiply-adds, and bytes read (four streams a
// thread), per second. 1 or 2 threads.
double unit_peak_flops(int32_t n_threads);
double unit_peak_read(int32_t n_threads);
// Operations in products of bytes with 32-bit sums, likewise; 0 where the machine that built this has no such instruction.
double unit_peak_bytes(int32_t n_threads);

// Operations in products of bfloat16 pairs with float32 sums, likewise.
double unit_peak_pairs(int32_t n_threads);

// Compares every unit with plain loops; returns the number of failures.
int kernel_check_all(void);
// One unit of linear_scaled or encode_activation; the number of failures.
int kernel_check_scaled(const kernel_unit *unit);
// One unit of linear_bf16; the number of failures.
int kernel_check_bf16(const kernel_unit *unit);
// One unit of a product: every candidate of its knobs; the number of failures.
int kernel_check_knobs(const kernel_unit *unit);

// Times all units of linear_scaled or linear_bf16 for one weight, and the best one of linear, in turn.
typedef struct kernel_turns {
    const char *variant; // those whose names it contains; NULL: all
    int32_t dtype, threads;
    int64_t n, k;
    const char *rows; // "1,16": numbers of rows, at most 512
    double seconds;   // for each unit and number of rows
} kernel_turns;
void kernel_bench_turns(const kernel_turns *options);

#endif
