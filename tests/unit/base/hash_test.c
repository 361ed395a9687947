// hash: MD5 with RFC 1321's vectors, XXH3 with its published values, and both in pieces of every
// size.
#include "runtime/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void check_md5(const char *text, const char *expected) {
    mlcc_md5 md5;
    char hex[33];
    mlcc_md5_init(&md5);
    mlcc_md5_update(&md5, text, strlen(text));
    mlcc_md5_hex(&md5, hex);
    assert_string_equal(hex, expected);
}

static void md5_rfc_vectors(void **state) {
    (void)state;
    check_md5("", "d41d8cd98f00b204e9800998ecf8427e");
    check_md5("a", "0cc175b9c0f1b6a831c399e269772661");
    check_md5("abc", "900150983cd24fb0d6963f7d28e17f72");
    check_md5("message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    check_md5("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
    check_md5(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "d174ab98d277d9f5a5611c2c9f419d9f");
    check_md5(
        "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        "57edf4a22be3c955ac49da2e2107b67a");
}

static void md5_in_pieces(void **state) {
    (void)state;
    unsigned char data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 31 + 7);
    for (size_t length = 0; length <= sizeof data; length++) {
        char whole[33];
        char pieces[33];
        mlcc_md5 md5;
        mlcc_md5_init(&md5);
        mlcc_md5_update(&md5, data, length);
        mlcc_md5_hex(&md5, whole);
        mlcc_md5_init(&md5);
        for (size_t at = 0, step = 1; at < length; step = step * 3 % 71 + 1) {
            size_t n = step < length - at ? step : length - at;
            mlcc_md5_update(&md5, data + at, n);
            mlcc_md5_update(&md5, NULL, 0);
            at += n;
        }
        mlcc_md5_hex(&md5, pieces);
        assert_string_equal(whole, pieces);
    }
}

static void xxh3_published_values(void **state) {
    (void)state;
    assert_true(mlcc_hash64("", 0) == 0x2d06800538d394c2u);
    char hex[33];
    mlcc_hash128_hex(mlcc_hash128_of("", 0), hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    assert_false(mlcc_hash128_equal(mlcc_hash128_of("a", 1), mlcc_hash128_of("b", 1)));
}

static void hasher_equals_one_shot(void **state) {
    (void)state;
    static unsigned char data[5000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * i >> 3);
    for (size_t length = 0; length <= sizeof data; length += 1 + length / 3) {
        mlcc_hasher *hasher = mlcc_hasher_create();
        mlcc_hasher_update(hasher, NULL, 0);
        for (size_t at = 0; at < length;) {
            size_t n = length - at < 97 ? length - at : 97;
            mlcc_hasher_update(hasher, data + at, n);
            at += n;
        }
        mlcc_hash128 whole = mlcc_hash128_of(data, length);
        assert_true(mlcc_hash128_equal(mlcc_hasher_digest(hasher), whole));
        assert_true(
            mlcc_hash128_equal(mlcc_hasher_digest(hasher), whole)); // digest changes nothing
        mlcc_hasher_free(hasher);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md5_rfc_vectors),
        cmocka_unit_test(md5_in_pieces),
        cmocka_unit_test(xxh3_published_values),
        cmocka_unit_test(hasher_equals_one_shot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
