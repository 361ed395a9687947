// Encoding with the two tokenizers of tiny_tokenizer.h. The expected ids are what Hugging Face tokenizers 0.23 gives for them.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include <pthread.h>

typedef struct example {
    const char *text;
    size_t length;
    const int32_t *ids; // without the beginning token
    size_t n_ids;
} example;

#define EXAMPLE(text, ...) {text, sizeof(text) - 1, TINY_IDS(__VA_ARGS__)}

// clang-format off
static const example byte_level_examples[] = {
    EXAMPLE("hello the world", 261, 258, 266),
    EXAMPLE(" hello  the   world", 32, 261, 32, 258, 268, 266),
    EXAMPLE("h\u00E9llo", 104, 267, 259, 111),
    EXAMPLE("I'LL 12345 wells!\r\n\n x", 73, 39, 76, 76, 32, 49, 50, 51, 52, 53, 262, 101, 259, 115, 33, 13, 10, 10, 32, 120),
    EXAMPLE("hello<|end|> the<tool>", 261, 271, 258, 272),
    EXAMPLE("\u00E9 \u4F60", 267, 32, 228, 189, 160),
    EXAMPLE("<s>hello</s> world", 60, 115, 62, 261, 60, 47, 115, 62, 266),
    EXAMPLE("\0a", 0, 97),
    EXAMPLE("   ", 268, 32),
    EXAMPLE("a  b", 97, 32, 32, 98),
    EXAMPLE("the\uFFFDx", 116, 257, 239, 191, 189, 120),
    EXAMPLE("  hello", 32, 32, 261),
};
static const example byte_fallback_examples[] = {
    EXAMPLE("hello the world", 259, 291, 288, 296),
    EXAMPLE(" hello  the   world", 297, 291, 259, 288, 297, 296),
    EXAMPLE("h\u00E9llo", 259, 267, 198, 172, 289, 274),
    EXAMPLE("I'LL 12345 wells!\r\n\n x", 259, 76, 42, 79, 79, 259, 52, 53, 54, 55, 56, 292, 264, 289, 278, 36, 16, 13, 13, 259, 283),
    EXAMPLE("hello<|end|> the<tool>", 259, 291, 63, 127, 264, 273, 263, 127, 65, 288, 63, 279, 274, 274, 271, 65),
    EXAMPLE("\u00E9 \u4F60", 259, 198, 172, 259, 231, 192, 163),
    EXAMPLE("<s>hello</s> world", 1, 259, 291, 2, 259, 296),
    EXAMPLE("\0a", 259, 3, 260),
    EXAMPLE("   ", 297, 297),
    EXAMPLE("a  b", 259, 260, 297, 261),
    EXAMPLE("the\uFFFDx", 288, 242, 194, 192, 283),
    EXAMPLE("  hello", 297, 259, 291),
};
// clang-format on

static void check_examples(
    const mlcc_tokenizer *tokenizer, const example *examples, size_t n, int32_t begin) {
    for (size_t i = 0; i < n; i++) {
        const example *e = &examples[i];
        int32_t with_begin[64] = {begin};
        memcpy(with_begin + 1, e->ids, e->n_ids * sizeof *e->ids);
        tiny_assert_ids(tokenizer, e->text, e->length, false, e->ids, e->n_ids);
        tiny_assert_ids(tokenizer, e->text, e->length, true, with_begin, e->n_ids + 1);
        // once more, from the memory of words
        tiny_assert_ids(tokenizer, e->text, e->length, false, e->ids, e->n_ids);
    }
    tiny_assert_ids(tokenizer, "", 0, false, &begin, 0);
    tiny_assert_ids(tokenizer, NULL, 0, true, &begin, 1);
}

static void test_byte_level(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    check_examples(
        tokenizer, byte_level_examples, sizeof byte_level_examples / sizeof *byte_level_examples,
        TINY_BYTE_LEVEL_BEGIN);
    mlcc_tokenizer_close(tokenizer);
}

static void test_byte_fallback(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_fallback_json());
    check_examples(
        tokenizer, byte_fallback_examples,
        sizeof byte_fallback_examples / sizeof *byte_fallback_examples, 1);
    mlcc_tokenizer_close(tokenizer);
}

// Broken bytes become U+FFFD, one for each maximal subpart, as Python's errors="replace" makes them.
static void test_broken_bytes(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    static const struct {
        const char *broken, *repaired;
    } cases[] = {
        {"a\xFF"
         "b",
         "a\uFFFDb"},
        {"\xE4\xBD", "\uFFFD"},
        {"\xE4\xBDx", "\uFFFDx"},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", "\uFFFD\U0001F600"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xC0\xAF", "\uFFFD\uFFFD"},
        {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
        {"\x80hello", "\uFFFDhello"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *expected;
        size_t n_expected;
        tiny_require(mlcc_tokenizer_encode(
            tokenizer, cases[i].repaired, strlen(cases[i].repaired), false, &expected,
            &n_expected));
        tiny_assert_ids(
            tokenizer, cases[i].broken, strlen(cases[i].broken), false, expected, n_expected);
        free(expected);
    }
    mlcc_tokenizer_close(tokenizer);
}

static void test_tokens(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    assert_int_equal(mlcc_tokenizer_vocab(tokenizer), 273);
    assert_string_equal(mlcc_tokenizer_token(tokenizer, 258), "Ġthe");
    assert_string_equal(mlcc_tokenizer_token(tokenizer, 271), "<|end|>");
    assert_null(mlcc_tokenizer_token(tokenizer, -1));
    assert_null(mlcc_tokenizer_token(tokenizer, 273));
    assert_int_equal(mlcc_tokenizer_find(tokenizer, "Ġthe"), 258);
    assert_int_equal(mlcc_tokenizer_find(tokenizer, "<|end|>"), 271);
    assert_int_equal(mlcc_tokenizer_find(tokenizer, " the"), -1);
    mlcc_tokenizer_close(tokenizer);
    mlcc_tokenizer_close(NULL);
}

// Texts without a place to cut: time must grow with n log n, not with n².
static void test_long_words(void **state) {
    (void)state;
    enum { N_BYTES = 1 << 20 };
    char *json[2] = {tiny_byte_level_json(), tiny_byte_fallback_json()};
    static const char *const patterns[] = {"hello", "a", "l", " ", "\n",
                                           "3",     "!", "▁", "é", "\xFF"};
    for (int kind = 0; kind < 2; kind++) {
        mlcc_tokenizer *tokenizer = tiny_load(json[kind]);
        for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
            mlcc_str text = {0};
            while (text.length < N_BYTES) mlcc_str_puts(&text, patterns[p]);
            int32_t *ids;
            size_t n_ids;
            tiny_require(
                mlcc_tokenizer_encode(tokenizer, text.data, text.length, false, &ids, &n_ids));
            if (patterns[p][0] != '\xFF') {
                char *back;
                size_t n_back;
                tiny_require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, false, &back, &n_back));
                size_t expected =
                    strcmp(patterns[p], "▁") == 0 && kind == 1 ? text.length / 3 : text.length;
                assert_int_equal(n_back, expected);
                free(back);
            }
            free(ids);
            mlcc_str_free(&text);
        }
        mlcc_tokenizer_close(tokenizer);
    }
}

// ---- added tokens ------------------------------------------------------------------------------------------

static mlcc_tokenizer *load_added(const char *normalizer, const char *added) {
    mlcc_str json = {0};
    mlcc_str_printf(
        &json,
        "{\"normalizer\": %s, \"added_tokens\": [%s], \"model\": {\"type\": \"BPE\", \"vocab\": "
        "{\"a\": 0, \"b\": 1, \" \": 2, \"▁\": 3}, \"merges\": []}}",
        normalizer, added);
    return tiny_load(json.data);
}

static void test_added_token_flags(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = load_added(
        "null", "{\"id\": 4, \"content\": \"<l>\", \"lstrip\": true}, {\"id\": 5, \"content\": "
                "\"<r>\", \"rstrip\": true},"
                "{\"id\": 6, \"content\": \"ab\", \"single_word\": true}, {\"id\": 7, \"content\": "
                "\"<l><r>\"},"
                "{\"id\": 8, \"content\": \"  \", \"lstrip\": true, \"rstrip\": true}");
    tiny_assert_ids(tokenizer, "a  <l> b", 8, false, TINY_IDS(0, 8, 4, 2, 1));
    tiny_assert_ids(tokenizer, "a <l> b", 7, false, TINY_IDS(0, 4, 2, 1));
    tiny_assert_ids(tokenizer, "a <r>\n b", 8, false, TINY_IDS(0, 2, 5, 1));
    tiny_assert_ids(tokenizer, "<l><r><l>", 9, false, TINY_IDS(7, 4));
    tiny_assert_ids(tokenizer, "ab aab ab", 9, false, TINY_IDS(6, 2, 0, 0, 1, 2, 6));
    tiny_assert_ids(tokenizer, "ab\u00E9 abx", 8, false, TINY_IDS(0, 1, 2, 0, 1));
    // white space that one token has taken is no token again
    tiny_assert_ids(tokenizer, "a     b", 7, false, TINY_IDS(0, 8, 1));
    mlcc_tokenizer_close(tokenizer);
}

// Real Llama 2 files mark their special tokens as normalized: they are then looked for with the '▁' in front.
static void test_normalized_added_tokens(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = load_added(
        "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"▁\"}, "
        "{\"type\": \"Replace\", "
        "\"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]}",
        "{\"id\": 4, \"content\": \"<s>\", \"special\": true, \"normalized\": true},"
        "{\"id\": 5, \"content\": \"<t>\", \"normalized\": true}, {\"id\": 6, \"content\": "
        "\"<p>\", \"normalized\": false}");
    tiny_assert_ids(tokenizer, "<s>a <s>b<s>", 12, false, TINY_IDS(4, 0, 4, 1));
    tiny_assert_ids(tokenizer, "a<p>b", 5, false, TINY_IDS(3, 0, 6, 3, 1));
    tiny_assert_text(tokenizer, TINY_IDS(4, 0), true, "a");
    tiny_assert_text(tokenizer, TINY_IDS(4, 0), false, "<s> a");
    tiny_assert_text(tokenizer, TINY_IDS(0, 5), true, "a ▁<t>");
    mlcc_tokenizer_close(tokenizer);
}

// An added token that model.vocab has keeps the id from there.
static void test_added_token_of_vocab(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = load_added(
        "null", "{\"id\": 9, \"content\": \"b\", \"special\": true, \"normalized\": false}");
    assert_int_equal(mlcc_tokenizer_vocab(tokenizer), 4);
    tiny_assert_ids(tokenizer, "ab", 2, false, TINY_IDS(0, 1));
    tiny_assert_text(tokenizer, TINY_IDS(0, 1), true, "a");
    mlcc_tokenizer_close(tokenizer);
}

// ---- options of the model ------------------------------------------------------------------------------------

static void check_model(const char *model, const char *text, const int32_t *ids, size_t n_ids) {
    mlcc_str json = {0};
    mlcc_str_printf(&json, "{\"model\": {\"type\": \"BPE\", %s}}", model);
    mlcc_tokenizer *tokenizer = tiny_load(json.data);
    tiny_assert_ids(tokenizer, text, strlen(text), true, ids, n_ids);
    mlcc_tokenizer_close(tokenizer);
}

static void test_unknown_characters(void **state) {
    (void)state;
    static const char vocab[] = "\"vocab\": {\"a\": 0, \"<u>\": 1, \"<0xC3>\": 2}, \"merges\": []";
    mlcc_str model = {0};
    mlcc_str_printf(&model, "\"unk_token\": \"<u>\", \"fuse_unk\": false, %s", vocab);
    check_model(model.data, "axyaz", TINY_IDS(0, 1, 1, 0, 1));
    mlcc_str_clear(&model);
    mlcc_str_printf(&model, "\"unk_token\": \"<u>\", \"fuse_unk\": true, %s", vocab);
    check_model(model.data, "axyaz", TINY_IDS(0, 1, 0, 1));
    // not all bytes of é are there
    mlcc_str_clear(&model);
    mlcc_str_printf(&model, "\"unk_token\": \"<u>\", \"byte_fallback\": true, %s", vocab);
    check_model(model.data, "é", TINY_IDS(1));
    // without an unknown token, unknown characters vanish
    check_model(vocab, "axya", TINY_IDS(0, 0));
    mlcc_str_free(&model);
}

static void test_prefix_and_suffix(void **state) {
    (void)state;
    check_model(
        "\"continuing_subword_prefix\": \"##\", \"end_of_word_suffix\": \"</w>\", \"vocab\": "
        "{\"a\": 0, \"##b\": 1, "
        "\"##c</w>\": 2, \"ab\": 3, \"##bc</w>\": 4, \"c</w>\": 5, \"abc</w>\": 6}, "
        "\"merges\": [\"##b ##c</w>\", \"a ##bc</w>\"]",
        "abc", TINY_IDS(6));
    check_model(
        "\"continuing_subword_prefix\": \"##\", \"end_of_word_suffix\": \"</w>\", \"vocab\": "
        "{\"a\": 0, \"##b\": 1, "
        "\"##c</w>\": 2, \"c</w>\": 3}, \"merges\": []",
        "c", TINY_IDS(3));
}

static void test_ignored_merges(void **state) {
    (void)state;
    static const char vocab[] =
        "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"aba\": 3}, \"merges\": [[\"a\", \"b\"]]";
    mlcc_str model = {0};
    mlcc_str_printf(&model, "\"ignore_merges\": true, %s", vocab);
    check_model(model.data, "aba", TINY_IDS(3));
    check_model(vocab, "aba", TINY_IDS(2, 0));
    check_model(model.data, "abab", TINY_IDS(2, 2));
    mlcc_str_free(&model);
}

// Ranks count, then places; both ways of writing merges, and a "#version" line, are read.
static void test_merge_order(void **state) {
    (void)state;
    check_model(
        "\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"bc\": 3, \"ab\": 4}, \"merges\": [\"#version: "
        "0.2\", \"b c\", \"a b\"]",
        "abcab", TINY_IDS(0, 3, 4));
    check_model(
        "\"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2}, \"merges\": [[\"a\", \"a\"], [\"aa\", "
        "\"aa\"]]",
        "aaaaaaa", TINY_IDS(2, 1, 0));
}

// ---- threads -----------------------------------------------------------------------------------------------------

static void *encode_many(void *arg) {
    const mlcc_tokenizer *tokenizer = arg;
    for (int i = 0; i < 300; i++) {
        const example *e =
            &byte_level_examples
                [(size_t)i % (sizeof byte_level_examples / sizeof *byte_level_examples)];
        int32_t *ids;
        size_t n_ids;
        mlcc_status *status =
            mlcc_tokenizer_encode(tokenizer, e->text, e->length, false, &ids, &n_ids);
        if (status != NULL || n_ids != e->n_ids) abort();
        if (memcmp(ids, e->ids, n_ids * sizeof *ids) != 0) abort();
        free(ids);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    enum { N_THREADS = 4 };
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, encode_many, tokenizer), 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    mlcc_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_broken_bytes),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_added_token_flags),
        cmocka_unit_test(test_normalized_added_tokens),
        cmocka_unit_test(test_added_token_of_vocab),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_prefix_and_suffix),
        cmocka_unit_test(test_ignored_merges),
        cmocka_unit_test(test_merge_order),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
