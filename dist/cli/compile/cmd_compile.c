// compile: a model directory's configuration becomes lib.so.
#include "dist/artifact/compile.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/console.h"
#include "runtime/base/file.h"

#include <stdio.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "FILE.so", .help = "library to write; without it DIR/lib.so"},
    {.name = "quantization", .letter = 'q', .kind = ARGS_TEXT, .value_name = "MODE", .help = "without it the config's; mlcc inspect --modes lists them"},
    {.name = "model-type", .kind = ARGS_TEXT, .value_name = "TYPE", .help = "auto = the config's", .fallback = "auto"},
    {.name = "device", .kind = ARGS_TEXT, .value_name = "NAME", .help = "cpu, cuda, cuda:sm_80,sm_90a,compute_80, cuda:native (this machine's devices), or auto (which is cpu)", .fallback = "auto"},
    {.name = "target", .kind = ARGS_TEXT, .value_name = "CPU[,CPU]", .help = "native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64, an LLVM CPU name, or a list, see below; without it native, beside a GPU any of the family"},
    {.name = "opt", .kind = ARGS_TEXT, .value_name = "O0|O1|O2|O3|exact|tune|K=V;…", .help = "exact: round activations only where the mode does, not to bytes or bfloat16 where that is faster;\ntune: time kernels on this machine, see below; the rest are MLC's, checked and without effect", .fallback = "O2"},
    {.name = "overrides", .kind = ARGS_TEXT, .value_name = "K=V;K=V", .help = "context_window_size, prefill_chunk_size, max_batch_size, …"},
    {.name = "host", .kind = ARGS_TEXT, .value_name = "TRIPLE", .help = "MLC's triple of the host code; only auto, which follows --target", .fallback = "auto"},
    {.name = "enable-subgroups", .kind = ARGS_FLAG, .help = "MLC's WebGPU switch; accepted, without effect on the CPU"},
    {.name = "system-lib-prefix", .kind = ARGS_TEXT, .value_name = "NAME", .help = "MLC's prefix in object archives; only auto, for a .so has none", .fallback = "auto"},
    {.name = "linker", .kind = ARGS_TEXT, .value_name = "FILE", .help = "without it MLCC_LINKER, ld.lld, ld"},
    {.name = "looking inside", .kind = ARGS_HEADING},
    {.name = "dry-run", .kind = ARGS_FLAG, .help = "plan everything and say what it takes, but generate no code and write no library"},
    {.name = "debug-dump", .kind = ARGS_TEXT, .value_name = "DIR", .help = "keep IR, LLVM IR and the report there"},
    {.name = "dump-ir", .kind = ARGS_TEXT, .value_name = "WHEN", .help = "all, changed, after:PASS[,PASS], before:PASS[,PASS]; into --debug-dump or to standard error"},
    {.name = "explain-kernels", .kind = ARGS_FLAG, .help = "say for every group which kernel rows were refused and why, how long the chosen one takes at best, its knobs, and what tune has timed"},
    {.name = "time-passes", .kind = ARGS_FLAG, .help = "log the seconds of every pass (with MLCC_LOG=info)"},
};
// clang-format on

// Options of MLC LLM that name what this compiler has no use for: their defaults are accepted.
static mlcc_status *check_mlc_options(const args_values *values) {
    const char *host = args_text(values, "host"), *prefix = args_text(values, "system-lib-prefix");
    if (strcmp(host, "auto") != 0) {
        return MLCC_ERROR(
            UNSUPPORTED, "--host is '%s'; accepted is auto: name the machine with --target", host);
    }
    if (strcmp(prefix, "auto") != 0 && prefix[0] != '\0') {
        return MLCC_ERROR(
            UNSUPPORTED,
            "--system-lib-prefix is '%s'; accepted is auto: prefixes belong to MLC's object "
            "archives "
            "(.tar), mlcc writes .so files",
            prefix);
    }
    return NULL;
}

static void report(const artifact_compile_options *o, const artifact_compile_result *result) {
    char library[24], weights[24], workspace[24], levels[48] = "";
    if (result->n_levels > 1)
        snprintf(
            levels, sizeof levels, "%llu CPU levels, in the last ",
            (unsigned long long)result->n_levels);
    if (o->plan_only) {
        const double n_weights = result->n_weights > 0 ? (double)result->n_weights : 1.0;
        fprintf(
            stderr, "nothing written; weights %s (%.2f bits each), ",
            console_bytes(result->weight_bytes, weights),
            8.0 * (double)result->weight_bytes / n_weights);
    } else {
        fprintf(stderr, "wrote %s: %s, ", o->output, console_bytes(result->library_bytes, library));
    }
    fprintf(
        stderr, "%s%llu launches of %llu kernels, workspace %s, %.2f s\n", levels,
        (unsigned long long)result->n_launches, (unsigned long long)result->n_groups,
        console_bytes(result->workspace_bytes, workspace), result->seconds);
}

static mlcc_status *run_compile(const args_values *values) {
    const char *model = args_operand(values, 0);
    MLCC_TRY(check_mlc_options(values));
    mlcc_arena *keep = mlcc_arena_create();
    const char *output = args_text(values, "output");
    if (output == NULL) {
        const char *directory = mlcc_dir_exists(model) ? model : mlcc_path_dir(keep, model);
        output = mlcc_path_join(keep, directory, "lib.so");
    }
    mlcc_str explain = {0};
    console_progress progress = {.unit = "candidates"};
    artifact_compile_options o = {
        .model = model,
        .quantization = args_text(values, "quantization"),
        .model_type = args_text(values, "model-type"),
        .device = args_text(values, "device"),
        .target = args_text(values, "target"),
        .overrides = args_text(values, "overrides"),
        .opt = args_text(values, "opt"),
        .output = output,
        .plan_only = args_flag(values, "dry-run"),
        .linker = args_text(values, "linker"),
        .debug_dump = args_text(values, "debug-dump"),
        .dump_ir = args_text(values, "dump-ir"),
        .dump_stream = stderr,
        .time_passes = args_flag(values, "time-passes"),
        .explain_kernels = args_flag(values, "explain-kernels") ? &explain : NULL,
        .tune_progress = console_progress_report,
        .tune_user = &progress,
    };
    artifact_compile_result result;
    mlcc_status *status = artifact_compile(&o, &result);
    console_progress_end(&progress);
    if (status == NULL) {
        fputs(mlcc_str_text(&explain), stdout);
        report(&o, &result);
    }
    mlcc_str_free(&explain);
    mlcc_arena_free(keep);
    return status;
}

const args_command cmd_compile = {
    .name = "compile",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "compile a model into one self-contained lib.so",
    .details =
        "MODEL is a model directory or its mlc-chat-config.json; with --quantization also a "
        "Hugging "
        "Face folder, its config.json, or a shape of\nmlcc inspect --presets. Weights are not "
        "needed to compile. The same input gives the same bytes.\n\n"
        "A list of CPUs (--target x86-64-v2,x86-64-v3,znver4) makes one library with "
        "several CPU levels, the most general first.\nThe last level that a machine can run "
        "is taken there, or the one that MLCC_CPU_LEVEL names; mlcc inspect lists them.\n\n"
        "--opt tune times the candidates for tile sizes, chunks and prefetch of every product "
        "on this machine, for at most a minute or so,\nand keeps what it found in the cache "
        "folder: the next compile for this machine reads it and gives the same bytes.\n"
        "Results are those of the library without it, bit for bit. exact=1;tune=1 asks for "
        "both.\n\n"
        "examples\n  mlcc compile mistral_7b --quantization q4f16_1 --dry-run\n  mlcc compile "
        "./TinyLlama-q4f16_1-MLC -o ./TinyLlama-q4f16_1-MLC/lib.so "
        "--target x86-64-v3",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_compile,
};
