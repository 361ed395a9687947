// bench (compile side): as bench of the run side, and --preset: a model of that shape is configured, compiled and measured with made-up weights, so
// that any machine can be measured without a download. What --keep leaves is a whole model, with random weights that are converted.
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/bench.h"
#include "dist/cli/run/console.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <stdio.h>

// clang-format off
static const args_option options[] = {
    {.name = "preset", .kind = ARGS_TEXT, .value_name = "NAME", .help = "instead of DIR: make a model of this shape, for example tinyllama_1b_chat_v1.0"},
    {.name = "quantization", .letter = 'q', .kind = ARGS_TEXT, .value_name = "MODE", .help = "with --preset: its quantization mode", .fallback = "q4f16_1"},
    {.name = "target", .kind = ARGS_TEXT, .value_name = "NAME", .help = "with --preset: the CPU to compile for; without it native, for CUDA any"},
    {.name = "archs", .kind = ARGS_TEXT, .value_name = "LIST", .help = "with --preset and --device cuda: what to compile for, as in compile --device cuda:LIST"},
    {.name = "keep", .kind = ARGS_TEXT, .value_name = "DIR", .help = "with --preset: make a whole model here, weights included, and leave it"},
    BENCH_OPTIONS,
};
// clang-format on

static bool wants_cuda(const args_values *values) {
    return mlcc_text_starts_with(args_text(values, "device"), "cuda");
}

// Before anything is made, which takes a while.
static mlcc_status *check_options(const args_values *values) {
    static const char *const of_preset[] = {"quantization", "target", "archs", "keep"};
    const bool has_preset = args_given(values, "preset");
    if ((args_operand(values, 0) != NULL) == has_preset)
        return args_usage("give a model directory DIR or --preset NAME");
    for (size_t i = 0; !has_preset && i < sizeof of_preset / sizeof of_preset[0]; i++) {
        if (args_given(values, of_preset[i]))
            return args_usage(
                "--%s goes with --preset; the model in DIR is compiled already", of_preset[i]);
    }
    MLCC_TRY(bench_check_options(values));
    if (args_given(values, "archs") && !wants_cuda(values))
        return args_usage("--archs is for --device cuda");
    if (has_preset && args_given(values, "model-lib"))
        return args_usage("--model-lib goes with DIR: a preset's library is compiled here");
    return NULL;
}

static mlcc_status *make_config(
    const args_values *values, const char *preset, const char *directory, mlcc_arena *keep) {
    artifact_gen_config_options options_of_config = {
        .config = preset,
        .quantization = args_text(values, "quantization"),
        .conv_template = "LM",
        .output = directory,
    };
    return artifact_gen_config(&options_of_config, keep);
}

static mlcc_status *make_weights(
    const args_values *values, const char *preset, const char *directory) {
    console_progress progress = {0};
    artifact_convert_options options_of_weights = {
        .config = preset,
        .quantization = args_text(values, "quantization"),
        .random_weights = true,
        .output = directory,
        .n_threads = (int32_t)args_int(values, "threads"),
        .progress = console_progress_report,
        .progress_user = &progress,
    };
    artifact_convert_result result;
    mlcc_status *status = artifact_convert_weight(&options_of_weights, &result);
    console_progress_end(&progress);
    if (status == NULL) {
        char stored[24];
        fprintf(
            stderr, "made %s of weights in %.1f s\n",
            console_bytes(result.totals.stored_bytes, stored), result.seconds);
    }
    return status;
}

static mlcc_status *make_library(
    const args_values *values, const char *directory, mlcc_arena *keep) {
    const char *archs = args_text(values, "archs");
    const bool is_cuda = wants_cuda(values);
    artifact_compile_options options_of_library = {
        .model = directory,
        .device = !is_cuda        ? "cpu"
                  : archs == NULL ? "cuda"
                                  : mlcc_arena_printf(keep, "cuda:%s", archs),
        .target = args_text(values, "target"),
        .output = mlcc_path_join(keep, directory, "lib.so"),
    };
    artifact_compile_result result;
    MLCC_TRY(artifact_compile(&options_of_library, &result));
    fprintf(stderr, "compiled in %.1f s\n", result.seconds);
    return NULL;
}

static mlcc_status *bench_preset(const args_values *values, const char *preset, mlcc_arena *keep) {
    const char *kept = args_text(values, "keep"), *directory = kept;
    if (kept == NULL) {
        char *temporary;
        MLCC_TRY(mlcc_temporary_dir_make(keep, "bench", &temporary));
        directory = temporary;
    }
    mlcc_status *status = make_config(values, preset, directory, keep);
    if (status == NULL && kept != NULL) status = make_weights(values, preset, directory);
    if (status == NULL) status = make_library(values, directory, keep);
    if (status == NULL) status = bench_run(directory, preset, kept == NULL, values);
    if (kept == NULL) {
        mlcc_status *removal = mlcc_dir_remove_tree(directory);
        mlcc_temporary_dir_register(NULL);
        if (status == NULL) return removal;
        mlcc_status_free(removal);
    }
    return status;
}

static mlcc_status *run_bench_compile(const args_values *values) {
    const char *directory = args_operand(values, 0), *preset = args_text(values, "preset");
    MLCC_TRY(check_options(values));
    if (directory != NULL) return bench_run(directory, mlcc_path_base(directory), false, values);
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = bench_preset(values, preset, keep);
    mlcc_arena_free(keep);
    return status;
}

const args_command cmd_bench_compile = {
    .name = "bench",
    .operands = "[DIR]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "tokens a second beside the machine's measured limits",
    .details = "examples\n  mlcc bench ./model --prompt-tokens 128 --gen-tokens 64\n"
               "  mlcc bench --preset tinyllama_1b_chat_v1.0 --quantization q4f16_1 --format json\n"
               "  mlcc bench --preset llama3_1_8b --device cuda --archs sm_90a --depth 16,2048 "
               "--batch 1,8",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_bench_compile,
};
