// eval: whole functions: symbols, params, constants, groups, returned values, reuse of memory.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/random_module.h"

static mlcc_arena *keep;

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static const char text[] = "module @m level=fused\n"
                           "symbol n <= 8\n"
                           "symbol k <= 8\n"
                           "param @w : q4g32_f16[2, 3] from \"w\"\n"
                           "const @bias : f16[2] = [0.5, -1.0]\n"
                           "const @rows : i8[2] = [1, 0]\n"
                           "group @g(%x: f32[n, 3], %w: q4g32_f16[2, 3]) {\n"
                           "    %0 = linear %x, %w, @bias : f32[n, 2]\n"
                           "    %1 = scale %0 {factor = 2.0} : f32[n, 2]\n"
                           "    return %1, %0\n"
                           "}\n"
                           "func @f(%x: f32[n, 3], %y: f32[k, 3]) {\n"
                           "    %0, %1 = call %x, @w {callee = \"g\"} : f32[n, 2], f32[n, 2]\n"
                           "    %2 = add %0, %1 : f32[n, 2]\n"
                           "    %3, %4 = call %x, @w {callee = \"g\"} : f32[n, 2], f32[n, 2]\n"
                           "    %5 = scale %y {factor = 3.0} : f32[k, 3]\n"
                           "    return %2, %x, %5, %2, %4\n"
                           "}\n";

static int32_t n_param_calls;

// w = [[1, 0, 0], [0, 1, 1]]
static mlcc_status *give_w(
    void *user, const ir_param *param, mlcc_arena *run_keep, ir_tensor **out) {
    n_param_calls++;
    assert_string_equal(param->value.name, "w");
    *out = ir_tensor_create(
        run_keep, param->value.type.dtype, 2, (const int64_t[]){2, *(const int64_t *)user});
    const float w[] = {1, 0, 0, 0, 1, 1};
    memcpy((*out)->f32, w, sizeof w);
    return NULL;
}

static void calls_symbols_and_returns(void **state) {
    (void)state;
    const ir_function *f = ir_module_find(parse_good(keep, text), "f");
    ir_tensor *args[] = {
        tensor_f32(keep, 2, 3, (const float[]){1, 2, 3, 4, 5, 6}),
        tensor_f32(keep, 1, 3, (const float[]){1, 1, 1}),
    };
    int64_t columns = 3;
    const ir_eval_options options = {.param = give_w, .user = &columns};
    ir_tensor *results[5];
    n_param_calls = 0;
    expect_ok(ir_eval_function(f, args, &options, keep, results));
    assert_int_equal(n_param_calls, 1);
    // linear: [1.5, 4], [4.5, 10]; times 2 plus itself: times 3
    expect_floats(results[0], (const double[]){4.5, 12, 13.5, 30}, 0);
    expect_floats(results[1], (const double[]){1, 2, 3, 4, 5, 6}, 0);
    expect_floats(results[2], (const double[]){3, 3, 3}, 0);
    expect_floats(results[3], (const double[]){4.5, 12, 13.5, 30}, 0);
    expect_floats(results[4], (const double[]){1.5, 4, 4.5, 10}, 0);
    assert_ptr_not_equal(results[0], results[3]);
    assert_ptr_not_equal(results[1], args[0]);
    assert_int_equal(results[2]->dims[0], 1);
}

static void shapes_must_agree(void **state) {
    (void)state;
    const ir_function *f = ir_module_find(parse_good(keep, text), "f");
    int64_t columns = 3;
    const ir_eval_options options = {.param = give_w, .user = &columns};
    ir_tensor *results[5];
    ir_tensor *args[] = {tensor_f32(keep, 2, 4, NULL), tensor_f32(keep, 1, 3, NULL)};
    expect_error(
        ir_eval_function(f, args, &options, keep, results),
        "'x' is f32[n, 3], the tensor is f32[2, 4]");
    args[0] = tensor_f32(keep, 2, 3, NULL);
    columns = 4;
    mlcc_status *status = ir_eval_function(f, args, &options, keep, results);
    char *chain = mlcc_status_format(status, 0);
    assert_string_equal(
        chain, "error: invalid input: 'w' is q4g32_f16[2, 3], the tensor is q4g32_f16[2, 4]\n"
               "  while evaluating '%0, %1 = call %x, @w {callee = \"g\"} : f32[n, 2], f32[n, 2]' "
               "in @f\n");
    free(chain);
    mlcc_status_free(status);
    expect_error(ir_eval_function(f, args, NULL, keep, results), "param 'w' has no value");
}

static void one_symbol_one_value(void **state) {
    (void)state;
    const ir_function *f = parse_good(
                               keep, "module @m level=graph\nsymbol n <= 8\n"
                                     "func @f(%x: f32[n, 3], %y: f32[n, 3]) {\n    return %x\n}\n")
                               ->functions[0];
    ir_tensor *args[] = {tensor_f32(keep, 2, 3, NULL), tensor_f32(keep, 1, 3, NULL)};
    ir_tensor *result = NULL;
    expect_error(
        ir_eval_function(f, args, NULL, keep, &result),
        "'y' is f32[n, 3], the tensor is f32[1, 3]");
}

static void integer_constants(void **state) {
    (void)state;
    const ir_function *f =
        parse_good(
            keep, "module @m level=graph\nsymbol n <= 8\n"
                  "const @rows : i32[3] = [1, -0, 1]\n"
                  "const @table : bf16[2, 2] = [1.0, 2.0, 3.0, 4.0]\n"
                  "func @f() {\n    %0 = embedding @rows, @table : f32[3, 2]\n    return %0\n}\n")
            ->functions[0];
    ir_tensor *result = NULL;
    expect_ok(ir_eval_function(f, NULL, NULL, keep, &result));
    expect_floats(result, (const double[]){3, 4, 1, 2, 3, 4}, 0);
}

// A long chain with values of all ages: memory that is used again must not be memory that is still
// read.
static void reuse_of_memory(void **state) {
    (void)state;
    ir_module *module = ir_module_create(keep, "m");
    ir_function *f = ir_module_add_function(module, "f", false);
    ir_build b = ir_build_start(f);
    ir_dim n = ir_dim_symbol(ir_module_symbol(module, "n", 8));
    enum { N = 400 };
    ir_value *values[N];
    double expected[N];
    random_state random = {11};
    values[0] = ir_function_add_arg(f, "x", ir_type_matrix(IR_F32, n, ir_dim_const(3)));
    expected[0] = 1.0;
    for (int i = 1; i < N; i++) {
        // Small integers modulo nothing: sums of two earlier values, kept small by a scale of one
        // half every time.
        int64_t a = random_below(&random, i);
        int64_t c = i - 1;
        ir_value *sum = ir_binary(&b, IR_OP_ADD, values[a], values[c]);
        values[i] = ir_scale(&b, sum, 0.5);
        expected[i] = (double)(float)((double)(float)(expected[a] + expected[c]) * 0.5);
        if (i % 7 == 0) {
            values[i] = ir_scale(&b, values[i], (double)i);
            expected[i] = (double)(float)(expected[i] * (double)i);
        }
    }
    ir_value *returns[] = {values[N - 1], values[N / 2]};
    ir_function_set_returns(f, returns, 2);
    expect_ok(b.status);
    ir_tensor *x = tensor_f32(keep, 1, 3, (const float[]){1, 1, 1});
    ir_tensor *results[2];
    expect_ok(ir_eval_function(f, &x, NULL, keep, results));
    assert_true((double)results[0]->f32[2] == expected[N - 1]);
    assert_true((double)results[1]->f32[0] == expected[N / 2]);
}

static void random_modules_run(void **state) {
    (void)state;
    const ir_eval_options options = {.param = random_param};
    for (uint64_t seed = 0; seed < 60; seed++) {
        mlcc_arena *run_keep = mlcc_arena_create();
        const ir_module *run = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, run_keep);
        const ir_function *f = ir_module_find(run, "forward");
        ir_tensor **args = random_inputs(f, seed, run_keep);
        ir_tensor *first[32];
        ir_tensor *second[32];
        expect_ok(ir_eval_function(f, args, &options, run_keep, first));
        expect_ok(ir_eval_function(f, args, &options, run_keep, second));
        for (int64_t i = 0; i < ir_tensor_count(first[0]); i++) {
            assert_true(isfinite(first[0]->f32[i]));
            assert_true(first[0]->f32[i] == second[0]->f32[i]);
        }
        mlcc_arena_free(run_keep);
    }
}

// A batch is ragged: what a sequence gets does not depend on who shares the batch with it. Every
// sequence of a batch, run alone, gives its logits.
static void batches_are_independent(void **state) {
    (void)state;
    const ir_eval_options options = {.param = random_param};
    int32_t n_compared = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        mlcc_arena *run_keep = mlcc_arena_create();
        const ir_module *run = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, run_keep);
        const ir_function *f = ir_module_find(run, "forward");
        ir_tensor **args = random_inputs(f, seed, run_keep);
        ir_tensor *together[32];
        ir_tensor *alone[32];
        expect_ok(ir_eval_function(f, args, &options, run_keep, together));
        int64_t vocab = together[0]->dims[1];
        int64_t begin = 0;
        for (int64_t s = 0; s < args[4]->dims[0]; s++) {
            // Tokens begin … end-1 of the batch, and row s of the page table.
            int64_t length = args[4]->i32[s] + 1 - begin;
            int64_t n_slots = args[3]->dims[1];
            ir_tensor *part[32];
            for (int32_t i = 0; i < f->n_args; i++) part[i] = args[i];
            for (int i = 0; i < 2; i++)
                part[i] = vector_i32(run_keep, length, args[i]->i32 + begin);
            part[2] = vector_i32(run_keep, length, NULL);
            part[3] = ir_tensor_create(run_keep, IR_I32, 2, (const int64_t[]){1, n_slots});
            memcpy(part[3]->i32, args[3]->i32 + s * n_slots, (size_t)n_slots * sizeof(int32_t));
            part[4] = vector_i32(run_keep, 1, (const int32_t[]){(int32_t)length - 1});
            expect_ok(ir_eval_function(f, part, &options, run_keep, alone));
            for (int64_t i = 0; i < vocab; i++)
                assert_true(alone[0]->f32[i] == together[0]->f32[s * vocab + i]);
            begin += length;
            n_compared++;
        }
        mlcc_arena_free(run_keep);
    }
    assert_true(n_compared > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_symbols_and_returns, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_must_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(one_symbol_one_value, setup, teardown),
        cmocka_unit_test_setup_teardown(integer_constants, setup, teardown),
        cmocka_unit_test_setup_teardown(reuse_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(random_modules_run, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_are_independent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
