// UTF-8, the byte alphabet and character properties.
#include "runtime/text/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static void test_every_character(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char bytes[MLCC_UTF8_MAX_BYTES];
        size_t length = mlcc_utf8_encode(code, bytes);
        size_t n_bytes;
        mlcc_utf8_kind kind = mlcc_utf8_look(bytes, length, &n_bytes);
        if (code >= 0xD800 && code <= 0xDFFF) {
            assert_int_equal(kind, MLCC_UTF8_BROKEN);
            continue;
        }
        uint32_t back;
        assert_int_equal(kind, MLCC_UTF8_CHARACTER);
        assert_int_equal(n_bytes, length);
        assert_int_equal(mlcc_utf8_decode(bytes, &back), length);
        assert_int_equal(back, code);
        assert_true(mlcc_utf8_is_valid(bytes, length));
        for (size_t cut = 1; cut < length; cut++) {
            assert_int_equal(mlcc_utf8_look(bytes, cut, &n_bytes), MLCC_UTF8_CUT);
            assert_int_equal(n_bytes, cut);
            assert_false(mlcc_utf8_is_valid(bytes, cut));
        }
    }
}

static void check_repair(const char *text, const char *expected) {
    mlcc_bytes out = {0};
    mlcc_utf8_repair(text, strlen(text), &out);
    mlcc_bytes_put(&out, '\0');
    assert_string_equal(out.data, expected);
    assert_true(mlcc_utf8_is_valid(out.data, out.length));
    mlcc_bytes_free(&out);
}

// The example of Unicode 3.9, table 3-8, and friends.
static void test_repair(void **state) {
    (void)state;
    check_repair("plain", "plain");
    check_repair(
        "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
        "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
    check_repair("\xC0\xAF\xE0\x80\xBF", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
    check_repair("\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD");
    check_repair("\xF5\xFE", "\uFFFD\uFFFD");
    check_repair("é\xC3", "é\uFFFD");
}

static void test_valid_beyond_words(void **state) {
    (void)state;
    // a broken byte at every place of a longer ASCII text
    for (size_t at = 0; at < 40; at++) {
        char text[40];
        memset(text, 'x', sizeof text);
        assert_true(mlcc_utf8_is_valid(text, sizeof text));
        text[at] = (char)0xFF;
        assert_false(mlcc_utf8_is_valid(text, sizeof text));
    }
    assert_true(mlcc_utf8_is_valid("", 0));
}

static void test_byte_alphabet(void **state) {
    (void)state;
    bool seen[0x200] = {false};
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t code = mlcc_byte_to_character((unsigned char)byte);
        assert_in_range(code, '!', 323);
        assert_false(seen[code]);
        seen[code] = true;
        assert_int_equal(mlcc_character_to_byte(code), byte);
    }
    for (uint32_t code = 0; code < 0x200; code++) {
        if (!seen[code]) assert_int_equal(mlcc_character_to_byte(code), -1);
    }
    assert_int_equal(mlcc_byte_to_character(' '), 0x120);  // Ġ
    assert_int_equal(mlcc_byte_to_character('\n'), 0x10A); // Ċ
    assert_int_equal(mlcc_byte_to_character(0xAD), 0x143);
    assert_int_equal(mlcc_character_to_byte(0x4E00), -1);
    mlcc_bytes out = {0};
    mlcc_byte_level_map("a \xC3\xA9\n", 5, &out);
    mlcc_bytes_put(&out, '\0');
    assert_string_equal(out.data, "aĠÃ©Ċ");
    mlcc_bytes_free(&out);
}

static void test_properties(void **state) {
    (void)state;
    static const uint32_t spaces[] = {9,      10,     11,     12,     13,     32,
                                      0x85,   0xA0,   0x1680, 0x2000, 0x200A, 0x2028,
                                      0x2029, 0x202F, 0x205F, 0x3000};
    size_t n_spaces = 0;
    for (uint32_t code = 0; code < 0x10000; code++) n_spaces += mlcc_is_whitespace(code);
    assert_int_equal(n_spaces, 25);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        assert_true(mlcc_is_whitespace(spaces[i]));
    }
    assert_true(
        mlcc_is_numeric('7') && mlcc_is_numeric(0x663) && mlcc_is_numeric(0xBE) &&
        mlcc_is_numeric(0x2167));
    assert_false(mlcc_is_numeric('a') || mlcc_is_numeric(0x4E00));
    assert_true(
        mlcc_is_punctuation('$') && mlcc_is_punctuation(0xBF) && mlcc_is_punctuation(0x3001));
    assert_false(mlcc_is_punctuation('a') || mlcc_is_punctuation(0xB4));
    assert_true(mlcc_is_mark(0x301) && mlcc_is_mark(0x94D));
    assert_false(mlcc_is_mark('a') || mlcc_is_mark(0x4E00));
}

static void test_last(void **state) {
    (void)state;
    assert_int_equal(mlcc_utf8_last("ab", 2), 1);
    assert_int_equal(mlcc_utf8_last("aé", 3), 1);
    assert_int_equal(mlcc_utf8_last("\U0001F600", 4), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character),    cmocka_unit_test(test_repair),
        cmocka_unit_test(test_valid_beyond_words), cmocka_unit_test(test_byte_alphabet),
        cmocka_unit_test(test_properties),         cmocka_unit_test(test_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
