// quantize_activation and observe_max on numbers worked out by hand; params with a fallback.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/float8_oracle.h"
#include "tests/support/random_module.h"

static mlcc_arena *keep;
static ir_module *module;
static ir_function *function;
static ir_build b;

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    module = ir_module_create(keep, "m");
    function = ir_module_add_function(module, "f", false);
    b = ir_build_start(function);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static ir_value *arg_like(const ir_tensor *tensor) {
    ir_type type = {.dtype = tensor->dtype, .rank = tensor->rank};
    for (int32_t i = 0; i < type.rank; i++) type.dims[i] = ir_dim_const(tensor->dims[i]);
    const char *name = mlcc_arena_printf(keep, "a%d", function->n_args);
    return ir_function_add_arg(function, name, type);
}

static const ir_tensor *eval_value(ir_value *value, ir_tensor *const *operands) {
    expect_ok(b.status);
    ir_tensor *result = NULL;
    expect_ok(ir_eval_node(value->def, operands, keep, &result));
    return result;
}

static const ir_tensor *quantize(
    ir_tensor *x, ir_tensor *scale, int64_t bits, int64_t group, double floor) {
    ir_value *in = arg_like(x), *scales = scale != NULL ? arg_like(scale) : NULL;
    ir_tensor *operands[] = {x, scale};
    return eval_value(ir_quantize_activation(&b, in, scales, bits, group, floor), operands);
}

static void static_scales(void **state) {
    (void)state;
    // e4m3 has 8 steps in a binade: 1.0625 lies half way between 1 and 1.125, 1.1875 between 1.125
    // and 1.25; ties go to the even code.
    ir_tensor *x = tensor_f32(
        keep, 2, 4, (const float[]){1.0625f, 1.1875f, -1.07f, 0, 448, 449, -1e9f, 0x1p-10f});
    ir_tensor *one = vector_f32(keep, 1, (const float[]){1});
    const double e4m3[] = {1, 1.25, -1.125, 0, 448, 448, -448, 0};
    expect_floats(quantize(x, one, 3, 0, 1e-10), e4m3, 0);
    const double e5m2[] = {1, 1.25, -1, 0, 448, 448, -57344, 0x1p-10};
    expect_floats(quantize(x, one, 2, 0, 1e-10), e5m2, 0);
    // x / 0.5: the same steps, half as large; saturation at 224.
    ir_tensor *half = vector_f32(keep, 1, (const float[]){0.5f});
    const double halves[] = {1.0, 1.25, -1.0, 0, 224, 224, -224, 0x1p-10};
    x->f32[2] = -1.03f;
    x->f32[1] = 1.20f;
    expect_floats(quantize(x, half, 3, 0, 1e-10), halves, 0);
}

static void computed_scales(void **state) {
    (void)state;
    // Each row has its own scale: the largest becomes 448 and stays what it was.
    ir_tensor *x = tensor_f32(keep, 2, 3, (const float[]){448, 1.0625f, -2, 4.48f, -0.021f, 0});
    const ir_tensor *rows = quantize(x, NULL, 3, 0, 1e-10);
    const float scale = 4.48f / 448.0f;
    const double expected[] = {448, 1, -2, (double)(448 * scale), -2 * (double)scale, 0};
    expect_floats(rows, expected, 1e-9);
    // -0.021 / 0.01 = -2.1 lies next to -2 (step 0.25).
    assert_true(rows->f32[4] == -2 * scale);
    // A scale of 0 or below, or NaN, says "computed" too; for each group of columns by itself.
    ir_tensor *marks = vector_f32(keep, 2, (const float[]){0, -1});
    ir_tensor *some = vector_f32(keep, 2, (const float[]){NAN, 1});
    const double groups[] = {448, 1, -2, (double)(448 * scale), -2 * (double)scale, 0};
    expect_floats(quantize(x, marks, 3, 2, 1e-10), groups, 1e-9);
    x->f32[2] = 1.0625f;
    const double mixed[] = {448, 1, 1, (double)(448 * scale), -2 * (double)scale, 0};
    expect_floats(quantize(x, some, 3, 2, 1e-10), mixed, 1e-9);
    // Alone in its group, 1.0625 keeps every bit.
    assert_true(quantize(x, NULL, 3, 2, 1e-10)->f32[2] == 1.0625f);
}

static void the_floor_and_zeros(void **state) {
    (void)state;
    ir_tensor *x = tensor_f32(keep, 3, 2, (const float[]){0, -0.0f, 1e-4f, 1e-5f, NAN, 1});
    const ir_tensor *result = quantize(x, NULL, 3, 0, 1.0 / 512);
    assert_true(result->f32[0] == 0 && result->f32[1] == 0 && signbit(result->f32[1]));
    // Row 1 lies below the floor: steps are those of 1/512.
    const float scale = 1.0f / 512 / 448;
    const float expected =
        (float)oracle_value(&oracle_e4m3, oracle_code(&oracle_e4m3, 1e-5f / scale));
    assert_true(result->f32[3] == expected * scale);
    // NaN takes no part in the maximum and stays NaN.
    assert_true(isnan(result->f32[4]) && result->f32[5] == 1);
    // An infinite number saturates under a given scale.
    x->f32[0] = -INFINITY;
    ir_tensor *one = vector_f32(keep, 1, (const float[]){1});
    assert_true(quantize(x, one, 2, 0, 1e-10)->f32[0] == -57344);
}

static void results_have_the_dtype_of_the_rows(void **state) {
    (void)state;
    random_state random = {3};
    static const ir_dtype dtypes[] = {IR_F16, IR_BF16};
    for (int d = 0; d < 2; d++) {
        const int64_t dims[] = {3, 37};
        ir_tensor *x = ir_tensor_create(keep, dtypes[d], 2, dims);
        for (int i = 0; i < 3 * 37; i++)
            x->f32[i] = ir_round_to(dtypes[d], (float)random_unit(&random));
        const ir_tensor *result = quantize(x, NULL, 3, 10, 1e-10);
        assert_int_equal(result->dtype, dtypes[d]);
        for (int64_t row = 0; row < 3; row++) {
            for (int64_t column = 0; column < 37; column++) {
                float largest = 1e-10f;
                const int64_t first = column / 10 * 10;
                for (int64_t i = first; i < 37 && i < first + 10; i++)
                    largest = fmaxf(largest, fabsf(x->f32[row * 37 + i]));
                const float scale = largest / 448.0f;
                const uint8_t code = oracle_code(&oracle_e4m3, x->f32[row * 37 + column] / scale);
                const float value = (float)oracle_value(&oracle_e4m3, code) * scale;
                assert_true(result->f32[row * 37 + column] == ir_round_to(dtypes[d], value));
            }
        }
    }
}

// Codes times scales are what quantize_activation gives; a NaN code makes its scale NaN.
static void codes_and_scales(void **state) {
    (void)state;
    random_state random = {5};
    ir_tensor *x = ir_tensor_create(keep, IR_F32, 2, (const int64_t[]){3, 37});
    for (int i = 0; i < 3 * 37; i++) x->f32[i] = (float)random_unit(&random);
    ir_tensor *given = vector_f32(keep, 4, (const float[]){0, 0.5f, 0, 0.001f});
    for (int64_t bits = 2; bits <= 3; bits++) {
        const ir_tensor *rounded = quantize(x, given, bits, 10, 1e-10);
        ir_tensor *operands[] = {x, given}, *results[2];
        const ir_node *node =
            ir_encode_activation(&b, arg_like(x), arg_like(given), bits, 10, 1e-10);
        expect_ok(b.status);
        expect_ok(ir_eval_node(node, operands, keep, results));
        assert_int_equal(results[0]->dtype, bits == 3 ? IR_F8E4M3 : IR_F8E5M2);
        assert_true(results[1]->dtype == IR_F32 && results[1]->dims[1] == 4);
        for (int64_t i = 0; i < 3 * 37; i++) {
            const float scale = results[1]->f32[i / 37 * 4 + i % 37 / 10],
                        code = results[0]->f32[i];
            assert_true(code * scale == rounded->f32[i]);
            assert_true(ir_round_to(results[0]->dtype, code) == code);
        }
        assert_true(results[1]->f32[1] == 0.5f && results[1]->f32[7] == 0.001f);
        x->f32[12] = NAN;
        expect_ok(ir_eval_node(node, operands, keep, results));
        x->f32[12] = 0.25f;
        for (int64_t i = 0; i < 3 * 4; i++) assert_int_equal(isnan(results[1]->f32[i]), i == 1);
        assert_true(isnan(results[0]->f32[12]) && !isnan(results[0]->f32[11]));
    }
}

// Whole numbers: halves go to even, everything is within half a step, a NaN shows in its group's scale.
static void whole_codes(void **state) {
    (void)state;
    random_state random = {7};
    ir_tensor *x = ir_tensor_create(keep, IR_F32, 2, (const int64_t[]){2, 37});
    for (int i = 0; i < 2 * 37; i++) x->f32[i] = (float)random_unit(&random);
    memcpy(x->f32, (const float[]){127, 0.5f, 1.5f, -2.5f, -127, 126.5f, 0}, 7 * sizeof(float));
    x->f32[37 + 11] = -INFINITY;
    for (int i = 57; i < 67; i++) x->f32[i] = 0;
    ir_tensor *operands[] = {x}, *results[2];
    const ir_node *node = ir_encode_activation(&b, arg_like(x), NULL, 7, 10, 1e-30);
    expect_ok(b.status);
    expect_ok(ir_eval_node(node, operands, keep, results));
    assert_int_equal(results[0]->dtype, IR_I8);
    static const int32_t expected[] = {127, 0, 2, -2, -127, 126, 0};
    for (int i = 0; i < 7; i++) assert_int_equal(results[0]->i32[i], expected[i]);
    const ir_tensor *rounded = quantize(x, NULL, 7, 10, 1e-30);
    for (int64_t i = 0; i < 2 * 37; i++) {
        const float scale = results[1]->f32[i / 37 * 4 + i % 37 / 10];
        const int32_t code = results[0]->i32[i];
        assert_true(code >= -127 && code <= 127);
        if (i >= 47 && i < 57) { // the group with the infinite number
            assert_true(isnan(scale));
            continue;
        }
        assert_true((float)code * scale == rounded->f32[i]);
        assert_true(fabsf((float)code * scale - x->f32[i]) <= scale * 0.5001f);
    }
    assert_true(results[1]->f32[6] == 1e-30f / 127.0f);
}

static void sums_of_groups_are_scaled(void **state) {
    (void)state;
    const int64_t dims[] = {2, 3};
    ir_tensor *codes = ir_tensor_create(keep, IR_F8E4M3, 2, dims);
    memcpy(codes->f32, (const float[]){1, 2, 3, -4, 5, 448}, 6 * sizeof(float));
    ir_tensor *operands[] = {
        codes, tensor_f32(keep, 2, 3, (const float[]){1, 10, 100, 0.5f, 0, -1}),
        tensor_f32(keep, 2, 2, (const float[]){1, 2, 0.5f, 0.25f}),
        vector_f32(keep, 2, (const float[]){1000, 0})};
    ir_value *values[4];
    for (int i = 0; i < 4; i++) values[i] = arg_like(operands[i]);
    ir_value *out =
        ir_linear_scaled(&b, values[0], values[1], values[2], values[3], 2, IR_N_DTYPES);
    const double expected[] = {
        1 * (1 + 20) + 2 * 300 + 1000, 1 * 0.5 + 2 * -3, 0.5 * (-4 + 50) + 0.25 * 44800 + 1000,
        0.5 * -2 + 0.25 * -448};
    expect_floats(eval_value(out, operands), expected, 0);
    // The same from whole numbers.
    ir_tensor *bytes = ir_tensor_create(keep, IR_I8, 2, dims);
    memcpy(bytes->i32, (const int32_t[]){1, 2, 3, -4, 5, 127}, 6 * sizeof(int32_t));
    operands[0] = bytes;
    out = ir_linear_scaled(&b, arg_like(bytes), values[1], values[2], values[3], 2, IR_N_DTYPES);
    const double of_bytes[] = {
        1621, -5.5, 0.5 * (-4 + 50) + 0.25 * 12700 + 1000, 0.5 * -2 + 0.25 * -127};
    expect_floats(eval_value(out, operands), of_bytes, 0);
}

static void maxima(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        vector_f32(keep, 1, (const float[]){2}),
        tensor_f32(keep, 2, 2, (const float[]){1, -3, NAN, 0.5f}),
    };
    ir_value *maximum = arg_like(operands[0]), *x = arg_like(operands[1]);
    ir_value *value = ir_observe_max(&b, maximum, x);
    expect_floats(eval_value(value, operands), (const double[]){3}, 0);
    operands[0]->f32[0] = 7;
    expect_floats(eval_value(value, operands), (const double[]){7}, 0);
    operands[1]->f32[3] = -INFINITY;
    assert_true(isinf(eval_value(value, operands)->f32[0]));
    // The result is the argument's memory, also through a second observation.
    ir_value *again = ir_observe_max(&b, value, x);
    expect_ok(b.status);
    assert_ptr_equal(ir_value_memory_root(again), maximum);
}

static const char fallback_text[] = "module @m level=graph\n"
                                    "param @a : f32[2] from \"x\", \"y\" else 0.0\n"
                                    "param @b : f16[3] fused \"c\" else -0.125\n"
                                    "param @d : f32[1] from \"z\"\n";

static void fallbacks_are_text_and_count(void **state) {
    (void)state;
    ir_module *parsed = parse_good(keep, fallback_text);
    assert_true(parsed->params[0]->has_fallback && parsed->params[0]->fallback == 0.0);
    assert_true(parsed->params[1]->has_fallback && parsed->params[1]->fallback == -0.125);
    assert_false(parsed->params[2]->has_fallback);
    mlcc_str text = {0};
    ir_print_module(parsed, &text);
    expect_equal_modules(parsed, parse_good(keep, mlcc_str_text(&text)));
    assert_string_equal(mlcc_str_text(&text), fallback_text);
    mlcc_str_free(&text);
    const ir_module *clone = ir_module_clone(parsed, keep);
    expect_equal_modules(parsed, clone);
    assert_true(clone->params[1]->has_fallback && clone->params[1]->fallback == -0.125);
    // Having one counts, and its value.
    const mlcc_hash128 before = ir_fingerprint_module(parsed);
    parsed->params[0]->fallback = 1.0;
    assert_false(mlcc_hash128_equal(ir_fingerprint_module(parsed), before));
    parsed->params[0]->fallback = 0.0;
    assert_true(mlcc_hash128_equal(ir_fingerprint_module(parsed), before));
    parsed->params[0]->has_fallback = false;
    assert_false(mlcc_hash128_equal(ir_fingerprint_module(parsed), before));
}

static void builder_names_what_is_wrong(void **state) {
    (void)state;
    ir_value *x = arg_like(tensor_f32(keep, 2, 300, NULL));
    ir_value *scales = arg_like(vector_f32(keep, 2, NULL));
    (void)ir_quantize_activation(&b, x, scales, 3, 128, 1e-10);
    expect_error(
        b.status, "quantize_activation: operand 1 %a1 is f32[2], expected length 3 (one entry per "
                  "group of columns)");
    b = ir_build_start(function);
    (void)ir_quantize_activation(&b, x, NULL, 3, 0, 0.0);
    expect_error(b.status, "quantize_activation: attribute 'floor' is 0, expected at least 1e-30");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(static_scales, setup, teardown),
        cmocka_unit_test_setup_teardown(computed_scales, setup, teardown),
        cmocka_unit_test_setup_teardown(the_floor_and_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(results_have_the_dtype_of_the_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(codes_and_scales, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_of_groups_are_scaled, setup, teardown),
        cmocka_unit_test_setup_teardown(maxima, setup, teardown),
        cmocka_unit_test_setup_teardown(fallbacks_are_text_and_count, setup, teardown),
        cmocka_unit_test_setup_teardown(builder_names_what_is_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
