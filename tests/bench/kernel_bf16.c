// kernel_bf16: units of linear_bf16 against the arithmetic of their machine's products in C: every bit counts, whatever the number of rows, block,
// chunk and thread. Sources: Intel SDM, volume 2, VDPBF16PS and TDPBF16PS: multiply-adds rounded once to nearest even, denormals in and out are zero.
#include "codegen/cpu/kernels/math.h"
#include "tests/bench/kernel_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = 32 }; // k that K is padded to

// ---- the products in C ------------------------------------------------------------------------------------------------------

static float without_denormals(float value) {
    return fpclassify(value) == FP_SUBNORMAL ? copysignf(0.0f, value) : value;
}

static float multiply_add(float a, float b, float c) {
    a = without_denormals(a), b = without_denormals(b), c = without_denormals(c);
    return without_denormals(fmaf(a, b, c));
}

// One output; x and w are zero beyond K, to a whole unit.
typedef float model_of(const float *x, const float *w, int64_t padded_k);

// VDPBF16PS: of every pair the odd product is added first.
static float model_avx512(const float *x, const float *w, int64_t padded_k) {
    float sum = 0.0f;
    for (int64_t k = 0; k < padded_k; k += 2)
        sum = multiply_add(x[k], w[k], multiply_add(x[k + 1], w[k + 1], sum));
    return sum;
}

// TDPBF16PS, whose second operand has the rows of one unit.
static float model_amx(const float *x, const float *w, int64_t padded_k) {
    float sum = 0.0f;
    for (int64_t unit = 0; unit < padded_k; unit += UNIT) {
        float even = 0.0f, odd = 0.0f;
        for (int64_t k = unit; k < unit + UNIT; k += 2) {
            even = multiply_add(x[k], w[k], even);
            odd = multiply_add(x[k + 1], w[k + 1], odd);
        }
        sum = multiply_add(1.0f, multiply_add(1.0f, even, odd), sum);
    }
    return sum;
}

static const struct {
    const char *variant;
    model_of *model;
} models[] = {{"x86_avx512bf16", model_avx512}, {"x86_amx", model_amx}};

static model_of *find_model(const char *variant) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strcmp(models[i].variant, variant) == 0) return models[i].model;
    }
    return NULL;
}

// ---- checks -----------------------------------------------------------------------------------------------------------------

static int n_failures;

static void fail(const kernel_unit *unit, const char *what, const char *how) {
    n_failures++;
    printf("FAIL %s/%s %s: %s\n", unit->variant, unit->kernel, what, how);
}

typedef struct bf16_case {
    int64_t n, k, max_rows;
} bf16_case;

typedef struct bf16_data {
    const bf16_case *shape;
    unit_weight weight;
    uint16_t *x, *bias;
    float *expected, *result;
} bf16_data;

// Rows of ordinary numbers; some with numbers whose products are denormal or are so themselves; one with NaN, one with infinity.
static float x_of(int64_t row, int64_t k, float random) {
    if (row % 5 == 3) return ldexpf(random, -126 - (int)(k % 3));
    if (row % 5 == 4) return ldexpf(random, (int)(k % 40) * 6 - 120);
    if (row == 10 && k == 0) return NAN;
    if (row == 12 && k % 7 == 0) return INFINITY;
    return random;
}

static bf16_data data_make(const bf16_case *c, model_of *model, uint64_t seed) {
    bf16_data d = {.shape = c};
    const int64_t padded_k = (c->k + UNIT - 1) / UNIT * UNIT;
    d.weight = unit_weight_make(KERNEL_BF16, c->n, c->k, seed, true);
    d.x = unit_alloc((size_t)(c->max_rows * c->k) * 2);
    d.bias = unit_alloc((size_t)c->n * 2);
    d.expected = unit_alloc((size_t)(c->max_rows * c->n) * 4);
    d.result = unit_alloc((size_t)((c->max_rows + 1) * c->n) * 4);
    for (int64_t j = 0; j < c->n; j++) d.bias[j] = kernel_f32_to_f16((float)(j % 7) - 3.0f);
    float *w = unit_alloc((size_t)(c->n * padded_k) * 4), *row = unit_alloc((size_t)padded_k * 4);
    for (int64_t j = 0; j < c->n; j++)
        memcpy(w + j * padded_k, d.weight.values + j * c->k, (size_t)c->k * 4);
    for (int64_t r = 0; r < c->max_rows; r++) {
        for (int64_t k = 0; k < c->k; k++) {
            const uint16_t half = kernel_f32_to_bf16(x_of(r, k, unit_random(&seed)));
            d.x[r * c->k + k] = half;
            row[k] = kernel_bf16_to_f32(half);
        }
        for (int64_t j = 0; j < c->n; j++)
            d.expected[r * c->n + j] = model(row, w + j * padded_k, padded_k);
    }
    free(w), free(row);
    return d;
}

static void data_free(bf16_data *d) {
    unit_weight_free(&d->weight);
    free(d->x), free(d->bias), free(d->expected), free(d->result);
}

static void check_rows(
    const kernel_unit *unit, const bf16_data *d, int64_t n_rows, int32_t threads, bool has_bias) {
    const int64_t n = d->shape->n, k = d->shape->k;
    const kernel_env env = {
        .dims = {{n_rows, k}, {n, k}},
        .pointers = {d->x, d->weight.prepared, has_bias ? d->bias : NULL},
        .result = d->result,
        .result_columns = n,
        .result_rows = n_rows};
    char what[80];
    snprintf(
        what, sizeof what, "M=%lld N=%lld K=%lld, %d threads%s", (long long)n_rows, (long long)n,
        (long long)k, (int)threads, has_bias ? ", bias" : "");
    memset(d->result, 0x55, (size_t)((n_rows + 1) * n) * 4);
    unit_launch(unit, &env, threads);
    if (((const uint32_t *)d->result)[n_rows * n] != 0x55555555u)
        fail(unit, what, "writes beyond its rows");
    for (int64_t i = 0; i < n_rows * n; i++) {
        const float bias = has_bias ? kernel_f16_to_f32(d->bias[i % n]) : 0.0f;
        const float wanted = d->expected[i] + bias, got = d->result[i];
        if (wanted == got || (isnan(wanted) && isnan(got))) continue;
        printf("element %lld: %.9g, expected %.9g: ", (long long)i, (double)got, (double)wanted);
        fail(unit, what, "other bits than the machine's products in C");
        return;
    }
}

int kernel_check_bf16(const kernel_unit *unit) {
    // A tail in every direction; one panel; long rows, of which few fit the scratch; several blocks of k and of rows.
    static const bf16_case cases[] = {
        {1, 1, 40},     {16, 32, 40},   {15, 33, 70},    {17, 64, 40},    {64, 128, 40},
        {172, 100, 40}, {65, 257, 30},  {48, 192, 400},  {37, 1500, 200}, {50, 8200, 100},
        {24, 344, 40},  {33, 384, 130}, {16, 45056, 20}, {130, 576, 33},
    };
    static const int64_t rows[] = {1,  0,  2,  3,  4,  5,  6,  7,  8,  9,   12,  13,
                                   16, 17, 20, 24, 25, 31, 33, 49, 70, 100, 193, 400};
    // Where tile registers are emulated an instruction takes ten microseconds.
    const bool is_slow = !unit_runs_here(unit->variant);
    model_of *model = find_model(unit->variant);
    n_failures = 0;
    if (model == NULL) fail(unit, "", "its products are not known here");
    for (size_t i = 0; model != NULL && i < sizeof cases / sizeof cases[0]; i++) {
        bf16_data d = data_make(&cases[i], model, 31 + i);
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
            if (rows[m] > cases[i].max_rows || (is_slow && (m + i) % 3 != 0)) continue;
            check_rows(unit, &d, rows[m], 1, false);
            check_rows(unit, &d, rows[m], 3, m % 2 == 0);
        }
        data_free(&d);
    }
    return n_failures;
}
