// Preparing weights and keeping them: widening, unaligned records, direct mapping, and the disk
// cache with all that may happen to it.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/weights.h"

#include <sys/stat.h>

// First logits of token 5: tells whether the weights are right.
static void check_logits(mlcc_model *model) {
    mlcc_engine *engine = NULL;
    int32_t sequence = 0;
    const int32_t tokens[] = {5, 9};
    const float *logits = NULL;
    int64_t n_rows = 0;
    float expected[TINY_VOCAB];
    tiny_ok(mlcc_engine_create(model, NULL, &engine));
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    mlcc_batch_item item = {sequence, tokens, 2, MLCC_LOGITS_LAST};
    tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
    tiny_expected(tokens, 2, expected);
    assert_memory_equal(logits, expected, sizeof expected);
    mlcc_engine_free(engine);
}

static void open_and_check(const mlcc_model_options *options, bool from_cache) {
    mlcc_model *model = NULL;
    mlcc_model_info info;
    tiny_ok(mlcc_model_open(options, &model));
    mlcc_model_get_info(model, &info);
    assert_int_equal(info.from_cache, from_cache);
    if (options->weights_memory == MLCC_WEIGHTS_COPIED) {
        assert_int_equal(info.mapped_weight_bytes, 0);
    } else if (from_cache) { // prepared or direct: all of it is in files
        assert_int_equal(info.mapped_weight_bytes, info.weight_bytes);
    } else {
        assert_true(info.mapped_weight_bytes < info.weight_bytes);
    }
    check_logits(model);
    mlcc_model_close(model);
}

// The only file of the cache, or NULL.
static char *cached_file(const tiny_dir *dir) {
    char **names = NULL;
    size_t n_names = 0;
    char *folder = mlcc_path_join(dir->arena, dir->cache, "prepared");
    if (!mlcc_dir_exists(folder)) return NULL;
    tiny_ok(mlcc_dir_list(folder, dir->arena, &names, &n_names));
    if (n_names == 0) return NULL;
    assert_int_equal(n_names, 1);
    return mlcc_path_join(dir->arena, folder, names[0]);
}

static void every_way_of_storing(void **state) {
    (void)state;
    const tiny_store kinds[] = {
        {0},
        {.embed_as_bf16 = true},
        {.embed_unaligned = true},
        {.embed_as_bf16 = true, .embed_unaligned = true},
        {.old_name = true},
        {.without_md5 = true},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
            tiny_dir dir = tiny_dir_make(kinds[i]);
            mlcc_model_options options = tiny_options(&dir, n_threads);
            open_and_check(&options, false);
            open_and_check(&options, true);
            // Read by the one, written by the other, whichever was first.
            options.weights_memory = MLCC_WEIGHTS_COPIED;
            open_and_check(&options, true);
            tiny_ok(mlcc_file_remove(cached_file(&dir)));
            open_and_check(&options, false);
            open_and_check(&options, true);
            options.weights_memory = MLCC_WEIGHTS_MAPPED;
            open_and_check(&options, true);
            options.verify = !kinds[i].without_md5;
            open_and_check(&options, true);
            options.weights_memory = MLCC_WEIGHTS_COPIED;
            open_and_check(&options, true);
            options.no_cache = true;
            open_and_check(&options, false);
            tiny_dir_remove(&dir);
        }
    }
}

static void damage(const char *path, size_t offset, size_t new_size_bytes) {
    char *data = NULL;
    size_t size_bytes = 0;
    tiny_ok(mlcc_file_read(path, 0, &data, &size_bytes));
    data = realloc(data, new_size_bytes + size_bytes);
    if (offset < size_bytes) data[offset] ^= 0x40;
    tiny_ok(mlcc_file_write_atomic(path, data, new_size_bytes == 0 ? size_bytes : new_size_bytes));
    free(data);
}

static void damaged_cache_files(mlcc_weights_memory memory) {
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.weights_memory = memory;
    open_and_check(&options, false);
    char *path = cached_file(&dir);
    assert_non_null(path);
    uint64_t size_bytes = 0;
    tiny_ok(mlcc_file_size(path, &size_bytes));
    assert_int_equal(size_bytes, 4096 + 128);
    // Every field of the header, and every kind of wrong size.
    for (size_t offset = 0; offset < 64; offset += 4) {
        damage(path, offset, 0);
        open_and_check(&options, false);
        open_and_check(&options, true);
    }
    const size_t sizes[] = {1, 63, 4095, 4096, 4096 + 127, 4096 + 129, 9000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        damage(path, SIZE_MAX, sizes[i]);
        open_and_check(&options, false);
        open_and_check(&options, true);
    }
    tiny_ok(mlcc_file_write_atomic(path, "", 0));
    open_and_check(&options, false);
    // A flipped byte in the content is found on request.
    damage(path, 4096 + 50, 0);
    options.verify = true;
    open_and_check(&options, false);
    open_and_check(&options, true);
    tiny_dir_remove(&dir);
}

static void damaged_cache_files_are_written_again(void **state) {
    (void)state;
    damaged_cache_files(MLCC_WEIGHTS_MAPPED);
    damaged_cache_files(MLCC_WEIGHTS_COPIED);
}

static void changed_stores_get_another_file(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    open_and_check(&options, false);
    char *first = cached_file(&dir);
    tiny_ok(mlcc_file_remove(first));
    tiny_write_store(dir.path, (tiny_store){.embed_as_bf16 = true});
    open_and_check(&options, false);
    assert_string_not_equal(cached_file(&dir), first);
    tiny_dir_remove(&dir);
}

static void a_cache_that_cannot_be_written(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    tiny_write_text(dir.path, "cache", "a file where the folder should be");
    open_and_check(&options, false);
    open_and_check(&options, false);
    tiny_ok(mlcc_file_remove(dir.cache));
    options.no_cache = true;
    open_and_check(&options, false);
    assert_null(cached_file(&dir));
    options.no_cache = false;
    open_and_check(&options, false);
    options.no_cache = true;
    open_and_check(&options, false);
    tiny_dir_remove(&dir);
}

static void the_environment_names_the_cache(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.cache_directory = NULL;
    assert_int_equal(setenv("MLCC_CACHE_DIR", dir.cache, 1), 0);
    open_and_check(&options, false);
    assert_non_null(cached_file(&dir));
    open_and_check(&options, true);
    unsetenv("MLCC_CACHE_DIR");
    tiny_dir_remove(&dir);
}

// A library that reads everything as it is stored: params are the mapped file, and nothing is
// cached.
static void nothing_to_prepare(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    static const mlcc_abi_piece piece = {"embed.weight", MLCC_ABI_F32, 2, {23, 23}, 2116};
    static const mlcc_abi_param param = {
        .name = "embed.weight", .n_pieces = 1, .pieces = &piece, .prepared_bytes = 2176};
    const mlcc_abi_model abi = {.params = &param, .n_params = 1};
    mlcc_model_options options = tiny_options(&dir, 1);
    mlcc_pool *pool = NULL;
    tiny_ok(mlcc_pool_create(1, &pool));
    mlcc_weights weights;
    tiny_ok(mlcc_weights_load(&abi, &options, pool, NULL, &weights));
    assert_ptr_equal(weights.params[0], weights.store->shards[1].mapping.data);
    assert_null(weights.store->shards[0].mapping.data);
    assert_true(((const float *)weights.params[0])[24] == tiny_embed(1, 1));
    assert_false(weights.from_cache);
    assert_int_equal(weights.mapped_bytes, 2176);
    mlcc_weights_free(&weights);
    // In memory of its own, the same numbers, and behind them nothing.
    options.weights_memory = MLCC_WEIGHTS_COPIED;
    tiny_ok(mlcc_weights_load(&abi, &options, pool, NULL, &weights));
    assert_null(weights.store->shards[0].mapping.data);
    assert_null(weights.store->shards[1].mapping.data);
    assert_int_equal((uintptr_t)weights.params[0] % 64, 0);
    assert_true(((const float *)weights.params[0])[24] == tiny_embed(1, 1));
    assert_true(((const float *)weights.params[0])[528] == tiny_embed(22, 22));
    assert_true(((const float *)weights.params[0])[529] == 0.0f);
    assert_int_equal(weights.mapped_bytes, 0);
    assert_null(cached_file(&dir));
    mlcc_weights_free(&weights);
    // A shard that is not what the index says is found before.
    tiny_write(dir.path, "params_shard_1.bin", "", 0);
    tiny_refused(
        mlcc_weights_load(&abi, &options, pool, NULL, &weights), MLCC_INVALID, "params_shard_1.bin",
        "");
    mlcc_pool_free(pool);
    tiny_dir_remove(&dir);
}

static void refuses_unknown_memory(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.weights_memory = (mlcc_weights_memory)(MLCC_WEIGHTS_COPIED + 1);
    mlcc_model *model = NULL;
    tiny_refused(mlcc_model_open(&options, &model), MLCC_INVALID, "weights_memory is 3", "0 … 2");
    assert_null(model);
    tiny_dir_remove(&dir);
}

// A store without the scales that calibration leaves: the message says what to run.
static void missing_calibration(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    static const mlcc_abi_piece piece = {"mix.q_calibration_scale", MLCC_ABI_F32, 1, {1}, 4};
    static const mlcc_abi_param param = {
        .name = "mix.q_calibration_scale", .n_pieces = 1, .pieces = &piece, .prepared_bytes = 64};
    const mlcc_abi_model abi = {.params = &param, .n_params = 1};
    mlcc_model_options options = tiny_options(&dir, 1);
    mlcc_pool *pool = NULL;
    tiny_ok(mlcc_pool_create(1, &pool));
    mlcc_weights weights;
    tiny_refused(
        mlcc_weights_load(&abi, &options, pool, NULL, &weights), MLCC_MISMATCH,
        "'mix.q_calibration_scale'", "run mlcc calibrate");
    mlcc_pool_free(pool);
    tiny_dir_remove(&dir);
}

enum { N_PHASES = 3 };
static const char *const phases[N_PHASES] = {"preparing", "keeping", "reading"};

typedef struct seen_progress {
    int n_calls[N_PHASES];
    uint64_t last_bytes[N_PHASES], total_bytes[N_PHASES];
} seen_progress;

static void see(void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    seen_progress *seen = user;
    int i = 0;
    while (i < N_PHASES && strcmp(phase, phases[i]) != 0) i++;
    assert_true(i < N_PHASES);
    assert_true(done_bytes >= seen->last_bytes[i]);
    seen->n_calls[i]++;
    seen->last_bytes[i] = done_bytes;
    seen->total_bytes[i] = total_bytes;
}

static void expect_seen(const seen_progress *seen, int phase, int n_calls, uint64_t total_bytes) {
    assert_int_equal(seen->n_calls[phase], n_calls);
    assert_int_equal(seen->last_bytes[phase], total_bytes);
    assert_int_equal(seen->total_bytes[phase], total_bytes);
}

static void progress_reaches_its_end(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){.embed_as_bf16 = true});
    mlcc_model_options options = tiny_options(&dir, 1);
    seen_progress seen = {0};
    options.progress = see;
    options.progress_user = &seen;
    open_and_check(&options, false);
    expect_seen(&seen, 0, 2, 2176 + 128);
    expect_seen(&seen, 1, 2, 2176 + 128); // at the beginning, and when all is written
    seen = (seen_progress){0};
    open_and_check(&options, true);
    for (int phase = 0; phase < N_PHASES; phase++) expect_seen(&seen, phase, 0, 0);
    options.weights_memory = MLCC_WEIGHTS_COPIED;
    open_and_check(&options, true);
    expect_seen(&seen, 0, 0, 0);
    expect_seen(&seen, 1, 0, 0);
    expect_seen(&seen, 2, 1, 2176 + 128);
    tiny_dir_remove(&dir);
}

// A payload and a direct param: together they are what is read.
static void progress_counts_direct_params(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.weights_memory = MLCC_WEIGHTS_COPIED;
    open_and_check(&options, false);
    seen_progress seen = {0};
    options.progress = see;
    options.progress_user = &seen;
    open_and_check(&options, true);
    assert_int_equal(seen.total_bytes[2], 2176 + 128);
    assert_in_range(seen.last_bytes[2], 2116 + 128, 2176 + 128); // without padding at the end
    tiny_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_storing),
        cmocka_unit_test(damaged_cache_files_are_written_again),
        cmocka_unit_test(changed_stores_get_another_file),
        cmocka_unit_test(a_cache_that_cannot_be_written),
        cmocka_unit_test(the_environment_names_the_cache),
        cmocka_unit_test(nothing_to_prepare),
        cmocka_unit_test(refuses_unknown_memory),
        cmocka_unit_test(missing_calibration),
        cmocka_unit_test(progress_reaches_its_end),
        cmocka_unit_test(progress_counts_direct_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
