#include "dist/artifact/convert_weight.h"

#include "dist/artifact/convert_model.h"
#include "dist/artifact/convert_stream.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#include <string.h>

enum { MAX_NAMES_IN_WARNING = 5, INDEX_BYTES_PER_RECORD = 512 };

typedef struct conversion {
    const artifact_convert_options *options;
    artifact_convert_result *result;
    mlcc_arena *keep;
    convert_model model;
    mlcc_pool *pool;
    artifact_store *store;
    convert_stream *stream;
    uint64_t done_bytes, param_bytes; // of the source: before the param at work, and its own
    mlcc_str special_names;
    size_t n_special_params;
} conversion;

static void report(const conversion *c, const char *phase, uint64_t done, uint64_t total) {
    if (c->options->progress != NULL)
        c->options->progress(c->options->progress_user, phase, done, total);
}

static void on_progress(void *user, double done) {
    const conversion *c = user;
    const uint64_t of_param =
        done >= 1.0 ? c->param_bytes : (uint64_t)(done * (double)c->param_bytes);
    report(c, "convert", c->done_bytes + of_param, c->model.plan.source_bytes);
}

static void on_check(void *user, uint64_t done_bytes, uint64_t total_bytes) {
    report(user, "check", done_bytes, total_bytes);
}

// Infinite and NaN numbers in the output make a model that answers nonsense: worth a word, once.
static void note_special(conversion *c, const convert_param *param, uint64_t n_special) {
    if (n_special == 0 || c->n_special_params++ >= MAX_NAMES_IN_WARNING) return;
    mlcc_str_printf(
        &c->special_names, "%s'%s' (%llu)", c->n_special_params == 1 ? "" : ", ",
        param->param->value.name, (unsigned long long)n_special);
}

static void warn_special(const conversion *c) {
    if (c->n_special_params == 0) return;
    mlcc_log(
        MLCC_LOG_WARN, "convert_weight",
        "%zu weight%s hold infinite or NaN numbers after rounding to %s: %s%s", c->n_special_params,
        c->n_special_params == 1 ? "" : "s", ir_dtype_get(c->model.mode->model)->text,
        mlcc_str_text(&c->special_names), c->n_special_params > MAX_NAMES_IN_WARNING ? ", …" : "");
}

// A param whose pieces all lie in shards that an earlier run finished takes only its place.
static mlcc_status *skip_finished(conversion *c, const convert_param *param, bool *is_skipped) {
    *is_skipped = false;
    if (!c->options->resume) return NULL;
    MLCC_TRY(convert_stream_flush(c->stream));
    artifact_record records[QUANT_MAX_PIECES];
    mlcc_arena *scratch = mlcc_arena_create();
    for (int32_t i = 0; i < param->n_pieces; i++) {
        const quant_piece *piece = &param->pieces[i];
        records[i] =
            (artifact_record){.name = quant_piece_name(scratch, param->param->value.name, piece),
                              .dtype = piece->dtype,
                              .rank = piece->rank};
        memcpy(records[i].dims, piece->dims, sizeof records[i].dims);
    }
    mlcc_status *status = NULL;
    *is_skipped = artifact_store_is_finished(c->store, records, (size_t)param->n_pieces);
    for (int32_t i = 0; *is_skipped && i < param->n_pieces && status == NULL; i++)
        status = artifact_store_skip(c->store, &records[i]);
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *write_param(conversion *c, const convert_param *param) {
    bool is_skipped = false;
    MLCC_TRY(skip_finished(c, param, &is_skipped));
    c->param_bytes = param->source_bytes;
    if (!is_skipped) {
        convert_outcome outcome;
        MLCC_TRY(convert_stream_param(c->stream, param, &outcome));
        convert_report_add(&c->result->report, param, &outcome);
        note_special(c, param, outcome.n_special);
    }
    c->done_bytes += param->source_bytes;
    return NULL;
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

static mlcc_status *open_store(conversion *c) {
    const artifact_convert_options *options = c->options;
    mlcc_str inputs = {0};
    convert_model_inputs(&c->model, options->f32_as_bf16, &inputs);
    const artifact_store_options store = {
        .directory = options->output,
        .f32_as_bf16 = options->f32_as_bf16,
        .expected_bytes = expected_bytes(&c->model.plan, options->f32_as_bf16),
        .inputs = mlcc_str_text(&inputs),
        .resume = options->resume,
        .check_progress = on_check,
        .check_user = c};
    mlcc_status *status = artifact_store_open(&store, &c->store);
    mlcc_str_free(&inputs);
    return status;
}

static mlcc_status *write_store(conversion *c) {
    const convert_plan *plan = &c->model.plan;
    for (size_t i = 0; i < plan->n_params; i++) MLCC_TRY(write_param(c, &plan->params[i]));
    MLCC_TRY(convert_stream_flush(c->stream));
    report(c, "publish", plan->source_bytes, plan->source_bytes);
    artifact_store *done = c->store;
    c->store = NULL;
    return artifact_store_finish(done, plan->n_source_elements, &c->result->totals);
}

static mlcc_status *convert(conversion *c) {
    const artifact_convert_options *options = c->options;
    const convert_model_options model = {
        .config = options->config,
        .quantization = options->quantization,
        .model_type = options->model_type,
        .source = options->source,
        .source_format = options->source_format,
        .weights = options->weights,
        .random_weights = options->random_weights};
    MLCC_TRY(convert_model_open(&model, c->keep, &c->model));
    MLCC_TRY(mlcc_pool_create(options->n_threads, &c->pool));
    MLCC_TRY(open_store(c));
    c->stream = convert_stream_create(c->model.source, c->store, c->pool, on_progress, c);
    if (c->stream == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended before the first weight");
    MLCC_TRY(write_store(c));
    warn_special(c);
    convert_report_log(&c->result->report);
    c->result->source_bytes = c->model.plan.source_bytes;
    c->result->n_params = c->model.plan.n_params;
    return NULL;
}

mlcc_status *artifact_convert_weight(
    const artifact_convert_options *options, artifact_convert_result *result) {
    artifact_convert_result unused;
    if (result == NULL) result = &unused;
    *result = (artifact_convert_result){0};
    const double start_s = mlcc_clock_s();
    conversion c = {.options = options, .result = result, .keep = mlcc_arena_create()};
    mlcc_status *status = convert(&c);
    convert_stream_free(c.stream);
    artifact_store_abandon(c.store);
    mlcc_pool_free(c.pool);
    convert_model_close(&c.model);
    mlcc_str_free(&c.special_names);
    mlcc_arena_free(c.keep);
    result->seconds = mlcc_clock_s() - start_s;
    return mlcc_status_note(
        status, "converting the weights of '%s' to %s", options->config, options->quantization);
}
