// Made-up weights: a library runs without a store, on numbers that are the same every time.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/weights.h"

#include <math.h>

static mlcc_model *open_made_up(const tiny_dir *dir, int32_t n_threads) {
    mlcc_model_options options = tiny_options(dir, n_threads);
    mlcc_model *model = NULL;
    options.made_up_weights = true;
    tiny_ok(mlcc_model_open(&options, &model));
    return model;
}

static void read_logits(mlcc_model *model, float logits[TINY_VOCAB]) {
    const int32_t tokens[] = {5, 9, 3};
    mlcc_engine *engine = NULL;
    int32_t sequence = 0;
    const float *found = NULL;
    int64_t n_rows = 0;
    tiny_ok(mlcc_engine_create(model, NULL, &engine));
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    mlcc_batch_item item = {sequence, tokens, 3, MLCC_LOGITS_LAST};
    tiny_ok(mlcc_engine_step(engine, &item, 1, &found, &n_rows));
    memcpy(logits, found, TINY_VOCAB * sizeof *logits);
    mlcc_engine_free(engine);
}

static void without_a_store(void **state) {
    (void)state;
    float first[TINY_VOCAB], second[TINY_VOCAB];
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    char *config = mlcc_path_join(dir.arena, dir.path, "tensor-cache.json");
    assert_int_equal(unlink(config), 0);
    mlcc_model_options options = tiny_options(&dir, 1);
    mlcc_model *model = NULL;
    tiny_refused(mlcc_model_open(&options, &model), MLCC_INVALID, "tensor-cache.json", dir.path);
    for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
        mlcc_model_info info;
        model = open_made_up(&dir, n_threads);
        mlcc_model_get_info(model, &info);
        assert_false(info.from_cache);
        assert_true(info.weight_bytes > 0);
        read_logits(model, n_threads == 1 ? first : second);
        mlcc_model_close(model);
    }
    assert_memory_equal(first, second, sizeof first);
    float largest = 0.0f;
    for (int i = 0; i < TINY_VOCAB; i++) {
        assert_true(isfinite(first[i]));
        largest = fmaxf(largest, fabsf(first[i]));
    }
    assert_true(largest > 0.0f);
    assert_false(mlcc_dir_exists(mlcc_path_join(dir.arena, dir.cache, "prepared")));
    tiny_dir_remove(&dir);
}

// Norm gains lie about 1, other floats are small, no number is infinite or NaN.
static void numbers(void **state) {
    (void)state;
    static const struct {
        uint32_t dtype, rank;
        float least, most;
    } rows[] = {
        {MLCC_ABI_F32, 1, 1.0f, 2.0f},
        {MLCC_ABI_F32, 2, 0.0001f, 0.01f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum { N = 300 };
        const mlcc_abi_piece piece = {
            .name = "x",
            .dtype = rows[i].dtype,
            .rank = rows[i].rank,
            .dims = {N, 1},
            .size_bytes = N * 4};
        const mlcc_abi_param params[] = {
            {.name = "x",
             .format = "f32",
             .layout = "rows",
             .n_pieces = 1,
             .pieces = &piece,
             .prepared_bytes = 1216},
            {.name = "y",
             .format = "f32",
             .layout = "rows",
             .n_pieces = 1,
             .pieces = &piece,
             .prepared_bytes = 1216},
        };
        const mlcc_abi_model abi = {.params = params, .n_params = 2};
        const mlcc_model_options options = {.directory = ".", .made_up_weights = true};
        mlcc_pool *pool = NULL;
        mlcc_weights weights;
        tiny_ok(mlcc_pool_create(2, &pool));
        tiny_ok(mlcc_weights_load(&abi, &options, pool, NULL, &weights));
        assert_int_equal(weights.prepared_bytes, 2 * 1216);
        assert_memory_equal(weights.params[0], weights.params[1], 1216);
        const float *values = weights.params[0];
        for (int k = 0; k < N; k++)
            assert_true(fabsf(values[k]) >= rows[i].least && fabsf(values[k]) <= rows[i].most);
        mlcc_weights_free(&weights);
        mlcc_pool_free(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_store),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
