// Chains of launches (ir/chain.h) as one kernel, under cuda_shim: one layer's chains with every kind of weight, bias, rotation and gate, on both
// sides of the number of rows where the launches take over, against ir/eval; and against the same launches apart, whose bits they must give.
#include "ir/chain.h"
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

static const char *text_of(ir_dtype dtype) {
    return ir_dtype_get(dtype)->text;
}

static ir_tensor *integers(
    int rank, int64_t n, int64_t columns, int64_t (*value)(int64_t), mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, rank, (int64_t[]){n, columns});
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++) tensor->i32[i] = (int32_t)value(i);
    return tensor;
}

// ---- comparing ------------------------------------------------------------------------------------------

static int count_chains(const ir_function *function) {
    int n = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next)
        n += node->op == IR_OP_LAUNCH && ir_attr_i64(node, "chain") > 0;
    return n;
}

// Runs the module with chains and without; `n_chains` is how many the plan must have.
static void check_module(
    test_folder *f, const char *text, int n_chains, ir_tensor *const *const *cases, int n_cases,
    double tolerance) {
    cuda_subject chained = cuda_subject_open(text, NULL, f->path);
    assert_int_equal(count_chains(chained.forward), n_chains);
    cuda_subject apart = cuda_subject_open(text, "linear_tile16__sm80", f->path);
    assert_int_equal(count_chains(apart.forward), 0);
    for (int i = 0; i < n_cases; i++) {
        cuda_subject_check(&chained, cases[i], tolerance, tolerance);
        mlcc_arena *keep = mlcc_arena_create();
        ir_tensor *one[8], *other[8];
        assert_true(chained.forward->n_returns <= 8);
        cuda_subject_run(&chained, cases[i], 0, keep, one);
        cuda_subject_run(&apart, cases[i], 0, keep, other);
        for (int r = 0; r < chained.forward->n_returns; r++)
            assert_tensors_near(one[r], other[r], 0, 0, "chained and apart");
        mlcc_arena_free(keep);
    }
    cuda_subject_close(&chained);
    cuda_subject_close(&apart);
}

// ---- norm, linear, gate ---------------------------------------------------------------------------------

typedef struct mlp_case {
    ir_dtype weight, activation;
    int k, d_ff;
    bool has_add, has_bias, returns_normed;
    int n_chains;
    int tokens[5]; // 0 ends
} mlp_case;

static void check_mlp(test_folder *f, const mlp_case *c) {
    const char *w = text_of(c->weight), *x = text_of(c->activation);
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 64\nparam @gain : %s[%d]\n"
        "param @w : %s[%d, %d]\nparam @b : %s[%d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%r: %s[n_tokens, %d]) {\n",
        x, c->k, w, 2 * c->d_ff, c->k, x, 2 * c->d_ff, x, c->k, x, c->k);
    mlcc_str_printf(
        &text,
        "  %%sum = %s %%x%s : %s[n_tokens, %d]\n"
        "  %%n = rms_norm %%sum, @gain {eps = 1e-6} : %s[n_tokens, %d]\n"
        "  %%both = linear %%n, @w%s : %s[n_tokens, %d]\n",
        c->has_add ? "add" : "silu", c->has_add ? ", %r" : "", x, c->k, x, c->k,
        c->has_bias ? ", @b" : "", x, 2 * c->d_ff);
    mlcc_str_printf(
        &text,
        "  %%g = slice %%both {begin = 0, end = %d} : %s[n_tokens, %d]\n"
        "  %%u = slice %%both {begin = %d, end = %d} : %s[n_tokens, %d]\n"
        "  %%a = silu %%g : %s[n_tokens, %d]\n  %%y = mul %%a, %%u : %s[n_tokens, %d]\n",
        c->d_ff, x, c->d_ff, c->d_ff, 2 * c->d_ff, x, c->d_ff, x, c->d_ff, x, c->d_ff);
    mlcc_str_printf(
        &text, "  return %%y%s%s\n}\n", c->has_add ? ", %sum" : "",
        c->returns_normed ? ", %n" : "");
    ir_tensor *args[5][2];
    ir_tensor *const *cases[5];
    int n_cases = 0;
    for (; c->tokens[n_cases] != 0; n_cases++) {
        args[n_cases][0] = random_matrix(c->activation, c->tokens[n_cases], c->k, 1, 17, f->keep);
        args[n_cases][1] = random_matrix(c->activation, c->tokens[n_cases], c->k, 1, 18, f->keep);
        cases[n_cases] = args[n_cases];
    }
    const double unit = c->activation == IR_F16 ? 0x1p-10 : 0x1p-7;
    check_module(f, mlcc_str_text(&text), c->n_chains, cases, n_cases, unit * 8);
    mlcc_str_free(&text);
}

static void test_gates(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const mlp_case cases[] = {
        {IR_Q4G32_F16, IR_F16, 128, 64, true, false, false, 1, {1, 3, 4, 5}},
        {IR_U4G128_F16, IR_F16, 256, 48, true, false, false, 1, {2, 4}},
        {IR_Q4FT_F16, IR_F16, 192, 64, true, false, true, 1, {1, 4}},
        {IR_F16, IR_F16, 104, 32, false, true, true, 1, {1, 4}},
        {IR_BF16, IR_BF16, 104, 32, true, true, false, 1, {1, 4, 9}},
        {IR_Q3G40_F16, IR_F16, 204, 32, true, false, false, 1, {1, 4}},
        {IR_Q8G32_F16, IR_F16, 96, 16, false, false, false, 1, {4}},
        {IR_Q4G32_F16, IR_F16, 5000, 16, true, false, true, 1, {1, 4}}, // several chunks
        // Half a row is no multiple of a tile: norm and linear, the gate apart.
        {IR_Q4G32_F16, IR_F16, 128, 40, true, false, false, 1, {1, 4, 9}},
        {IR_Q4G32_BF16, IR_BF16, 1056, 64, true, true, false, 1, {3, 8}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_mlp(*state, &cases[i]);
}

// ---- norm, linear, cache --------------------------------------------------------------------------------

typedef struct qkv_case {
    ir_dtype weight, activation, cache;
    int k, n_heads, n_kv_heads, head_dim, rotated; // rotated 0: no rope
    bool is_interleaved, has_bias;
    int n_launches; // in the chain
    int tokens[4];
} qkv_case;

enum { PAGES = 6, SLOTS = 2, PAGE_TOKENS = 16 };

// Two sequences take turns; their pages lie crosswise.
static int64_t page_of(int64_t i) {
    return (i * 5 + 3) % PAGES;
}
static int64_t sequence_of(int64_t token) {
    return token % 2;
}
static int64_t position_of(int64_t token) {
    return 11 + token / 2;
}

static void put_qkv_text(const qkv_case *c, mlcc_str *text) {
    const char *x = text_of(c->activation), *cache = text_of(c->cache);
    const int n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim;
    const int n = n_q + 2 * n_kv;
    mlcc_str_printf(
        text,
        "module @m level=graph\nsymbol n_tokens <= 32\nsymbol n_pages <= 8\nsymbol n_slots <= 4\n"
        "param @gain : %s[%d]\nparam @w : %s[%d, %d]\nparam @b : %s[%d]\n",
        x, c->k, text_of(c->weight), n, c->k, x, n);
    mlcc_str_printf(
        text,
        "func @forward(%%x: %s[n_tokens, %d], %%r: %s[n_tokens, %d], %%cache: %s[n_pages, 2, %d, "
        "%d, %d], %%pages: i32[2, n_slots], %%seqs: i32[n_tokens], %%positions: i32[n_tokens], "
        "%%table: f32[n_tokens, %d]) {\n",
        x, c->k, x, c->k, cache, c->n_kv_heads, PAGE_TOKENS, c->head_dim,
        c->rotated > 0 ? c->rotated : 2);
    mlcc_str_printf(
        text,
        "  %%sum = add %%x, %%r : %s[n_tokens, %d]\n"
        "  %%n = rms_norm %%sum, @gain : %s[n_tokens, %d]\n"
        "  %%qkv = linear %%n, @w%s : %s[n_tokens, %d]\n"
        "  %%k = slice %%qkv {begin = %d, end = %d} : %s[n_tokens, %d]\n"
        "  %%v = slice %%qkv {begin = %d, end = %d} : %s[n_tokens, %d]\n",
        x, c->k, x, c->k, c->has_bias ? ", @b" : "", x, n, n_q, n_q + n_kv, x, n_kv, n_q + n_kv, n,
        x, n_kv);
    if (c->rotated > 0) {
        mlcc_str_printf(
            text, "  %%kr = rope %%k, %%table {head_dim = %d%s} : %s[n_tokens, %d]\n", c->head_dim,
            c->is_interleaved ? ", interleaved = true" : "", x, n_kv);
    }
    mlcc_str_printf(
        text,
        "  %%c = kv_append %%cache, %%%s, %%v, %%pages, %%seqs, %%positions : %s[n_pages, 2, %d, "
        "%d, %d]\n  return %%qkv, %%sum, %%c%s\n}\n",
        c->rotated > 0 ? "kr" : "k", cache, c->n_kv_heads, PAGE_TOKENS, c->head_dim,
        c->rotated > 0 ? "" : ", %table");
}

static void check_qkv(test_folder *f, const qkv_case *c) {
    mlcc_str text = {0};
    put_qkv_text(c, &text);
    ir_tensor *args[4][7];
    ir_tensor *const *cases[4];
    int n_cases = 0;
    for (; n_cases < 4 && c->tokens[n_cases] != 0; n_cases++) {
        const int64_t n = c->tokens[n_cases];
        ir_tensor **a = args[n_cases];
        a[0] = random_matrix(c->activation, n, c->k, 1, 17, f->keep);
        a[1] = random_matrix(c->activation, n, c->k, 1, 18, f->keep);
        a[2] = ir_tensor_create(
            f->keep, c->cache, 5, (int64_t[]){PAGES, 2, c->n_kv_heads, PAGE_TOKENS, c->head_dim});
        random_state random = {19};
        for (int64_t i = 0; i < ir_tensor_count(a[2]); i++)
            a[2]->f32[i] = ir_round_to(c->cache, (float)random_unit(&random));
        a[3] = integers(2, 2, SLOTS, page_of, f->keep);
        a[4] = integers(1, n, 1, sequence_of, f->keep);
        a[5] = integers(1, n, 1, position_of, f->keep);
        a[6] = random_matrix(IR_F32, n, c->rotated > 0 ? c->rotated : 2, 1, 20, f->keep);
        cases[n_cases] = a;
    }
    const double unit = c->activation == IR_F16 ? 0x1p-10 : 0x1p-7;
    check_module(f, mlcc_str_text(&text), 1, cases, n_cases, unit * 8);
    cuda_subject s = cuda_subject_write(mlcc_str_text(&text), NULL, f->path);
    for (const ir_node *node = s.forward->first; node != NULL; node = node->next) {
        const int64_t n_launches = ir_attr_i64(node, "chain");
        if (n_launches > 0) assert_int_equal(n_launches, c->n_launches);
    }
    cuda_subject_close(&s);
    mlcc_str_free(&text);
}

static void test_appends(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const qkv_case cases[] = {
        {IR_Q4G32_F16, IR_F16, IR_F16, 128, 4, 2, 32, 32, false, false, 3, {1, 3, 4, 5}},
        {IR_Q4G32_F16, IR_F16, IR_F16, 128, 3, 1, 64, 64, false, true, 3, {1, 4}},
        {IR_BF16, IR_BF16, IR_BF16, 96, 2, 2, 96, 96, false, true, 3, {2, 4, 10}},
        {IR_F16, IR_F16, IR_F32, 72, 3, 1, 24, 24, true, true, 3, {3}},
        {IR_U4G32_F16, IR_F16, IR_F16, 64, 4, 2, 10, 10, true, false, 3, {1, 4}},
        // No rotation, and two that the kernel leaves to kv_append: a part of each head, and halves of eight columns.
        {IR_Q4G32_F16, IR_F16, IR_F16, 64, 2, 1, 20, 0, false, false, 3, {1, 4, 9}},
        {IR_Q4G32_F16, IR_F16, IR_F16, 64, 2, 1, 64, 32, false, false, 2, {1, 4}},
        {IR_Q4G32_F16, IR_F16, IR_F16, 64, 2, 1, 16, 16, false, false, 2, {1, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_qkv(*state, &cases[i]);
}

// ---- what is no chain -----------------------------------------------------------------------------------

static void check_none(const char *body) {
    test_folder f = {.keep = mlcc_arena_create()};
    const char *text = mlcc_arena_printf(
        f.keep,
        "module @m level=graph\nsymbol n_tokens <= 8\nparam @gain : f16[64]\nparam @w : f16[64, "
        "64]\nparam @e : e4m3_f32[64, 64]\nfunc @forward(%%x: f16[n_tokens, 64], %%rows: "
        "i32[n_rows]) {\n%s}\n",
        body);
    text = mlcc_arena_printf(f.keep, "%.*ssymbol n_rows <= 8\n%s", 22, text, text + 22);
    cuda_subject s = cuda_subject_write(text, NULL, "");
    assert_int_equal(count_chains(s.forward), 0);
    cuda_subject_close(&s);
    mlcc_arena_free(f.keep);
}

static void test_no_chains(void **state) {
    (void)state;
    // Somebody takes rows in between, float8 weights, a linear alone.
    check_none("  %0 = rms_norm %x, @gain : f16[n_tokens, 64]\n"
               "  %1 = take_rows %0, %rows : f16[n_rows, 64]\n"
               "  %2 = linear %1, @w : f16[n_rows, 64]\n  return %2\n");
    check_none("  %0 = rms_norm %x, @gain : f16[n_tokens, 64]\n"
               "  %1 = linear %0, @e : f16[n_tokens, 64]\n"
               "  %2 = take_rows %1, %rows : f16[n_rows, 64]\n  return %2\n");
    check_none("  %0 = take_rows %x, %rows : f16[n_rows, 64]\n"
               "  %1 = linear %0, @w : f16[n_rows, 64]\n  return %1\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gates, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_appends, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test(test_no_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
