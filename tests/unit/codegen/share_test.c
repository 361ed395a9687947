// Groups that differ in extents only: which instances share a function, what the function is made from, and what it computes.
#include "codegen/cpu/share.h"
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"

#define HEAD "module @m level=plan\nsymbol n_tokens <= 8\nsymbol n_logits <= 4\n"
#define LINEAR(name, rows, k, n) \
    "group @" name "(%x: f32[" rows ", " #k "], %w: q4g32_f16[" #n ", " #k "]) {\n" \
    "  %0 = linear %x, %w : f32[" rows ", " #n "]\n  return %0\n}\n"
#define LINEAR_RELU(name, rows, k, n) \
    "group @" name "(%x: f32[" rows ", " #k "], %w: q4g32_f16[" #n ", " #k "]) {\n" \
    "  %0 = linear %x, %w : f32[" rows ", " #n "]\n" \
    "  %1 = relu %0 : f32[" rows ", " #n "]\n  return %1\n}\n"
#define LINEAR_SLICE(name, rows, k, n) \
    "group @" name "(%x: f32[" rows ", " #k "], %w: q4g32_f16[" #n ", " #k "]) {\n" \
    "  %0 = linear %x, %w : f32[" rows ", " #n "]\n" \
    "  %1 = slice %0 {begin = 0, end = 8} : f32[" rows ", 8]\n  return %1\n}\n"
#define SCALED(name, rows, k, groups, n) \
    "group @" name "(%x: i8[" rows ", " #k "], %w: q4g32_f16[" #n ", " #k "], %s: f32[" rows \
    ", " #groups "]) {\n" \
    "  %0 = linear_scaled %x, %w, %s {group = 32} : f32[" rows ", " #n "]\n  return %0\n}\n"
#define NORM(name, rows, k) \
    "group @" name "(%x: f32[" rows ", " #k "], %w: f16[" #k "]) {\n" \
    "  %0 = rms_norm %x, %w : f32[" rows ", " #k "]\n  return %0\n}\n"

// An instance of every group, all with one kernel row.
static codegen_artifact *artifact_of(const char *text, const char *kernel, mlcc_arena *keep) {
    ir_module *module = compile_parse(text, keep);
    codegen_artifact *artifact = MLCC_NEW(keep, codegen_artifact);
    *artifact =
        (codegen_artifact){.module = module,
                           .instances = MLCC_NEW_ARRAY(keep, codegen_instance, module->n_functions),
                           .n_instances = (int32_t)module->n_functions};
    for (size_t i = 0; i < module->n_functions; i++) {
        const ir_function *group = module->functions[i];
        codegen_instance *instance = &artifact->instances[i];
        instance->group = group;
        instance->kernel = kernel;
        instance->n_inputs = group->n_args;
        instance->inputs = MLCC_NEW_ARRAY(keep, const ir_value *, (size_t)group->n_args);
        for (int32_t a = 0; a < group->n_args; a++) instance->inputs[a] = group->args[a];
        instance->in_place = MLCC_NEW_ARRAY(keep, int32_t, 1);
        instance->in_place[0] = -1;
    }
    return artifact;
}

static void expect_owners(const cpu_share *shares, const int32_t *owners, int32_t n) {
    for (int32_t i = 0; i < n; i++) assert_int_equal(shares[i].owner, owners[i]);
}

static void expect_extent(const cpu_extent *extent, int64_t value, int64_t unit) {
    assert_null(extent->dim.symbol);
    assert_int_equal(extent->dim.value, value);
    assert_int_equal(extent->unit, unit);
}

// Rows and N of a linear may differ, K and the ops around it not.
static void test_linear(void **state) {
    test_folder *f = *state;
    static const char text[] = HEAD LINEAR("a", "n_tokens", 40, 48) LINEAR("b", "n_tokens", 40, 72)
        LINEAR("c", "n_tokens", 64, 48) LINEAR("d", "n_logits", 40, 80)
            LINEAR_RELU("e", "n_tokens", 40, 48) LINEAR_RELU("f", "n_tokens", 40, 33)
                LINEAR_SLICE("g", "n_tokens", 40, 48) LINEAR_SLICE("h", "n_tokens", 40, 72);
    const codegen_artifact *artifact = artifact_of(text, "linear_panel16__portable", f->keep);
    const cpu_share *shares = cpu_share_instances(artifact, NULL, f->keep);
    expect_owners(shares, (int32_t[]){0, 0, 2, 0, 4, 4, 6, 7}, 8);
    // Rows, then N in units of 8.
    const int64_t n[] = {48, 72, 0, 80};
    for (int32_t i = 0; i < 4; i++) {
        if (i == 2) continue;
        assert_int_equal(shares[i].n_extents, 2);
        assert_int_equal(shares[i].extents[0].unit, 0);
        assert_string_equal(
            shares[i].extents[0].dim.symbol->name, i == 3 ? "n_logits" : "n_tokens");
        expect_extent(&shares[i].extents[1], n[i], 8);
    }
    expect_extent(&shares[5].extents[0], 33, 1);
    assert_int_equal(shares[2].n_extents, 0);
    assert_ptr_equal(shares[2].instance, &artifact->instances[2]);

    // The copy: symbols behind the module's two, the same one wherever N stands; the group itself is as it was.
    const codegen_instance *copy = shares[0].instance;
    const ir_function *group = copy->group, *original = artifact->instances[0].group;
    assert_ptr_not_equal(group, original);
    assert_ptr_equal(copy->inputs[1], group->args[1]);
    const ir_type *x = &group->args[0]->type, *w = &group->args[1]->type;
    assert_int_equal(x->dims[0].symbol->index, 2);
    assert_int_equal(x->dims[0].symbol->bound, 8);
    assert_int_equal(x->dims[1].value, 40);
    assert_int_equal(w->dims[0].symbol->index, 3);
    assert_int_equal(w->dims[0].symbol->bound, 80);
    const ir_value *result = group->returns[0];
    assert_ptr_equal(result->def, group->first);
    assert_ptr_equal(group->first->operands[0], group->args[0]);
    assert_true(ir_dim_equal(result->type.dims[0], x->dims[0]));
    assert_true(ir_dim_equal(result->type.dims[1], w->dims[0]));
    assert_int_equal(original->returns[0]->type.dims[1].value, 48);
}

// Of products of codes K may differ as well; other knobs are other code.
static void test_scaled(void **state) {
    test_folder *f = *state;
    static const char text[] = HEAD SCALED("a", "n_tokens", 64, 2, 48)
        SCALED("b", "n_tokens", 96, 3, 48) SCALED("c", "n_tokens", 64, 2, 32);
    const codegen_artifact *artifact =
        artifact_of(text, "linear_scaled_panel16__x86_avx2", f->keep);
    cpu_knobs knobs[3] = {cpu_knobs_fallback(), cpu_knobs_fallback(), cpu_knobs_fallback()};
    const cpu_share *shares = cpu_share_instances(artifact, knobs, f->keep);
    expect_owners(shares, (int32_t[]){0, 0, 0}, 3);
    assert_int_equal(shares[1].n_extents, 3);
    expect_extent(&shares[1].extents[0], 96, 32);
    expect_extent(&shares[1].extents[1], 48, 16);
    expect_extent(&shares[1].extents[2], 3, 1);
    knobs[1].values[CPU_KNOB_scaled_block] = 32;
    shares = cpu_share_instances(artifact, knobs, f->keep);
    expect_owners(shares, (int32_t[]){0, 1, 0}, 3);
    assert_int_equal(shares[2].n_extents, 1);
    assert_int_equal(shares[1].n_extents, 0);
    shares = cpu_share_nothing(artifact, f->keep);
    expect_owners(shares, (int32_t[]){0, 1, 2}, 3);
}

// Other kernels share where rows differ, which are no constants.
static void test_rows(void **state) {
    test_folder *f = *state;
    static const char text[] =
        HEAD NORM("a", "n_tokens", 64) NORM("b", "n_tokens", 32) NORM("c", "n_logits", 64);
    const codegen_artifact *artifact = artifact_of(text, "rms_norm__portable", f->keep);
    const cpu_share *shares = cpu_share_instances(artifact, NULL, f->keep);
    expect_owners(shares, (int32_t[]){0, 1, 0}, 3);
    assert_int_equal(shares[2].n_extents, 1);
    // A kernel that is no row is refused when it is emitted, not here.
    for (int32_t i = 0; i < 3; i++) artifact->instances[i].kernel = "nothing";
    expect_owners(cpu_share_instances(artifact, NULL, f->keep), (int32_t[]){0, 1, 2}, 3);
}

// A row of x for every slot is another kernel than a row that several experts read.
static void test_experts(void **state) {
    test_folder *f = *state;
    static const char text[] =
        "module @m level=plan\nsymbol n_tokens <= 8\n"
        "group @a(%x: f32[n_tokens, 64], %w: q4g32_f16[4, 32, 64], %e: i32[n_tokens, 2]) {\n"
        "  %0 = linear_experts %x, %w, %e : f32[n_tokens, 64]\n  return %0\n}\n"
        "group @b(%x: f32[n_tokens, 128], %w: q4g32_f16[4, 32, 64], %e: i32[n_tokens, 2]) {\n"
        "  %0 = linear_experts %x, %w, %e : f32[n_tokens, 64]\n  return %0\n}\n"
        "group @c(%x: f32[n_tokens, 64], %w: q4g32_f16[4, 48, 64], %e: i32[n_tokens, 2]) {\n"
        "  %0 = linear_experts %x, %w, %e : f32[n_tokens, 96]\n  return %0\n}\n";
    const codegen_artifact *artifact =
        artifact_of(text, "linear_experts_panel16__portable", f->keep);
    const cpu_share *shares = cpu_share_instances(artifact, NULL, f->keep);
    expect_owners(shares, (int32_t[]){0, 1, 0}, 3);
    expect_extent(&shares[2].extents[0], 48, 16);
}

static void test_prepares(void **state) {
    test_folder *f = *state;
    codegen_prepare prepares[] = {
        {"panel16", ir_type_matrix(IR_Q4G32_F16, ir_dim_const(48), ir_dim_const(64))},
        {"panel16", ir_type_matrix(IR_F16, ir_dim_const(48), ir_dim_const(64))},
        {"panel16", ir_type_matrix(IR_Q4G32_F16, ir_dim_const(80), ir_dim_const(64))},
        {"tile16", ir_type_matrix(IR_Q4G32_F16, ir_dim_const(48), ir_dim_const(64))}};
    const codegen_artifact artifact = {.prepares = prepares, .n_prepares = 4};
    const cpu_prepare_share *shares = cpu_share_prepares(&artifact, f->keep);
    const int32_t owners[] = {0, 1, 0, 3};
    for (int32_t i = 0; i < 4; i++) assert_int_equal(shares[i].owner, owners[i]);
    assert_int_equal(shares[2].n_extents, 1);
    expect_extent(&shares[2].extents[0], 80, 16);
    assert_int_equal(shares[0].type.dims[0].symbol->index, 0);
    assert_int_equal(shares[0].type.dims[1].value, 64);
    assert_int_equal(shares[1].n_extents, 0);
    assert_true(ir_type_equal(&shares[1].type, &prepares[1].type));
}

// Linears of odd sizes on all rows and on some, norms of both: in one library, against ir/eval.
static void test_run(void **state) {
    test_folder *f = *state;
    static const char text[] =
        "module @m level=graph\nsymbol n_tokens <= 12\nsymbol n_logits <= 12\n"
        "param @a.weight : q4g32_f16[33, 40]\nparam @b.weight : q4g32_f16[40, 40]\n"
        "param @c.weight : q4g32_f16[7, 40]\nparam @norm.weight : f16[40]\n"
        "func @forward(%x: f32[n_tokens, 40], %rows: i32[n_logits]) {\n"
        "  %0 = rms_norm %x, @norm.weight : f32[n_tokens, 40]\n"
        "  %1 = linear %0, @a.weight : f32[n_tokens, 33]\n"
        "  %2 = linear %0, @b.weight : f32[n_tokens, 40]\n"
        "  %3 = take_rows %2, %rows : f32[n_logits, 40]\n"
        "  %4 = rms_norm %3, @norm.weight : f32[n_logits, 40]\n"
        "  %5 = linear %4, @c.weight : f32[n_logits, 7]\n"
        "  return %1, %5\n}\n";
    ir_module *module = compile_parse(text, f->keep);
    char *path = compile_module(module, "native", NULL, f->path, "lib.so", f->keep);
    const ir_function *forward = ir_module_find(module, "forward");
    model_weights *weights = model_weights_make(module, NULL, f->keep);
    model_library *library = model_library_open(path, weights, f->keep);
    const ir_eval_options options = {.param = model_weights_eval, .user = weights};
    for (int64_t n = 1; n <= 12; n += n == 1 ? 2 : 9) {
        ir_tensor *args[] = {
            random_matrix(IR_F32, n, 40, 2, 3, f->keep),
            ir_tensor_create(f->keep, IR_I32, 1, (int64_t[]){(n + 1) / 2})};
        for (int64_t i = 0; i < (n + 1) / 2; i++) args[1]->i32[i] = (int32_t)(n - 1 - i);
        ir_tensor *expected[2], *actual[2];
        assert_ok(ir_eval_function(forward, args, &options, f->keep, expected));
        for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
            model_library_run(library, forward, args, n_threads, f->keep, actual);
            assert_tensors_near(actual[0], expected[0], 2e-5, 2e-5, "all rows");
            assert_tensors_near(actual[1], expected[1], 2e-5, 2e-5, "some rows");
        }
    }
    model_library_close(library);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_folder_set_up, test_folder_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_linear),  TEST(test_scaled),   TEST(test_rows),
                                       TEST(test_experts), TEST(test_prepares), TEST(test_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
