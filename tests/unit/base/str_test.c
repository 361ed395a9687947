// str: building text, numbers in Python's form, JSON escapes, suggestions, checked arithmetic.
#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void builds_text(void **state) {
    (void)state;
    mlcc_str s = {0};
    assert_string_equal(mlcc_str_text(&s), "");
    mlcc_str_append(&s, NULL, 0);
    mlcc_str_puts(&s, "ab");
    mlcc_str_putc(&s, 'c');
    mlcc_str_append(&s, "\0d", 2);
    mlcc_str_printf(&s, "%d-%s", 5, "x");
    assert_int_equal(s.length, 8);
    assert_memory_equal(s.data, "abc\0d5-x", 9);
    mlcc_str_clear(&s);
    assert_string_equal(mlcc_str_text(&s), "");
    // Across every growth step, by each way of appending.
    for (int i = 0; i < 3000; i++) {
        mlcc_str_printf(&s, "%d,", i);
        mlcc_str_putc(&s, ';');
    }
    char *p = s.data;
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(strtol(p, &p, 10), i);
        assert_memory_equal(p, ",;", 2);
        p += 2;
    }
    assert_ptr_equal(p, s.data + s.length);
    mlcc_str_free(&s);
    mlcc_str_printf(&s, "%5000d", 1);
    assert_int_equal(s.length, 5000);
    mlcc_str_free(&s);
    assert_null(s.data);
}

static void check_f64(double value, const char *expected) {
    mlcc_str s = {0};
    mlcc_str_put_f64(&s, value);
    assert_string_equal(s.data, expected);
    mlcc_str_free(&s);
}

static void f64_as_python_prints_it(void **state) {
    (void)state;
    // clang-format off
    static const struct { double value; const char *text; } cases[] = {
        {0.0, "0.0"}, {-0.0, "-0.0"}, {1.0, "1.0"}, {-1.5, "-1.5"}, {0.1, "0.1"}, {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"}, {100.0, "100.0"}, {500000.0, "500000.0"},
        {1e-4, "0.0001"}, {1e-5, "1e-05"}, {1.5e-5, "1.5e-05"}, {1e15, "1000000000000000.0"},
        {1e16, "1e+16"}, {1.2345678901234567e16, "1.2345678901234568e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {9007199254740993.0, "9007199254740992.0"},
        {1e22, "1e+22"}, {1e23, "1e+23"}, {1e100, "1e+100"}, {1.0 / 3.0, "0.3333333333333333"},
        {2.0 / 3.0, "0.6666666666666666"}, {5e-324, "5e-324"}, {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"}, {4.35, "4.35"}, {0.000123456, "0.000123456"},
        {0x1p-44, "5.684341886080802e-14"}, {0x1p-1022, "2.2250738585072014e-308"},
        {1e-6, "1e-06"}, {10000.0, "10000.0"}, {0.70710678118654752440, "0.7071067811865476"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_f64(cases[i].value, cases[i].text);
    }
    check_f64((double)INFINITY, "inf");
    check_f64(-(double)INFINITY, "-inf");
    check_f64((double)NAN, "nan");
}

static void f32_shortest(void **state) {
    (void)state;
    // clang-format off
    static const struct { float value; const char *text; } cases[] = {
        {0.1f, "0.1"}, {1.0f, "1.0"}, {3.4028235e38f, "3.4028235e+38"}, {1e-45f, "1e-45"},
        {16777216.0f, "16777216.0"}, {0.333333343f, "0.33333334"}, {1e-5f, "1e-05"},
        {1.17549435e-38f, "1.1754944e-38"}, {-2.5f, "-2.5"}, {9.5367431640625e-07f, "9.536743e-07"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_str s = {0};
        mlcc_str_put_f32(&s, cases[i].value);
        assert_string_equal(s.data, cases[i].text);
        mlcc_str_free(&s);
    }
}

// Random bit patterns: every text reads back to the same bits and is no longer than the plain one.
static void numbers_read_back(void **state) {
    (void)state;
    uint64_t random = 88172645463325252u;
    mlcc_str s = {0};
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double value;
        memcpy(&value, &random, sizeof value);
        if (isfinite(value)) {
            mlcc_str_clear(&s);
            mlcc_str_put_f64(&s, value);
            double back = strtod(s.data, NULL);
            assert_memory_equal(&back, &value, sizeof value);
            assert_true(s.length <= 24);
        }
        uint32_t low = (uint32_t)random;
        float single;
        memcpy(&single, &low, sizeof single);
        if (isfinite(single)) {
            mlcc_str_clear(&s);
            mlcc_str_put_f32(&s, single);
            float back = strtof(s.data, NULL);
            assert_memory_equal(&back, &single, sizeof single);
        }
    }
    mlcc_str_free(&s);
}

static void check_json(const char *data, size_t length, bool ascii_only, const char *expected) {
    mlcc_str s = {0};
    mlcc_str_put_json(&s, data, length, ascii_only);
    assert_string_equal(s.data, expected);
    mlcc_str_free(&s);
}

static void json_escapes(void **state) {
    (void)state;
    check_json("", 0, true, "\"\"");
    check_json("a\"\\/b", 5, true, "\"a\\\"\\\\/b\"");
    check_json("\n\r\t\f\b\x01\x1f\x7f", 8, true, "\"\\n\\r\\t\\f\\b\\u0001\\u001f\\u007f\"");
    check_json("\x7f\x01", 2, false, "\"\x7f\\u0001\"");
    check_json("a\0b", 3, true, "\"a\\u0000b\"");
    check_json("\xc3\xa9\xe2\x82\xac", 5, true, "\"\\u00e9\\u20ac\"");
    check_json("\xc3\xa9", 2, false, "\"\xc3\xa9\"");
    check_json("\xf0\x9f\x98\x80", 4, true, "\"\\ud83d\\ude00\"");
    // Not UTF-8: cut short, overlong, a surrogate, beyond U+10FFFF.
    check_json("x\xc3", 2, true, "\"x\\ufffd\"");
    check_json("\xc0\x80", 2, true, "\"\\ufffd\\ufffd\"");
    check_json("\xed\xa0\x80", 3, true, "\"\\ufffd\\ufffd\\ufffd\"");
    check_json(
        "\xf4\x90\x80\x80", 4, false, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void text_questions(void **state) {
    (void)state;
    assert_true(mlcc_text_starts_with("model.layers", "model."));
    assert_false(mlcc_text_starts_with("mod", "model."));
    assert_true(mlcc_text_starts_with("x", ""));
    assert_true(mlcc_text_ends_with("a.weight", ".weight"));
    assert_false(mlcc_text_ends_with("weight", ".weight"));
    static const char *const modes[] = {"q0f16", "q4f16_1", "q3f16_1", "q4f32_1"};
    assert_string_equal(mlcc_text_nearest("q4f16_", modes, 4), "q4f16_1");
    assert_string_equal(mlcc_text_nearest("q4f61_1", modes, 4), "q4f16_1");
    assert_string_equal(mlcc_text_nearest("q0f16", modes, 4), "q0f16");
    assert_null(mlcc_text_nearest("int8_everything", modes, 4));
    assert_null(mlcc_text_nearest("", modes, 4));
    assert_null(mlcc_text_nearest("q0f16", modes, 0));
}

static void checked_arithmetic(void **state) {
    (void)state;
    size_t size;
    int64_t number;
    assert_true(mlcc_size_add(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_false(mlcc_size_add(SIZE_MAX, 1, &size));
    assert_true(mlcc_size_mul(SIZE_MAX / 2, 2, &size) && size == SIZE_MAX - 1);
    assert_false(mlcc_size_mul(SIZE_MAX / 2, 3, &size));
    assert_true(mlcc_i64_mul(INT64_MAX, -1, &number) && number == -INT64_MAX);
    assert_false(mlcc_i64_mul(INT64_MIN, -1, &number));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_text),        cmocka_unit_test(f64_as_python_prints_it),
        cmocka_unit_test(f32_shortest),       cmocka_unit_test(numbers_read_back),
        cmocka_unit_test(json_escapes),       cmocka_unit_test(text_questions),
        cmocka_unit_test(checked_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
