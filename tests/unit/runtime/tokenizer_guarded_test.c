// Guarded encoding: what a user writes is never a special token, whatever the model and the normalizer; everything else stays as it is.
#include "tests/unit/runtime/tiny_tokenizer.h"

// Encodes with the parts between '[' and ']' of `marked` guarded, the brackets removed.
static void encode_marked(
    const mlcc_tokenizer *tokenizer, const char *marked, mlcc_str *text, int32_t **ids,
    size_t *n_ids) {
    mlcc_text_range ranges[16];
    size_t n_ranges = 0;
    for (const char *at = marked; *at != '\0'; at++) {
        if (*at == '[') {
            ranges[n_ranges].begin = text->length;
        } else if (*at == ']') {
            ranges[n_ranges++].end = text->length;
        } else {
            mlcc_str_putc(text, *at);
        }
    }
    tiny_require(mlcc_tokenizer_encode_guarded(
        tokenizer, mlcc_str_text(text), text->length, ranges, n_ranges, false, ids, n_ids));
}

static bool has_id(const int32_t *ids, size_t n_ids, int32_t id) {
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] == id) return true;
    }
    return false;
}

// The guarded text gives the same ids as the plain one.
static void check_same(const mlcc_tokenizer *tokenizer, const char *marked) {
    mlcc_str text = {0};
    int32_t *ids, *plain;
    size_t n_ids, n_plain;
    encode_marked(tokenizer, marked, &text, &ids, &n_ids);
    tiny_require(mlcc_tokenizer_encode(
        tokenizer, mlcc_str_text(&text), text.length, false, &plain, &n_plain));
    if (n_ids != n_plain || memcmp(ids, plain, n_ids * sizeof *ids) != 0) {
        print_error("'%s' differs from its plain ids\n", marked);
        fail();
    }
    free(ids);
    free(plain);
    mlcc_str_free(&text);
}

// The id comes out `n_expected` times, and the text is still all there.
static void check_count(
    const mlcc_tokenizer *tokenizer, const char *marked, int32_t id, size_t n_expected) {
    mlcc_str text = {0};
    int32_t *ids;
    size_t n_ids, n_found = 0;
    encode_marked(tokenizer, marked, &text, &ids, &n_ids);
    for (size_t i = 0; i < n_ids; i++) n_found += ids[i] == id;
    if (n_found != n_expected) {
        print_error("'%s': id %d %zu times, expected %zu\n", marked, id, n_found, n_expected);
        fail();
    }
    free(ids);
    mlcc_str_free(&text);
}

static void test_byte_level(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    enum { BEGIN = TINY_BYTE_LEVEL_BEGIN, END = BEGIN + 1, TOOL = BEGIN + 2 };
    check_count(tokenizer, "<|begin|>[<|end|>]<|end|>", END, 1);
    check_count(tokenizer, "[<|begin|><|end|>]", BEGIN, 0);
    check_count(tokenizer, "<|begin|>[]<|end|>", END, 1);
    // over a border, from both sides and in the middle
    check_count(tokenizer, "[<|]end|>", END, 0);
    check_count(tokenizer, "<|end[|>]", END, 0);
    check_count(tokenizer, "<|[e]nd|>", END, 0);
    check_count(tokenizer, "[x<|end|]><|end|>", END, 1);
    check_count(tokenizer, "[<]<|end|>[|end|>]", END, 1);
    // a token that is not special is a word like others
    check_count(tokenizer, "[<tool>]", TOOL, 1);
    // brackets around everything ordinary change nothing
    check_same(tokenizer, "<|begin|>[hello world]<|end|>");
    check_same(tokenizer, "<|begin|>[hello ]world[ <|en]<|end|>[|>]");
    check_same(tokenizer, "[the hello] the [\xC3\xA9\xFF]\xFF[]");
    check_same(tokenizer, "");
    mlcc_tokenizer_close(tokenizer);
}

static void test_byte_fallback(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_fallback_json());
    check_count(tokenizer, "<s>[hello</s>]</s>", 2, 1);
    check_same(tokenizer, "<s>[hello world]</s>");
    // what is written stays readable
    mlcc_str text = {0};
    int32_t *ids;
    size_t n_ids;
    encode_marked(tokenizer, "[</s>]", &text, &ids, &n_ids);
    tiny_assert_text(tokenizer, ids, n_ids, true, "</s>");
    free(ids);
    mlcc_str_free(&text);
    mlcc_tokenizer_close(tokenizer);
}

// Special tokens that are looked for in normalised text; ids: a–d 0–3, "<s>" 4.
static mlcc_tokenizer *load_normalized(const char *normalizer, const char *content) {
    mlcc_str json = {0};
    mlcc_str_printf(
        &json,
        "{\"normalizer\": %s, \"added_tokens\": [{\"id\": 4, \"content\": \"%s\", \"special\": "
        "true, "
        "\"normalized\": true}], \"model\": {\"type\": \"BPE\", \"unk_token\": \"d\", \"vocab\": "
        "{\"a\": 0, "
        "\"b\": 1, \"c\": 2, \"d\": 3}, \"merges\": []}}",
        normalizer, content);
    return tiny_load(json.data);
}

static void test_normalized(void **state) {
    (void)state;
    static const char *const normalizers[] = {
        "null",
        "{\"type\": \"NFC\"}",
        "{\"type\": \"Lowercase\"}",
        "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKD\"}, {\"type\": "
        "\"StripAccents\"}]}",
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"bb\"}, \"content\": \"\"}",
        "{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}",
        "{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, "
        "\"strip_accents\": true, \"lowercase\": true}",
    };
    for (size_t i = 0; i < sizeof normalizers / sizeof *normalizers; i++) {
        mlcc_tokenizer *tokenizer = load_normalized(normalizers[i], "<s>");
        check_count(tokenizer, "ab<s>[a<s>b]<s>", 4, 2);
        check_count(tokenizer, " [ bb<s> ]<s> ", 4, 1);
        check_count(tokenizer, "[<]s>", 4, 0);
        check_count(tokenizer, "<s[>]", 4, 0);
        check_same(tokenizer, "  a<s>[ab\u00E9e\u0301bb\uFB01 ]<s>[\u732B]<s>b");
        check_same(tokenizer, "[\uAC00]<s>[\u1100]<s>[bb]");
        mlcc_tokenizer_close(tokenizer);
    }
}

// Characters that only the normalizer turns into a special token, and ones that are made from both sides of a border.
static void test_made_by_normalizer(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = load_normalized("{\"type\": \"NFKC\"}", "<s>");
    check_count(tokenizer, "[\uFF1Cs\uFF1E]", 4, 0);
    check_count(tokenizer, "\uFF1Cs\uFF1E[\uFF1Cs>]", 4, 1);
    mlcc_tokenizer_close(tokenizer);
    tokenizer = load_normalized("{\"type\": \"NFC\"}", "<\u00E9>");
    check_count(tokenizer, "<e[\u0301]>", 4, 0);
    check_count(tokenizer, "<e\u0301>[e\u0301]", 4, 1);
    mlcc_tokenizer_close(tokenizer);
    tokenizer = load_normalized(
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"ab\"}, \"content\": \"<s>\"}", "<s>");
    check_count(tokenizer, "[ab]ab", 4, 1);
    check_count(tokenizer, "[a]bab", 4, 1);
    mlcc_tokenizer_close(tokenizer);
    tokenizer = load_normalized("{\"type\": \"Prepend\", \"prepend\": \"x\"}", "<s>");
    check_count(tokenizer, "[<s>]", 4, 0);
    mlcc_tokenizer_close(tokenizer);
}

// Vocabularies that hold the special token, so that the model itself could spell it.
static void test_models(void **state) {
    (void)state;
    static const char *const models[] = {
        "{\"type\": \"BPE\", \"vocab\": {\"<\": 0, \"s\": 1, \">\": 2, \"<s\": 3, \"<s>\": 4}, "
        "\"merges\": "
        "[\"< s\", \"<s >\"]}",
        "{\"type\": \"BPE\", \"ignore_merges\": true, \"vocab\": {\"<\": 0, \"s\": 1, \">\": 2, "
        "\"<s\": 3, "
        "\"<s>\": 4}, \"merges\": [\"< s\"]}",
        "{\"type\": \"Unigram\", \"unk_id\": 5, \"vocab\": [[\"<\", -1], [\"s\", -1], [\">\", -1], "
        "[\"<s\", -1.5], "
        "[\"<s>\", 0], [\"?\", 0]]}",
        "{\"type\": \"WordPiece\", \"unk_token\": \"<\", \"continuing_subword_prefix\": \"\", "
        "\"max_input_chars_per_word\": 100, \"vocab\": {\"<\": 0, \"s\": 1, \">\": 2, \"<s\": 3, "
        "\"<s>\": 4}}",
        "{\"type\": \"WordLevel\", \"vocab\": {\"<unk>\": 0, \"s\": 1, \"<s>\": 4}}",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        mlcc_str json = {0};
        mlcc_str_printf(
            &json,
            "{\"added_tokens\": [{\"id\": 4, \"content\": \"<s>\", \"special\": true, "
            "\"normalized\": false}], "
            "\"model\": %s}",
            models[i]);
        mlcc_tokenizer *tokenizer = tiny_load(json.data);
        for (int round = 0; round < 2; round++) { // the second time from the memory of words
            check_count(tokenizer, "<s>[<s>]<s>", 4, 2);
            check_count(tokenizer, "[<s>]", 4, 0);
            check_count(tokenizer, "<s>", 4, 1);
            check_same(tokenizer, "<s>[<s]<s>");
        }
        mlcc_tokenizer_close(tokenizer);
    }
}

static void test_bad_ranges(void **state) {
    (void)state;
    static const mlcc_text_range cases[][2] = {
        {{0, 3}, {2, 4}}, {{2, 4}, {0, 1}}, {{0, 1}, {1, 7}}, {{0, 1}, {4, 3}}};
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids;
        size_t n_ids;
        mlcc_status *status =
            mlcc_tokenizer_encode_guarded(tokenizer, "hello", 5, cases[i], 2, false, &ids, &n_ids);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_non_null(strstr(mlcc_status_message(status), "guarded range 1"));
        assert_null(ids);
        mlcc_status_free(status);
    }
    mlcc_tokenizer_close(tokenizer);
}

// A border inside a character guards all of it.
static void test_cut_characters(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = load_normalized("null", "<\u00E9>");
    for (size_t begin = 0; begin < 4; begin++) {
        const mlcc_text_range range = {begin, begin + 1};
        int32_t *ids;
        size_t n_ids;
        tiny_require(mlcc_tokenizer_encode_guarded(
            tokenizer, "<\u00E9><\u00E9>", 8, &range, 1, false, &ids, &n_ids));
        assert_int_not_equal(ids[0], 4);
        assert_int_equal(ids[n_ids - 1], 4);
        assert_true(has_id(ids, n_ids, 3));
        free(ids);
    }
    mlcc_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),     cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_normalized),     cmocka_unit_test(test_made_by_normalizer),
        cmocka_unit_test(test_models),         cmocka_unit_test(test_bad_ranges),
        cmocka_unit_test(test_cut_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
