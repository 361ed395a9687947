// Broken tokenizer.json texts: each is one error that names the file, the place and what would be accepted.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/base/file.h"

#define MODEL(text) "{\"model\": {\"type\": \"BPE\", " text "}}"
#define PART(text) \
    "{" text ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}"
#define PLAIN "\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []"

typedef struct broken {
    const char *json;
    mlcc_code code;
    const char *first, *second; // both must be in the message chain
} broken;

// clang-format off
static const broken cases[] = {
    // not JSON, not an object
    {"", MLCC_INVALID, "tokenizer.json", "line 1"},
    {"{\"model\": ", MLCC_INVALID, "tokenizer.json", "line 1"},
    {"[1]", MLCC_INVALID, "an array", "an object"},
    {"null", MLCC_INVALID, "null", "an object"},
    {PART("\"version\": \"2.0\""), MLCC_UNSUPPORTED, "version", "'1.0'"},
    // model
    {"{}", MLCC_INVALID, "key 'model' is missing", "tokenizer.json"},
    {"{\"model\": 3}", MLCC_INVALID, "key 'model' is an integer", "an object"},
    {"{\"model\": {\"vocab\": {}}}", MLCC_INVALID, "key 'type' is missing", "reading model"},
    {"{\"model\": {\"type\": \"Morpheme\"}}", MLCC_UNSUPPORTED, "model.type is 'Morpheme'", "BPE, Unigram, WordPiece, WordLevel"},
    {"{\"model\": {\"type\": \"WordPiece\"}}", MLCC_INVALID, "key 'vocab' is missing", "reading model"},
    {"{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"?\", \"vocab\": {\"a\": 0}}}", MLCC_INVALID, "'unk_token' is '?'", "model.vocab"},
    {"{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"a\", \"max_input_chars_per_word\": -1, \"vocab\": {\"a\": 0}}}", MLCC_INVALID, "max_input_chars_per_word", "-1"},
    {"{\"model\": {\"type\": \"WordLevel\", \"unk_token\": 1, \"vocab\": {\"a\": 0}}}", MLCC_INVALID, "key 'unk_token'", "a string"},
    {"{\"model\": {\"type\": \"Unigram\", \"vocab\": {}}}", MLCC_INVALID, "key 'vocab' is an object", "an array"},
    {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\"]]}}", MLCC_INVALID, "model.vocab[0]", "a text and a score"},
    {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", -1], [1, 2]]}}", MLCC_INVALID, "model.vocab[1]", "a text and a score"},
    {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", \"x\"]]}}", MLCC_INVALID, "model.vocab[0]", "a text and a score"},
    {"{\"model\": {\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", -1]]}}", MLCC_INVALID, "key 'unk_id' is 1", "1 pieces"},
    {"{\"model\": {\"type\": \"Unigram\", \"unk_id\": -3, \"vocab\": [[\"a\", -1]]}}", MLCC_INVALID, "'unk_id'", "-3"},
    {"{\"model\": {\"type\": 1}}", MLCC_INVALID, "key 'type'", "a string"},
    // vocab
    {MODEL("\"merges\": []"), MLCC_INVALID, "key 'vocab' is missing", "reading model"},
    {MODEL("\"vocab\": [], \"merges\": []"), MLCC_INVALID, "key 'vocab' is an array", "an object"},
    {MODEL("\"vocab\": {\"a\": \"0\"}, \"merges\": []"), MLCC_INVALID, "model.vocab['a'] is a string", "integer id"},
    {MODEL("\"vocab\": {\"a\": -1}, \"merges\": []"), MLCC_INVALID, "model.vocab['a'] is -1", "ids from 0"},
    {MODEL("\"vocab\": {\"a\": 99999999999}, \"merges\": []"), MLCC_INVALID, "model.vocab['a'] is 99999999999", "ids from 0"},
    {MODEL("\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []"), MLCC_INVALID, "the id 1 to 'a' and to 'b'", "one piece"},
    {MODEL("\"vocab\": {\"a\": 1, \"a\": 2}, \"merges\": []"), MLCC_INVALID, "duplicate", "line 1"},
    // merges
    {MODEL("\"vocab\": {\"a\": 0}"), MLCC_INVALID, "key 'merges' is missing", "reading model"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": {}"), MLCC_INVALID, "key 'merges' is an object", "an array"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a q\"]"), MLCC_INVALID, "piece 'q' is not in model.vocab", "model.merges[0]"},
    {MODEL("\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]"), MLCC_INVALID, "piece 'ab' is not in model.vocab", "model.merges[0]"},
    {MODEL("\"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\", \"aa\"]"), MLCC_INVALID, "one space", "model.merges[1]"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]"), MLCC_INVALID, "one space", "model.merges[0]"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]"), MLCC_INVALID, "two strings", "model.merges[0]"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", 1]]"), MLCC_INVALID, "two strings", "model.merges[0]"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [7]"), MLCC_INVALID, "an integer", "model.merges[0]"},
    {MODEL("\"continuing_subword_prefix\": \"##\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]"), MLCC_INVALID, "shorter than", "model.merges[0]"},
    // model options
    {MODEL("\"unk_token\": \"<u>\", " PLAIN), MLCC_INVALID, "'unk_token' is '<u>'", "model.vocab"},
    {MODEL("\"unk_token\": 1, " PLAIN), MLCC_INVALID, "'unk_token'", "a string"},
    {MODEL("\"fuse_unk\": 1, " PLAIN), MLCC_INVALID, "'fuse_unk'", "true or false"},
    {MODEL("\"dropout\": 0.1, " PLAIN), MLCC_UNSUPPORTED, "'dropout' is 0.1", "null and 0"},
    // added tokens
    {PART("\"added_tokens\": {}"), MLCC_INVALID, "key 'added_tokens' is an object", "an array"},
    {PART("\"added_tokens\": [1]"), MLCC_INVALID, "added_tokens[0] is an integer", "an object"},
    {PART("\"added_tokens\": [{\"id\": 2}]"), MLCC_INVALID, "added_tokens[0].content is missing", "a string"},
    {PART("\"added_tokens\": [{\"content\": \"x\"}]"), MLCC_INVALID, "key 'id' is missing", "added_tokens[0]"},
    {PART("\"added_tokens\": [{\"id\": -2, \"content\": \"x\"}]"), MLCC_INVALID, "key 'id' is -2", "added_tokens[0]"},
    {PART("\"added_tokens\": [{\"id\": 99999999, \"content\": \"x\"}]"), MLCC_INVALID, "key 'id' is 99999999", "added_tokens[0]"},
    {PART("\"added_tokens\": [{\"id\": 2, \"content\": \"x\", \"special\": 0}]"), MLCC_INVALID, "key 'special'", "added_tokens[0]"},
    {PART("\"added_tokens\": [{\"id\": 0, \"content\": \"x\"}]"), MLCC_INVALID, "added_tokens[0] gives the id 0 to 'x'", "belongs to 'a'"},
    {PART("\"added_tokens\": [{\"id\": 2, \"content\": \"x\"}, {\"id\": 2, \"content\": \"y\"}]"), MLCC_INVALID, "added_tokens[1] gives the id 2 to 'y'", "belongs to 'x'"},
    {PART("\"added_tokens\": [{\"id\": 2, \"content\": \"x\"}, {\"id\": 3, \"content\": \"x\"}]"), MLCC_INVALID, "added_tokens[1] has the content 'x'", "before"},
    // normalizer
    {PART("\"normalizer\": []"), MLCC_INVALID, "normalizer is an array", "an object"},
    {PART("\"normalizer\": {}"), MLCC_INVALID, "key 'type' is missing", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Fold\"}"), MLCC_UNSUPPORTED, "normalizer.type is 'Fold'", "Prepend"},
    {PART("\"normalizer\": {\"type\": \"Precompiled\"}"), MLCC_INVALID, "normalizer.precompiled_charsmap is missing", "a string"},
    {PART("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"!!!!\"}"), MLCC_INVALID, "normalizer.precompiled_charsmap", "base64"},
    {PART("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAA=\"}"), MLCC_INVALID, "has 2 bytes", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"/////wAA\"}"), MLCC_INVALID, "a trie of 4294967295", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"BAAAAAAAAAD/\"}"), MLCC_INVALID, "no valid UTF-8", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"BertNormalizer\"}"), MLCC_INVALID, "key 'clean_text' is missing", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Sequence\"}"), MLCC_INVALID, "key 'normalizers' is missing", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"X\"}]}"), MLCC_UNSUPPORTED, "normalizer.normalizers[1].type is 'X'", "accepted"},
    {PART("\"normalizer\": {\"type\": \"Prepend\"}"), MLCC_INVALID, "normalizer.prepend is missing", "a string"},
    {PART("\"normalizer\": {\"type\": \"Strip\"}"), MLCC_INVALID, "key 'strip_left' is missing", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Replace\", \"content\": \"\"}"), MLCC_INVALID, "key 'pattern' is missing", "reading normalizer"},
    {PART("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {}, \"content\": \"\"}"), MLCC_INVALID, "normalizer.pattern", "'String' or 'Regex'"},
    {PART("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"\"}"), MLCC_INVALID, "regular expression '('", "reading normalizer"},
    // pre_tokenizer
    {PART("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": \"[a\"}}"), MLCC_INVALID, "'[' without ']'", "reading pre_tokenizer"},
    {PART("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": \"\\\\p{Nix}\"}}"), MLCC_INVALID, "does not compile", "reading pre_tokenizer"},
    {PART("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": 1}}"), MLCC_INVALID, "pre_tokenizer.pattern.Regex is an integer", "a string"},
    {PART("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Sideways\", \"pattern\": {\"String\": \" \"}}"), MLCC_INVALID, "pre_tokenizer.behavior is 'Sideways'", "Removed"},
    {PART("\"pre_tokenizer\": {\"type\": \"ByteLevel\"}"), MLCC_INVALID, "key 'add_prefix_space' is missing", "reading pre_tokenizer"},
    {PART("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}"), MLCC_INVALID, "pre_tokenizer.replacement is 'ab'", "one character"},
    {PART("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}"), MLCC_INVALID, "prepend_scheme is 'last'", "always, first, never"},
    {PART("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"first\", \"add_prefix_space\": false}"), MLCC_INVALID, "add_prefix_space is false", "'never'"},
    {PART("\"pre_tokenizer\": {\"type\": \"Runes\"}"), MLCC_UNSUPPORTED, "pre_tokenizer.type is 'Runes'", "ByteLevel"},
    {PART("\"pre_tokenizer\": {\"type\": \"FixedLength\", \"length\": 0}"), MLCC_INVALID, "key 'length' is 0", "reading pre_tokenizer"},
    // decoder
    {PART("\"decoder\": {\"type\": \"Glue\"}"), MLCC_UNSUPPORTED, "decoder.type is 'Glue'", "ByteFallback"},
    {PART("\"decoder\": {\"type\": \"WordPiece\"}"), MLCC_INVALID, "key 'cleanup' is missing", "reading decoder"},
    {PART("\"decoder\": {\"type\": \"CTC\", \"cleanup\": true, \"pad_token\": \"\", \"word_delimiter_token\": \"|\"}"), MLCC_INVALID, "pad_token or word_delimiter_token is empty", "decoder"},
    {PART("\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}]}"), MLCC_INVALID, "key 'start' is -1", "decoder.decoders[0]"},
    {PART("\"decoder\": {\"type\": \"BPEDecoder\", \"suffix\": \"\"}"), MLCC_INVALID, "decoder.suffix is empty", "end-of-word"},
    // post_processor
    {PART("\"post_processor\": {\"type\": \"Other\"}"), MLCC_UNSUPPORTED, "post_processor.type is 'Other'", "TemplateProcessing"},
    {PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"special_tokens\": {}}"), MLCC_INVALID, "key 'single' is missing", "reading post_processor"},
    {PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}], \"special_tokens\": {}}"), MLCC_INVALID, "uses '<s>'", "special_tokens"},
    {PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}], \"special_tokens\": {\"<s>\": {\"ids\": [2]}}}"), MLCC_INVALID, "special_tokens['<s>'].ids[0] is 2", "0 to 1"},
    {PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"B\"}}], \"special_tokens\": {}}"), MLCC_INVALID, "sequence 'B'", "'A'"},
    {PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{}], \"special_tokens\": {}}"), MLCC_INVALID, "neither", "'Sequence'"},
    {PART("\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", 7], \"sep\": [\"b\", 1]}"), MLCC_INVALID, "post_processor.cls[1] is 7", "0 to 1"},
    {PART("\"post_processor\": {\"type\": \"Sequence\", \"processors\": [3]}"), MLCC_INVALID, "an integer", "post_processor.processors[0]"},
};
// clang-format on

static void check_error(mlcc_status *status, const broken *expected) {
    char *text = mlcc_status_format(status, 0);
    bool is_right = mlcc_status_code(status) == expected->code && strstr(text, expected->first) &&
                    strstr(text, expected->second) && strstr(text, "tokenizer.json");
    if (!is_right) {
        print_error(
            "%s\ngives\n%swanted '%s' and '%s'\n", expected->json, text, expected->first,
            expected->second);
    }
    free(text);
    assert_true(is_right);
}

static void test_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_tokenizer *tokenizer;
        mlcc_status *status = mlcc_tokenizer_load(
            cases[i].json, strlen(cases[i].json), "DIR/tokenizer.json", &tokenizer);
        if (status == NULL) print_error("%s\nis accepted\n", cases[i].json);
        assert_non_null(status);
        assert_null(tokenizer);
        check_error(status, &cases[i]);
        mlcc_status_free(status);
    }
}

// Every beginning of a good file is an error, and so is every file with one byte changed, or it loads; never anything worse.
static void test_damage(void **state) {
    (void)state;
    char *json = tiny_byte_fallback_json();
    size_t length = strlen(json);
    mlcc_tokenizer *tokenizer;
    for (size_t n = 0; n < length; n += 97) {
        mlcc_status *status = mlcc_tokenizer_load(json, n, "tokenizer.json", &tokenizer);
        assert_non_null(status);
        mlcc_status_free(status);
    }
    for (size_t i = 0; i < length; i += 31) {
        char kept = json[i];
        json[i] = (char)(kept == '}' ? '{' : '}');
        mlcc_status *status = mlcc_tokenizer_load(json, length, "tokenizer.json", &tokenizer);
        mlcc_status_free(status);
        mlcc_tokenizer_close(tokenizer);
        json[i] = kept;
    }
    free(json);
}

// Sequences inside Sequences: refused by the depth limit of JSON, long before the stack ends.
static void test_nesting(void **state) {
    (void)state;
    enum { DEPTH = 500 };
    mlcc_str json = {0};
    mlcc_str_puts(&json, "{\"normalizer\": ");
    for (int i = 0; i < DEPTH; i++) {
        mlcc_str_puts(&json, "{\"type\": \"Sequence\", \"normalizers\": [");
    }
    for (int i = 0; i < DEPTH; i++) mlcc_str_puts(&json, "]}");
    mlcc_str_puts(&json, ", \"model\": {\"type\": \"BPE\", " PLAIN "}}");
    mlcc_tokenizer *tokenizer;
    mlcc_status *status =
        mlcc_tokenizer_load(json.data, json.length, "DIR/tokenizer.json", &tokenizer);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_null(tokenizer);
    mlcc_status_free(status);
    mlcc_str_free(&json);
}

static void test_missing_file(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer;
    mlcc_status *status = mlcc_tokenizer_open("tests/unit/runtime/no such folder", &tokenizer);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_non_null(strstr(mlcc_status_message(status), "no such folder/tokenizer.json"));
    assert_null(tokenizer);
    mlcc_status_free(status);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
