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
    int64_t n_repetitions, depth;
    double flop_per_token, flop_per_logits_row,
        weight_bytes_per_step; // from the library's metadata
    ceiling machine;
    int32_t *tokens; // [longest]
    bench_row rows[2 * MAX_LENGTHS * MAX_LENGTHS];
    size_t n_rows;
} benching;

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

// One repetition: seconds for `prompt` tokens in one step, or `gen` steps of one token, on `batch` fresh sequences.
static mlcc_status *run_once(
    benching *b, int64_t prompt, int64_t gen, int64_t batch, double *seconds) {
    mlcc_engine *engine;
    int64_t longest = prompt + gen + b->depth + 1;
    mlcc_engine_options options = {
        .max_sequences = (int32_t)batch, .max_tokens = (longest + 16) * batch};
    MLCC_TRY(mlcc_engine_create(b->model, &options, &engine));
    mlcc_batch_item items[MAX_BATCH];
    mlcc_status *status = NULL;
    const float *logits;
    int64_t n_rows;
    for (int64_t i = 0; i < batch && status == NULL; i++) {
        int32_t sequence;
        status = mlcc_engine_add_sequence(engine, &sequence);
        items[i] = (mlcc_batch_item){sequence, b->tokens, b->depth, MLCC_LOGITS_NONE};
        if (status == NULL && gen > 0 && b->depth > 0) {
            status = mlcc_engine_step(engine, &items[i], 1, &logits, &n_rows);
        }
        items[i].n_tokens = gen > 0 ? 1 : prompt;
        items[i].logits = MLCC_LOGITS_LAST;
    }
    double start_s = mlcc_clock_s();
    for (int64_t step = 0; step < (gen > 0 ? gen : 1) && status == NULL; step++) {
        status = mlcc_engine_step(engine, items, (int32_t)batch, &logits, &n_rows);
    }
    *seconds = mlcc_clock_s() - start_s;
    mlcc_engine_free(engine);
    return status;
}

static mlcc_status *measure(benching *b, int64_t prompt, int64_t gen, int64_t batch) {
    int64_t longest = gen > 0 ? b->depth + gen : prompt;
    bool fits = b->info.context_window < 0 || longest <= b->info.context_window;
    if (!fits || batch > b->info.max_sequences) {
        fprintf(
            stderr,
            "left out: %lld tokens, batch %lld; this lib.so holds %lld tokens and %lld sequences\n",
            (long long)longest, (long long)batch, (long long)b->info.context_window,
            (long long)b->info.max_sequences);
        return NULL;
    }
    static double rates[MAX_REPETITIONS];
    double seconds = 0.0;
    int64_t n_tokens = (gen > 0 ? gen : prompt) * batch;
    // A first run that does not count: pages are touched, clocks settle.
    MLCC_TRY(run_once(b, prompt, gen > 8 ? 8 : gen, batch, &seconds));
    for (int64_t i = 0; i < b->n_repetitions; i++) {
        MLCC_TRY(run_once(b, prompt, gen, batch, &seconds));
        rates[i] = (double)n_tokens / seconds;
    }
    qsort(rates, (size_t)b->n_repetitions, sizeof *rates, by_value);
    int64_t middle = b->n_repetitions / 2;
    double median = b->n_repetitions % 2 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
    int64_t step_tokens = gen > 0 ? batch : prompt * batch;
    if (step_tokens > b->info.prefill_chunk) step_tokens = b->info.prefill_chunk;
    // A decode step also reads the cache of every sequence, on average depth + gen / 2 tokens.
    double kv_bytes = gen > 0 ? (double)b->info.kv_bytes_per_token *
                                    ((double)b->depth + (double)gen / 2) * (double)batch
                              : 0.0;
    const double bytes_per_token = (b->weight_bytes_per_step + kv_bytes) / (double)step_tokens;
    // The head runs once a step and sequence.
    double flop_per_token =
        b->flop_per_token + b->flop_per_logits_row / (double)(gen > 0 ? 1 : prompt);
    b->rows[b->n_rows++] = (bench_row){
        .prompt_tokens = prompt,
        .gen_tokens = gen,
        .batch = batch,
        .depth = gen > 0 ? b->depth : 0,
        .tokens_per_s = median,
        .spread = (rates[b->n_repetitions - 1] - rates[0]) / median,
        .bytes_per_token = bytes_per_token,
        .gb_per_s = median * bytes_per_token * 1e-9,
        .gflop_per_s = median * flop_per_token * 1e-9,
    };
    return NULL;
}

static mlcc_status *read_metadata(benching *b) {
    mlcc_json *json;
    const char *text = mlcc_model_metadata(b->model);
    MLCC_TRY(mlcc_json_parse(text, strlen(text), "the library's metadata", 0, &json));
    const mlcc_json_value *own = mlcc_json_get(mlcc_json_root(json), "mlcc");
    b->flop_per_token = mlcc_json_number(mlcc_json_get(own, "flop_per_token"));
    b->flop_per_logits_row = mlcc_json_number(mlcc_json_get(own, "flop_per_logits_row"));
    b->weight_bytes_per_step = mlcc_json_number(mlcc_json_get(own, "weight_bytes_per_step"));
    mlcc_json_free(json);
    return NULL;
}

// ---- output ----------------------------------------------------------------------------------------

static void print_markdown(const benching *b, const char *label, int32_t n_threads) {
    printf(
        "%s, %s, %s, %d threads; ceilings measured now: %.1f GB/s read, %.0f GFLOP/s f32\n\n",
        label, b->info.quantization, b->info.target, n_threads, b->machine.gb_per_s,
        b->machine.gflop_per_s);
    printf("| test | batch | tokens/s | spread | MB/token | GB/s | of ceiling | GFLOP/s | of "
           "ceiling |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        printf(
            "| %s %lld%s | %lld | %.2f | %.1f %% | %.3g | %.2f | %.0f %% | %.1f | %.0f %% |\n",
            r->gen_tokens > 0 ? "decode" : "prefill",
            (long long)(r->gen_tokens > 0 ? r->gen_tokens : r->prompt_tokens),
            r->depth > 0 ? " deep" : "", (long long)r->batch, r->tokens_per_s, r->spread * 100,
            r->bytes_per_token * 1e-6, r->gb_per_s, r->gb_per_s / b->machine.gb_per_s * 100,
            r->gflop_per_s, r->gflop_per_s / b->machine.gflop_per_s * 100);
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
        {"share_of_gb_per_s", r->gb_per_s / b->machine.gb_per_s},
        {"share_of_gflop_per_s", r->gflop_per_s / b->machine.gflop_per_s},
        {"load_s", b->info.load_s},
    };
    mlcc_json_begin_object(w);
    mlcc_json_key(w, "model");
    mlcc_json_put_text(w, label);
    mlcc_json_key(w, "quantization");
    mlcc_json_put_text(w, b->info.quantization);
    mlcc_json_key(w, "target");
    mlcc_json_put_text(w, b->info.target);
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
    int64_t prompts[MAX_LENGTHS], gens[MAX_LENGTHS], batches[MAX_LENGTHS];
    size_t n_prompts, n_gens, n_batches;
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
    const char *format = args_text(values, "format");
    if (strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 && strcmp(format, "json") != 0) {
        return args_usage("--format is '%s'; accepted: md, csv, json", format);
    }
    return NULL;
}

static mlcc_status *measure_all(benching *b, const bench_lengths *l) {
    int64_t longest = b->depth + 1;
    for (size_t i = 0; i < l->n_prompts; i++)
        longest = l->prompts[i] > longest ? l->prompts[i] : longest;
    b->tokens = malloc((size_t)longest * sizeof *b->tokens);
    if (b->tokens == NULL) return MLCC_ERROR(NO_MEMORY, "no room for %lld ids", (long long)longest);
    // Any ids do: the work is the same. A fixed sequence keeps the runs alike.
    for (int64_t i = 0; i < longest; i++) b->tokens[i] = (int32_t)((i * 7919 + 13) % b->info.vocab);
    for (size_t k = 0; k < l->n_batches; k++) {
        for (size_t i = 0; i < l->n_prompts; i++) {
            if (l->prompts[i] > 0) MLCC_TRY(measure(b, l->prompts[i], 0, l->batches[k]));
        }
        for (size_t i = 0; i < l->n_gens; i++) {
            if (l->gens[i] > 0) MLCC_TRY(measure(b, 0, l->gens[i], l->batches[k]));
        }
    }
    return NULL;
}

mlcc_status *bench_run(const char *directory, const char *label, const args_values *values) {
    static benching b;
    memset(&b, 0, sizeof b);
    bench_lengths lengths;
    MLCC_TRY(read_lengths(values, &lengths));
    b.n_repetitions = args_int(values, "repetitions");
    b.depth = args_int(values, "depth");
    int32_t n_threads = (int32_t)args_int(values, "threads");
    mlcc_status *status = open_model(directory, values, &b.model);
    if (status == NULL) {
        mlcc_model_get_info(b.model, &b.info);
        status = read_metadata(&b);
    }
    if (status == NULL) status = ceiling_measure(n_threads, &b.machine);
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
