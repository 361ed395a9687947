// The kernels of a mixture of experts under cuda_shim, on every kind of weight and odd shapes, against ir/eval.
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

#include <math.h>

typedef struct experts_case {
    const char *row;
    ir_dtype weight, activation;
    int n_experts, chosen, n, k, tokens[4]; // 0 ends
} experts_case;

static const char generic[] = "linear_experts_generic__sm80";
static const char tile16[] = "linear_experts_tile16__sm80";

static ir_tensor *choice(
    int64_t n_rows, int64_t k, int64_t n_experts, uint64_t seed, mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){n_rows, k});
    random_state random = {seed};
    for (int64_t i = 0; i < n_rows * k; i++)
        tensor->i32[i] = (int32_t)random_below(&random, n_experts);
    return tensor;
}

// One product reads x for all chosen experts, the other a part for each and has a bias; both have an epilogue.
static void check_experts(test_folder *f, const experts_case *c) {
    const char *x = ir_dtype_get(c->activation)->text, *w = ir_dtype_get(c->weight)->text;
    const int out = c->chosen * c->n, wide = c->chosen * c->k;
    char text[2048];
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d, %d]\n"
        "param @v.weight : %s[%d, %d, %d]\nparam @v.bias : f32[%d, %d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d], %%e: i32[n_tokens, %d], "
        "%%r: %s[n_tokens, %d]) {\n"
        "  %%0 = linear_experts %%x, @w.weight, %%e : %s[n_tokens, %d]\n"
        "  %%1 = add %%0, %%r : %s[n_tokens, %d]\n"
        "  %%2 = linear_experts %%y, @v.weight, %%e, @v.bias : %s[n_tokens, %d]\n"
        "  %%3 = relu %%2 : %s[n_tokens, %d]\n  return %%1, %%3\n}\n",
        w, c->n_experts, c->n, c->k, w, c->n_experts, c->n, c->k, c->n_experts, c->n, x, c->k, x,
        wide, c->chosen, x, out, x, out, x, out, x, out, x, out);
    cuda_subject s = cuda_subject_open(text, c->row, f->path);
    const double unit = c->activation == IR_F32   ? 0x1p-20
                        : c->activation == IR_F16 ? 0x1p-10
                                                  : 0x1p-7;
    for (int i = 0; c->tokens[i] != 0; i++) {
        const int64_t n = c->tokens[i];
        ir_tensor *args[] = {
            random_matrix(c->activation, n, c->k, 1, 17, s.keep),
            random_matrix(c->activation, n, wide, 1, 18, s.keep),
            choice(n, c->chosen, c->n_experts, (uint64_t)n, s.keep),
            random_matrix(c->activation, n, out, 1, 19, s.keep)};
        cuda_subject_check(&s, args, unit * 6, unit * 2);
    }
    cuda_subject_close(&s);
}

// One dtype of every kind of code; linear_generic, whose inner step this is, is tested with all of them.
static void test_kinds_of_code(void **state) {
    static const ir_dtype dtypes[] = {IR_F16,       IR_Q4G32_F16, IR_Q3G40_F16,
                                      IR_Q8G32_F16, IR_E4M3_F32,  IR_E5M2};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        // 40 rows: an expert in two shares a tile with its neighbours.
        const experts_case c = {generic, dtypes[i], IR_F16, 4, 2, 40, 96, {1, 5}};
        check_experts(*state, &c);
    }
}

// Fewer slots than experts, more than eight of one expert, rows longer than shared memory, experts within one tile.
static void test_shapes(void **state) {
    static const experts_case cases[] = {
        {generic, IR_F32, IR_F32, 3, 1, 7, 33, {1, 40}},
        {generic, IR_Q4G32_F16, IR_F32, 20, 3, 16, 130, {2, 13}},
        {generic, IR_Q4G32_F16, IR_BF16, 2, 2, 33, 1100, {9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_experts(*state, &cases[i]);
}

// Tensor cores: every kind of code and kind of activation, few rows and many; K that ends within a unit, rows that lie straight and rows that must be
// gathered.
static void test_tensor_cores(void **state) {
    static const experts_case cases[] = {
        {tile16, IR_F16, IR_F16, 4, 2, 48, 96, {1, 5, 17}},
        {tile16, IR_BF16, IR_BF16, 5, 2, 16, 104, {2, 20}},
        {tile16, IR_Q4G32_F16, IR_F16, 4, 2, 144, 256, {3, 16, 40}},
        {tile16, IR_Q4G32_F32, IR_BF16, 3, 2, 32, 100, {9, 18}},
        {tile16, IR_Q3G40_F16, IR_F16, 4, 2, 32, 120, {1, 17}},
        {tile16, IR_Q8G32_F16, IR_F16, 4, 3, 32, 160, {4, 33}},
        {tile16, IR_Q8G32_F16, IR_BF16, 4, 1, 16, 64, {17}},
        {tile16, IR_E4M3_F32, IR_F16, 4, 2, 32, 136, {2, 17}},
        {tile16, IR_E4M3B128_F32, IR_BF16, 2, 2, 128, 256, {5, 17}},
        {tile16, IR_E5M2, IR_F16, 4, 2, 32, 96, {2, 17}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_experts(*state, &cases[i]);
}

// An expert with more than 64 slots and more blocks of them than the grid has, experts without any, more experts than slots.
static void test_loads(void **state) {
    static const experts_case cases[] = {
        {tile16, IR_Q4G32_F16, IR_F16, 1, 1, 16, 64, {150}},
        {tile16, IR_Q4G32_F16, IR_F16, 2, 2, 160, 64, {100}},
        {tile16, IR_F16, IR_F16, 64, 8, 16, 32, {1, 17, 60}},
        {tile16, IR_Q4G32_F16, IR_F16, 2, 1, 32, 4400, {16}},
        // Longer rows than shared memory holds, in the kernel for many rows; weights that nothing rounds, so that the sums alone are judged.
        {tile16, IR_F16, IR_F16, 2, 1, 32, 4400, {17}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_experts(*state, &cases[i]);
}

static void test_route(void **state) {
    test_folder *f = *state;
    static const char *const ways[] = {
        "k = 2, renormalize = true", "k = 3, scoring = 2", "k = 1, scale = 2.5",
        ("k = 4, scoring = 1, renormalize = true, scale = 2.5, n_groups = 5, top_groups = 2, "
         "group_best = 2"),
        "k = 6, n_groups = 4, top_groups = 3"};
    static const int chosen[] = {2, 3, 1, 4, 6};
    for (int i = 0; i < 5; i++) {
        const bool has_bias = i % 2 == 1;
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @b.bias : f32[40]\n"
            "func @forward(%%x: f32[n_tokens, 40]) {\n  %%0 = scale %%x {factor = 1.5} : "
            "f32[n_tokens, 40]\n  %%1, %%2 = route_experts %%0%s {%s} : i32[n_tokens, %d], "
            "f32[n_tokens, %d]\n  return %%1, %%2\n}\n",
            has_bias ? ", @b.bias" : "", ways[i], chosen[i], chosen[i]);
        cuda_subject s = cuda_subject_open(text, "route_experts__sm80", f->path);
        for (int64_t n = 1; n <= 9; n += 4) {
            ir_tensor *x = random_matrix(IR_F32, n, 40, 3, (uint64_t)(n + i), s.keep);
            if (n > 1 && !has_bias) { // equal ones, a NaN, an infinity
                for (int c = 0; c < 40; c++) x->f32[40 + c] = 0.25f;
                x->f32[3] = NAN;
                x->f32[80 + 5] = -INFINITY;
            }
            cuda_subject_check(&s, &x, 1e-6, 1e-5);
        }
        cuda_subject_close(&s);
    }
}

// relu(gate) * up of three experts side by side, and their weighted sum; pairs of columns where a part has an even number of them.
static void test_parts(void **state) {
    test_folder *f = *state;
    static const char *const names[] = {"f32", "f16", "bf16"};
    static const ir_dtype dtypes[] = {IR_F32, IR_F16, IR_BF16};
    static const int columns[] = {1, 31, 34, 510};
    for (int c = 0; c < 4; c++) {
        const char *name = names[c % 3];
        const int n = columns[c];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%w: f32[n_tokens, 3]) {\n"
            "  %%0 = slice %%x {begin = 0, end = %d, parts = 3} : %s[n_tokens, %d]\n"
            "  %%1 = slice %%x {begin = %d, end = %d, parts = 3} : %s[n_tokens, %d]\n"
            "  %%2 = relu %%0 : %s[n_tokens, %d]\n  %%3 = mul %%2, %%1 : %s[n_tokens, %d]\n"
            "  %%4 = combine_experts %%3, %%w : %s[n_tokens, %d]\n  return %%3, %%4\n}\n",
            name, 6 * n, n, name, 3 * n, n, 2 * n, name, 3 * n, name, 3 * n, name, 3 * n, name, n);
        cuda_subject s = cuda_subject_open(text, "elementwise__sm80", f->path);
        for (int64_t rows = 1; rows <= 7; rows += 3) {
            ir_tensor *args[] = {
                random_matrix(dtypes[c % 3], rows, 6 * n, 2, 7, s.keep),
                random_matrix(IR_F32, rows, 3, 2, 8, s.keep)};
            cuda_subject_check(&s, args, c % 3 == 0 ? 1e-5 : c % 3 == 1 ? 4e-3 : 3e-2, 1e-6);
        }
        cuda_subject_close(&s);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_folder_set_up, test_folder_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_kinds_of_code), TEST(test_shapes),
                                       TEST(test_tensor_cores),  TEST(test_loads),
                                       TEST(test_route),         TEST(test_parts)};
    if (!cuda_shim_can_compile()) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
