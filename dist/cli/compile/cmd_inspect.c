// inspect: what a model directory, a lib.so or a file of weights holds, and the tables that are built into the program.
#include "dist/cli/compile/commands.h"
#include "dist/cli/compile/inspect.h"
#include "frontend/hf/weight_files.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object instead of text"},
    {.name = "tables of this program, instead of PATH", .kind = ARGS_HEADING},
    {.name = "modes", .kind = ARGS_FLAG, .help = "quantization modes"},
    {.name = "kernels", .kind = ARGS_FLAG, .help = "kernels, of one op from general to special"},
    {.name = "passes", .kind = ARGS_FLAG, .help = "compiler passes, in their order"},
    {.name = "ops", .kind = ARGS_FLAG, .help = "operations of the IR"},
    {.name = "presets", .kind = ARGS_FLAG, .help = "model shapes that are known by name"},
    {.name = "templates", .kind = ARGS_FLAG, .help = "conversation templates"},
    {.name = "targets", .kind = ARGS_FLAG, .help = "CPUs that can be compiled for, with the features that each implies"},
    {.name = "architectures", .kind = ARGS_FLAG, .help = "model types that can be imported"},
};
// clang-format on

static const char *const tables[] = {"modes",   "kernels",   "passes",  "ops",
                                     "presets", "templates", "targets", "architectures"};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

static mlcc_status *inspect_path(inspect_report *report, const char *path) {
    if (mlcc_dir_exists(path)) return inspect_directory(report, path);
    if (!mlcc_file_exists(path)) {
        return MLCC_ERROR(
            INVALID,
            "'%s' does not exist; expected a model directory, a Hugging Face folder, a lib.so or a "
            "file of weights",
            path);
    }
    if (hf_weight_files_has_name(path)) return inspect_checkpoint(report, path);
    if (mlcc_text_ends_with(path, ".so")) return inspect_library(report, path);
    return MLCC_ERROR(
        UNSUPPORTED,
        "%s: expected a folder or a name that ends in .so, .safetensors, .bin, .pt, .pth or "
        ".index.json",
        path);
}

static mlcc_status *run_inspect(const args_values *values) {
    const char *path = args_operand(values, 0);
    int n_tables = 0;
    for (size_t i = 0; i < N_TABLES; i++) n_tables += args_flag(values, tables[i]);
    if ((path != NULL) == (n_tables > 0))
        return args_usage("give a PATH, or tables such as --modes");
    inspect_report *report = inspect_report_open(args_flag(values, "json"));
    mlcc_status *status = path != NULL ? inspect_path(report, path) : NULL;
    for (size_t i = 0; i < N_TABLES; i++) {
        if (args_flag(values, tables[i])) inspect_builtin_table(report, tables[i]);
    }
    inspect_report_close(report, status == NULL);
    return status;
}

const args_command cmd_inspect = {
    .name = "inspect",
    .operands = "[PATH]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "what a model directory, a lib.so or a file of weights holds",
    .details = "PATH is a model directory, a Hugging Face folder, a lib.so, or a safetensors or "
               "torch file (or an index of them).\n\n"
               "examples\n  mlcc inspect ./model\n  mlcc inspect ./model/lib.so --json\n"
               "  mlcc inspect --modes --targets",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_inspect,
};
