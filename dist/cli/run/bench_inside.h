// bench_inside: what bench.c measures and bench_print.c and bench_layers.c show. Only these include it.
#ifndef MLCC_DIST_CLI_RUN_BENCH_INSIDE_H
#define MLCC_DIST_CLI_RUN_BENCH_INSIDE_H

#include "dist/cli/run/ceiling.h"
#include "runtime/mlcc.h"

#include <stdbool.h>

enum { MAX_LENGTHS = 16, MAX_REPETITIONS = 1000, MAX_BATCH = 128 };

// What one row measures: `prompt` tokens in one step, or `gen` steps of one token behind `depth`, on `batch` sequences.
typedef struct bench_case {
    int64_t prompt, gen, batch, depth;
} bench_case;

typedef struct bench_row {
    int64_t prompt_tokens, gen_tokens, batch, depth;
    double *samples;             // [n_repetitions] tokens/s, in the order of measuring; malloc'ed
    double tokens_per_s, spread; // median; (max - min) / median
    double bytes_per_token;      // weights, and in decode the cache, over the tokens of a step
    double gb_per_s, gflop_per_s;
} bench_row;

typedef struct benching {
    mlcc_model *model;
    mlcc_model_info info;
    const char *label;
    int64_t n_repetitions;
    // from the library's metadata
    bool is_fp8; // on a device, activations go to the matrix units as fp8
    double flop_per_token, flop_per_logits_row, weight_bytes_per_step;
    ceiling_arithmetic arithmetic; // of its linears
    char *features;                // of the CPU that it may use, comma separated; malloc'ed
    // from the machine
    ceiling machine;
    double gflop_per_s;          // the ceiling of the unit that the library may use
    const char *arithmetic_name; // and its name
    int32_t *tokens;             // [longest]
    bench_row rows[2 * MAX_LENGTHS * MAX_LENGTHS * MAX_LENGTHS];
    size_t n_rows;
} benching;

// What a row cannot exceed: the one of the two that leaves less room.
typedef struct bench_limit {
    const char *name; // "memory read"
    double share;     // of it that the row reached; 0: unknown
} bench_limit;

// The sequences of a case, with the cache up to its depth; fills items[batch].
mlcc_status *bench_start(
    const benching *b, const bench_case *c, mlcc_engine *engine, mlcc_batch_item *items);
// One repetition, with the cache as it was before.
mlcc_status *bench_run_once(
    const benching *b, const bench_case *c, mlcc_engine *engine, const mlcc_batch_item *items,
    double *seconds);

// `format`: md, csv or json.
void bench_print(const benching *b, const char *format);

#endif
