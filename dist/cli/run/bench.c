#include "dist/cli/run/bench.h"

#include "dist/cli/run/ceiling.h"
#include "dist/cli/run/console.h"
#include "runtime/base/clock.h"
#include "runtime/base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTHS = 16, MAX_REPETITIONS = 1000, MAX_BATCH = 128 };

typedef struct bench_row {
    int64_t prompt_tokens, gen_tokens, batch, depth;
    double tokens_per_s, spread; // median; (max - min) / median
    double bytes_per_token;      // weights, and in decode the cache, over the tokens of a step
    double gb_per_s, gflop_per_s;
} bench_row;

typedef struct benching {
    mlcc_model *model;
    mlcc_model_info info;
    int64_t n_repetitions;
    bool is_fp8; // activations go to the matrix units as fp8
    double flop_per_token, flop_per_logits_row,
        weight_bytes_per_step; // from the library's metadata
    ceiling machine;
    int32_t *tokens; // [longest]
    bench_row rows[2 * MAX_LENGTHS * MAX_LENGTHS * MAX_LENGTHS];
    size_t n_rows;
} benching;

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

// What one row measures: `prompt` tokens in one step, or `gen` steps of one token behind `depth`, on `batch` sequences.
typedef struct bench_case {
    int64_t prompt, gen, batch, depth;
} bench_case;

// A step of a generation: where the device chooses the tokens no logits are fetched, as in `generate`.
static mlcc_status *run_step(
    const benching *b, mlcc_engine *engine, const mlcc_batch_item *items, int64_t batch) {
    int32_t tokens[MAX_BATCH];
    const float *logits;
    int64_t n_rows;
    if (b->info.samples_on_device)
        return mlcc_engine_sample(engine, items, (int32_t)batch, NULL, tokens);
    return mlcc_engine_step(engine, items, (int32_t)batch, &logits, &n_rows);
}

// The cache up to `depth`.
static mlcc_status *start_sequences(
    const benching *b, const bench_case *c, mlcc_engine *engine, mlcc_batch_item *items) {
    for (int64_t i = 0; i < c->batch; i++) {
        items[i] = (mlcc_batch_item){
            .tokens = b->tokens, .n_tokens = c->depth, .logits = MLCC_LOGITS_NONE};
        MLCC_TRY(mlcc_engine_add_sequence(engine, &items[i].sequence));
    }
    if (c->depth > 0) MLCC_TRY(mlcc_engine_step(engine, items, (int32_t)c->batch, NULL, NULL));
    for (int64_t i = 0; i < c->batch; i++) {
        items[i].n_tokens = c->gen > 0 ? 1 : c->prompt;
        items[i].logits = MLCC_LOGITS_LAST;
    }
    return NULL;
}

// One repetition, with the cache as it was before.
static mlcc_status *run_once(
    const benching *b, const bench_case *c, mlcc_engine *engine, const mlcc_batch_item *items,
    double *seconds) {
    for (int64_t i = 0; i < c->batch; i++)
        MLCC_TRY(mlcc_engine_truncate(engine, items[i].sequence, c->depth));
    double start_s = mlcc_clock_s();
    for (int64_t step = 0; step < (c->gen > 0 ? c->gen : 1); step++)
        MLCC_TRY(run_step(b, engine, items, c->batch));
    *seconds = mlcc_clock_s() - start_s;
    return NULL;
}

static void add_row(benching *b, const bench_case *c, double *rates) {
    qsort(rates, (size_t)b->n_repetitions, sizeof *rates, by_value);
    int64_t middle = b->n_repetitions / 2;
    double median = b->n_repetitions % 2 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
    int64_t step_tokens = c->gen > 0 ? c->batch : c->prompt * c->batch;
    if (step_tokens > b->info.prefill_chunk) step_tokens = b->info.prefill_chunk;
    // A decode step also reads the cache of every sequence, on average depth + gen / 2 tokens.
    double kv_bytes = c->gen > 0 ? (double)b->info.kv_bytes_per_token *
                                       ((double)c->depth + (double)c->gen / 2) * (double)c->batch
                                 : 0.0;
    const double bytes_per_token = (b->weight_bytes_per_step + kv_bytes) / (double)step_tokens;
    // The head runs once a step and sequence.
    double flop_per_token =
        b->flop_per_token + b->flop_per_logits_row / (double)(c->gen > 0 ? 1 : c->prompt);
    b->rows[b->n_rows++] = (bench_row){
        .prompt_tokens = c->prompt,
        .gen_tokens = c->gen,
        .batch = c->batch,
        .depth = c->depth,
        .tokens_per_s = median,
        .spread = (rates[b->n_repetitions - 1] - rates[0]) / median,
        .bytes_per_token = bytes_per_token,
        .gb_per_s = median * bytes_per_token * 1e-9,
        .gflop_per_s = median * flop_per_token * 1e-9,
    };
}

static mlcc_status *repeat(benching *b, const bench_case *c, mlcc_engine *engine) {
    static double rates[MAX_REPETITIONS];
    mlcc_batch_item items[MAX_BATCH];
    double seconds = 0.0;
    int64_t n_tokens = (c->gen > 0 ? c->gen : c->prompt) * c->batch;
    MLCC_TRY(start_sequences(b, c, engine, items));
    // A first run that does not count: pages are touched, clocks settle, graphs are captured.
    bench_case first = *c;
    first.gen = c->gen > 8 ? 8 : c->gen;
    MLCC_TRY(run_once(b, &first, engine, items, &seconds));
    for (int64_t i = 0; i < b->n_repetitions; i++) {
        MLCC_TRY(run_once(b, c, engine, items, &seconds));
        rates[i] = (double)n_tokens / seconds;
    }
    add_row(b, c, rates);
    return NULL;
}

static mlcc_status *measure(benching *b, bench_case c) {
    int64_t longest = c.gen > 0 ? c.depth + c.gen : c.prompt;
    bool fits = b->info.context_window < 0 || longest <= b->info.context_window;
    if (!fits || c.batch > b->info.max_sequences) {
        fprintf(
            stderr,
            "left out: %lld tokens, batch %lld; this lib.so holds %lld tokens and %lld sequences\n",
            (long long)longest, (long long)c.batch, (long long)b->info.context_window,
            (long long)b->info.max_sequences);
        return NULL;
    }
    mlcc_engine *engine;
    mlcc_engine_options options = {
        .max_sequences = (int32_t)c.batch, .max_tokens = (longest + 17) * c.batch};
    MLCC_TRY(mlcc_engine_create(b->model, &options, &engine));
    mlcc_status *status = repeat(b, &c, engine);
    mlcc_engine_free(engine);
    return status;
}

static mlcc_status *read_metadata(benching *b) {
    mlcc_json *json;
    const char *text = mlcc_model_metadata(b->model);
    MLCC_TRY(mlcc_json_parse(text, strlen(text), "the library's metadata", 0, &json));
    const mlcc_json_value *own = mlcc_json_get(mlcc_json_root(json), "mlcc");
    b->flop_per_token = mlcc_json_number(mlcc_json_get(own, "flop_per_token"));
    b->flop_per_logits_row = mlcc_json_number(mlcc_json_get(own, "flop_per_logits_row"));
    b->weight_bytes_per_step = mlcc_json_number(mlcc_json_get(own, "weight_bytes_per_step"));
    const char *mode = b->info.quantization;
    b->is_fp8 = mlcc_text_starts_with(mode, "e4m3") || mlcc_text_starts_with(mode, "fp8");
    mlcc_json_free(json);
    return NULL;
}

// ---- output ----------------------------------------------------------------------------------------

static bool is_on_cpu(const benching *b) {
    return strcmp(b->info.device, "cpu") == 0;
}

// Percent of a ceiling, "-" where it is unknown.
static const char *share(double value, double limit, char text[16]) {
    if (limit <= 0.0) return "-";
    snprintf(text, 16, "%.0f %%", value / limit * 100);
    return text;
}

static double ratio(double value, double limit) {
    return limit > 0.0 ? value / limit : 0.0;
}

static void print_heading(const benching *b, const char *label, int32_t n_threads) {
    if (is_on_cpu(b)) {
        printf(
            "%s, %s, %s, %d threads; ceilings measured now: %.1f GB/s read, %.0f GFLOP/s f32\n\n",
            label, b->info.quantization, b->info.target, n_threads, b->machine.gb_per_s,
            b->machine.gflop_per_s);
        return;
    }
    printf(
        "%s, %s, %s, %s; ceilings: %.0f GB/s copied now (data sheet %.0f), data sheet %.0f TFLOP/s "
        "%s; 0: unknown\n\n",
        label, b->info.quantization, b->info.device, b->info.device_description,
        b->machine.gb_per_s, b->machine.sheet_gb_per_s, b->machine.gflop_per_s * 1e-3,
        b->is_fp8 ? "fp8" : "f16");
}

static void print_markdown(const benching *b, const char *label, int32_t n_threads) {
    print_heading(b, label, n_threads);
    printf("| test | batch | tokens/s | spread | MB/token | GB/s | of ceiling | GFLOP/s | of "
           "ceiling |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        char test[64], depth[32] = "", bytes[16], flop[16];
        if (r->depth > 0) snprintf(depth, sizeof depth, " at %lld", (long long)r->depth);
        snprintf(
            test, sizeof test, "%s %lld%s", r->gen_tokens > 0 ? "decode" : "prefill",
            (long long)(r->gen_tokens > 0 ? r->gen_tokens : r->prompt_tokens), depth);
        printf(
            "| %s | %lld | %.2f | %.1f %% | %.3g | %.2f | %s | %.1f | %s |\n", test,
            (long long)r->batch, r->tokens_per_s, r->spread * 100, r->bytes_per_token * 1e-6,
            r->gb_per_s, share(r->gb_per_s, b->machine.gb_per_s, bytes), r->gflop_per_s,
            share(r->gflop_per_s, b->machine.gflop_per_s, flop));
    }
}

static void print_csv(const benching *b, const char *label, int32_t n_threads) {
    printf("model,quantization,target,prompt_tokens,gen_tokens,depth,batch,threads,tokens_per_s,"
           "spread,bytes_per_token,gb_per_s,"
           "gflop_per_s,ceiling_gb_per_s,ceiling_gflop_per_s\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        printf(
            "%s,%s,%s,%lld,%lld,%lld,%lld,%d,%.4f,%.4f,%.0f,%.4f,%.4f,%.4f,%.4f\n", label,
            b->info.quantization, b->info.target, (long long)r->prompt_tokens,
            (long long)r->gen_tokens, (long long)r->depth, (long long)r->batch, n_threads,
            r->tokens_per_s, r->spread, r->bytes_per_token, r->gb_per_s, r->gflop_per_s,
            b->machine.gb_per_s, b->machine.gflop_per_s);
    }
}

static void put_row(
    mlcc_json_writer *w, const benching *b, const bench_row *r, const char *label,
    int32_t n_threads) {
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {
        {"prompt_tokens", r->prompt_tokens},
        {"gen_tokens", r->gen_tokens},
        {"depth", r->depth},
        {"batch", r->batch},
        {"threads", n_threads},
        {"repetitions", b->n_repetitions},
    };
    const struct {
        const char *key;
        double value;
    } reals[] = {
        {"tokens_per_s", r->tokens_per_s},
        {"spread", r->spread},
        {"bytes_per_token", r->bytes_per_token},
        {"gb_per_s", r->gb_per_s},
        {"gflop_per_s", r->gflop_per_s},
        {"ceiling_gb_per_s", b->machine.gb_per_s},
        {"ceiling_gflop_per_s", b->machine.gflop_per_s},
        {"sheet_gb_per_s", b->machine.sheet_gb_per_s},
        {"share_of_gb_per_s", ratio(r->gb_per_s, b->machine.gb_per_s)},
        {"share_of_sheet_gb_per_s", ratio(r->gb_per_s, b->machine.sheet_gb_per_s)},
        {"share_of_gflop_per_s", ratio(r->gflop_per_s, b->machine.gflop_per_s)},
        {"load_s", b->info.load_s},
    };
    mlcc_json_begin_object(w);
    mlcc_json_key(w, "model");
    mlcc_json_put_text(w, label);
    mlcc_json_key(w, "quantization");
    mlcc_json_put_text(w, b->info.quantization);
    mlcc_json_key(w, "target");
    mlcc_json_put_text(w, b->info.target);
    mlcc_json_key(w, "device");
    mlcc_json_put_text(w, is_on_cpu(b) ? b->info.device : b->info.device_description);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        mlcc_json_key(w, counts[i].key);
        mlcc_json_put_i64(w, counts[i].value);
    }
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        mlcc_json_key(w, reals[i].key);
        mlcc_json_put_f64(w, reals[i].value);
    }
    mlcc_json_key(w, "peak_rss_bytes");
    mlcc_json_put_i64(w, (int64_t)mlcc_peak_rss_bytes());
    mlcc_json_end(w);
}

static void print_json(const benching *b, const char *label, int32_t n_threads) {
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 1, false);
    mlcc_json_begin_array(&w);
    for (size_t i = 0; i < b->n_rows; i++) put_row(&w, b, &b->rows[i], label, n_threads);
    mlcc_json_end(&w);
    printf("%s\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

// ---- the run ---------------------------------------------------------------------------------------

typedef struct bench_lengths {
    int64_t prompts[MAX_LENGTHS], gens[MAX_LENGTHS], batches[MAX_LENGTHS], depths[MAX_LENGTHS];
    size_t n_prompts, n_gens, n_batches, n_depths;
} bench_lengths;

static mlcc_status *read_lengths(const args_values *values, bench_lengths *l) {
    MLCC_TRY(args_int_list(
        "prompt-tokens", args_text(values, "prompt-tokens"), 0, 1 << 24, l->prompts, MAX_LENGTHS,
        &l->n_prompts));
    MLCC_TRY(args_int_list(
        "gen-tokens", args_text(values, "gen-tokens"), 0, 1 << 24, l->gens, MAX_LENGTHS,
        &l->n_gens));
    MLCC_TRY(args_int_list(
        "batch", args_text(values, "batch"), 1, MAX_BATCH, l->batches, MAX_LENGTHS, &l->n_batches));
    MLCC_TRY(args_int_list(
        "depth", args_text(values, "depth"), 0, 1e7, l->depths, MAX_LENGTHS, &l->n_depths));
    const char *format = args_text(values, "format");
    if (strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 && strcmp(format, "json") != 0) {
        return args_usage("--format is '%s'; accepted: md, csv, json", format);
    }
    return NULL;
}

static mlcc_status *make_tokens(benching *b, const bench_lengths *l) {
    int64_t longest = 1;
    for (size_t i = 0; i < l->n_prompts; i++)
        longest = l->prompts[i] > longest ? l->prompts[i] : longest;
    for (size_t i = 0; i < l->n_depths; i++)
        longest = l->depths[i] > longest ? l->depths[i] : longest;
    b->tokens = malloc((size_t)longest * sizeof *b->tokens);
    if (b->tokens == NULL) return MLCC_ERROR(NO_MEMORY, "no room for %lld ids", (long long)longest);
    // Any ids do: the work is the same. A fixed sequence keeps the runs alike.
    for (int64_t i = 0; i < longest; i++) b->tokens[i] = (int32_t)((i * 7919 + 13) % b->info.vocab);
    return NULL;
}

static mlcc_status *measure_all(benching *b, const bench_lengths *l) {
    MLCC_TRY(make_tokens(b, l));
    for (size_t k = 0; k < l->n_batches; k++) {
        for (size_t i = 0; i < l->n_prompts; i++) {
            const bench_case c = {.prompt = l->prompts[i], .batch = l->batches[k]};
            if (c.prompt > 0) MLCC_TRY(measure(b, c));
        }
        for (size_t i = 0; i < l->n_gens * l->n_depths; i++) {
            const bench_case c = {
                .gen = l->gens[i % l->n_gens],
                .batch = l->batches[k],
                .depth = l->depths[i / l->n_gens]};
            if (c.gen > 0) MLCC_TRY(measure(b, c));
        }
    }
    return NULL;
}

static mlcc_status *measure_ceilings(benching *b, int32_t n_threads) {
    if (is_on_cpu(b)) return ceiling_measure(n_threads, &b->machine);
    MLCC_TRY(ceiling_measure_cuda(b->info.device, b->info.device_description, &b->machine));
    if (b->is_fp8 && b->machine.fp8_gflop_per_s > 0.0)
        b->machine.gflop_per_s = b->machine.fp8_gflop_per_s;
    return NULL;
}

mlcc_status *bench_run(
    const char *directory, const char *label, bool made_up_weights, const args_values *values) {
    static benching b;
    memset(&b, 0, sizeof b);
    bench_lengths lengths;
    MLCC_TRY(read_lengths(values, &lengths));
    b.n_repetitions = args_int(values, "repetitions");
    int32_t n_threads = (int32_t)args_int(values, "threads");
    mlcc_status *status = open_model_for_speed(directory, values, made_up_weights, &b.model);
    if (status == NULL) {
        mlcc_model_get_info(b.model, &b.info);
        status = read_metadata(&b);
    }
    if (status == NULL) status = measure_ceilings(&b, n_threads);
    if (status == NULL) status = measure_all(&b, &lengths);
    if (status == NULL && b.n_rows == 0) {
        status = MLCC_ERROR(
            INVALID, "nothing to measure: --prompt-tokens, --gen-tokens and --batch leave no row "
                     "that this model can run");
    }
    if (status == NULL) {
        const char *format = args_text(values, "format");
        int32_t shown_threads = b.info.n_threads;
        if (strcmp(format, "json") == 0) {
            print_json(&b, label, shown_threads);
        } else if (strcmp(format, "csv") == 0) {
            print_csv(&b, label, shown_threads);
        } else {
            print_markdown(&b, label, shown_threads);
        }
    }
    free(b.tokens);
    mlcc_model_close(b.model);
    return status;
}
