// bench (run side): speed of a compiled model. The program `mlcc` adds --preset, which makes one first.
#include "dist/cli/run/bench.h"
#include "dist/cli/run/commands.h"
#include "runtime/base/file.h"

static const args_option options[] = {BENCH_OPTIONS};

static mlcc_status *run_bench(const args_values *values) {
    const char *directory = args_operand(values, 0);
    return bench_run(directory, mlcc_path_base(directory), false, values);
}

const args_command cmd_bench = {
    .name = "bench",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "tokens a second beside the machine's measured limits",
    .details =
        "example\n  mlcc-run bench ./model --prompt-tokens 128 --gen-tokens 64 -r 5 --format json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_bench,
};
