// Regular expressions: what Oniguruma's syntax means must survive the way to PCRE2.
#include "runtime/text/pattern.h"
#include "tests/unit/runtime/tiny_tokenizer.h"

static void check_translation(const char *pattern, const char *expected) {
    mlcc_bytes out = {0};
    tiny_require(mlcc_regex_translate(pattern, strlen(pattern), &out));
    mlcc_bytes_put(&out, '\0');
    assert_string_equal(out.data, expected);
    mlcc_bytes_free(&out);
}

static void test_translation(void **state) {
    (void)state;
    check_translation("(?i:'s|'t)|\\p{L}+", "(?i:'s|'t)|\\p{L}+");
    check_translation("\\p{Letter}\\P{punct}\\p{^Nd}", "\\p{L}\\P{P}\\P{Nd}");
    check_translation("\\p{Han}", "\\p{sc:Han}");
    check_translation("(?m:a.b)(?mi)", "(?s:a.b)(?si)");
    check_translation("a{2,3}+b{,2}c{2}?", "(?:a{2,3})+b{0,2}(?:c{2})?");
    check_translation("(ab){2,3}+", "(?:(ab){2,3})+");
    check_translation("a{x}", "a\\{x}");
    check_translation("\\u4E00\\v\\h", "\\x{4E00}\\x0B[0-9A-Fa-f]");
    check_translation("[a-c]", "[\\x{61}-\\x{63}]");
    check_translation("[^a]", "[^\\x{61}]");
    check_translation("[a[bc]]", "[\\x{61}\\x{62}\\x{63}]");
    check_translation("[a-]", "[\\x{61}\\x{2D}]");
    check_translation("[a&&[^b]]", "(?:(?:(?=[\\x{61}])(?:[^\\x{62}])))");
}

// All matches, with '|' between them.
static void check_matches(const char *pattern, const char *text, const char *expected) {
    mlcc_pattern compiled;
    tiny_require(mlcc_pattern_of_regex(pattern, strlen(pattern), &compiled));
    mlcc_regex_scratch *scratch = mlcc_regex_scratch_create();
    mlcc_pieces pieces = {0};
    tiny_require(mlcc_pattern_split(&compiled, scratch, text, strlen(text), &pieces));
    mlcc_str got = {0};
    bool is_first = true;
    for (size_t i = 0; i < pieces.n; i++) {
        if (!pieces.items[i].is_match) continue;
        if (!is_first) mlcc_str_putc(&got, '|');
        is_first = false;
        mlcc_str_append(
            &got, text + pieces.items[i].begin, pieces.items[i].end - pieces.items[i].begin);
    }
    if (strcmp(mlcc_str_text(&got), expected) != 0) print_error("pattern '%s'\n", pattern);
    assert_string_equal(mlcc_str_text(&got), expected);
    mlcc_str_free(&got);
    mlcc_pieces_free(&pieces);
    mlcc_regex_scratch_free(scratch);
    mlcc_pattern_free(&compiled);
}

static void test_matches(void **state) {
    (void)state;
    // white space: NEL and NBSP are, U+180E and U+200B are not
    check_matches("\\s", "\xC2\x85\u00A0\u180E\u200B\u3000", "\xC2\x85|\u00A0|\u3000");
    check_matches("\\S+", "a\u180Eb\u3000c", "a\u180Eb|c");
    check_matches("[^\\S\\n]+", "a \t\n b", " \t| ");
    check_matches("\\w+", "a_1\u00B2é-\u0301x\u203F", "a_1\u00B2é|\u0301x\u203F");
    check_matches("[\\W\\d]", "a1,\u0663", "1|,|\u0663");
    check_matches("\\d+", "12\u0663x\u00BE", "12\u0663");
    check_matches("\\h+", "0xFFg \t", "0|FF");
    // the dot stops at line ends, ^ and $ stand at every line
    check_matches("a.b", "a\nb a-b", "a-b");
    check_matches("(?m:a.b)", "a\nb", "a\nb");
    check_matches("^x|x$", "x\nx x", "x|x|x");
    check_matches("\\Ax|x\\z", "x\nx", "x|x");
    check_matches("\\s+$", "a  \nb  ", "  |  ");
    // sets in sets
    check_matches("[\\p{L}&&[^a-c]]+", "abcdeé1", "deé");
    check_matches("[^a-c&&[b-d]]+", "abcd", "a|d");
    check_matches("[a-z&&[^aeiou]&&[^x-z]]+", "abcxyzde", "bc|d");
    check_matches("[a[^b]]", "abc", "a|c");
    check_matches(" ?[^(\\s|[.,!?…])]+", "one, (two)… three|", "one|two| three");
    check_matches("[]a]+", "]a[", "]a");
    check_matches("[[:alpha:][:digit:]]+", "ab1é-", "ab1é");
    check_matches("[[:punct:]]+", "a.,$\u2581b", ".,$\u2581");
    check_matches("[[:^space:]]+", "a b", "a|b");
    check_matches("[\\]\\-^&]+", "a]-^&b", "]-^&");
    check_matches("\\p{Han}+", "一、二ー", "一|二");
    // case and lookaround
    check_matches("(?i:'ll|'s)", "'LL 's 'x", "'LL|'s");
    check_matches("\\s+(?!\\S)|\\s+", "a   b", "  | ");
    check_matches("(?<=a)b", "ab b", "b");
    check_matches("\\p{N}{1,3}", "1234567", "123|456|7");
    check_matches("", "ab", "||");
}

static void test_errors(void **state) {
    (void)state;
    static const char *const patterns[] = {
        "(",
        ")",
        "[",
        "[a",
        "[a&&",
        "a**b(",
        "\\",
        "[\\",

        "\\p{",
        "\\p{Nix}",
        "\\u12",
        "[\\u12]",
        "[z-a]",
        "(*FAIL)",
        "(?~a)",
        "(?{a})",
        "[[:nix:]]",
        "[[:graph:]]",
        "(?<n>a)\\k<m>",
        "[\\x{110000}]",
        "[\\x{12]",
        "x{3,2}(",
        "[[[[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]]]",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        mlcc_regex *regex;
        mlcc_status *status = mlcc_regex_compile(patterns[i], strlen(patterns[i]), &regex);
        if (status == NULL) print_error("'%s' is accepted\n", patterns[i]);
        assert_non_null(status);
        assert_null(regex);
        assert_non_null(strstr(mlcc_status_message(status), "regular expression"));
        mlcc_status_free(status);
    }
}

// A pattern that would try for ever ends with an error.
static void test_endless(void **state) {
    (void)state;
    static const char pattern[] = "(?:a|a|aa)*[bc]";
    char text[64];
    memset(text, 'a', sizeof text);
    mlcc_regex *regex;
    tiny_require(mlcc_regex_compile(pattern, sizeof pattern - 1, &regex));
    mlcc_regex_scratch *scratch = mlcc_regex_scratch_create();
    bool found;
    size_t begin, end;
    mlcc_status *status =
        mlcc_regex_find(regex, scratch, text, sizeof text, 0, &found, &begin, &end);
    assert_int_equal(mlcc_status_code(status), MLCC_UNSUPPORTED);
    assert_non_null(strstr(mlcc_status_message(status), "too many steps"));
    mlcc_status_free(status);
    mlcc_regex_scratch_free(scratch);
    mlcc_regex_free(regex);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
