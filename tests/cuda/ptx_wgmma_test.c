// linear_wgmma as NVRTC writes it for sm_90a, run by the PTX interpreter with its descriptors, fences, barriers and register counts, against ir/eval; and the
// text with a mistake in it, which must be seen. Skipped where NVRTC is not installed.
#include "tests/support/cuda_ptx.h"
#include "tests/support/random_module.h"

// ---- cases ------------------------------------------------------------------------------------------------

typedef struct wgmma_case {
    ir_dtype weight, x; // x: f16 or bf16, or the format of codes
    int n, k, n_tokens;
} wgmma_case;

static const char *const halves_text =
    "module @m level=graph\nsymbol n_tokens <= 4096\nparam @w.weight : %s[%d, %d]\n"
    "func @forward(%%x: %s[n_tokens, %d]) {\n"
    "  %%0 = linear %%x, @w.weight : %s[n_tokens, %d]\n  return %%0\n}\n";

static const char *const fp8_text =
    "module @m level=graph\nsymbol n_tokens <= 4096\nparam @w.weight : %s[%d, %d]\n"
    "func @forward(%%x: f32[n_tokens, %d]) {\n"
    "  %%0, %%1 = encode_activation %%x {mantissa_bits = %d, group = 0} : %s[n_tokens, %d], "
    "f32[n_tokens, 1]\n"
    "  %%2 = linear_scaled %%0, @w.weight, %%1 {group = 0} : f16[n_tokens, %d]\n"
    "  return %%2\n}\n";

static bool is_fp8(const wgmma_case *c) {
    return c->x == IR_F8E4M3 || c->x == IR_F8E5M2;
}

static cuda_subject open_case(const test_folder *f, const wgmma_case *c) {
    const char *weight = ir_dtype_get(c->weight)->text, *x = ir_dtype_get(c->x)->text;
    char text[1024];
    if (is_fp8(c))
        snprintf(
            text, sizeof text, fp8_text, weight, c->n, c->k, c->k, c->x == IR_F8E4M3 ? 3 : 2, x,
            c->k, c->n);
    else
        snprintf(text, sizeof text, halves_text, weight, c->n, c->k, x, c->k, x, c->n);
    return cuda_subject_write(
        text, is_fp8(c) ? "linear_fp8_wgmma__sm90a" : "linear_wgmma__sm90a", f->path);
}

static ir_tensor *random_x(const wgmma_case *c, mlcc_arena *keep) {
    return random_matrix(is_fp8(c) ? IR_F32 : c->x, c->n_tokens, c->k, 1, 17, keep);
}

static void test_cases(void **state) {
    const test_folder *f = *state;
    if (!cuda_shim_can_compile() || cuda_subject_is_on_device()) skip();
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    static const wgmma_case cases[] = {
        {IR_Q4G32_F16, IR_F16, 40, 1056, 70},  {IR_BF16, IR_BF16, 24, 200, 65},
        {IR_U4G128_F16, IR_F16, 136, 256, 65}, {IR_F16, IR_F16, 9, 72, 1025},
        {IR_E4M3_F32, IR_F8E4M3, 24, 272, 66}, {IR_E5M2, IR_F8E5M2, 9, 1296, 65},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const wgmma_case *c = &cases[i];
        cuda_subject s = open_case(f, c);
        cuda_ptx_modules modules;
        cuda_ptx_compile(&s, nvrtc, "compute_90a", &modules);
        cuda_subject_finish(&s, NULL);
        ir_tensor *x = random_x(c, s.keep);
        const double unit = c->x == IR_BF16 ? 0x1p-7 : is_fp8(c) ? 0x1p-13 : 0x1p-10;
        cuda_subject_check(&s, &x, unit * 8, unit * 2);
        cuda_ptx_free(&s, &modules);
        cuda_subject_close(&s);
    }
    nvrtc_close(nvrtc);
}

// ---- mistakes ---------------------------------------------------------------------------------------------

typedef struct mistake {
    const char *text, *instead;
} mistake;

static const mistake mistakes[] = {
    {"wgmma_store_fence();", ";"},
    {"wgmma_fence();", ";"},
    {"wgmma_wait(1);", "wgmma_wait(2);"},
    {"wgmma_wait(0);", "wgmma_wait(1);"},
    {"barrier_wait(&block->full[turn.stage], turn.parity);", ";"},
    {"barrier_arrive(&block->empty[before]);", "barrier_arrive(&block->empty[turn.stage]);"},
    {"stride = 1024 >> 4;", "stride = 512 >> 4;"},
};

static void test_mistakes(void **state) {
    const test_folder *f = *state;
    if (!cuda_shim_can_compile() || !cuda_subject_takes_mistakes()) skip();
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    const wgmma_case c = {IR_F16, IR_F16, 9, 1160, 65}; // the ring goes round
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        cuda_subject s = open_case(f, &c);
        cuda_subject_finish(&s, NULL);
        cuda_subject_put_mistake(&s, mistakes[i].text, mistakes[i].instead);
        cuda_ptx_modules modules;
        cuda_ptx_compile(&s, nvrtc, "compute_90a", &modules);
        ir_tensor *x = random_x(&c, s.keep);
        if (!cuda_subject_shows_mistake(&s, &x, 1, 0.25)) {
            fail_msg("'%s' instead of '%s' goes unseen", mistakes[i].instead, mistakes[i].text);
        }
        cuda_ptx_free(&s, &modules);
        cuda_subject_close(&s);
    }
    nvrtc_close(nvrtc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cases, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
