// arena: alignment, zeroing after reuse, growth, and refusal of impossible sizes.
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool all_zero(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0) return false;
    }
    return true;
}

static void objects_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    unsigned char *before = NULL;
    size_t before_bytes = 0;
    size_t total = 0;
    for (size_t i = 0; i < 5000; i++) {
        size_t size_bytes = i * 7 % 301;
        unsigned char *object = mlcc_arena_alloc(arena, size_bytes);
        assert_int_equal((uintptr_t)object % 16, 0);
        assert_true(all_zero(object, size_bytes));
        memset(object, 0xa5, size_bytes);
        assert_true(object != before);
        if (object > before && before != NULL && object < before + 400) {
            assert_true(object >= before + before_bytes);
        }
        before = object;
        before_bytes = size_bytes;
        total += size_bytes;
    }
    assert_int_equal(mlcc_arena_used_bytes(arena), total);
    mlcc_arena_free(arena);
    mlcc_arena_free(NULL);
}

static void alignment_on_request(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        (void)mlcc_arena_alloc(arena, 3);
        assert_int_equal((uintptr_t)mlcc_arena_alloc_aligned(arena, 100, alignment) % alignment, 0);
    }
    // Larger than any chunk.
    unsigned char *large = mlcc_arena_alloc_aligned(arena, 20u << 20, 64);
    assert_int_equal((uintptr_t)large % 64, 0);
    large[(20u << 20) - 1] = 1;
    mlcc_arena_free(arena);
}

static void reset_gives_zeroed_memory_again(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_arena_reset(arena); // an unused one
    for (int round = 0; round < 4; round++) {
        for (size_t i = 1; i < 400; i++) {
            unsigned char *object = mlcc_arena_alloc(arena, i * (size_t)(round + 1));
            assert_true(all_zero(object, i * (size_t)(round + 1)));
            memset(object, 0xff, i * (size_t)(round + 1));
        }
        mlcc_arena_reset(arena);
        assert_int_equal(mlcc_arena_used_bytes(arena), 0);
    }
    mlcc_arena_free(arena);
}

static void text_helpers(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    assert_string_equal(mlcc_arena_strdup(arena, ""), "");
    assert_string_equal(mlcc_arena_strdup(arena, "abc"), "abc");
    assert_string_equal(mlcc_arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(mlcc_arena_strndup(arena, "ab", 30), "ab");
    assert_string_equal(mlcc_arena_printf(arena, "%s_%03d", "shard", 7), "shard_007");
    assert_string_equal(mlcc_arena_printf(arena, "%s", ""), "");
    assert_memory_equal(mlcc_arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    assert_non_null(mlcc_arena_memdup(arena, NULL, 0));
    mlcc_arena_free(arena);
}

static void arrays_grow(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    int64_t *items = NULL;
    size_t n = 0;
    size_t capacity = 0;
    for (int64_t i = 0; i < 10000; i++) {
        MLCC_ARENA_GROW(arena, items, n, capacity);
        items[n++] = i * i;
    }
    assert_true(capacity >= n);
    for (int64_t i = 0; i < 10000; i++) assert_int_equal(items[i], i * i);
    mlcc_arena_free(arena);
}

static void impossible_sizes(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    assert_null(mlcc_arena_try_alloc(arena, SIZE_MAX));
    assert_null(mlcc_arena_try_alloc(arena, SIZE_MAX - 16));
    assert_non_null(mlcc_arena_try_alloc(arena, 10));
    // An overflowing product ends the program with a message.
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(2);
        (void)mlcc_arena_alloc_array(arena, SIZE_MAX / 4, 8);
        _exit(0);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 1);
    mlcc_arena_free(arena);
}

static void clock_and_memory_figures(void **state) {
    (void)state;
    double before = mlcc_clock_s();
    assert_true(mlcc_clock_s() >= before);
    assert_true(mlcc_peak_rss_bytes() > 100 * 1024);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_aligned_zeroed_and_apart),
        cmocka_unit_test(alignment_on_request),
        cmocka_unit_test(reset_gives_zeroed_memory_again),
        cmocka_unit_test(text_helpers),
        cmocka_unit_test(arrays_grow),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(clock_and_memory_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
