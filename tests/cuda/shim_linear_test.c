// The kernels that read tile16 weights, run under cuda_shim on every weight dtype, odd shapes and both sides of every entry's number of tokens,
// against ir/eval.
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/tile16.h"
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

static const char *text_of(ir_dtype dtype) {
    return ir_dtype_get(dtype)->text;
}

// ---- linear ---------------------------------------------------------------------------------------------

typedef struct linear_case {
    ir_dtype weight, activation;
    int n, k;
    int has_bias;
    const char *row;
    int tokens[6]; // 0 ends
} linear_case;

// With an epilogue that reads another tensor, so that every (row, column) must be right.
static void check_linear(test_folder *f, const linear_case *c) {
    char text[1024];
    const char *x = text_of(c->activation);
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d]\n"
        "param @w.bias : %s[%d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%r: %s[n_tokens, %d]) {\n"
        "  %%0 = linear %%x, @w.weight%s : %s[n_tokens, %d]\n"
        "  %%1 = add %%0, %%r : %s[n_tokens, %d]\n  return %%1\n}\n",
        text_of(c->weight), c->n, c->k, x, c->n, x, c->k, x, c->n, c->has_bias ? ", @w.bias" : "",
        x, c->n, x, c->n);
    cuda_subject s = cuda_subject_open(text, c->row, f->path);
    // Weights and activations are below 1. Sums of K products of numbers with a relative error of half a unit.
    const double unit = c->activation == IR_F32   ? 0x1p-20
                        : c->activation == IR_F16 ? 0x1p-10
                                                  : 0x1p-7;
    for (int i = 0; c->tokens[i] != 0; i++) {
        ir_tensor *args[] = {
            random_matrix(c->activation, c->tokens[i], c->k, 1, 17, s.keep),
            random_matrix(c->activation, c->tokens[i], c->n, 1, 18, s.keep)};
        cuda_subject_check(&s, args, unit * 6, unit * 2);
    }
    cuda_subject_close(&s);
}

// A shape that the dtype can hold, with tails wherever it may have them.
static void shape_of(ir_dtype dtype, linear_case *c) {
    c->n = dtype == IR_Q4FT_F16 ? 64 : 40;
    c->k = dtype == IR_Q4FT_F16 ? 192 : dtype == IR_F16 ? 200 : 203;
    const ir_type type = ir_type_matrix(dtype, ir_dim_const(c->n), ir_dim_const(c->k));
    if (!quant_format_accepts(quant_format_of(dtype), &type)) c->k = 200;
}

static bool is_weight(int dtype) {
    return tile16_format_of(dtype).code != TILE16_NONE;
}

static void test_tile16(void **state) {
    if (!cuda_shim_can_compile()) skip();
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        if (!is_weight(dtype) || dtype == IR_F32) continue;
        const bool is_bf16 = dtype == IR_BF16 || dtype == IR_Q4G32_BF16 ||
                             dtype == IR_Q4G32T_BF16 || dtype == IR_E4M3B128_F32;
        linear_case c = {
            .weight = (ir_dtype)dtype,
            .activation = is_bf16 ? IR_BF16 : IR_F16,
            .has_bias = dtype % 2,
            .row = "linear_tile16__sm80",
            .tokens = {1, 3, 8, 33, dtype % 3 == 0 ? 9 : 0}};
        shape_of(c.weight, &c);
        check_linear(*state, &c);
    }
}

// Dtypes of activations and scales that no mode has together, but a module may.
static void test_tile16_mixed(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const linear_case cases[] = {
        {IR_Q4G32_F16, IR_BF16, 24, 128, 0, "linear_tile16__sm80", {2, 10}},
        {IR_Q4G32_F32, IR_BF16, 24, 104, 0, "linear_tile16__sm80", {2, 10}},
        {IR_U4G64_F16, IR_BF16, 24, 104, 1, "linear_tile16__sm80", {2, 10}},
        {IR_Q3G40_F16, IR_BF16, 24, 104, 0, "linear_tile16__sm80", {2, 10}},
        {IR_Q8G32_F16, IR_BF16, 24, 104, 0, "linear_tile16__sm80", {2, 10}},
        {IR_E4M3_F32, IR_BF16, 24, 104, 0, "linear_tile16__sm80", {2, 10}},
        {IR_E4M3B128_F32, IR_F16, 24, 264, 0, "linear_tile16__sm80", {2, 10}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_linear(*state, &cases[i]);
}

// Several chunks of activations, several blocks each way, one output, one k.
static void test_tile16_sizes(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const linear_case cases[] = {
        {IR_Q4G32_F16, IR_F16, 17, 5000, 1, "linear_tile16__sm80", {1, 5, 8}},
        {IR_Q3G40_F16, IR_F16, 17, 3400, 0, "linear_tile16__sm80", {8}},
        {IR_F16, IR_F16, 16, 4096, 0, "linear_tile16__sm80", {8}},
        {IR_Q4G32_F16, IR_F16, 300, 520, 1, "linear_tile16__sm80", {65, 130}},
        {IR_F16, IR_F16, 136, 1032, 0, "linear_tile16__sm80", {64, 65}},
        {IR_E4M3_F32, IR_F16, 136, 1032, 0, "linear_tile16__sm80", {65}},
        {IR_F16, IR_F16, 1, 1, 1, "linear_tile16__sm80", {1, 9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_linear(*state, &cases[i]);
}

static void test_generic(void **state) {
    if (!cuda_shim_can_compile()) skip();
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        if (!is_weight(dtype)) continue;
        linear_case c = {
            .weight = (ir_dtype)dtype,
            .activation = IR_F32,
            .has_bias = dtype % 2,
            .row = "linear_generic__sm80",
            .tokens = {1, 8, 19}};
        shape_of(c.weight, &c);
        check_linear(*state, &c);
    }
    static const linear_case cases[] = {
        {IR_F32, IR_F32, 17, 2500, 1, "linear_generic__sm80", {3}},
        {IR_Q3G40_F16, IR_F32, 17, 2500, 1, "linear_generic__sm80", {3}},
        {IR_F32, IR_F16, 24, 104, 0, "linear_generic__sm80", {2}},
        {IR_F16, IR_BF16, 24, 104, 0, "linear_generic__sm80", {2}},
        {IR_E5M2, IR_BF16, 24, 104, 0, "linear_generic__sm80", {2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_linear(*state, &cases[i]);
}

// ---- embedding ------------------------------------------------------------------------------------------

static void test_embedding(void **state) {
    test_folder *f = *state;
    if (!cuda_shim_can_compile()) skip();
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        if (!is_weight(dtype)) continue;
        linear_case c = {.weight = (ir_dtype)dtype};
        shape_of(c.weight, &c);
        const ir_dtype result = dtype % 3 == 0 ? IR_F32 : dtype % 3 == 1 ? IR_F16 : IR_BF16;
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @table.weight : %s[%d, %d]\n"
            "func @forward(%%ids: i32[n_tokens]) {\n"
            "  %%0 = embedding %%ids, @table.weight : %s[n_tokens, %d]\n  return %%0\n}\n",
            text_of(c.weight), c.n, c.k, text_of(result), c.k);
        cuda_subject s = cuda_subject_open(text, "embedding_tile16__sm80", f->path);
        const int64_t n_tokens = 7;
        ir_tensor *ids = ir_tensor_create(s.keep, IR_I32, 1, &n_tokens);
        for (int64_t i = 0; i < n_tokens; i++) ids->i32[i] = (int32_t)(c.n - 1 - i * 5);
        cuda_subject_check(&s, &ids, -1, 0);
        cuda_subject_close(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tile16, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_tile16_mixed, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_tile16_sizes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_generic, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_embedding, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
