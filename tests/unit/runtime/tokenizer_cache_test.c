// The tokenizer cache: when it is used, written again and refused. That cached tokenizers give the same ids is the matter of
// tokenizer_kinds_test and tokenizer_vectors_test.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/log.h"
#include "runtime/text/tokenizer_cache.h"
#include "runtime/text/tokenizer_pack.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fixture {
    mlcc_arena *arena;
    char directory[40];
    const char *json, *beside, *cache_directory;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    f->arena = mlcc_arena_create();
    strcpy(f->directory, "/tmp/mlcc-tokenizer-XXXXXX");
    if (mkdtemp(f->directory) == NULL) return -1;
    f->json = mlcc_path_join(f->arena, f->directory, "tokenizer.json");
    f->beside = mlcc_path_join(f->arena, f->directory, MLCC_TOKENIZER_CACHE_FILE);
    f->cache_directory = mlcc_path_join(f->arena, f->directory, "elsewhere");
    setenv("MLCC_CACHE_DIR", f->cache_directory, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    unsetenv("MLCC_CACHE_DIR");
    tiny_require(mlcc_dir_remove_tree(f->directory));
    mlcc_arena_free(f->arena);
    free(f);
    return 0;
}

// A byte-level model of `n_words` words that are added tokens, too; `mark` makes another file of the same size.
static void write_json(const fixture *f, size_t n_words, char mark) {
    mlcc_str json = {0};
    mlcc_str_puts(
        &json, "{\"version\": \"1.0\", \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
               "\"add_prefix_space\": false, \"use_regex\": false}, \"decoder\": {\"type\": "
               "\"ByteLevel\"}, "
               "\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}], "
               "\"model\": {\"type\": \"BPE\", \"ignore_merges\": true, \"unk_token\": \"<u>\", "
               "\"fuse_unk\": true, "
               "\"vocab\": {\"<u>\": 0, \"<s>\": 1");
    for (size_t i = 0; i < n_words; i++)
        mlcc_str_printf(&json, ", \"word%c%zu\": %zu", mark, i, i + 2);
    mlcc_str_puts(&json, "}, \"merges\": []}}");
    tiny_require(mlcc_file_write_atomic(f->json, json.data, json.length));
    mlcc_str_free(&json);
}

static int32_t id_of(const fixture *f, const mlcc_tokenizer_options *more, const char *text) {
    mlcc_tokenizer_options options = more != NULL ? *more : (mlcc_tokenizer_options){0};
    options.directory = f->directory;
    mlcc_tokenizer *tokenizer;
    tiny_require(mlcc_tokenizer_open_with(&options, &tokenizer));
    int32_t *ids;
    size_t n_ids;
    tiny_require(mlcc_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &n_ids));
    assert_int_equal(n_ids, 1);
    int32_t id = ids[0];
    free(ids);
    mlcc_tokenizer_close(tokenizer);
    return id;
}

static ino_t file_number(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_ino;
}

enum { MANY = 20000 }; // a file of more than 256 KiB

static void test_beside_the_model(void **state) {
    const fixture *f = *state;
    write_json(f, 10, 'a');
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    assert_false(mlcc_file_exists(f->beside)); // too small to be worth it
    write_json(f, MANY, 'a');
    const mlcc_tokenizer_options without = {.no_cache = true};
    assert_int_equal(id_of(f, &without, "worda7"), 9);
    assert_false(mlcc_file_exists(f->beside));
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    assert_true(mlcc_file_exists(f->beside));
    assert_false(mlcc_dir_exists(f->cache_directory));
    const ino_t first = file_number(f->beside);
    assert_int_equal(id_of(f, NULL, "worda19999"), 20001);
    assert_int_equal(file_number(f->beside), first); // used, not written again
}

static void test_other_content_is_read_again(void **state) {
    const fixture *f = *state;
    write_json(f, MANY, 'a');
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    const ino_t first = file_number(f->beside);
    write_json(f, MANY, 'b');
    assert_int_equal(id_of(f, NULL, "wordb7"), 9);
    assert_int_equal(id_of(f, NULL, "worda7"), 0); // unknown now
    assert_int_not_equal(file_number(f->beside), first);
}

static void test_where_the_folder_cannot_be_written(void **state) {
    const fixture *f = *state;
    write_json(f, MANY, 'a');
    // A folder where the file would lie: a file cannot take its place, whoever runs this.
    tiny_require(mlcc_dir_make(f->beside));
    for (int i = 0; i < 2; i++) assert_int_equal(id_of(f, NULL, "worda7"), 9);
    char **names;
    size_t n_names;
    const char *kept = mlcc_path_join(f->arena, f->cache_directory, "tokenizers");
    tiny_require(mlcc_dir_list(kept, f->arena, &names, &n_names));
    assert_int_equal(n_names, 1);
    assert_true(mlcc_text_ends_with(names[0], ".tokenizer"));
    // Nowhere at all.
    tiny_require(mlcc_dir_remove_tree(f->cache_directory));
    tiny_require(mlcc_file_write_atomic(f->cache_directory, "x", 1));
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    tiny_require(mlcc_file_remove(f->cache_directory));
}

// ---- damage ----------------------------------------------------------------------------------------------------

static void count_warnings(
    void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)area;
    if (level == MLCC_LOG_WARN && strstr(message, "is ignored") != NULL) ++*(size_t *)user;
}

static void test_damage_is_seen(void **state) {
    const fixture *f = *state;
    size_t n_warnings = 0, n_expected = 0;
    write_json(f, MANY, 'a');
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    char *good;
    size_t size_bytes;
    tiny_require(mlcc_file_read(f->beside, 0, &good, &size_bytes));
    mlcc_log_set(count_warnings, &n_warnings, MLCC_LOG_WARN);
    // One bit, in the header and all over the payload; whole zeros; every kind of end.
    for (size_t i = 0; i < 40; i++) {
        size_t at = i < 8 ? i * 8 : 4096 + (size_bytes - 4097) * (i - 8) / 31;
        good[at] = (char)(good[at] ^ 4);
        tiny_require(mlcc_file_write_atomic(f->beside, good, size_bytes));
        good[at] = (char)(good[at] ^ 4);
        assert_int_equal(id_of(f, NULL, "worda7"), 9);
        // Another key or version is no damage, once the header's hash holds; here it does not.
        assert_int_equal(n_warnings, ++n_expected);
    }
    static const size_t ends[] = {0, 1, 63, 72, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        tiny_require(mlcc_file_write_atomic(f->beside, good, ends[i]));
        assert_int_equal(id_of(f, NULL, "worda7"), 9);
        assert_int_equal(n_warnings, ++n_expected);
    }
    assert_int_equal(id_of(f, NULL, "worda7"), 9);
    assert_int_equal(n_warnings, n_expected); // it was written again
    mlcc_log_set(NULL, NULL, MLCC_LOG_WARN);
    free(good);
}

// What the hashes would let pass: packed bytes that somebody changed and signed again. Each is refused or makes a tokenizer that works.
static void test_forged_numbers(void **state) {
    (void)state;
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    mlcc_bytes packed = {0};
    tiny_require(mlcc_tokenizer_pack(tokenizer, &packed));
    mlcc_tokenizer_close(tokenizer);
    char *copy = aligned_alloc(64, (packed.length + 63) / 64 * 64);
    assert_non_null(copy);
    size_t n_refused = 0, n_taken = 0;
    static const unsigned char values[] = {0x00, 0x7F, 0x80, 0xFF};
    memcpy(copy, packed.data, packed.length);
    for (size_t at = 0; at < packed.length; at++) {
        if (at != 0) copy[at - 1] = packed.data[at - 1];
        copy[at] = (char)values[at % 4];
        mlcc_tokenizer *forged;
        mlcc_status *status = mlcc_tokenizer_unpack(copy, packed.length, &forged);
        n_refused += status != NULL;
        n_taken += status == NULL;
        if (status != NULL) {
            assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
            mlcc_status_free(status);
            continue;
        }
        int32_t *ids = NULL;
        size_t n_ids = 0, length = 0;
        char *text = NULL;
        static const char sample[] = "hello <s> w\xC3\xB6rld 123\n";
        mlcc_status_free(
            mlcc_tokenizer_encode(forged, sample, sizeof sample - 1, true, &ids, &n_ids));
        mlcc_status_free(mlcc_tokenizer_decode(forged, ids, n_ids, false, &text, &length));
        free(ids);
        free(text);
        mlcc_tokenizer_close(forged);
    }
    for (size_t length = 0; length < packed.length; length += 1 + length / 50) {
        mlcc_tokenizer *forged;
        mlcc_status *status = mlcc_tokenizer_unpack(packed.data, length, &forged);
        assert_non_null(status);
        mlcc_status_free(status);
    }
    assert_true(n_refused > 500 && n_taken > 500);
    free(copy);
    mlcc_bytes_free(&packed);
}

// ---- many at once ----------------------------------------------------------------------------------------------

static void *open_often(void *state) {
    const fixture *f = state;
    for (int i = 0; i < 5; i++) assert_int_equal(id_of(f, NULL, "worda7"), 9);
    return NULL;
}

static void test_writers_at_once(void **state) {
    fixture *f = *state;
    enum { N_PROCESSES = 4, N_THREADS = 3 };
    write_json(f, MANY, 'a');
    pid_t children[N_PROCESSES];
    for (int i = 0; i < N_PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            for (int k = 0; k < 6; k++) {
                if (k % 2 == 0) unlink(f->beside); // so that all of them write
                if (id_of(f, NULL, "worda7") != 9) _exit(1);
            }
            _exit(0);
        }
    }
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_often, f), 0);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < N_PROCESSES; i++) {
        int result = 0;
        assert_int_equal(waitpid(children[i], &result, 0), children[i]);
        assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    }
    char **names;
    size_t n_names;
    tiny_require(mlcc_dir_list(f->directory, f->arena, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) assert_null(strstr(names[i], ".tmp."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_beside_the_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_content_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_the_folder_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_seen, set_up, tear_down),
        cmocka_unit_test(test_forged_numbers),
        cmocka_unit_test_setup_teardown(test_writers_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
