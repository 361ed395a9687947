// What a library's function "forward" may ask for: inputs by name, and what is refused.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/forward.h"

enum { N_TOKENS, N_SEQS, N_PAGES, N_PAGE_SLOTS, N_LOGITS, N_SYMBOLS };

static const mlcc_abi_symbol symbols[N_SYMBOLS] = {
    {"n_tokens", 8}, {"n_seqs", 4}, {"n_pages", 0}, {"n_page_slots", 0}, {"n_logits", 4}};

static int32_t run_nothing(const mlcc_abi_call *call, int32_t thread, int32_t n_threads) {
    (void)call, (void)thread, (void)n_threads;
    return 0;
}

// Binds a forward with ids, kv.0 and one more input.
static mlcc_status *bind(const mlcc_abi_tensor *extra, mlcc_arena *keep, mlcc_forward *out) {
    const mlcc_abi_tensor fixed[] = {
        {"ids", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
        {"kv.0", MLCC_ABI_F16, 5, {-1, 2, 3, MLCC_PAGE_TOKENS, 8}, {N_PAGES, -1, -1, -1, -1, -1}},
    };
    static const mlcc_abi_tensor logits = {"logits", MLCC_ABI_F32, 2, {-1, 23}, {N_LOGITS, -1}};
    mlcc_abi_tensor *args = MLCC_NEW_ARRAY(keep, mlcc_abi_tensor, 3);
    args[0] = fixed[0], args[1] = *extra, args[2] = fixed[1];
    mlcc_abi_function *function = MLCC_NEW(keep, mlcc_abi_function);
    *function = (mlcc_abi_function){.name = "forward",
                                    .run = run_nothing,
                                    .args = args,
                                    .results = &logits,
                                    .n_args = 3,
                                    .n_results = 1};
    const mlcc_abi_model abi = {
        .symbols = symbols, .n_symbols = N_SYMBOLS, .functions = function, .n_functions = 1};
    return mlcc_forward_bind(&abi, keep, out);
}

static void observations(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_forward forward;
    const mlcc_abi_tensor good = {"a.b.q_calibration_scale", MLCC_ABI_F32, 1, {1}, {-1}};
    tiny_ok(bind(&good, keep, &forward));
    assert_int_equal(forward.n_observations, 1);
    assert_string_equal(forward.observation_names[0], "a.b.q_calibration_scale");
    assert_int_equal(forward.args[1].id, MLCC_ARG_OBSERVATION);
    assert_int_equal(forward.args[2].id, MLCC_ARG_KV);
    assert_int_equal(forward.n_layers, 1);

    const mlcc_abi_tensor wrong[] = {
        {"a.q_calibration_scale", MLCC_ABI_F16, 1, {1}, {-1}},
        {"a.q_calibration_scale", MLCC_ABI_F32, 1, {2}, {-1}},
        {"a.q_calibration_scale", MLCC_ABI_F32, 2, {1, 1}, {-1, -1}},
        {"a.q_calibration_scale", MLCC_ABI_F32, 1, {-1}, {N_TOKENS}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        tiny_refused(
            bind(&wrong[i], keep, &forward), MLCC_MISMATCH, "'a.q_calibration_scale'",
            "not a float32 [1]");
    }
    const char *const unknown[] = {".q_calibration_scale", "q_calibration_scale", "mask", "kv.x"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const mlcc_abi_tensor tensor = {unknown[i], MLCC_ABI_F32, 1, {1}, {-1}};
        tiny_refused(
            bind(&tensor, keep, &forward), MLCC_MISMATCH, unknown[i],
            "which this runtime does not know");
    }
    mlcc_arena_free(keep);
}

static void caches(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_forward forward;
    mlcc_abi_tensor tensor = {
        "kv.1", MLCC_ABI_F32, 5, {-1, 2, 5, MLCC_PAGE_TOKENS, 4}, {N_PAGES, -1, -1, -1, -1, -1}};
    tiny_ok(bind(&tensor, keep, &forward));
    assert_int_equal(forward.n_layers, 2);
    assert_int_equal(forward.n_kv_heads, 3);
    assert_int_equal(forward.page_bytes[0], 2 * 3 * MLCC_PAGE_TOKENS * 8 * 2);
    assert_int_equal(forward.page_bytes[1], 2 * 5 * MLCC_PAGE_TOKENS * 4 * 4);
    assert_int_equal(forward.kv_bytes_per_token, 2 * 3 * 8 * 2 + 2 * 5 * 4 * 4);
    tensor.name = "kv.0";
    tiny_refused(bind(&tensor, keep, &forward), MLCC_MISMATCH, "once each", "kv.0");
    tensor.name = "kv.2";
    tiny_refused(bind(&tensor, keep, &forward), MLCC_MISMATCH, "once each", "kv.2");
    tensor.name = "kv.1";
    tensor.dtype = MLCC_ABI_F8E4M3;
    tiny_refused(bind(&tensor, keep, &forward), MLCC_MISMATCH, "kv.1", "not a float");
    mlcc_arena_free(keep);
}

// A layer may have a cache of latents: one row a token, whatever the number of heads.
static void latents(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_forward forward;
    const mlcc_abi_tensor good = {
        "kv.1", MLCC_ABI_F16, 3, {-1, MLCC_PAGE_TOKENS, 576}, {N_PAGES, -1, -1}};
    tiny_ok(bind(&good, keep, &forward));
    assert_int_equal(forward.n_layers, 2);
    assert_int_equal(forward.page_bytes[1], MLCC_PAGE_TOKENS * 576 * 2);
    assert_int_equal(forward.kv_bytes_per_token, 2 * 3 * 8 * 2 + 576 * 2);
    const mlcc_abi_tensor wrong[] = {
        {"kv.1", MLCC_ABI_F16, 3, {-1, MLCC_PAGE_TOKENS * 2, 576}, {N_PAGES, -1, -1}},
        {"kv.1", MLCC_ABI_F16, 3, {-1, MLCC_PAGE_TOKENS, 0}, {N_PAGES, -1, -1}},
        {"kv.1", MLCC_ABI_F16, 3, {7, MLCC_PAGE_TOKENS, 576}, {-1, -1, -1}},
        {"kv.1", MLCC_ABI_F16, 4, {-1, 2, MLCC_PAGE_TOKENS, 576}, {N_PAGES, -1, -1, -1}},
        {"kv.1", MLCC_ABI_I32, 3, {-1, MLCC_PAGE_TOKENS, 576}, {N_PAGES, -1, -1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        tiny_refused(
            bind(&wrong[i], keep, &forward), MLCC_MISMATCH, "kv.1", "or [n_pages, 16, width]");
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observations),
        cmocka_unit_test(caches),
        cmocka_unit_test(latents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
