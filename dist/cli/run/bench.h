// bench: tokens a second of a model on this machine, beside what the machine could do at most.
#ifndef MLCC_DIST_CLI_RUN_BENCH_H
#define MLCC_DIST_CLI_RUN_BENCH_H

#include "dist/cli/run/args.h"
#include "dist/cli/run/open_model.h"

// clang-format off
#define BENCH_OPTIONS                                                                                                                                            \
    {.name = "prompt-tokens", .letter = 'p', .kind = ARGS_TEXT, .value_name = "N,N", .help = "prefill lengths; 0 = none", .fallback = "16,128,512"},             \
    {.name = "gen-tokens", .letter = 'n', .kind = ARGS_TEXT, .value_name = "N,N", .help = "decode lengths; 0 = none", .fallback = "128"},                        \
    {.name = "depth", .letter = 'd', .kind = ARGS_TEXT, .value_name = "N,N", .help = "tokens already in the cache when decoding starts", .fallback = "0"},                \
    {.name = "batch", .letter = 'b', .kind = ARGS_TEXT, .value_name = "N,N", .help = "sequences side by side", .fallback = "1"},                                 \
    {.name = "repetitions", .letter = 'r', .kind = ARGS_INT, .value_name = "N", .help = "runs of each row; median and spread are over these", .fallback = "5", .min = 1, .max = 1000}, \
    {.name = "format", .letter = 'o', .kind = ARGS_TEXT, .value_name = "md|csv|json", .help = "a table, lines, or a JSON array of rows", .fallback = "md"},      \
    {.name = "svg", .kind = ARGS_TEXT, .value_name = "FILE", .help = "also time every layer of a decode step and of the longest prefill, and draw them below the machine's limits (CPU)"}, \
    OPEN_MODEL_OPTIONS
// clang-format on

// Usage errors in BENCH_OPTIONS, and a drawing that could not be written. bench_run finds them too; a command that makes a model first asks before.
mlcc_status *bench_check_options(const args_values *values);
// Opens the model in `directory` and prints one row per length and batch. `made_up_weights`: there are none, numbers are made up.
mlcc_status *bench_run(
    const char *directory, const char *label, bool made_up_weights, const args_values *values);

#endif
