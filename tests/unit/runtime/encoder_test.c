// Encoders: what a library's function "embed" may ask for and return; the ways of pooling.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/forward.h"
#include "runtime/model/pooling.h"

#include <math.h>

// ---- the library --------------------------------------------------------------------------------------

enum { N_TOKENS, N_OTHER, N_SYMBOLS };

static const mlcc_abi_symbol symbols[N_SYMBOLS] = {{"n_tokens", 64}, {"n_seqs", 4}};

static int32_t run_nothing(const mlcc_abi_call *call, int32_t thread, int32_t n_threads) {
    (void)call, (void)thread, (void)n_threads;
    return 0;
}

static mlcc_status *bind(
    const mlcc_abi_tensor *segments, const mlcc_abi_tensor *rows, mlcc_arena *keep,
    mlcc_forward *out) {
    const mlcc_abi_tensor args[] = {
        {"ids", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
        {"token_types", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
        *segments,
    };
    const mlcc_abi_function function = {
        .name = "embed",
        .run = run_nothing,
        .args = args,
        .results = rows,
        .n_args = 3,
        .n_results = 1};
    const mlcc_abi_model abi = {
        .symbols = symbols, .n_symbols = N_SYMBOLS, .functions = &function, .n_functions = 1};
    return mlcc_forward_bind(&abi, keep, out);
}

static const mlcc_abi_tensor good_segments = {"segments", MLCC_ABI_I32, 2, {-1, 2}, {N_TOKENS, -1}};
static const mlcc_abi_tensor good_rows = {"rows", MLCC_ABI_F32, 2, {-1, 12}, {N_TOKENS, -1}};

static void libraries(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_forward forward;
    tiny_ok(bind(&good_segments, &good_rows, keep, &forward));
    assert_true(forward.is_encoder);
    assert_int_equal(forward.width, 12);
    assert_int_equal(forward.n_layers, 0);
    assert_int_equal(forward.args[2].id, MLCC_ARG_SEGMENTS);
    assert_int_equal(forward.bounds[MLCC_SYMBOL_N_TOKENS], 64);
    const mlcc_abi_tensor wrong_segments[] = {
        {"segments", MLCC_ABI_I32, 2, {-1, 3}, {N_TOKENS, -1}},
        {"segments", MLCC_ABI_I32, 2, {-1, -1}, {N_TOKENS, N_OTHER}},
        {"segments", MLCC_ABI_F32, 2, {-1, 2}, {N_TOKENS, -1}},
        {"segments", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
    };
    for (size_t i = 0; i < sizeof wrong_segments / sizeof wrong_segments[0]; i++)
        tiny_refused(
            bind(&wrong_segments[i], &good_rows, keep, &forward), MLCC_MISMATCH, "'segments'",
            "not an int32 [n_tokens, 2]");
    const mlcc_abi_tensor wrong_rows[] = {
        {"rows", MLCC_ABI_F16, 2, {-1, 12}, {N_TOKENS, -1}},
        {"rows", MLCC_ABI_F32, 2, {-1, 12}, {N_OTHER, -1}},
        {"rows", MLCC_ABI_F32, 1, {-1}, {N_TOKENS}},
    };
    for (size_t i = 0; i < sizeof wrong_rows / sizeof wrong_rows[0]; i++)
        tiny_refused(
            bind(&good_segments, &wrong_rows[i], keep, &forward), MLCC_MISMATCH, "'embed'",
            "does not return a row per token");
    const mlcc_abi_tensor cache = {
        "kv.0", MLCC_ABI_F32, 5, {-1, 2, 1, MLCC_PAGE_TOKENS, 4}, {N_OTHER, -1, -1, -1, -1, -1}};
    mlcc_status *status = bind(&cache, &good_rows, keep, &forward);
    assert_non_null(status);
    mlcc_status_free(status);
    mlcc_arena_free(keep);
}

// ---- pooling ------------------------------------------------------------------------------------------

enum { WIDTH = 3 };
static const float rows[3 * WIDTH] = {1, -2, 0, 3, 4, 0, 5, 1, 0};

static void expect_pooled(mlcc_pooling pooling, int64_t n, float a, float b) {
    float out[WIDTH] = {7, 7, 7};
    mlcc_pooling_apply(pooling, rows, n, WIDTH, out);
    assert_true(fabsf(out[0] - a) < 1e-6f);
    assert_true(fabsf(out[1] - b) < 1e-6f);
    assert_true(fabsf(out[2]) < 1e-6f);
}

static void pooling(void **state) {
    (void)state;
    expect_pooled(MLCC_POOLING_CLS, 3, 1, -2);
    expect_pooled(MLCC_POOLING_LAST, 3, 5, 1);
    expect_pooled(MLCC_POOLING_LAST, 2, 3, 4);
    expect_pooled(MLCC_POOLING_MEAN, 3, 3, 1);
    expect_pooled(MLCC_POOLING_MAX, 3, 5, 4);
    expect_pooled(MLCC_POOLING_MEAN_SQRT, 3, 9 / sqrtf(3), 3 / sqrtf(3));
    expect_pooled(MLCC_POOLING_WEIGHTED_MEAN, 3, 22.0f / 6, 9.0f / 6);
    for (int p = MLCC_POOLING_CLS; p <= MLCC_POOLING_LAST; p++)
        expect_pooled((mlcc_pooling)p, 1, 1, -2);

    float vector[WIDTH] = {3, 0, -4}, zeros[WIDTH] = {0, 0, 0};
    mlcc_pooling_normalize(vector, WIDTH);
    assert_true(fabsf(vector[0] - 0.6f) < 1e-6f && fabsf(vector[2] + 0.8f) < 1e-6f);
    mlcc_pooling_normalize(zeros, WIDTH);
    assert_true(fabsf(zeros[0]) + fabsf(zeros[1]) + fabsf(zeros[2]) < 1e-6f);
}

static void names(void **state) {
    (void)state;
    for (int p = MLCC_POOLING_CLS; p <= MLCC_POOLING_LAST; p++) {
        mlcc_pooling found = MLCC_POOLING_DEFAULT;
        tiny_ok(mlcc_pooling_find(mlcc_pooling_name((mlcc_pooling)p), &found));
        assert_int_equal(found, p);
    }
    mlcc_pooling found = MLCC_POOLING_DEFAULT;
    tiny_ok(mlcc_pooling_find("lasttoken", &found));
    assert_int_equal(found, MLCC_POOLING_LAST);
    tiny_refused(mlcc_pooling_find("sum", &found), MLCC_INVALID, "'sum'", "mean_sqrt_len");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libraries), cmocka_unit_test(pooling), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
