// calibrate: activation scales of a model directory, measured on sample texts.
#include "dist/artifact/calibrate.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/console.h"
#include "dist/cli/run/open_model.h"
#include "runtime/base/json.h"

#include <stdio.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "dataset", .kind = ARGS_TEXT, .value_name = "FILE", .help = "ShareGPT JSON, JSON lines or plain text (required)"},
    {.name = "num-calibration-samples", .kind = ARGS_INT, .value_name = "N", .help = "texts to draw", .fallback = "16", .min = 1, .max = 1e9},
    {.name = "conv-template", .kind = ARGS_TEXT, .value_name = "NAME", .help = "how a prompt looks: auto = as chat makes it (the model's own Jinja template, else what gen_config chose);\nor a name: chatml, LM, …; inspect --templates lists them", .fallback = "auto"},
    {.name = "seed", .kind = ARGS_INT, .value_name = "N", .help = "of the draw", .fallback = "0", .min = 0, .max = 9e15},
    {.name = "max-tokens", .kind = ARGS_INT, .value_name = "N", .help = "longest text with its answer; never more than the context window", .fallback = "2048", .min = 8, .max = 1 << 30},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "DIR", .help = "directory whose weights the scales are for; without it MODEL itself"},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object with every scale"},
    {.name = "running", .kind = ARGS_HEADING},
    {.name = "model-lib", .kind = ARGS_TEXT, .value_name = "FILE", .help = "library that records maxima; without it MODEL/lib.so if it does, else one is compiled and dropped"},
    {.name = "opt", .kind = ARGS_TEXT, .value_name = "O0|O1|O2|O3|K=V;…", .help = "of a library that is compiled", .fallback = "O2"},
    {.name = "overrides", .kind = ARGS_TEXT, .value_name = "K=V;K=V", .help = "compile a library with these: context_window_size, prefill_chunk_size, …"},
    {.name = "device", .kind = ARGS_TEXT, .value_name = "NAME", .help = "cpu, cuda, cuda:N, or auto: what the library is compiled for", .fallback = "auto"},
    {.name = "threads", .letter = 't', .kind = ARGS_INT, .value_name = "N", .help = "threads; 0 = physical cores allowed", .fallback = "0", .min = 0, .max = 1024},
    {.name = "verify", .kind = ARGS_FLAG, .help = "check the md5 of every weight shard first"},
};
// clang-format on

// Bytes while the model is opened, tokens while it runs.
static void report_progress(void *user, const char *phase, uint64_t done, uint64_t total) {
    console_progress *progress = user;
    progress->unit = strcmp(phase, "calibrating") == 0 ? "tokens" : NULL;
    console_progress_report(progress, phase, done, total);
}

static void put_count(mlcc_json_writer *json, const char *key, int64_t value) {
    mlcc_json_key(json, key);
    mlcc_json_put_i64(json, value);
}

static void put_real(mlcc_json_writer *json, const char *key, double value) {
    mlcc_json_key(json, key);
    mlcc_json_put_f64(json, value);
}

static void print_json(const artifact_calibrate_result *result, const char *output) {
    mlcc_str text = {0};
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, &text, 1, false);
    mlcc_json_begin_object(&json);
    mlcc_json_key(&json, "output");
    mlcc_json_put_text(&json, output);
    mlcc_json_key(&json, "shard");
    if (result->shard != NULL) {
        mlcc_json_put_text(&json, result->shard);
    } else {
        mlcc_json_put_null(&json);
    }
    put_count(&json, "entries", (int64_t)result->n_entries);
    put_count(&json, "samples", (int64_t)result->n_samples);
    put_count(&json, "tokens", result->n_tokens);
    put_count(&json, "replaced", (int64_t)result->n_replaced);
    put_count(&json, "added", (int64_t)result->n_added);
    put_real(&json, "run_s", result->run_s);
    put_real(&json, "seconds", result->seconds);
    put_real(&json, "min_scale", (double)result->min_scale);
    put_real(&json, "median_scale", (double)result->median_scale);
    put_real(&json, "max_scale", (double)result->max_scale);
    mlcc_json_key(&json, "scales");
    mlcc_json_begin_array(&json);
    for (size_t i = 0; i < result->n_rows; i++) {
        mlcc_json_begin_object(&json);
        mlcc_json_key(&json, "name");
        mlcc_json_put_text(&json, result->rows[i].name);
        put_real(&json, "maximum", (double)result->rows[i].maximum);
        put_real(&json, "scale", (double)result->rows[i].scale);
        mlcc_json_end(&json);
    }
    mlcc_json_end(&json);
    mlcc_json_end(&json);
    printf("%s\n", mlcc_str_text(&text));
    mlcc_str_free(&text);
}

static void print_summary(const artifact_calibrate_result *result, const char *output) {
    const double run_s = result->run_s > 0.0 ? result->run_s : 1e-9;
    fprintf(
        stderr, "%zu of %zu entries, %lld tokens in %.1f s (%.0f tokens/s)\n", result->n_samples,
        result->n_entries, (long long)result->n_tokens, result->run_s,
        (double)result->n_tokens / run_s);
    fprintf(
        stderr, "%zu scales: min %.4g, median %.4g, max %.4g\n", result->n_rows,
        (double)result->min_scale, (double)result->median_scale, (double)result->max_scale);
    if (result->is_unchanged) {
        fprintf(stderr, "%s holds exactly these already\n", output);
    } else {
        fprintf(
            stderr,
            "wrote %s/%s: %zu scales new, %zu replaced; next: mlcc compile %s --quantization "
            "e4m3_e4m3_f16\n",
            output, result->shard, result->n_added, result->n_replaced, output);
    }
}

static mlcc_status *run_calibrate(const args_values *values) {
    const char *model = args_operand(values, 0), *output = args_text(values, "output");
    if (!args_given(values, "dataset")) return args_usage("--dataset FILE is missing");
    if (args_given(values, "overrides") && args_given(values, "model-lib"))
        return args_usage("--overrides are for a library that is compiled; leave out --model-lib");
    MLCC_TRY(open_model_check_device(args_text(values, "device")));
    console_progress progress = {0};
    const artifact_calibrate_options o = {
        .directory = model,
        .dataset = args_text(values, "dataset"),
        .conv_template = args_text(values, "conv-template"),
        .n_samples = args_int(values, "num-calibration-samples"),
        .seed = (uint64_t)args_int(values, "seed"),
        .max_tokens = args_int(values, "max-tokens"),
        .output = output,
        .library = args_text(values, "model-lib"),
        .opt = args_text(values, "opt"),
        .overrides = args_text(values, "overrides"),
        .n_threads = (int32_t)args_int(values, "threads"),
        .verify = args_flag(values, "verify"),
        .device = args_text(values, "device"),
        .progress = report_progress,
        .progress_user = &progress,
    };
    mlcc_arena *keep = mlcc_arena_create();
    artifact_calibrate_result result;
    mlcc_status *status = artifact_calibrate(&o, keep, &result);
    console_progress_end(&progress);
    if (status == NULL) {
        print_summary(&result, output != NULL ? output : model);
        if (args_flag(values, "json")) print_json(&result, output != NULL ? output : model);
    }
    mlcc_arena_free(keep);
    return status;
}

const args_command cmd_calibrate = {
    .name = "calibrate",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "measure the activation scales of a model that computes in fp8",
    .details =
        "MODEL is a model directory made with e4m3_e4m3_f16_max_calibrate (or e4m3_e4m3_f16). "
        "Texts are drawn from FILE and run;\n"
        "of conversations the first two turns, the second as the answer. Each layer's largest "
        "input becomes a scale in the\n"
        "weights' store, which changes in one instant at the end. The same seed gives the same "
        "bytes.\n\n"
        "example\n  mlcc calibrate ./model --dataset ShareGPT.json --num-calibration-samples 32\n"
        "  mlcc compile ./model --quantization e4m3_e4m3_f16",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_calibrate,
};
