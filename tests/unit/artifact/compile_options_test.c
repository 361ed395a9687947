// The texts of MLC's compile command: overrides, opt, output.
#include "dist/artifact/compile_options.h"

#include "tests/unit/artifact/artifact_fixture.h"

static void overrides(void **state) {
    (void)state;
    hf_config_overrides o;
    bool disaggregation = true;
    must(compile_overrides_parse(NULL, &o, &disaggregation));
    assert_false(disaggregation);
    must(compile_overrides_parse("", &o, &disaggregation));
    assert_int_equal(o.context_window_size, 0);
    must(compile_overrides_parse(
        "context_window_size=4096;prefill_chunk_size=64; max_batch_size=2;sliding_window_size=-1;"
        "attention_sink_size=4;tensor_parallel_shards=1;pipeline_parallel_stages=1;disaggregation="
        "yes;",
        &o, &disaggregation));
    assert_int_equal(o.context_window_size, 4096);
    assert_int_equal(o.prefill_chunk_size, 64);
    assert_int_equal(o.max_batch_size, 2);
    assert_int_equal(o.sliding_window_size, 0);
    assert_int_equal(o.attention_sink_size, 4);
    assert_true(disaggregation);
}

static void bad_overrides(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"context_windw_size=4", "did you mean 'context_window_size'"},
        {"foo=4", "accepted are context_window_size, sliding_window_size"},
        {"max_batch_size", "key=value"},
        {"max_batch_size=", "max_batch_size=,"},
        {"max_batch_size=0", "from 1 to"},
        {"max_batch_size=-1", "from 1 to"},
        {"max_batch_size=3x", "3x"},
        {"max_batch_size= 3", "from 1 to"},
        {"max_batch_size=99999999999999999999", "from 1 to"},
        {"sliding_window_size=-2", "-1 for off"},
        {"max_batch_size=1;max_batch_size=1", "twice"},
        {"disaggregation=maybe", "true, 1, yes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_config_overrides o;
        bool disaggregation;
        must_fail(
            compile_overrides_parse(rows[i].text, &o, &disaggregation), MLCC_INVALID, rows[i].part);
    }
}

static void opt(void **state) {
    (void)state;
    static const char *const good[] = {
        NULL,
        "O0",
        "O1",
        "O2",
        "O3",
        "flashinfer=1;cublas_gemm=0;faster_transformer=0;cudagraph=1;cutlass=1;ipc_allreduce_"
        "strategy=AUTO"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        compile_opt opt = {.exact = true, .tune = true};
        must(compile_opt_parse(good[i], &opt));
        assert_false(opt.exact);
        assert_false(opt.tune);
    }
    static const struct {
        const char *text;
        bool exact, tune;
    } ours[] = {
        {"exact", true, false},
        {"tune", false, true},
        {"cutlass=1;exact=1;", true, false},
        {"exact=1;exact=0", false, false},
        {"tune=1;exact=1", true, true},
        {"tune=1;tune=0;cutlass=0", false, false},
    };
    compile_opt opt = {0};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        must(compile_opt_parse(ours[i].text, &opt));
        assert_int_equal(opt.exact, ours[i].exact);
        assert_int_equal(opt.tune, ours[i].tune);
    }
    must_fail(compile_opt_parse("tune=2", &opt), MLCC_INVALID, "accepted are 0 and 1");
    must_fail(compile_opt_parse("O4", &opt), MLCC_INVALID, "O0, O1, O2, O3, exact");
    must_fail(compile_opt_parse("cutlas=1", &opt), MLCC_INVALID, "did you mean 'cutlass'");
    must_fail(compile_opt_parse("cutlass=2", &opt), MLCC_INVALID, "accepted are 0 and 1");
    must_fail(compile_opt_parse("ipc_allreduce_strategy=1", &opt), MLCC_INVALID, "ONESHOT");
}

static void output(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    must(compile_output_check("/tmp/lib.so", keep));
    must(compile_output_check("lib.so", keep));
    must_fail(compile_output_check("/tmp/lib.tar", keep), MLCC_UNSUPPORTED, "archive of objects");
    must_fail(compile_output_check("/tmp/lib.dylib", keep), MLCC_UNSUPPORTED, "macOS");
    must_fail(compile_output_check("/tmp/lib.wasm", keep), MLCC_UNSUPPORTED, "WebGPU");
    must_fail(compile_output_check("/tmp/lib", keep), MLCC_INVALID, ".so");
    must_fail(compile_output_check("", keep), MLCC_INVALID, ".so");
    must_fail(
        compile_output_check("/nowhere/at/all/lib.so", keep), MLCC_INVALID,
        "'/nowhere/at/all' does not exist");
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overrides),
        cmocka_unit_test(bad_overrides),
        cmocka_unit_test(opt),
        cmocka_unit_test(output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
