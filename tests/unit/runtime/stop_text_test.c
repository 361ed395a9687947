// Stop strings: found whatever pieces the text comes in, nothing of them comes out, nothing else is lost.
#include "runtime/text/stop_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(literal) {literal, sizeof literal - 1}

typedef struct example {
    mlcc_text stops[3];
    size_t n_stops;
    const char *text, *expected;
    bool is_stopped;
} example;

static const example examples[] = {
    {{TEXT("</s>")}, 1, "hello</s> world", "hello", true},
    {{TEXT("</s>")}, 1, "a < b </ c </s", "a < b </ c </s", false},
    {{TEXT("</s>")}, 1, "<</s>", "<", true},
    {{TEXT("</s>"), TEXT("User:")}, 2, "Use</User: </s>", "Use</", true},
    {{TEXT("aab")}, 1, "aaaab", "aa", true},
    {{TEXT("abcd"), TEXT("bc")}, 2, "xabce", "xa", true},
    {{TEXT("ab"), TEXT("abc")}, 2, "xabc", "x", true},
    {{TEXT("")}, 1, "anything", "anything", false},
    {{TEXT("x")}, 0, "xyz", "xyz", false},
    {{TEXT("\n\n")}, 1, "one\ntwo\n\nthree", "one\ntwo", true},
    {{TEXT("é")}, 1, "caf\xc3\xa8 caf\xc3\xa9", "caf\xc3\xa8 caf", true},
};

static void run(const example *e, size_t piece_bytes) {
    mlcc_stop_text stop = {.stops = e->stops, .n_stops = e->n_stops};
    mlcc_bytes out = {0};
    const size_t length = strlen(e->text);
    for (size_t i = 0; i < length; i += piece_bytes) {
        const size_t n = length - i < piece_bytes ? length - i : piece_bytes;
        mlcc_stop_text_push(&stop, e->text + i, n, &out);
        // Never more than the answer, at any moment.
        assert_true(out.length <= strlen(e->expected));
    }
    mlcc_stop_text_finish(&stop, &out);
    assert_int_equal(out.length, strlen(e->expected));
    assert_memory_equal(out.data, e->expected, out.length);
    assert_int_equal(stop.is_stopped, e->is_stopped);
    mlcc_bytes_free(&out);
    mlcc_stop_text_free(&stop);
}

static void pieces_of_every_size_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
        for (size_t n = 1; n <= 16; n++) run(&examples[i], n);
}

static void text_comes_out_as_soon_as_it_is_certain(void **state) {
    (void)state;
    const mlcc_text stops[] = {TEXT("</s>")};
    mlcc_stop_text stop = {.stops = stops, .n_stops = 1};
    mlcc_bytes out = {0};
    mlcc_stop_text_push(&stop, "ab<", 3, &out);
    assert_int_equal(out.length, 2);
    mlcc_stop_text_push(&stop, "/", 1, &out);
    assert_int_equal(out.length, 2);
    mlcc_stop_text_push(&stop, "x", 1, &out);
    assert_int_equal(out.length, 5);
    mlcc_stop_text_push(&stop, "</s>y", 5, &out);
    mlcc_stop_text_push(&stop, "more", 4, &out);
    assert_int_equal(out.length, 5);
    mlcc_bytes_free(&out);
    mlcc_stop_text_free(&stop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_every_size_agree),
        cmocka_unit_test(text_comes_out_as_soon_as_it_is_certain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
