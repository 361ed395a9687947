// Calibration of the project's tiny model: maxima are those of ir/eval, the same seed gives the same
// bytes, the store then serves the calibrated mode, and what is wrong is said before anything
// changes.
#include "dist/artifact/calibrate.h"

#include "dist/artifact/calibration_data.h"
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "frontend/import.h"
#include "passes/pipeline.h"
#include "quantization/formats/fp8.h"

#include "tests/support/store_params.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <math.h>

#if defined(__x86_64__)
#    define ANY_TARGET "x86-64-v2"
#else
#    define ANY_TARGET "native"
#endif

static const char observing[] = "e4m3_e4m3_f16_max_calibrate", calibrated[] = "e4m3_e4m3_f16";
static const char hugging_face[] = "tests/tiny/model";

enum { N_LAYERS = 4, N_SCALES = 4 * N_LAYERS };

// Compiled once for all tests: a library that records maxima.
static mlcc_arena *shared;
static const char *shared_folder, *observing_library;

typedef struct fixture {
    mlcc_arena *keep;
    const char *dir, *dataset;
    artifact_calibrate_options options;
} fixture;

static void make_config_and_weights(const char *dir, const char *mode, mlcc_arena *keep) {
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = hugging_face, .quantization = mode, .conv_template = "LM", .output = dir},
        keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = hugging_face, .quantization = mode, .output = dir, .n_threads = 1},
        NULL));
}

static void make_library(const char *dir, const char *mode, const char *path) {
    must(artifact_compile(
        &(artifact_compile_options){
            .model = dir, .quantization = mode, .target = ANY_TARGET, .output = path},
        NULL));
}

static fixture make_fixture(void) {
    fixture f = {.keep = mlcc_arena_create()};
    f.dir = test_folder_make(f.keep);
    make_config_and_weights(f.dir, observing, f.keep);
    write_text(
        f.dir, "dataset.txt",
        "One day, a little boy named Tom went to the garden. He had a brown hat.\n\n"
        "Anna was a little girl who lived near the river. Anna had a blue kite. She loved the kite "
        "very much.\n\n"
        "Once upon a time, there was a little boy named Max.\n\n"
        "At the farm, Rosa saw a little duck in the tall grass.\n");
    f.dataset = mlcc_path_join(f.keep, f.dir, "dataset.txt");
    f.options = (artifact_calibrate_options){
        .directory = f.dir, .dataset = f.dataset, .n_samples = 3, .n_threads = 1};
    return f;
}

static void end_fixture(fixture *f) {
    must(mlcc_dir_remove_tree(f->dir));
    mlcc_arena_free(f->keep);
}

// ---- the oracle --------------------------------------------------------------------------------

typedef struct oracle {
    mlcc_arena *keep;
    hf_model_config *config;
    ir_module *module;
    const ir_function *forward;
    mlcc_tensor_cache *store;
    store_params params;
} oracle;

static oracle open_oracle(const fixture *f) {
    oracle o = {.keep = mlcc_arena_create()};
    const quant_mode *mode = NULL;
    must(quant_mode_find(observing, &mode));
    must(hf_model_config_read(hugging_face, NULL, NULL, o.keep, &o.config));
    const import_options options = {
        .activation_dtype = IR_F32, .kv_dtype = IR_F16, .max_tokens = 256, .max_sequences = 1};
    must(import_model(o.config, &options, o.keep, &o.module));
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {.scratch = scratch, .mode = mode};
    must(
        pass_pipeline_run(o.module, &(pass_options){.stop_after = "prune", .limit = -1}, &context));
    mlcc_arena_free(scratch);
    o.forward = ir_module_find(o.module, "forward");
    o.store = open_store(f->dir);
    o.params = (store_params){.keep = o.keep,
                              .store = o.store,
                              .tensors = MLCC_NEW_ARRAY(o.keep, ir_tensor *, o.module->n_params)};
    return o;
}

static void close_oracle(oracle *o) {
    mlcc_tensor_cache_close(o->store);
    hf_model_config_free(o->config);
    mlcc_arena_free(o->keep);
}

static ir_tensor *counting(mlcc_arena *keep, int64_t count, int32_t step) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &count);
    for (int64_t i = 0; i < count; i++) tensor->i32[i] = step * (int32_t)i;
    return tensor;
}

// Runs one sample alone and raises maxima[], one per argument behind the caches.
static void run_oracle(oracle *o, const calibration_sample *sample, float *maxima) {
    enum { PAGE = 16 };
    mlcc_arena *scratch = mlcc_arena_create();
    const int64_t n = sample->n_ids, n_pages = (n + PAGE - 1) / PAGE;
    const ir_function *f = o->forward;
    ir_tensor **args = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)f->n_args);
    ir_tensor **results = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)f->n_returns);
    assert_int_equal(f->n_args, 5 + N_LAYERS + N_SCALES);
    assert_int_equal(f->n_returns, 1 + N_LAYERS + N_SCALES);
    args[0] = counting(scratch, n, 0);
    memcpy(args[0]->i32, sample->ids, (size_t)n * sizeof *sample->ids);
    args[1] = counting(scratch, n, 1);
    args[2] = counting(scratch, n, 0);
    args[3] = ir_tensor_create(scratch, IR_I32, 2, (int64_t[]){1, n_pages});
    for (int32_t i = 0; i < n_pages; i++) args[3]->i32[i] = i;
    args[4] = counting(scratch, 1, 0);
    const int64_t cache[] = {n_pages, 2, o->config->n_kv_heads, PAGE, o->config->head_dim};
    for (int i = 0; i < N_LAYERS; i++) args[5 + i] = ir_tensor_create(scratch, IR_F16, 5, cache);
    for (int i = 0; i < N_SCALES; i++) {
        args[5 + N_LAYERS + i] = ir_tensor_create(scratch, IR_F32, 1, (int64_t[]){1});
        args[5 + N_LAYERS + i]->f32[0] = maxima[i];
    }
    const ir_eval_options options = {.param = store_params_read, .user = &o->params};
    must(ir_eval_function(f, args, &options, scratch, results));
    for (int i = 0; i < N_SCALES; i++) maxima[i] = results[1 + N_LAYERS + i]->f32[0];
    mlcc_arena_free(scratch);
}

// ---- tests -------------------------------------------------------------------------------------

static float stored_scale(const fixture *f, const char *name) {
    mlcc_tensor_cache *store = open_store(f->dir);
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(store, name);
    assert_non_null(record);
    assert_string_equal(record->dtype, "float32");
    assert_int_equal(record->rank, 1);
    assert_int_equal(record->size_bytes, sizeof(float));
    float value = 0.0f;
    memcpy(&value, mlcc_tensor_cache_data(store, record), sizeof value);
    mlcc_tensor_cache_close(store);
    return value;
}

static void maxima_are_those_of_eval(void **state) {
    (void)state;
    fixture f = make_fixture();
    f.options.n_samples = 100; // all of them
    artifact_calibrate_result result;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_true(result.has_compiled);
    assert_int_equal(result.n_samples, 4);
    assert_int_equal(result.n_rows, N_SCALES);
    assert_int_equal(result.n_added, N_SCALES);

    mlcc_tokenizer *tokenizer = NULL;
    calibration_data data;
    must(mlcc_tokenizer_open(f.dir, &tokenizer));
    const calibration_options drawn = {
        .path = f.dataset,
        .directory = f.dir,
        .tokenizer = tokenizer,
        .n_samples = 100,
        .max_tokens = 256};
    must(calibration_data_read(&drawn, f.keep, &data));
    mlcc_tokenizer_close(tokenizer);
    assert_int_equal(result.n_tokens, data.n_tokens);
    oracle o = open_oracle(&f);
    float maxima[N_SCALES] = {0};
    for (size_t i = 0; i < data.n_samples; i++) run_oracle(&o, &data.samples[i], maxima);
    for (int i = 0; i < N_SCALES; i++) {
        const artifact_calibrated *row = &result.rows[i];
        assert_string_equal(row->name, o.forward->args[5 + N_LAYERS + i]->name);
        // Kernels sum in float32 and another order; where that tips an fp8 rounding, what follows
        // differs by a part of one step of 1/16.
        if (!(fabsf(row->maximum - maxima[i]) <= 0.01f * maxima[i]))
            fail_msg(
                "%s: %g, ir/eval gives %g", row->name, (double)row->maximum, (double)maxima[i]);
        assert_true(row->scale == quant_fp8_scale(row->maximum, IR_F8E4M3));
        assert_true(stored_scale(&f, row->name) == row->scale);
        assert_true(result.min_scale <= row->scale && row->scale <= result.max_scale);
    }
    assert_true(result.min_scale <= result.median_scale && result.median_scale <= result.max_scale);
    close_oracle(&o);
    end_fixture(&f);
}

static char *store_bytes(const fixture *f) {
    mlcc_str text = {0};
    static const char *const names[] = {
        "tensor-cache.json", "params_shard_0.bin", "params_shard_1.bin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *data = NULL;
        size_t size_bytes = 0;
        must(mlcc_file_read(mlcc_path_join(f->keep, f->dir, names[i]), 0, &data, &size_bytes));
        char hex[33];
        mlcc_hash128_hex(mlcc_hash128_of(data, size_bytes), hex);
        mlcc_str_printf(&text, "%s %zu %s\n", names[i], size_bytes, hex);
        free(data);
    }
    char *copy = mlcc_arena_strdup(f->keep, text.data);
    mlcc_str_free(&text);
    return copy;
}

static void the_same_seed_gives_the_same_bytes(void **state) {
    (void)state;
    fixture f = make_fixture();
    f.options.n_samples = 1;
    const char *library = mlcc_path_join(f.keep, f.dir, "lib.so");
    must(mlcc_file_copy(observing_library, library));
    artifact_calibrate_result result;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_false(result.has_compiled);
    assert_string_equal(result.shard, "params_shard_1.bin");
    const char *first = store_bytes(&f);
    // Another text, then the first again, with as many threads as there are.
    f.options.seed = 3;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_int_equal(result.n_replaced, N_SCALES);
    assert_string_not_equal(store_bytes(&f), first);
    f.options.seed = 0;
    f.options.n_threads = 0;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_string_equal(store_bytes(&f), first);
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_true(result.is_unchanged);
    assert_null(result.shard);
    assert_string_equal(store_bytes(&f), first);
    end_fixture(&f);
}

// Step 3 of the flow: the calibrated mode on the same weights; and calibrating once more although
// lib.so now is the calibrated one, which records nothing.
static void no_second_conversion(void **state) {
    (void)state;
    fixture f = make_fixture();
    const char *library = mlcc_path_join(f.keep, f.dir, "lib.so");
    make_library(f.dir, calibrated, library);
    const mlcc_model_options options = {.directory = f.dir, .n_threads = 1, .no_cache = true};
    mlcc_model *model = NULL;
    must_fail(mlcc_model_open(&options, &model), MLCC_MISMATCH, "run mlcc calibrate");
    artifact_calibrate_result result;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_true(result.has_compiled);
    must(mlcc_model_open(&options, &model));
    mlcc_engine *engine = NULL;
    must(mlcc_engine_create(model, NULL, &engine));
    const int32_t ids[] = {1, 50, 60};
    mlcc_batch_item item = {.tokens = ids, .n_tokens = 3, .logits = MLCC_LOGITS_LAST};
    must(mlcc_engine_add_sequence(engine, &item.sequence));
    const float *logits = NULL;
    int64_t n_rows = 0;
    must(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
    for (int i = 0; i < 512; i++) assert_true(isfinite(logits[i]));
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_true(result.is_unchanged);
    end_fixture(&f);
}

// A store that was converted for the calibrated mode holds markers; they are replaced.
static void markers_are_replaced(void **state) {
    (void)state;
    fixture f = make_fixture();
    make_config_and_weights(f.dir, calibrated, f.keep);
    assert_true(stored_scale(&f, "model.layers.2.mlp.down_proj.q_calibration_scale") == 0.0f);
    f.options.library = observing_library;
    artifact_calibrate_result result;
    must(artifact_calibrate(&f.options, f.keep, &result));
    assert_int_equal(result.n_replaced, N_SCALES);
    assert_int_equal(result.n_added, 0);
    for (size_t i = 0; i < result.n_rows; i++)
        assert_true(stored_scale(&f, result.rows[i].name) == result.rows[i].scale);
    end_fixture(&f);
}

static void refusals(void **state) {
    (void)state;
    fixture f = make_fixture();
    const char *empty = test_folder_make(f.keep), *other = test_folder_make(f.keep);
    const char *library = mlcc_path_join(f.keep, other, "lib.so");
    make_config_and_weights(other, "q4f16_1", f.keep);
    make_library(other, "q4f16_1", library);
    const char *absent = mlcc_path_join(f.keep, f.dir, "absent");
    const char *names = names_in(f.dir, f.keep);
    const struct {
        const char *directory, *dataset, *output, *library;
        mlcc_code code;
        const char *part;
    } cases[] = {
        {empty, f.dataset, NULL, NULL, MLCC_INVALID, "is no model directory"},
        {absent, f.dataset, NULL, NULL, MLCC_INVALID, "is no model directory"},
        {other, f.dataset, NULL, NULL, MLCC_INVALID, "is quantized as q4f16_1"},
        {f.dir, f.dataset, absent, NULL, MLCC_INVALID, "leave --output out"},
        {f.dir, f.dataset, empty, NULL, MLCC_INVALID, "that the scales are to go into"},
        {f.dir, f.dataset, NULL, library, MLCC_MISMATCH, "records no maxima"},
        {f.dir, f.dataset, NULL, absent, MLCC_INVALID, "absent"},
        {f.dir, absent, NULL, NULL, MLCC_INVALID, "absent"},
        {f.dir, "tests/tiny/model/model.safetensors", NULL, NULL, MLCC_INVALID,
         "neither JSON nor text"},
        {f.dir, f.dataset, other, NULL, MLCC_MISMATCH, "belongs to another model"},
    };
    artifact_calibrate_result result;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        artifact_calibrate_options options = f.options;
        options.directory = cases[i].directory;
        options.dataset = cases[i].dataset;
        options.output = cases[i].output;
        options.library = cases[i].library != NULL ? cases[i].library : observing_library;
        must_fail(artifact_calibrate(&options, f.keep, &result), cases[i].code, cases[i].part);
        assert_string_equal(names_in(f.dir, f.keep), names);
    }
    f.options.n_samples = 0;
    must_fail(artifact_calibrate(&f.options, f.keep, &result), MLCC_INVALID, "0 samples");
    must(mlcc_dir_remove_tree(empty));
    must(mlcc_dir_remove_tree(other));
    end_fixture(&f);
}

static int compile_once(void **state) {
    (void)state;
    shared = mlcc_arena_create();
    shared_folder = test_folder_make(shared);
    make_config_and_weights(shared_folder, observing, shared);
    observing_library = mlcc_path_join(shared, shared_folder, "observing.so");
    make_library(shared_folder, observing, observing_library);
    return 0;
}

static int remove_shared(void **state) {
    (void)state;
    must(mlcc_dir_remove_tree(shared_folder));
    mlcc_arena_free(shared);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maxima_are_those_of_eval),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(no_second_conversion),
        cmocka_unit_test(markers_are_replaced),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, compile_once, remove_shared);
}
