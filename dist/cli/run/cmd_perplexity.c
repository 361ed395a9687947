// perplexity: mean negative log-likelihood of a text under a compiled model.
//
// With --lines N each of the first N lines stands alone after BOS, cut at the context window. Without it the whole text is scored in pieces of
// one context window, each after BOS. Every token but the special ones in front is predicted once.
//
// With a reference every prediction is also compared with the reference's: Kullback-Leibler divergence KL(reference || model) in nats, and how
// often both think the same token most likely. (llama.cpp's perplexity --kl-divergence gives the same figures.)
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
    {.name = "reference", .kind = ARGS_TEXT, .value_name = "DIR", .help = "compare every prediction with this model's, for example of another mode: mean and largest KL divergence, share of equal most likely tokens"},
    {.name = "reference-lib", .kind = ARGS_TEXT, .value_name = "FILE", .help = "its library; without --reference another library of the same model, for example one compiled with --opt exact"},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object: mean_nll, perplexity, tokens; with a reference also reference_nll, mean_kl, max_kl, same_top"},
    OPEN_MODEL_OPTIONS,
};
// clang-format on

// A model that predicts.
typedef struct scored_model {
    mlcc_model *model;
    mlcc_engine *engine;
    mlcc_model_info info;
    int32_t sequence;
    const float *logits; // of the last step
    double sum_nll;
} scored_model;

typedef struct scoring {
    scored_model subject, reference; // no engine: there is no reference
    mlcc_tokenizer *tokenizer;
    int64_t vocab, context, chunk;
    double sum_kl, max_kl;
    int64_t n_scored, n_same_top;
} scoring;

// Of one row: the most likely token, and what is subtracted from a logit for the logarithm of its probability.
typedef struct likelihood {
    int64_t top;
    double normalizer;
} likelihood;

static likelihood likelihood_of(const float *logits, int64_t vocab) {
    likelihood row = {0};
    for (int64_t i = 1; i < vocab; i++) {
        if (logits[i] > logits[row.top]) row.top = i;
    }
    double sum = 0.0;
    const double largest = (double)logits[row.top];
    for (int64_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - largest);
    row.normalizer = largest + log(sum);
    return row;
}

static void score_row(scoring *s, int64_t row, int32_t expected) {
    const float *logits = s->subject.logits + row * s->vocab;
    const likelihood found = likelihood_of(logits, s->vocab);
    s->subject.sum_nll += found.normalizer - (double)logits[expected];
    s->n_scored++;
    if (s->reference.engine == NULL) return;
    const float *wanted_logits = s->reference.logits + row * s->vocab;
    const likelihood wanted = likelihood_of(wanted_logits, s->vocab);
    s->reference.sum_nll += wanted.normalizer - (double)wanted_logits[expected];
    s->n_same_top += wanted.top == found.top;
    double kl = 0.0;
    for (int64_t i = 0; i < s->vocab; i++) {
        const double wanted_log = (double)wanted_logits[i] - wanted.normalizer;
        kl += exp(wanted_log) * (wanted_log - ((double)logits[i] - found.normalizer));
    }
    s->sum_kl += kl;
    if (kl > s->max_kl || isnan(kl)) s->max_kl = kl;
}

static mlcc_status *begin_sequence(scored_model *m) {
    if (m->engine == NULL) return NULL;
    return mlcc_engine_add_sequence(m->engine, &m->sequence);
}

static void end_sequence(scored_model *m) {
    if (m->engine != NULL) mlcc_engine_remove_sequence(m->engine, m->sequence);
}

static mlcc_status *step(scored_model *m, const int32_t *ids, int64_t n) {
    if (m->engine == NULL) return NULL;
    mlcc_batch_item item = {m->sequence, ids, n, MLCC_LOGITS_ALL};
    int64_t n_rows;
    return mlcc_engine_step(m->engine, &item, 1, &m->logits, &n_rows);
}

// Scores ids[1 … n-1], each from what is before it.
static mlcc_status *score_ids(scoring *s, const int32_t *ids, int64_t n_ids) {
    MLCC_TRY(begin_sequence(&s->subject));
    mlcc_status *status = begin_sequence(&s->reference);
    if (status != NULL) {
        end_sequence(&s->subject);
        return status;
    }
    for (int64_t at = 0; at < n_ids - 1 && status == NULL;) {
        int64_t n = n_ids - 1 - at < s->chunk ? n_ids - 1 - at : s->chunk;
        status = step(&s->subject, ids + at, n);
        if (status == NULL) status = step(&s->reference, ids + at, n);
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
            score_row(s, i, expected);
        }
        at += n;
    }
    end_sequence(&s->subject);
    end_sequence(&s->reference);
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
                s->subject.sum_nll / (double)s->n_scored);
        }
    }
    free(piece);
    free(front);
    free(ids);
    return status;
}

static void print_text(const scoring *s) {
    const double n = (double)s->n_scored, mean = s->subject.sum_nll / n;
    printf(
        "mean nll   %.6f\nperplexity %.5f\ntokens     %lld\n", mean, exp(mean),
        (long long)s->n_scored);
    if (s->reference.engine == NULL) return;
    printf(
        "reference  %.6f (mean nll)\nmean KL    %.3e\nlargest KL %.3e\nsame top   %.3f %%\n",
        s->reference.sum_nll / n, s->sum_kl / n, s->max_kl, 100.0 * (double)s->n_same_top / n);
}

static void put_f64(mlcc_json_writer *w, const char *key, double value) {
    mlcc_json_key(w, key);
    mlcc_json_put_f64(w, value);
}

static void print_json(const scoring *s) {
    const double n = (double)s->n_scored, mean = s->subject.sum_nll / n;
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 0, false);
    mlcc_json_begin_object(&w);
    put_f64(&w, "mean_nll", mean);
    put_f64(&w, "perplexity", exp(mean));
    mlcc_json_key(&w, "tokens");
    mlcc_json_put_i64(&w, s->n_scored);
    if (s->reference.engine != NULL) {
        put_f64(&w, "reference_nll", s->reference.sum_nll / n);
        put_f64(&w, "mean_kl", s->sum_kl / n);
        put_f64(&w, "max_kl", s->max_kl);
        put_f64(&w, "same_top", (double)s->n_same_top / n);
    }
    mlcc_json_end(&w);
    printf("%s\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

// Pieces of a whole text where the model sets no limit.
enum { UNLIMITED_CONTEXT = 4096 };

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The windows and chunks that this model can do as well.
static void take_limits(scoring *s, const mlcc_model_info *info) {
    if (info->context_window >= 0) s->context = smaller(s->context, info->context_window);
    // One forward pass gives at most max_sequences rows of logits.
    s->chunk = smaller(s->chunk, smaller(info->prefill_chunk, info->max_sequences));
}

// Opens the reference, if one is asked for.
static mlcc_status *open_reference(const char *directory, const args_values *values, scoring *s) {
    const char *other = args_text(values, "reference"),
               *library = args_text(values, "reference-lib");
    if (other == NULL && library == NULL) return NULL;
    scored_model *r = &s->reference;
    MLCC_TRY_NOTE(
        open_model_library(other != NULL ? other : directory, library, values, &r->model),
        "opening the reference");
    mlcc_model_get_info(r->model, &r->info);
    if (r->info.vocab != s->vocab) {
        return MLCC_ERROR(
            INVALID,
            "the reference has a vocabulary of %lld tokens, the model one of %lld: only models "
            "with the same tokenizer can be compared",
            (long long)r->info.vocab, (long long)s->vocab);
    }
    take_limits(s, &r->info);
    return NULL;
}

static mlcc_status *open_engine(const scoring *s, scored_model *m) {
    if (m->model == NULL) return NULL;
    const mlcc_engine_options limits = {.max_sequences = 1, .max_tokens = s->context};
    return mlcc_engine_create(m->model, &limits, &m->engine);
}

static mlcc_status *open_all(const char *directory, const args_values *values, scoring *s) {
    scored_model *m = &s->subject;
    MLCC_TRY(open_model_check_directory(directory));
    const mlcc_tokenizer_options tokenizer_options = {
        .directory = directory, .no_cache = args_flag(values, "no-cache")};
    MLCC_TRY(mlcc_tokenizer_open_with(&tokenizer_options, &s->tokenizer));
    MLCC_TRY(open_model(directory, values, &m->model));
    mlcc_model_get_info(m->model, &m->info);
    s->vocab = m->info.vocab;
    s->context = m->info.context_window < 0 ? UNLIMITED_CONTEXT : m->info.context_window;
    s->chunk = INT64_MAX;
    take_limits(s, &m->info);
    MLCC_TRY(open_reference(directory, values, s));
    if (s->context < 2) {
        return MLCC_ERROR(
            INVALID, "a context window of %lld tokens leaves nothing to predict",
            (long long)s->context);
    }
    MLCC_TRY(open_engine(s, m));
    return open_engine(s, &s->reference);
}

static void close_model(scored_model *m) {
    mlcc_engine_free(m->engine);
    mlcc_model_close(m->model);
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
    if (status == NULL && args_flag(values, "json")) print_json(&s);
    if (status == NULL && !args_flag(values, "json")) print_text(&s);
    close_model(&s.subject);
    close_model(&s.reference);
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
    .details = "examples\n"
               "  mlcc perplexity ./model --text wikitext.txt --json\n"
               "  mlcc perplexity ./model-q4f16_1 --text wikitext.txt --reference ./model-q0f16\n"
               "  mlcc perplexity ./model --text wikitext.txt --reference-lib ./model/exact.so",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_perplexity,
};
