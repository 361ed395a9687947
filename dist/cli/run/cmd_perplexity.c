// perplexity: mean negative log-likelihood of a text under a compiled model.
//
// With --lines N each of the first N lines stands alone after BOS, cut at the context window. Without it the whole text is scored in pieces of
// one context window, each after BOS. Every token but the special ones in front is predicted once.
#include "dist/cli/run/commands.h"
#include "dist/cli/run/open_model.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// clang-format off
static const args_option options[] = {
    {.name = "text", .kind = ARGS_TEXT, .value_name = "FILE", .help = "UTF-8 text to score (required)"},
    {.name = "lines", .kind = ARGS_INT, .value_name = "N", .help = "score each of the first N lines on its own; 0 = the whole text in pieces of one context window", .fallback = "0", .min = 0, .max = 1e9},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object: mean_nll, perplexity, tokens"},
    OPEN_MODEL_OPTIONS,
};
// clang-format on

typedef struct scoring {
    mlcc_model *model;
    mlcc_engine *engine;
    mlcc_tokenizer *tokenizer;
    int64_t vocab, context, chunk;
    double sum_nll;
    int64_t n_scored;
} scoring;

static double nll_of(const float *logits, int64_t vocab, int32_t token) {
    double largest = -HUGE_VAL, sum = 0.0;
    for (int64_t i = 0; i < vocab; i++) {
        if ((double)logits[i] > largest) largest = (double)logits[i];
    }
    for (int64_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - largest);
    return largest + log(sum) - (double)logits[token];
}

// Scores ids[1 … n-1], each from what is before it.
static mlcc_status *score_ids(scoring *s, const int32_t *ids, int64_t n_ids) {
    int32_t sequence;
    MLCC_TRY(mlcc_engine_add_sequence(s->engine, &sequence));
    mlcc_status *status = NULL;
    for (int64_t at = 0; at < n_ids - 1 && status == NULL;) {
        int64_t n = n_ids - 1 - at < s->chunk ? n_ids - 1 - at : s->chunk;
        mlcc_batch_item item = {sequence, ids + at, n, MLCC_LOGITS_ALL};
        const float *logits;
        int64_t n_rows;
        status = mlcc_engine_step(s->engine, &item, 1, &logits, &n_rows);
        for (int64_t i = 0; i < n && status == NULL; i++) {
            const int32_t expected = ids[at + i + 1];
            if (expected >= s->vocab) { // the engine has not seen the last one
                status = MLCC_ERROR(
                    INVALID,
                    "the tokenizer gives token %d, the model's vocabulary has %lld tokens: "
                    "tokenizer and model do not belong together",
                    expected, (long long)s->vocab);
                break;
            }
            s->sum_nll += nll_of(logits + i * s->vocab, s->vocab, expected);
            s->n_scored++;
        }
        at += n;
    }
    mlcc_engine_remove_sequence(s->engine, sequence);
    return status;
}

static mlcc_status *score_line(scoring *s, const char *line, size_t length) {
    int32_t *ids;
    size_t n_ids;
    MLCC_TRY(mlcc_tokenizer_encode(s->tokenizer, line, length, true, &ids, &n_ids));
    int64_t n = (int64_t)n_ids < s->context ? (int64_t)n_ids : s->context;
    mlcc_status *status = score_ids(s, ids, n);
    free(ids);
    return status;
}

static mlcc_status *score_lines(scoring *s, const char *text, size_t length, int64_t n_lines) {
    const char *end = text + length;
    for (int64_t i = 0; i < n_lines && text < end; i++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_bytes = newline != NULL ? (size_t)(newline - text) : (size_t)(end - text);
        if (line_bytes > 0 && text[line_bytes - 1] == '\r') line_bytes--;
        MLCC_TRY_NOTE(score_line(s, text, line_bytes), "scoring line %lld", (long long)i + 1);
        text = newline != NULL ? newline + 1 : end;
    }
    return NULL;
}

static mlcc_status *score_whole(scoring *s, const char *text, size_t length) {
    int32_t *front, *ids;
    size_t n_front, n_ids;
    MLCC_TRY(mlcc_tokenizer_encode(s->tokenizer, "", 0, true, &front, &n_front));
    mlcc_status *status = mlcc_tokenizer_encode(s->tokenizer, text, length, false, &ids, &n_ids);
    if (status != NULL) {
        free(front);
        return status;
    }
    int32_t *piece = malloc((size_t)s->context * sizeof *piece);
    if (piece == NULL) status = MLCC_ERROR(NO_MEMORY, "no room for a window of ids");
    double last_report_s = mlcc_clock_s();
    for (size_t at = 0; at < n_ids && status == NULL;) {
        int64_t n = 0;
        if (n_front > 0) piece[n++] = front[0];
        while (n < s->context && at < n_ids) piece[n++] = ids[at++];
        status = score_ids(s, piece, n);
        if (mlcc_clock_s() - last_report_s > (isatty(2) ? 1.0 : 10.0)) {
            last_report_s = mlcc_clock_s();
            fprintf(
                stderr, "%zu of %zu tokens, mean nll so far %.4f\n", at, n_ids,
                s->sum_nll / (double)s->n_scored);
        }
    }
    free(piece);
    free(front);
    free(ids);
    return status;
}

static void print_result(const scoring *s, bool as_json) {
    double mean = s->sum_nll / (double)s->n_scored;
    if (!as_json) {
        printf(
            "mean nll   %.6f\nperplexity %.5f\ntokens     %lld\n", mean, exp(mean),
            (long long)s->n_scored);
        return;
    }
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 0, false);
    mlcc_json_begin_object(&w);
    mlcc_json_key(&w, "mean_nll");
    mlcc_json_put_f64(&w, mean);
    mlcc_json_key(&w, "perplexity");
    mlcc_json_put_f64(&w, exp(mean));
    mlcc_json_key(&w, "tokens");
    mlcc_json_put_i64(&w, s->n_scored);
    mlcc_json_end(&w);
    printf("%s\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

// Pieces of a whole text where the model sets no limit.
enum { UNLIMITED_CONTEXT = 4096 };

static mlcc_status *open_all(const char *directory, const args_values *values, scoring *s) {
    MLCC_TRY(open_model_check_directory(directory));
    MLCC_TRY(mlcc_tokenizer_open(directory, &s->tokenizer));
    MLCC_TRY(open_model(directory, values, &s->model));
    mlcc_model_info info;
    mlcc_model_get_info(s->model, &info);
    s->vocab = info.vocab;
    s->context = info.context_window < 0 ? UNLIMITED_CONTEXT : info.context_window;
    if (s->context < 2) {
        return MLCC_ERROR(
            INVALID, "a context window of %lld tokens leaves nothing to predict",
            (long long)s->context);
    }
    // One forward pass gives at most max_sequences rows of logits.
    s->chunk = info.prefill_chunk < info.max_sequences ? info.prefill_chunk : info.max_sequences;
    return mlcc_engine_create(
        s->model, &(mlcc_engine_options){.max_sequences = 1, .max_tokens = s->context}, &s->engine);
}

static mlcc_status *run_perplexity(const args_values *values) {
    const char *path = args_text(values, "text");
    if (path == NULL) return args_usage("--text FILE is missing");
    scoring s = {0};
    char *text = NULL;
    size_t length = 0;
    int64_t n_lines = args_int(values, "lines");
    mlcc_status *status = mlcc_file_read(path, 1u << 30, &text, &length);
    if (status == NULL) status = open_all(args_operand(values, 0), values, &s);
    if (status == NULL) {
        status =
            n_lines > 0 ? score_lines(&s, text, length, n_lines) : score_whole(&s, text, length);
    }
    if (status == NULL && s.n_scored == 0) {
        status = MLCC_ERROR(INVALID, "'%s' holds no token to predict", path);
    }
    if (status == NULL) print_result(&s, args_flag(values, "json"));
    mlcc_engine_free(s.engine);
    mlcc_model_close(s.model);
    mlcc_tokenizer_close(s.tokenizer);
    free(text);
    return status;
}

const args_command cmd_perplexity = {
    .name = "perplexity",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "how well a compiled model predicts a text",
    .details = "example\n  mlcc perplexity ./model --text wikitext.txt --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_perplexity,
};
