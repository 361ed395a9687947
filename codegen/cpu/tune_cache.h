// tune_cache: what timing found, remembered in CACHE/tuning/<hex>.json: one small file for every CPU model, kernel, weight format and shape.
//
//   {"key": "…", "knobs": {"scaled_ahead": 2304, …}, "trials": [{"knob": "scaled_ahead", "value": 512, "us": [61.2, 80.1, 733.0]}, …]}
//
// The file's name is the XXH3-128 of the key; the key, written out in the file, is all that the times depend on: the CPU's model and features,
// the number of threads, the kernel's row and the hash of its bitcode, the table of knobs, the weight's format and shape. A file is read as the
// work of a stranger: sizes are limited, knobs must be known and their values candidates; whatever is wrong makes it count as absent.
// Nobody deletes old files: the folder may be emptied at any time.
#ifndef MLCC_CODEGEN_CPU_TUNE_CACHE_H
#define MLCC_CODEGEN_CPU_TUNE_CACHE_H

#include "codegen/cpu/cpu_cost.h"

enum { CPU_TUNE_ROWS = 3 }; // numbers of rows that are timed
enum { CPU_TUNE_MAX_TRIALS = 64 };

// One value of a knob, the others as they stood then, and the microseconds of a launch with 1, 8 and 128 rows. knob CPU_N_KNOBS: the last
// comparison, of all knobs as the model has them (value 0) and as they were timed best (value 1).
typedef struct cpu_tune_trial {
    cpu_knob knob;
    int64_t value;
    double us[CPU_TUNE_ROWS];
} cpu_tune_trial;

typedef struct cpu_tune_result {
    cpu_knobs knobs;
    cpu_tune_trial trials[CPU_TUNE_MAX_TRIALS];
    int32_t n_trials;
} cpu_tune_result;

// The key of a product on this machine, in `keep`.
const char *cpu_tune_key(
    const codegen_cpu *cpu, const kernel_row *row, const ir_function *group, int32_t n_threads,
    mlcc_arena *keep);
// `directory` NULL = mlcc_path_cache.
char *cpu_tune_path(mlcc_arena *keep, const char *directory, const char *key);
// INVALID with the reason when the text is no such file, or one for another key or kernel.
mlcc_status *cpu_tune_parse(
    const char *text, size_t length, const char *what, const char *key, const char *kernel,
    cpu_tune_result *out);
void cpu_tune_print(
    const cpu_tune_result *result, const char *key, const char *kernel, mlcc_str *out);
// false: absent, or unusable; why, if it is there, goes to the log.
bool cpu_tune_read(const char *path, const char *key, const char *kernel, cpu_tune_result *out);
mlcc_status *cpu_tune_write(
    const char *path, const char *key, const char *kernel, const cpu_tune_result *result);

#endif
