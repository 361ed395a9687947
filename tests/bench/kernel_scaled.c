// kernel_scaled: units of linear_scaled and encode_activation: checks, and timings beside the float activations of linear_panel16,
// in turn in one process.
#include "tests/bench/kernel_run.h"

#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/panel16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Activations as whole numbers: [n_rows, k] codes with a scale for 32 columns.
typedef struct scaled_rows {
    int64_t n_rows, k, groups;
    int8_t *codes;
    float *scales;
} scaled_rows;

static scaled_rows scaled_rows_make(int64_t n_rows, int64_t k, uint64_t seed) {
    scaled_rows x = {.n_rows = n_rows, .k = k, .groups = (k + 31) / 32};
    x.codes = unit_alloc((size_t)(n_rows * k));
    x.scales = unit_alloc((size_t)(n_rows * x.groups) * 4);
    for (int64_t i = 0; i < n_rows * k; i++) {
        // The ends of the range often, so that sums which do not fit somewhere are seen.
        const float value = unit_random(&seed);
        x.codes[i] = value > 0.8f ? 127 : value < -0.8f ? -127 : (int8_t)(value * 158.0f);
    }
    for (int64_t i = 0; i < n_rows * x.groups; i++) x.scales[i] = 0.01f * unit_random(&seed);
    return x;
}

static void scaled_rows_free(scaled_rows *x) {
    free(x->codes);
    free(x->scales);
}

// ---- checks ----------------------------------------------------------------------------------------------------------------

static int n_failures;

static void fail(const kernel_unit *unit, const char *what, const char *how) {
    n_failures++;
    printf(
        "FAIL %s/%s %s %s: %s\n", unit->variant, unit->kernel, unit_dtype_text(unit->dtype), what,
        how);
}

typedef struct scaled_case {
    int64_t n, k, max_rows;
} scaled_case;

static void check_launch(
    const kernel_unit *unit, const scaled_case *c, const scaled_rows *x, int64_t n_rows,
    const unit_weight *weight, const double *expected, const uint16_t *bias, uint32_t *row0) {
    const int64_t count = n_rows * c->n;
    float *result = unit_alloc((size_t)(count + c->n) * 4);
    const kernel_env env = {
        .dims = {{n_rows, c->k}, {c->n, c->k}, {n_rows, x->groups}},
        .pointers = {x->codes, weight->prepared, x->scales, bias},
        .result = result,
        .result_columns = c->n,
        .result_rows = n_rows};
    char what[64];
    snprintf(
        what, sizeof what, "M=%lld N=%lld K=%lld%s", (long long)n_rows, (long long)c->n,
        (long long)c->k, bias ? " bias" : "");
    for (int32_t threads = 1; threads <= 3; threads += 2) {
        memset(result, 0x55, (size_t)(count + c->n) * 4);
        unit_launch(unit, &env, threads);
        if (((const uint32_t *)result)[count] != 0x55555555u)
            fail(unit, what, "writes beyond its rows");
        // Whatever the rows beside it: the bits of its first launch, which was alone.
        if (bias == NULL && n_rows == 1 && threads == 1) memcpy(row0, result, (size_t)c->n * 4);
        if (bias == NULL && n_rows > 0 && memcmp(row0, result, (size_t)c->n * 4) != 0)
            fail(unit, what, "row 0 differs from M=1");
        for (int64_t i = 0; i < count; i++) {
            const double wanted =
                expected[i] + (bias != NULL ? (double)kernel_f16_to_f32(bias[i % c->n]) : 0.0);
            const double error = fabs((double)result[i] - wanted);
            if (error <= 2e-6 * (1 + fabs(wanted)) * sqrt((double)x->groups)) continue;
            printf("element %lld: %.9g, expected %.9g: ", (long long)i, (double)result[i], wanted);
            fail(unit, what, "is too far off");
            break;
        }
    }
    free(result);
}

static void check_linear_scaled(const kernel_unit *unit) {
    static const scaled_case cases[] = {
        {1, 1, 40},     {16, 32, 40},    {15, 33, 40},    {17, 64, 40},    {64, 64, 40},
        {172, 100, 40}, {65, 257, 40},   {300, 192, 400}, {37, 1500, 200}, {119, 31000, 13},
        {24, 344, 40},  {128, 576, 200}, {130, 384, 260},
    };
    static const int64_t rows[] = {1,  0,  2,  3,  4,  5,  6,   7,   8,  9,
                                   11, 13, 31, 40, 48, 53, 193, 260, 400};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const scaled_case *c = &cases[i];
        if (!unit_weight_fits(unit->dtype, c->n, c->k)) continue;
        unit_weight weight = unit_weight_make(unit->dtype, c->n, c->k, 7 + i, true);
        scaled_rows x = scaled_rows_make(c->max_rows, c->k, 99 + i);
        uint32_t *row0 = unit_alloc((size_t)c->n * 4);
        uint16_t *bias = unit_alloc((size_t)c->n * 2);
        for (int64_t j = 0; j < c->n; j++) bias[j] = kernel_f32_to_f16((float)(j % 7) - 3.0f);
        double *expected = unit_alloc((size_t)(c->max_rows * c->n) * 8);
        for (int64_t r = 0; r < c->max_rows; r++) {
            for (int64_t j = 0; j < c->n; j++) {
                double sum = 0;
                for (int64_t k = 0; k < c->k; k++)
                    sum += (double)x.codes[r * c->k + k] * (double)x.scales[r * x.groups + k / 32] *
                           (double)weight.values[j * c->k + k];
                expected[r * c->n + j] = sum;
            }
        }
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
            if (rows[m] > c->max_rows) continue;
            check_launch(unit, c, &x, rows[m], &weight, expected, NULL, row0);
            if (m % 3 == 0) check_launch(unit, c, &x, rows[m], &weight, expected, bias, row0);
        }
        free(row0), free(bias), free(expected);
        scaled_rows_free(&x);
        unit_weight_free(&weight);
    }
}

// What one group of 32 columns becomes, in the order of operations that ir/eval has.
static void encode_group(const float *x, int64_t n, int8_t *codes, float *scale) {
    float maximum = 0;
    for (int64_t i = 0; i < n; i++) maximum = fabsf(x[i]) > maximum ? fabsf(x[i]) : maximum;
    *scale = (maximum > 1e-30f ? maximum : 1e-30f) / 127.0f;
    bool has_nan = false;
    for (int64_t i = 0; i < n; i++) {
        const float quotient = x[i] / *scale;
        has_nan = has_nan || isnan(quotient);
        codes[i] = isnan(quotient) ? 0 : (int8_t)fmaxf(-127, fminf(127, rintf(quotient)));
    }
    if (has_nan) *scale = NAN;
}

static void check_encode(const kernel_unit *unit) {
    static const int64_t columns_of[] = {1, 15, 32, 33, 64, 100, 2048, 4099};
    const int64_t n_rows = 5;
    for (size_t s = 0; s < sizeof columns_of / sizeof columns_of[0]; s++) {
        const int64_t columns = columns_of[s], groups = (columns + 31) / 32;
        const int64_t count = n_rows * columns, n_scales = n_rows * groups;
        float *x = unit_alloc((size_t)count * 4), *kept = unit_alloc((size_t)count * 4);
        uint64_t seed = s;
        for (int64_t i = 0; i < count; i++) {
            x[i] = ldexpf(unit_random(&seed), (int)(i / 32 % 40) * 6 - 120);
            if (i % 11 == 0)
                x[i] = (float)(i % 254 - 127) * 0.5f; // ties, where the scale is a half
            if (i % 32 == 5) x[i] = 63.5f;
            if (i / 32 % 7 == 3) x[i] = i % 2 == 0 ? 0.0f : -0.0f;
        }
        x[count - 1] = NAN;
        x[columns / 2] = INFINITY;
        int8_t *codes = unit_alloc((size_t)count + 1), *expected = unit_alloc((size_t)count + 1);
        float *scales = unit_alloc((size_t)(n_scales + 1) * 4);
        float *expected_scales = unit_alloc((size_t)(n_scales + 1) * 4);
        for (int64_t r = 0; r < n_rows; r++) {
            for (int64_t g = 0; g < groups; g++)
                encode_group(
                    x + r * columns + g * 32, g + 1 < groups ? 32 : columns - g * 32,
                    expected + r * columns + g * 32, &expected_scales[r * groups + g]);
        }
        codes[count] = expected[count] = 99;
        scales[n_scales] = expected_scales[n_scales] = 99;
        const kernel_env env = {
            .dims = {{n_rows, columns}},
            .pointers = {x},
            .result = codes,
            .second_result = scales,
            .kept = kept};
        unit_launch(unit, &env, 3);
        char what[64];
        snprintf(what, sizeof what, "D=%lld", (long long)columns);
        if (memcmp(codes, expected, (size_t)count + 1) != 0) fail(unit, what, "codes differ");
        for (int64_t i = 0; i <= n_scales; i++) {
            const bool both_nan = isnan(scales[i]) && isnan(expected_scales[i]);
            if (both_nan || memcmp(&scales[i], &expected_scales[i], 4) == 0) continue;
            fail(unit, what, "scales differ");
            break;
        }
        if (memcmp(kept, x, (size_t)count * 4) != 0) fail(unit, what, "keeps other values");
        free(x), free(kept), free(codes), free(expected), free(scales), free(expected_scales);
    }
}

int kernel_check_scaled(const kernel_unit *unit) {
    n_failures = 0;
    if (strcmp(unit->kernel, "linear_scaled_panel16") == 0)
        check_linear_scaled(unit);
    else
        check_encode(unit);
    return n_failures;
}

// ---- timings in turn --------------------------------------------------------------------------------------------------------

enum { MAX_SUBJECTS = 16, MAX_ROUNDS = 64 };

typedef struct subject {
    const kernel_unit *unit;
    double seconds[MAX_ROUNDS];
} subject;

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Units for this element type: activations as whole numbers first, then as floats, by the machine's best variant.
static int subjects_of(int32_t dtype, const char *variant, subject *subjects) {
    int n = 0;
    for (size_t i = 0; kernel_units[i] != NULL && n + 1 < MAX_SUBJECTS; i++) {
        const kernel_unit *unit = kernel_units[i];
        if (unit->dtype != dtype || !unit_runs_here(unit->variant)) continue;
        if (variant != NULL && strstr(variant, unit->variant) == NULL) continue;
        if (strcmp(unit->kernel, "linear_scaled_panel16") == 0 ||
            strcmp(unit->kernel, "linear_bf16_panel16") == 0)
            subjects[n++].unit = unit;
    }
    static const char *const best[] = {"x86_avx512vnni", "x86_avx512", "x86_avx2", "portable"};
    for (size_t i = 0; i < sizeof best / sizeof best[0]; i++) {
        const kernel_unit *unit = unit_find("linear_panel16", best[i], dtype);
        if (n == 0 || unit == NULL || !unit_runs_here(best[i])) continue;
        subjects[n++].unit = unit;
        break;
    }
    return n;
}

typedef struct turn {
    int64_t n, k, m, weight_bytes;
    const char *weights; // n_weights of them, one after another
    size_t n_weights;
    const scaled_rows *rows;
    const float *floats;    // [rows, k]
    const uint16_t *halves; // the same as bfloat16
    float *result;
    int32_t threads;
    double seconds; // for each subject
} turn;

static double time_one(const turn *t, const kernel_unit *unit, size_t *next) {
    const bool takes_codes = strcmp(unit->kernel, "linear_scaled_panel16") == 0;
    const bool takes_pairs = strcmp(unit->kernel, "linear_bf16_panel16") == 0;
    const char *weights = t->weights + *next * (size_t)t->weight_bytes;
    *next = (*next + 1) % t->n_weights;
    const kernel_env env = {
        .dims = {{t->m, t->k}, {t->n, t->k}, {t->m, takes_codes ? t->rows->groups : 0}},
        .pointers =
            {takes_codes   ? (const void *)t->rows->codes
             : takes_pairs ? (const void *)t->halves
                           : t->floats,
             weights, takes_codes ? t->rows->scales : NULL},
        .result = t->result,
        .result_columns = t->n,
        .result_rows = t->m};
    const double start = unit_seconds();
    unit_launch(unit, &env, t->threads);
    return unit_seconds() - start;
}

static void run_turns(const turn *t, subject *subjects, int n_subjects) {
    double read = 0, bytes = 0;
    size_t next = 0;
    int n = 0;
    for (double spent = 0; n < MAX_ROUNDS && (n < 5 || spent < t->seconds * n_subjects); n++) {
        if (n % 8 == 0) {
            read = fmax(read, unit_peak_read(t->threads));
            const bool has_pairs = subjects[0].unit->dtype == KERNEL_BF16;
            bytes =
                fmax(bytes, has_pairs ? unit_peak_pairs(t->threads) : unit_peak_bytes(t->threads));
        }
        for (int s = 0; s < n_subjects; s++) {
            time_one(t, subjects[s].unit, &next); // what ran before leaves its x in the caches
            spent += subjects[s].seconds[n] = time_one(t, subjects[s].unit, &next);
        }
    }
    for (int s = 0; s < n_subjects; s++) {
        double *seconds = subjects[s].seconds;
        qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
        const double fast = seconds[n / 10], operations = 2.0 * (double)(t->m * t->n * t->k);
        printf(
            "%-9s N=%-5lld K=%-5lld M=%-3lld %d  %-15s %-21s %9.1f us (median %9.1f) %6.2f GB/s "
            "%3.0f%% "
            "of %5.2f  %7.1f GOP/s %3.0f%% of %.0f\n",
            unit_dtype_text(subjects[s].unit->dtype), (long long)t->n, (long long)t->k,
            (long long)t->m, t->threads, subjects[s].unit->variant, subjects[s].unit->kernel,
            fast * 1e6, seconds[n / 2] * 1e6, (double)t->weight_bytes / fast * 1e-9,
            100 * (double)t->weight_bytes / fast / read, read * 1e-9, operations / fast * 1e-9,
            bytes > 0 ? 100 * operations / fast / bytes : 0.0, bytes * 1e-9);
    }
    fflush(stdout);
}

void kernel_bench_turns(const kernel_turns *options) {
    static subject subjects[MAX_SUBJECTS];
    const int n_subjects = subjects_of(options->dtype, options->variant, subjects);
    const int64_t n = options->n, k = options->k, max_rows = 512;
    int64_t one_bytes = 0;
    if (n_subjects == 0 || !kernel_panel16_size(options->dtype, n, k, &one_bytes)) return;
    const size_t n_weights = (size_t)(160000000 / one_bytes + 1);
    unit_weight first = unit_weight_make(options->dtype, n, k, 1, false);
    char *weights = unit_alloc(n_weights * (size_t)one_bytes);
    for (size_t i = 0; i < n_weights; i++)
        memcpy(weights + i * (size_t)one_bytes, first.prepared, (size_t)one_bytes);
    unit_weight_free(&first);
    scaled_rows rows = scaled_rows_make(max_rows, k, 3);
    float *floats = unit_alloc((size_t)(max_rows * k) * 4);
    for (int64_t i = 0; i < max_rows * k; i++) floats[i] = (float)rows.codes[i];
    uint16_t *halves = unit_alloc((size_t)(max_rows * k) * 2);
    for (int64_t i = 0; i < max_rows * k; i++) halves[i] = kernel_f32_to_bf16(floats[i]);
    turn t = {
        .n = n,
        .k = k,
        .weight_bytes = one_bytes,
        .weights = weights,
        .n_weights = n_weights,
        .rows = &rows,
        .floats = floats,
        .halves = halves,
        .result = unit_alloc((size_t)(max_rows * n) * 4),
        .threads = options->threads,
        .seconds = options->seconds};
    for (const char *at = options->rows; *at != '\0'; at += *at == ',') {
        char *end;
        t.m = strtol(at, &end, 10);
        at = end;
        if (t.m < 1 || t.m > max_rows) break;
        run_turns(&t, subjects, n_subjects);
    }
    free(weights), free(floats), free(halves), free(t.result);
    scaled_rows_free(&rows);
}
