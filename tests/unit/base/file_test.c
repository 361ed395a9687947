// file: reading with limits, writes that are complete or absent, cleanup after Ctrl-C, names from
// strangers.
#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/mlcc_file_test_XXXXXX";
static mlcc_arena *arena;

static int make_root(void **state) {
    (void)state;
    arena = mlcc_arena_create();
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
    (void)state;
    mlcc_status *status = mlcc_dir_remove_tree(root);
    int failed = status != NULL || mlcc_dir_exists(root);
    mlcc_status_free(status);
    mlcc_arena_free(arena);
    return failed;
}

static const char *at(const char *name) {
    return mlcc_path_join(arena, root, name);
}

static void check_error(mlcc_status *status, mlcc_code code, const char *expected) {
    assert_non_null(status);
    assert_int_equal(mlcc_status_code(status), code);
    if (strstr(mlcc_status_message(status), expected) == NULL) {
        fail_msg("'%s' lacks '%s'", mlcc_status_message(status), expected);
    }
    mlcc_status_free(status);
}

static size_t count_names(const char *dir) {
    char **names;
    size_t n_names;
    assert_null(mlcc_dir_list(dir, arena, &names, &n_names));
    return n_names;
}

static void check_content(const char *path, const char *expected, size_t length) {
    char *data;
    size_t size_bytes;
    assert_null(mlcc_file_read(path, 0, &data, &size_bytes));
    assert_int_equal(size_bytes, length);
    assert_memory_equal(data, expected, length);
    assert_int_equal(data[length], '\0');
    free(data);
}

static void reads_and_maps(void **state) {
    (void)state;
    assert_null(mlcc_file_write_atomic(at("small"), "a\0bc", 4));
    check_content(at("small"), "a\0bc", 4);
    mlcc_mapping mapping;
    assert_null(mlcc_file_map(at("small"), &mapping));
    assert_int_equal(mapping.size_bytes, 4);
    assert_memory_equal(mapping.data, "a\0bc", 4);
    mlcc_file_unmap(&mapping);
    assert_null(mapping.data);
    mlcc_file_unmap(&mapping);
    uint64_t size_bytes;
    assert_null(mlcc_file_size(at("small"), &size_bytes));
    assert_int_equal(size_bytes, 4);

    assert_null(mlcc_file_write_atomic(at("empty"), "", 0));
    check_content(at("empty"), "", 0);
    assert_null(mlcc_file_map(at("empty"), &mapping));
    assert_null(mapping.data);
    mlcc_file_unmap(&mapping);

    // A file whose stated size is 0.
    char *data;
    size_t length;
    assert_null(mlcc_file_read("/proc/self/maps", 0, &data, &length));
    assert_true(length > 100 && strlen(data) == length);
    free(data);
}

static void refuses_to_read(void **state) {
    (void)state;
    char *data;
    size_t length;
    mlcc_mapping mapping;
    uint64_t size_bytes;
    check_error(mlcc_file_read(at("absent"), 0, &data, &length), MLCC_INVALID, "/absent'");
    check_error(mlcc_file_map(at("absent"), &mapping), MLCC_INVALID, "No such file");
    check_error(mlcc_file_size(at("absent"), &size_bytes), MLCC_IO, "/absent'");
    check_error(mlcc_file_read(root, 0, &data, &length), MLCC_INVALID, "is a directory");
    check_error(mlcc_file_map(root, &mapping), MLCC_INVALID, "is a directory");
    check_error(mlcc_file_map("/dev/null", &mapping), MLCC_INVALID, "not a regular file");
    assert_null(mlcc_file_write_atomic(at("eleven"), "hello world", 11));
    check_error(mlcc_file_read(at("eleven"), 10, &data, &length), MLCC_INVALID, "at most 10");
    assert_null(data);
    assert_null(mlcc_file_read(at("eleven"), 11, &data, &length));
    free(data);
    // The limit holds where the size is not known beforehand.
    check_error(mlcc_file_read("/proc/self/maps", 10, &data, &length), MLCC_INVALID, "10 bytes");
}

static void directories(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("d/e//f/")));
    assert_null(mlcc_dir_make(at("d/e/f")));
    assert_true(mlcc_dir_exists(at("d/e/f")));
    assert_false(mlcc_file_exists(at("d/e/f")));
    assert_null(mlcc_file_write_atomic(at("d/zz"), "1", 1));
    assert_null(mlcc_file_write_atomic(at("d/aa"), "1", 1));
    assert_true(mlcc_file_exists(at("d/zz")));
    char **names;
    size_t n_names;
    assert_null(mlcc_dir_list(at("d"), arena, &names, &n_names));
    assert_int_equal(n_names, 3);
    assert_string_equal(names[0], "aa");
    assert_string_equal(names[1], "e");
    assert_string_equal(names[2], "zz");
    check_error(mlcc_dir_make(at("d/zz")), MLCC_IO, "in the way");
    check_error(mlcc_dir_make(at("d/zz/below")), MLCC_IO, "d/zz'");
    check_error(mlcc_dir_list(at("absent"), arena, &names, &n_names), MLCC_IO, "cannot list");
    assert_null(mlcc_file_rename(at("d/zz"), at("d/yy")));
    check_error(mlcc_file_rename(at("d/zz"), at("d/yy")), MLCC_IO, "cannot rename");
    assert_null(mlcc_file_remove(at("d/yy")));
    assert_null(mlcc_file_remove(at("d/yy")));
    check_error(mlcc_file_remove(at("d")), MLCC_IO, "cannot remove");
}

static void removing_a_tree_leaves_link_targets(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("tree/deep/er")));
    assert_null(mlcc_dir_make(at("other")));
    assert_null(mlcc_file_write_atomic(at("other/kept"), "1", 1));
    assert_int_equal(symlink(at("other"), at("tree/link")), 0);
    for (int i = 0; i < 700; i++) { // more entries than one reading of the directory returns
        char name[40];
        snprintf(name, sizeof name, "tree/deep/file_with_a_name_%d", i);
        int file = open(at(name), O_CREAT | O_WRONLY, 0666);
        assert_true(file >= 0);
        close(file);
    }
    assert_null(mlcc_dir_remove_tree(at("tree")));
    assert_false(mlcc_dir_exists(at("tree")));
    assert_true(mlcc_file_exists(at("other/kept")));
    assert_null(mlcc_dir_remove_tree(at("tree"))); // absent is fine
    check_error(mlcc_dir_remove_tree(at("other/kept")), MLCC_IO, "cannot remove");
}

static void writers_are_atomic(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("w")));
    assert_null(mlcc_file_write_atomic(at("w/x"), "old", 3));
    mlcc_writer *writer;
    assert_null(mlcc_writer_open(at("w/x"), &writer));
    mlcc_writer *second; // of the same path, at the same time
    assert_null(mlcc_writer_open(at("w/x"), &second));
    assert_null(mlcc_writer_write(writer, "new", 3));
    assert_int_equal(mlcc_writer_offset(writer), 3);
    assert_int_equal(count_names(at("w")), 3);
    check_content(at("w/x"), "old", 3);
    assert_null(mlcc_writer_commit(writer));
    check_content(at("w/x"), "new", 3);
    assert_null(mlcc_writer_write(second, "newest", 6));
    mlcc_writer_abandon(second);
    mlcc_writer_abandon(NULL);
    check_content(at("w/x"), "new", 3);
    assert_int_equal(count_names(at("w")), 1);
    assert_null(mlcc_writer_open(at("w/x"), &writer));
    assert_null(mlcc_writer_write(writer, "??? and so on", 13));
    assert_null(mlcc_writer_rewrite(writer, 1, "no", 2));
    assert_null(mlcc_writer_rewrite(writer, 0, "S", 1));
    assert_int_equal(mlcc_writer_offset(writer), 13);
    assert_null(mlcc_writer_write(writer, "!", 1));
    assert_null(mlcc_writer_commit(writer));
    check_content(at("w/x"), "Sno and so on!", 14);
    check_error(mlcc_writer_open(at("w"), &writer), MLCC_INVALID, "is a directory");
    check_error(mlcc_writer_open("", &writer), MLCC_INVALID, "empty");
    check_error(mlcc_writer_open(at("absent/x"), &writer), MLCC_IO, "absent/x'");
    assert_null(writer);
}

// Pieces of all sizes around the buffer's, against one array.
static void large_writes(void **state) {
    (void)state;
    size_t size_bytes = 11u * 1024 * 1024 + 13;
    unsigned char *data = malloc(size_bytes);
    assert_non_null(data);
    for (size_t i = 0; i < size_bytes; i++) data[i] = (unsigned char)(i * 2654435761u >> 13);
    mlcc_writer *writer;
    assert_null(mlcc_writer_open(at("large"), &writer));
    static const size_t pieces[] = {1, 0, 4096, 100000, 4u << 20, (4u << 20) + 1, 77, 1u << 20};
    size_t done = 0;
    for (size_t i = 0; done < size_bytes; i++) {
        size_t n = pieces[i % 8] < size_bytes - done ? pieces[i % 8] : size_bytes - done;
        assert_null(mlcc_writer_write(writer, data + done, n));
        done += n;
        assert_int_equal(mlcc_writer_offset(writer), done);
    }
    assert_null(mlcc_writer_commit(writer));
    mlcc_mapping mapping;
    assert_null(mlcc_file_map(at("large"), &mapping));
    assert_int_equal(mapping.size_bytes, size_bytes);
    assert_memory_equal(mapping.data, data, size_bytes);
    mlcc_file_unmap(&mapping);
    assert_null(mlcc_file_copy(at("large"), at("copy")));
    assert_null(mlcc_file_map(at("copy"), &mapping));
    assert_int_equal(mapping.size_bytes, size_bytes);
    assert_memory_equal(mapping.data, data, size_bytes);
    mlcc_file_unmap(&mapping);
    check_error(mlcc_file_copy(at("absent"), at("copy2")), MLCC_INVALID, "/absent'");
    assert_false(mlcc_file_exists(at("copy2")));
    free(data);
}

static void failed_writes_leave_nothing(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("limited")));
    pid_t child = fork();
    if (child == 0) {
        // A file size limit fails like a disk that ends: in the middle of the data.
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {.rlim_cur = 1000000, .rlim_max = 1000000};
        setrlimit(RLIMIT_FSIZE, &limit);
        size_t size_bytes = 5000000;
        char *data = calloc(size_bytes, 1);
        mlcc_status *status = mlcc_file_write_atomic(at("limited/x"), data, size_bytes);
        int seen = mlcc_status_code(status) == MLCC_IO &&
                   strstr(mlcc_status_message(status), "limited/x'") != NULL;
        mlcc_status_free(status);
        free(data);
        _exit(seen ? 42 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 42);
    assert_int_equal(count_names(at("limited")), 0);
}

// The descriptor under which this process has the file open.
static int descriptor_of(const char *path) {
    struct stat wanted;
    assert_int_equal(stat(path, &wanted), 0);
    for (int i = 0; i < 256; i++) {
        struct stat info;
        if (fstat(i, &info) == 0 && info.st_ino == wanted.st_ino && info.st_dev == wanted.st_dev) {
            return i;
        }
    }
    return -1;
}

static void full_disk_is_named(void **state) {
    (void)state;
    char *temporary = mlcc_arena_printf(arena, "%s/full.tmp.%ld", root, (long)getpid());
    int full = open("/dev/full", O_WRONLY); // refuses every write with ENOSPC
    if (full < 0) skip();
    mlcc_writer *writer;
    assert_null(mlcc_writer_open(at("full"), &writer));
    int file = descriptor_of(temporary);
    assert_true(file >= 0);
    assert_int_equal(dup2(full, file), file); // the device slips in behind the writer's back
    close(full);
    static char data[5 << 20];
    mlcc_status *status = mlcc_writer_write(writer, data, sizeof data);
    check_error(status, MLCC_IO, "the disk is full, 5242880 more bytes were to be written after 0");
    mlcc_writer_abandon(writer);
    assert_false(mlcc_file_exists(temporary));
}

// A pipe stands for every target that is no regular file, such as /dev/null: it must stay what it is.
static void special_files_are_written_to(void **state) {
    (void)state;
    const char *path = at("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDWR | O_NONBLOCK);
    assert_true(reader >= 0);
    size_t n_names = count_names(root);
    assert_null(mlcc_file_write_atomic(path, "some bytes", 10));
    char found[16] = "";
    assert_int_equal(read(reader, found, sizeof found), 10);
    assert_memory_equal(found, "some bytes", 10);
    mlcc_writer *writer;
    assert_null(mlcc_writer_open(path, &writer));
    mlcc_writer_abandon(writer);
    close(reader);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(count_names(root), n_names);
    assert_int_equal(unlink(path), 0);
}

static void interrupted(int signal_number) {
    (void)signal_number;
    mlcc_writer_remove_all_temporaries();
    _exit(42);
}

static void interruption_removes_temporaries(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("ctrl")));
    mlcc_writer *ours;
    assert_null(mlcc_writer_open(at("ctrl/ours"), &ours));
    pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, interrupted);
        mlcc_writer *writer;
        mlcc_status_free(mlcc_writer_open(at("ctrl/theirs"), &writer));
        mlcc_status_free(mlcc_dir_make(at("ctrl/work/inner")));
        mlcc_status_free(mlcc_file_write_atomic(at("ctrl/work/inner/file"), "x", 1));
        mlcc_temporary_dir_register(at("ctrl/work"));
        // Whoever works inside registers and forgets a directory of its own.
        mlcc_temporary_dir_register(at("ctrl/work/inner"));
        mlcc_temporary_dir_register(NULL);
        raise(SIGINT);
        _exit(1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 42);
    // The child removed its own names, not the one that it inherited from us.
    assert_int_equal(count_names(at("ctrl")), 1);
    assert_null(mlcc_writer_commit(ours));
    assert_true(mlcc_file_exists(at("ctrl/ours")));
    // A directory that was forgotten stays.
    assert_null(mlcc_dir_make(at("ctrl/kept")));
    mlcc_temporary_dir_register(at("ctrl/kept"));
    mlcc_temporary_dir_register(NULL);
    mlcc_writer_remove_all_temporaries();
    assert_true(mlcc_dir_exists(at("ctrl/kept")));
    // More than there is room for: the count stays right, and forgetting once too often does no harm.
    for (int i = 0; i < 20; i++) mlcc_temporary_dir_register(at("ctrl/kept"));
    for (int i = 0; i < 21; i++) mlcc_temporary_dir_register(NULL);
    mlcc_writer_remove_all_temporaries();
    assert_true(mlcc_dir_exists(at("ctrl/kept")));
    mlcc_temporary_dir_register(at("ctrl/kept"));
    mlcc_writer_remove_all_temporaries();
    assert_false(mlcc_dir_exists(at("ctrl/kept")));
    mlcc_temporary_dir_register(NULL);
}

static void temporary_directories(void **state) {
    (void)state;
    assert_null(mlcc_dir_make(at("tmp")));
    assert_int_equal(setenv("TMPDIR", at("tmp"), 1), 0);
    char *first, *second;
    assert_null(mlcc_temporary_dir_make(arena, "test", &first));
    assert_null(mlcc_temporary_dir_make(arena, "test", &second));
    assert_true(mlcc_dir_exists(first) && mlcc_dir_exists(second));
    assert_string_not_equal(first, second);
    struct stat info;
    assert_int_equal(stat(first, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    mlcc_writer_remove_all_temporaries();
    assert_int_equal(count_names(at("tmp")), 0);
    mlcc_temporary_dir_register(NULL);
    mlcc_temporary_dir_register(NULL);
    assert_int_equal(setenv("TMPDIR", at("none"), 1), 0);
    check_error(mlcc_temporary_dir_make(arena, "test", &first), MLCC_IO, "none': No such file");
    assert_int_equal(setenv("TMPDIR", "", 1), 0); // as if it were unset
    assert_null(mlcc_temporary_dir_make(arena, "test", &first));
    assert_memory_equal(first, "/tmp/", 5);
    assert_null(mlcc_dir_remove_tree(first));
    mlcc_temporary_dir_register(NULL);
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

static void paths(void **state) {
    (void)state;
    assert_string_equal(mlcc_path_join(arena, "a", "b"), "a/b");
    assert_string_equal(mlcc_path_join(arena, "a/", "b"), "a/b");
    assert_string_equal(mlcc_path_join(arena, "", "b"), "b");
    assert_string_equal(mlcc_path_join(arena, "a", "/b"), "/b");
    assert_string_equal(mlcc_path_base("a/b/c.txt"), "c.txt");
    assert_string_equal(mlcc_path_base("c.txt"), "c.txt");
    assert_string_equal(mlcc_path_base("a/"), "");
    assert_string_equal(mlcc_path_dir(arena, "a/b/c"), "a/b");
    assert_string_equal(mlcc_path_dir(arena, "c"), ".");
    assert_string_equal(mlcc_path_dir(arena, "/c"), "/");
    char *out;
    assert_null(mlcc_path_join_checked(arena, "dir", "params_shard_0.bin", &out));
    assert_string_equal(out, "dir/params_shard_0.bin");
    assert_null(mlcc_path_join_checked(arena, "dir", "..hidden", &out));
    static const char *const bad[] = {"", ".", "..", "/etc/passwd", "a/b", "../x", "a\\b", "x/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_error(mlcc_path_join_checked(arena, "dir", bad[i], &out), MLCC_INVALID, "dir'");
        assert_null(out);
    }
    assert_string_equal(mlcc_path_base(mlcc_path_self(arena)), "unit_base_file");
}

static void cache_directory(void **state) {
    (void)state;
    setenv("HOME", "/home/somebody", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("MLCC_CACHE_DIR");
    assert_string_equal(mlcc_path_cache(arena), "/home/somebody/.cache/mlcc");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_string_equal(mlcc_path_cache(arena), "/home/somebody/.cache/mlcc");
    setenv("XDG_CACHE_HOME", "/var/xdg", 1);
    assert_string_equal(mlcc_path_cache(arena), "/var/xdg/mlcc");
    setenv("MLCC_CACHE_DIR", "/var/own", 1);
    assert_string_equal(mlcc_path_cache(arena), "/var/own");
    setenv("MLCC_CACHE_DIR", "", 1);
    assert_string_equal(mlcc_path_cache(arena), "/var/xdg/mlcc");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_maps),
        cmocka_unit_test(refuses_to_read),
        cmocka_unit_test(directories),
        cmocka_unit_test(removing_a_tree_leaves_link_targets),
        cmocka_unit_test(writers_are_atomic),
        cmocka_unit_test(large_writes),
        cmocka_unit_test(failed_writes_leave_nothing),
        cmocka_unit_test(full_disk_is_named),
        cmocka_unit_test(special_files_are_written_to),
        cmocka_unit_test(interruption_removes_temporaries),
        cmocka_unit_test(temporary_directories),
        cmocka_unit_test(paths),
        cmocka_unit_test(cache_directory),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
