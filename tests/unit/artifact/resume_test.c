// Conversions that are killed and continued: whatever the moment, the result is byte for byte that of
// an uninterrupted one.
#include "dist/artifact/convert_weight.h"

#include "runtime/base/log.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <signal.h>
#include <sys/wait.h>

// 72 million weights: as float16 a few shards, some records with a shard of their own.
static const char config_text[] =
    "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"hidden_size\": 1024, "
    "\"intermediate_size\": 2816, \"max_position_embeddings\": 64, \"num_attention_heads\": 16, "
    "\"num_key_value_heads\": 4, \"num_hidden_layers\": 4, \"rms_norm_eps\": 1e-05, "
    "\"vocab_size\": 12000, \"tie_word_embeddings\": false}";

static mlcc_str warnings;

static void keep_warnings(void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)user;
    if (level <= MLCC_LOG_WARN) mlcc_str_printf(&warnings, "%s: %s\n", area, message);
}

typedef struct place {
    mlcc_arena *keep;
    char *dir, *out, *whole;
} place;

static artifact_convert_options options_of(const place *p, const char *out, bool resume) {
    return (artifact_convert_options){.config = p->dir,
                                      .quantization = "q0f16",
                                      .random_weights = true,
                                      .output = out,
                                      .n_threads = 2,
                                      .resume = resume};
}

static int set_up(void **state) {
    mlcc_arena *keep = mlcc_arena_create();
    place *p = MLCC_NEW(keep, place);
    p->keep = keep;
    p->dir = test_folder_make(keep);
    p->out = mlcc_path_join(keep, p->dir, "out");
    p->whole = mlcc_path_join(keep, p->dir, "whole");
    write_text(p->dir, "config.json", config_text);
    mlcc_log_set(keep_warnings, NULL, MLCC_LOG_WARN);
    const artifact_convert_options options = options_of(p, p->whole, false);
    artifact_convert_result result;
    must(artifact_convert_weight(&options, &result));
    assert_true(result.totals.n_shards >= 4);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    place *p = *state;
    must(mlcc_dir_remove_tree(p->dir));
    mlcc_arena_free(p->keep);
    mlcc_str_free(&warnings);
    return 0;
}

static int before_each(void **state) {
    place *p = *state;
    mlcc_str_clear(&warnings);
    must(mlcc_dir_remove_tree(p->out));
    return 0;
}

static void die_at(void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    (void)done_bytes;
    (void)total_bytes;
    int *n_left = user;
    if (strcmp(phase, "check") != 0 && (*n_left)-- == 0) raise(SIGKILL);
}

// Converts in a process that dies after `n_calls` blocks; true when it died.
static bool convert_until(const place *p, int n_calls, bool resume) {
    const pid_t child = fork();
    if (child == 0) {
        artifact_convert_options options = options_of(p, p->out, resume);
        options.progress = die_at;
        options.progress_user = &n_calls;
        mlcc_status *status = artifact_convert_weight(&options, NULL);
        _exit(status == NULL ? 0 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (!WIFSIGNALED(result)) assert_int_equal(result, 0);
    return WIFSIGNALED(result);
}

static uint64_t resume_fully(const place *p) {
    const artifact_convert_options options = options_of(p, p->out, true);
    artifact_convert_result result;
    must(artifact_convert_weight(&options, &result));
    return result.totals.n_resumed_shards;
}

static void same_as_whole(const place *p) {
    const char *names = names_in(p->whole, p->keep);
    assert_string_equal(names_in(p->out, p->keep), names);
    char **list = NULL;
    size_t n = 0;
    must(mlcc_dir_list(p->whole, p->keep, &list, &n));
    for (size_t i = 0; i < n; i++) {
        mlcc_mapping a, b;
        must(mlcc_file_map(mlcc_path_join(p->keep, p->whole, list[i]), &a));
        must(mlcc_file_map(mlcc_path_join(p->keep, p->out, list[i]), &b));
        assert_int_equal(a.size_bytes, b.size_bytes);
        assert_true(memcmp(a.data, b.data, a.size_bytes) == 0);
        mlcc_file_unmap(&a);
        mlcc_file_unmap(&b);
    }
}

// The folder that a killed conversion left.
static const char *staging_of(const place *p) {
    char **names = NULL;
    size_t n = 0;
    must(mlcc_dir_list(p->out, p->keep, &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (mlcc_text_starts_with(names[i], ".mlcc-store."))
            return mlcc_path_join(p->keep, p->out, names[i]);
    }
    return NULL;
}

static void killed_and_resumed(void **state) {
    const place *p = *state;
    bool died = true;
    uint64_t most = 0;
    for (int n_calls = 0; died; n_calls += 1 + n_calls / 2) {
        must(mlcc_dir_remove_tree(p->out));
        died = convert_until(p, n_calls, n_calls % 2 == 1);
        if (died) {
            const uint64_t n_resumed = resume_fully(p);
            if (n_resumed > most) most = n_resumed;
        }
        same_as_whole(p);
    }
    assert_true(most >= 3);
    assert_string_equal(mlcc_str_text(&warnings), "");
}

static void killed_again_and_again(void **state) {
    const place *p = *state;
    int n_deaths = 0;
    while (n_deaths < 50 && convert_until(p, 20, true)) n_deaths++;
    assert_true(n_deaths >= 2);
    same_as_whole(p);
}

static void damaged_shards_are_made_again(void **state) {
    const place *p = *state;
    assert_true(convert_until(p, 30, false));
    const char *path = mlcc_path_join(p->keep, staging_of(p), "params_shard_1.bin");
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 12345, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, 12345, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    fclose(file);
    // A line that was cut off, and a shard that is gone.
    const char *journal = mlcc_path_join(p->keep, staging_of(p), "journal.jsonl");
    file = fopen(journal, "ab");
    assert_non_null(file);
    fputs("{\"opened\": 9, \"sha", file);
    fclose(file);
    must(mlcc_file_remove(mlcc_path_join(p->keep, staging_of(p), "params_shard_0.bin")));
    (void)resume_fully(p);
    assert_non_null(strstr(mlcc_str_text(&warnings), "shard 1 of the unfinished store"));
    assert_non_null(strstr(mlcc_str_text(&warnings), "shard 0 of the unfinished store"));
    same_as_whole(p);
}

static void other_inputs_are_refused(void **state) {
    const place *p = *state;
    assert_true(convert_until(p, 30, false));
    artifact_convert_options options = options_of(p, p->out, true);
    options.quantization = "q0f32";
    must_fail(
        artifact_convert_weight(&options, NULL), MLCC_MISMATCH,
        "quantization was 'q0f16' and is now 'q0f32'");
    options.quantization = "q0f16";
    options.f32_as_bf16 = true;
    must_fail(artifact_convert_weight(&options, NULL), MLCC_MISMATCH, "--f32-as-bf16");
    // Nothing was lost by asking.
    assert_true(resume_fully(p) >= 1);
    same_as_whole(p);
}

static void without_resume_leftovers_go(void **state) {
    const place *p = *state;
    assert_true(convert_until(p, 30, true));
    assert_non_null(staging_of(p));
    const artifact_convert_options options = options_of(p, p->out, false);
    artifact_convert_result result;
    must(artifact_convert_weight(&options, &result));
    assert_int_equal(result.totals.n_resumed_shards, 0);
    same_as_whole(p);
    // With nothing to continue, --resume is an ordinary conversion.
    must(mlcc_dir_remove_tree(p->out));
    assert_int_equal(resume_fully(p), 0);
    same_as_whole(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(killed_and_resumed, before_each),
        cmocka_unit_test_setup(killed_again_and_again, before_each),
        cmocka_unit_test_setup(damaged_shards_are_made_again, before_each),
        cmocka_unit_test_setup(other_inputs_are_refused, before_each),
        cmocka_unit_test_setup(without_resume_leftovers_go, before_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
