// Every kind of tokenizer file, in small: the folders of tokenizer_kinds/ (made by tests/oracle/tokenizer_fixtures.py) and the ids and texts that
// Hugging Face tokenizers, SentencePiece and tiktoken give.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/base/file.h"
#include "runtime/base/json.h"

static const char root[] = "tests/unit/runtime/tokenizer_kinds";

static void check_encoding(
    const mlcc_tokenizer *tokenizer, const mlcc_json_value *vector, const char *key,
    bool add_special) {
    const mlcc_json_value *list = mlcc_json_get(vector, key);
    if (list == NULL) return; // the reference has no such mode
    size_t length;
    const char *text = mlcc_json_text(mlcc_json_get(vector, "text"), &length);
    size_t n_ids = mlcc_json_count(list);
    int32_t *ids = calloc(n_ids + 1, sizeof *ids);
    for (size_t i = 0; i < n_ids; i++) ids[i] = (int32_t)mlcc_json_int(mlcc_json_at(list, i));
    tiny_assert_ids(tokenizer, text, length, add_special, ids, n_ids);
    free(ids);
}

// At once and as a stream.
static void check_decoding(
    const mlcc_tokenizer *tokenizer, const mlcc_json_value *vector, const char *key,
    bool skip_special) {
    size_t wanted_bytes;
    const char *wanted = mlcc_json_text(mlcc_json_get(vector, key), &wanted_bytes);
    if (wanted == NULL) return;
    const mlcc_json_value *list = mlcc_json_get(vector, "ids");
    size_t n_ids = mlcc_json_count(list);
    int32_t *ids = calloc(n_ids + 1, sizeof *ids);
    for (size_t i = 0; i < n_ids; i++) ids[i] = (int32_t)mlcc_json_int(mlcc_json_at(list, i));
    char *text;
    size_t length;
    tiny_require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, skip_special, &text, &length));
    assert_string_equal(text, wanted);
    assert_int_equal(length, wanted_bytes);
    free(text);

    mlcc_text_stream *stream;
    mlcc_str joined = {0};
    const char *part;
    tiny_require(mlcc_text_stream_create(tokenizer, skip_special, &stream));
    for (size_t i = 0; i < n_ids; i++) {
        tiny_require(mlcc_text_stream_push(stream, ids[i], &part, &length));
        mlcc_str_append(&joined, part, length);
    }
    tiny_require(mlcc_text_stream_finish(stream, &part, &length));
    mlcc_str_append(&joined, part, length);
    assert_string_equal(mlcc_str_text(&joined), wanted);
    mlcc_str_free(&joined);
    mlcc_text_stream_free(stream);
    free(ids);
}

static void check_folder(mlcc_arena *arena, const char *folder, const char *cache) {
    mlcc_tokenizer *tokenizer;
    mlcc_json *document;
    const mlcc_tokenizer_options options = {
        .directory = folder, .no_cache = cache == NULL, .cache_directory = cache};
    tiny_require(mlcc_tokenizer_open_with(&options, &tokenizer));
    tiny_require(mlcc_json_read_file(mlcc_path_join(arena, folder, "vectors.json"), 0, &document));
    const mlcc_json_value *vectors = mlcc_json_root(document);
    assert_true(mlcc_json_count(vectors) > 30);
    for (size_t i = 0; i < mlcc_json_count(vectors); i++) {
        const mlcc_json_value *vector = mlcc_json_at(vectors, i);
        check_encoding(tokenizer, vector, "ids", true);
        check_encoding(tokenizer, vector, "ids_without_special", false);
        check_decoding(tokenizer, vector, "decoded", true);
        check_decoding(tokenizer, vector, "decoded_with_special", false);
    }
    mlcc_json_free(document);
    mlcc_tokenizer_close(tokenizer);
}

// From the files, while the cache is written, and from the cache.
static void test_kind(void **state) {
    mlcc_arena *arena = mlcc_arena_create();
    const char *folder = mlcc_path_join(arena, root, *state);
    char cache[] = "/tmp/mlcc-kinds-XXXXXX";
    char **names;
    size_t n_names;
    assert_non_null(mkdtemp(cache));
    check_folder(arena, folder, NULL);
    check_folder(arena, folder, cache);
    const char *kept = mlcc_path_join(arena, cache, "tokenizers");
    tiny_require(mlcc_dir_list(kept, arena, &names, &n_names));
    assert_int_equal(n_names, 1);
    check_folder(arena, folder, cache);
    tiny_require(mlcc_dir_remove_tree(cache));
    mlcc_arena_free(arena);
}

int main(void) {
    static char folders[][24] = {
        "wordpiece",        "wordpiece_cased", "wordlevel",      "unigram", "unigram_bytes",
        "precompiled",      "bpe_suffix",      "bpe_byte_level", "sp_bpe",  "sp_unigram",
        "fixed_length_ctc", "scripts",         "cl100k",
    };
    enum { N_FOLDERS = sizeof folders / sizeof *folders };
    struct CMUnitTest tests[N_FOLDERS];
    for (size_t i = 0; i < N_FOLDERS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = folders[i], .test_func = test_kind, .initial_state = folders[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
