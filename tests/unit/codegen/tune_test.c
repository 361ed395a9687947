// tune: the cache's files, good and bad; a module tuned twice gives the same library, and results that are those of the untuned one bit for bit.
#include "codegen/cpu/tune_cache.h"
#include "tests/support/compile_module.h"

static const char kernel[] = "linear_scaled_panel16__x86_avx512vnni";

static cpu_tune_result example(void) {
    cpu_tune_result result = {.knobs = cpu_knobs_fallback(), .n_trials = 3};
    result.knobs.values[CPU_KNOB_scaled_ahead] = 4096;
    result.knobs.values[CPU_KNOB_scaled_chunks] = 1;
    result.trials[0] = (cpu_tune_trial){CPU_KNOB_scaled_block, 8, {10.5, 20, 30000}};
    result.trials[1] = (cpu_tune_trial){CPU_N_KNOBS, 0, {1, 2, 3}};
    result.trials[2] = (cpu_tune_trial){CPU_N_KNOBS, 1, {0.5, 2, 3}};
    return result;
}

static void round_trip(void **state) {
    (void)state;
    const cpu_tune_result written = example();
    mlcc_str text = {0};
    cpu_tune_print(&written, "some key", kernel, &text);
    cpu_tune_result read;
    assert_ok(cpu_tune_parse(text.data, text.length, "test", "some key", kernel, &read));
    assert_memory_equal(&read.knobs, &written.knobs, sizeof read.knobs);
    assert_int_equal(read.n_trials, 3);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(read.trials[i].knob, written.trials[i].knob);
        assert_int_equal(read.trials[i].value, written.trials[i].value);
        assert_memory_equal(read.trials[i].us, written.trials[i].us, sizeof read.trials[i].us);
    }
    assert_error(
        cpu_tune_parse(text.data, text.length, "test", "another key", kernel, &read), MLCC_INVALID,
        "another key");
    assert_error(
        cpu_tune_parse(
            text.data, text.length, "test", "some key", "linear_panel16__x86_avx2", &read),
        MLCC_INVALID, "panel_ahead");
    // Every beginning of the file is refused, and nothing is left of it.
    const cpu_knobs fallback = cpu_knobs_fallback();
    for (size_t length = 0; length < text.length; length++) {
        mlcc_status *status = cpu_tune_parse(text.data, length, "test", "some key", kernel, &read);
        assert_non_null(status);
        mlcc_status_free(status);
        assert_memory_equal(&read.knobs, &fallback, sizeof fallback);
        assert_int_equal(read.n_trials, 0);
    }
    mlcc_str_free(&text);
}

static void bad_files(void **state) {
    (void)state;
#define FILE_OF(knobs, trials) "{\"key\": \"k\", \"knobs\": {" knobs "}, \"trials\": [" trials "]}"
#define GOOD                   "\"scaled_ahead\": 512, \"scaled_block\": 8, \"scaled_chunks\": 2"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"[]", "no object"},
        {"{}", "key"},
        {"{\"key\": 7}", "key"},
        {"{\"key\": \"k\"}", "knobs"},
        {FILE_OF("\"scaled_ahead\": 512, \"scaled_block\": 8", ""), "scaled_chunks"},
        {FILE_OF(GOOD ", \"panel_ahead\": 512", ""), "4 keys"},
        {FILE_OF(GOOD ", \"nothing\": 512", ""), "4 keys"},
        {FILE_OF("\"scaled_ahead\": 513, \"scaled_block\": 8, \"scaled_chunks\": 2", ""),
         "none of its candidates"},
        {FILE_OF("\"scaled_ahead\": -1, \"scaled_block\": 8, \"scaled_chunks\": 2", ""),
         "scaled_ahead"},
        {FILE_OF("\"scaled_ahead\": 1e3, \"scaled_block\": 8, \"scaled_chunks\": 2", ""),
         "scaled_ahead"},
        {FILE_OF(
             "\"scaled_ahead\": 99999999999999999999, \"scaled_block\": 8, "
             "\"scaled_chunks\": 2",
             ""),
         "scaled_ahead"},
        {"{\"key\": \"k\", \"knobs\": {" GOOD "}}", "trials"},
        {FILE_OF(GOOD, "5"), "no object"},
        {FILE_OF(GOOD, "{}"), "knob"},
        {FILE_OF(GOOD, "{\"knob\": \"scaled_block\", \"value\": 9, \"us\": [1, 2, 3]}"),
         "none of its candidates"},
        {FILE_OF(GOOD, "{\"knob\": \"panel_ahead\", \"value\": 512, \"us\": [1, 2, 3]}"),
         "has no knob"},
        {FILE_OF(GOOD, "{\"knob\": \"scaled_block\", \"value\": 8, \"us\": [1, 2]}"), "2 times"},
        {FILE_OF(GOOD, "{\"knob\": \"scaled_block\", \"value\": 8, \"us\": [1, 2, \"3\"]}"),
         "positive"},
        {FILE_OF(GOOD, "{\"knob\": \"model\", \"value\": 0, \"us\": [1, 2, -3]}"), "positive"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cpu_tune_result read;
        assert_error(
            cpu_tune_parse(cases[i].text, strlen(cases[i].text), "test", "k", kernel, &read),
            MLCC_INVALID, cases[i].part);
    }
    const char *good = FILE_OF(GOOD, "");
    cpu_tune_result read;
    assert_ok(cpu_tune_parse(good, strlen(good), "test", "k", kernel, &read));
    // More trials than there is room for.
    mlcc_str many = {0};
    mlcc_str_puts(&many, "{\"key\": \"k\", \"knobs\": {" GOOD "}, \"trials\": [");
    for (int32_t i = 0; i <= CPU_TUNE_MAX_TRIALS; i++)
        mlcc_str_printf(
            &many, "%s{\"knob\": \"model\", \"value\": 0, \"us\": [1, 2, 3]}", i > 0 ? ", " : "");
    mlcc_str_puts(&many, "]}");
    assert_error(
        cpu_tune_parse(many.data, many.length, "test", "k", kernel, &read), MLCC_INVALID,
        "at most");
    mlcc_str_free(&many);
}

static void files(void **state) {
    test_folder *f = *state;
    const cpu_tune_result written = example();
    char *path = cpu_tune_path(f->keep, f->path, "a key");
    assert_string_not_equal(path, cpu_tune_path(f->keep, f->path, "b key"));
    cpu_tune_result read;
    assert_false(cpu_tune_read(path, "a key", kernel, &read));
    assert_ok(cpu_tune_write(path, "a key", kernel, &written));
    assert_true(cpu_tune_read(path, "a key", kernel, &read));
    assert_memory_equal(&read.knobs, &written.knobs, sizeof read.knobs);
    assert_false(cpu_tune_read(path, "b key", kernel, &read));
    assert_ok(mlcc_file_write_atomic(path, "{", 1));
    assert_false(cpu_tune_read(path, "a key", kernel, &read));
    // Larger than any such file.
    char *large = calloc(1, 100000);
    memset(large, ' ', 100000);
    assert_ok(mlcc_file_write_atomic(path, large, 100000));
    free(large);
    assert_false(cpu_tune_read(path, "a key", kernel, &read));
}

// ---- a whole module -----------------------------------------------------------------------------------

static const char module_text[] = "module @m level=graph\n"
                                  "symbol n_tokens <= 40\n"
                                  "param @a.weight : q4g32_f16[300, 256]\n"
                                  "param @b.weight : f16[64, 256]\n"
                                  "param @c.weight : q4g32_f16[300, 256]\n"
                                  "func @forward(%x: f32[n_tokens, 256]) {\n"
                                  "    %0 = linear %x, @a.weight : f32[n_tokens, 300]\n"
                                  "    %1 = linear %x, @b.weight : f32[n_tokens, 64]\n"
                                  "    %2 = silu %1 : f32[n_tokens, 64]\n"
                                  "    %3 = linear %x, @c.weight : f32[n_tokens, 300]\n"
                                  "    %4 = add %0, %3 : f32[n_tokens, 300]\n"
                                  "    return %4, %2\n"
                                  "}\n";

typedef struct count_of_calls {
    uint64_t n_calls, done, total;
} count_of_calls;

static void on_progress(void *user, const char *phase, uint64_t done, uint64_t total) {
    count_of_calls *calls = user;
    assert_non_null(phase);
    assert_true(done >= calls->done && done <= total);
    *calls = (count_of_calls){calls->n_calls + 1, done, total};
}

static char *tuned(test_folder *f, const char *name, const codegen_tuning *tuning) {
    ir_module *module = compile_parse(module_text, f->keep);
    codegen_options options = {.target = "native", .metadata_json = "{}", .tuning = tuning};
    compile_target target = {0};
    assert_ok(codegen_open(&options, f->keep, &target.codegen));
    compile_plan(module, &target, NULL);
    char *path = mlcc_path_join(f->keep, f->path, name);
    assert_ok(codegen_generate(target.codegen, module, path));
    codegen_close(target.codegen);
    return path;
}

static void assert_same_file(const char *a, const char *b) {
    mlcc_mapping left, right;
    assert_ok(mlcc_file_map(a, &left));
    assert_ok(mlcc_file_map(b, &right));
    assert_int_equal(left.size_bytes, right.size_bytes);
    assert_memory_equal(left.data, right.data, left.size_bytes);
    mlcc_file_unmap(&left);
    mlcc_file_unmap(&right);
}

static void run_both(test_folder *f, const char *plain, const char *other) {
    ir_module *module = compile_parse(module_text, f->keep);
    compile_target target = {0};
    codegen_options options = {.target = "native"};
    assert_ok(codegen_open(&options, f->keep, &target.codegen));
    compile_plan(module, &target, NULL);
    codegen_close(target.codegen);
    model_weights *weights = model_weights_make(module, NULL, f->keep);
    const ir_function *forward = ir_module_find(module, "forward");
    model_library *a = model_library_open(plain, weights, f->keep);
    model_library *b = model_library_open(other, weights, f->keep);
    static const int64_t counts[] = {1, 2, 9, 40};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const int64_t dims[] = {counts[i], 256};
        ir_tensor *x = ir_tensor_create(f->keep, IR_F32, 2, dims), *left[2], *right[2];
        for (int64_t j = 0; j < counts[i] * 256; j++) x->f32[j] = (float)(j * 37 % 101) / 50 - 1;
        model_library_run(a, forward, &x, 2, f->keep, left);
        model_library_run(b, forward, &x, 3, f->keep, right);
        for (int r = 0; r < 2; r++) {
            assert_int_equal(ir_tensor_count(left[r]), ir_tensor_count(right[r]));
            assert_memory_equal(left[r]->f32, right[r]->f32, (size_t)ir_tensor_count(left[r]) * 4);
        }
    }
    model_library_close(a);
    model_library_close(b);
}

static void modules(void **state) {
    test_folder *f = *state;
    char *plain = tuned(f, "plain.so", NULL);
    mlcc_str first = {0}, second = {0}, third = {0};
    count_of_calls calls = {0};
    codegen_tuning tuning = {
        .cache_dir = mlcc_path_join(f->keep, f->path, "cache"),
        .budget_s = 60,
        .progress = on_progress,
        .user = &calls,
        .explain = &first};
    char *once = tuned(f, "once.so", &tuning);
    // Two shapes: the weights of a and c are the same product.
    assert_true(calls.n_calls > 0);
    assert_int_equal(calls.done, calls.total);
    assert_non_null(strstr(mlcc_str_text(&first), "q4g32_f16 [300, 256]"));
    assert_non_null(strstr(mlcc_str_text(&first), "f16 [64, 256]"));
    assert_non_null(strstr(mlcc_str_text(&first), "panel_ahead 512: "));
    assert_null(strstr(mlcc_str_text(&first), "from the cache"));
    char **names = NULL;
    size_t n_names = 0;
    const char *folder = mlcc_path_join(f->keep, tuning.cache_dir, "tuning");
    assert_ok(mlcc_dir_list(folder, f->keep, &names, &n_names));
    assert_int_equal(n_names, 2);
    // The second time nothing is timed, and the library has the same bytes.
    calls = (count_of_calls){0};
    tuning.explain = &second;
    char *twice = tuned(f, "twice.so", &tuning);
    assert_int_equal(calls.n_calls, 0);
    assert_non_null(strstr(mlcc_str_text(&second), "from the cache"));
    assert_same_file(once, twice);
    run_both(f, plain, once);
    // A damaged file is made anew; without time nothing is begun.
    const char *damaged = mlcc_path_join(f->keep, folder, names[0]);
    assert_ok(mlcc_file_write_atomic(damaged, "{}", 2));
    tuning.budget_s = 0;
    tuning.explain = &third;
    tuned(f, "thrice.so", &tuning);
    assert_non_null(strstr(mlcc_str_text(&third), "the model's choice stays"));
    tuning.budget_s = 60;
    tuned(f, "again.so", &tuning);
    assert_true(calls.n_calls > 0);
    uint64_t bytes = 0;
    assert_ok(mlcc_file_size(damaged, &bytes));
    assert_true(bytes > 2);
    mlcc_str_free(&first);
    mlcc_str_free(&second);
    mlcc_str_free(&third);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bad_files),
        cmocka_unit_test_setup_teardown(files, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(modules, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
