// Real tokenizers against the ids and texts that Hugging Face tokenizers gives, and against llama.cpp's own vectors.
// The data lies outside the project ($MLCC_DATA, default ../shared/data); without it the test skips.
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/mlcc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *data_path(mlcc_arena *keep, const char *name) {
    const char *root = getenv("MLCC_DATA");
    return mlcc_arena_printf(keep, "%s/%s", root != NULL ? root : "../shared/data", name);
}

static void require(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

// ---- one vector ------------------------------------------------------------------------------------------

static void assert_ids(
    const char *where, const mlcc_json_value *expected, const int32_t *ids, size_t n_ids) {
    bool is_equal = mlcc_json_count(expected) == n_ids;
    for (size_t i = 0; is_equal && i < n_ids; i++) {
        is_equal = mlcc_json_int(mlcc_json_at(expected, i)) == ids[i];
    }
    if (is_equal) return;
    print_error("%s: expected", where);
    for (size_t i = 0; i < mlcc_json_count(expected); i++) {
        print_error(" %d", (int)mlcc_json_int(mlcc_json_at(expected, i)));
    }
    print_error("\n%s: got     ", where);
    for (size_t i = 0; i < n_ids; i++) print_error(" %d", ids[i]);
    print_error("\n");
    fail();
}

static void check_encoding(
    const mlcc_tokenizer *tokenizer, const char *where, const mlcc_json_value *vector,
    const char *key, bool add_special) {
    size_t length;
    const char *text = mlcc_json_text(mlcc_json_get(vector, "text"), &length);
    int32_t *ids;
    size_t n_ids;
    require(mlcc_tokenizer_encode(tokenizer, text, length, add_special, &ids, &n_ids));
    assert_ids(where, mlcc_json_get(vector, key), ids, n_ids);
    free(ids);
}

static void assert_text(
    const char *where, const mlcc_json_value *expected, const char *text, size_t length) {
    size_t expected_bytes;
    const char *wanted = mlcc_json_text(expected, &expected_bytes);
    if (expected_bytes == length && memcmp(wanted, text, length) == 0) return;
    print_error("%s: expected '%s'\n%s: got      '%s'\n", where, wanted, where, text);
    fail();
}

// Decodes at once and as a stream.
static void check_decoding(
    const mlcc_tokenizer *tokenizer, const char *where, const mlcc_json_value *vector,
    const char *key, bool skip_special) {
    const mlcc_json_value *list = mlcc_json_get(vector, "ids");
    size_t n_ids = mlcc_json_count(list);
    int32_t *ids = calloc(n_ids + 1, sizeof *ids);
    for (size_t i = 0; i < n_ids; i++) ids[i] = (int32_t)mlcc_json_int(mlcc_json_at(list, i));
    char *text;
    size_t length;
    require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, skip_special, &text, &length));
    assert_text(where, mlcc_json_get(vector, key), text, length);
    free(text);

    mlcc_text_stream *stream;
    mlcc_str joined = {0};
    const char *part;
    require(mlcc_text_stream_create(tokenizer, skip_special, &stream));
    for (size_t i = 0; i < n_ids; i++) {
        require(mlcc_text_stream_push(stream, ids[i], &part, &length));
        mlcc_str_append(&joined, part, length);
    }
    require(mlcc_text_stream_finish(stream, &part, &length));
    mlcc_str_append(&joined, part, length);
    assert_text(where, mlcc_json_get(vector, key), mlcc_str_text(&joined), joined.length);
    mlcc_str_free(&joined);
    mlcc_text_stream_free(stream);
    free(ids);
}

// ---- folders ---------------------------------------------------------------------------------------------

static void check_vectors(
    mlcc_arena *arena, const char *folder, const char *directory, const char *cache,
    const mlcc_json *document) {
    mlcc_tokenizer *tokenizer;
    const mlcc_tokenizer_options options = {.directory = directory, .cache_directory = cache};
    require(mlcc_tokenizer_open_with(&options, &tokenizer));
    const mlcc_json_value *vectors = mlcc_json_root(document);
    assert_true(mlcc_json_count(vectors) > 50);
    for (size_t i = 0; i < mlcc_json_count(vectors); i++) {
        const mlcc_json_value *vector = mlcc_json_at(vectors, i);
        const char *where = mlcc_arena_printf(arena, "%s[%zu]", folder, i);
        check_encoding(tokenizer, where, vector, "ids", true);
        check_encoding(tokenizer, where, vector, "ids_without_special", false);
        check_decoding(tokenizer, where, vector, "decoded", true);
        check_decoding(tokenizer, where, vector, "decoded_with_special", false);
    }
    mlcc_tokenizer_close(tokenizer);
}

static void check_folder(const char *folder) {
    mlcc_arena *arena = mlcc_arena_create();
    char *directory = data_path(arena, folder);
    char *path = mlcc_path_join(arena, directory, "vectors.json");
    if (!mlcc_file_exists(path)) {
        mlcc_arena_free(arena);
        print_message("%s is not there\n", folder);
        skip();
    }
    mlcc_json *document;
    require(mlcc_json_read_file(path, 0, &document));
    char cache[] = "/tmp/mlcc-vectors-XXXXXX";
    assert_non_null(mkdtemp(cache));
    // From the files (and into the cache), then from the cache.
    for (int pass = 0; pass < 2; pass++) check_vectors(arena, folder, directory, cache, document);
    require(mlcc_dir_remove_tree(cache));
    mlcc_json_free(document);
    mlcc_arena_free(arena);
}

static void test_vectors(void **state) {
    check_folder(*state);
}

// ---- llama.cpp ---------------------------------------------------------------------------------------------

typedef struct pairing {
    const char *vectors, *folder;
    // Texts (by number) on which the two reference implementations themselves disagree.
    const char *known_differences;
} pairing;

static bool is_listed(const char *list, size_t number) {
    char text[16];
    snprintf(text, sizeof text, " %zu ", number);
    return strstr(list, text) != NULL;
}

static void check_line(
    const mlcc_tokenizer *tokenizer, const pairing *pair, size_t number, const char *text,
    size_t length, char *line) {
    int32_t *ids;
    size_t n_ids;
    require(mlcc_tokenizer_encode(tokenizer, text, length, false, &ids, &n_ids));
    mlcc_str got = {0};
    for (size_t i = 0; i < n_ids; i++) mlcc_str_printf(&got, " %d", ids[i]);
    bool is_equal = strcmp(mlcc_str_text(&got), line) == 0;
    if (is_equal == is_listed(pair->known_differences, number)) {
        print_error(
            "%s text %zu: '%.*s'\n expected%s\n got     %s\n", pair->vectors, number, (int)length,
            text, line, mlcc_str_text(&got));
        fail();
    }
    mlcc_str_free(&got);
    free(ids);
}

static void test_llama_cpp(void **state) {
    const pairing *pair = *state;
    static const char separator[] = "\n__ggml_vocab_test__\n";
    mlcc_arena *arena = mlcc_arena_create();
    const char *stem = mlcc_arena_printf(
        arena, "%s/ggml-vocab-%s.gguf", data_path(arena, "tokenizers/llama.cpp-vectors"),
        pair->vectors);
    char *directory = data_path(arena, mlcc_arena_printf(arena, "tokenizers/%s", pair->folder));
    char *inputs;
    char *outputs;
    size_t n_input_bytes, n_output_bytes;
    if (!mlcc_file_exists(mlcc_arena_printf(arena, "%s.inp", stem))) {
        mlcc_arena_free(arena);
        skip();
    }
    require(mlcc_file_read(mlcc_arena_printf(arena, "%s.inp", stem), 0, &inputs, &n_input_bytes));
    require(mlcc_file_read(mlcc_arena_printf(arena, "%s.out", stem), 0, &outputs, &n_output_bytes));
    mlcc_tokenizer *tokenizer;
    const mlcc_tokenizer_options options = {.directory = directory, .no_cache = true};
    require(mlcc_tokenizer_open_with(&options, &tokenizer));
    char *text = inputs;
    char *line = outputs;
    size_t number = 0;
    for (;;) {
        char *text_end =
            memmem(text, n_input_bytes - (size_t)(text - inputs), separator, sizeof separator - 1);
        char *line_end = strchr(line, '\n');
        if (text_end == NULL || line_end == NULL) break;
        *line_end = '\0';
        check_line(tokenizer, pair, number++, text, (size_t)(text_end - text), line);
        text = text_end + sizeof separator - 1;
        line = line_end + 1;
    }
    assert_int_equal(number, 46);
    mlcc_tokenizer_close(tokenizer);
    free(inputs);
    free(outputs);
    mlcc_arena_free(arena);
}

int main(void) {
    static char folders[][40] = {
        "models/stories260K",    "tokenizers/deepseek-llm",    "tokenizers/gemma-style",
        "tokenizers/gpt-2",      "tokenizers/llama-2-from-sp", "tokenizers/llama-3.2",
        "tokenizers/mistral-v1", "tokenizers/mistral-v3",      "tokenizers/phi-3-gguf",
        "tokenizers/qwen2.5",    "tokenizers/bert-bge",
    };
    static pairing pairs[] = {
        {"llama-bpe", "llama-3.2", " "},
        {"qwen2", "qwen2.5", " "},
        {"gpt-2", "gpt-2", " "},
        {"deepseek-llm", "deepseek-llm", " "},
        {"deepseek-r1-qwen", "qwen2.5", " "},
        {"llama-spm", "llama-2-from-sp", " "},
        {"phi-3", "phi-3-gguf", " "},
        {"bert-bge", "bert-bge", " "},
    };
    enum { N_FOLDERS = sizeof folders / sizeof *folders, N_PAIRS = sizeof pairs / sizeof *pairs };
    struct CMUnitTest tests[N_FOLDERS + N_PAIRS];
    for (size_t i = 0; i < N_FOLDERS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = folders[i], .test_func = test_vectors, .initial_state = folders[i]};
    }
    for (size_t i = 0; i < N_PAIRS; i++) {
        tests[N_FOLDERS + i] = (struct CMUnitTest){
            .name = pairs[i].vectors, .test_func = test_llama_cpp, .initial_state = &pairs[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
