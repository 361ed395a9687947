// Streaming decode: what comes out is whole characters, and all of it together is the text decoded at once.
#include "tests/unit/runtime/tiny_tokenizer.h"

// Pushes the ids; `expected` lists what each push gives, and last what finish gives, with '|' between them.
static void check_stream(
    const mlcc_tokenizer *tokenizer, bool skip_special, const int32_t *ids, size_t n_ids,
    const char *expected) {
    mlcc_text_stream *stream;
    tiny_require(mlcc_text_stream_create(tokenizer, skip_special, &stream));
    for (int round = 0; round < 2; round++) {
        mlcc_str got = {0};
        const char *text;
        size_t length;
        for (size_t i = 0; i < n_ids; i++) {
            tiny_require(mlcc_text_stream_push(stream, ids[i], &text, &length));
            assert_true(mlcc_utf8_is_valid(text, length));
            mlcc_str_append(&got, text, length);
            mlcc_str_putc(&got, '|');
        }
        tiny_require(mlcc_text_stream_finish(stream, &text, &length));
        mlcc_str_append(&got, text, length);
        assert_string_equal(got.data, expected);
        mlcc_str_free(&got);
    }
    mlcc_text_stream_free(stream);
}

static void test_byte_level(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    check_stream(tokenizer, true, TINY_IDS(261, 258, 266), "hello| the| world|");
    // U+1F600 in four tokens
    check_stream(tokenizer, true, TINY_IDS(97, 0xF0, 0x9F, 0x98, 0x80, 98), "a||||\U0001F600|b|");
    // two characters share a token's bytes
    check_stream(tokenizer, true, TINY_IDS(267, 0xC3, 267), "é||\uFFFDé|");
    // cut off at the end, broken in the middle
    check_stream(tokenizer, true, TINY_IDS(97, 0xF0, 0x9F), "a|||\uFFFD");
    check_stream(tokenizer, true, TINY_IDS(0xF0, 0x9F, 97), "||\uFFFDa|");
    check_stream(tokenizer, true, TINY_IDS(0x80, 0xFF), "\uFFFD|\uFFFD|");
    check_stream(tokenizer, true, TINY_IDS(270, 261, 271), "|hello||");
    check_stream(tokenizer, false, TINY_IDS(270, 261, 272), "<|begin|>|hello|<tool>|");
    // special tokens that are skipped do not end a character
    check_stream(tokenizer, true, TINY_IDS(0xC3, 271, 0xA9), "||é|");
    check_stream(tokenizer, true, (const int32_t *)"", 0, "");
    mlcc_tokenizer_close(tokenizer);
}

static void test_byte_fallback(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_fallback_json());
    // the space that Prepend put in front goes, once
    check_stream(tokenizer, true, TINY_IDS(259, 291, 288, 296), "|hello| the| world|");
    check_stream(tokenizer, true, TINY_IDS(1, 288, 288), "|the| the|");
    check_stream(tokenizer, false, TINY_IDS(1, 288), "<s>| the|");
    check_stream(tokenizer, true, TINY_IDS(297, 291), " |hello|");
    // a row of bytes is only known to be text when it ends
    check_stream(
        tokenizer, true, TINY_IDS(291, 231, 192, 163, 291, 288), "hello||||\u4F60hello| the|");
    check_stream(tokenizer, true, TINY_IDS(291, 231, 192, 163), "hello||||\u4F60");
    check_stream(
        tokenizer, true, TINY_IDS(231, 192, 163, 258, 291), "||||\uFFFD\uFFFD\uFFFD\uFFFDhello|");
    check_stream(tokenizer, true, TINY_IDS(231, 192), "||\uFFFD\uFFFD");
    mlcc_tokenizer_close(tokenizer);
}

// Any ids: the stream's pieces are the text.
static void test_random_ids(void **state) {
    (void)state;
    char *json[2] = {tiny_byte_level_json(), tiny_byte_fallback_json()};
    uint32_t random = 12345;
    for (int kind = 0; kind < 2; kind++) {
        mlcc_tokenizer *tokenizer = tiny_load(json[kind]);
        for (int round = 0; round < 500; round++) {
            int32_t ids[24];
            size_t n_ids = 0;
            for (; n_ids < sizeof ids / sizeof *ids; n_ids++) {
                random = random * 1664525u + 1013904223u;
                ids[n_ids] = (int32_t)((random >> 8) % (uint32_t)mlcc_tokenizer_vocab(tokenizer));
            }
            bool skip_special = round % 2 == 0;
            char *whole;
            size_t whole_bytes;
            tiny_require(
                mlcc_tokenizer_decode(tokenizer, ids, n_ids, skip_special, &whole, &whole_bytes));
            mlcc_text_stream *stream;
            mlcc_str got = {0};
            const char *text;
            size_t length;
            tiny_require(mlcc_text_stream_create(tokenizer, skip_special, &stream));
            for (size_t i = 0; i < n_ids; i++) {
                tiny_require(mlcc_text_stream_push(stream, ids[i], &text, &length));
                assert_true(mlcc_utf8_is_valid(text, length));
                mlcc_str_append(&got, text, length);
            }
            tiny_require(mlcc_text_stream_finish(stream, &text, &length));
            mlcc_str_append(&got, text, length);
            assert_int_equal(got.length, whole_bytes);
            assert_memory_equal(mlcc_str_text(&got), whole, whole_bytes + 1);
            mlcc_text_stream_free(stream);
            mlcc_str_free(&got);
            free(whole);
        }
        mlcc_tokenizer_close(tokenizer);
    }
}

static void test_unknown_ids(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    static const int32_t wrong[] = {-1, 273, INT32_MAX, INT32_MIN};
    mlcc_text_stream *stream;
    const char *text;
    size_t length;
    tiny_require(mlcc_text_stream_create(tokenizer, true, &stream));
    tiny_require(mlcc_text_stream_push(stream, 0xC3, &text, &length));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mlcc_status *status = mlcc_text_stream_push(stream, wrong[i], &text, &length);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_non_null(strstr(mlcc_status_message(status), "ids are 0 to 272"));
        mlcc_status_free(status);
        assert_int_equal(length, 0);
        char *whole;
        status = mlcc_tokenizer_decode(tokenizer, &wrong[i], 1, false, &whole, &length);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_null(whole);
        mlcc_status_free(status);
    }
    // the stream goes on as if nothing had happened
    tiny_require(mlcc_text_stream_push(stream, 0xA9, &text, &length));
    assert_int_equal(length, 2);
    assert_memory_equal(text, "é", 2);
    mlcc_text_stream_free(stream);
    mlcc_text_stream_free(NULL);
    mlcc_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_random_ids),
        cmocka_unit_test(test_unknown_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
