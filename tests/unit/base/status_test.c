// status: codes, the chain of notes, and the text that users see.
#include "runtime/base/log.h"
#include "runtime/base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void null_is_success(void **state) {
    (void)state;
    assert_int_equal(mlcc_status_code(NULL), MLCC_OK);
    assert_string_equal(mlcc_status_message(NULL), "");
    assert_null(mlcc_status_note(NULL, "doing %d", 1));
    mlcc_status_free(NULL);
    char *text = mlcc_status_format(NULL, 1);
    assert_string_equal(text, "");
    free(text);
}

static void formats_message_and_notes(void **state) {
    (void)state;
    mlcc_status *status = MLCC_ERROR(INVALID, "key '%s' is missing", "d_model");
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_string_equal(mlcc_status_message(status), "key 'd_model' is missing");
    assert_ptr_equal(mlcc_status_note(status, "reading '%s'", "config.json"), status);
    mlcc_status_note(status, "converting %d weights", 3);
    assert_string_equal(mlcc_status_message(status), "key 'd_model' is missing");
    char *text = mlcc_status_format(status, 0);
    assert_string_equal(
        text, "error: invalid input: key 'd_model' is missing\n"
              "  while reading 'config.json'\n"
              "  while converting 3 weights\n");
    free(text);
    text = mlcc_status_format(status, 1);
    assert_non_null(strstr(text, "status_test.c:"));
    free(text);
    mlcc_status_free(status);
}

static void codes_have_texts(void **state) {
    (void)state;
    assert_string_equal(mlcc_code_text(MLCC_OK), "ok");
    assert_string_equal(mlcc_code_text(MLCC_NO_MEMORY), "out of memory");
    assert_string_equal(mlcc_code_text(MLCC_INTERNAL), "internal error");
    assert_string_equal(mlcc_code_text((mlcc_code)99), "unknown");
}

static mlcc_status *fails(bool fail) {
    return fail ? MLCC_ERROR(IO, "it failed") : NULL;
}

static mlcc_status *passes_up(bool first, bool second) {
    MLCC_TRY(fails(first));
    MLCC_TRY_NOTE(fails(second), "trying number %d", 2);
    return NULL;
}

static void try_passes_errors_up(void **state) {
    (void)state;
    assert_null(passes_up(false, false));
    mlcc_status *status = passes_up(true, false);
    char *text = mlcc_status_format(status, 0);
    assert_string_equal(text, "error: input/output: it failed\n");
    free(text);
    mlcc_status_free(status);
    status = passes_up(false, true);
    text = mlcc_status_format(status, 0);
    assert_string_equal(text, "error: input/output: it failed\n  while trying number 2\n");
    free(text);
    mlcc_status_free(status);
}

// Names and values come from files that others wrote.
static void texts_of_files_stay_texts(void **state) {
    (void)state;
    mlcc_status *status = MLCC_ERROR(
        INVALID, "key '%s'",
        "\x1b[2J\r\a"
        "a\n\tb\xc2\x9b"
        "\xc3\xa9\xc2\xa0\x7f");
    status = mlcc_status_note(status, "reading '%s'", "\x1b]0;x\nerror: no");
    char *text = mlcc_status_format(status, 0);
    assert_string_equal(
        text, "error: invalid input: key '?[2J??a\n    \tb?\xc3\xa9\xc2\xa0?'\n"
              "  while reading '?]0;x\n    error: no'\n");
    free(text);
    mlcc_status_free(status);
}

typedef struct heard {
    int n_messages;
    mlcc_log_level level;
    size_t length;
    char area[16];
} heard;

static void listen(void *user, mlcc_log_level level, const char *area, const char *message) {
    heard *all = user;
    all->n_messages++;
    all->level = level;
    all->length = strlen(message);
    strncpy(all->area, area, sizeof all->area - 1);
}

static void log_goes_to_the_sink(void **state) {
    (void)state;
    heard all = {0};
    mlcc_log(MLCC_LOG_ERROR, "test", "nobody listens");
    mlcc_log_set(listen, &all, MLCC_LOG_INFO);
    mlcc_log(MLCC_LOG_DEBUG, "test", "too quiet");
    assert_int_equal(all.n_messages, 0);
    mlcc_log(MLCC_LOG_INFO, "passes", "%d nodes", 12);
    assert_int_equal(all.n_messages, 1);
    assert_int_equal(all.level, MLCC_LOG_INFO);
    assert_int_equal(all.length, 8);
    assert_string_equal(all.area, "passes");
    mlcc_log(MLCC_LOG_WARN, "passes", "%2000d", 1); // longer than the buffer on the stack
    assert_int_equal(all.length, 2000);
    mlcc_log(MLCC_LOG_WARN, "passes", "%s", "\x1b[31m\xc2\x9bx");
    assert_int_equal(all.length, 7); // a '?' for each of the two
    mlcc_log_set(NULL, NULL, MLCC_LOG_TRACE);
    mlcc_log(MLCC_LOG_ERROR, "passes", "silenced");
    assert_int_equal(all.n_messages, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_files_stay_texts), cmocka_unit_test(null_is_success),
        cmocka_unit_test(formats_message_and_notes), cmocka_unit_test(codes_have_texts),
        cmocka_unit_test(try_passes_errors_up),      cmocka_unit_test(log_goes_to_the_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
