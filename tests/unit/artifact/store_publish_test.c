// Publishing a store: killed before every single change of the directory, what is left is the old
// store or the new one, whole; and the next writer cleans up. The calls that change directories are
// replaced in this program by ones that count and kill.
#include "dist/artifact/store_publish.h"

#include "tests/unit/artifact/artifact_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long kill_at = -1, n_changes = 0;
static bool links_fail = false;

static void change(void) {
    if (n_changes++ == kill_at) raise(SIGKILL);
}

int rename(const char *from, const char *to) {
    change();
    return (int)syscall(SYS_renameat2, -100, from, -100, to, 0);
}

int link(const char *from, const char *to) {
    change();
    if (links_fail) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_linkat, -100, from, -100, to, 0);
}

int unlink(const char *path) {
    change();
    return (int)syscall(SYS_unlinkat, -100, path, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    change();
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int rmdir(const char *path) {
    change();
    return (int)syscall(SYS_unlinkat, -100, path, 0x200);
}

// A killed process, unlike a power failure, loses nothing that was not flushed.
int fsync(int file) {
    (void)file;
    change();
    return 0;
}

enum { SHARD_BYTES = 100 };

// A store whose shard i is SHARD_BYTES times the byte `value` + i, under the given index name.
static void make_store(const char *dir, const char *index_name, size_t n_shards, int value) {
    mlcc_str index = {0};
    mlcc_str_printf(
        &index,
        "{\"metadata\": {\"ParamSize\": %d, \"ParamBytes\": 100.0, \"BitsPerParam\": 8.0}, "
        "\"records\": [",
        value);
    for (size_t i = 0; i < n_shards; i++) {
        unsigned char data[SHARD_BYTES];
        char name[64], hex[33];
        memset(data, value + (int)i, sizeof data);
        mlcc_md5 md5;
        mlcc_md5_init(&md5);
        mlcc_md5_update(&md5, data, sizeof data);
        mlcc_md5_hex(&md5, hex);
        snprintf(name, sizeof name, "params_shard_%zu.bin", i);
        write_file(dir, name, data, sizeof data);
        mlcc_str_printf(
            &index,
            "%s{\"dataPath\": \"%s\", \"format\": \"raw-shard\", \"nbytes\": 100, \"records\": "
            "[{\"name\": \"t%zu\", \"shape\": [100], \"dtype\": \"uint8\", "
            "\"format\": \"f32-to-bf16\", \"nbytes\": 100, \"byteOffset\": 0}], \"md5sum\": "
            "\"%s\"}",
            i == 0 ? "" : ", ", name, i, hex);
    }
    mlcc_str_puts(&index, "]}");
    write_text(dir, index_name, index.data);
    mlcc_str_free(&index);
}

// The `value` of the store that a reader finds in `dir`; fails when it is not whole.
static int value_of_store(
    const char *dir, size_t n_old, size_t n_new, int old_value, int new_value) {
    mlcc_tensor_cache *cache = open_store(dir);
    const mlcc_tensor_record *first = mlcc_tensor_cache_find(cache, "t0");
    assert_non_null(first);
    const int value = *(const unsigned char *)mlcc_tensor_cache_data(cache, first);
    assert_true(value == old_value || value == new_value);
    assert_int_equal(cache->n_records, value == old_value ? n_old : n_new);
    for (size_t i = 0; i < cache->n_records; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%zu", i);
        const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, name);
        assert_non_null(record);
        assert_int_equal(
            *(const unsigned char *)mlcc_tensor_cache_data(cache, record), value + (int)i);
    }
    mlcc_tensor_cache_close(cache);
    return value;
}

static void publish_new(const char *dir, size_t n_new, int new_value) {
    mlcc_arena *keep = mlcc_arena_create();
    int lock = -1;
    char *staging = NULL;
    must(store_staging_make(dir, false, keep, &lock, &staging));
    const long saved = kill_at;
    kill_at = -1;
    make_store(staging, "tensor-cache.json", n_new, new_value);
    n_changes = 0;
    kill_at = saved;
    must(store_publish(dir, staging, n_new, false));
    close(lock);
    mlcc_arena_free(keep);
}

// Publishes in a child that dies at its change number `at`; returns whether it died.
static bool publish_and_die(const char *dir, size_t n_new, int new_value, long at) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kill_at = at;
        publish_new(dir, n_new, new_value);
        _exit(0);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (WIFSIGNALED(result)) {
        assert_int_equal(WTERMSIG(result), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(result), 0);
    return false;
}

static const char *expected_names(size_t n_shards, mlcc_arena *keep) {
    char *text = mlcc_arena_strdup(keep, "mlc-chat-config.json");
    for (size_t i = 0; i < n_shards; i++)
        text = mlcc_arena_printf(keep, "%s params_shard_%zu.bin", text, i);
    return mlcc_arena_printf(keep, "%s tensor-cache.json", text);
}

static void killed_anywhere(const char *old_index, size_t n_old, size_t n_new) {
    mlcc_arena *keep = mlcc_arena_create();
    bool saw_old = false, saw_new = false, died = true;
    long at = 0;
    for (; died; at++) {
        const char *dir = test_folder_make(keep);
        kill_at = -1;
        write_text(dir, "mlc-chat-config.json", "{}");
        make_store(dir, old_index, n_old, 10);
        if (strcmp(old_index, "tensor-cache.json") == 0)
            write_text(dir, "tensor-cache-b16.json", "{}");
        died = publish_and_die(dir, n_new, 60, at);
        const int value = value_of_store(dir, n_old, n_new, 10, 60);
        saw_old |= value == 10;
        saw_new |= value == 60;
        if (!died) assert_string_equal(names_in(dir, keep), expected_names(n_new, keep));
        // What a second writer does, itself killed in the middle, and a third one that completes.
        if (publish_and_die(dir, n_new + 1, 110, at / 2 + 3)) {
            mlcc_tensor_cache *cache = open_store(dir);
            const int second = *(const unsigned char *)mlcc_tensor_cache_data(
                cache, mlcc_tensor_cache_find(cache, "t0"));
            assert_true(second == value || second == 110);
            mlcc_tensor_cache_close(cache);
        }
        assert_false(publish_and_die(dir, n_new, 160, -1));
        assert_int_equal(value_of_store(dir, 0, n_new, 0, 160), 160);
        assert_string_equal(names_in(dir, keep), expected_names(n_new, keep));
        must(mlcc_dir_remove_tree(dir));
    }
    assert_true(saw_old && saw_new);
    assert_true(at > (long)n_new + 2);
    mlcc_arena_free(keep);
}

static void killed_with_as_many_shards(void **state) {
    (void)state;
    killed_anywhere("tensor-cache.json", 3, 3);
}

static void killed_with_fewer_shards(void **state) {
    (void)state;
    killed_anywhere("tensor-cache.json", 4, 2);
}

static void killed_with_more_shards(void **state) {
    (void)state;
    killed_anywhere("tensor-cache.json", 1, 3);
}

static void killed_beside_the_old_index_name(void **state) {
    (void)state;
    killed_anywhere("ndarray-cache.json", 3, 2);
}

static void killed_without_hard_links(void **state) {
    (void)state;
    links_fail = true;
    killed_anywhere("tensor-cache.json", 2, 2);
    links_fail = false;
}

static void a_broken_old_store_is_replaced(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    kill_at = -1;
    write_text(dir, "mlc-chat-config.json", "{}");
    write_text(dir, "tensor-cache.json", "{ no json");
    write_text(dir, "params_shard_0.bin", "old");
    assert_false(publish_and_die(dir, 2, 60, -1));
    assert_int_equal(value_of_store(dir, 0, 2, 0, 60), 60);
    // An index whose shards are gone; one that lists a strange name, which must survive.
    make_store(dir, "tensor-cache.json", 2, 10);
    must(mlcc_file_remove(mlcc_path_join(keep, dir, "params_shard_1.bin")));
    assert_false(publish_and_die(dir, 2, 70, -1));
    assert_int_equal(value_of_store(dir, 0, 2, 0, 70), 70);
    write_text(
        dir, "tensor-cache.json",
        "{\"records\": [{\"dataPath\": \"mlc-chat-config.json\"}, {\"dataPath\": 3}, 4, "
        "{\"dataPath\": \"../x\"}]}");
    assert_false(publish_and_die(dir, 1, 80, -1));
    assert_string_equal(names_in(dir, keep), expected_names(1, keep));
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void one_writer_at_a_time(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    kill_at = -1;
    int first = -1, second = -1;
    char *staging = NULL, *unused = NULL;
    must(store_staging_make(dir, false, keep, &first, &staging));
    must_fail(store_staging_make(dir, false, keep, &second, &unused), MLCC_IO, "another process");
    assert_int_equal(second, -1);
    close(first);
    must(store_staging_make(dir, false, keep, &second, &staging));
    close(second);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void a_full_disk_is_refused(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    must(store_space_check(dir, 0));
    must(store_space_check(dir, 1));
    must_fail(store_space_check(dir, UINT64_MAX / 2), MLCC_IO, "free");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_with_as_many_shards),
        cmocka_unit_test(killed_with_fewer_shards),
        cmocka_unit_test(killed_with_more_shards),
        cmocka_unit_test(killed_beside_the_old_index_name),
        cmocka_unit_test(killed_without_hard_links),
        cmocka_unit_test(a_broken_old_store_is_replaced),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(a_full_disk_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
