// Every element-wise op as generated code against ir/eval: exact where the op is exact, else within the bounds that portable/math.c promises;
// for every float dtype, with and without the machine's conversion instructions, vectors and odd tails included.
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"

#include <math.h>

enum { ROWS = 5, COLUMNS = 96 };

// Ordinary numbers of growing size, and what conversions stumble over: ties, denormals, the edges of f16.
static float interesting(random_state *random, int64_t i) {
    static const float special[] = {
        0.0f,      -0.0f,           1.0f,       -1.0f,        0x1p-24f,  0x1.8p-24f,
        0x1p-25f,  0x1.000002p-25f, 0x1p-14f,   0x1.ffcp-15f, 65504.0f,  65519.0f,
        -65520.0f, 1e30f,           0x1.004p0f, 0x1.00cp0f,   0x1.01p0f, 0x1.03p0f,
        -87.5f,    20.0f,           -3.0f,
    };
    const int64_t n_special = (int64_t)(sizeof special / sizeof special[0]);
    if (i < n_special) return special[i];
    double scale = i % 3 == 0 ? 0.5 : i % 3 == 1 ? 4.0 : 30.0;
    return (float)(scale * random_unit(random));
}

// tame: small numbers; otherwise all kinds.
static ir_tensor *input(
    ir_dtype dtype, int64_t rows, int64_t columns, bool tame, mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, dtype, 2, (int64_t[]){rows, columns});
    random_state random = {(uint64_t)(rows * 1000 + columns)};
    for (int64_t i = 0; i < rows * columns; i++) {
        float value = tame ? (float)(3 * random_unit(&random)) : interesting(&random, i);
        tensor->f32[i] = ir_round_to(dtype, value);
    }
    return tensor;
}

// The functions are compared where they are finite: at infinity ir/eval may say NaN (-inf / inf) where the limit is 0.
static ir_tensor *without_infinities(ir_tensor *tensor) {
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++) {
        if (isinf(tensor->f32[i])) tensor->f32[i] = 11.0f;
    }
    return tensor;
}

static const char *const targets[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "native"};

// Compiles `text` (one function @forward(%x, %y) whose results are compared) for every target that this machine runs.
static void check(
    test_folder *f, const char *text, ir_tensor *const *args, double absolute, double relative,
    const char *what) {
    for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++) {
        if (!compile_can_run(targets[t])) continue;
        mlcc_arena *keep = mlcc_arena_create();
        ir_module *module = compile_parse(text, keep);
        char *path = compile_module(module, targets[t], NULL, f->path, "lib.so", keep);
        const ir_function *forward = ir_module_find(module, "forward");
        ir_tensor *expected[16], *actual[16];
        ir_eval_options options = {0};
        assert_ok(ir_eval_function(forward, args, &options, keep, expected));
        model_library *library =
            model_library_open(path, model_weights_make(module, NULL, keep), keep);
        model_library_run(library, forward, args, 2, keep, actual);
        for (int32_t i = 0; i < forward->n_returns; i++) {
            const char *name =
                mlcc_arena_printf(keep, "%s, result %d, target %s", what, i, targets[t]);
            assert_tensors_near(actual[i], expected[i], absolute, relative, name);
        }
        model_library_close(library);
        mlcc_arena_free(keep);
    }
}

// Each op alone, in the given dtype.
static char *one_op_each(
    mlcc_arena *keep, const char *dtype, const char *const *lines, size_t n_lines) {
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 64\nfunc @forward(%%x: %s[n_tokens, 96], %%y: "
        "%s[n_tokens, 96]) {\n",
        dtype, dtype);
    for (size_t i = 0; i < n_lines; i++) {
        mlcc_str_printf(&text, "  %%%zu = %s : %s[n_tokens, 96]\n", i, lines[i], dtype);
    }
    mlcc_str_puts(&text, "  return ");
    for (size_t i = 0; i < n_lines; i++) mlcc_str_printf(&text, "%s%%%zu", i > 0 ? ", " : "", i);
    mlcc_str_puts(&text, "\n}\n");
    char *copy = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return copy;
}

static const char *const dtype_names[] = {"f32", "f16", "bf16"};
static const ir_dtype dtypes[] = {IR_F32, IR_F16, IR_BF16};
// Half a unit in the last place more than the float32 error: a value near a tie may round the other way.
static const double dtype_errors[] = {0, 0x1p-10, 0x1p-7};

static void test_exact_ops(void **state) {
    test_folder *f = *state;
    static const char *const lines[] = {
        "add %x, %y",
        "mul %x, %y",
        "scale %x {factor = -1.5}",
        "relu %x",
        "add %x, %x",
        "clamp %x {max = 0.7, min = -0.25}",
        "clamp %x {max = -1.0}",
        "clamp %y {min = 3.0}",
    };
    for (size_t d = 0; d < 3; d++) {
        ir_tensor *args[] = {
            input(dtypes[d], ROWS, COLUMNS, false, f->keep),
            input(dtypes[d], ROWS, COLUMNS, true, f->keep)};
        check(f, one_op_each(f->keep, dtype_names[d], lines, 8), args, 0, 0, dtype_names[d]);
    }
}

static void test_functions(void **state) {
    test_folder *f = *state;
    static const char *const lines[] = {
        "silu %x", "sigmoid %x", "softcap %x {cap = 20.0}", "gelu %x", "gelu_tanh %x"};
    for (size_t d = 0; d < 3; d++) {
        ir_tensor *args[] = {
            without_infinities(input(dtypes[d], ROWS, COLUMNS, false, f->keep)),
            input(dtypes[d], ROWS, COLUMNS, true, f->keep)};
        char *exp_family = one_op_each(f->keep, dtype_names[d], lines, 3);
        check(
            f, exp_family, args, 1e-37 + (d == 1 ? 0x1p-24 : 0), 5e-7 + dtype_errors[d],
            dtype_names[d]);
        char *gelus = one_op_each(f->keep, dtype_names[d], lines + 3, 2);
        check(f, gelus, args, 1.5e-7, 3e-6 + dtype_errors[d], dtype_names[d]);
    }
}

static void test_casts(void **state) {
    test_folder *f = *state;
    for (size_t from = 0; from < 3; from++) {
        mlcc_str text = {0};
        mlcc_str_printf(
            &text,
            "module @m level=graph\nsymbol n_tokens <= 64\nfunc @forward(%%x: %s[n_tokens, 96]) "
            "{\n",
            dtype_names[from]);
        for (size_t to = 0; to < 3; to++) {
            mlcc_str_printf(
                &text,
                "  %%c%zu = cast %%x : %s[n_tokens, 96]\n  %%s%zu = scale %%c%zu {factor = 4.0} : "
                "%s[n_tokens, 96]\n",
                to, dtype_names[to], to, to, dtype_names[to]);
            mlcc_str_printf(&text, "  %%b%zu = cast %%s%zu : f32[n_tokens, 96]\n", to, to);
        }
        mlcc_str_puts(&text, "  return %c0, %c1, %c2, %b0, %b1, %b2\n}\n");
        // Constant folding and canonicalizing may drop a cast to the own dtype; then the argument itself would be returned.
        char *copy = mlcc_arena_strdup(f->keep, text.data);
        char own[32];
        snprintf(own, sizeof own, "return %%c%zu, ", from);
        mlcc_str_free(&text);
        char *returns = strstr(copy, "return ");
        snprintf(
            returns, strlen(returns), "return %s, %%b0, %%b1, %%b2\n}\n",
            from == 0   ? "%c1, %c2"
            : from == 1 ? "%c0, %c2"
                        : "%c0, %c1");
        ir_tensor *args[] = {input(dtypes[from], ROWS, COLUMNS, false, f->keep)};
        check(f, copy, args, 0, 0, dtype_names[from]);
    }
}

// All f16 numbers to f32 and back, bit by bit.
static void test_every_f16(void **state) {
    test_folder *f = *state;
    static const char text[] = "module @m level=graph\nsymbol n_tokens <= 64\n"
                               "func @forward(%x: f16[n_tokens, 1024]) {\n"
                               "  %0 = cast %x : f32[n_tokens, 1024]\n  %1 = scale %0 {factor = "
                               "1.0009765625} : f32[n_tokens, 1024]\n"
                               "  %2 = cast %1 : f16[n_tokens, 1024]\n  return %0, %2\n}\n";
    ir_tensor *x = ir_tensor_create(f->keep, IR_F16, 2, (int64_t[]){64, 1024});
    for (int64_t i = 0; i < 65536; i++) x->f32[i] = ir_f16_to_f32((uint16_t)i);
    check(f, text, &x, 0, 0, "every f16");
}

static void test_places(void **state) {
    test_folder *f = *state;
    static const char text[] =
        "module @m level=graph\nsymbol n_tokens <= 64\n"
        "const @row : f32[40] = [0.5, 1.5, -2.0, 0.25, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, "
        "8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, "
        "15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 28.0, 29.0, "
        "30.0, 31.0, 32.0, 33.0, 34.0, -7.0]\n"
        "func @forward(%x: f32[n_tokens, 96], %t: f32[n_tokens, 6]) {\n"
        "  %0 = slice %x {begin = 7, end = 47} : f32[n_tokens, 40]\n"
        "  %1 = add %0, @row : f32[n_tokens, 40]\n"
        "  %2 = slice %1 {begin = 39, end = 40} : f32[n_tokens, 1]\n"
        "  %3 = slice %x {begin = 0, end = 48} : f32[n_tokens, 48]\n"
        "  %4 = slice %x {begin = 48, end = 96} : f32[n_tokens, 48]\n"
        "  %5 = mul %3, %4 : f32[n_tokens, 48]\n"
        "  %6 = rope %x, %t {head_dim = 6} : f32[n_tokens, 96]\n"
        "  %7 = rope %x, %t {head_dim = 8} : f32[n_tokens, 96]\n"
        "  %8 = rope %x, %t {head_dim = 6, interleaved = true} : f32[n_tokens, 96]\n"
        "  %9 = rope %4, %t {head_dim = 16, interleaved = true} : f32[n_tokens, 48]\n"
        "  return %2, %5, %6, %7, %8, %9\n}\n";
    static const int64_t rows[] = {1, 2, 3, 17};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ir_tensor *args[] = {
            input(IR_F32, rows[i], 96, true, f->keep), input(IR_F32, rows[i], 6, true, f->keep)};
        check(f, text, args, 1e-6, 1e-6, "places");
    }
}

// A chain that reads each value twice: emitted once per value, not once per path.
static void test_shared_values(void **state) {
    test_folder *f = *state;
    mlcc_str text = {0};
    mlcc_str_puts(
        &text,
        "module @m level=graph\nfunc @forward(%x: f32[3, 96]) {\n  %0 = add %x, %x : f32[3, 96]\n");
    for (int i = 1; i < 28; i++) {
        mlcc_str_printf(
            &text, "  %%%d = %s %%%d, %%%d : f32[3, 96]\n", i, i % 4 == 0 ? "mul" : "add", i - 1,
            i - 1);
        if (i % 2 == 0) {
            mlcc_str_printf(&text, "  %%s%d = scale %%%d {factor = 0.015625} : f32[3, 96]\n", i, i);
        }
    }
    mlcc_str_puts(&text, "  return %27\n}\n");
    ir_tensor *x = ir_tensor_create(f->keep, IR_F32, 2, (int64_t[]){3, 96});
    for (int64_t i = 0; i < 3 * 96; i++) x->f32[i] = (float)i * 0x1p-30f;
    check(f, mlcc_str_text(&text), &x, 1e-30, 1e-5, "shared values");
    mlcc_str_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exact_ops, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_functions, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_casts, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_every_f16, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_places, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_shared_values, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
