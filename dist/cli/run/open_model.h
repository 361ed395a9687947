// open_model: the options that every command which runs a model has, and opening it with them.
#ifndef MLCC_DIST_CLI_RUN_OPEN_MODEL_H
#define MLCC_DIST_CLI_RUN_OPEN_MODEL_H

#include "dist/cli/run/args.h"
#include "runtime/mlcc.h"

// Rows for an option table.
// clang-format off
#define OPEN_MODEL_OPTIONS                                                                                                              \
    {.name = "running", .kind = ARGS_HEADING},                                                                                          \
    {.name = "model-lib", .kind = ARGS_TEXT, .value_name = "FILE", .help = "compiled library; without it DIR/lib.so is used"},          \
    {.name = "device", .kind = ARGS_TEXT, .value_name = "NAME", .help = "cpu, cuda, cuda:N, or auto: what the library is compiled for", .fallback = "auto"},       \
    {.name = "threads", .letter = 't', .kind = ARGS_INT, .value_name = "N", .help = "threads; 0 = physical cores allowed", .fallback = "0", .min = 0, .max = 1024}, \
    {.name = "verify", .kind = ARGS_FLAG, .help = "check the md5 of every weight shard first"},                                         \
    {.name = "no-cache", .kind = ARGS_FLAG, .help = "prepare weights and tokenizer anew, leave the caches on disk alone"},            \
    {.name = "weights-memory", .kind = ARGS_TEXT, .value_name = "HOW", .help = "weights in files (CPU): map them, copy them onto huge pages (faster tokens, slower start), or auto: copy where that pays", .fallback = "auto"}
// clang-format on

// Says on standard error what device `auto` chose and why.
mlcc_status *open_model(const char *directory, const args_values *values, mlcc_model **out);
// The same with this library instead of --model-lib; NULL: the directory's.
mlcc_status *open_model_library(
    const char *directory, const char *library, const args_values *values, mlcc_model **out);
// As open_model; with `made_up_weights` the directory needs none (runtime/mlcc.h).
mlcc_status *open_model_for_speed(
    const char *directory, const args_values *values, bool made_up_weights, mlcc_model **out);
// Fails for anything but cpu, cuda, cuda:N and auto.
mlcc_status *open_model_check_device(const char *device);
// Fails for words of OPEN_MODEL_OPTIONS that no model can be opened with. open_model does it too; commands that make a model first ask before.
mlcc_status *open_model_check_options(const args_values *values);
// Fails unless there is such a directory. open_model does it too; commands that open the tokenizer first ask before.
mlcc_status *open_model_check_directory(const char *directory);

#endif
