// kernel_unit: one kernel file compiled natively with plain hooks, so that it can be checked and timed without mlcc compile.
// kernel_unit.c is compiled by clang once per kernel, variant and element type; the table of all units is units.inc, which
// CMake writes.
#ifndef MLCC_TESTS_BENCH_KERNEL_UNIT_H
#define MLCC_TESTS_BENCH_KERNEL_UNIT_H

#include "codegen/cpu/kernels/kernel.h"

// What the hooks read: operand i is dims[i], pointers[i] (NULL: absent); loads and stores are plain float32 rows.
struct kernel_env {
    int64_t dims[6][6];
    const void *pointers[7];
    void *result; // [.., result_columns]
    void *second_result;
    float *kept; // what kernel_keep_0 receives; NULL: dropped
    int64_t result_columns;
    int64_t result_rows;
    void *scratch; // of this thread
    void *shared;  // of all threads
    int64_t shared_bytes;
    int64_t head_dim, window;
    double scale, softcap, eps, magnitude, growth;
    int64_t period;
};

// What kernel_knob_<name> says, by row of codegen/cpu/knobs.def; fallbacks to begin with. Not to be changed during a launch.
enum kernel_unit_knob {
#define KNOB(name, kernels, fallback, candidates, meaning) UNIT_KNOB_##name,
#include "codegen/cpu/knobs.def"
    UNIT_N_KNOBS
};
extern int64_t kernel_unit_knobs[UNIT_N_KNOBS];

typedef struct kernel_unit {
    const char *kernel;  // "linear_panel16"
    const char *variant; // "x86_avx512"
    int32_t dtype;       // of the weights, gain, table or cache
    void (*run)(const kernel_env *env, int64_t begin, int64_t end);
    int64_t (*items)(const kernel_env *env);
    int64_t (*chunk)(const kernel_env *env, int64_t n_threads);
    // The second part; NULL: none.
    void (*finish)(const kernel_env *env, int64_t begin, int64_t end);
    int64_t (*finish_items)(const kernel_env *env, int64_t n_threads);
    // prepare_panel16 only; n and k are set with prepare_shape.
    void (*prepare)(
        const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin,
        int64_t end);
    void (*prepare_shape)(int64_t n, int64_t k);
} kernel_unit;

extern const kernel_unit *const kernel_units[]; // ends with NULL

#endif
