// opt: runs passes on a textual module. The tool of golden tests: a file holds its options, its input and the expected output.
#include "codegen/target.h"
#include "dist/cli/compile/commands.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/pipeline.h"
#include "runtime/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "passes", .kind = ARGS_TEXT, .value_name = "A,B", .help = "run these, in this order; without it every pass that fits the module's level; none = only parse, verify, print"},
    {.name = "quantization", .kind = ARGS_TEXT, .value_name = "MODE", .help = "mode for the pass quantize, for example q4f16_1"},
    {.name = "target", .kind = ARGS_TEXT, .value_name = "NAME", .help = "target for the plan passes, for example x86-64-v3"},
    {.name = "codes", .kind = ARGS_FLAG, .help = "with --target: as if it multiplied codes, whatever the weight (for quantize_activations, encode_activations)"},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "FILE", .help = "write the module here instead of standard output"},
    {.name = "check", .kind = ARGS_FLAG, .help = "compare with the file's own expectation; options come from its `# run:` line"},
    {.name = "bless", .kind = ARGS_FLAG, .help = "rewrite the file's expectation with what comes out now"},
    {.name = "looking inside", .kind = ARGS_HEADING},
    {.name = "dump-ir", .kind = ARGS_TEXT, .value_name = "WHEN", .help = "all, changed, after:PASS[,PASS], before:PASS[,PASS]; to standard error"},
    {.name = "dump-dir", .kind = ARGS_TEXT, .value_name = "DIR", .help = "dumps go to NN-pass.mlcir files here"},
    {.name = "start-at", .kind = ARGS_TEXT, .value_name = "PASS", .help = "first pass to run"},
    {.name = "stop-after", .kind = ARGS_TEXT, .value_name = "PASS", .help = "last pass to run"},
    {.name = "pass-limit", .kind = ARGS_INT, .value_name = "N", .help = "run at most N passes (for bisecting)", .fallback = "-1", .min = -1, .max = 1e6},
    {.name = "time-passes", .kind = ARGS_FLAG, .help = "log the seconds of every pass (with MLCC_LOG=info)"},
    {.name = "explain-kernels", .kind = ARGS_FLAG, .help = "say which kernel rows were refused and why"},
};
// clang-format on

static const char expect_mark[] = "# ---- expect\n", error_mark[] = "# ---- error\n";

typedef struct opt_run {
    mlcc_arena *keep, *scratch;
    // as on the command line or in the run line
    const char *passes, *quantization, *target;
    bool codes;
} opt_run;

static size_t split_names(mlcc_arena *keep, const char *text, const char ***out) {
    size_t n = 1, at = 0;
    if (strcmp(text, "none") == 0) text = "";
    for (const char *c = text; *c != '\0'; c++) n += *c == ',';
    const char **names = MLCC_NEW_ARRAY(keep, const char *, n);
    char *copy = mlcc_arena_strdup(keep, text);
    for (char *name = copy; name != NULL && *name != '\0';) {
        char *comma = strchr(name, ',');
        if (comma != NULL) *comma++ = '\0';
        names[at++] = name;
        name = comma;
    }
    *out = names;
    return at;
}

static bool takes_codes(void *target, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)target, (void)weight, (void)mantissa_bits, (void)group;
    return true;
}

static mlcc_status *run_passes(
    const opt_run *r, const args_values *values, const char *text, size_t length, const char *what,
    ir_module **out) {
    MLCC_TRY(ir_parse_module(text, length, what, r->keep, out));
    MLCC_TRY_NOTE(ir_verify(*out, (*out)->level), "verifying %s", what);
    pass_options pass_run = {
        .stop_after = args_text(values, "stop-after"),
        .start_at = args_text(values, "start-at"),
        .limit = (int32_t)args_int(values, "pass-limit"),
        .dump = args_text(values, "dump-ir"),
        .dump_dir = args_text(values, "dump-dir"),
        .dump_stream = stderr,
        .times = args_flag(values, "time-passes"),
    };
    if (pass_run.dump_dir != NULL) MLCC_TRY(mlcc_dir_make(pass_run.dump_dir));
    if (r->passes != NULL)
        pass_run.n_only = split_names(r->keep, r->passes, (const char ***)(void *)&pass_run.only);
    pass_context context = {.scratch = r->scratch};
    if (r->quantization != NULL) MLCC_TRY(quant_mode_find(r->quantization, &context.mode));
    codegen_target *target = NULL;
    pass_target questions = {
        .choose_kernel = codegen_choose_kernel,
        .choose_layout = codegen_choose_layout,
        .choose_chain = codegen_choose_chain,
        .takes_codes = r->codes ? takes_codes : codegen_takes_codes,
        .takes_dtype = codegen_takes_dtype};
    if (r->target != NULL) {
        codegen_options target_options = {.target = r->target};
        MLCC_TRY(codegen_open(&target_options, r->keep, &target));
        questions.user = target;
        context.target = &questions;
    } else if (r->passes == NULL && pass_run.stop_after == NULL) {
        // Without a target the plan passes have nobody to ask.
        pass_run.stop_after = "fuse_elementwise";
    }
    mlcc_str explain = {0};
    if (args_flag(values, "explain-kernels")) context.explain = &explain;
    mlcc_status *status = pass_pipeline_run(*out, &pass_run, &context);
    fputs(mlcc_str_text(&explain), stderr);
    mlcc_str_free(&explain);
    if (target != NULL) codegen_close(target);
    return status;
}

// Reads "# run: --passes=a,b --quantization=m" at the start of a golden file.
static mlcc_status *read_run_line(opt_run *r, const char *text, const char *path) {
    static const char mark[] = "# run:";
    if (!mlcc_text_starts_with(text, mark)) {
        return MLCC_ERROR(
            INVALID,
            "%s: the first line must be '# run: OPTIONS', for example '# run: --passes=prune'",
            path);
    }
    const char *end = strchr(text, '\n');
    char *line = mlcc_arena_strndup(
        r->keep, text + strlen(mark),
        end ? (size_t)(end - text) - strlen(mark) : strlen(text) - strlen(mark));
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest)) {
        if (mlcc_text_starts_with(word, "--passes=")) {
            r->passes = word + strlen("--passes=");
        } else if (mlcc_text_starts_with(word, "--quantization=")) {
            r->quantization = word + strlen("--quantization=");
        } else if (mlcc_text_starts_with(word, "--target=")) {
            r->target = word + strlen("--target=");
        } else if (strcmp(word, "--codes") == 0) {
            r->codes = true;
        } else {
            return MLCC_ERROR(
                INVALID,
                "%s: '%s' in the run line; accepted: --passes= --quantization= --target= "
                "--codes",
                path, word);
        }
    }
    return NULL;
}

// Prints the first line in which two texts differ.
static mlcc_status *difference(const char *path, const char *expected, const char *found) {
    int line = 1;
    while (*expected != '\0' && *expected == *found) {
        if (*expected == '\n') line++;
        expected++;
        found++;
    }
    while (line > 1 && expected[-1] != '\n') {
        expected--;
        found--;
    }
    return MLCC_ERROR(
        MISMATCH,
        "%s: the result differs in line %d of the expectation\n    expected: %.*s\n    found:    "
        "%.*s\n"
        "  mlcc opt --bless %s accepts the new result",
        path, line, (int)strcspn(expected, "\n"), expected, (int)strcspn(found, "\n"), found, path);
}

// Where a golden file's expectation begins, or the end of the text; *wants_error: it is an error's.
static char *find_expectation(char *text, bool *wants_error) {
    char *expect = strstr(text, expect_mark), *error = strstr(text, error_mark);
    *wants_error = error != NULL;
    if (error != NULL) return error;
    return expect != NULL ? expect : text + strlen(text);
}

static mlcc_status *check_or_bless(
    opt_run *r, const args_values *values, char *text, const char *path) {
    MLCC_TRY(read_run_line(r, text, path));
    bool wants_error;
    char *mark = find_expectation(text, &wants_error);
    const size_t input_bytes = (size_t)(mark - text);
    ir_module *module;
    mlcc_status *status = run_passes(r, values, text, input_bytes, mlcc_path_base(path), &module);
    mlcc_str found = {0};
    if (status == NULL) {
        ir_print_module(module, &found);
        if (args_flag(values, "bless")) wants_error = false;
    } else if (wants_error || args_flag(values, "bless")) {
        mlcc_str_printf(&found, "# %s\n", mlcc_status_message(status));
        wants_error = true;
        mlcc_status_free(status);
        status = NULL;
    } else {
        mlcc_str_free(&found);
        return status;
    }
    if (args_flag(values, "bless")) {
        mlcc_str whole = {0};
        mlcc_str_append(&whole, text, input_bytes);
        mlcc_str_puts(&whole, wants_error ? error_mark : expect_mark);
        mlcc_str_puts(&whole, mlcc_str_text(&found));
        status = mlcc_file_write_atomic(path, whole.data, whole.length);
        mlcc_str_free(&whole);
    } else if (*mark == '\0') {
        status =
            MLCC_ERROR(INVALID, "%s: no '# ---- expect' section; mlcc opt --bless writes it", path);
    } else {
        const char *expected = mark + strlen(wants_error ? error_mark : expect_mark);
        if (strcmp(expected, mlcc_str_text(&found)) != 0)
            status = difference(path, expected, mlcc_str_text(&found));
    }
    mlcc_str_free(&found);
    return status;
}

static mlcc_status *print_module(const ir_module *module, const char *path) {
    mlcc_str text = {0};
    mlcc_status *status = NULL;
    ir_print_module(module, &text);
    if (path != NULL) {
        status = mlcc_file_write_atomic(path, text.data, text.length);
    } else {
        fwrite(text.data, 1, text.length, stdout);
    }
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *run_opt(const args_values *values) {
    const char *path = args_operand(values, 0);
    const bool checks = args_flag(values, "check"), blesses = args_flag(values, "bless");
    if (checks && blesses) return args_usage("give --check or --bless, not both");
    char *text = NULL;
    size_t length = 0;
    MLCC_TRY(mlcc_file_read(path, 64u << 20, &text, &length));
    opt_run r = {
        .keep = mlcc_arena_create(),
        .scratch = mlcc_arena_create(),
        .passes = args_text(values, "passes"),
        .quantization = args_text(values, "quantization"),
        .target = args_text(values, "target"),
        .codes = args_flag(values, "codes"),
    };
    mlcc_status *status;
    if (checks || blesses) {
        status = check_or_bless(&r, values, text, path);
    } else {
        bool unused;
        ir_module *module;
        // A golden file's expectation is no input.
        const size_t input_bytes = (size_t)(find_expectation(text, &unused) - text);
        status = run_passes(
            &r, values, text, text[input_bytes] != '\0' ? input_bytes : length, path, &module);
        if (status == NULL) status = print_module(module, args_text(values, "output"));
    }
    mlcc_arena_free(r.scratch);
    mlcc_arena_free(r.keep);
    free(text);
    return status;
}

const args_command cmd_opt = {
    .name = "opt",
    .operands = "FILE.mlcir",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "run compiler passes on a textual module",
    .details = "examples\n  mlcc opt model.mlcir --passes=canonicalize,prune\n"
               "  mlcc opt --check tests/golden/passes/prune/dead_chain.mlcir",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_opt,
};
