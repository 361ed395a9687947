// tiny_tokenizer: two small tokenizer.json texts of our own, one of each kind, so that the tests need no data from outside.
//
//   byte-level (as GPT-2 and Llama 3):       ids 0–255 are the bytes, 256 … the merges below, then the added tokens
//   byte fallback (as SentencePiece models): <unk> <s> </s>, 3–258 the bytes "<0x00>" …, 259 '▁', 260–285 a–z, then the merges
#ifndef MLCC_TESTS_UNIT_RUNTIME_TINY_TOKENIZER_H
#define MLCC_TESTS_UNIT_RUNTIME_TINY_TOKENIZER_H

#include "runtime/base/str.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static inline void tiny_require(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

static inline void tiny_put_vocab(mlcc_str *json, const char *piece, size_t length, int id) {
    if (id != 0) mlcc_str_puts(json, ", ");
    mlcc_str_put_json(json, piece, length, false);
    mlcc_str_printf(json, ": %d", id);
}

// Writes "vocab": {…}, "merges": […]; `pieces` (n_pieces of them) come first, merges ("a b") get the ids behind.
static inline int tiny_put_merges(mlcc_str *json, const char *const *merges, size_t n, int id) {
    for (size_t i = 0; i < n; i++) {
        const char *space = strchr(merges[i], ' ');
        mlcc_str joined = {0};
        mlcc_str_append(&joined, merges[i], (size_t)(space - merges[i]));
        mlcc_str_puts(&joined, space + 1);
        tiny_put_vocab(json, joined.data, joined.length, id++);
        mlcc_str_free(&joined);
    }
    mlcc_str_puts(json, "}, \"merges\": [");
    for (size_t i = 0; i < n; i++) {
        if (i != 0) mlcc_str_puts(json, ", ");
        mlcc_str_put_json(json, merges[i], strlen(merges[i]), false);
    }
    mlcc_str_puts(json, "]");
    return id;
}

static inline void tiny_put_added(mlcc_str *json, int id, const char *content, const char *flags) {
    mlcc_str_printf(json, "{\"id\": %d, \"content\": ", id);
    mlcc_str_put_json(json, content, strlen(content), false);
    mlcc_str_printf(json, ", %s}", flags);
}

static const char tiny_plain_flags[] = "\"single_word\": false, \"lstrip\": false, \"rstrip\": "
                                       "false, \"normalized\": false, \"special\": false";
static const char tiny_special_flags[] = "\"single_word\": false, \"lstrip\": false, \"rstrip\": "
                                         "false, \"normalized\": false, \"special\": true";

// The first id behind the merges: <|begin|>; then <|end|>, then the plain <tool>.
enum { TINY_BYTE_LEVEL_BEGIN = 256 + 14 };

static inline char *tiny_byte_level_json(void) {
    static const char *const merges[] = {
        "Ġ t",  "h e", "Ġt he",  "l l",     "he ll", "hell o", "Ġ w",
        "Ġw o", "r l", "Ġwo rl", "Ġworl d", "Ã ©",   "Ġ Ġ",    "ĠĠ ĠĠ",
    };
    mlcc_str json = {0};
    mlcc_str_puts(&json, "{\"version\": \"1.0\", \"added_tokens\": [");
    tiny_put_added(&json, TINY_BYTE_LEVEL_BEGIN, "<|begin|>", tiny_special_flags);
    mlcc_str_puts(&json, ", ");
    tiny_put_added(&json, TINY_BYTE_LEVEL_BEGIN + 1, "<|end|>", tiny_special_flags);
    mlcc_str_puts(&json, ", ");
    tiny_put_added(&json, TINY_BYTE_LEVEL_BEGIN + 2, "<tool>", tiny_plain_flags);
    mlcc_str_puts(
        &json,
        "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": "
        "[{\"type\": \"Split\", "
        "\"pattern\": {\"Regex\": "
        "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
        " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
        "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": false, "
        "\"trim_offsets\": true, \"use_regex\": false}]}, "
        "\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": true, \"trim_offsets\": false, \"use_regex\": true}, {\"type\": "
        "\"TemplateProcessing\", "
        "\"single\": [{\"SpecialToken\": {\"id\": \"<|begin|>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"Sequence\": {\"id\": "
        "\"A\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {\"<|begin|>\": "
        "{\"id\": \"<|begin|>\", "
        "\"ids\": [270], \"tokens\": [\"<|begin|>\"]}}}]}, "
        "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": "
        "true, \"use_regex\": true}, "
        "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
        "\"continuing_subword_prefix\": null, "
        "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, "
        "\"ignore_merges\": false, "
        "\"vocab\": {");
    for (int byte = 0; byte < 256; byte++) {
        char piece[MLCC_UTF8_MAX_BYTES];
        size_t length = mlcc_utf8_encode(mlcc_byte_to_character((unsigned char)byte), piece);
        tiny_put_vocab(&json, piece, length, byte);
    }
    tiny_put_merges(&json, merges, sizeof merges / sizeof *merges, 256);
    mlcc_str_puts(&json, "}}");
    return json.data;
}

static inline char *tiny_byte_fallback_json(void) {
    static const char *const merges[] = {
        "▁ t", "h e",  "▁t he", "l l",    "he ll",   "hell o",
        "▁ w", "▁w o", "r l",   "▁wo rl", "▁worl d", "▁ ▁",
    };
    mlcc_str json = {0};
    mlcc_str_puts(&json, "{\"version\": \"1.0\", \"added_tokens\": [");
    tiny_put_added(&json, 0, "<unk>", tiny_special_flags);
    mlcc_str_puts(&json, ", ");
    tiny_put_added(&json, 1, "<s>", tiny_special_flags);
    mlcc_str_puts(&json, ", ");
    tiny_put_added(&json, 2, "</s>", tiny_special_flags);
    mlcc_str_puts(
        &json,
        "], \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
        "\"prepend\": \"▁\"}, "
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]}, "
        "\"pre_tokenizer\": null, "
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
        "{\"id\": \"<s>\", "
        "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": "
        "[{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", "
        "\"type_id\": 1}}], "
        "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}}, "
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
        "{\"String\": \"▁\"}, "
        "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": "
        "\"Strip\", "
        "\"content\": \" \", \"start\": 1, \"stop\": 0}]}, "
        "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\", "
        "\"continuing_subword_prefix\": null, "
        "\"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, "
        "\"ignore_merges\": false, "
        "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2");
    for (int byte = 0; byte < 256; byte++)
        mlcc_str_printf(&json, ", \"<0x%02X>\": %d", (unsigned)byte, byte + 3);
    mlcc_str_puts(&json, ", \"▁\": 259");
    for (int letter = 0; letter < 26; letter++)
        mlcc_str_printf(&json, ", \"%c\": %d", 'a' + letter, 260 + letter);
    tiny_put_merges(&json, merges, sizeof merges / sizeof *merges, 286);
    mlcc_str_puts(&json, "}}");
    return json.data;
}

static inline mlcc_tokenizer *tiny_load(char *json) {
    mlcc_tokenizer *tokenizer;
    tiny_require(mlcc_tokenizer_load(json, strlen(json), "tiny.json", &tokenizer));
    free(json);
    return tokenizer;
}

static inline void tiny_assert_ids(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
    const int32_t *expected, size_t n_expected) {
    int32_t *ids;
    size_t n_ids;
    tiny_require(mlcc_tokenizer_encode(tokenizer, text, length, add_special, &ids, &n_ids));
    bool is_equal = n_ids == n_expected;
    for (size_t i = 0; is_equal && i < n_ids; i++) is_equal = ids[i] == expected[i];
    if (!is_equal) {
        print_error("text '%s'\n expected", length == 0 ? "" : text);
        for (size_t i = 0; i < n_expected; i++) print_error(" %d", expected[i]);
        print_error("\n got     ");
        for (size_t i = 0; i < n_ids; i++) print_error(" %d", ids[i]);
        print_error("\n");
    }
    free(ids);
    assert_true(is_equal);
}

static inline void tiny_assert_text(
    const mlcc_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
    const char *expected) {
    char *text;
    size_t length;
    tiny_require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, skip_special, &text, &length));
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
    free(text);
}

#define TINY_IDS(...) \
    (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

#endif
