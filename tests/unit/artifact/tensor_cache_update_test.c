// Updating a store: what it holds afterwards, that only the state matters and not the way there, and
// that a writer killed before any single change of the directory leaves all old or all new values.
#include "dist/artifact/tensor_cache_update.h"

#include "dist/artifact/tensor_cache_write.h"

#include "tests/unit/artifact/artifact_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// ---- the calls that change directories, counted ------------------------------------------------

static long kill_at = -1, n_changes = 0;
static bool links_fail = false;

static void change(void) {
    if (n_changes++ == kill_at) raise(SIGKILL);
}

int rename(const char *from, const char *to) {
    change();
    return (int)syscall(SYS_renameat2, -100, from, -100, to, 0);
}

int link(const char *from, const char *to) {
    change();
    if (links_fail) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_linkat, -100, from, -100, to, 0);
}

int unlink(const char *path) {
    change();
    return (int)syscall(SYS_unlinkat, -100, path, 0);
}

// A killed process, unlike a power failure, loses nothing that was not flushed.
int fsync(int file) {
    (void)file;
    change();
    return 0;
}

// ---- stores and values -------------------------------------------------------------------------

enum { N_LAYERS = 3, WEIGHT = 16 };

// Layers of a weight u8 [16], optionally a marker scale f32 [1] = 0 behind each, and a norm f32 [3].
static void make_store(const char *dir, bool as_bf16, bool with_markers) {
    const artifact_store_options options = {.directory = dir, .f32_as_bf16 = as_bf16};
    artifact_store *store = NULL;
    must(artifact_store_open(&options, &store));
    for (int layer = 0; layer < N_LAYERS; layer++) {
        char name[64];
        unsigned char weight[WEIGHT];
        memset(weight, 'a' + layer, sizeof weight);
        snprintf(name, sizeof name, "layers.%d.q_weight", layer);
        must(artifact_store_begin(store, name, IR_U8, 1, (const int64_t[]){WEIGHT}));
        must(artifact_store_append(store, weight, sizeof weight));
        if (!with_markers) continue;
        const float zero = 0.0f;
        snprintf(name, sizeof name, "layers.%d.q_calibration_scale", layer);
        must(artifact_store_begin(store, name, IR_F32, 1, (const int64_t[]){1}));
        must(artifact_store_append(store, &zero, sizeof zero));
    }
    const float norm[3] = {1.0f, 0.5f, -2.0f};
    must(artifact_store_begin(store, "norm.weight", IR_F32, 1, (const int64_t[]){3}));
    must(artifact_store_append(store, norm, sizeof norm));
    must(artifact_store_finish(store, 100, NULL));
}

static mlcc_status *update(const char *dir, float first, artifact_update_result *result) {
    static const char *const names[N_LAYERS] = {
        "layers.0.q_calibration_scale", "layers.1.q_calibration_scale",
        "layers.2.q_calibration_scale"};
    artifact_vector vectors[N_LAYERS];
    float values[N_LAYERS];
    for (int i = 0; i < N_LAYERS; i++) {
        values[i] = first + (float)i;
        vectors[i] = (artifact_vector){names[i], &values[i], 1};
    }
    mlcc_arena *keep = mlcc_arena_create();
    artifact_update_result unused;
    mlcc_status *status =
        artifact_store_update(dir, vectors, N_LAYERS, keep, result != NULL ? result : &unused);
    if (result != NULL) result->shard = NULL; // lives in the arena
    mlcc_arena_free(keep);
    return status;
}

static float stored_f32(const mlcc_tensor_cache *cache, const mlcc_tensor_record *record, int i) {
    const char *data = mlcc_tensor_cache_data(cache, record);
    uint32_t word = 0;
    uint16_t half = 0;
    float value = 0.0f;
    if (record->is_bf16_halves || strcmp(record->dtype, "bfloat16") == 0) {
        memcpy(&half, data + 2 * i, sizeof half);
        word = (uint32_t)half << 16;
    } else {
        memcpy(&word, data + 4 * i, sizeof word);
    }
    memcpy(&value, &word, sizeof value);
    return value;
}

// The store is whole, its weights are what they were. Returns the first scale, -1 when there are
// none; the others must follow it.
static float check_store(const char *dir) {
    mlcc_tensor_cache *cache = open_store(dir);
    float first = -1.0f;
    for (int layer = 0; layer < N_LAYERS; layer++) {
        char name[64];
        snprintf(name, sizeof name, "layers.%d.q_weight", layer);
        const mlcc_tensor_record *weight = mlcc_tensor_cache_find(cache, name);
        assert_non_null(weight);
        const char *data = mlcc_tensor_cache_data(cache, weight);
        for (int i = 0; i < WEIGHT; i++) assert_int_equal(data[i], 'a' + layer);
        snprintf(name, sizeof name, "layers.%d.q_calibration_scale", layer);
        const mlcc_tensor_record *scale = mlcc_tensor_cache_find(cache, name);
        if (layer == 0 && scale != NULL) first = stored_f32(cache, scale, 0);
        if (layer > 0) assert_true((first < 0.0f) == (scale == NULL));
        if (layer > 0 && first > 0.0f)
            assert_true(stored_f32(cache, scale, 0) == first + (float)layer);
        if (layer > 0 && first == 0.0f) assert_true(stored_f32(cache, scale, 0) == 0.0f);
    }
    const mlcc_tensor_record *norm = mlcc_tensor_cache_find(cache, "norm.weight");
    assert_true(stored_f32(cache, norm, 2) == -2.0f);
    assert_true(cache->bits_per_param > 0.0);
    mlcc_tensor_cache_close(cache);
    return first;
}

// Everything in a folder: names and bytes.
static char *content_of(const char *dir, mlcc_arena *keep) {
    char **names = NULL;
    size_t n = 0;
    must(mlcc_dir_list(dir, keep, &names, &n));
    mlcc_str text = {0};
    for (size_t i = 0; i < n; i++) {
        char *data = NULL;
        size_t size_bytes = 0;
        must(mlcc_file_read(mlcc_path_join(keep, dir, names[i]), 0, &data, &size_bytes));
        mlcc_str_printf(&text, "%s %zu ", names[i], size_bytes);
        for (size_t j = 0; j < size_bytes; j++)
            mlcc_str_printf(&text, "%02x", (unsigned char)data[j]);
        mlcc_str_putc(&text, '\n');
        free(data);
    }
    char *copy = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return copy;
}

// ---- tests -------------------------------------------------------------------------------------

static void new_tensors(void **state) {
    (void)state;
    for (int as_bf16 = 0; as_bf16 < 2; as_bf16++) {
        mlcc_arena *keep = mlcc_arena_create();
        const char *dir = test_folder_make(keep);
        make_store(dir, as_bf16, false);
        assert_true(check_store(dir) == -1.0f);
        artifact_update_result result;
        must(update(dir, 0.75f, &result));
        assert_int_equal(result.n_added, N_LAYERS);
        assert_int_equal(result.n_replaced, 0);
        assert_false(result.is_unchanged);
        assert_true(check_store(dir) == 0.75f);
        mlcc_tensor_cache *cache = open_store(dir);
        const mlcc_tensor_record *record =
            mlcc_tensor_cache_find(cache, "layers.1.q_calibration_scale");
        assert_string_equal(record->dtype, "float32");
        assert_int_equal(record->is_bf16_halves, as_bf16);
        assert_string_equal(cache->shards[record->shard].name, "params_shard_1.bin");
        assert_int_equal(cache->n_shards, 2);
        mlcc_tensor_cache_close(cache);
        // The variant of the index that calls halves what they are tells the same.
        const char *b16 = mlcc_path_join(keep, dir, "tensor-cache-b16.json");
        assert_int_equal(mlcc_file_exists(b16), as_bf16);
        if (as_bf16) {
            must(mlcc_file_rename(b16, mlcc_path_join(keep, dir, "tensor-cache.json")));
            assert_true(check_store(dir) == 0.75f);
            cache = open_store(dir);
            record = mlcc_tensor_cache_find(cache, "layers.1.q_calibration_scale");
            assert_string_equal(record->dtype, "bfloat16");
            mlcc_tensor_cache_close(cache);
        }
        must(mlcc_dir_remove_tree(dir));
        mlcc_arena_free(keep);
    }
}

// Once with 5, or first with 9 and then with 5: the same bytes. Equal values again: nothing happens.
static void only_the_state_matters(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        mlcc_arena *keep = mlcc_arena_create();
        const char *once = test_folder_make(keep), *twice = test_folder_make(keep);
        make_store(once, variant & 1, variant & 2);
        make_store(twice, variant & 1, variant & 2);
        assert_string_equal(content_of(once, keep), content_of(twice, keep));
        must(update(once, 5.0f, NULL));
        must(update(twice, 9.0f, NULL));
        artifact_update_result result;
        must(update(twice, 5.0f, &result));
        assert_int_equal(result.n_replaced, N_LAYERS);
        assert_int_equal(result.n_added, 0);
        assert_true(check_store(twice) == 5.0f);
        assert_string_equal(content_of(once, keep), content_of(twice, keep));
        const char *names = variant & 1
                                ? "params_shard_0.bin params_shard_1.bin tensor-cache-b16.json "
                                  "tensor-cache.json"
                                : "params_shard_0.bin params_shard_1.bin tensor-cache.json";
        assert_string_equal(names_in(twice, keep), names);
        n_changes = 0;
        must(update(twice, 5.0f, &result));
        assert_true(result.is_unchanged);
        assert_int_equal(n_changes, 0);
        must(mlcc_dir_remove_tree(once));
        must(mlcc_dir_remove_tree(twice));
        mlcc_arena_free(keep);
    }
}

// A store of MLC before 2025-09, and one whose shard has the name that the new one would get.
static void other_names(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    make_store(dir, true, false);
    must(mlcc_file_rename(
        mlcc_path_join(keep, dir, "tensor-cache.json"),
        mlcc_path_join(keep, dir, "ndarray-cache.json")));
    must(mlcc_file_rename(
        mlcc_path_join(keep, dir, "tensor-cache-b16.json"),
        mlcc_path_join(keep, dir, "ndarray-cache-b16.json")));
    must(update(dir, 2.0f, NULL));
    assert_true(check_store(dir) == 2.0f);
    assert_string_equal(
        names_in(dir, keep),
        "ndarray-cache-b16.json ndarray-cache.json params_shard_0.bin params_shard_1.bin");
    must(mlcc_dir_remove_tree(dir));

    dir = test_folder_make(keep);
    make_store(dir, false, true);
    char *text = NULL;
    size_t length = 0;
    const char *index = mlcc_path_join(keep, dir, "tensor-cache.json");
    must(mlcc_file_read(index, 0, &text, &length));
    char *digit = strstr(text, "params_shard_0.bin");
    assert_non_null(digit);
    digit[strlen("params_shard_")] = '1';
    must(mlcc_file_write_atomic(index, text, length));
    free(text);
    must(mlcc_file_rename(
        mlcc_path_join(keep, dir, "params_shard_0.bin"),
        mlcc_path_join(keep, dir, "params_shard_1.bin")));
    for (int i = 1; i < 3; i++) {
        must(update(dir, (float)i, NULL));
        assert_true(check_store(dir) == (float)i);
        assert_string_equal(
            names_in(dir, keep), "params_shard_1.bin params_shard_2.bin tensor-cache.json");
    }
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void refusals(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    must_fail(update(dir, 1.0f, NULL), MLCC_INVALID, "neither tensor-cache.json nor");
    must_fail(
        update(mlcc_path_join(keep, dir, "absent"), 1.0f, NULL), MLCC_IO, "cannot open directory");
    make_store(dir, false, true);
    const char *before = content_of(dir, keep);
    const float values[3] = {1.0f, 2.0f, 3.0f};
    artifact_update_result result;
    const artifact_vector wrong_dtype = {"layers.0.q_weight", values, 3};
    must_fail(
        artifact_store_update(dir, &wrong_dtype, 1, keep, &result), MLCC_MISMATCH,
        "holds 'layers.0.q_weight' as uint8 [16]");
    const artifact_vector wrong_shape = {"norm.weight", values, 2};
    must_fail(
        artifact_store_update(dir, &wrong_shape, 1, keep, &result), MLCC_MISMATCH,
        "cannot be replaced by a float32 [2]");
    const artifact_vector empty = {"x", values, 0};
    must_fail(
        artifact_store_update(dir, &empty, 1, keep, &result), MLCC_INVALID, "'x' has 0 values");
    const artifact_vector twice[2] = {{"x", values, 1}, {"x", values, 1}};
    must_fail(
        artifact_store_update(dir, twice, 2, keep, &result), MLCC_INVALID,
        "two tensors have the name 'x'");
    must(artifact_store_update(dir, twice, 0, keep, &result));
    assert_true(result.is_unchanged);
    int lock = open(dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    must_fail(update(dir, 1.0f, NULL), MLCC_IO, "another process is writing weights");
    close(lock);
    assert_string_equal(content_of(dir, keep), before);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// Updates in a child that dies at its change number `at`; returns whether it died.
static bool update_and_die(const char *dir, float first, long at) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        n_changes = 0;
        kill_at = at;
        mlcc_status *status = update(dir, first, NULL);
        _exit(status == NULL ? 0 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (WIFSIGNALED(result)) {
        assert_int_equal(WTERMSIG(result), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(result), 0);
    return false;
}

static void killed_anywhere(bool as_bf16, bool with_markers, bool has_scales) {
    mlcc_arena *keep = mlcc_arena_create();
    const char *clean = test_folder_make(keep);
    make_store(clean, as_bf16, with_markers);
    must(update(clean, 3.0f, NULL));
    const char *expected = content_of(clean, keep);
    bool saw_old = false, saw_new = false, died = true;
    long at = 0;
    for (; died; at++) {
        const char *dir = test_folder_make(keep);
        make_store(dir, as_bf16, with_markers);
        const float old = has_scales ? 7.0f : with_markers ? 0.0f : -1.0f;
        if (has_scales) must(update(dir, 7.0f, NULL));
        const char *before = content_of(dir, keep);
        died = update_and_die(dir, 3.0f, at);
        const float found = check_store(dir);
        assert_true(found == old || found == 3.0f);
        saw_old |= found == old;
        saw_new |= found == 3.0f;
        // The other index is loadable, too, whichever values it tells.
        const char *b16 = mlcc_path_join(keep, dir, "tensor-cache-b16.json");
        if (as_bf16) {
            const char *index = mlcc_path_join(keep, dir, "tensor-cache.json");
            const char *aside = mlcc_path_join(keep, dir, "aside");
            must(mlcc_file_rename(index, aside));
            must(mlcc_file_rename(b16, index));
            const float other = check_store(dir);
            assert_true(other == old || other == 3.0f);
            must(mlcc_file_rename(index, b16));
            must(mlcc_file_rename(aside, index));
        }
        // Back to the old values, or another try, itself killed, and one that completes: as if
        // nothing had happened.
        if (has_scales) {
            must(update(dir, 7.0f, NULL));
            assert_string_equal(content_of(dir, keep), before);
        }
        if (at % 2 == 0) (void)update_and_die(dir, 5.0f, at / 2 + 1);
        (void)check_store(dir);
        must(update(dir, 3.0f, NULL));
        assert_string_equal(content_of(dir, keep), expected);
        must(mlcc_dir_remove_tree(dir));
    }
    assert_true(saw_old && saw_new);
    assert_true(at > 4);
    must(mlcc_dir_remove_tree(clean));
    mlcc_arena_free(keep);
}

static void killed_while_adding(void **state) {
    (void)state;
    killed_anywhere(false, false, false);
    killed_anywhere(true, false, false);
}

static void killed_while_replacing_markers(void **state) {
    (void)state;
    killed_anywhere(false, true, false);
}

static void killed_while_replacing(void **state) {
    (void)state;
    killed_anywhere(false, false, true);
    killed_anywhere(true, true, true);
}

static void killed_without_hard_links(void **state) {
    (void)state;
    links_fail = true;
    killed_anywhere(false, true, true);
    links_fail = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_tensors),
        cmocka_unit_test(only_the_state_matters),
        cmocka_unit_test(other_names),
        cmocka_unit_test(refusals),
        cmocka_unit_test(killed_while_adding),
        cmocka_unit_test(killed_while_replacing_markers),
        cmocka_unit_test(killed_while_replacing),
        cmocka_unit_test(killed_without_hard_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
