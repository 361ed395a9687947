// A trace of the handwritten model's steps: its function waits once, so there are two ends; and tracing changes no number.
#include "runtime/model/engine_trace.h"
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/base/clock.h"

typedef struct fixture {
    tiny_dir dir;
    mlcc_model *model;
    mlcc_engine *engine;
    int32_t sequence;
} fixture;

static fixture open_engine(int32_t n_threads) {
    fixture f = {.dir = tiny_dir_make((tiny_store){0})};
    mlcc_model_options options = tiny_options(&f.dir, n_threads);
    tiny_ok(mlcc_model_open(&options, &f.model));
    tiny_ok(mlcc_engine_create(f.model, &(mlcc_engine_options){.max_sequences = 1}, &f.engine));
    tiny_ok(mlcc_engine_add_sequence(f.engine, &f.sequence));
    return f;
}

static void close_engine(fixture *f) {
    mlcc_engine_free(f->engine);
    mlcc_model_close(f->model);
    tiny_dir_remove(&f->dir);
}

// The whole text so far is `tokens[n]`; the last `n_new` of them are fed now.
static void step(fixture *f, const int32_t *tokens, int64_t n, int64_t n_new) {
    mlcc_batch_item item = {f->sequence, tokens + n - n_new, n_new, MLCC_LOGITS_LAST};
    const float *logits = NULL;
    float expected[TINY_VOCAB];
    int64_t n_rows = 0;
    tiny_ok(mlcc_engine_step(f->engine, &item, 1, &logits, &n_rows));
    tiny_expected(tokens, n, expected);
    for (int v = 0; v < TINY_VOCAB; v++) assert_true(logits[v] == expected[v]);
}

static void two_stretches(void **state) {
    (void)state;
    static const int32_t tokens[] = {1, 4, 2, 8, 5, 7};
    for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
        fixture f = open_engine(n_threads);
        _Atomic uint64_t ends_ns[8] = {0};
        mlcc_run_trace trace = {.ends_ns = ends_ns, .capacity = 8};
        const double before_s = mlcc_clock_s();
        mlcc_engine_trace(f.engine, &trace);
        step(&f, tokens, 3, 3);
        const uint64_t first_end_ns = ends_ns[1];
        assert_int_equal(trace.n_ends, 2);
        assert_true((uint64_t)(before_s * 1e9) <= trace.start_ns && trace.start_ns <= ends_ns[0]);
        assert_true(ends_ns[0] <= ends_ns[1] && ends_ns[1] <= (uint64_t)(mlcc_clock_s() * 1e9));
        // The next run starts anew.
        step(&f, tokens, 4, 1);
        assert_int_equal(trace.n_ends, 2);
        assert_true(trace.start_ns >= first_end_ns);
        close_engine(&f);
    }
}

static void what_does_not_fit_is_counted(void **state) {
    (void)state;
    static const int32_t tokens[] = {3, 1};
    fixture f = open_engine(2);
    _Atomic uint64_t ends_ns[2] = {0, 5};
    mlcc_run_trace trace = {.ends_ns = ends_ns, .capacity = 1};
    mlcc_engine_trace(f.engine, &trace);
    step(&f, tokens, 1, 1);
    assert_int_equal(trace.n_ends, 2);
    assert_true(ends_ns[0] > 0 && ends_ns[1] == 5);
    // Nobody asks any more.
    mlcc_engine_trace(f.engine, NULL);
    trace.n_ends = 77;
    step(&f, tokens, 2, 1);
    assert_int_equal(trace.n_ends, 77);
    close_engine(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_stretches),
        cmocka_unit_test(what_does_not_fit_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
