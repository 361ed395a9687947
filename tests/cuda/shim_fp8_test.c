// Activations as fp8 codes, and linears that read them, run under cuda_shim in every way to multiply codes, on odd shapes and both sides of every
// entry's number of tokens, against ir/eval. Then NVRTC's PTX of each way in the interpreter, where NVRTC is installed.
#include "tests/support/cuda_group.h"
#include "tests/support/cuda_ptx.h"
#include "tests/support/random_module.h"

#include <math.h>

// Numbers of many magnitudes; `special`: with infinities, NaN and zeros of both signs, and a row of zeros.
static ir_tensor *activations(
    ir_dtype dtype, int64_t rows, int64_t columns, bool special, uint64_t seed, mlcc_arena *keep) {
    static const float specials[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-8f, 65504.0f};
    ir_tensor *tensor = ir_tensor_create(keep, dtype, 2, (int64_t[]){rows, columns});
    random_state random = {seed};
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++) {
        float value = (float)(random_unit(&random) * exp2((double)random_below(&random, 12) - 8));
        if (special && random_below(&random, 50) == 0) value = specials[random_below(&random, 7)];
        if (special && i / columns == 1) value = 0.0f;
        tensor->f32[i] = ir_round_to(dtype, value);
    }
    return tensor;
}

// ---- codes and scales ---------------------------------------------------------------------------------------

typedef struct encode_case {
    ir_dtype dtype;
    int columns, mantissa_bits, group;
    double floor;
    bool has_scale, has_prologue;
} encode_case;

// "[0.0, 0.015625, 0.03125, 0.046875, 0.0, …]": every fourth is computed at run time.
static const char *scale_text(int n, mlcc_arena *keep) {
    mlcc_str text = {0};
    for (int i = 0; i < n; i++) mlcc_str_printf(&text, "%s%g", i > 0 ? ", " : "", i % 4 / 64.0);
    const char *result = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return result;
}

static void check_encode(test_folder *f, const encode_case *c) {
    const int n_groups = c->group == 0 ? 1 : (c->columns + c->group - 1) / c->group;
    const char *x = ir_dtype_get(c->dtype)->text;
    const char *codes = c->mantissa_bits == 3 ? "f8e4m3" : "f8e5m2";
    char text[2048];
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 64\nconst @s : f32[%d] = [%s]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d]) {\n"
        "  %%0 = mul %%x, %%y : %s[n_tokens, %d]\n"
        "  %%1, %%2 = encode_activation %s%s {mantissa_bits = %d, group = %d, floor = %g} : "
        "%s[n_tokens, %d], f32[n_tokens, %d]\n  return %%1, %%2\n}\n",
        n_groups, scale_text(n_groups, f->keep), x, c->columns, x, c->columns, x, c->columns,
        c->has_prologue ? "%0" : "%x", c->has_scale ? ", @s" : "", c->mantissa_bits, c->group,
        c->floor, codes, c->columns, n_groups);
    cuda_subject s = cuda_subject_open(text, "encode_activation__sm80", f->path);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        ir_tensor *args[] = {
            activations(c->dtype, 5, c->columns, seed == 2, seed, s.keep),
            activations(c->dtype, 5, c->columns, false, seed + 10, s.keep)};
        cuda_subject_check(&s, args, -1, 0);
    }
    cuda_subject_close(&s);
}

static void test_encode(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const encode_case cases[] = {
        {IR_F16, 256, 3, 0, 1.0 / 512, false, false}, {IR_F16, 1029, 3, 0, 1e-10, false, false},
        {IR_F16, 64, 2, 0, 1e-10, true, false},       {IR_BF16, 384, 3, 128, 1e-10, false, true},
        {IR_BF16, 1160, 3, 128, 1e-10, true, false},  {IR_BF16, 203, 3, 128, 1e-10, true, true},
        {IR_F32, 100, 3, 7, 1e-10, true, false},      {IR_F32, 4100, 2, 128, 1e-10, false, false},
        {IR_F32, 3, 3, 0, 1.0 / 512, false, true},    {IR_F32, 1, 2, 1, 1e-10, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_encode(*state, &cases[i]);
}

// ---- linears ------------------------------------------------------------------------------------------------

typedef struct linear_case {
    ir_dtype weight, result;
    int n, k, group;
    bool has_bias;
    int tokens[6]; // 0 ends
} linear_case;

// With an epilogue that reads another tensor, so that every (row, column) must be right. `special`: rows with NaN and infinities too. `nvrtc`: its PTX
// for `arch` runs; NULL: the host's code.
static void check_linear(
    test_folder *f, const linear_case *c, const char *row, bool special, const nvrtc_library *nvrtc,
    const char *arch) {
    char text[2048];
    const char *y = ir_dtype_get(c->result)->text;
    const int n_groups = c->group == 0 ? 1 : (c->k + c->group - 1) / c->group;
    const bool is_e4m3 = c->weight != IR_E5M2;
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d]\n"
        "param @w.bias : %s[%d]\n"
        "func @forward(%%x: f32[n_tokens, %d], %%r: %s[n_tokens, %d]) {\n"
        "  %%0, %%1 = encode_activation %%x {mantissa_bits = %d, group = %d} : %s[n_tokens, %d], "
        "f32[n_tokens, %d]\n"
        "  %%2 = linear_scaled %%0, @w.weight, %%1%s {group = %d} : %s[n_tokens, %d]\n"
        "  %%3 = add %%2, %%r : %s[n_tokens, %d]\n  return %%3\n}\n",
        ir_dtype_get(c->weight)->text, c->n, c->k, y, c->n, c->k, y, c->n, is_e4m3 ? 3 : 2,
        c->group, is_e4m3 ? "f8e4m3" : "f8e5m2", c->k, n_groups, c->has_bias ? ", @w.bias" : "",
        c->group, y, c->n, y, c->n);
    cuda_subject s = cuda_subject_open(text, row, f->path);
    cuda_ptx_modules modules;
    if (nvrtc != NULL) cuda_ptx_compile(&s, nvrtc, arch, &modules);
    for (int i = 0; c->tokens[i] != 0; i++) {
        ir_tensor *args[] = {
            activations(IR_F32, c->tokens[i], c->k, special, 17, s.keep),
            activations(c->result, c->tokens[i], c->n, false, 18, s.keep)};
        // Products are exact; only sums are rounded.
        cuda_subject_check(&s, args, 1e-4, 1e-5);
    }
    if (nvrtc != NULL) cuda_ptx_free(&s, &modules);
    cuda_subject_close(&s);
}

static const char *const linear_rows[] = {
    "linear_fp8__sm80", "linear_fp8__sm89", "linear_fp8__sm90", "linear_fp8__sm120"};
enum { N_LINEAR_ROWS = 4 };

static void test_linear(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const linear_case cases[] = {
        {IR_E4M3_F32, IR_F16, 40, 203, 0, true, {1, 3, 8, 9}},
        {IR_E4M3B128_F32, IR_BF16, 40, 272, 128, false, {1, 8, 33}},
        {IR_E5M2, IR_F16, 40, 208, 0, true, {2, 17}},
        {IR_E4M3_F32, IR_F32, 17, 400, 128, false, {5, 10}},
        {IR_E4M3B128_F32, IR_F32, 136, 403, 0, true, {7, 9}},
        {IR_E5M2, IR_F32, 1, 1, 128, true, {1, 9}},
    };
    for (size_t r = 0; r < N_LINEAR_ROWS; r++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            check_linear(*state, &cases[i], linear_rows[r], false, NULL, NULL);
    }
}

// Several chunks of codes, several blocks each way, more units than the ring and the warps hold.
static void test_linear_sizes(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const linear_case cases[] = {
        {IR_E4M3B128_F32, IR_F32, 17, 9200, 128, false, {4, 8}},
        {IR_E4M3_F32, IR_F16, 16, 17040, 0, false, {1}},
        {IR_E4M3B128_F32, IR_BF16, 140, 1040, 128, true, {64, 65}},
        {IR_E4M3_F32, IR_F16, 300, 528, 0, false, {130}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_linear(*state, &cases[i], linear_rows[i % N_LINEAR_ROWS], false, NULL, NULL);
}

// A row with NaN or infinity gives NaN where the evaluator gives it, and no other row does.
static void test_linear_specials(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const linear_case cases[] = {
        {IR_E4M3B128_F32, IR_F32, 24, 272, 128, false, {8, 20}},
        {IR_E4M3_F32, IR_F32, 24, 64, 0, false, {8, 20}},
        {IR_E5M2, IR_F32, 24, 64, 0, false, {8, 20}},
    };
    for (size_t r = 0; r < N_LINEAR_ROWS; r++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            check_linear(*state, &cases[i], linear_rows[r], true, NULL, NULL);
    }
}

static void test_linear_ptx(void **state) {
    test_folder *f = *state;
    static const char *const archs[N_LINEAR_ROWS] = {
        "compute_80", "compute_89", "compute_90", "compute_120"};
    static const linear_case cases[] = {
        {IR_E4M3_F32, IR_F16, 24, 203, 0, true, {3, 9}},
        {IR_E4M3B128_F32, IR_BF16, 24, 272, 128, false, {8, 17}},
        {IR_E5M2, IR_F16, 24, 208, 0, true, {2, 9}},
    };
    if (!cuda_shim_can_compile()) skip();
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    for (size_t r = 0; r < N_LINEAR_ROWS; r++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            check_linear(f, &cases[i], linear_rows[r], false, nvrtc, archs[r]);
    }
    nvrtc_close(nvrtc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_encode, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_linear, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_linear_sizes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_linear_specials, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_linear_ptx, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
