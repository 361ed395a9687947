// fixture: what the frontend's tests share: a folder of their own, files in it, errors and warnings looked at as text.
#ifndef MLCC_TESTS_UNIT_FRONTEND_FIXTURE_H
#define MLCC_TESTS_UNIT_FRONTEND_FIXTURE_H

#include "frontend/hf/model_config.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "tests/support/test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    mlcc_arena *keep;
    char *dir;    // empty at the start of every test
    mlcc_str log; // all messages, one per line: "warn config: …"
} fixture;

static inline void fixture_sink(
    void *user, mlcc_log_level level, const char *area, const char *message) {
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace"};
    fixture *self = user;
    mlcc_str_printf(&self->log, "%s %s: %s\n", levels[level], area, message);
}

static inline int fixture_setup(void **state) {
    fixture *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->keep = mlcc_arena_create();
    self->dir = test_folder_make(self->keep);
    mlcc_log_set(fixture_sink, self, MLCC_LOG_INFO);
    *state = self;
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture *self = *state;
    mlcc_log_set(NULL, NULL, MLCC_LOG_ERROR);
    mlcc_status_free(mlcc_dir_remove_tree(self->dir));
    mlcc_str_free(&self->log);
    mlcc_arena_free(self->keep);
    free(self);
    return 0;
}

static inline const char *fixture_path(fixture *self, const char *name) {
    return mlcc_path_join(self->keep, self->dir, name);
}

static inline void expect_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

static inline const char *fixture_write(
    fixture *self, const char *name, const void *data, size_t size_bytes) {
    const char *path = fixture_path(self, name);
    expect_ok(mlcc_file_write_atomic(path, data, size_bytes));
    return path;
}

static inline const char *fixture_write_text(fixture *self, const char *name, const char *text) {
    return fixture_write(self, name, text, strlen(text));
}

// The whole chain must hold every one of the texts (NULL-terminated); ends the status.
static inline void expect_error(mlcc_status *status, mlcc_code code, ...) {
    if (status == NULL) fail_msg("expected an error, got none");
    char *text = mlcc_status_format(status, 0);
    mlcc_code found = mlcc_status_code(status);
    va_list texts;
    va_start(texts, code);
    for (const char *wanted = va_arg(texts, const char *); wanted != NULL;
         wanted = va_arg(texts, const char *))
        if (strstr(text, wanted) == NULL) {
            print_error("no '%s' in: %s", wanted, text);
            found = MLCC_OK;
        }
    va_end(texts);
    free(text);
    mlcc_status_free(status);
    assert_int_equal(found, code);
}

static inline void expect_log(const fixture *self, const char *text) {
    if (strstr(mlcc_str_text(&self->log), text) == NULL)
        fail_msg("no '%s' in the log:\n%s", text, mlcc_str_text(&self->log));
}

static inline void expect_no_warning(const fixture *self) {
    if (strstr(mlcc_str_text(&self->log), "warn ") != NULL)
        fail_msg("unexpected warning:\n%s", mlcc_str_text(&self->log));
}

static inline const char *fixture_data_path(mlcc_arena *keep, const char *name) {
    const char *base = getenv("MLCC_DATA");
    return mlcc_path_join(keep, base != NULL ? base : "../shared/data", name);
}

// For programs that are nothing without the data: says so and lets main return 77.
static inline bool fixture_has_data(const char *name) {
    mlcc_arena *keep = mlcc_arena_create();
    const char *path = fixture_data_path(keep, name);
    bool exists = mlcc_dir_exists(path);
    if (!exists) print_message("%s does not exist: skipped (set MLCC_DATA)\n", path);
    mlcc_arena_free(keep);
    return exists;
}

// The model_config that gen_config writes of it.
static inline const char *fixture_written(fixture *self, const hf_model_config *config) {
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    hf_model_config_write(config, &writer);
    const char *copy = mlcc_arena_strdup(self->keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return copy;
}

// Folder `name` of the real test data ($MLCC_DATA, else ../shared/data); skips the test visibly when it is not there.
static inline const char *fixture_data(fixture *self, const char *name) {
    const char *path = fixture_data_path(self->keep, name);
    if (!mlcc_dir_exists(path)) {
        print_message("%s does not exist: skipped (set MLCC_DATA)\n", path);
        skip();
    }
    return path;
}

#endif
