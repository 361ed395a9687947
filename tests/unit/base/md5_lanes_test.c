// Eight MD5 sums side by side are the eight sums.
#include "runtime/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_BLOCKS = 40 };

static unsigned char data[MLCC_MD5_LANES][64 * MAX_BLOCKS + 63];

static void fill_data(void) {
    unsigned state = 1;
    for (size_t lane = 0; lane < MLCC_MD5_LANES; lane++) {
        for (size_t i = 0; i < sizeof data[lane]; i++) {
            state = state * 1664525u + 1013904223u;
            data[lane][i] = (unsigned char)(state >> 24);
        }
    }
}

// Lanes of `mask` take n_blocks twice, then a tail of their own; the others stay what they were.
static void check(unsigned mask, size_t n_blocks) {
    mlcc_md5 sums[MLCC_MD5_LANES], *pointers[MLCC_MD5_LANES];
    const void *first[MLCC_MD5_LANES], *second[MLCC_MD5_LANES];
    for (size_t i = 0; i < MLCC_MD5_LANES; i++) {
        mlcc_md5_init(&sums[i]);
        pointers[i] = &sums[i];
        first[i] = mask >> i & 1 ? data[i] : NULL;
        second[i] = mask >> i & 1 ? data[i] + 64 * n_blocks : NULL;
    }
    mlcc_md5_update_lanes(pointers, first, n_blocks);
    mlcc_md5_update_lanes(pointers, second, n_blocks);
    for (size_t i = 0; i < MLCC_MD5_LANES; i++) {
        const size_t done = mask >> i & 1 ? 128 * n_blocks : 0, tail = 7 * i;
        mlcc_md5_update(&sums[i], data[i] + done, tail);
        char hex[33], expected[33];
        mlcc_md5_hex(&sums[i], hex);
        mlcc_md5 alone;
        mlcc_md5_init(&alone);
        mlcc_md5_update(&alone, data[i], done + tail);
        mlcc_md5_hex(&alone, expected);
        assert_string_equal(hex, expected);
    }
}

static void lanes_are_sums(void **state) {
    (void)state;
    fill_data();
    for (size_t n_blocks = 0; n_blocks <= MAX_BLOCKS / 2; n_blocks += 1 + n_blocks / 2) {
        check(0xff, n_blocks);
        check(0x01, n_blocks);
        check(0x80, n_blocks);
        check(0x5a, n_blocks);
        check(0, n_blocks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lanes_are_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
