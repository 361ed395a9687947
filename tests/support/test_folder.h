// test_folder: a temporary folder, below $TMPDIR, and an arena for as long as one test runs.
//
//   cmocka_unit_test_setup_teardown(test, test_folder_set_up, test_folder_tear_down)        *state is a test_folder
//
// Static functions in a header: not every test links the support library.
#ifndef MLCC_TESTS_SUPPORT_TEST_FOLDER_H
#define MLCC_TESTS_SUPPORT_TEST_FOLDER_H

#include "runtime/base/arena.h"
#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct test_folder {
    mlcc_arena *keep;
    char *path; // empty when the test starts
} test_folder;

// A folder that the caller removes with mlcc_dir_remove_tree.
static inline char *test_folder_make(mlcc_arena *keep) {
    const char *root = getenv("TMPDIR");
    char *path = mlcc_arena_printf(keep, "%s/mlcc-test-XXXXXX", root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline int test_folder_set_up(void **state) {
    mlcc_arena *keep = mlcc_arena_create();
    test_folder *f = MLCC_NEW(keep, test_folder);
    *f = (test_folder){.keep = keep, .path = test_folder_make(keep)};
    *state = f;
    return 0;
}

static inline int test_folder_tear_down(void **state) {
    test_folder *f = *state;
    mlcc_status_free(mlcc_dir_remove_tree(f->path));
    mlcc_arena_free(f->keep);
    return 0;
}

#endif
