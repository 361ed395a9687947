// tokenizer.model and *.tiktoken that make no sense, and what their configuration adds.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/base/file.h"
#include "runtime/text/sentencepiece.h"
#include "runtime/text/tiktoken.h"

static void expect_error(mlcc_status *status, mlcc_code code, const char *part) {
    char *text = mlcc_status_format(status, 0);
    if (mlcc_status_code(status) != code || strstr(text, part) == NULL) {
        print_error("%swanted '%s'\n", text, part);
        fail();
    }
    assert_non_null(strstr(text, "DIR/"));
    free(text);
    mlcc_status_free(status);
}

// ---- SentencePiece ---------------------------------------------------------------------------------------------

#define UNKNOWN "\n\x0B\n\x02??\x15\0\0\0\0\x18\x02"
#define A \
    "\n\x0A\n\x01" \
    "a\x15\0\0\x80\xBF\x18\x01"
#define TRAINER(type) "\x12\x02\x18" type

typedef struct broken {
    const char *bytes;
    size_t length;
    mlcc_code code;
    const char *part;
} broken;
#define ROW(text, code, part) {text, sizeof(text) - 1, code, part}

static void test_sentencepiece(void **state) {
    (void)state;
    // clang-format off
    static const broken cases[] = {
        ROW("", MLCC_INVALID, "none of the 0 pieces is the unknown piece"),
        ROW(A, MLCC_INVALID, "none of the 1 pieces is the unknown piece"),
        ROW("\n", MLCC_INVALID, "cut off at byte 1"),
        ROW("\n\x05" "ab", MLCC_INVALID, "has 5 bytes, but only 2 are left"),
        ROW("\n\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", MLCC_INVALID, "has 18446744073709551615 bytes"),
        ROW("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", MLCC_INVALID, "more than 64 bits"),
        ROW("\x03", MLCC_INVALID, "the number 0"),
        ROW("\x0B", MLCC_INVALID, "wire type 3"),
        ROW("\x08\x01", MLCC_INVALID, "field 1 has the wire type 0, 2 is expected"),
        ROW("\n\x02\n\0", MLCC_INVALID, "its text is empty"),
        ROW("\n\x03\n\x01\xFF", MLCC_INVALID, "no UTF-8"),
        ROW("\n\x05\n\x01" "a\x18\x09", MLCC_INVALID, "its type is 9"),
        ROW("\n\x08\n\x01" "a\x15\0\0\x80\x7F", MLCC_INVALID, "its score is no number"),
        ROW("\n\x05\n\x01" "a\x10\x01", MLCC_INVALID, "field 2 has the wire type 0, 5 is expected"),
        ROW(UNKNOWN A A, MLCC_INVALID, "piece 2 is 'a', as another one"),
        ROW(UNKNOWN "\n\x0A\n\x01?\x15\0\0\0\0\x18\x02", MLCC_INVALID, "pieces 0 and 1 are both unknown"),
        ROW(UNKNOWN TRAINER("\x03"), MLCC_UNSUPPORTED, "trainer_spec.model_type is 3"),
        ROW(UNKNOWN "\x12\x03\xC0\x01\x01", MLCC_UNSUPPORTED, "treat_whitespace_as_suffix"),
        ROW(UNKNOWN "\x1A\x04\x12\x02xy", MLCC_INVALID, "the precompiled charsmap has 2 bytes"),
        ROW(UNKNOWN "\n\x0A\n\x01" "b\x15\0\0\0\0\x18\x05" TRAINER("\x02"), MLCC_UNSUPPORTED, "piece 1 is marked as unused"),
    };
    // clang-format on
    const mlcc_tokenizer_config config = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_tokenizer *tokenizer;
        mlcc_status *status = mlcc_sentencepiece_load(
            cases[i].bytes, cases[i].length, "DIR/tokenizer.model", &config, &tokenizer);
        if (status == NULL) print_error("case %zu is accepted\n", i);
        assert_non_null(status);
        assert_null(tokenizer);
        expect_error(status, cases[i].code, cases[i].part);
    }
}

// Every prefix of a real file is refused or loads; never anything worse.
static void test_damage(void **state) {
    (void)state;
    static const char *const names[] = {"sp_bpe", "sp_unigram"};
    const mlcc_tokenizer_config config = {0};
    for (size_t i = 0; i < 2; i++) {
        mlcc_arena *arena = mlcc_arena_create();
        char *bytes;
        size_t length;
        tiny_require(mlcc_file_read(
            mlcc_arena_printf(
                arena, "tests/unit/runtime/tokenizer_kinds/%s/tokenizer.model", names[i]),
            0, &bytes, &length));
        for (size_t n = 0; n < length; n += 37) {
            mlcc_tokenizer *tokenizer;
            char kept = bytes[n];
            mlcc_status_free(
                mlcc_sentencepiece_load(bytes, n, "DIR/tokenizer.model", &config, &tokenizer));
            mlcc_tokenizer_close(tokenizer);
            bytes[n] ^= 0x55;
            mlcc_status_free(
                mlcc_sentencepiece_load(bytes, length, "DIR/tokenizer.model", &config, &tokenizer));
            mlcc_tokenizer_close(tokenizer);
            bytes[n] = kept;
        }
        free(bytes);
        mlcc_arena_free(arena);
    }
}

// BOS and EOS by the configuration or by class, and tokens behind the vocabulary.
static void test_ends(void **state) {
    (void)state;
    static const char model[] =
        UNKNOWN A "\n\x0C\n\x03<s>\x15\0\0\0\0\x18\x03" TRAINER("\x02") "\x1A\x04\x18\0\x20\0";
    mlcc_added_token extra = {
        .content = "<x>",
        .content_bytes = 3,
        .pattern = "<x>",
        .pattern_bytes = 3,
        .id = 7,
        .is_special = true};
    mlcc_tokenizer_config config = {
        .tokenizer_class = "LlamaTokenizer", .tokens = &extra, .n_tokens = 1, .eos = "<x>"};
    mlcc_tokenizer *tokenizer;
    tiny_require(mlcc_sentencepiece_load(
        model, sizeof model - 1, "DIR/tokenizer.model", &config, &tokenizer));
    tiny_assert_ids(tokenizer, "a<x>a", 5, true, TINY_IDS(2, 1, 7, 1));
    mlcc_tokenizer_close(tokenizer);
    config.adds_bos = MLCC_NO;
    config.adds_eos = MLCC_YES;
    tiny_require(mlcc_sentencepiece_load(
        model, sizeof model - 1, "DIR/tokenizer.model", &config, &tokenizer));
    tiny_assert_ids(tokenizer, "a<s>a", 5, true, TINY_IDS(1, 2, 1, 7));
    mlcc_tokenizer_close(tokenizer);
}

// ---- tiktoken ----------------------------------------------------------------------------------------------------

static void test_tiktoken(void **state) {
    (void)state;
    static const struct {
        const char *file, *text;
        mlcc_code code;
        const char *part;
    } cases[] = {
        {"DIR/qwen.tiktoken", "AA== 0\nAQ== 1\n", MLCC_INVALID, "no token is the byte 0x02"},
        {"DIR/qwen.tiktoken", "AA== 0\nAQ== 0\n", MLCC_INVALID, "gives the id 0"},
        {"DIR/qwen.tiktoken", "AA== 0\nAA== 1\n", MLCC_INVALID, "'AA== 1' was there before"},
        {"DIR/qwen.tiktoken", "AA== 0\nAA 1\n", MLCC_INVALID, "reading line 2"},
        {"DIR/qwen.tiktoken", "AA== 9999999\n", MLCC_INVALID, "a rank from 0"},
        {"DIR/qwen.tiktoken", "AA== \n", MLCC_INVALID, "a rank from 0"},
        {"DIR/qwen.tiktoken", "AA==\n", MLCC_INVALID, "a rank from 0"},
        {"DIR/qwen.tiktoken", " 0\n", MLCC_INVALID, "a rank from 0"},
        {"DIR/some.tiktoken", "AA== 0\n", MLCC_UNSUPPORTED, "qwen.tiktoken"},
    };
    const mlcc_tokenizer_config config = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_tokenizer *tokenizer;
        mlcc_status *status = mlcc_tiktoken_load(
            cases[i].text, strlen(cases[i].text), cases[i].file, &config, &tokenizer);
        assert_non_null(status);
        assert_null(tokenizer);
        expect_error(status, cases[i].code, cases[i].part);
    }
    assert_true(mlcc_tiktoken_is_file("AA== 0\n", 7));
    assert_false(mlcc_tiktoken_is_file("\n\x0A\n\x01", 4));
    assert_false(mlcc_tiktoken_is_file("", 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_tiktoken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
