// kernels_bench: times the kernels natively on the shapes of TinyLlama-1.1B, beside the ceilings of the machine.
//
//   bench_kernels [--check] [--turns] [--variant NAME] [--kernel NAME] [--dtype NAME] [--threads N] [--rows M,M,…] [--seconds S]
//                 [--shape N,K]
//
// --turns: linear_scaled and the best linear, one after the other in turn, on the shapes of TinyLlama and Llama-2-7B or on N,K.
//
// --check compares every kernel with plain loops instead (exit 1 on a difference). As many runs as fit into S seconds a row
// (default 0.5); rates are those of the fastest tenth, as the ceilings are, because neighbours on a shared machine only ever
// add time; the median stands beside it. The ceilings are measured before and after every row and the higher one counts: what
// the machine can do changes with its neighbours. Weights rotate through more memory than any cache holds, as layers do.
#include "codegen/cpu/kernels/panel16.h"
#include "tests/bench/kernel_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_options {
    const char *variant, *kernel, *dtype;
    int32_t threads;
    const char *rows, *shape;
    double seconds;
    bool turns;
} bench_options;

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct bench_time {
    double fast, median; // seconds of one launch
    double flops, read;  // ceilings around it
} bench_time;

// envs rotate.
static bench_time time_launches(
    const kernel_unit *unit, const kernel_env *envs, size_t n_envs, int32_t threads,
    double seconds) {
    enum { LIMIT = 4096 };
    static double times[LIMIT];
    size_t n = 0;
    const double flops = unit_peak_flops(threads), read = unit_peak_read(threads);
    unit_launch(unit, &envs[n_envs - 1], threads);
    const double start = unit_seconds();
    while (n < LIMIT && (n < 5 || unit_seconds() - start < seconds)) {
        const double from = unit_seconds();
        unit_launch(unit, &envs[n % n_envs], threads);
        times[n++] = unit_seconds() - from;
    }
    qsort(times, n, sizeof times[0], compare_doubles);
    return (bench_time){.fast = times[n / 10],
                        .median = times[n / 2],
                        .flops = fmax(flops, unit_peak_flops(threads)),
                        .read = fmax(read, unit_peak_read(threads))};
}

static void print_row(
    const kernel_unit *unit, const char *shape, int32_t threads, bench_time time, double bytes,
    double flops) {
    const double seconds = time.fast;
    printf(
        "%-16s %-11s %-9s %-24s %d %10.1f us (median %10.1f) %7.2f GB/s %3.0f%% of %4.1f %8.1f "
        "GFLOP/s %3.0f%% of %4.0f\n",
        unit->kernel, unit->variant, unit_dtype_text(unit->dtype), shape, threads, seconds * 1e6,
        time.median * 1e6, bytes / seconds * 1e-9, 100 * bytes / seconds / time.read,
        time.read * 1e-9, flops / seconds * 1e-9, 100 * flops / seconds / time.flops,
        time.flops * 1e-9);
    fflush(stdout);
}

static void bench_linear(const kernel_unit *unit, const bench_options *options) {
    static const int64_t shapes[][2] = {{2048, 2048}, {5632, 2048}, {2048, 5632}, {32000, 2048}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const int64_t n = shapes[s][0], k = shapes[s][1];
        int64_t one_bytes = 0;
        kernel_panel16_size(unit->dtype, n, k, &one_bytes);
        const size_t n_weights = (size_t)(160000000 / one_bytes + 1);
        unit_weight first = unit_weight_make(unit->dtype, n, k, 1, false);
        char *weights = unit_alloc(n_weights * (size_t)one_bytes);
        for (size_t i = 0; i < n_weights; i++)
            memcpy(weights + i * (size_t)one_bytes, first.prepared, (size_t)one_bytes);
        unit_weight_free(&first);
        kernel_env *envs = calloc(n_weights, sizeof *envs);
        const int64_t max_rows = 512;
        float *x = unit_alloc((size_t)(max_rows * k) * 4),
              *result = unit_alloc((size_t)(max_rows * n) * 4);
        uint64_t state = 3;
        for (int64_t i = 0; i < max_rows * k; i++) x[i] = unit_random(&state);
        for (const char *at = options->rows; *at != '\0'; at += *at == ',') {
            char *end;
            const int64_t m = strtol(at, &end, 10);
            at = end;
            if (m < 1 || m > max_rows) break;
            for (size_t i = 0; i < n_weights; i++)
                envs[i] = (kernel_env){.dims = {{m, k}, {n, k}},
                                       .pointers = {x, weights + i * (size_t)one_bytes},
                                       .result = result,
                                       .result_columns = n,
                                       .result_rows = m};
            char shape[48];
            snprintf(
                shape, sizeof shape, "M=%lld N=%lld K=%lld", (long long)m, (long long)n,
                (long long)k);
            const bench_time time =
                time_launches(unit, envs, n_weights, options->threads, options->seconds);
            print_row(
                unit, shape, options->threads, time, (double)one_bytes,
                2.0 * (double)m * (double)n * (double)k);
        }
        free(weights), free(envs), free(x), free(result);
    }
}

typedef struct attention_shape {
    const char *name;
    int64_t heads, kv_heads, head_dim;
} attention_shape;

// t tokens behind which the cache is `depth` deep: of one sequence, or of one each where t is at most 4.
static void bench_attention_case(
    const kernel_unit *unit, const bench_options *options, const attention_shape *shape, int64_t t,
    int64_t depth) {
    const int64_t columns = shape->heads * shape->head_dim, n_slots = (depth + 15) / 16;
    const int64_t element = unit->dtype == KERNEL_F32 ? 4 : 2,
                  page_bytes = 2 * shape->kv_heads * 16 * shape->head_dim * element;
    const bool decode = t <= 4;
    const int64_t n_seqs = decode ? t : 1, layer_bytes = n_seqs * n_slots * page_bytes;
    // As many layers as are more than any cache holds.
    enum { MOST_LAYERS = 128 };
    int64_t n_layers = 200000000 / layer_bytes + 1;
    n_layers = n_layers > MOST_LAYERS ? MOST_LAYERS : n_layers;
    char *cache = unit_alloc((size_t)(n_layers * layer_bytes));
    int32_t *table = unit_alloc((size_t)(n_seqs * n_slots) * 4),
            *seq_ids = unit_alloc((size_t)t * 4), *positions = unit_alloc((size_t)t * 4);
    for (int64_t i = 0; i < n_seqs * n_slots; i++)
        table[i] = (int32_t)(i * 37 % (n_seqs * n_slots));
    for (int64_t i = 0; i < t; i++) {
        seq_ids[i] = decode ? (int32_t)i : 0;
        positions[i] = (int32_t)(decode ? depth - 1 : depth - t + i);
    }
    float *q = unit_alloc((size_t)(t * columns) * 4),
          *result = unit_alloc((size_t)(t * columns) * 4);
    kernel_env envs[MOST_LAYERS];
    for (int64_t layer = 0; layer < n_layers; layer++) {
        envs[layer] =
            (kernel_env){.dims =
                             {{t, columns},
                              {n_seqs * n_slots, 2, shape->kv_heads, 16, shape->head_dim},
                              {n_seqs, n_slots}},
                         .pointers = {q, cache + layer * layer_bytes, table, seq_ids, positions},
                         .result = result,
                         .result_columns = columns,
                         .result_rows = t,
                         .head_dim = shape->head_dim,
                         .scale = 0.125};
    }
    double keys = 0;
    for (int64_t i = 0; i < t; i++) keys += (double)(positions[i] + 1);
    char text[64];
    snprintf(
        text, sizeof text, "%s T=%lld depth=%lld", shape->name, (long long)t, (long long)depth);
    const bench_time time =
        time_launches(unit, envs, (size_t)n_layers, options->threads, options->seconds);
    print_row(
        unit, text, options->threads, time,
        (double)(n_seqs * depth * 2 * shape->kv_heads * shape->head_dim * element),
        keys * (double)columns * 4.0);
    free(cache), free(table), free(seq_ids), free(positions), free(q), free(result);
}

// Decode at depths, and prefill. Head sizes are not constants here as they are in a model: mlcc's code is faster.
static void bench_attention(const kernel_unit *unit, const bench_options *options) {
    static const attention_shape shapes[] = {
        {"tinyllama", 32, 4, 64}, {"qwen-0.5b", 14, 2, 64}, {"7b", 32, 32, 128}};
    static const int64_t cases[][2] = {{1, 256},  {1, 2048},  {1, 8192},
                                       {4, 2048}, {512, 512}, {128, 2048}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
            bench_attention_case(unit, options, &shapes[s], cases[c][0], cases[c][1]);
    }
}

// Kernels that take rows and give rows.
static void bench_rows(const kernel_unit *unit, const bench_options *options) {
    static const int64_t rows[] = {1, 128};
    const int64_t columns = 2048;
    float *x = unit_alloc((size_t)(128 * columns) * 4),
          *result = unit_alloc((size_t)(128 * columns) * 4);
    void *gain = unit_alloc((size_t)columns * 4);
    for (int64_t i = 0; i < 128 * columns; i++) x[i] = (float)(i % 17) - 8.0f;
    for (size_t s = 0; s < sizeof rows / sizeof rows[0]; s++) {
        kernel_env env = {
            .dims = {{rows[s], columns}, {columns}},
            .pointers = {x, gain},
            .result = result,
            .result_columns = columns,
            .result_rows = rows[s],
            .eps = 1e-5};
        char shape[48];
        snprintf(shape, sizeof shape, "M=%lld D=%lld", (long long)rows[s], (long long)columns);
        const bench_time time = time_launches(unit, &env, 1, options->threads, options->seconds);
        print_row(
            unit, shape, options->threads, time, (double)(rows[s] * columns * 8),
            (double)(rows[s] * columns * 4));
    }
    free(x), free(result), free(gain);
}

// Every element type that linear_scaled or linear_bf16 has units of.
static void bench_turns(const bench_options *options) {
    static const int64_t shapes[][2] = {{2560, 2048}, {2048, 2048},  {11264, 2048},
                                        {2048, 5632}, {32000, 2048}, {4096, 11008}};
    long long wanted[2] = {0, 0};
    if (options->shape != NULL && sscanf(options->shape, "%lld,%lld", &wanted[0], &wanted[1]) != 2)
        return;
    for (int32_t dtype = 0; dtype < KERNEL_N_DTYPES; dtype++) {
        if (options->dtype != NULL && strcmp(unit_dtype_text(dtype), options->dtype) != 0) continue;
        kernel_turns turns = {
            .variant = options->variant,
            .dtype = dtype,
            .threads = options->threads,
            .n = wanted[0],
            .k = wanted[1],
            .rows = options->rows,
            .seconds = options->seconds};
        if (wanted[0] > 0) {
            kernel_bench_turns(&turns);
            continue;
        }
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            turns.n = shapes[s][0];
            turns.k = shapes[s][1];
            kernel_bench_turns(&turns);
        }
    }
}

int main(int argc, char **argv) {
    bench_options options = {.rows = "1,2,4,8,16,128,512", .seconds = 0.5, .threads = 0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--check") == 0) return kernel_check_all() == 0 ? 0 : 1;
        if (strcmp(argv[i], "--turns") == 0)
            options.turns = true;
        else if (i + 1 < argc && strcmp(argv[i], "--shape") == 0)
            options.shape = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--variant") == 0)
            options.variant = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--kernel") == 0)
            options.kernel = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--dtype") == 0)
            options.dtype = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--threads") == 0)
            options.threads = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--rows") == 0)
            options.rows = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            options.seconds = atof(argv[++i]);
        else {
            fprintf(
                stderr,
                "usage: bench_kernels [--check] [--turns] [--variant NAME] [--kernel NAME] "
                "[--dtype NAME] [--threads 1|2] [--rows M,M,...] [--seconds S] [--shape N,K]\n");
            return 2;
        }
    }
    const int32_t all_threads = 2;
    for (int32_t threads = 1; threads <= all_threads; threads++) {
        if (options.threads != 0 && options.threads != threads) continue;
        bench_options one = options;
        one.threads = threads;
        if (options.turns) {
            bench_turns(&one);
            continue;
        }
        for (size_t i = 0; kernel_units[i] != NULL; i++) {
            const kernel_unit *unit = kernel_units[i];
            if (!unit_runs_here(unit->variant)) continue;
            if (options.variant != NULL && strcmp(options.variant, unit->variant) != 0) continue;
            if (options.kernel != NULL &&
                strncmp(unit->kernel, options.kernel, strlen(options.kernel)) != 0)
                continue;
            if (options.dtype != NULL && strcmp(unit_dtype_text(unit->dtype), options.dtype) != 0)
                continue;
            if (strcmp(unit->kernel, "linear_panel16") == 0)
                bench_linear(unit, &one);
            else if (strcmp(unit->kernel, "paged_attention") == 0)
                bench_attention(unit, &one);
            else if (strcmp(unit->kernel, "rms_norm") == 0)
                bench_rows(unit, &one);
            else if (strcmp(unit->kernel, "quantize_activation") == 0)
                bench_rows(unit, &one);
        }
    }
    return 0;
}
