// linear_wgmma as NVRTC writes it for sm_90a, run by the PTX interpreter with its descriptors, fences, barriers and register counts, against ir/eval; and the
// text with a mistake in it, which must be seen. Skipped where NVRTC is not installed.
#include "codegen/cuda/nvrtc.h"
#include "tests/support/cuda_group.h"
#include "tests/support/ptx/ptx.h"
#include "tests/support/random_module.h"

typedef struct fixture {
    mlcc_arena *keep;
    char *folder;
    nvrtc_library *nvrtc; // NULL: absent
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->keep = mlcc_arena_create();
    f->folder = compile_folder(f->keep);
    mlcc_status *absent = nvrtc_open(&f->nvrtc);
    if (absent != NULL) print_message("skipped: %s\n", mlcc_status_message(absent));
    mlcc_status_free(absent);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    mlcc_status_free(mlcc_dir_remove_tree(f->folder));
    nvrtc_close(f->nvrtc);
    mlcc_arena_free(f->keep);
    free(f);
    return 0;
}

static bool can_run(const fixture *f) {
    return f->nvrtc != NULL && cuda_shim_can_compile() && !cuda_subject_is_on_device();
}

// ---- launching --------------------------------------------------------------------------------------------

// Modules by instance.
typedef struct ptx_modules {
    ptx_module **all;
} ptx_modules;

static void add_memory(ptx_memory *memory, const cuda_buffer *buffer, const char *name) {
    if (buffer->memory != NULL && buffer->size_bytes > 0)
        ptx_memory_add(memory, buffer->memory, buffer->size_bytes, name);
}

static bool launch_ptx(
    const cuda_subject_call *call, int32_t instance, const char *symbol,
    const cuda_shim_launch *launch, size_t n_words, char message[256]) {
    const ptx_modules *modules = call->subject->launcher_user;
    ptx_memory *memory = ptx_memory_create();
    for (size_t i = 0; i < call->subject->module->n_params; i++)
        add_memory(memory, &call->subject->params[i], "a param");
    for (size_t i = 0; i < call->n_buffers; i++) add_memory(memory, &call->buffers[i], "a tensor");
    add_memory(memory, call->scratch, "scratch");
    ptx_shape shape = {
        .block = {(uint32_t)launch->n_threads, 1, 1},
        .dynamic_shared_bytes = (uint32_t)launch->shared_bytes};
    for (int i = 0; i < 3; i++) shape.grid[i] = (uint32_t)launch->grid[i];
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(modules->all[instance], symbol, &function);
    if (status == NULL)
        status = ptx_launch(function, &shape, launch->words, n_words * 8, memory, NULL);
    ptx_memory_free(memory);
    if (status == NULL) return true;
    snprintf(message, 256, "%s", mlcc_status_message(status));
    mlcc_status_free(status);
    return false;
}

static void compile_modules(const fixture *f, cuda_subject *s, ptx_modules *modules) {
    const size_t n = (size_t)s->artifact->n_instances;
    modules->all = MLCC_NEW_ARRAY(s->keep, ptx_module *, n + 1);
    for (size_t i = 0; i < n; i++) {
        nvrtc_output output;
        assert_ok(nvrtc_compile(
            f->nvrtc, s->rows[i]->name, mlcc_str_text(&s->sources[i]), "compute_90a", &output));
        assert_ok(ptx_module_load(output.ptx, strlen(output.ptx), &modules->all[i]));
        nvrtc_output_free(&output);
    }
    s->launcher = launch_ptx;
    s->launcher_user = modules;
}

static void close_modules(cuda_subject *s, ptx_modules *modules) {
    for (int32_t i = 0; i < s->artifact->n_instances; i++) ptx_module_free(modules->all[i]);
    cuda_subject_close(s);
}

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

static cuda_subject open_case(const fixture *f, const wgmma_case *c) {
    const char *weight = ir_dtype_get(c->weight)->text, *x = ir_dtype_get(c->x)->text;
    char text[1024];
    if (is_fp8(c))
        snprintf(
            text, sizeof text, fp8_text, weight, c->n, c->k, c->k, c->x == IR_F8E4M3 ? 3 : 2, x,
            c->k, c->n);
    else
        snprintf(text, sizeof text, halves_text, weight, c->n, c->k, x, c->k, x, c->n);
    return cuda_subject_write(
        text, is_fp8(c) ? "linear_fp8_wgmma__sm90a" : "linear_wgmma__sm90a", f->folder);
}

static ir_tensor *random_x(const wgmma_case *c, mlcc_arena *keep) {
    const ir_dtype dtype = is_fp8(c) ? IR_F32 : c->x;
    ir_tensor *tensor = ir_tensor_create(keep, dtype, 2, (int64_t[]){c->n_tokens, c->k});
    random_state random = {17};
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++)
        tensor->f32[i] = ir_round_to(dtype, (float)random_unit(&random));
    return tensor;
}

static void test_cases(void **state) {
    const fixture *f = *state;
    if (!can_run(f)) skip();
    static const wgmma_case cases[] = {
        {IR_Q4G32_F16, IR_F16, 40, 1056, 70},  {IR_BF16, IR_BF16, 24, 200, 65},
        {IR_U4G128_F16, IR_F16, 136, 256, 65}, {IR_F16, IR_F16, 9, 72, 1025},
        {IR_E4M3_F32, IR_F8E4M3, 24, 272, 66}, {IR_E5M2, IR_F8E5M2, 9, 1296, 65},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const wgmma_case *c = &cases[i];
        cuda_subject s = open_case(f, c);
        ptx_modules modules;
        compile_modules(f, &s, &modules);
        cuda_subject_finish(&s, NULL);
        ir_tensor *x = random_x(c, s.keep);
        const double unit = c->x == IR_BF16 ? 0x1p-7 : is_fp8(c) ? 0x1p-13 : 0x1p-10;
        cuda_subject_check(&s, &x, unit * 8, unit * 2);
        close_modules(&s, &modules);
    }
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

static void put_mistake(cuda_subject *s, const mistake *m) {
    const char *source = mlcc_str_text(&s->sources[0]), *at = strstr(source, m->text);
    if (at == NULL) fail_msg("the kernel's text has no '%s'", m->text);
    mlcc_str changed = {0};
    mlcc_str_append(&changed, source, (size_t)(at - source));
    mlcc_str_puts(&changed, m->instead);
    mlcc_str_puts(&changed, at + strlen(m->text));
    mlcc_str_free(&s->sources[0]);
    s->sources[0] = changed;
}

static bool is_near(const ir_tensor *a, const ir_tensor *b, double limit) {
    for (int64_t i = 0; i < ir_tensor_count(a); i++) {
        const double difference = (double)a->f32[i] - (double)b->f32[i];
        if (!(difference <= limit && -difference <= limit)) return false; // NaN is far
    }
    return true;
}

static void test_mistakes(void **state) {
    const fixture *f = *state;
    if (!can_run(f) || !cuda_subject_takes_mistakes()) skip();
    const wgmma_case c = {IR_F16, IR_F16, 9, 1160, 65}; // the ring goes round
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        cuda_subject s = open_case(f, &c);
        cuda_subject_finish(&s, NULL);
        put_mistake(&s, &mistakes[i]);
        ptx_modules modules;
        compile_modules(f, &s, &modules);
        ir_tensor *x = random_x(&c, s.keep), *expected = NULL, *actual = NULL;
        const ir_eval_options options = {.param = model_weights_eval, .user = s.weights};
        assert_ok(ir_eval_function(s.forward, &x, &options, s.keep, &expected));
        char message[256] = "";
        s.mistake = message;
        cuda_subject_run(&s, &x, 0, s.keep, &actual);
        if (message[0] == '\0' && is_near(actual, expected, 0.25)) {
            fail_msg("'%s' instead of '%s' goes unseen", mistakes[i].instead, mistakes[i].text);
        }
        close_modules(&s, &modules);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
