// linear_wgmma under cuda_shim: every weight dtype that it takes, odd shapes, both sizes of block, against ir/eval. Then its text with one mistake at a
// time, each of which must be seen.
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

typedef struct wgmma_case {
    ir_dtype weight, activation;
    int n, k, has_bias;
    int tokens[4]; // 0 ends
} wgmma_case;

// With an epilogue that reads another tensor, so that every (row, column) must be right.
static const char *module_text(const wgmma_case *c, mlcc_arena *keep) {
    const char *x = ir_dtype_get(c->activation)->text;
    return mlcc_arena_printf(
        keep,
        "module @m level=graph\nsymbol n_tokens <= 4096\nparam @w.weight : %s[%d, %d]\n"
        "param @w.bias : %s[%d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%r: %s[n_tokens, %d]) {\n"
        "  %%0 = linear %%x, @w.weight%s : %s[n_tokens, %d]\n"
        "  %%1 = add %%0, %%r : %s[n_tokens, %d]\n  return %%1\n}\n",
        ir_dtype_get(c->weight)->text, c->n, c->k, x, c->n, x, c->k, x, c->n,
        c->has_bias ? ", @w.bias" : "", x, c->n, x, c->n);
}

static void check_case(test_folder *f, const wgmma_case *c) {
    cuda_subject s = cuda_subject_open(module_text(c, f->keep), "linear_wgmma__sm90a", f->path);
    const double unit = c->activation == IR_F16 ? 0x1p-10 : 0x1p-7;
    for (int i = 0; c->tokens[i] != 0; i++) {
        ir_tensor *args[] = {
            random_matrix(c->activation, c->tokens[i], c->k, 1, 17, s.keep),
            random_matrix(c->activation, c->tokens[i], c->n, 1, 18, s.keep)};
        cuda_subject_check(&s, args, unit * 8, unit * 2);
    }
    cuda_subject_close(&s);
}

// Every dtype, K that ends in the middle of a step where the dtype may, N that ends in the middle of a tile.
static void test_dtypes(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const wgmma_case cases[] = {
        {IR_F16, IR_F16, 40, 200, 1, {65}},        {IR_BF16, IR_BF16, 37, 264, 0, {66}},
        {IR_Q4G32_F16, IR_F16, 40, 224, 0, {70}},  {IR_Q4G32_BF16, IR_BF16, 40, 96, 1, {67}},
        {IR_Q4G32T_F16, IR_F16, 40, 160, 0, {65}}, {IR_Q4G32T_BF16, IR_BF16, 40, 160, 0, {65}},
        {IR_Q8G32_F16, IR_F16, 24, 352, 1, {65}},  {IR_U4G32_F16, IR_F16, 24, 416, 0, {65}},
        {IR_U4G64_F16, IR_F16, 24, 448, 0, {68}},  {IR_U4G128_F16, IR_F16, 24, 640, 1, {65}},
        {IR_Q4FT_F16, IR_F16, 64, 192, 0, {65}},   {IR_E4M3_F32, IR_F16, 40, 200, 1, {65}},
        {IR_E5M2, IR_F16, 40, 136, 0, {65}},       {IR_Q8G32_F16, IR_BF16, 24, 128, 0, {65}},
        {IR_E4M3_F32, IR_BF16, 40, 200, 1, {65}},  {IR_Q4G32_F32, IR_F16, 24, 128, 0, {65}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_case(*state, &cases[i]);
}

// Several blocks each way, rings that go round several times, both sizes of block, one output, the smallest K.
static void test_sizes(void **state) {
    if (!cuda_shim_can_compile()) skip();
    static const wgmma_case cases[] = {
        {IR_Q4G32_F16, IR_F16, 130, 1056, 1, {129}},
        {IR_F16, IR_F16, 129, 584, 0, {256}},
        {IR_Q4G32_F16, IR_F16, 17, 416, 1, {1025}},
        {IR_BF16, IR_BF16, 9, 200, 0, {1030}},
        {IR_F16, IR_F16, 1, 8, 1, {65}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_case(*state, &cases[i]);
}

// ---- fp8 ------------------------------------------------------------------------------------------------

static const char *fp8_text(const wgmma_case *c, mlcc_arena *keep) {
    const bool is_e4m3 = c->weight == IR_E4M3_F32;
    const char *y = ir_dtype_get(c->activation)->text;
    return mlcc_arena_printf(
        keep,
        "module @m level=graph\nsymbol n_tokens <= 4096\nparam @w.weight : %s[%d, %d]\n"
        "param @w.bias : %s[%d]\n"
        "func @forward(%%x: f32[n_tokens, %d], %%r: %s[n_tokens, %d]) {\n"
        "  %%0, %%1 = encode_activation %%x {mantissa_bits = %d, group = 0} : %s[n_tokens, %d], "
        "f32[n_tokens, 1]\n"
        "  %%2 = linear_scaled %%0, @w.weight, %%1%s {group = 0} : %s[n_tokens, %d]\n"
        "  %%3 = add %%2, %%r : %s[n_tokens, %d]\n  return %%3\n}\n",
        ir_dtype_get(c->weight)->text, c->n, c->k, y, c->n, c->k, y, c->n, is_e4m3 ? 3 : 2,
        is_e4m3 ? "f8e4m3" : "f8e5m2", c->k, c->has_bias ? ", @w.bias" : "", y, c->n, y, c->n);
}

static void test_fp8(void **state) {
    test_folder *f = *state;
    if (!cuda_shim_can_compile()) skip();
    // `activation` is the result here.
    static const wgmma_case cases[] = {
        {IR_E4M3_F32, IR_F16, 40, 400, 1, {65}},    {IR_E5M2, IR_F32, 37, 272, 0, {129}},
        {IR_E4M3_F32, IR_BF16, 130, 1680, 0, {70}}, {IR_E4M3_F32, IR_F16, 17, 128, 1, {1027}},
        {IR_E5M2, IR_F16, 9, 16, 0, {65}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const wgmma_case *c = &cases[i];
        cuda_subject s =
            cuda_subject_open(fp8_text(c, f->keep), "linear_fp8_wgmma__sm90a", f->path);
        ir_tensor *args[] = {
            random_matrix(IR_F32, c->tokens[0], c->k, 1, 17, s.keep),
            random_matrix(c->activation, c->tokens[0], c->n, 1, 18, s.keep)};
        cuda_subject_check(&s, args, 1e-4, 1e-5); // products are exact
        cuda_subject_close(&s);
    }
}

// ---- mistakes -------------------------------------------------------------------------------------------

typedef struct mistake {
    const char *text, *instead;
} mistake;

static const mistake mistakes[] = {
    // fragments are overwritten, or sums read, while instructions are under way
    {"wgmma_wait(1);", ";"},
    {"wgmma_wait(1);", "wgmma_wait(2);"},
    {"wgmma_wait(0);", "wgmma_wait(1);"},
    {"wgmma_fence();", ";"},
    // tiles are read before they are written, or seen, or overwritten before they are read
    {"wgmma_store_fence();", ";"},
    {"barrier_wait(&block->full[turn.stage], turn.parity);", ";"},
    {"barrier_wait(&block->empty[turn.stage], turn.parity);", ";"},
    {"barrier_arrive(&block->empty[before]);", "barrier_arrive(&block->empty[turn.stage]);"},
    {"barrier_init(&block.empty[i], LINEAR_WGMMA_CONSUMERS);", "barrier_init(&block.empty[i], 1);"},
    {"barrier_init(&block.full[i], LINEAR_WGMMA_PRODUCERS);", "barrier_init(&block.full[i], 3);"},
    // waiting for ever
    {"linear_wgmma_turn turn = {0, 1};", "linear_wgmma_turn turn = {0, 0};"},
    {"if (lane_index() == 0) barrier_arrive(&block->full[turn.stage]);", ";"},
    {"barrier_init(block.together, LINEAR_WGMMA_CONSUMERS);", ";"},
    // places
    {"((eighth / 4 * 4 + j) ^ row % 8)", "(eighth / 4 * 4 + j)"},
    {"tile + (u64)i * 2);", "tile);"},
    {"(u64)(b % LINEAR_WGMMA_STAGE_BLOCKS * LINEAR_WGMMA_INSTRUCTIONS * 2);", "0;"},
    // results through shared memory
    {"linear_wgmma_meet(block, 0);", ";"},
    {"linear_wgmma_meet(block, 1);", ";"},
};

// In order and in three random orders.
static bool is_seen(cuda_subject *s) {
    ir_tensor *args[] = {
        random_matrix(IR_F16, 70, 832, 1, 17, s->keep),
        random_matrix(IR_F16, 70, 24, 1, 18, s->keep)};
    return cuda_subject_shows_mistake(s, args, 4, 0.25);
}

static void test_mistakes(void **state) {
    test_folder *f = *state;
    if (!cuda_shim_can_compile() || !cuda_subject_takes_mistakes()) skip();
    const wgmma_case c = {IR_Q4G32_F16, IR_F16, 24, 832, 0, {0}};
    const char *text = module_text(&c, f->keep);
    cuda_subject right = cuda_subject_open(text, "linear_wgmma__sm90a", f->path);
    assert_false(is_seen(&right));
    cuda_subject_close(&right);
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        cuda_subject s = cuda_subject_write(text, "linear_wgmma__sm90a", f->path);
        cuda_subject_put_mistake(&s, mistakes[i].text, mistakes[i].instead);
        cuda_subject_finish(&s, NULL);
        if (!is_seen(&s)) {
            fail_msg("'%s' instead of '%s' goes unseen", mistakes[i].instead, mistakes[i].text);
        }
        cuda_subject_close(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dtypes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_sizes, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_fp8, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
