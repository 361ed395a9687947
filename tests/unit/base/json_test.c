// json: strict reading with limits and places in errors, typed access, and Python's way of writing.
#include "runtime/base/clock.h"
#include "runtime/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mlcc_json *parse(const char *text) {
    mlcc_json *json;
    mlcc_status *status = mlcc_json_parse(text, strlen(text), "test", 0, &json);
    assert_null(status);
    return json;
}

// The text is refused, and the message holds `expected`.
static void refused(const char *text, size_t length, const char *expected) {
    mlcc_json *json = (mlcc_json *)(uintptr_t)1;
    mlcc_status *status = mlcc_json_parse(text, length, "file.json", 0, &json);
    assert_non_null(status);
    assert_null(json);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    if (strstr(mlcc_status_message(status), expected) == NULL) {
        fail_msg("'%s' lacks '%s'", mlcc_status_message(status), expected);
    }
    mlcc_status_free(status);
}

static void refused_text(const char *text, const char *expected) {
    refused(text, strlen(text), expected);
}

static void reads_every_kind(void **state) {
    (void)state;
    mlcc_json *json = parse("{\"z\": 1, \"a\": [true, false, null, -2.5, 9223372036854775807, "
                            "\"x\\u0000y\"], \"m\": {}}");
    const mlcc_json_value *root = mlcc_json_root(json);
    assert_int_equal(mlcc_json_kind_of(root), MLCC_JSON_OBJECT);
    assert_int_equal(mlcc_json_count(root), 3);
    assert_int_equal(mlcc_json_int(mlcc_json_get(root, "z")), 1);
    const mlcc_json_value *a = mlcc_json_get(root, "a");
    assert_int_equal(mlcc_json_count(a), 6);
    assert_true(mlcc_json_is_true(mlcc_json_at(a, 0)));
    assert_false(mlcc_json_is_true(mlcc_json_at(a, 1)));
    assert_int_equal(mlcc_json_kind_of(mlcc_json_at(a, 1)), MLCC_JSON_BOOL);
    assert_int_equal(mlcc_json_kind_of(mlcc_json_at(a, 2)), MLCC_JSON_NULL);
    assert_true(mlcc_json_number(mlcc_json_at(a, 3)) == -2.5);
    assert_int_equal(mlcc_json_int(mlcc_json_at(a, 4)), INT64_MAX);
    size_t length;
    const char *text = mlcc_json_text(mlcc_json_at(a, 5), &length);
    assert_int_equal(length, 3);
    assert_memory_equal(text, "x\0y", 4);
    assert_null(mlcc_json_at(a, 6));
    assert_null(mlcc_json_get(root, "absent"));
    assert_null(mlcc_json_get(a, "z"));
    assert_null(mlcc_json_text(a, NULL));
    assert_int_equal(mlcc_json_kind_of(NULL), MLCC_JSON_NULL);
    assert_int_equal(mlcc_json_count(NULL), 0);
    assert_null(mlcc_json_first(NULL));
    assert_null(mlcc_json_first(mlcc_json_get(root, "m")));
    mlcc_json_free(json);
    mlcc_json_free(NULL);
    json = parse(" -7 ");
    assert_int_equal(mlcc_json_int(mlcc_json_root(json)), -7);
    assert_true(mlcc_json_number(mlcc_json_root(json)) == -7.0);
    mlcc_json_free(json);
}

static void objects_keep_their_order(void **state) {
    (void)state;
    mlcc_json *json = parse("{\"q\": 0, \"b\": 1, \"zz\": 2, \"a\": 3, \"10\": 4, \"9\": 5}");
    static const char *const keys[] = {"q", "b", "zz", "a", "10", "9"};
    const mlcc_json_value *root = mlcc_json_root(json);
    int64_t n = 0;
    for (const mlcc_json_iter *it = mlcc_json_first(root); it; it = mlcc_json_next(root, it)) {
        assert_string_equal(mlcc_json_iter_key(it), keys[n]);
        assert_int_equal(mlcc_json_int(mlcc_json_iter_value(it)), n);
        n++;
    }
    assert_int_equal(n, 6);
    mlcc_json_free(json);
}

static void refuses_bad_text(void **state) {
    (void)state;
    refused_text("", "file.json, line 1, column 1");
    refused_text("{\"a\": 1,\n \"b\": }", "file.json, line 2, column 7");
    refused_text("{\"a\": 1, \"a\": 2}", "duplicate object key");
    refused_text("{} x", "end of file expected");
    refused_text("[1, 2,]", "line 1");
    refused_text("[NaN]", "line 1");
    refused_text("[Infinity]", "line 1");
    refused_text("[01]", "line 1");
    refused_text("['a']", "line 1");
    refused_text("[\"\\ud800\"]", "line 1");
    refused_text("[\"\xff\"]", "unable to decode byte 0xff");
    refused_text("[\"\xc0\xaf\"]", "unable to decode byte 0xc0");
    refused_text("{\"a\\u0000b\": 1}", "NUL");
    refused_text("[1e999]", "real number overflow");
    refused_text("\"\\\"", "line 1");
    refused("[1]\0", 4, "line 1");
    // Control bytes near the error do not come through.
    mlcc_json *json;
    mlcc_status *status = mlcc_json_parse("{\x1b[31m", 6, "t", 0, &json);
    assert_non_null(status);
    assert_null(strchr(mlcc_status_message(status), '\x1b'));
    mlcc_status_free(status);
}

// As in the tokenizer_config.json of many models.
static void wide_integers_read_as_reals(void **state) {
    (void)state;
    mlcc_json *json =
        parse("{\"s\": \"99999999999999999999 \\\" 9223372036854775808\","
              " \"model_max_length\": 1000000000000000019884624838656,"
              " \"a\": [9223372036854775807, 9223372036854775808, -9223372036854775808,"
              " -9223372036854775809, 12345678901234567890.5, 1.5e10, 0.1234567890123456789]}");
    const mlcc_json_value *root = mlcc_json_root(json);
    const mlcc_json_value *a = mlcc_json_get(root, "a");
    assert_string_equal(
        mlcc_json_text(mlcc_json_get(root, "s"), NULL),
        "99999999999999999999 \" 9223372036854775808");
    assert_true(mlcc_json_number(mlcc_json_get(root, "model_max_length")) == 1e30);
    static const mlcc_json_kind kinds[] = {MLCC_JSON_INT,  MLCC_JSON_REAL, MLCC_JSON_INT,
                                           MLCC_JSON_REAL, MLCC_JSON_REAL, MLCC_JSON_REAL,
                                           MLCC_JSON_REAL};
    assert_int_equal(mlcc_json_count(a), 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(mlcc_json_kind_of(mlcc_json_at(a, i)), kinds[i]);
    }
    assert_true(mlcc_json_int(mlcc_json_at(a, 2)) == INT64_MIN);
    assert_true(mlcc_json_number(mlcc_json_at(a, 4)) == 12345678901234567890.5);
    int64_t n = 3;
    mlcc_status *status = mlcc_json_get_i64(root, "model_max_length", true, 0, 100, &n);
    assert_string_equal(
        mlcc_status_message(status), "key 'model_max_length' is 1e+30, 0 to 100 is accepted");
    assert_int_equal(n, 3);
    mlcc_status_free(status);
    mlcc_json_free(json);
    // Errors keep their places.
    refused_text("[99999999999999999999, 99999999999999999999, x]", "line 1, column 46:");
    refused_text("[99999999999999999999,\n 99999999999999999999, x]", "line 2, column 24:");
    refused_text("[99999999999999999999,\n\n x]", "line 3, column 2:");
    refused_text("[099999999999999999999]", "line 1");
    refused_text("[\"99999999999999999999", "line 1");
    refused_text("[99999999999999999999", "line 1");
}

static void limits_nesting_and_size(void **state) {
    (void)state;
    char text[4000] = {0};
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    mlcc_json *json = parse(text);
    mlcc_json_free(json);
    memset(text, '\n', 3);
    memset(text + 3, '[', 65);
    memset(text + 68, ']', 65);
    refused_text(text, "line 4, column 65: arrays and objects nest deeper than 64 levels");
    // Brackets in strings are text.
    text[0] = '"';
    memset(text + 1, '{', 200);
    memcpy(text + 201, "\\\"[[", 4);
    memset(text + 205, '[', 200);
    text[405] = '"';
    text[406] = '\0';
    mlcc_json_free(parse(text));
    mlcc_status *status = mlcc_json_parse("[1, 2, 3]", 9, "body", 8, &json);
    assert_non_null(status);
    assert_non_null(strstr(mlcc_status_message(status), "body: 9 bytes of JSON, at most 8"));
    mlcc_status_free(status);
}

static void check_message(mlcc_status *status, const char *expected) {
    assert_non_null(status);
    assert_string_equal(mlcc_status_message(status), expected);
    mlcc_status_free(status);
}

static void checked_access(void **state) {
    (void)state;
    mlcc_json *json = parse("{\"n\": 5, \"r\": 1.5, \"t\": \"x\", \"b\": true, \"a\": [], \"o\": "
                            "{}, \"nil\": null, \"z\": \"\\u0000\"}");
    const mlcc_json_value *root = mlcc_json_root(json);
    int64_t n = -1;
    double r = -1;
    bool b = false;
    const char *t = NULL;
    const mlcc_json_value *v = NULL;
    assert_null(mlcc_json_get_i64(root, "n", true, 0, 10, &n));
    assert_int_equal(n, 5);
    check_message(
        mlcc_json_get_i64(root, "n", true, 6, 10, &n), "key 'n' is 5, 6 to 10 is accepted");
    check_message(
        mlcc_json_get_i64(root, "r", true, 0, 10, &n),
        "key 'r' is a number with a fraction, an integer is expected");
    check_message(mlcc_json_get_i64(root, "absent", true, 0, 10, &n), "key 'absent' is missing");
    check_message(
        mlcc_json_get_i64(root, "nil", true, 0, 10, &n), "key 'nil' is null, a value is required");
    assert_null(mlcc_json_get_i64(root, "absent", false, 0, 10, &n));
    assert_null(mlcc_json_get_i64(root, "nil", false, 0, 10, &n));
    assert_int_equal(n, 5);
    assert_null(mlcc_json_get_f64(root, "n", true, &r));
    assert_true(r == 5.0);
    assert_null(mlcc_json_get_f64(root, "r", true, &r));
    assert_true(r == 1.5);
    check_message(
        mlcc_json_get_f64(root, "t", true, &r), "key 't' is a string, a number is expected");
    assert_null(mlcc_json_get_bool(root, "b", true, &b));
    assert_true(b);
    check_message(
        mlcc_json_get_bool(root, "n", true, &b),
        "key 'n' is an integer, true or false is expected");
    assert_null(mlcc_json_get_text(root, "t", true, &t));
    assert_string_equal(t, "x");
    check_message(
        mlcc_json_get_text(root, "a", false, &t), "key 'a' is an array, a string is expected");
    check_message(
        mlcc_json_get_text(root, "z", false, &t),
        "key 'z' is a string with a NUL character, none is accepted");
    assert_null(mlcc_json_get_array(root, "a", true, &v));
    assert_int_equal(mlcc_json_kind_of(v), MLCC_JSON_ARRAY);
    check_message(
        mlcc_json_get_array(root, "o", true, &v), "key 'o' is an object, an array is expected");
    assert_null(mlcc_json_get_object(root, "o", true, &v));
    check_message(
        mlcc_json_get_object(root, "b", true, &v),
        "key 'b' is true or false, an object is expected");
    check_message(
        mlcc_json_get_i64(mlcc_json_get(root, "a"), "n", true, 0, 1, &n),
        "key 'n' is looked up in an array, an object is expected");
    mlcc_json_free(json);
}

// What Python 3's json.dump writes for the same values.
static void writes_like_python(void **state) {
    (void)state;
    mlcc_str s = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &s, 2, true);
    mlcc_json_begin_object(&w);
    mlcc_json_key(&w, "na\xc3\xafve");
    mlcc_json_begin_array(&w);
    mlcc_json_put_i64(&w, -1);
    mlcc_json_put_f64(&w, 500000.0);
    mlcc_json_put_f64(&w, 1e-5);
    mlcc_json_put_f64(&w, (double)INFINITY);
    mlcc_json_begin_array(&w);
    mlcc_json_end(&w);
    mlcc_json_begin_object(&w);
    mlcc_json_end(&w);
    mlcc_json_end(&w);
    mlcc_json_key(&w, "t");
    mlcc_json_put_text(&w, "a\n");
    mlcc_json_key(&w, "b");
    mlcc_json_put_bool(&w, true);
    mlcc_json_end(&w);
    assert_string_equal(
        s.data, "{\n  \"na\\u00efve\": [\n    -1,\n    500000.0,\n    1e-05,\n    null,\n    [],\n"
                "    {}\n  ],\n  \"t\": \"a\\n\",\n  \"b\": true\n}");
    mlcc_str_clear(&s);
    mlcc_json_writer_init(&w, &s, 0, false);
    mlcc_json_begin_object(&w);
    mlcc_json_key(&w, "a");
    mlcc_json_begin_array(&w);
    mlcc_json_put_i64(&w, INT64_MIN);
    mlcc_json_put_null(&w);
    mlcc_json_end(&w);
    mlcc_json_key(&w, "b");
    mlcc_json_put_bool(&w, false);
    mlcc_json_end(&w);
    assert_string_equal(s.data, "{\"a\": [-9223372036854775808, null], \"b\": false}");
    mlcc_str_free(&s);
}

static void writes_parsed_values_back(void **state) {
    (void)state;
    static const char text[] =
        "{\n    \"z\": [\n        1,\n        2.0,\n        {\n            \"k\": null\n        }\n"
        "    ],\n    \"a\": \"\\u20ac\\u0000\",\n    \"m\": {},\n    \"e\": [],\n    \"t\": "
        "true\n}";
    mlcc_json *json = parse(text);
    mlcc_str s = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &s, 4, true);
    mlcc_json_put_value(&w, mlcc_json_root(json));
    assert_string_equal(s.data, text);
    mlcc_json_free(json);
    // The deepest value that can be read, inside containers of our own.
    char deep[129] = {0};
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    json = parse(deep);
    mlcc_str_clear(&s);
    mlcc_json_writer_init(&w, &s, 0, true);
    mlcc_json_begin_array(&w);
    mlcc_json_put_value(&w, mlcc_json_root(json));
    mlcc_json_end(&w);
    assert_int_equal(s.length, 130);
    mlcc_json_free(json);
    mlcc_str_free(&s);
}

static void reads_files(void **state) {
    (void)state;
    char path[] = "/tmp/mlcc_json_test_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, "{\"a\": }", 7), 7);
    close(file);
    mlcc_json *json;
    mlcc_status *status = mlcc_json_read_file(path, 0, &json);
    assert_non_null(status);
    assert_non_null(strstr(mlcc_status_message(status), path)); // the file is named
    mlcc_status_free(status);
    status = mlcc_json_read_file(path, 3, &json);
    assert_non_null(strstr(mlcc_status_message(status), "at most 3"));
    mlcc_status_free(status);
    unlink(path);
    status = mlcc_json_read_file(path, 0, &json);
    assert_non_null(strstr(mlcc_status_message(status), "No such file"));
    assert_null(json);
    mlcc_status_free(status);
}

// A tokenizer's vocabulary must not be what a user waits for.
static void large_objects_are_quick(void **state) {
    (void)state;
    enum { N_KEYS = 150000 };
    mlcc_str s = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &s, 2, true);
    mlcc_json_begin_object(&w);
    for (int i = 0; i < N_KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "\xc4\xa0token%d", i * 7919);
        mlcc_json_key(&w, key);
        mlcc_json_put_i64(&w, i);
    }
    mlcc_json_end(&w);
    double start = mlcc_clock_s();
    mlcc_json *json = parse(s.data);
    double seconds = mlcc_clock_s() - start;
    print_message("%d keys, %zu bytes in %.0f ms\n", N_KEYS, s.length, seconds * 1e3);
    assert_int_equal(mlcc_json_count(mlcc_json_root(json)), N_KEYS);
    assert_true(
        seconds < 5.0); // wide: sanitizers and shared machines; it catches only quadratic behaviour
    mlcc_json_free(json);
    mlcc_str_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(objects_keep_their_order),
        cmocka_unit_test(refuses_bad_text),
        cmocka_unit_test(wide_integers_read_as_reals),
        cmocka_unit_test(limits_nesting_and_size),
        cmocka_unit_test(checked_access),
        cmocka_unit_test(writes_like_python),
        cmocka_unit_test(writes_parsed_values_back),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(large_objects_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
