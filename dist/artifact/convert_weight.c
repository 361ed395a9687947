#include "dist/artifact/convert_weight.h"

#include "dist/artifact/convert_plan.h"
#include "dist/artifact/convert_stream.h"
#include "dist/artifact/random_weights.h"
#include "frontend/import.h"
#include "passes/pipeline.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#include <string.h>

// The passes that decide names, joins and formats of the weights.
static const char *const weight_passes[] = {
    "canonicalize", "fuse_projections", "quantize", "prune"};

enum { MAX_NAMES_IN_WARNING = 5, INDEX_BYTES_PER_RECORD = 512 };

typedef struct conversion {
    const artifact_convert_options *options;
    mlcc_arena *keep;
    const quant_mode *mode;
    hf_model_config *config;
    hf_weight_source *source;
    ir_module *module;
    convert_plan plan;
    mlcc_pool *pool;
    artifact_store *store;
    convert_stream *stream;
    uint64_t done_bytes;
} conversion;

static bool is_auto(const char *text) {
    return text == NULL || text[0] == '\0' || strcmp(text, "auto") == 0;
}

static mlcc_status *source_path(conversion *c, const char **path) {
    *path = is_auto(c->options->source) ? c->config->directory : c->options->source;
    if (*path != NULL) return NULL;
    return MLCC_ERROR(
        INVALID,
        "the preset '%s' is a configuration without weights; name the folder that holds them with "
        "--source",
        c->options->config);
}

static mlcc_status *open_source(conversion *c) {
    const char *format = c->options->source_format;
    if (c->options->weights != NULL) {
        c->source = c->options->weights;
        return NULL;
    }
    if (c->options->random_weights)
        return artifact_random_weights_open(c->module, c->config->model_type, c->keep, &c->source);
    if (!is_auto(format) && strcmp(format, "huggingface-safetensor") != 0) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "source format '%s' is not supported, accepted are auto and huggingface-safetensor",
            format);
    }
    const char *path = NULL;
    MLCC_TRY(source_path(c, &path));
    return hf_safetensors_open(path, c->keep, &c->source);
}

static mlcc_status *make_plan(conversion *c) {
    const artifact_convert_options *options = c->options;
    MLCC_TRY(quant_mode_find(options->quantization, &c->mode));
    MLCC_TRY(hf_model_config_read(options->config, options->model_type, NULL, c->keep, &c->config));
    const import_options import = {.activation_dtype = IR_F32, .kv_dtype = IR_F16};
    MLCC_TRY(import_model(c->config, &import, c->keep, &c->module));
    MLCC_TRY(open_source(c));
    MLCC_TRY(convert_check_sources(c->config, c->module, c->source));
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {.scratch = scratch, .mode = c->mode};
    const pass_options passes = {
        .only = weight_passes,
        .n_only = sizeof weight_passes / sizeof weight_passes[0],
        .limit = -1};
    mlcc_status *status = pass_pipeline_run(c->module, &passes, &context);
    mlcc_arena_free(scratch);
    MLCC_TRY(status);
    return convert_plan_make(c->config, c->module, c->source, c->keep, &c->plan);
}

static void on_progress(void *user, uint64_t source_bytes) {
    conversion *c = user;
    c->done_bytes += source_bytes;
    if (c->options->progress != NULL)
        c->options->progress(
            c->options->progress_user, "convert", c->done_bytes, c->plan.source_bytes);
}

// Infinite and NaN numbers in the output make a model that answers nonsense: worth a word, once.
static void warn_special(
    mlcc_str *names, size_t n_params, const convert_param *param, uint64_t n_special) {
    if (n_params > MAX_NAMES_IN_WARNING) return;
    mlcc_str_printf(
        names, "%s'%s' (%llu)", n_params == 1 ? "" : ", ", param->param->value.name,
        (unsigned long long)n_special);
}

static mlcc_status *write_params(conversion *c) {
    mlcc_str special_names = {0};
    size_t n_special_params = 0;
    mlcc_status *status = NULL;
    for (size_t i = 0; i < c->plan.n_params && status == NULL; i++) {
        uint64_t n_special = 0;
        status = convert_stream_param(c->stream, &c->plan.params[i], &n_special);
        if (n_special > 0)
            warn_special(&special_names, ++n_special_params, &c->plan.params[i], n_special);
    }
    if (status == NULL && n_special_params > 0) {
        mlcc_log(
            MLCC_LOG_WARN, "convert_weight",
            "%zu weight%s hold infinite or NaN numbers after rounding to %s: %s%s",
            n_special_params, n_special_params == 1 ? "" : "s", ir_dtype_get(c->mode->model)->text,
            mlcc_str_text(&special_names), n_special_params > MAX_NAMES_IN_WARNING ? ", …" : "");
    }
    mlcc_str_free(&special_names);
    return status;
}

static uint64_t expected_bytes(const convert_plan *plan, bool f32_as_bf16) {
    uint64_t size_bytes = 0;
    for (size_t i = 0; i < plan->n_params; i++) {
        for (int32_t j = 0; j < plan->params[i].n_pieces; j++) {
            const quant_piece *piece = &plan->params[i].pieces[j];
            size_bytes += (piece->dtype == IR_F32 && f32_as_bf16 ? piece->size_bytes / 2
                                                                 : piece->size_bytes) +
                          INDEX_BYTES_PER_RECORD;
        }
    }
    return size_bytes;
}

static mlcc_status *convert(conversion *c, artifact_convert_result *result) {
    const artifact_convert_options *options = c->options;
    MLCC_TRY(make_plan(c));
    MLCC_TRY(mlcc_pool_create(options->n_threads, &c->pool));
    const artifact_store_options store = {
        .directory = options->output,
        .f32_as_bf16 = options->f32_as_bf16,
        .expected_bytes = expected_bytes(&c->plan, options->f32_as_bf16)};
    MLCC_TRY(artifact_store_open(&store, &c->store));
    c->stream = convert_stream_create(c->source, c->store, c->pool, on_progress, c);
    if (c->stream == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended before the first weight");
    MLCC_TRY(write_params(c));
    if (options->progress != NULL)
        options->progress(
            options->progress_user, "publish", c->plan.source_bytes, c->plan.source_bytes);
    artifact_store *done = c->store;
    c->store = NULL;
    MLCC_TRY(artifact_store_finish(done, c->plan.n_source_elements, &result->totals));
    result->source_bytes = c->plan.source_bytes;
    result->n_params = c->plan.n_params;
    return NULL;
}

mlcc_status *artifact_convert_weight(
    const artifact_convert_options *options, artifact_convert_result *result) {
    artifact_convert_result unused;
    if (result == NULL) result = &unused;
    *result = (artifact_convert_result){0};
    const double start_s = mlcc_clock_s();
    conversion c = {.options = options, .keep = mlcc_arena_create()};
    mlcc_status *status = convert(&c, result);
    convert_stream_free(c.stream);
    artifact_store_abandon(c.store);
    mlcc_pool_free(c.pool);
    if (c.source != NULL && c.source != options->weights) c.source->close(c.source);
    if (c.config != NULL) hf_model_config_free(c.config);
    mlcc_arena_free(c.keep);
    result->seconds = mlcc_clock_s() - start_s;
    return mlcc_status_note(
        status, "converting the weights of '%s' to %s", options->config, options->quantization);
}
