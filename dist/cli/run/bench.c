#include "dist/cli/run/bench.h"

#include "dist/cli/run/bench_inside.h"
#include "dist/cli/run/bench_layers.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

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

mlcc_status *bench_start(
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

mlcc_status *bench_run_once(
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

static void add_row(benching *b, const bench_case *c, double *samples) {
    static double rates[MAX_REPETITIONS];
    memcpy(rates, samples, (size_t)b->n_repetitions * sizeof *rates);
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
        .samples = samples,
        .tokens_per_s = median,
        .spread = (rates[b->n_repetitions - 1] - rates[0]) / median,
        .bytes_per_token = bytes_per_token,
        .gb_per_s = median * bytes_per_token * 1e-9,
        .gflop_per_s = median * flop_per_token * 1e-9,
    };
}

// samples[n_repetitions]
static mlcc_status *repeat(
    const benching *b, const bench_case *c, mlcc_engine *engine, double *samples) {
    mlcc_batch_item items[MAX_BATCH];
    double seconds = 0.0;
    int64_t n_tokens = (c->gen > 0 ? c->gen : c->prompt) * c->batch;
    MLCC_TRY(bench_start(b, c, engine, items));
    // A first run that does not count: pages are touched, clocks settle, graphs are captured.
    bench_case first = *c;
    first.gen = c->gen > 8 ? 8 : c->gen;
    MLCC_TRY(bench_run_once(b, &first, engine, items, &seconds));
    for (int64_t i = 0; i < b->n_repetitions; i++) {
        MLCC_TRY(bench_run_once(b, c, engine, items, &seconds));
        samples[i] = (double)n_tokens / seconds;
    }
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
    double *samples = calloc((size_t)b->n_repetitions, sizeof *samples);
    mlcc_status *status = samples != NULL ? repeat(b, &c, engine, samples)
                                          : MLCC_ERROR(NO_MEMORY, "no room for the samples");
    mlcc_engine_free(engine);
    if (status == NULL) {
        add_row(b, &c, samples);
    } else {
        free(samples);
    }
    return status;
}

// What the library multiplies its linears with: bytes where a kernel takes codes.
static ceiling_arithmetic read_arithmetic(const mlcc_json_value *own) {
    const mlcc_json_value *kernels = mlcc_json_get(own, "kernels");
    for (size_t i = 0; i < mlcc_json_count(kernels); i++) {
        const char *name = mlcc_json_text(mlcc_json_get(mlcc_json_at(kernels, i), "kernel"), NULL);
        if (name != NULL && mlcc_text_starts_with(name, "linear_scaled")) return CEILING_INT8;
        if (name != NULL && mlcc_text_starts_with(name, "linear_bf16")) return CEILING_BF16;
    }
    return CEILING_F32;
}

static mlcc_status *read_metadata(benching *b) {
    mlcc_json *json;
    const char *text = mlcc_model_metadata(b->model);
    MLCC_TRY(mlcc_json_parse(text, strlen(text), "the library's metadata", 0, &json));
    const mlcc_json_value *own = mlcc_json_get(mlcc_json_root(json), "mlcc");
    b->flop_per_token = mlcc_json_number(mlcc_json_get(own, "flop_per_token"));
    b->flop_per_logits_row = mlcc_json_number(mlcc_json_get(own, "flop_per_logits_row"));
    b->weight_bytes_per_step = mlcc_json_number(mlcc_json_get(own, "weight_bytes_per_step"));
    b->arithmetic = read_arithmetic(own);
    const char *features = mlcc_json_text(mlcc_json_get(own, "features"), NULL);
    b->features = strdup(features != NULL ? features : "");
    const char *mode = b->info.quantization;
    b->is_fp8 = mlcc_text_starts_with(mode, "e4m3") || mlcc_text_starts_with(mode, "fp8");
    mlcc_json_free(json);
    if (b->features == NULL) return MLCC_ERROR(NO_MEMORY, "no room for the library's metadata");
    return NULL;
}

// ---- the run ---------------------------------------------------------------------------------------

typedef struct bench_lengths {
    int64_t prompts[MAX_LENGTHS], gens[MAX_LENGTHS], batches[MAX_LENGTHS], depths[MAX_LENGTHS];
    size_t n_prompts, n_gens, n_batches, n_depths;
} bench_lengths;

static mlcc_status *read_options(const args_values *values, bench_lengths *l) {
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
    const char *svg = args_text(values, "svg");
    return svg != NULL ? mlcc_file_check_writable(svg) : NULL;
}

mlcc_status *bench_check_options(const args_values *values) {
    bench_lengths unused;
    MLCC_TRY(read_options(values, &unused));
    return open_model_check_options(values);
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

// The layers of decoding, at the least and the greatest depth, and of the longest prefill that runs in one pass.
static mlcc_status *draw_layers(const benching *b, const bench_lengths *l, const char *path) {
    bench_case cases[3];
    size_t n_cases = 0;
    int64_t longest = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        const bool is_one_pass = b->rows[i].prompt_tokens <= b->info.prefill_chunk;
        if (is_one_pass && b->rows[i].prompt_tokens > longest) longest = b->rows[i].prompt_tokens;
    }
    const bool decodes = l->n_gens > 0 && l->gens[0] > 0;
    const int64_t first = l->depths[0], last = l->depths[l->n_depths - 1];
    if (decodes) cases[n_cases++] = (bench_case){.gen = 1, .batch = 1, .depth = first};
    if (decodes && last != first)
        cases[n_cases++] = (bench_case){.gen = 1, .batch = 1, .depth = last};
    if (longest > 0) cases[n_cases++] = (bench_case){.prompt = longest, .batch = 1};
    return bench_layers(b, cases, n_cases, path);
}

static mlcc_status *measure_ceilings(benching *b, int32_t n_threads) {
    if (strcmp(b->info.device, "cpu") == 0) {
        MLCC_TRY(ceiling_measure(n_threads, &b->machine));
        const size_t unit = ceiling_unit_for(&b->machine, b->arithmetic, b->features);
        b->gflop_per_s = b->machine.unit_gop_per_s[unit];
        b->arithmetic_name = ceiling_units[unit].name;
        return NULL;
    }
    MLCC_TRY(ceiling_measure_cuda(b->info.device, b->info.device_description, &b->machine));
    b->gflop_per_s = b->machine.f16_gflop_per_s;
    b->arithmetic_name = "matrix units";
    if (b->is_fp8 && b->machine.fp8_gflop_per_s > 0.0) b->gflop_per_s = b->machine.fp8_gflop_per_s;
    return NULL;
}

mlcc_status *bench_run(
    const char *directory, const char *label, bool made_up_weights, const args_values *values) {
    static benching b;
    memset(&b, 0, sizeof b);
    bench_lengths lengths;
    MLCC_TRY(read_options(values, &lengths));
    b.label = label;
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
    if (status == NULL) bench_print(&b, args_text(values, "format"));
    const char *svg = args_text(values, "svg");
    if (status == NULL && svg != NULL) status = draw_layers(&b, &lengths, svg);
    for (size_t i = 0; i < b.n_rows; i++) free(b.rows[i].samples);
    free(b.tokens);
    free(b.features);
    mlcc_model_close(b.model);
    return status;
}
