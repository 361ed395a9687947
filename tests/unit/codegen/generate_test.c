// From IR to lib.so and back to numbers: hand-written plans and random modules, run with one and two threads, against ir/eval.
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"
#include "tests/support/sanitized.h"

#include "runtime/base/hash.h"

#include <math.h>

// Three launches, workspace that is used twice, a bias, a fused epilogue, an intermediate that is also returned.
static const char plan_text[] = "module @plan level=plan\n"
                                "symbol n_tokens <= 40\n"
                                "param @up.weight : f32[33, 20] layout \"panel16\"\n"
                                "param @down.weight : q4g32_f16[20, 33] layout \"panel16\"\n"
                                "param @down.bias : f16[20] layout \"rows\"\n"
                                "const @shift : f32[20] = [0.5, 1.5, -2.0, 0.25, 0.0, 1.0, 1.0, "
                                "1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, "
                                "-7.0]\n"
                                "group @elementwise(%x: f32[n_tokens, 20], %s: f32[20]) {\n"
                                "  %0 = add %x, %s : f32[n_tokens, 20]\n"
                                "  return %0\n"
                                "}\n"
                                "group @linear(%x: f32[n_tokens, 20], %w: f32[33, 20]) {\n"
                                "  %0 = linear %x, %w : f32[n_tokens, 33]\n"
                                "  %1 = silu %0 : f32[n_tokens, 33]\n"
                                "  return %1\n"
                                "}\n"
                                "group @linear.1(%x: f32[n_tokens, 33], %w: q4g32_f16[20, 33], %b: "
                                "f16[20], %r: f32[n_tokens, 20]) {\n"
                                "  %0 = linear %x, %w, %b : f32[n_tokens, 20]\n"
                                "  %1 = add %0, %r : f32[n_tokens, 20]\n"
                                "  %2 = cast %1 : f16[n_tokens, 20]\n"
                                "  return %0, %2\n"
                                "}\n"
                                "func @forward(%x: f32[n_tokens, 20]) workspace=12800 {\n"
                                "  %0 = launch %x, @shift {callee = \"elementwise\", kernel = "
                                "\"elementwise__portable\"} : f32[n_tokens, 20] at 0\n"
                                "  %1 = launch %0, @up.weight {callee = \"linear\", kernel = "
                                "\"linear_panel16__portable\"} : f32[n_tokens, 33] at 3200\n"
                                "  %2, %3 = launch %1, @down.weight, @down.bias, %0 {callee = "
                                "\"linear.1\", kernel = \"linear_panel16__portable\"} : "
                                "f32[n_tokens, 20], f16[n_tokens, 20] at 8512, -\n"
                                "  %4 = launch %2, @shift {callee = \"elementwise\", kernel = "
                                "\"elementwise__portable\"} : f32[n_tokens, 20]\n"
                                "  return %3, %4\n"
                                "}\n";

static void compare_run(
    const model_library *library, const ir_function *function, ir_tensor *const *args,
    const model_weights *weights, int32_t n_threads, double tolerance, mlcc_arena *keep) {
    ir_tensor *expected[8], *actual[8];
    ir_eval_options options = {.param = model_weights_eval};
    memcpy(&options.user, &weights, sizeof weights);
    assert_ok(ir_eval_function(function, args, &options, keep, expected));
    model_library_run(library, function, args, n_threads, keep, actual);
    for (int32_t i = 0; i < function->n_returns; i++) {
        char what[32];
        snprintf(what, sizeof what, "return %d", i);
        double own = expected[i]->dtype == IR_F16 ? 1e-3 : expected[i]->dtype == IR_BF16 ? 8e-3 : 0;
        assert_tensors_near(
            actual[i], expected[i], tolerance, tolerance > own ? tolerance : own, what);
    }
}

static void test_plan(void **state) {
    test_folder *f = *state;
    ir_module *module = compile_parse(plan_text, f->keep);
    const ir_function *forward = ir_module_find(module, "forward");
    model_weights *weights = model_weights_make(module, NULL, f->keep);
    char *path = compile_module(module, "native", NULL, f->path, "lib.so", f->keep);
    model_library *library = model_library_open(path, weights, f->keep);
    static const int64_t sizes[] = {0, 1, 2, 3, 5, 8, 17, 40};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ir_tensor *x = random_matrix(IR_F32, sizes[i], 20, 2, i, f->keep);
        compare_run(library, forward, &x, weights, 1, 2e-5, f->keep);
        compare_run(library, forward, &x, weights, 2, 2e-5, f->keep);
        compare_run(library, forward, &x, weights, 5, 2e-5, f->keep);
    }
    model_library_close(library);
}

// What the tables say.
static void test_tables(void **state) {
    test_folder *f = *state;
    ir_module *module = compile_parse(plan_text, f->keep);
    model_weights *weights = model_weights_make(module, NULL, f->keep);
    char *path = compile_module(module, "x86-64-v2", NULL, f->path, "lib.so", f->keep);
    model_library *library = model_library_open(path, weights, f->keep);
    const mlcc_abi_model *abi = library->abi;
    assert_string_equal(abi->target, "x86-64-v2");
    assert_string_equal(abi->cpu_features, "cx16,popcnt,sahf,sse3,sse4.1,sse4.2,ssse3");
    assert_string_equal(abi->metadata, "{\"test\": true}");
    assert_int_equal(abi->n_symbols, 1);
    assert_string_equal(abi->symbols[0].name, "n_tokens");
    assert_int_equal(abi->symbols[0].bound, 40);

    assert_int_equal(abi->n_params, 3);
    const mlcc_abi_param *up = &abi->params[0], *down = &abi->params[1], *bias = &abi->params[2];
    assert_string_equal(up->name, "up.weight");
    assert_string_equal(up->format, "f32");
    assert_string_equal(up->layout, "panel16");
    assert_int_equal(up->n_pieces, 1);
    assert_non_null(up->prepare);
    assert_int_equal(up->n_prepare_items, 3);
    assert_int_equal(up->prepared_bytes, 3 * 16 * 20 * 4);
    assert_string_equal(up->pieces[0].name, "up.weight");
    assert_int_equal(up->pieces[0].dtype, MLCC_ABI_F32);
    assert_int_equal(up->pieces[0].dims[0], 33);
    assert_int_equal(up->pieces[0].size_bytes, 33 * 20 * 4);
    assert_int_equal(down->n_pieces, 2);
    assert_string_equal(down->pieces[0].name, "down.q_weight");
    assert_string_equal(down->pieces[1].name, "down.q_scale");
    assert_int_equal(down->pieces[1].dtype, MLCC_ABI_F16);
    assert_null(bias->prepare);
    assert_int_equal(bias->prepared_bytes, 64);

    assert_int_equal(abi->n_functions, 1);
    const mlcc_abi_function *forward = &abi->functions[0];
    assert_string_equal(forward->name, "forward");
    assert_int_equal(forward->n_args, 1);
    assert_string_equal(forward->args[0].name, "x");
    assert_int_equal(forward->args[0].rank, 2);
    assert_int_equal(forward->args[0].dims[0], -1);
    assert_int_equal(forward->args[0].symbols[0], 0);
    assert_int_equal(forward->args[0].dims[1], 20);
    assert_int_equal(forward->args[0].symbols[1], -1);
    assert_int_equal(forward->n_results, 2);
    assert_int_equal(forward->results[0].dtype, MLCC_ABI_F16);
    assert_int_equal(forward->results[1].dtype, MLCC_ABI_F32);
    assert_int_equal(forward->workspace_bytes, 12800);
    assert_int_equal(forward->n_counters, 4);
    assert_true(forward->scratch_bytes > 0 && forward->scratch_bytes % 64 == 0);
    model_library_close(library);
}

// A calibrated fp8 linear: pieces of bytes, a scale as rows, an argument that is changed in place; the weights of an AWQ checkpoint.
static void test_quantized(void **state) {
    test_folder *f = *state;
    static const char text[] =
        "module @m level=graph\nsymbol n_tokens <= 8\n"
        "param @a.weight : e4m3_f32[24, 40]\nparam @a.q_calibration_scale : f32[1]\n"
        "param @b.weight : u4g32_f16[16, 24]\n"
        "func @forward(%x: f32[n_tokens, 40], %m: f32[1]) {\n"
        "  %0 = observe_max %m, %x : f32[1]\n"
        "  %1 = quantize_activation %x, @a.q_calibration_scale : f32[n_tokens, 40]\n"
        "  %2 = linear %1, @a.weight : f32[n_tokens, 24]\n"
        "  %3 = linear %2, @b.weight : f32[n_tokens, 16]\n"
        "  return %3, %0\n}\n";
    ir_module *module = compile_parse(text, f->keep);
    char *path = compile_module(module, "native", NULL, f->path, "lib.so", f->keep);
    const ir_function *forward = ir_module_find(module, "forward");
    model_weights *weights = model_weights_make(module, NULL, f->keep);
    model_library *library = model_library_open(path, weights, f->keep);
    assert_int_equal(library->abi->n_params, 3);
    for (uint32_t i = 0; i < library->abi->n_params; i++) {
        const mlcc_abi_param *param = &library->abi->params[i];
        if (strcmp(param->name, "a.weight") == 0) {
            assert_int_equal(param->n_pieces, 2);
            assert_int_equal(param->pieces[0].dtype, MLCC_ABI_F8E4M3);
            assert_int_equal(param->pieces[0].size_bytes, 24 * 40);
            assert_int_equal(param->pieces[1].dtype, MLCC_ABI_F32);
            assert_int_equal(param->pieces[1].size_bytes, 4);
            assert_int_equal(param->prepared_bytes, 2 * 2112);
        } else if (strcmp(param->name, "a.q_calibration_scale") == 0) {
            assert_string_equal(param->layout, "rows");
            assert_int_equal(param->pieces[0].dtype, MLCC_ABI_F32);
        } else {
            assert_int_equal(param->n_pieces, 3);
            assert_string_equal(param->pieces[0].name, "b.qweight");
            assert_int_equal(param->prepared_bytes, 640);
        }
    }
    assert_int_equal(library->abi->functions[0].n_results, 1); // the maximum is an argument
    for (int64_t n = 1; n <= 8; n += 7) {
        ir_tensor *args[] = {
            random_matrix(IR_F32, n, 40, 2, 3, f->keep),
            ir_tensor_create(f->keep, IR_F32, 1, (int64_t[]){1})};
        args[1]->f32[0] = n == 1 ? 0.0f : 1.9f;
        compare_run(library, forward, args, weights, 1, 2e-5, f->keep);
        compare_run(library, forward, args, weights, 3, 2e-5, f->keep);
    }
    model_library_close(library);
}

// Row n of the weight is fp8 code n at one k, and zeros.
static mlcc_status *every_code(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    (void)user;
    *out = ir_tensor_create(keep, param->value.type.dtype, 2, (int64_t[]){256, 6});
    for (int n = 0; n < 256; n++) {
        (*out)->f32[n * 6 + n % 6] = param->value.type.dtype == IR_E5M2
                                         ? ir_f8e5m2_to_f32((uint8_t)n)
                                         : ir_f8e4m3_to_f32((uint8_t)n);
    }
    return NULL;
}

// All codes come through storage, preparation and both paths of the product as they are: subnormal numbers, NaN, infinity (which
// is stored saturated).
static void test_float8_codes(void **state) {
    test_folder *f = *state;
    static const char text[] = "module @m level=graph\nsymbol n_tokens <= 40\n"
                               "param @a.weight : e4m3_f32[256, 6]\n"
                               "param @b.weight : e4m3b128_f32[256, 6]\n"
                               "param @c.weight : e5m2[256, 6]\n"
                               "func @forward(%x: f32[n_tokens, 6]) {\n"
                               "  %0 = linear %x, @a.weight : f32[n_tokens, 256]\n"
                               "  %1 = linear %x, @b.weight : f32[n_tokens, 256]\n"
                               "  %2 = linear %x, @c.weight : f32[n_tokens, 256]\n"
                               "  return %0, %1, %2\n}\n";
    ir_module *module = compile_parse(text, f->keep);
    model_weights *weights = model_weights_make(module, every_code, f->keep);
    static const char *const targets[] = {"x86-64-v2", "native"};
    for (int t = 0; t < 2; t++) {
        module = compile_parse(text, f->keep);
        char *path = compile_module(module, targets[t], NULL, f->path, "lib.so", f->keep);
        model_library *library = model_library_open(path, weights, f->keep);
        for (int64_t rows = 1; rows <= 40; rows += 39) {
            ir_tensor *x = ir_tensor_create(f->keep, IR_F32, 2, (int64_t[]){rows, 6});
            for (int64_t i = 0; i < rows * 6; i++) x->f32[i] = 1.0f;
            ir_tensor *results[3];
            const ir_function *forward = ir_module_find(module, "forward");
            model_library_run(library, forward, &x, 2, f->keep, results);
            for (int64_t i = 0; i < 3 * rows * 256; i++) {
                const uint8_t code = (uint8_t)(i % 256);
                float expected =
                    i / (rows * 256) == 2 ? ir_f8e5m2_to_f32(code) : ir_f8e4m3_to_f32(code);
                if (isinf(expected)) expected = copysignf(57344.0f, expected);
                const float actual = results[i / (rows * 256)]->f32[i % (rows * 256)];
                assert_true(isnan(expected) ? isnan(actual) : actual == expected);
            }
        }
        model_library_close(library);
    }
}

static mlcc_hash128 hash_of_file(const char *path) {
    mlcc_mapping mapping = {0};
    assert_ok(mlcc_file_map(path, &mapping));
    mlcc_hash128 hash = mlcc_hash128_of(mapping.data, mapping.size_bytes);
    mlcc_file_unmap(&mapping);
    return hash;
}

static void test_same_bytes(void **state) {
    test_folder *f = *state;
    static const char *const targets[] = {"x86-64-v2", "x86-64-v4", "aarch64"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        mlcc_hash128 hashes[2];
        for (int run = 0; run < 2; run++) {
            const char *folder = mlcc_path_join(f->keep, f->path, run == 0 ? "a" : "another/place");
            assert_ok(mlcc_dir_make(folder));
            ir_module *module = compile_parse(plan_text, f->keep);
            hashes[run] = hash_of_file(compile_module(
                module, targets[i], NULL, folder, run == 0 ? "lib.so" : "x.so", f->keep));
        }
        assert_true(mlcc_hash128_equal(hashes[0], hashes[1]));
    }
}

// ir/eval rounds after every op, generated code keeps float32 inside a group: allow a few units of the shortest dtype on the way.
static double tolerance_of(const ir_function *function) {
    double tolerance = 1e-4;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        ir_dtype dtype = node->results[0]->type.dtype;
        double own = dtype == IR_F16 ? 1e-2 : dtype == IR_BF16 ? 8e-2 : 0;
        if (own > tolerance) tolerance = own;
    }
    return tolerance;
}

static void run_random(test_folder *f, uint64_t seed, const char *target) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = random_module(seed, keep);
    const ir_function *graph = ir_module_find(module, "forward");
    ir_tensor **args = random_inputs(graph, seed, keep);
    double tolerance = tolerance_of(graph);
    char *path = compile_module(module, target, NULL, f->path, "random.so", keep);
    const ir_function *forward = ir_module_find(module, "forward");
    model_weights *weights = model_weights_make(module, random_param, keep);
    model_library *library = model_library_open(path, weights, keep);
    compare_run(library, forward, args, weights, 1, tolerance, keep);
    compare_run(library, forward, args, weights, 3, tolerance, keep);
    model_library_close(library);
    mlcc_arena_free(keep);
}

static void test_random_modules(void **state) {
    static const char *const targets[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
    // Most of the time LLVM works; the passes see many more such modules in their own tests.
    const uint64_t n_modules = IS_SANITIZED ? 9 : 30;
    for (uint64_t seed = 1; seed <= n_modules; seed++) {
        const char *target = targets[seed % 3];
        if (!compile_can_run(target)) target = "native";
        run_random(*state, seed, target);
    }
}

// A launch whose kernel cannot do what the group needs is refused when code is generated, with the kernel and the hook named.
static void expect_refused(
    test_folder *f, const char *group, const char *kernel, const char *part) {
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=plan\nsymbol n_tokens <= 4\n%sfunc @forward(%%x: f32[n_tokens, 8], %%w: "
        "f32[8, "
        "8]) workspace=0 {\n  %%0 = launch %%x, %%w {callee = \"g\", kernel = \"%s\"} : "
        "f32[n_tokens, 8]\n  return %%0\n}\n",
        group, kernel);
    ir_module *module = NULL;
    assert_ok(ir_parse_module(mlcc_str_text(&text), text.length, "test", f->keep, &module));
    mlcc_str_free(&text);
    codegen_options options = {.target = "x86-64-v2"};
    codegen_target *target = NULL;
    assert_ok(codegen_open(&options, f->keep, &target));
    const char *path = mlcc_path_join(f->keep, f->path, "refused.so");
    assert_error(codegen_generate(target, module, path), MLCC_INTERNAL, part);
    assert_false(mlcc_file_exists(path));
}

static void test_refusals(void **state) {
    test_folder *f = *state;
#define GROUP(body) "group @g(%x: f32[n_tokens, 8], %w: f32[8, 8]) {\n" body "}\n"
    static const char linear[] = GROUP("  %0 = linear %x, %w : f32[n_tokens, 8]\n  return %0\n");
    static const char prologue[] = GROUP("  %0 = relu %x : f32[n_tokens, 8]\n  %1 = linear %0, %w "
                                         ": f32[n_tokens, 8]\n  return %1\n");
    expect_refused(f, linear, "linear_nowhere", "no row of cpu_kernels.def");
    expect_refused(f, linear, "rms_norm__portable", "which is for another op");
    expect_refused(
        f, prologue, "linear_panel16__portable",
        "kernel 'linear_panel16__portable' uses hook 'kernel_pointer_0', which group 'g' cannot "
        "provide: the operand is computed by a fused prologue");
    static const char kept[] = GROUP("  %0 = relu %x : f32[n_tokens, 8]\n  %1 = linear %x, %w : "
                                     "f32[n_tokens, 8]\n  return %0\n");
    expect_refused(f, kept, "linear_panel16__portable", "has no hook that stores return 0");
    static const char shifted[] =
        GROUP("  %0 = linear %x, %w : f32[n_tokens, 8]\n  %1 = rope %0, %x {head_dim = 8} : "
              "f32[n_tokens, 8]\n  return %1\n");
    expect_refused(f, shifted, "linear_panel16__portable", "has not computed yet");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plan, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_tables, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_quantized, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_float8_codes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_same_bytes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_random_modules, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
