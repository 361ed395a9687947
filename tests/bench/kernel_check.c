// kernel_check: every unit against plain loops in double, on odd shapes.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/panel16.h"
#include "tests/bench/kernel_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_failures;

static float *random_floats(int64_t count, uint64_t seed) {
    float *values = unit_alloc((size_t)(count > 0 ? count : 1) * 4);
    for (int64_t i = 0; i < count; i++) values[i] = unit_random(&seed);
    return values;
}

static void fail(const kernel_unit *unit, const char *what, const char *how) {
    n_failures++;
    printf(
        "FAIL %s/%s %s %s: %s\n", unit->variant, unit->kernel, unit_dtype_text(unit->dtype), what,
        how);
}

// The largest |difference| / (1 + |expected|) must stay below the tolerance.
static void compare(
    const kernel_unit *unit, const char *what, const float *got, const double *expected,
    int64_t count, double tolerance) {
    double worst = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)got[i] - expected[i]) / (1 + fabs(expected[i]));
        if (!(error <= worst)) {
            worst = error;
            where = i;
        }
    }
    if (worst <= tolerance) return;
    n_failures++;
    printf(
        "FAIL %s/%s %s %s: element %lld is %.9g, expected %.9g (error %.3g, allowed %.3g)\n",
        unit->variant, unit->kernel, unit_dtype_text(unit->dtype), what, (long long)where,
        (double)got[where], expected[where], worst, tolerance);
}

typedef struct linear_case {
    int64_t n, k, max_rows;
} linear_case;

// Row 0 of every launch must have the bits of row 0 with M = 2: a row's result depends on nothing but the row.
static void check_linear_rows(
    const kernel_unit *unit, const linear_case *c, int64_t n_rows, const unit_weight *weight,
    const float *x, const double *expected, const uint16_t *bias, float *row0) {
    const int64_t n = c->n;
    float *result = unit_alloc((size_t)((n_rows + 1) * n) * 4);
    kernel_env env = {
        .dims = {{n_rows, c->k}, {n, c->k}},
        .pointers = {x, weight->prepared, bias},
        .result = result,
        .result_columns = n,
        .result_rows = n_rows};
    char what[64];
    snprintf(
        what, sizeof what, "M=%lld N=%lld K=%lld%s", (long long)n_rows, (long long)n,
        (long long)c->k, bias ? " bias" : "");
    for (int32_t threads = 1; threads <= 2; threads++) {
        memset(result, 0x55, (size_t)((n_rows + 1) * n) * 4);
        unit_launch(unit, &env, threads);
        for (int64_t i = 0; bias != NULL && i < n_rows * n; i++)
            result[i] -= kernel_f16_to_f32(bias[i % n]);
        // Sums of many terms lose more where they cancel.
        compare(unit, what, result, expected, n_rows * n, 3e-5 + 2e-9 * (double)c->k);
        if (((const uint32_t *)result)[n_rows * n] != 0x55555555u)
            fail(unit, what, "writes beyond its rows");
        if (bias != NULL || n_rows == 0) continue;
        if (n_rows == 2 && threads == 1)
            memcpy(row0, result, (size_t)n * 4);
        else if (n_rows >= 2 && memcmp(row0, result, (size_t)n * 4) != 0)
            fail(unit, what, "row 0 differs from M=2");
    }
    if (n_rows == 2) {
        env.dims[0][0] = 1;
        unit_launch(unit, &env, 2);
        if (bias == NULL && memcmp(row0, result, (size_t)n * 4) != 0)
            fail(unit, what, "row 0 of M=2 differs from M=1");
    }
    free(result);
}

static void check_linear(const kernel_unit *unit) {
    static const linear_case cases[] = {
        {1, 1, 400},     {16, 32, 400},  {15, 33, 400},   {17, 64, 400},   {64, 64, 400},
        {172, 100, 400}, {65, 257, 400}, {300, 192, 400}, {130, 384, 400}, {37, 1500, 260},
        {119, 31000, 2}, {24, 344, 400}, {128, 576, 200},
    };
    static const int64_t rows[] = {0, 2, 1, 3, 4, 5, 6, 7, 8, 9, 13, 31, 193, 260, 400};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const linear_case *c = &cases[i];
        if (!unit_weight_fits(unit->dtype, c->n, c->k)) continue;
        unit_weight weight = unit_weight_make(unit->dtype, c->n, c->k, 7 + i, true);
        float *x = random_floats(c->max_rows * c->k, 99 + i), *row0 = unit_alloc((size_t)c->n * 4);
        uint16_t *bias = unit_alloc((size_t)c->n * 2);
        for (int64_t j = 0; j < c->n; j++) bias[j] = kernel_f32_to_f16((float)(j % 7) - 3.0f);
        double *expected = unit_alloc((size_t)(c->max_rows * c->n) * 8);
        for (int64_t r = 0; r < c->max_rows; r++) {
            for (int64_t j = 0; j < c->n; j++) {
                double sum = 0;
                for (int64_t k = 0; k < c->k; k++)
                    sum += (double)x[r * c->k + k] * (double)weight.values[j * c->k + k];
                expected[r * c->n + j] = sum;
            }
        }
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
            if (rows[m] > c->max_rows) continue;
            check_linear_rows(unit, c, rows[m], &weight, x, expected, NULL, row0);
            if (m % 3 == 0) check_linear_rows(unit, c, rows[m], &weight, x, expected, bias, row0);
        }
        free(x), free(row0), free(bias), free(expected);
        unit_weight_free(&weight);
    }
}

typedef struct attention_case {
    int64_t n_heads, n_kv_heads, head_dim, n_seqs, window;
    double softcap;
    int64_t lengths[4], news[4]; // keys in all, and how many of them have queries
    bool has_sinks, has_slopes;
} attention_case;

static float as_stored(int32_t dtype, float value) {
    float element;
    kernel_store_as(&element, dtype, 0, value);
    return kernel_load_as_f32(&element, dtype, 0);
}

static void check_attention_case(const kernel_unit *unit, const attention_case *c, size_t number) {
    const int64_t hd = c->head_dim, n_slots = 100, n_pages = 191,
                  page_floats = c->n_kv_heads * 16 * hd;
    int64_t n_tokens = 0;
    for (int64_t s = 0; s < c->n_seqs; s++) n_tokens += c->news[s];
    const size_t element = unit->dtype == KERNEL_F32 ? 4 : 2;
    char *cache = unit_alloc((size_t)(n_pages * 2 * page_floats) * element);
    memset(
        cache, 0xff,
        (size_t)(n_pages * 2 * page_floats) * element); // NaN wherever nothing was written
    int32_t *table = unit_alloc((size_t)(c->n_seqs * n_slots) * 4),
            *seq_ids = unit_alloc((size_t)n_tokens * 4),
            *positions = unit_alloc((size_t)n_tokens * 4);
    const int64_t width = c->n_kv_heads * hd;
    // The cache is filled by kv_append, whose result is checked through the attention.
    const kernel_unit *append = unit_find("kv_append", "portable", unit->dtype);
    float *keys[4], *values[4];
    int32_t next_page = 3;
    for (int64_t s = 0; s < c->n_seqs; s++) {
        for (int64_t i = 0; i < n_slots; i++)
            table[s * n_slots + i] =
                i < (c->lengths[s] + 15) / 16 ? (next_page += 7) % (int32_t)n_pages : -1;
        keys[s] = random_floats(c->lengths[s] * width, 1000 + (uint64_t)s);
        values[s] = random_floats(c->lengths[s] * width, 2000 + (uint64_t)s);
        for (int64_t i = 0; i < c->lengths[s] * width; i++) {
            keys[s][i] = as_stored(unit->dtype, keys[s][i] * 2.0f);
            values[s][i] = as_stored(unit->dtype, values[s][i]);
        }
        int32_t *ids = unit_alloc((size_t)c->lengths[s] * 4),
                *at = unit_alloc((size_t)c->lengths[s] * 4);
        for (int64_t i = 0; i < c->lengths[s]; i++) ids[i] = (int32_t)s, at[i] = (int32_t)i;
        kernel_env env = {
            .dims =
                {{n_pages, 2, c->n_kv_heads, 16, hd},
                 {c->lengths[s], width},
                 {c->lengths[s], width},
                 {c->n_seqs, n_slots}},
            .pointers = {cache, keys[s], values[s], table, ids, at},
            .result = cache};
        unit_launch(append, &env, 2);
        free(ids), free(at);
    }
    int64_t token = 0;
    for (int64_t s = 0; s < c->n_seqs; s++) {
        for (int64_t i = 0; i < c->news[s]; i++, token++) {
            seq_ids[token] = (int32_t)s;
            positions[token] = (int32_t)(c->lengths[s] - c->news[s] + i);
        }
    }
    const int64_t columns = c->n_heads * hd;
    float *q = random_floats(n_tokens * columns, 5),
          *result = unit_alloc((size_t)(n_tokens * columns) * 4),
          *single = unit_alloc((size_t)columns * 4);
    double *expected = unit_alloc((size_t)(n_tokens * columns) * 8), *score = unit_alloc(8 * 1600);
    const double scale = 1 / sqrt((double)hd);
    float *sinks = random_floats(c->n_heads, 6);
    uint16_t *slopes = unit_alloc((size_t)c->n_heads * 2);
    for (int64_t h = 0; h < c->n_heads; h++)
        kernel_store_as(slopes, KERNEL_F16, h, (float)exp2(-8.0 * (double)(h + 1) / 12));
    sinks[c->n_heads / 2] = -HUGE_VALF;
    for (int64_t t = 0; t < n_tokens; t++) {
        const int64_t s = seq_ids[t], last = positions[t],
                      first = c->window > 0 && last >= c->window ? last - c->window + 1 : 0;
        for (int64_t h = 0; h < c->n_heads; h++) {
            const int64_t kv = h / (c->n_heads / c->n_kv_heads);
            const double slope = (double)kernel_load_as_f32(slopes, KERNEL_F16, h);
            const double sink = c->has_sinks ? (double)sinks[h] : -HUGE_VAL;
            double highest = sink;
            for (int64_t p = first; p <= last; p++) {
                double sum = 0;
                for (int64_t d = 0; d < hd; d++)
                    sum += (double)q[t * columns + h * hd + d] *
                           (double)keys[s][p * width + kv * hd + d];
                score[p] = sum * scale;
                if (c->softcap > 0) score[p] = c->softcap * tanh(score[p] / c->softcap);
                if (c->has_slopes) score[p] += slope * (double)(p - last);
                highest = score[p] > highest ? score[p] : highest;
            }
            double total = exp(sink - highest);
            for (int64_t p = first; p <= last; p++) total += score[p] = exp(score[p] - highest);
            for (int64_t d = 0; d < hd; d++) {
                double sum = 0;
                for (int64_t p = first; p <= last; p++)
                    sum += score[p] * (double)values[s][p * width + kv * hd + d];
                expected[t * columns + h * hd + d] = sum / total;
            }
        }
    }
    kernel_env env = {
        .dims = {{n_tokens, columns}, {n_pages, 2, c->n_kv_heads, 16, hd}, {c->n_seqs, n_slots}},
        .pointers =
            {q, cache, table, seq_ids, positions, c->has_sinks ? sinks : NULL,
             c->has_slopes ? slopes : NULL},
        .result = result,
        .result_columns = columns,
        .result_rows = n_tokens,
        .head_dim = hd,
        .window = c->window,
        .scale = scale,
        .softcap = c->softcap};
    char what[64];
    snprintf(what, sizeof what, "case %zu", number);
    // However the queries of a head are shared out, the bits are those of one thread.
    float *first_result = unit_alloc((size_t)(n_tokens * columns) * 4);
    for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
        memset(result, 0x55, (size_t)(n_tokens * columns) * 4);
        unit_launch(unit, &env, threads);
        compare(unit, what, result, expected, n_tokens * columns, 1e-5);
        if (threads == 1)
            memcpy(first_result, result, (size_t)(n_tokens * columns) * 4);
        else if (memcmp(first_result, result, (size_t)(n_tokens * columns) * 4) != 0)
            n_failures++, printf(
                              "FAIL %s attention %s: %d threads differ from one\n", unit->variant,
                              what, threads);
    }
    free(first_result);
    // One token alone gives the same bits as among others.
    for (int64_t t = 0; t < n_tokens; t += 5) {
        kernel_env alone = env;
        alone.dims[0][0] = 1;
        alone.pointers[0] = q + t * columns;
        alone.pointers[3] = seq_ids + t;
        alone.pointers[4] = positions + t;
        alone.result = single;
        for (int32_t threads = 1; threads <= 8; threads += 7) {
            memset(single, 0x55, (size_t)columns * 4);
            unit_launch(unit, &alone, threads);
            if (memcmp(single, result + t * columns, (size_t)columns * 4) != 0)
                n_failures++, printf(
                                  "FAIL %s attention %s: token %lld alone differs\n", unit->variant,
                                  what, (long long)t);
        }
    }
    for (int64_t s = 0; s < c->n_seqs; s++) free(keys[s]), free(values[s]);
    free(cache), free(table), free(seq_ids), free(positions), free(q), free(result), free(single),
        free(expected), free(score), free(sinks), free(slopes);
}

// How a token's positions are shared out: 4 kv heads of 8 heads each. Chunks run alone, one after the other, and what they leave in
// shared memory (paged_attention_whole.h) says which stretches they read. Threads take the next chunk when they are through, so
// each has about as many positions as the others; together they read every position of every head once.
static void check_attention_shares(
    const kernel_unit *unit, int64_t n_threads, int64_t n_positions) {
    enum { HEADS = 32, KV_HEADS = 4, DIM = 16, STRETCH = 512, MOST_THREADS = 64 };
    const int64_t n_slots = (n_positions + 15) / 16, n_stretches = (n_slots * 16 - 1) / STRETCH + 1;
    const size_t element = unit->dtype == KERNEL_F32 ? 4 : 2, row_bytes = (DIM + 32) * 4,
                 cell_bytes = HEADS / KV_HEADS * row_bytes,
                 shared_bytes = (size_t)(KV_HEADS * n_stretches) * cell_bytes;
    int32_t *table = unit_alloc((size_t)n_slots * 4), seq_id = 0,
            position = (int32_t)n_positions - 1;
    for (int64_t i = 0; i < n_slots; i++) table[i] = (int32_t)i;
    float *q = random_floats(HEADS * DIM, 5), *result = unit_alloc((size_t)HEADS * DIM * 4);
    char *cache = unit_alloc((size_t)(n_slots * 2 * KV_HEADS * 16 * DIM) * element),
         *shared = unit_alloc(shared_bytes), *untouched = unit_alloc(cell_bytes);
    const kernel_env env = {
        .dims = {{1, HEADS * DIM}, {n_slots, 2, KV_HEADS, 16, DIM}, {1, n_slots}},
        .pointers = {q, cache, table, &seq_id, &position},
        .result = result,
        .result_columns = HEADS * DIM,
        .result_rows = 1,
        .scratch = unit_alloc(1 << 20),
        .shared = shared,
        .shared_bytes = (int64_t)shared_bytes,
        .head_dim = DIM,
        .scale = 0.25};
    const int64_t n_items = unit->items(&env), chunk = unit->chunk(&env, n_threads);
    int64_t taken[MOST_THREADS] = {0}, all = 0;
    memset(untouched, 0xff, cell_bytes);
    for (int64_t begin = 0; begin < n_items; begin += chunk) {
        memset(shared, 0xff, shared_bytes);
        unit->run(&env, begin, begin + chunk < n_items ? begin + chunk : n_items);
        int64_t thread = 0;
        for (int64_t i = 1; i < n_threads; i++) thread = taken[i] < taken[thread] ? i : thread;
        for (int64_t cell = 0; cell < KV_HEADS * n_stretches; cell++) {
            if (memcmp(shared + (size_t)cell * cell_bytes, untouched, cell_bytes) == 0) continue;
            const int64_t from = cell % n_stretches * STRETCH, left = n_positions - from;
            taken[thread] += left < STRETCH ? left : STRETCH;
            all += left < STRETCH ? left : STRETCH;
        }
    }
    bool is_even = all == KV_HEADS * n_positions;
    for (int64_t i = 0; i < n_threads; i++)
        is_even = is_even && 10 * taken[i] * n_threads >= 8 * all &&
                  10 * taken[i] * n_threads <= 12 * all;
    if (!is_even)
        n_failures++, printf(
                          "FAIL %s attention: %lld positions over %lld threads: %lld read, the "
                          "first thread %lld\n",
                          unit->variant, (long long)n_positions, (long long)n_threads,
                          (long long)all, (long long)taken[0]);
    free(table), free(q), free(result), free(cache), free(shared), free(untouched);
    free(env.scratch);
}

static void check_attention(const kernel_unit *unit) {
    static const attention_case cases[] = {
        {.n_heads = 8, .n_kv_heads = 4, .head_dim = 8, .n_seqs = 1, .lengths = {1}, .news = {1}},
        {.n_heads = 8, .n_kv_heads = 4, .head_dim = 8, .n_seqs = 1, .lengths = {40}, .news = {40}},
        {.n_heads = 7,
         .n_kv_heads = 1,
         .head_dim = 64,
         .n_seqs = 2,
         .lengths = {33, 100},
         .news = {33, 1}},
        {.n_heads = 32,
         .n_kv_heads = 4,
         .head_dim = 64,
         .n_seqs = 4,
         .lengths = {17, 64, 1, 200},
         .news = {1, 1, 1, 1}},
        {.n_heads = 6,
         .n_kv_heads = 2,
         .head_dim = 80,
         .n_seqs = 3,
         .lengths = {31, 16, 90},
         .news = {30, 16, 2},
         .window = 20},
        {.n_heads = 4,
         .n_kv_heads = 4,
         .head_dim = 100,
         .n_seqs = 1,
         .lengths = {150},
         .news = {60},
         .softcap = 2.0},
        {.n_heads = 71, .n_kv_heads = 1, .head_dim = 64, .n_seqs = 1, .lengths = {70}, .news = {3}},
        {.n_heads = 2,
         .n_kv_heads = 1,
         .head_dim = 512,
         .n_seqs = 1,
         .lengths = {50},
         .news = {50},
         .window = 7,
         .softcap = 50.0},
        {.n_heads = 3,
         .n_kv_heads = 3,
         .head_dim = 128,
         .n_seqs = 1,
         .lengths = {300},
         .news = {290}},
        // Tiles that are not full, and blocks of many tokens.
        {.n_heads = 10,
         .n_kv_heads = 2,
         .head_dim = 32,
         .n_seqs = 1,
         .lengths = {70},
         .news = {70}},
        {.n_heads = 12,
         .n_kv_heads = 2,
         .head_dim = 48,
         .n_seqs = 3,
         .lengths = {100, 65, 33},
         .news = {1, 2, 1}},
        {.n_heads = 3,
         .n_kv_heads = 1,
         .head_dim = 24,
         .n_seqs = 2,
         .lengths = {130, 95},
         .news = {1, 40},
         .window = 40},
        {.n_heads = 2,
         .n_kv_heads = 2,
         .head_dim = 96,
         .n_seqs = 2,
         .lengths = {230, 64},
         .news = {200, 50},
         .window = 90},
        {.n_heads = 8,
         .n_kv_heads = 1,
         .head_dim = 256,
         .n_seqs = 1,
         .lengths = {161},
         .news = {1},
         .softcap = 30.0},
        {.n_heads = 8,
         .n_kv_heads = 1,
         .head_dim = 64,
         .n_seqs = 2,
         .lengths = {161, 90},
         .news = {1, 40},
         .window = 40,
         .has_sinks = true},
        {.n_heads = 12,
         .n_kv_heads = 12,
         .head_dim = 24,
         .n_seqs = 2,
         .lengths = {70, 200},
         .news = {70, 1},
         .has_sinks = true,
         .has_slopes = true},
        // Several stretches: one token, few of different lengths, a prompt; a window that begins inside of one.
        {.n_heads = 8,
         .n_kv_heads = 2,
         .head_dim = 64,
         .n_seqs = 1,
         .lengths = {1600},
         .news = {1}},
        {.n_heads = 6,
         .n_kv_heads = 3,
         .head_dim = 20,
         .n_seqs = 3,
         .lengths = {1500, 3, 513},
         .news = {1, 1, 2},
         .softcap = 5.0},
        {.n_heads = 4,
         .n_kv_heads = 1,
         .head_dim = 32,
         .n_seqs = 2,
         .lengths = {1100, 520},
         .news = {60, 9},
         .window = 600,
         .has_sinks = true,
         .has_slopes = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_attention_case(unit, &cases[i], i);
    check_attention_shares(unit, 8, 4096);
    check_attention_shares(unit, 3, 4096);
    check_attention_shares(unit, 64, 16384);
    check_attention_shares(unit, 16, 4000);
}

static void check_embedding(const kernel_unit *unit) {
    static const int64_t shapes[][2] = {{5, 3}, {100, 64}, {33, 100}, {512, 1030}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const int64_t vocab = shapes[s][0], columns = shapes[s][1], n_tokens = 9;
        unit_weight table = unit_weight_make(unit->dtype, vocab, columns, 3 + s, true);
        const int32_t ids[9] = {
            0, 1, 2, 3, 4, (int32_t)vocab - 1, (int32_t)vocab / 2, -1, (int32_t)vocab};
        float *result = unit_alloc((size_t)(n_tokens * columns) * 4);
        double *expected = unit_alloc((size_t)(n_tokens * columns) * 8);
        for (int64_t t = 0; t < 7; t++) {
            for (int64_t c = 0; c < columns; c++)
                expected[t * columns + c] = (double)table.values[ids[t] * columns + c];
        }
        kernel_env env = {
            .dims = {{n_tokens}, {vocab, columns}},
            .pointers = {ids, table.prepared},
            .result = result,
            .result_columns = columns,
            .result_rows = n_tokens};
        unit_launch(unit, &env, 2);
        compare(unit, "rows", result, expected, n_tokens * columns, 0.0);
        free(result), free(expected);
        unit_weight_free(&table);
    }
}

static void check_rms_norm(const kernel_unit *unit) {
    static const int64_t columns_of[] = {1, 15, 16, 31, 64, 100, 2048, 4099};
    for (size_t s = 0; s < sizeof columns_of / sizeof columns_of[0]; s++) {
        const int64_t columns = columns_of[s], n_rows = 5;
        float *x = random_floats(n_rows * columns, s),
              *result = unit_alloc((size_t)(n_rows * columns) * 4),
              *kept = unit_alloc((size_t)(n_rows * columns) * 4);
        unit_weight gain = unit_weight_make(unit->dtype, 1, columns, 8, true);
        double *expected = unit_alloc((size_t)(n_rows * columns) * 8);
        for (int64_t r = 0; r < n_rows; r++) {
            double sum = 0;
            for (int64_t c = 0; c < columns; c++)
                sum += (double)x[r * columns + c] * (double)x[r * columns + c];
            for (int64_t c = 0; c < columns; c++)
                expected[r * columns + c] = (double)x[r * columns + c] /
                                            sqrt(sum / (double)columns + 1e-5) *
                                            (double)gain.values[c];
        }
        kernel_env env = {
            .dims = {{n_rows, columns}, {columns}},
            .pointers = {x, gain.pieces[0]},
            .result = result,
            .kept = kept,
            .result_columns = columns,
            .result_rows = n_rows,
            .eps = 1e-5};
        unit_launch(unit, &env, 2);
        compare(unit, "rows", result, expected, n_rows * columns, 5e-7);
        if (memcmp(kept, x, (size_t)(n_rows * columns) * 4) != 0)
            n_failures++, printf("FAIL rms_norm keeps other values\n");
        free(x), free(result), free(kept), free(expected);
        unit_weight_free(&gain);
    }
}

static void check_rope_table(const kernel_unit *unit) {
    enum { N = 12, HALF = 33 };
    static const int32_t positions[N] = {0,    1,      2,      3,       17,       1000,
                                         4095, 131071, 999999, 1000000, 16777215, 100000000};
    float frequencies[HALF], result[N * 2 * HALF];
    double expected[N * 2 * HALF];
    for (int i = 0; i < HALF; i++) frequencies[i] = (float)pow(10000.0, -i / (double)HALF);
    for (int t = 0; t < N; t++) {
        for (int i = 0; i < HALF; i++) {
            const double angle = (double)positions[t] * (double)frequencies[i];
            const double length = 1.25 * (1 + 0.1 * log(1 + (double)(positions[t] / 1024)));
            expected[t * 2 * HALF + i] = (double)(float)(length * cos(angle));
            expected[t * 2 * HALF + HALF + i] = (double)(float)(length * sin(angle));
        }
    }
    kernel_env env = {
        .dims = {{N}, {HALF}},
        .pointers = {positions, frequencies},
        .result = result,
        .result_columns = 2 * HALF,
        .result_rows = N,
        .magnitude = 1.25,
        .growth = 0.1,
        .period = 1024};
    unit_launch(unit, &env, 2);
    compare(unit, "angles", result, expected, N * 2 * HALF, 6.0e-8);
}

static void check_take_rows(const kernel_unit *unit) {
    const int64_t n_rows = 7, columns = 2500;
    static const int32_t rows[6] = {6, 0, 3, 3, -1, 7};
    float *x = random_floats(n_rows * columns, 4), *result = unit_alloc((size_t)(6 * columns) * 4);
    double *expected = unit_alloc((size_t)(6 * columns) * 8);
    for (int64_t r = 0; r < 4; r++) {
        for (int64_t c = 0; c < columns; c++)
            expected[r * columns + c] = (double)x[rows[r] * columns + c];
    }
    kernel_env env = {
        .dims = {{n_rows, columns}, {6}},
        .pointers = {x, rows},
        .result = result,
        .result_columns = columns,
        .result_rows = 6};
    unit_launch(unit, &env, 2);
    compare(unit, "rows", result, expected, 6 * columns, 0.0);
    free(x), free(result), free(expected);
}

// ---- math.h ----------------------------------------------------------------------------------------------------------------

typedef struct math_case {
    const char *name;
    float (*function)(float);
    double (*reference)(double);
    float low, high;
    double allowed_ulp; // of the result, with ulps not smaller than `floor_ulp_at`'s
    double floor_at;
} math_case;

static float check_exp(float x) {
    return kernel_exp(x);
}
static float check_tanh(float x) {
    return kernel_tanh(x);
}
static float check_sigmoid(float x) {
    return kernel_sigmoid(x);
}
static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void check_math(void) {
    static const math_case cases[] = {
        {"exp", check_exp, exp, -103.0f, 88.7f, 1.5, 1e-45},
        {"tanh", check_tanh, tanh, -12.0f, 12.0f, 2.5, 1e-40},
        {"sigmoid", check_sigmoid, sigmoid, -80.0f, 80.0f, 3.0, 1e-38},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const math_case *c = &cases[i];
        double worst = 0;
        float where = 0;
        for (int64_t n = 0; n <= 2000000; n++) {
            const float x = c->low + (c->high - c->low) * (float)n / 2000000.0f;
            const double expected = c->reference((double)x);
            const float near = fabsf((float)expected) > (float)c->floor_at ? fabsf((float)expected)
                                                                           : (float)c->floor_at;
            const double ulp = (double)nextafterf(near, INFINITY) - (double)near;
            const double error = fabs((double)c->function(x) - expected) / ulp;
            if (error > worst) worst = error, where = x;
        }
        printf("math %-8s largest error %.2f ulp at %.9g\n", c->name, worst, (double)where);
        if (!(worst <= c->allowed_ulp))
            n_failures++, printf("FAIL math %s: allowed %.2f\n", c->name, c->allowed_ulp);
    }
    if (kernel_exp(-INFINITY) != 0 || !isinf(kernel_exp(INFINITY)) || !isnan(kernel_exp(NAN)) ||
        kernel_tanh(INFINITY) != 1) {
        n_failures++;
        printf("FAIL math at infinity\n");
    }
    for (uint32_t h = 0; h < 65536; h++) {
        const float value = kernel_f16_to_f32((uint16_t)h);
        const bool nan = (h & 0x7c00u) == 0x7c00u && (h & 0x3ffu) != 0;
        const int exponent = (int)(h >> 10 & 31u);
        const double magnitude = exponent == 0 ? ldexp((double)(h & 0x3ffu), -24)
                                 : exponent == 31
                                     ? (double)INFINITY
                                     : ldexp((double)(h & 0x3ffu) + 1024, exponent - 25);
        const double expected = h & 0x8000u ? -magnitude : magnitude;
        if (nan ? !isnan(value) : (double)value != expected)
            n_failures++, printf("FAIL f16 %04x is %g\n", h, (double)value);
        if (!nan && kernel_f32_to_f16(value) != h)
            n_failures++, printf("FAIL f16 %04x does not come back\n", h);
        // Halfway to the next one goes to the even one, a little more goes up.
        if (nan || exponent == 31 || (h & 0x7fffu) == 0x7bffu) continue;
        const float next = kernel_f16_to_f32((uint16_t)(h + 1));
        const float middle = (value + next) / 2;
        if (kernel_f32_to_f16(middle) != (h & 1 ? h + 1 : h) ||
            kernel_f32_to_f16(nextafterf(middle, next)) != h + 1)
            n_failures++, printf("FAIL f16 rounding above %04x\n", h);
    }
}

int kernel_check_all(void) {
    n_failures = 0;
    check_math();
    for (size_t i = 0; kernel_units[i] != NULL; i++) {
        const kernel_unit *unit = kernel_units[i];
        if (!unit_runs_here(unit->variant)) {
            printf("skip %s/%s: this processor cannot run it\n", unit->variant, unit->kernel);
            continue;
        }
        const int before = n_failures;
        if (strncmp(unit->kernel, "linear_", 7) == 0) n_failures += kernel_check_knobs(unit);
        if (strcmp(unit->kernel, "linear_panel16") == 0)
            check_linear(unit);
        else if (strcmp(unit->kernel, "paged_attention") == 0)
            check_attention(unit);
        else if (strncmp(unit->kernel, "embedding", 9) == 0)
            check_embedding(unit);
        else if (strcmp(unit->kernel, "rms_norm") == 0)
            check_rms_norm(unit);
        else if (strcmp(unit->kernel, "rope_table") == 0)
            check_rope_table(unit);
        else if (strcmp(unit->kernel, "take_rows") == 0)
            check_take_rows(unit);
        else if (
            strcmp(unit->kernel, "linear_scaled_panel16") == 0 ||
            strcmp(unit->kernel, "encode_activation") == 0)
            n_failures += kernel_check_scaled(unit);
        else if (strcmp(unit->kernel, "linear_bf16_panel16") == 0)
            n_failures += kernel_check_bf16(unit);
        else
            continue;
        if (n_failures == before)
            printf("ok   %s/%s %s\n", unit->variant, unit->kernel, unit_dtype_text(unit->dtype));
    }
    return n_failures;
}
