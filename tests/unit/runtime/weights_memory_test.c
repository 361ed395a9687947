// Weights in memory of their own: when that pays, whether huge pages are granted, and reading pieces of
// files by all threads.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/device/host_memory.h"
#include "runtime/model/weights_memory.h"

enum { MIB = 1 << 20 };

static void what_is_copied(void **state) {
    (void)state;
    const uint64_t gib = (uint64_t)1 << 30;
    const struct {
        mlcc_weights_memory wish;
        mlcc_weights_circumstances around;
        uint64_t payload_bytes, direct_bytes;
        mlcc_weights_choice expected;
    } cases[] = {
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 1}, gib, gib, {true, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, false, 1}, gib, gib, {false, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, false, 2}, gib, gib, {true, true}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 1}, 4 * gib, 0, {true, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 1}, 4 * gib + 1, 0, {false, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 2}, 2 * gib, 2 * gib, {true, true}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 2}, 2 * gib, 2 * gib + 1, {true, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 2}, 5 * gib, 2 * gib, {false, true}},
        {MLCC_WEIGHTS_AUTO, {UINT64_MAX, true, 1}, 400 * gib, 0, {true, false}},
        {MLCC_WEIGHTS_AUTO, {0, true, 2}, gib, gib, {false, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 4}, 8 * MIB, 8 * MIB, {true, true}},
        // Small pages reach as far.
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 4}, 8 * MIB - 1, 8 * MIB - 1, {false, false}},
        {MLCC_WEIGHTS_AUTO, {8 * gib, true, 4}, 0, 0, {false, false}},
        {MLCC_WEIGHTS_COPIED, {0, false, 1}, 1, 1, {true, true}},
        {MLCC_WEIGHTS_COPIED, {0, false, 1}, 0, gib, {false, true}},
        {MLCC_WEIGHTS_MAPPED, {8 * gib, true, 4}, gib, gib, {false, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const mlcc_weights_choice choice = mlcc_weights_choose(
            cases[i].wish, &cases[i].around, cases[i].payload_bytes, cases[i].direct_bytes);
        if (choice.payload != cases[i].expected.payload ||
            choice.direct != cases[i].expected.direct) {
            fail_msg("case %zu: %d %d", i, choice.payload, choice.direct);
        }
    }
    const mlcc_weights_circumstances around = mlcc_weights_look_around();
    assert_true(around.available_bytes > 0);
    assert_true(around.n_memory_nodes >= 1);
    assert_int_equal(around.has_huge_pages, mlcc_huge_pages_granted());
}

static void switches_of_huge_pages(void **state) {
    (void)state;
    static const struct {
        const char *machine, *of_this_size;
        bool expected;
    } cases[] = {
        {"always [madvise] never\n", "", true},
        {"[always] madvise never\n", "", true},
        {"always madvise [never]\n", "", false},
        {"", "", false}, // a kernel without
        {"garbage", "", false},
        {"[alwaysnot] never\n", "", false},
        {"always [madvise] never\n", "always [inherit] madvise never\n", true},
        {"always madvise [never]\n", "always [inherit] madvise never\n", false},
        {"always [madvise] never\n", "always inherit madvise [never]\n", false},
        {"always madvise [never]\n", "always inherit [madvise] never\n", true},
        {"[", "[", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (mlcc_huge_pages_granted_by(cases[i].machine, cases[i].of_this_size) !=
            cases[i].expected) {
            fail_msg("case %zu", i);
        }
    }
}

static void large_blocks_fit_huge_pages(void **state) {
    (void)state;
    const size_t sizes[] = {1, 63, MIB - 1, MIB, 2 * MIB, 5 * MIB + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        mlcc_block block;
        tiny_ok(mlcc_block_alloc(sizes[i], "a test", &block));
        mlcc_block_spread(&block);
        assert_int_equal((uintptr_t)block.data % (sizes[i] < MIB ? 64 : 2 * MIB), 0);
        const char *bytes = block.data;
        assert_int_equal(bytes[0], 0);
        assert_int_equal(bytes[sizes[i] - 1], 0);
        mlcc_block_free(&block);
    }
    mlcc_block block;
    tiny_refused(mlcc_block_alloc(SIZE_MAX - 1, "a test", &block), MLCC_NO_MEMORY, "a test", "");
}

static unsigned char byte_at(uint64_t offset) {
    return (unsigned char)((offset * 2654435761u) >> 13);
}

typedef struct seen_progress {
    uint64_t most_bytes;
    int n_calls;
} seen_progress;

static void see(void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    seen_progress *seen = user;
    assert_string_equal(phase, "reading");
    assert_true(done_bytes > 100 && done_bytes <= total_bytes);
    if (done_bytes > seen->most_bytes) seen->most_bytes = done_bytes;
    seen->n_calls++;
}

typedef struct read_fixture {
    tiny_dir dir;
    char *path;
    int file;
    uint64_t file_bytes;
} read_fixture;

static read_fixture open_file(uint64_t size_bytes) {
    read_fixture f = {.dir = tiny_dir_make((tiny_store){0})};
    char *bytes = malloc(size_bytes);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < size_bytes; i++) bytes[i] = (char)byte_at(i);
    tiny_write(f.dir.path, "numbers", bytes, size_bytes);
    free(bytes);
    f.path = mlcc_path_join(f.dir.arena, f.dir.path, "numbers");
    tiny_ok(mlcc_file_open(f.path, &f.file, &f.file_bytes));
    assert_int_equal(f.file_bytes, size_bytes);
    return f;
}

static void close_file(read_fixture *f) {
    mlcc_file_close(f->file);
    tiny_dir_remove(&f->dir);
}

static void pieces_are_read_exactly(void **state) {
    (void)state;
    read_fixture f = open_file(7 * MIB + 11);
    const struct {
        uint64_t offset_bytes;
        size_t size_bytes, at;
    } pieces[] = {
        {0, 7 * MIB + 11, 0}, {4096, 4 * MIB, 64}, {77, 2 * MIB, 2 * MIB - 1}, {7 * MIB + 10, 1, 3},
        {5, 2 * MIB + 1, 0},  {9, 0, 0},           {MIB, 6 * MIB, 192},
    };
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        mlcc_pool *pool = NULL;
        tiny_ok(mlcc_pool_create(n_threads, &pool));
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            mlcc_block block;
            tiny_ok(mlcc_block_alloc(10 * MIB, "a test", &block));
            seen_progress seen = {0};
            const mlcc_weights_reading reading = {
                pool, see, &seen, 100, pieces[i].size_bytes + 100};
            const mlcc_weights_source source = {
                f.file, f.path, pieces[i].offset_bytes, pieces[i].size_bytes};
            const unsigned char *bytes = block.data;
            tiny_ok(mlcc_weights_read(&reading, &source, (char *)block.data + pieces[i].at));
            size_t n_wrong = 0;
            for (size_t k = 0; k < 10 * MIB; k++) {
                bool inside = k >= pieces[i].at && k - pieces[i].at < pieces[i].size_bytes;
                unsigned expected = inside ? byte_at(k - pieces[i].at + pieces[i].offset_bytes) : 0;
                n_wrong += bytes[k] != expected;
            }
            assert_int_equal(n_wrong, 0);
            if (n_threads == 1 && pieces[i].size_bytes > 0)
                assert_int_equal(seen.most_bytes, pieces[i].size_bytes + 100);
            mlcc_block_free(&block);
        }
        mlcc_pool_free(pool);
    }
    close_file(&f);
}

static void files_that_end_early(void **state) {
    (void)state;
    read_fixture f = open_file(3 * MIB);
    mlcc_block block;
    tiny_ok(mlcc_block_alloc(16 * MIB, "a test", &block));
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        mlcc_pool *pool = NULL;
        tiny_ok(mlcc_pool_create(n_threads, &pool));
        const mlcc_weights_reading reading = {.pool = pool};
        const mlcc_weights_source sources[] = {
            {f.file, f.path, 1, 3 * MIB},
            {f.file, f.path, 0, 16 * MIB}, // several threads fail at once
            {f.file, f.path, UINT64_MAX - 5, 1},
        };
        for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
            tiny_refused(
                mlcc_weights_read(&reading, &sources[i], block.data), MLCC_IO, f.path,
                "bytes more are expected");
        }
        mlcc_pool_free(pool);
    }
    mlcc_block_free(&block);
    // Neither a folder nor nothing can be opened.
    int file = 5;
    uint64_t size_bytes = 5;
    tiny_refused(
        mlcc_file_open(f.dir.path, &file, &size_bytes), MLCC_INVALID, f.dir.path, "directory");
    assert_int_equal(file, -1);
    tiny_refused(mlcc_file_open("/dev/null", &file, &size_bytes), MLCC_INVALID, "/dev/null", "");
    tiny_refused(mlcc_file_open("/not/there", &file, &size_bytes), MLCC_INVALID, "/not/there", "");
    mlcc_file_close(-1);
    close_file(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_copied),
        cmocka_unit_test(switches_of_huge_pages),
        cmocka_unit_test(large_blocks_fit_huge_pages),
        cmocka_unit_test(pieces_are_read_exactly),
        cmocka_unit_test(files_that_end_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
