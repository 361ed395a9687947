// The hand-written scanners against PCRE2 on random texts, character by character of the same patterns.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/text/regex.h"
#include "runtime/text/word_scan.h"

static const char *const patterns[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    // o200k and Tekken
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

// Characters that the patterns tell apart, all of them older than the tables of both libraries.
static void random_text(uint64_t *state, mlcc_str *text) {
    static const char *const parts[] = {
        "a",      "Zq",           "s",      "S",          "t",          "l",
        "LL",     "re",           "VE",     "d",          "m",          "'",
        "'",      "\u2019",       " ",      " ",          "  ",         "\t",
        "\n",     "\r\n",         "\r",     "\v",         "\f",         "0",
        "7",      "12345",        ".",      ",;",         "-",          "_",
        "/",      "\u00E9",       "\u00DF", "\u017F",     "\u212A",     "e\u0301",
        "\u0301", "\u00BD",       "\u0663", "\u2163",     "\u65E5",     "\u3042",
        "\u0E17", "\u0915\u094D", "\u00A0", "\xC2\x85",   "\u2028",     "\u3000",
        "\u200B", "\uFEFF",       "\u20AC", "\U0001F600", "\U0001D400", "\U00020000",
        "\uFFFD", "\u01C5",       "\u02B0", "\u00AA",     "",
    };
    enum { N_PARTS = sizeof parts / sizeof *parts };
    mlcc_str_clear(text);
    size_t n = next_random(state) % 40;
    for (size_t i = 0; i < n; i++) {
        const char *part = parts[next_random(state) % N_PARTS];
        size_t length = strlen(part);
        mlcc_str_append(text, part, length == 0 ? 1 : length); // the last one is a NUL
    }
}

static void test_against_regex(void **state) {
    (void)state;
    enum { N_TEXTS = 20000 };
    mlcc_regex_scratch *scratch = mlcc_regex_scratch_create();
    mlcc_str text = {0};
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        uint64_t seed = 42 + p;
        mlcc_regex *regex;
        tiny_require(mlcc_regex_compile(patterns[p], strlen(patterns[p]), &regex));
        mlcc_word_scan *scan = mlcc_word_scan_of(patterns[p], strlen(patterns[p]));
        assert_non_null(scan);
        assert_ptr_equal(
            mlcc_word_scan_of(mlcc_word_scan_regex(scan), strlen(mlcc_word_scan_regex(scan))),
            scan);
        for (size_t i = 0; i < N_TEXTS; i++) {
            random_text(&seed, &text);
            const char *bytes = mlcc_str_text(&text);
            for (size_t at = 0; at < text.length;) {
                bool found;
                size_t begin, end;
                tiny_require(
                    mlcc_regex_find(regex, scratch, bytes, text.length, at, &found, &begin, &end));
                assert_true(found && begin == at);
                size_t scanned = scan(bytes, text.length, at);
                if (scanned != end) {
                    print_error(
                        "pattern %zu, text '%s' at %zu: PCRE2 ends at %zu, the scanner at %zu\n", p,
                        bytes, at, end, scanned);
                    fail();
                }
                at = end;
            }
        }
        mlcc_regex_free(regex);
    }
    mlcc_str_free(&text);
    mlcc_regex_scratch_free(scratch);
}

static void test_others(void **state) {
    (void)state;
    assert_null(mlcc_word_scan_of("\\s+", 3));
    assert_null(mlcc_word_scan_of("", 0));
    assert_null(mlcc_word_scan_of(patterns[0], strlen(patterns[0]) - 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_regex),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
