// kernel_knobs: every candidate of every knob (codegen/cpu/knobs.def) gives the bits of the others: products on odd shapes, few and many
// rows, one and three threads.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/knobs.h"
#include "tests/bench/kernel_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct knob_case {
    int64_t n, k;
} knob_case;

typedef struct knob_subject {
    const kernel_unit *unit;
    const knob_case *shape;
    unit_weight weight;
    void *x;       // float32 rows, bfloat16 rows, or codes
    float *scales; // of the codes
    float *result;
    bool has_codes;
} knob_subject;

enum { MOST_ROWS = 200 };

static int64_t groups_of(const knob_case *c) {
    return (c->k + 31) / 32;
}

static knob_subject subject_make(const kernel_unit *unit, const knob_case *c) {
    knob_subject s = {.unit = unit, .shape = c};
    s.has_codes = strcmp(unit->kernel, "linear_scaled_panel16") == 0;
    s.weight = unit_weight_make(unit->dtype, c->n, c->k, 5, false);
    const bool has_pairs = strcmp(unit->kernel, "linear_bf16_panel16") == 0;
    const int64_t count = MOST_ROWS * c->k;
    s.x = unit_alloc((size_t)count * 4);
    s.scales = unit_alloc((size_t)(MOST_ROWS * groups_of(c)) * 4);
    s.result = unit_alloc((size_t)(MOST_ROWS * c->n) * 4);
    uint64_t state = 11;
    for (int64_t i = 0; i < count; i++) {
        const float value = unit_random(&state);
        if (s.has_codes)
            ((int8_t *)s.x)[i] = (int8_t)(value * 127.0f);
        else if (has_pairs)
            ((uint16_t *)s.x)[i] = kernel_f32_to_bf16(value);
        else
            ((float *)s.x)[i] = value;
    }
    for (int64_t i = 0; i < MOST_ROWS * groups_of(c); i++) s.scales[i] = unit_random(&state);
    return s;
}

static void subject_free(knob_subject *s) {
    unit_weight_free(&s->weight);
    free(s->x), free(s->scales), free(s->result);
}

static void run(const knob_subject *s, int64_t n_rows, int32_t n_threads) {
    const knob_case *c = s->shape;
    const kernel_env env = {
        .dims = {{n_rows, c->k}, {c->n, c->k}, {n_rows, groups_of(c)}},
        .pointers = {s->x, s->weight.prepared, s->has_codes ? s->scales : NULL},
        .result = s->result,
        .result_columns = c->n,
        .result_rows = n_rows};
    memset(s->result, 0x55, (size_t)(n_rows * c->n) * 4);
    unit_launch(s->unit, &env, n_threads);
}

// One knob, all candidates; the number of differences.
static int check_knob(const knob_subject *s, cpu_knob knob, int64_t n_rows, const float *expected) {
    int n_failures = 0;
    const cpu_knob_row *row = cpu_knob_get(knob);
    for (int32_t i = 0; i < cpu_knob_candidates(knob); i++) {
        kernel_unit_knobs[knob] = row->candidates[i];
        for (int32_t threads = 1; threads <= 3; threads += 2) {
            run(s, n_rows, threads);
            if (memcmp(s->result, expected, (size_t)(n_rows * s->shape->n) * 4) == 0) continue;
            printf(
                "FAIL %s/%s %s M=%lld N=%lld K=%lld: other bits with %s = %lld\n", s->unit->variant,
                s->unit->kernel, unit_dtype_text(s->unit->dtype), (long long)n_rows,
                (long long)s->shape->n, (long long)s->shape->k, row->name,
                (long long)row->candidates[i]);
            n_failures++;
        }
    }
    kernel_unit_knobs[knob] = row->fallback;
    return n_failures;
}

int kernel_check_knobs(const kernel_unit *unit) {
    static const knob_case cases[] = {{300, 1184}, {1040, 96}, {37, 2500}};
    static const int64_t rows[] = {1, 2, 3, 8, 9, 31, MOST_ROWS};
    char name[96];
    snprintf(name, sizeof name, "%s__%s", unit->kernel, unit->variant);
    int n_failures = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const knob_case *c = &cases[i];
        if (!unit_weight_fits(unit->dtype, c->n, c->k)) continue;
        knob_subject s = subject_make(unit, c);
        float *expected = unit_alloc((size_t)(MOST_ROWS * c->n) * 4);
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
            run(&s, rows[m], 1);
            memcpy(expected, s.result, (size_t)(rows[m] * c->n) * 4);
            for (int32_t knob = 0; knob < (int32_t)CPU_N_KNOBS; knob++) {
                if (cpu_knob_belongs((cpu_knob)knob, name))
                    n_failures += check_knob(&s, (cpu_knob)knob, rows[m], expected);
            }
        }
        free(expected);
        subject_free(&s);
    }
    return n_failures;
}
