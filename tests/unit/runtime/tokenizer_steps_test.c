// Each normalizer, pre-tokenizer and decoder by itself. The expected texts are what Hugging Face tokenizers 0.23 gives.
#include "tests/unit/runtime/tiny_tokenizer.h"

// A tokenizer whose only content is one part.
static mlcc_tokenizer *load_part(const char *key, const char *part) {
    mlcc_str json = {0};
    mlcc_str_printf(
        &json,
        "{\"%s\": %s, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}", key,
        part);
    return tiny_load(json.data);
}

// ---- normalizers -------------------------------------------------------------------------------------------

static void check_normalizer(const char *part, const char *text, const char *expected) {
    mlcc_tokenizer *tokenizer = load_part("normalizer", part);
    mlcc_normalize_scratch scratch = {.regex = mlcc_regex_scratch_create()};
    const char *normal;
    size_t length;
    bool drops_start;
    tiny_require(mlcc_normalize(
        &tokenizer->normalizer, &scratch, text, strlen(text), &normal, &length, &drops_start));
    mlcc_str got = {0};
    mlcc_str_append(&got, normal, length);
    assert_string_equal(mlcc_str_text(&got), expected);
    mlcc_str_free(&got);
    mlcc_regex_scratch_free(scratch.regex);
    mlcc_normalize_scratch_free(&scratch);
    mlcc_tokenizer_close(tokenizer);
}

static void test_normal_forms(void **state) {
    (void)state;
    check_normalizer(
        "{\"type\": \"NFC\"}", "e\u0301 \u1100\u1161 \u0958 a\u0323\u0302 plain",
        "\u00E9 \uAC00 \u0915\u093C \u1EAD plain");
    check_normalizer("{\"type\": \"NFD\"}", "\u00E9\uAC00", "e\u0301\u1100\u1161");
    check_normalizer("{\"type\": \"NFKC\"}", "\uFB01 \u2460 \uFF21", "fi 1 A");
    check_normalizer(
        "{\"type\": \"NFKD\"}", "\uFB01\u00E9\uFDFA",
        "fie\u0301\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 "
        "\u0648\u0633\u0644\u0645");
    // marks are put in canonical order
    check_normalizer("{\"type\": \"NFD\"}", "a\u0301\u0327b", "a\u0327\u0301b");
}

static void test_other_normalizers(void **state) {
    (void)state;
    check_normalizer("{\"type\": \"Lowercase\"}", "ÀÉ İ ΑΣ ẞ", "àé i\u0307 ασ ß");
    check_normalizer(
        "{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}", " \u3000a b\n",
        "a b");
    check_normalizer(
        "{\"type\": \"Strip\", \"strip_left\": false, \"strip_right\": true}", " a ", " a");
    check_normalizer(
        "{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}", " \n ", "");
    check_normalizer(
        "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": "
        "\"StripAccents\"}]}",
        "naïve café", "naive cafe");
    check_normalizer("{\"type\": \"Prepend\", \"prepend\": \"▁\"}", "", "");
    check_normalizer("{\"type\": \"Prepend\", \"prepend\": \"▁\"}", "x", "▁x");
    check_normalizer(
        "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": \"_\"}",
        "a  b   c d", "a_b_c d");
    check_normalizer(
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"ab\"}, \"content\": \"\"}", "abxaba",
        "xa");
    check_normalizer("{\"type\": \"ByteLevel\"}", "é\n", "Ã©Ċ");
    check_normalizer(
        "{\"type\": \"Nmt\"}",
        "a\tb\u200Bc\x01"
        "d",
        "a b cd");
    check_normalizer("{\"type\": \"Sequence\", \"normalizers\": []}", "same", "same");
}

// A megabyte of marks in the worst order must not take quadratic time.
static void test_many_marks(void **state) {
    (void)state;
    enum { N_PAIRS = 250000 };
    mlcc_tokenizer *tokenizer = load_part("normalizer", "{\"type\": \"NFC\"}");
    mlcc_str text = {0};
    mlcc_str_putc(&text, 'q');
    for (int i = 0; i < N_PAIRS; i++) mlcc_str_puts(&text, "\u0301\u0323");
    mlcc_normalize_scratch scratch = {.regex = mlcc_regex_scratch_create()};
    const char *normal;
    size_t length;
    bool drops_start;
    tiny_require(mlcc_normalize(
        &tokenizer->normalizer, &scratch, text.data, text.length, &normal, &length, &drops_start));
    assert_int_equal(length, text.length);
    assert_memory_equal(normal + 1, "\u0323\u0323", 4);
    assert_memory_equal(normal + length - 4, "\u0301\u0301", 4);
    mlcc_regex_scratch_free(scratch.regex);
    mlcc_normalize_scratch_free(&scratch);
    mlcc_str_free(&text);
    mlcc_tokenizer_close(tokenizer);
}

// ---- pre-tokenizers ------------------------------------------------------------------------------------------

// `expected`: the words with '|' between them.
static void check_words(const char *part, const char *text, const char *expected) {
    mlcc_tokenizer *tokenizer = load_part("pre_tokenizer", part);
    mlcc_pretokenize_scratch scratch = {.regex = mlcc_regex_scratch_create()};
    const char *cut;
    const mlcc_pieces *words;
    tiny_require(mlcc_pretokenize(
        &tokenizer->pretokenizer, &scratch, text, strlen(text), true, &cut, &words));
    mlcc_str got = {0};
    for (size_t i = 0; i < words->n; i++) {
        mlcc_piece word = words->items[i];
        if (i != 0) mlcc_str_putc(&got, '|');
        mlcc_str_append(&got, cut + word.begin, word.end - word.begin);
    }
    assert_string_equal(mlcc_str_text(&got), expected);
    mlcc_str_free(&got);
    mlcc_regex_scratch_free(scratch.regex);
    mlcc_pretokenize_scratch_free(&scratch);
    mlcc_tokenizer_close(tokenizer);
}

static void check_split(
    const char *pattern, const char *behavior, bool inverts, const char *text,
    const char *expected) {
    mlcc_str part = {0};
    mlcc_str_printf(
        &part, "{\"type\": \"Split\", \"pattern\": {%s}, \"behavior\": \"%s\", \"invert\": %s}",
        pattern, behavior, inverts ? "true" : "false");
    check_words(part.data, text, expected);
    mlcc_str_free(&part);
}

static void test_split_behaviors(void **state) {
    (void)state;
    static const char dash[] = "\"String\": \"-\"";
    static const char word[] = "\"Regex\": \"\\\\w+\"";
    static const char text[] = "the-final--countdown-";
    check_split(dash, "Removed", false, text, "the|final|countdown");
    check_split(dash, "Isolated", false, text, "the|-|final|-|-|countdown|-");
    check_split(dash, "MergedWithPrevious", false, text, "the-|final-|-|countdown-");
    check_split(dash, "MergedWithNext", false, text, "the|-final|-|-countdown|-");
    check_split(dash, "Contiguous", false, text, "the|-|final|--|countdown|-");
    check_split(word, "Removed", true, "a, b!!c", "a|b|c");
    check_split(word, "Isolated", true, "a, b!!c", "a|, |b|!!|c");
    check_split(word, "MergedWithPrevious", true, "a, b!!c", "a, |b!!|c");
    check_split(word, "MergedWithNext", true, "a, b!!c", "a|, b|!!c");
    check_split(word, "Contiguous", true, "a, b!!c", "a|, |b|!!|c");
    check_split(dash, "Isolated", false, "", "");
}

static void test_split_odd_patterns(void **state) {
    (void)state;
    check_split("\"Regex\": \"\"", "Isolated", false, "abc", "a|b|c");
    check_split("\"String\": \"\"", "Isolated", false, "aé", "a|é");
    check_split("\"Regex\": \"b*\"", "Isolated", false, "abbc", "a|bb|c");
    check_split("\"Regex\": \"\\\\s+$\"", "Isolated", false, "a  \n b   ", "a|  |\n b|   ");
}

static void test_metaspace(void **state) {
    (void)state;
    static const struct {
        const char *options, *expected;
    } cases[] = {
        {"\"prepend_scheme\": \"always\", \"split\": true", "▁Hi|▁|▁there"},
        {"\"prepend_scheme\": \"always\", \"split\": false", "▁Hi▁▁there"},
        {"\"prepend_scheme\": \"first\", \"split\": true", "▁Hi|▁|▁there"},
        {"\"prepend_scheme\": \"never\", \"split\": true", "Hi|▁|▁there"},
        {"\"prepend_scheme\": \"never\", \"split\": false", "Hi▁▁there"},
        {"\"add_prefix_space\": true", "▁Hi|▁|▁there"},
        {"\"add_prefix_space\": false", "Hi|▁|▁there"},
        {"\"add_prefix_space\": false, \"prepend_scheme\": \"never\"", "Hi|▁|▁there"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_str part = {0};
        mlcc_str_printf(
            &part, "{\"type\": \"Metaspace\", \"replacement\": \"▁\", %s}", cases[i].options);
        check_words(part.data, "Hi  there", cases[i].expected);
        mlcc_str_free(&part);
    }
    static const char words_first[] =
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, {\"type\": "
        "\"Metaspace\", "
        "\"replacement\": \"▁\", \"prepend_scheme\": \"%s\", \"split\": true}]}";
    mlcc_str part = {0};
    mlcc_str_printf(&part, words_first, "first");
    check_words(part.data, "Hi there", "▁Hi|there");
    mlcc_str_clear(&part);
    mlcc_str_printf(&part, words_first, "always");
    check_words(part.data, "Hi there", "▁Hi|▁there");
    mlcc_str_free(&part);
}

static void test_other_pretokenizers(void **state) {
    (void)state;
    check_words(
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true}",
        "Hi  thére", "ĠHi|Ġ|ĠthÃ©re");
    check_words(
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}", "Hi\nthére",
        "HiĊthÃ©re");
    check_words("{\"type\": \"Whitespace\"}", "Hey man!  a_b c-d", "Hey|man|!|a_b|c|-|d");
    check_words("{\"type\": \"WhitespaceSplit\"}", "Hey man!\u3000x ", "Hey|man!|x");
    check_words(
        "{\"type\": \"Digits\", \"individual_digits\": true}", "a12b\u0663\u00BE",
        "a|1|2|b|\u0663|\u00BE");
    check_words(
        "{\"type\": \"Digits\", \"individual_digits\": false}", "a12b\u0663\u00BE",
        "a|12|b|\u0663\u00BE");
    check_words("{\"type\": \"Punctuation\"}", "a,.b¿c$", "a|,|.|b|¿|c|$");
    check_words(
        "{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}", "a,.b¿c$", "a|,.|b|¿|c|$");
    check_words("{\"type\": \"CharDelimiterSplit\", \"delimiter\": \";\"}", "a;b;;c", "a|b|c");
}

// ---- decoders --------------------------------------------------------------------------------------------------

// `tokens`: with '|' between them.
static void check_decoder(const char *part, const char *tokens, const char *expected) {
    mlcc_tokenizer *tokenizer = load_part("decoder", part);
    mlcc_decode_state *decoder;
    tiny_require(mlcc_decode_state_create(&tokenizer->decoder, &decoder));
    // twice: the state must be new after finish
    for (int round = 0; round < 2; round++) {
        mlcc_bytes out = {0};
        const char *token = tokens;
        for (;;) {
            size_t length = strcspn(token, "|");
            tiny_require(mlcc_decode_push(decoder, token, length, &out));
            assert_true(mlcc_utf8_is_valid(out.length == 0 ? "" : out.data, out.length));
            if (token[length] == '\0') break;
            token += length + 1;
        }
        tiny_require(mlcc_decode_finish(decoder, &out));
        mlcc_bytes_put(&out, '\0');
        assert_string_equal(out.data, expected);
        mlcc_bytes_free(&out);
    }
    mlcc_decode_state_free(decoder);
    mlcc_tokenizer_close(tokenizer);
}

static void test_decoders(void **state) {
    (void)state;
    check_decoder(
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
        "\"▁\"}, "
        "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
        "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}",
        "▁▁a|<0xE4>|<0xBD>|<0xA0>|b|<0xE4>|<0xBD>|<0x0G>|▁", " a\u4F60b\uFFFD\uFFFD<0x0G> ");
    check_decoder("null", "a||b", "a  b");
    check_decoder(
        "{\"type\": \"Metaspace\", \"replacement\": \"▁\", \"prepend_scheme\": \"always\"}",
        "▁Hey▁|▁you|▁", "Hey you ");
    check_decoder(
        "{\"type\": \"Metaspace\", \"replacement\": \"▁\", \"add_prefix_space\": false}",
        "▁Hey|▁you", " Hey you");
    check_decoder(
        "{\"type\": \"BPEDecoder\", \"suffix\": \"</w>\"}", "He|y</w>|yo|u</w>", "Hey you");
    check_decoder(
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}", "Hello|Ġw|Ã|©|▁x|Ã|Ġ",
        "Hello wé▁x\uFFFD ");
    check_decoder(
        "{\"type\": \"Strip\", \"content\": \" \", \"start\": 2, \"stop\": 1}", "   a  |b | c",
        " a bc");
    check_decoder(
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, "
        "{\"type\": \"Strip\", \"content\": \"x\", \"start\": 0, \"stop\": 2}]}",
        "axx|x|bxx|x", "axxxbx");
    check_decoder(
        "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a+\"}, \"content\": \"-\"}", "aab|ca",
        "-bc-");
    check_decoder(
        "{\"type\": \"ByteFallback\"}", "<0x61>|<0xFF>|<0xFF>|z|<0x+1>|<0x1g>",
        "\uFFFD\uFFFD\uFFFDz\x01<0x1g>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_forms),        cmocka_unit_test(test_other_normalizers),
        cmocka_unit_test(test_many_marks),          cmocka_unit_test(test_split_behaviors),
        cmocka_unit_test(test_split_odd_patterns),  cmocka_unit_test(test_metaspace),
        cmocka_unit_test(test_other_pretokenizers), cmocka_unit_test(test_decoders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
