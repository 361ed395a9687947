// map: against plain expectations over many keys, with the order of insertion kept.
#include "runtime/base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void add_set_get(void **state) {
    (void)state;
    mlcc_map *map = mlcc_map_create(0);
    uint64_t value = 7;
    assert_false(mlcc_map_get_text(map, "a", &value));
    assert_int_equal(value, 7);
    assert_true(mlcc_map_add_text(map, "a", 1));
    assert_false(mlcc_map_add_text(map, "a", 2));
    assert_true(mlcc_map_get_text(map, "a", &value));
    assert_int_equal(value, 1);
    mlcc_map_set_text(map, "a", 3);
    mlcc_map_set_text(map, "b", 4);
    assert_true(mlcc_map_get_text(map, "a", &value) && value == 3);
    assert_true(mlcc_map_get_text(map, "b", NULL));
    assert_int_equal(mlcc_map_count(map), 2);
    mlcc_map_free(map);
    mlcc_map_free(NULL);
}

static void keys_are_bytes(void **state) {
    (void)state;
    mlcc_map *map = mlcc_map_create(4);
    uint64_t value = 0;
    assert_true(mlcc_map_add(map, "", 0, 10));
    assert_true(mlcc_map_add(map, "\0", 1, 11));
    assert_true(mlcc_map_add(map, "\0\0", 2, 12));
    assert_true(mlcc_map_add(map, "a\0b", 3, 13));
    assert_true(mlcc_map_add(map, "a\0c", 3, 14));
    assert_true(mlcc_map_get(map, NULL, 0, &value) && value == 10);
    assert_true(mlcc_map_get(map, "\0\0", 2, &value) && value == 12);
    assert_true(mlcc_map_get(map, "a\0c", 3, &value) && value == 14);
    assert_false(mlcc_map_get_text(map, "a", &value));
    char key[3] = {'x', 'y', 'z'};
    mlcc_map_add(map, key, 3, 15);
    key[0] = 'q'; // the map has its own copy
    assert_true(mlcc_map_get(map, "xyz", 3, &value) && value == 15);
    mlcc_map_free(map);
}

static void many_keys_in_order(void **state) {
    (void)state;
    enum { N_KEYS = 200003 };
    mlcc_map *map = mlcc_map_create(10);
    char key[32];
    const char *first_key = NULL;
    for (uint64_t i = 0; i < N_KEYS; i++) {
        int n = snprintf(key, sizeof key, "token %llu", (unsigned long long)(i * 2654435761u));
        assert_true(mlcc_map_add(map, key, (size_t)n, i));
        if (i == 0) mlcc_map_entry(map, 0, &first_key, NULL, NULL);
    }
    assert_int_equal(mlcc_map_count(map), N_KEYS);
    for (uint64_t i = 0; i < N_KEYS; i++) {
        snprintf(key, sizeof key, "token %llu", (unsigned long long)(i * 2654435761u));
        uint64_t value = 0;
        assert_true(mlcc_map_get_text(map, key, &value));
        assert_int_equal(value, i);
        const char *entry_key;
        size_t entry_bytes;
        mlcc_map_entry(map, (size_t)i, &entry_key, &entry_bytes, &value);
        assert_string_equal(entry_key, key);
        assert_int_equal(entry_bytes, strlen(key));
        assert_int_equal(value, i);
    }
    assert_false(mlcc_map_get_text(map, "token", NULL));
    const char *same_key;
    mlcc_map_entry(map, 0, &same_key, NULL, NULL);
    assert_ptr_equal(same_key, first_key); // keys do not move when the map grows
    mlcc_map_free(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_set_get),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(many_keys_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
