// Several CPU levels in one lib.so: which lists are accepted, what the file shows, and that every level computes what the model says.
#include "runtime/base/hash.h"
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"

static const char text[] =
    "module @m level=graph\nsymbol n_tokens <= 40\nparam @w.weight : "
    "q4g32_f16[40, 64]\nparam @v.weight : f16[24, 40]\nparam @g.weight : f16[64]\n"
    "func @forward(%x: f32[n_tokens, 64]) {\n"
    "  %0 = rms_norm %x, @g.weight : f32[n_tokens, 64]\n"
    "  %1 = linear %0, @w.weight : f32[n_tokens, 40]\n"
    "  %2 = gelu %1 : f32[n_tokens, 40]\n"
    "  %3 = linear %2, @v.weight : f32[n_tokens, 24]\n  return %3\n}\n";

static const char *const x86_names[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
static const char *const arm_names[] = {"aarch64", "cortex-a76", "neoverse-v1"};
enum { N_LEVELS = 3 };

// ---- lists --------------------------------------------------------------------------------------------

static void expect_list(mlcc_arena *keep, const char *list, size_t n, const char *last) {
    const char **names = NULL;
    size_t n_names = 0;
    assert_ok(codegen_split_levels(list, keep, &names, &n_names));
    assert_int_equal(n_names, n);
    assert_string_equal(names[n - 1], last);
}

static void refuse_list(mlcc_arena *keep, const char *list, mlcc_code code, const char *part) {
    const char **names = NULL;
    size_t n_names = 0;
    assert_error(codegen_split_levels(list, keep, &names, &n_names), code, part);
}

static void test_lists(void **state) {
    test_folder *f = *state;
    expect_list(f->keep, "x86-64-v3", 1, "x86-64-v3");
    expect_list(f->keep, "native", 1, "native");
    expect_list(f->keep, "x86-64-v2,x86-64-v3,x86-64-v4,znver4", 4, "znver4");
    // Neither has all that the other has.
    expect_list(f->keep, "cooperlake,icelake-server", 2, "icelake-server");
    expect_list(f->keep, "aarch64,cortex-a76,neoverse-v1", 3, "neoverse-v1");

    refuse_list(f->keep, "", MLCC_UNSUPPORTED, "unknown target ''");
    refuse_list(f->keep, "x86-64-v3,znver44", MLCC_UNSUPPORTED, "did you mean 'znver4'?");
    refuse_list(f->keep, "x86-64-v3,", MLCC_INVALID, "an empty name at place 2");
    refuse_list(f->keep, ",x86-64-v3", MLCC_INVALID, "an empty name at place 1");
    refuse_list(
        f->keep, "x86-64-v2,x86-64-v3,x86-64-v2", MLCC_INVALID, "'x86-64-v2' is named twice");
    refuse_list(f->keep, "native,native", MLCC_INVALID, "is named twice");
    refuse_list(f->keep, "x86-64-v3,aarch64", MLCC_UNSUPPORTED, "belong to different machines");
    refuse_list(
        f->keep, "znver4,x86-64-v3", MLCC_INVALID,
        "'znver4' would never run: the last level that a machine can run is taken, and "
        "'x86-64-v3'");
    // Other names for the same features.
    refuse_list(f->keep, "haswell,x86-64-v3", MLCC_INVALID, "'haswell' would never run");
    refuse_list(
        f->keep,
        "nehalem,sandybridge,ivybridge,haswell,alderlake,x86-64-v4,cascadelake,znver4,znver5",
        MLCC_INVALID, "names 9 CPU levels; one library holds at most 8");
}

// ---- libraries ----------------------------------------------------------------------------------------

typedef struct built {
    ir_module *modules[N_LEVELS];
    const char *path;
} built;

// The text planned for every name, in one library.
static mlcc_status *build(
    test_folder *f, const char *const *names, size_t n, const char *dump, const char *file,
    built *out) {
    codegen_level levels[N_LEVELS];
    out->path = mlcc_path_join(f->keep, f->path, file);
    for (size_t i = 0; i < n; i++) {
        const codegen_options options = {
            .target = names[i],
            .metadata_json = mlcc_arena_printf(f->keep, "{\"level\": %zu}", i),
            .debug_dump = dump != NULL ? mlcc_path_join(f->keep, dump, names[i]) : NULL};
        compile_target target = {0};
        assert_ok(codegen_open(&options, f->keep, &target.codegen));
        out->modules[i] = compile_parse(text, f->keep);
        compile_plan(out->modules[i], &target, NULL);
        levels[i] = (codegen_level){target.codegen, out->modules[i]};
    }
    return codegen_generate_levels(levels, n, out->path);
}

static mlcc_hash128 hash_of_file(const char *path) {
    mlcc_mapping mapping = {0};
    assert_ok(mlcc_file_map(path, &mapping));
    const mlcc_hash128 hash = mlcc_hash128_of(mapping.data, mapping.size_bytes);
    mlcc_file_unmap(&mapping);
    return hash;
}

static void test_every_level_computes(void **state) {
    test_folder *f = *state;
    const bool is_x86 = compile_can_run(x86_names[0]);
    const char *const *names = is_x86 ? x86_names : arm_names;
    built b;
    assert_ok(build(f, names, N_LEVELS, NULL, "levels.so", &b));
    model_weights *weights = model_weights_make(b.modules[0], NULL, f->keep);
    for (int32_t i = 0; i < N_LEVELS; i++) {
        model_library *library = model_library_open_level(b.path, i, weights, f->keep);
        assert_string_equal(library->abi->target, names[i]);
        assert_string_equal(
            library->abi->metadata, mlcc_arena_printf(f->keep, "{\"level\": %d}", i));
        const ir_function *forward = ir_module_find(b.modules[i], "forward");
        for (int64_t rows = 1; rows <= 40 && compile_can_run(names[i]); rows += 13) {
            ir_tensor *x = random_matrix(IR_F32, rows, 64, 2, 7, f->keep), *expected, *actual;
            ir_eval_options options = {.param = model_weights_eval, .user = weights};
            assert_ok(ir_eval_function(forward, &x, &options, f->keep, &expected));
            model_library_run(library, forward, &x, 2, f->keep, &actual);
            assert_tensors_near(actual, expected, 1e-4, 1e-4, names[i]);
        }
        model_library_close(library);
    }
    assert_null(model_library_open_level(b.path, N_LEVELS, weights, f->keep));
}

// A level is the code of the library that has only it: to the bit, and so is its layout.
static void test_levels_are_libraries(void **state) {
    test_folder *f = *state;
    const bool is_x86 = compile_can_run(x86_names[0]);
    const char *const *names = is_x86 ? x86_names : arm_names;
    built all, one;
    assert_ok(build(f, names, N_LEVELS, NULL, "levels.so", &all));
    model_weights *weights = model_weights_make(all.modules[0], NULL, f->keep);
    for (int32_t i = 0; i < N_LEVELS; i++) {
        assert_ok(build(f, &names[i], 1, NULL, "one.so", &one));
        model_library *level = model_library_open_level(all.path, i, weights, f->keep);
        model_library *alone = model_library_open(one.path, weights, f->keep);
        assert_memory_equal(level->abi->layout_fingerprint, alone->abi->layout_fingerprint, 16);
        assert_string_equal(level->abi->cpu_features, alone->abi->cpu_features);
        for (int64_t rows = 1; rows <= 40 && compile_can_run(names[i]); rows += 39) {
            const ir_function *forward = ir_module_find(one.modules[0], "forward");
            ir_tensor *x = random_matrix(IR_F32, rows, 64, 2, 9, f->keep), *a, *b;
            model_library_run(level, forward, &x, 2, f->keep, &a);
            model_library_run(alone, forward, &x, 1, f->keep, &b);
            assert_memory_equal(a->f32, b->f32, (size_t)rows * 24 * sizeof(float));
        }
        model_library_close(level);
        model_library_close(alone);
    }
}

static void test_files(void **state) {
    test_folder *f = *state;
    built a, b, arm;
    assert_ok(build(f, x86_names, N_LEVELS, NULL, "a.so", &a));
    const char *dump = mlcc_path_join(f->keep, f->path, "dump");
    assert_ok(build(f, x86_names, N_LEVELS, dump, "b.so", &b));
    assert_true(mlcc_hash128_equal(hash_of_file(a.path), hash_of_file(b.path)));
    for (size_t i = 0; i < N_LEVELS; i++) {
        const char *report = mlcc_arena_printf(f->keep, "%s/%s/report.txt", dump, x86_names[i]);
        assert_true(mlcc_file_exists(report));
    }
    assert_ok(build(f, arm_names, N_LEVELS, NULL, "arm.so", &arm));
}

// A plan with one launch, and a param that nobody reads: %s are its layout and the launch's kernel.
#define PLAN_FORMAT \
    "module @m level=plan\nsymbol n_tokens <= 4\nparam @w.weight : f32[33, 20] layout \"%s\"\n" \
    "group @g(%%x: f32[n_tokens, 8]) {\n  %%0 = relu %%x : f32[n_tokens, 8]\n  return %%0\n}\n" \
    "func @forward(%%x: f32[n_tokens, 8]) workspace=0 {\n" \
    "  %%0 = launch %%x {callee = \"g\", kernel = \"%s\"} : f32[n_tokens, 8]\n  return %%0\n}\n"

// Levels may want their params in other layouts: prepared caches are shared where they are the same, and only there.
static void test_layouts(void **state) {
    test_folder *f = *state;
    static const char *const layouts[N_LEVELS] = {"panel16", "rows", "panel16"};
    codegen_level levels[N_LEVELS];
    const ir_module *module = NULL;
    for (size_t i = 0; i < N_LEVELS; i++) {
        const codegen_options options = {.target = x86_names[i]};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, f->keep, &target));
        const char *plan =
            mlcc_arena_printf(f->keep, PLAN_FORMAT, layouts[i], "elementwise__portable");
        module = compile_parse(plan, f->keep);
        levels[i] = (codegen_level){target, module};
    }
    const char *path = mlcc_path_join(f->keep, f->path, "layouts.so");
    assert_ok(codegen_generate_levels(levels, N_LEVELS, path));
    if (!compile_can_run(x86_names[0])) return;
    const model_weights *weights = model_weights_make(module, NULL, f->keep);
    const mlcc_abi_model *abi[N_LEVELS];
    model_library *open[N_LEVELS];
    for (int32_t i = 0; i < N_LEVELS; i++) {
        open[i] = model_library_open_level(path, i, weights, f->keep);
        abi[i] = open[i]->abi;
        assert_string_equal(abi[i]->params[0].layout, layouts[i]);
        assert_true((abi[i]->params[0].prepare == NULL) == (i == 1));
        assert_memory_equal(abi[i]->param_fingerprint, abi[0]->param_fingerprint, 16);
    }
    assert_memory_equal(abi[0]->layout_fingerprint, abi[2]->layout_fingerprint, 16);
    assert_memory_not_equal(abi[0]->layout_fingerprint, abi[1]->layout_fingerprint, 16);
    for (int32_t i = 0; i < N_LEVELS; i++) model_library_close(open[i]);
}

// Plans of different models are no levels of one.
static void test_other_params(void **state) {
    test_folder *f = *state;
    static const char other[] = "module @m level=graph\nsymbol n_tokens <= 40\n"
                                "param @w.weight : f16[40, 64]\n"
                                "func @forward(%x: f32[n_tokens, 64]) {\n"
                                "  %0 = linear %x, @w.weight : f32[n_tokens, 40]\n  return %0\n}\n";
    codegen_level levels[2];
    for (size_t i = 0; i < 2; i++) {
        const codegen_options options = {.target = x86_names[i]};
        compile_target target = {0};
        assert_ok(codegen_open(&options, f->keep, &target.codegen));
        ir_module *module = compile_parse(i == 0 ? text : other, f->keep);
        compile_plan(module, &target, NULL);
        levels[i] = (codegen_level){target.codegen, module};
    }
    const char *path = mlcc_path_join(f->keep, f->path, "other.so");
    assert_error(
        codegen_generate_levels(levels, 2, path), MLCC_INTERNAL,
        "the plans for CPU levels 'x86-64-v2' and 'x86-64-v3' have different params");
    assert_false(mlcc_file_exists(path));
}

// A level that cannot be compiled is named, and no file is left.
static void test_broken_level(void **state) {
    test_folder *f = *state;
    static const char *const kernels[N_LEVELS] = {
        "elementwise__portable", "elementwise_nowhere", "elementwise_elsewhere"};
    codegen_level levels[N_LEVELS];
    for (size_t i = 0; i < N_LEVELS; i++) {
        const codegen_options options = {.target = x86_names[i]};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, f->keep, &target));
        const char *plan = mlcc_arena_printf(f->keep, PLAN_FORMAT, "rows", kernels[i]);
        levels[i] = (codegen_level){target, compile_parse(plan, f->keep)};
    }
    const char *path = mlcc_path_join(f->keep, f->path, "broken.so");
    mlcc_status *status = codegen_generate_levels(levels, N_LEVELS, path);
    char *told = mlcc_status_format(status, 0);
    assert_non_null(strstr(told, "'elementwise_nowhere', which is no row"));
    assert_non_null(strstr(told, "CPU level 'x86-64-v3'"));
    free(told);
    mlcc_status_free(status);
    assert_false(mlcc_file_exists(path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lists, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_every_level_computes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_levels_are_libraries, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_layouts, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_files, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_other_params, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_broken_level, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
