// A library with several CPU levels: which one is taken, what forces another, and every refusal. The
// levels are those of tests/unit/runtime/handwritten_lib.c: "quantum" names features that no machine has.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/library.h"

static tiny_dir dir;

static int set_up(void **state) {
    (void)state;
    dir = tiny_dir_make((tiny_store){0});
    unsetenv("MLCC_CPU_LEVEL");
    unsetenv("HANDWRITTEN_LEVELS");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unsetenv("MLCC_CPU_LEVEL");
    unsetenv("HANDWRITTEN_LEVELS");
    tiny_dir_remove(&dir);
    return 0;
}

static mlcc_model_options options_of(const char *variant) {
    mlcc_model_options options = tiny_options(&dir, 1);
    options.library = tiny_library(dir.arena, variant);
    return options;
}

static void expect_level(const char *levels, const char *target, const char *names) {
    setenv("HANDWRITTEN_LEVELS", levels, 1);
    const mlcc_model_options options = options_of("levels");
    mlcc_model *model = NULL;
    mlcc_model_info info;
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_get_info(model, &info);
    assert_string_equal(info.target, target);
    assert_string_equal(info.cpu_levels, names);
    mlcc_model_close(model);
}

static void expect_refusal(
    const char *levels, mlcc_code code, const char *part, const char *other) {
    setenv("HANDWRITTEN_LEVELS", levels, 1);
    const mlcc_model_options options = options_of("levels");
    mlcc_model *model = NULL;
    tiny_refused(mlcc_model_open(&options, &model), code, part, other);
    assert_null(model);
}

static void the_last_that_fits(void **state) {
    (void)state;
    expect_level("only:", "only", "only");
    expect_level("a:;b:;c:", "c", "a, b, c");
    expect_level("a:;b:;c:quantum1", "b", "a, b, c");
    expect_level("a:;b:quantum1;c:quantum1,quantum2", "a", "a, b, c");
    // The order counts, not the number of features.
    expect_level("quantum:quantum1;a:;b:quantum2", "a", "quantum, a, b");
    expect_level("a:;b:;c:;d:;e:;f:;g:;h:quantum1", "g", "a, b, c, d, e, f, g, h");
}

static void the_one_that_is_asked_for(void **state) {
    (void)state;
    setenv("MLCC_CPU_LEVEL", "a", 1);
    expect_level("a:;b:;c:", "a", "a, b, c");
    expect_level("q:quantum1;a:;c:", "a", "q, a, c");
    setenv("MLCC_CPU_LEVEL", "", 1);
    expect_level("a:;b:", "b", "a, b");
    setenv("MLCC_CPU_LEVEL", "x86", 1);
    expect_refusal(
        "a:;b:", MLCC_MISMATCH, "$MLCC_CPU_LEVEL asks for level 'x86'", "compiled for a, b");
    setenv("MLCC_CPU_LEVEL", "c", 1);
    expect_refusal(
        "a:;c:quantum1,quantum2", MLCC_MISMATCH, "compiled for target 'c'",
        "lacks: quantum1, quantum2");

    // Of libraries with one level, too.
    const mlcc_model_options plain = options_of("plain");
    mlcc_model *model = NULL;
    tiny_refused(
        mlcc_model_open(&plain, &model), MLCC_MISMATCH, "asks for level 'c'",
        "compiled for handwritten");
    setenv("MLCC_CPU_LEVEL", "handwritten", 1);
    tiny_ok(mlcc_model_open(&plain, &model));
    mlcc_model_info info;
    mlcc_model_get_info(model, &info);
    assert_string_equal(info.cpu_levels, "handwritten");
    mlcc_model_close(model);
}

static void none_that_fits(void **state) {
    (void)state;
    expect_refusal(
        "a:quantum1;b:quantum1,quantum2", MLCC_MISMATCH,
        "'a' lacks quantum1; 'b' lacks quantum1, quantum2", "--target native or with --target");
    // Looking at it is possible nevertheless: it is its first level.
    mlcc_library library;
    tiny_ok(mlcc_library_open(tiny_library(dir.arena, "levels"), &library));
    assert_int_equal(library.n_levels, 2);
    assert_string_equal(library.abi->target, "a");
    assert_string_equal(library.levels[1]->target, "b");
    mlcc_library_close(&library);
    assert_int_equal(library.n_levels, 0);
}

static void damaged_levels(void **state) {
    (void)state;
    expect_refusal("a:;old:", MLCC_MISMATCH, "ABI version 99", "CPU level 1 of the library");
    expect_refusal("a:;b:;broken:", MLCC_INVALID, "texts are missing", "CPU level 2");
    expect_refusal(
        "a:;stranger:", MLCC_INVALID, "levels 'a' and 'stranger' are not the same model", "");
    expect_refusal(
        "late:;b:;c:", MLCC_INVALID, "'mlcc_model_levels' does not begin with",
        "'mlcc_model_query'");
    expect_refusal(
        "a:;b:;c:;d:;e:;f:;g:;h:;i:", MLCC_MISMATCH, "more CPU levels than the 8",
        "compile the model again");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_that_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_one_that_is_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(none_that_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_levels, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
