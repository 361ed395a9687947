#include "dist/artifact/calibrate.h"

#include "dist/artifact/calibration_data.h"
#include "dist/artifact/compile.h"
#include "dist/artifact/tensor_cache_update.h"
#include "quantization/formats/fp8.h"
#include "quantization/mode.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/model/forward.h"
#include "runtime/model/library.h"
#include "runtime/model/tensor_cache.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char observing_mode[] = "e4m3_e4m3_f16_max_calibrate";

// Sequences of one step: enough to fill a pass with short samples.
enum { MAX_SEQUENCES = 32 };

typedef struct calibration {
    const artifact_calibrate_options *options;
    artifact_calibrate_result *result;
    mlcc_arena *keep;
    const char *output;
    const char *library; // NULL until one is found or made
    const char *folder;  // temporary folder of the library; NULL = none
    mlcc_tokenizer *tokenizer;
    mlcc_model *model;
    int64_t context_window, prefill_chunk; // context_window -1: no limit
    mlcc_engine *engine;
    calibration_data data;
} calibration;

// ---- what is calibrated ------------------------------------------------------------------------

static mlcc_status *read_config(calibration *c) {
    const char *directory = c->options->directory;
    const char *path = mlcc_path_join(c->keep, directory, "mlc-chat-config.json");
    if (!mlcc_dir_exists(directory) || !mlcc_file_exists(path)) {
        return MLCC_ERROR(
            INVALID,
            "'%s' is no model directory (it has no mlc-chat-config.json); expected one made "
            "by gen_config and convert_weight with --quantization %s",
            directory, observing_mode);
    }
    mlcc_json *config = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 0, &config));
    const char *name = NULL;
    const quant_mode *mode = NULL;
    mlcc_status *status = mlcc_json_get_text(mlcc_json_root(config), "quantization", true, &name);
    if (status == NULL) status = quant_mode_find(name, &mode);
    if (status == NULL) {
        status = mlcc_json_get_i64(
            mlcc_json_root(config), "context_window_size", false, -1, INT32_MAX,
            &c->context_window);
    }
    if (status != NULL) status = mlcc_status_note(status, "reading '%s'", path);
    if (status == NULL && mode->activation != QUANT_ACTIVATION_E4M3_OBSERVED &&
        mode->activation != QUANT_ACTIVATION_E4M3_CALIBRATED) {
        status = MLCC_ERROR(
            INVALID,
            "'%s' is quantized as %s, which has no activation scales to calibrate; convert the "
            "weights with --quantization %s",
            directory, mode->name, observing_mode);
    }
    mlcc_json_free(config);
    return status;
}

// Found before the model runs, not after.
static mlcc_status *check_output(const calibration *c) {
    if (!mlcc_dir_exists(c->output)) {
        return MLCC_ERROR(
            INVALID,
            "output directory '%s' does not exist; the scales go into the weight store that they "
            "belong to: give the model directory itself, or leave --output out",
            c->output);
    }
    mlcc_tensor_cache *store = NULL;
    mlcc_status *status = mlcc_tensor_cache_open(c->output, &store);
    mlcc_tensor_cache_close(store);
    if (status != NULL) {
        return mlcc_status_note(
            status, "looking for the weight store in '%s' that the scales are to go into",
            c->output);
    }
    if (access(c->output, W_OK) == 0) return NULL;
    return MLCC_ERROR(IO, "cannot write into directory '%s': %s", c->output, strerror(errno));
}

// ---- the library -------------------------------------------------------------------------------

static mlcc_status *count_observations(const char *path, size_t *n_observations) {
    *n_observations = 0;
    mlcc_library library;
    MLCC_TRY(mlcc_library_open(path, &library));
    for (uint32_t i = 0; i < library.abi->n_functions; i++) {
        const mlcc_abi_function *function = &library.abi->functions[i];
        for (uint32_t j = 0; j < function->n_args; j++)
            *n_observations += mlcc_text_ends_with(function->args[j].name, MLCC_OBSERVATION_SUFFIX);
    }
    mlcc_library_close(&library);
    return NULL;
}

static mlcc_status *find_library(calibration *c) {
    size_t n_observations = 0;
    if (c->options->library != NULL) {
        MLCC_TRY(count_observations(c->options->library, &n_observations));
        c->library = c->options->library;
        if (n_observations > 0) return NULL;
        return MLCC_ERROR(
            MISMATCH,
            "the model library %s records no maxima; compile one with --quantization %s, or leave "
            "--model-lib out and let calibrate do it",
            c->options->library, observing_mode);
    }
    const char *path = mlcc_path_join(c->keep, c->options->directory, "lib.so");
    if (!mlcc_file_exists(path) || c->options->overrides != NULL) return NULL;
    // One for another machine is as good as none here.
    mlcc_status_free(count_observations(path, &n_observations));
    if (n_observations > 0) c->library = path;
    return NULL;
}

static void remove_folder(calibration *c) {
    if (c->folder == NULL) return;
    mlcc_status_free(mlcc_dir_remove_tree(c->folder));
    mlcc_temporary_dir_register(NULL);
    c->folder = NULL;
}

static mlcc_status *make_library(calibration *c) {
    char *folder;
    MLCC_TRY(mlcc_temporary_dir_make(c->keep, "calibrate", &folder));
    c->folder = folder;
    const char *device = c->options->device;
    const bool on_cuda = device != NULL && mlcc_text_starts_with(device, "cuda");
    const artifact_compile_options compile = {
        .model = c->options->directory,
        .device = on_cuda ? "cuda:native" : "cpu",
        .quantization = observing_mode,
        .opt = c->options->opt,
        .overrides = c->options->overrides,
        .output = mlcc_path_join(c->keep, folder, "lib.so"),
    };
    MLCC_TRY_NOTE(
        artifact_compile(&compile, NULL), "making a library that records activation maxima");
    c->library = compile.output;
    c->result->has_compiled = true;
    return NULL;
}

static mlcc_status *open_model(calibration *c) {
    const artifact_calibrate_options *options = c->options;
    const mlcc_model_options model = {
        .directory = options->directory,
        .library = c->library,
        .n_threads = options->n_threads,
        .verify = options->verify,
        // The store is about to change: what would be kept now is never read again.
        .no_cache = true,
        .progress = options->progress,
        .progress_user = options->progress_user,
        .device = options->device,
    };
    MLCC_TRY(mlcc_model_open(&model, &c->model));
    mlcc_model_info info;
    mlcc_model_get_info(c->model, &info);
    c->prefill_chunk = info.prefill_chunk;
    return NULL;
}

// ---- running -----------------------------------------------------------------------------------

static mlcc_status *read_data(calibration *c) {
    int64_t max_tokens = c->options->max_tokens;
    if (max_tokens == 0) max_tokens = ARTIFACT_CALIBRATE_MAX_TOKENS;
    if (c->context_window > 0 && max_tokens > c->context_window) max_tokens = c->context_window;
    const calibration_options data = {
        .path = c->options->dataset,
        .directory = c->options->directory,
        .conv_template = c->options->conv_template,
        .tokenizer = c->tokenizer,
        .n_samples = c->options->n_samples,
        .seed = c->options->seed,
        .max_tokens = max_tokens,
    };
    return calibration_data_read(&data, c->keep, &c->data);
}

static mlcc_status *create_engine(calibration *c) {
    int64_t longest = 0;
    for (size_t i = 0; i < c->data.n_samples; i++) {
        if (c->data.samples[i].n_ids > longest) longest = c->data.samples[i].n_ids;
    }
    const mlcc_engine_options options = {
        .max_sequences = MAX_SEQUENCES, .max_tokens = c->prefill_chunk + longest};
    return mlcc_engine_create(c->model, &options, &c->engine);
}

// The weight that a scale is for must lie in the output store as the library was given it: anything
// else belongs to another model.
static mlcc_status *check_modules(calibration *c) {
    size_t n = 0;
    const char *const *names = NULL;
    mlcc_engine_observations(c->engine, &n, &names, NULL);
    mlcc_tensor_cache *mine = NULL, *target = NULL;
    mlcc_status *status = mlcc_tensor_cache_open(c->options->directory, &mine);
    if (status == NULL) status = mlcc_tensor_cache_open(c->output, &target);
    for (size_t i = 0; i < n && status == NULL; i++) {
        const int length = (int)(strlen(names[i]) - strlen(MLCC_OBSERVATION_SUFFIX));
        const char *weight = mlcc_arena_printf(c->keep, "%.*s.q_weight", length, names[i]);
        const mlcc_tensor_record *a = mlcc_tensor_cache_find(mine, weight);
        const mlcc_tensor_record *b = mlcc_tensor_cache_find(target, weight);
        if (a != NULL && b != NULL && a->abi_dtype == b->abi_dtype && a->rank == b->rank &&
            memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0)
            continue;
        status = MLCC_ERROR(
            MISMATCH,
            "%s does not hold '%s' as %s does: the output directory belongs to another model or "
            "quantization",
            target->path, weight, mine->path);
    }
    mlcc_tensor_cache_close(mine);
    mlcc_tensor_cache_close(target);
    return status;
}

// Samples from `first` on that together fill a pass; returns how many.
static size_t fill_step(const calibration *c, size_t first) {
    size_t n = 0;
    for (int64_t n_tokens = 0;
         first + n < c->data.n_samples && n < MAX_SEQUENCES && n_tokens < c->prefill_chunk; n++) {
        n_tokens += c->data.samples[first + n].n_ids;
    }
    return n;
}

static mlcc_status *run_step(calibration *c, size_t first, size_t n) {
    mlcc_batch_item items[MAX_SEQUENCES];
    for (size_t i = 0; i < n; i++) {
        const calibration_sample *sample = &c->data.samples[first + i];
        items[i] = (mlcc_batch_item){
            .tokens = sample->ids, .n_tokens = sample->n_ids, .logits = MLCC_LOGITS_NONE};
        MLCC_TRY(mlcc_engine_add_sequence(c->engine, &items[i].sequence));
    }
    MLCC_TRY(mlcc_engine_step(c->engine, items, (int32_t)n, NULL, NULL));
    for (size_t i = 0; i < n; i++) mlcc_engine_remove_sequence(c->engine, items[i].sequence);
    return NULL;
}

static mlcc_status *run_samples(calibration *c) {
    const artifact_calibrate_options *options = c->options;
    const double start_s = mlcc_clock_s();
    uint64_t done = 0;
    for (size_t first = 0; first < c->data.n_samples;) {
        if (options->progress != NULL)
            options->progress(
                options->progress_user, "calibrating", done, (uint64_t)c->data.n_tokens);
        const size_t n = fill_step(c, first);
        MLCC_TRY_NOTE(
            run_step(c, first, n), "running entry %zu of '%s' (and %zu with it)",
            c->data.samples[first].entry, options->dataset, n - 1);
        for (size_t i = 0; i < n; i++) done += (uint64_t)c->data.samples[first + i].n_ids;
        first += n;
    }
    if (options->progress != NULL)
        options->progress(options->progress_user, "calibrating", done, done);
    c->result->run_s = mlcc_clock_s() - start_s;
    return NULL;
}

// ---- scales ------------------------------------------------------------------------------------

// Activations of MLC's models are float16, and so is the arithmetic of its scales.
static const float largest_f16 = 65504.0f;

static mlcc_status *make_scales(calibration *c) {
    size_t n = 0, n_cut = 0;
    const char *const *names = NULL;
    const float *maxima = NULL;
    mlcc_engine_observations(c->engine, &n, &names, &maxima);
    artifact_calibrated *rows = MLCC_NEW_ARRAY(c->keep, artifact_calibrated, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(maxima[i])) {
            return MLCC_ERROR(
                INVALID,
                "the input of '%.*s' became infinite: the weights are damaged or float32 cannot "
                "hold "
                "this model's activations",
                (int)(strlen(names[i]) - strlen(MLCC_OBSERVATION_SUFFIX)), names[i]);
        }
        n_cut += maxima[i] > largest_f16;
        rows[i] = (artifact_calibrated){
            .name = mlcc_arena_strdup(c->keep, names[i]),
            .maximum = maxima[i],
            .scale = quant_fp8_scale(fminf(maxima[i], largest_f16), IR_F8E4M3),
        };
    }
    if (n_cut > 0) {
        mlcc_log(
            MLCC_LOG_WARN, "calibrate",
            "%zu modules have inputs above 65504, the largest float16; their scales stop there and "
            "larger inputs are cut",
            n_cut);
    }
    c->result->rows = rows;
    c->result->n_rows = n;
    return NULL;
}

static int by_scale(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void summarize(calibration *c) {
    artifact_calibrate_result *result = c->result;
    const size_t n = result->n_rows;
    float *scales = MLCC_NEW_ARRAY(c->keep, float, n + 1);
    for (size_t i = 0; i < n; i++) scales[i] = result->rows[i].scale;
    qsort(scales, n, sizeof *scales, by_scale);
    result->min_scale = scales[0];
    result->median_scale = n % 2 == 1 ? scales[n / 2] : (scales[n / 2 - 1] + scales[n / 2]) / 2;
    result->max_scale = scales[n - 1];
    result->n_samples = c->data.n_samples;
    result->n_entries = c->data.n_entries;
    result->n_tokens = c->data.n_tokens;
}

static mlcc_status *store_scales(calibration *c) {
    artifact_calibrate_result *result = c->result;
    artifact_vector *vectors = MLCC_NEW_ARRAY(c->keep, artifact_vector, result->n_rows + 1);
    for (size_t i = 0; i < result->n_rows; i++)
        vectors[i] = (artifact_vector){result->rows[i].name, &result->rows[i].scale, 1};
    artifact_update_result update;
    MLCC_TRY(artifact_store_update(c->output, vectors, result->n_rows, c->keep, &update));
    result->n_replaced = update.n_replaced;
    result->n_added = update.n_added;
    result->is_unchanged = update.is_unchanged;
    result->shard = update.shard;
    return NULL;
}

// ---- all of it ---------------------------------------------------------------------------------

static mlcc_status *calibrate(calibration *c) {
    const artifact_calibrate_options *options = c->options;
    if (options->n_samples < 1 || options->max_tokens < 0) {
        return MLCC_ERROR(
            INVALID, "%lld samples of at most %lld tokens make no sense; accepted are 1 … and 0 …",
            (long long)options->n_samples, (long long)options->max_tokens);
    }
    MLCC_TRY(read_config(c));
    MLCC_TRY(check_output(c));
    MLCC_TRY(mlcc_tokenizer_open(options->directory, &c->tokenizer));
    MLCC_TRY(read_data(c)); // before the work, so that a bad file is found at once
    MLCC_TRY(find_library(c));
    if (c->library == NULL) MLCC_TRY(make_library(c));
    MLCC_TRY(open_model(c));
    remove_folder(c); // the library is loaded, its file has served
    MLCC_TRY(create_engine(c));
    MLCC_TRY(check_modules(c));
    MLCC_TRY(run_samples(c));
    MLCC_TRY(make_scales(c));
    summarize(c);
    return store_scales(c);
}

mlcc_status *artifact_calibrate(
    const artifact_calibrate_options *options, mlcc_arena *keep,
    artifact_calibrate_result *result) {
    *result = (artifact_calibrate_result){0};
    const double start_s = mlcc_clock_s();
    calibration c = {
        .options = options,
        .result = result,
        .keep = keep,
        .output = options->output != NULL ? options->output : options->directory,
        .context_window = -1,
    };
    mlcc_status *status = calibrate(&c);
    mlcc_engine_free(c.engine);
    mlcc_model_close(c.model);
    mlcc_tokenizer_close(c.tokenizer);
    remove_folder(&c);
    result->seconds = mlcc_clock_s() - start_s;
    return mlcc_status_note(status, "calibrating '%s'", options->directory);
}
