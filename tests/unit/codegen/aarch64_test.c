// Code for aarch64 from this machine: the model's object is linked with a driver that needs no C library and runs under qemu-user; its answers are
// compared with ir/eval, those of byte products also with this machine's own bits. Skipped where qemu-aarch64, clang or lld is absent.
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"

static bool works(const char *command) {
    mlcc_str line = {0};
    mlcc_str_printf(&line, "%s >/dev/null 2>&1", command);
    bool ok = system(mlcc_str_text(&line)) == 0;
    mlcc_str_free(&line);
    return ok;
}

static void run(mlcc_arena *keep, const char *command) {
    if (system(command) != 0) fail_msg("failed: %s", mlcc_arena_strdup(keep, command));
}

// Compiles the planned module for `target_name`, keeping the object, and runs it on `args`.
static void run_there(
    test_folder *f, const ir_module *module, const char *target_name, const model_library *here,
    const model_weights *weights, ir_tensor *const *args, ir_tensor **results) {
    mlcc_arena *keep = f->keep;
    const ir_function *forward = ir_module_find(module, "forward");
    const char *dump = mlcc_path_join(keep, f->path, "dump");
    codegen_options options = {.target = target_name, .debug_dump = dump};
    codegen_target *target = NULL;
    assert_ok(codegen_open(&options, keep, &target));
    assert_ok(codegen_generate(target, module, mlcc_path_join(keep, f->path, "arm.so")));
    codegen_close(target);

    mlcc_str input = {0};
    model_library_pack(here, weights, forward, args, keep, &input);
    assert_ok(mlcc_file_write_atomic(
        mlcc_path_join(keep, f->path, "input"), mlcc_str_text(&input), input.length));
    mlcc_str_free(&input);
    run(keep, mlcc_arena_printf(
                  keep,
                  "'%s/clang' --target=aarch64-linux-gnu -std=c11 -O1 -ffreestanding -fno-builtin "
                  "-fno-stack-protector -nostdlib -static -fuse-ld=lld -I. "
                  "tests/e2e/freestanding_driver.c '%s/lib.o' -o '%s/driver'",
                  MLCC_LLVM_BIN_DIR, dump, f->path));
    run(keep, mlcc_arena_printf(
                  keep, "qemu-aarch64 -cpu max '%s/driver' <'%s/input' >'%s/output'", f->path,
                  f->path, f->path));
    char *output = NULL;
    size_t output_bytes = 0;
    assert_ok(mlcc_file_read(mlcc_path_join(keep, f->path, "output"), 0, &output, &output_bytes));
    model_library_unpack(here, forward, args, output, output_bytes, keep, results);
    free(output);
}

static void check(
    test_folder *f, ir_module *module, ir_tensor *const *args, ir_eval_param *values,
    double tolerance) {
    // Planned for the portable rows, which both machines have.
    char *path = compile_module(module, "x86-64-v2", NULL, f->path, "here.so", f->keep);
    for (size_t i = 0; i < module->n_functions; i++) {
        for (ir_node *node = module->functions[i]->first; node != NULL; node = node->next) {
            if (node->op != IR_OP_LAUNCH) continue;
            assert_non_null(strstr(ir_attr_text(node, "kernel"), "__portable"));
        }
    }
    const ir_function *forward = ir_module_find(module, "forward");
    model_weights *weights = model_weights_make(module, values, f->keep);
    model_library *here = model_library_open(path, weights, f->keep);
    ir_tensor *expected[16], *actual[16];
    ir_eval_options options = {.param = model_weights_eval, .user = weights};
    assert_ok(ir_eval_function(forward, args, &options, f->keep, expected));
    run_there(f, module, "aarch64", here, weights, args, actual);
    for (int32_t i = 0; i < forward->n_returns; i++) {
        assert_tensors_near(actual[i], expected[i], tolerance, tolerance, "aarch64");
    }
    model_library_close(here);
}

static void skip_without_tools(void) {
    if (works("qemu-aarch64 --version") && works("'" MLCC_LLVM_BIN_DIR "/clang' --version") &&
        works("'" MLCC_LLVM_BIN_DIR "/ld.lld' --version")) {
        return;
    }
    print_message("qemu-aarch64, clang or lld is not installed: skipped\n");
    skip();
}

static void test_formats(void **state) {
    skip_without_tools();
    test_folder *f = *state;
    static const char text[] = "module @m level=graph\nsymbol n_tokens <= 8\n"
                               "param @a.weight : q4g32_f16[40, 33]\nparam @b.weight : f16[20, "
                               "40]\nparam @c.weight : bf16[7, 20]\n"
                               "func @forward(%x: f16[n_tokens, 33]) {\n"
                               "  %0 = linear %x, @a.weight : f16[n_tokens, 40]\n"
                               "  %1 = gelu %0 : f16[n_tokens, 40]\n"
                               "  %2 = cast %1 : f32[n_tokens, 40]\n"
                               "  %3 = linear %2, @b.weight : f32[n_tokens, 20]\n"
                               "  %4 = silu %3 : f32[n_tokens, 20]\n"
                               "  %5 = linear %4, @c.weight : bf16[n_tokens, 7]\n"
                               "  return %5\n}\n";
    ir_module *module = compile_parse(text, f->keep);
    ir_tensor *x = ir_tensor_create(f->keep, IR_F16, 2, (int64_t[]){5, 33});
    random_state random = {7};
    for (int64_t i = 0; i < 5 * 33; i++)
        x->f32[i] = ir_round_to(IR_F16, (float)random_unit(&random));
    check(f, module, &x, NULL, 2e-2);
}

// One weight of every kind of code, fp8 activations, a maximum in place.
static void test_codes(void **state) {
    skip_without_tools();
    test_folder *f = *state;
    static const char text[] =
        "module @m level=graph\nsymbol n_tokens <= 8\n"
        "param @a.weight : u4g32_f16[40, 33]\nparam @b.weight : q3g40_f16[50, 40]\n"
        "param @c.weight : q8g32_f16[33, 50]\nparam @d.weight : e4m3_f32[20, 33]\n"
        "param @e.weight : e5m2[7, 20]\n"
        "func @forward(%x: f32[n_tokens, 33], %m: f32[1]) {\n"
        "  %0 = quantize_activation %x : f32[n_tokens, 33]\n"
        "  %1 = linear %0, @a.weight : f32[n_tokens, 40]\n"
        "  %2 = linear %1, @b.weight : f32[n_tokens, 50]\n"
        "  %3 = linear %2, @c.weight : f32[n_tokens, 33]\n"
        "  %4 = observe_max %m, %3 : f32[1]\n"
        "  %5 = linear %3, @d.weight : f32[n_tokens, 20]\n"
        "  %6 = linear %5, @e.weight : f32[n_tokens, 7]\n"
        "  return %6, %4\n}\n";
    ir_module *module = compile_parse(text, f->keep);
    ir_tensor *args[] = {
        ir_tensor_create(f->keep, IR_F32, 2, (int64_t[]){5, 33}),
        ir_tensor_create(f->keep, IR_F32, 1, (int64_t[]){1})};
    random_state random = {11};
    for (int64_t i = 0; i < 5 * 33; i++) args[0]->f32[i] = (float)random_unit(&random);
    args[1]->f32[0] = 0;
    check(f, module, args, NULL, 2e-4);
}

static void test_decoder(void **state) {
    skip_without_tools();
    test_folder *f = *state;
    ir_module *module = random_module(3, f->keep);
    ir_tensor **args = random_inputs(ir_module_find(module, "forward"), 3, f->keep);
    check(f, module, args, random_param, 1e-2);
}

// ---- products of bytes --------------------------------------------------------------------------------

static const char bytes_text[] =
    "module @m level=graph\nsymbol n_tokens <= 16\n"
    "param @a.weight : q4g32_f16[40, 33]\nparam @b.weight : q8g32_f16[70, 40]\n"
    "param @c.weight : u4g64_f16[56, 70]\nparam @c.bias : f16[56]\n"
    "param @d.weight : q8g32_f16[17, 56]\n"
    "param @e.weight : q4g32_f16[3, 24, 33]\nparam @e.bias : f16[3, 24]\n"
    "param @f.weight : q8g32_f16[3, 24, 33]\n"
    "func @forward(%x: f32[n_tokens, 33]) {\n"
    "  %0, %1 = encode_activation %x {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 33], f32[n_tokens, 2]\n"
    "  %2 = linear_scaled %0, @a.weight, %1 {group = 32} : f32[n_tokens, 40]\n"
    "  %3, %4 = encode_activation %2 {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 40], f32[n_tokens, 2]\n"
    "  %5 = linear_scaled %3, @b.weight, %4 {group = 32} : f32[n_tokens, 70]\n"
    "  %6, %7 = encode_activation %5 {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 70], f32[n_tokens, 3]\n"
    "  %8 = linear_scaled %6, @c.weight, %7, @c.bias {group = 32} : f32[n_tokens, 56]\n"
    "  %9, %10 = encode_activation %8 {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 56], f32[n_tokens, 2]\n"
    "  %11 = linear_scaled %9, @d.weight, %10 {group = 32} : f32[n_tokens, 17]\n"
    "  %12 = slice %x {begin = 0, end = 3} : f32[n_tokens, 3]\n"
    "  %13, %14 = route_experts %12 {k = 2} : i32[n_tokens, 2], f32[n_tokens, 2]\n"
    "  %15 = linear_scaled_experts %0, @e.weight, %13, %1, @e.bias {group = 32} : f32[n_tokens, "
    "48]\n"
    "  %16 = linear_scaled_experts %0, @f.weight, %13, %1 {group = 32} : f32[n_tokens, 48]\n"
    "  return %11, %5, %8, %2, %15, %16, %14\n}\n";
enum {
    N_RESULTS = 7,
    N_BYTES = 6,
    BYTES_OF_X = 3
}; // products of bytes, of x from the fourth on; weights

static void assert_row_used(const ir_function *forward, const char *kernel) {
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        if (strcmp(ir_attr_text(node, "kernel"), kernel) == 0) return;
    }
    fail_msg("no group uses %s", kernel);
}

// Sums of bytes are exact and the steps in float32 ordered, so the bits are those of another machine.
static void check_bytes(test_folder *f, const char *target_name, const char *kernel) {
    ir_module *here_module = compile_parse(bytes_text, f->keep);
    ir_module *there_module = compile_parse(bytes_text, f->keep);
    char *path = compile_module(here_module, "x86-64-v3", NULL, f->path, "here.so", f->keep);
    compile_module(there_module, target_name, NULL, f->path, "there.so", f->keep);
    const ir_function *forward = ir_module_find(here_module, "forward");
    assert_row_used(ir_module_find(there_module, "forward"), kernel);
    model_weights *weights = model_weights_make(here_module, NULL, f->keep);
    model_library *here = model_library_open(path, weights, f->keep);
    random_state random = {23};
    // Alone, and as tiles of several heights.
    for (int64_t n_rows = 1; n_rows <= 13; n_rows += 12) {
        ir_tensor *x = ir_tensor_create(f->keep, IR_F32, 2, (int64_t[]){n_rows, 33});
        for (int64_t i = 0; i < n_rows * 33; i++) x->f32[i] = (float)random_unit(&random);
        ir_tensor *expected[N_RESULTS], *same[N_RESULTS], *actual[N_RESULTS];
        ir_eval_options options = {.param = model_weights_eval, .user = weights};
        assert_ok(ir_eval_function(forward, &x, &options, f->keep, expected));
        model_library_run(here, forward, &x, 1, f->keep, same);
        run_there(f, there_module, target_name, here, weights, &x, actual);
        // Only products of x read what ir/eval reads: a last bit more or less moves codes of the others.
        for (int32_t i = BYTES_OF_X; i < N_BYTES; i++)
            assert_tensors_near(actual[i], expected[i], 1e-5, 1e-5, kernel);
        for (int32_t i = 0; i < N_BYTES; i++) assert_tensors_near(actual[i], same[i], 0, 0, kernel);
    }
    model_library_close(here);
}

static void test_bytes(void **state) {
    skip_without_tools();
    if (!compile_can_run("x86-64-v3")) skip();
    check_bytes(*state, "cortex-a76", "linear_scaled_panel16__arm_dotprod");
    check_bytes(*state, "neoverse-v1", "linear_scaled_panel16__arm_i8mm");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_formats, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_codes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_decoder, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_bytes, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
