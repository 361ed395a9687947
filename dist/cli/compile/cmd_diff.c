// diff: the weights of two model directories, or of one and its source, compared.
#include "dist/artifact/diff.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/console.h"
#include "runtime/base/json.h"

#include <stdio.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "tolerance", .kind = ARGS_REAL, .value_name = "X", .help = "largest difference of an element that counts as equal", .fallback = "0", .min = 0, .max = 1e30},
    {.name = "top", .letter = 'n', .kind = ARGS_INT, .value_name = "N", .help = "params to show, the worst first; 0 = all", .fallback = "20", .min = 0, .max = 1e9},
    {.name = "source-format", .kind = ARGS_TEXT, .value_name = "NAME", .help = "of a Hugging Face folder, as for convert_weight", .fallback = "auto"},
    {.name = "threads", .letter = 't', .kind = ARGS_INT, .value_name = "N", .help = "threads; 0 = physical cores allowed", .fallback = "0", .min = 0, .max = 1024},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object with every param and its code histograms"},
};
// clang-format on

enum { BARS = 16 };

// How often each code occurs, in sixteen bars of height 0 to 9; codes of more bits share one.
static const char *bars_of(const uint64_t *counts, int32_t n_codes, char text[BARS + 1]) {
    if (counts == NULL) return "-";
    const int32_t n_bars = n_codes < BARS ? n_codes : BARS, per_bar = n_codes / n_bars;
    uint64_t bars[BARS] = {0}, most = 1;
    for (int32_t i = 0; i < n_codes; i++) bars[i / per_bar] += counts[i];
    for (int32_t i = 0; i < n_bars; i++) most = bars[i] > most ? bars[i] : most;
    for (int32_t i = 0; i < n_bars; i++) {
        // Rounded up: 0 means never.
        const double height = 9.0 * (double)bars[i] / (double)most;
        text[i] = (char)('0' + (int)height + (height > (int)height));
    }
    text[n_bars] = '\0';
    return text;
}

static void print_names(const char *title, const char *const *names, size_t n_names) {
    if (n_names == 0) return;
    printf("%s (%zu)\n", title, n_names);
    for (size_t i = 0; i < n_names; i++) printf("  %s\n", names[i]);
}

static void print_table(const artifact_diff_result *result, size_t n_shown) {
    size_t width = strlen("param"), width_a = strlen("A"), width_b = strlen("B");
    for (size_t i = 0; i < n_shown; i++) {
        const diff_row *row = &result->rows[i];
        if (strlen(row->name) > width) width = strlen(row->name);
        if (strlen(row->format_a) > width_a) width_a = strlen(row->format_a);
        if (strlen(row->format_b) > width_b) width_b = strlen(row->format_b);
    }
    printf(
        "%-*s  %-*s  %-*s  %11s  %11s  %11s  %10s  %-16s  %-16s\n", (int)width, "param",
        (int)width_a, "A", (int)width_b, "B", "max abs", "mean square", "relative", "cosine",
        "codes of A", "codes of B");
    for (size_t i = 0; i < n_shown; i++) {
        const diff_row *row = &result->rows[i];
        char bars_a[BARS + 1], bars_b[BARS + 1];
        printf(
            "%-*s  %-*s  %-*s  %11.4e  %11.4e  %11.4e  %10.7f  %-16s  %-16s", (int)width, row->name,
            (int)width_a, row->format_a, (int)width_b, row->format_b, row->max_abs,
            row->mean_square_error, row->relative_error, row->cosine,
            bars_of(row->codes_a, row->n_codes_a, bars_a),
            bars_of(row->codes_b, row->n_codes_b, bars_b));
        if (row->n_not_finite > 0)
            printf("  %llu not finite", (unsigned long long)row->n_not_finite);
        putchar('\n');
    }
    if (n_shown < result->n_rows) printf("… %zu more\n", result->n_rows - n_shown);
    print_names("only in A", result->only_a, result->n_only_a);
    print_names("only in B", result->only_b, result->n_only_b);
    print_names("of different shape", result->shapes, result->n_shapes);
    printf(
        "\n%zu params, %llu elements: max abs %.4e, mean square %.4e, relative %.4e, cosine %.7f\n",
        result->n_rows, (unsigned long long)result->n_elements, result->max_abs,
        result->mean_square_error, result->relative_error, result->cosine);
}

static void put_real(mlcc_json_writer *json, const char *key, double value) {
    mlcc_json_key(json, key);
    mlcc_json_put_f64(json, value);
}

static void put_int(mlcc_json_writer *json, const char *key, uint64_t value) {
    mlcc_json_key(json, key);
    mlcc_json_put_i64(json, (int64_t)value);
}

static void put_text(mlcc_json_writer *json, const char *key, const char *text) {
    mlcc_json_key(json, key);
    mlcc_json_put_text(json, text);
}

static void put_codes(
    mlcc_json_writer *json, const char *key, const uint64_t *counts, int32_t n_codes) {
    mlcc_json_key(json, key);
    if (counts == NULL) {
        mlcc_json_put_null(json);
        return;
    }
    mlcc_json_begin_array(json);
    for (int32_t i = 0; i < n_codes; i++) mlcc_json_put_i64(json, (int64_t)counts[i]);
    mlcc_json_end(json);
}

static void put_names(
    mlcc_json_writer *json, const char *key, const char *const *names, size_t n_names) {
    mlcc_json_key(json, key);
    mlcc_json_begin_array(json);
    for (size_t i = 0; i < n_names; i++) mlcc_json_put_text(json, names[i]);
    mlcc_json_end(json);
}

static void put_row(mlcc_json_writer *json, const diff_row *row) {
    mlcc_json_begin_object(json);
    put_text(json, "name", row->name);
    mlcc_json_key(json, "shape");
    mlcc_json_begin_array(json);
    mlcc_json_put_i64(json, row->n_rows);
    mlcc_json_put_i64(json, row->columns);
    mlcc_json_end(json);
    put_text(json, "format_a", row->format_a);
    put_text(json, "format_b", row->format_b);
    put_real(json, "max_abs", row->max_abs);
    put_real(json, "mean_square_error", row->mean_square_error);
    put_real(json, "relative_error", row->relative_error);
    put_real(json, "cosine", row->cosine);
    put_int(json, "not_finite", row->n_not_finite);
    put_codes(json, "codes_a", row->codes_a, row->n_codes_a);
    put_codes(json, "codes_b", row->codes_b, row->n_codes_b);
    mlcc_json_end(json);
}

static void print_json(const artifact_diff_result *result, size_t n_shown, double tolerance) {
    mlcc_str text = {0};
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, &text, 1, false);
    mlcc_json_begin_object(&json);
    mlcc_json_key(&json, "equal");
    mlcc_json_put_bool(&json, artifact_diff_is_within(result, tolerance));
    put_real(&json, "tolerance", tolerance);
    put_int(&json, "n_params", result->n_rows);
    put_int(&json, "n_elements", result->n_elements);
    put_real(&json, "max_abs", result->max_abs);
    put_real(&json, "mean_square_error", result->mean_square_error);
    put_real(&json, "relative_error", result->relative_error);
    put_real(&json, "cosine", result->cosine);
    put_int(&json, "not_finite", result->n_not_finite);
    put_names(&json, "only_a", result->only_a, result->n_only_a);
    put_names(&json, "only_b", result->only_b, result->n_only_b);
    put_names(&json, "of_different_shape", result->shapes, result->n_shapes);
    mlcc_json_key(&json, "tensors");
    mlcc_json_begin_array(&json);
    for (size_t i = 0; i < n_shown; i++) put_row(&json, &result->rows[i]);
    mlcc_json_end(&json);
    put_real(&json, "seconds", result->seconds);
    mlcc_json_end(&json);
    puts(mlcc_str_text(&text));
    mlcc_str_free(&text);
}

// Why the exit code is 1.
static mlcc_status *difference(
    const artifact_diff_options *o, const artifact_diff_result *result, double tolerance) {
    if (artifact_diff_is_within(result, tolerance)) return NULL;
    size_t n_beyond = 0;
    for (size_t i = 0; i < result->n_rows; i++)
        n_beyond += result->rows[i].max_abs > tolerance || result->rows[i].n_not_finite > 0;
    return MLCC_ERROR(
        MISMATCH,
        "'%s' and '%s' are not equal: %zu of %zu params differ by more than %g (the largest "
        "difference is %g), %zu are on one side only, %zu have different shapes",
        o->a, o->b, n_beyond, result->n_rows, tolerance, result->max_abs,
        result->n_only_a + result->n_only_b, result->n_shapes);
}

static mlcc_status *run_diff(const args_values *values) {
    console_progress progress = {0};
    const artifact_diff_options o = {
        .a = args_operand(values, 0),
        .b = args_operand(values, 1),
        .source_format = args_text(values, "source-format"),
        .n_threads = (int32_t)args_int(values, "threads"),
        .progress = console_progress_report,
        .progress_user = &progress,
    };
    const double tolerance = args_real(values, "tolerance");
    mlcc_arena *keep = mlcc_arena_create();
    artifact_diff_result result;
    mlcc_status *status = artifact_diff(&o, keep, &result);
    console_progress_end(&progress);
    if (status == NULL) {
        const size_t top = (size_t)args_int(values, "top");
        if (args_flag(values, "json")) {
            const bool is_cut = args_given(values, "top") && top > 0 && top < result.n_rows;
            print_json(&result, is_cut ? top : result.n_rows, tolerance);
        } else {
            print_table(&result, top > 0 && top < result.n_rows ? top : result.n_rows);
        }
        status = difference(&o, &result, tolerance);
    }
    mlcc_arena_free(keep);
    return status;
}

const args_command cmd_diff = {
    .name = "diff",
    .operands = "A B",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "compare the weights of two models, param by param",
    .details =
        "A and B are model directories of any quantization mode, or Hugging Face folders, float or "
        "quantized (AWQ, GPTQ, …). Params\n"
        "are matched by MLC's names after fusion; values are compared dequantized, as float32. A "
        "model directory without\n"
        "mlc-chat-config.json takes the config of the other side.\n\n"
        "For each param, the worst first: the largest difference, the mean of the squared "
        "differences, their root over that of B's\n"
        "squares (relative), the cosine, and for quantized sides how often each code occurs: one "
        "digit per code (256 codes: 16 in a\n"
        "digit), 9 for the most frequent, 0 for never; stored padding counts too. Params of one "
        "side only are listed; activation scales\n"
        "among them do not count as a difference.\n\n"
        "Exit code: 0 when no element differs by more than --tolerance, 1 otherwise, 2 for wrong "
        "usage.\n\n"
        "examples\n"
        "  mlcc diff ./TinyLlama-q4f16_1-MLC ./TinyLlama             what quantizing cost\n"
        "  mlcc diff ./A-q4f16_1-MLC ./A-q4f16_0-MLC --top 0         two modes of one model\n"
        "  mlcc diff ./Qwen2-AWQ-MLC ./Qwen2-AWQ --tolerance 0       that nothing was lost\n"
        "  mlcc diff ./mine ./theirs --json | jq '.tensors[0]'",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_diff,
};
