// The folder of a store: made and unmade without touching what was there, one lock, names.
#include "dist/artifact/store_directory.h"

#include "tests/unit/artifact/artifact_fixture.h"

static void made_and_unmade(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    char *first = NULL;
    const char *deep = mlcc_arena_printf(keep, "%s/a/b//c/", dir);
    must(store_directory_make(deep, keep, &first));
    assert_true(mlcc_dir_exists(deep));
    assert_string_equal(first, mlcc_arena_printf(keep, "%s/a", dir));
    store_directory_unmake(deep, first);
    assert_string_equal(names_in(dir, keep), "");
    must(store_directory_make(dir, keep, &first));
    assert_null(first);
    write_text(dir, "file", "x");
    must_fail(
        store_directory_make(mlcc_path_join(keep, dir, "file/x"), keep, &first), MLCC_IO, "file");
    assert_null(first);
    must_fail(store_directory_make("", keep, &first), MLCC_INVALID, "empty");
    assert_string_equal(names_in(dir, keep), "file");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void what_is_full_stays(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    char *first = NULL;
    const char *deep = mlcc_path_join(keep, dir, "a/b");
    must(store_directory_make(deep, keep, &first));
    write_text(mlcc_path_join(keep, dir, "a"), "other", "x");
    store_directory_unmake(deep, first);
    assert_string_equal(names_in(mlcc_path_join(keep, dir, "a"), keep), "other");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void one_lock(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    int first = -1, second = 0;
    must(store_directory_lock(dir, "wait", &first));
    must_fail(
        store_directory_lock(dir, "read the manual", &second), MLCC_IO,
        mlcc_arena_printf(
            keep, "another process is writing weights into '%s'; read the manual", dir));
    assert_int_equal(second, -1);
    store_directory_sync(dir);
    close(first);
    must(store_directory_lock(dir, "wait", &second));
    close(second);
    must(mlcc_dir_remove_tree(dir));
    must_fail(store_directory_lock(dir, "wait", &second), MLCC_IO, "cannot open directory");
    assert_int_equal(second, -1);
    store_directory_sync(dir);
    mlcc_arena_free(keep);
}

static void names(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    const char *shard = store_shard_name(keep, 12);
    assert_string_equal(shard, "params_shard_12.bin");
    const char *second = store_second_name(dir, shard, keep);
    assert_string_equal(second, "params_shard_12.old.bin");
    write_text(dir, second, "x");
    second = store_second_name(dir, shard, keep);
    assert_string_equal(second, "params_shard_12.old1.bin");
    // A link to nowhere takes a name, too.
    assert_int_equal(symlink("nowhere", mlcc_path_join(keep, dir, second)), 0);
    second = store_second_name(dir, shard, keep);
    assert_string_equal(second, "params_shard_12.old2.bin");
    static const struct {
        const char *name;
        bool is_shard;
    } cases[] = {
        {"params_shard_0.bin", true},
        {"params_shard_0.old.bin", true},
        {"params_shard_0.old3.bin", true},
        {"params_shard_0.bin.tmp.17", true},
        {"params_shard_index.bin.tmp.1", true},
        {"params_shard_0.binary", false},
        {"my_params_shard_0.bin", false},
        {"tensor-cache.json", false},
        {"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(store_is_shard_name(cases[i].name), cases[i].is_shard);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void indexes(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    for (int i = 0; i < STORE_N_INDEXES; i++) {
        assert_false(store_directory_has_index(dir));
        write_text(dir, store_index_names[i], "{}");
        assert_int_equal(store_directory_has_index(dir), i < STORE_INDEX_B16);
        must(mlcc_file_remove(mlcc_path_join(keep, dir, store_index_names[i])));
    }
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_unmade), cmocka_unit_test(what_is_full_stays),
        cmocka_unit_test(one_lock),        cmocka_unit_test(names),
        cmocka_unit_test(indexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
