// Every file of tests/golden/ir: a module, then either "# ---- expect" and the module as it is printed, or "# ---- error" and the message (a
// comment line) that parsing or verifying it gives. MLCC_BLESS=1 rewrites the expectations; read
// the diff afterwards.
#include "ir/text.h"
#include "ir/verify.h"
#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char folder[] = "tests/golden/ir";

static mlcc_status *parse_and_verify(
    const char *text, size_t length, mlcc_arena *keep, ir_module **out) {
    MLCC_TRY(ir_parse_module(text, length, "golden.mlcir", keep, out));
    return ir_verify(*out, (*out)->level);
}

// What the file should say after its "# ----" line.
static void observe(const char *text, size_t length, bool error, mlcc_str *out) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    mlcc_status *status = parse_and_verify(text, length, keep, &module);
    if (status != NULL) {
        mlcc_str_printf(out, "%s%s\n", error ? "# " : "error: ", mlcc_status_message(status));
    } else if (error) {
        mlcc_str_puts(out, "# no error\n");
    } else {
        ir_print_module(module, out);
    }
    mlcc_status_free(status);
    mlcc_arena_free(keep);
}

static bool check_file(const char *path) {
    char *text = NULL;
    size_t length = 0;
    mlcc_status *status = mlcc_file_read(path, 0, &text, &length);
    assert_null(status);
    char *marker = strstr(text, "# ---- ");
    assert_non_null(marker);
    bool error = mlcc_text_starts_with(marker, "# ---- error\n");
    assert_true(error || mlcc_text_starts_with(marker, "# ---- expect\n"));
    const char *expected = strchr(marker, '\n') + 1;
    mlcc_str observed = {0};
    observe(text, (size_t)(marker - text), error, &observed);
    bool equal = strcmp(expected, mlcc_str_text(&observed)) == 0;
    if (!equal && getenv("MLCC_BLESS") != NULL) {
        mlcc_str file = {0};
        mlcc_str_append(&file, text, (size_t)(expected - text));
        mlcc_str_puts(&file, mlcc_str_text(&observed));
        status = mlcc_file_write_atomic(path, file.data, file.length);
        assert_null(status);
        mlcc_str_free(&file);
        equal = true;
    }
    if (!equal) {
        print_message(
            "%s: expected\n%sfound\n%s(MLCC_BLESS=1 rewrites the file)\n", path, expected,
            mlcc_str_text(&observed));
    }
    mlcc_str_free(&observed);
    free(text);
    return equal;
}

static void golden_files(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    char **names = NULL;
    size_t n_names = 0;
    size_t n_files = 0;
    size_t n_bad = 0;
    mlcc_status *status = mlcc_dir_list(folder, keep, &names, &n_names);
    assert_null(status);
    for (size_t i = 0; i < n_names; i++) {
        if (!mlcc_text_ends_with(names[i], ".mlcir")) continue;
        n_files++;
        if (!check_file(mlcc_path_join(keep, folder, names[i]))) n_bad++;
    }
    mlcc_arena_free(keep);
    assert_int_equal(n_bad, 0);
    assert_true(n_files >= 40);
}

// What is printed is a fixed point: it parses, verifies and prints to itself.
static void printed_modules_are_fixed_points(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    char **names = NULL;
    size_t n_names = 0;
    mlcc_status *status = mlcc_dir_list(folder, keep, &names, &n_names);
    assert_null(status);
    for (size_t i = 0; i < n_names; i++) {
        if (!mlcc_text_starts_with(names[i], "print_")) continue;
        char *text = NULL;
        size_t length = 0;
        status = mlcc_file_read(mlcc_path_join(keep, folder, names[i]), 0, &text, &length);
        assert_null(status);
        const char *expected = strstr(text, "# ---- expect\n");
        assert_non_null(expected);
        expected += strlen("# ---- expect\n");
        mlcc_str again = {0};
        observe(expected, strlen(expected), false, &again);
        assert_string_equal(mlcc_str_text(&again), expected);
        mlcc_str_free(&again);
        free(text);
    }
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_files),
        cmocka_unit_test(printed_modules_are_fixed_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
