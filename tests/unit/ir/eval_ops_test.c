// eval: every op but attention on numbers worked out by hand, with odd sizes, rounding and bad ids.
#include "tests/unit/ir/eval_fixture.h"

// Evaluates the node that makes `value`.
static const ir_tensor *eval_value(ir_value *value, ir_tensor *const *operands) {
    expect_ok(b.status);
    ir_tensor *result = NULL;
    expect_ok(ir_eval_node(value->def, operands, keep, &result));
    return result;
}

static void expect_unary(ir_op op, const float *x, const double *expected, int64_t n) {
    ir_tensor *tensor = tensor_f32(keep, 1, n, x);
    const ir_tensor *result = eval_value(ir_unary(&b, op, arg_like(tensor)), &tensor);
    expect_floats(result, expected, 1e-7);
}

static void activations(void **state) {
    (void)state;
    const float x[] = {-2.0f, -0.5f, 0.0f, 1.0f, 3.0f};
    expect_unary(IR_OP_RELU, x, (const double[]){0, 0, 0, 1, 3}, 5);
    expect_unary(
        IR_OP_SIGMOID, x, (const double[]){0.11920292, 0.37754067, 0.5, 0.73105858, 0.95257413}, 5);
    expect_unary(
        IR_OP_SILU, x, (const double[]){-0.23840584, -0.18877033, 0.0, 0.73105858, 2.85772238}, 5);
    expect_unary(
        IR_OP_GELU, x, (const double[]){-0.04550026, -0.15426877, 0.0, 0.84134475, 2.99595031}, 5);
    expect_unary(
        IR_OP_GELU_TANH, x, (const double[]){-0.04540231, -0.15428599, 0.0, 0.84119199, 2.99636261},
        5);
    // Far out nothing overflows into NaN.
    const float far[] = {-1e30f, -200.0f, 200.0f, 1e30f};
    expect_unary(IR_OP_SILU, far, (const double[]){0, 0, 200, (double)1e30f}, 4);
    expect_unary(IR_OP_SIGMOID, far, (const double[]){0, 0, 1, 1}, 4);
    expect_unary(IR_OP_RELU, (const float[]){-INFINITY}, (const double[]){0}, 1);
    ir_tensor *nan = tensor_f32(keep, 1, 1, (const float[]){NAN});
    assert_true(isnan(eval_value(ir_unary(&b, IR_OP_RELU, arg_like(nan)), &nan)->f32[0]));
}

static void clamp(void **state) {
    (void)state;
    ir_tensor *x = tensor_f32(keep, 1, 5, (const float[]){-INFINITY, -3, 0.5f, 2, INFINITY});
    ir_value *value = arg_like(x);
    expect_floats(
        eval_value(ir_clamp(&b, value, -2, 1.5), &x), (const double[]){-2, -2, 0.5, 1.5, 1.5}, 0);
    const ir_tensor *below = eval_value(ir_clamp(&b, value, -HUGE_VAL, 1.5), &x);
    expect_floats(below, (const double[]){-HUGE_VAL, -3, 0.5, 1.5, 1.5}, 0);
    const ir_tensor *above = eval_value(ir_clamp(&b, value, -2, HUGE_VAL), &x);
    expect_floats(above, (const double[]){-2, -2, 0.5, 2, HUGE_VAL}, 0);
    ir_tensor *nan = tensor_f32(keep, 1, 1, (const float[]){NAN});
    assert_true(isnan(eval_value(ir_clamp(&b, arg_like(nan), -2, 1.5), &nan)->f32[0]));
}

static void scale_softcap_slice(void **state) {
    (void)state;
    ir_tensor *x = tensor_f32(keep, 2, 3, (const float[]){1, 2, 3, -4, 5, 60});
    ir_value *value = arg_like(x);
    expect_floats(
        eval_value(ir_scale(&b, value, -0.5), &x), (const double[]){-0.5, -1, -1.5, 2, -2.5, -30},
        0);
    const ir_tensor *soft = eval_value(ir_softcap(&b, value, 10.0), &x);
    for (int i = 0; i < 6; i++) {
        double expected = 10.0 * tanh((double)x->f32[i] / 10.0);
        assert_true(soft->f32[i] == (float)expected);
    }
    const ir_tensor *slice = eval_value(ir_slice(&b, value, 1, 3), &x);
    assert_int_equal(slice->dims[1], 2);
    expect_floats(slice, (const double[]){2, 3, 5, 60}, 0);
}

static void add_and_mul(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 2, 3, (const float[]){1, 2, 3, 4, 5, 6}),
        tensor_f32(keep, 2, 3, (const float[]){10, 20, 30, 40, 50, 60}),
    };
    ir_value *a = arg_like(operands[0]);
    ir_value *other = arg_like(operands[1]);
    expect_floats(
        eval_value(ir_binary(&b, IR_OP_ADD, a, other), operands),
        (const double[]){11, 22, 33, 44, 55, 66}, 0);
    expect_floats(
        eval_value(ir_binary(&b, IR_OP_MUL, a, other), operands),
        (const double[]){10, 40, 90, 160, 250, 360}, 0);
    ir_tensor *row[] = {operands[0], vector_f32(keep, 3, (const float[]){1, 0, -1})};
    ir_value *vector = arg_like(row[1]);
    expect_floats(
        eval_value(ir_binary(&b, IR_OP_ADD, a, vector), row), (const double[]){2, 2, 2, 5, 5, 5},
        0);
    expect_floats(
        eval_value(ir_binary(&b, IR_OP_MUL, a, vector), row), (const double[]){1, 0, -3, 4, 0, -6},
        0);
}

static void cast_rounds_to_nearest_even(void **state) {
    (void)state;
    ir_tensor *x = tensor_f32(keep, 1, 4, (const float[]){0.1f, 2049.0f, 2051.0f, 70000.0f});
    ir_value *value = arg_like(x);
    const ir_tensor *half = eval_value(ir_cast(&b, value, IR_F16), &x);
    assert_int_equal(half->dtype, IR_F16);
    expect_floats(half, (const double[]){0.0999755859375, 2048, 2052, HUGE_VAL}, 0);
    expect_floats(
        eval_value(ir_cast(&b, value, IR_BF16), &x),
        (const double[]){0.10009765625, 2048, 2048, 70144}, 0);
}

// 1 + 2^-11 + 2^-34 lies above the tie between 1 and 1 + 2^-10; rounded to binary32 first it would
// be the tie, and go to 1.
static void results_are_rounded_once(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        ir_tensor_create(keep, IR_F16, 2, (const int64_t[]){1, 3}),
        ir_tensor_create(keep, IR_F32, 2, (const int64_t[]){1, 3}),
    };
    const float a[] = {1.0f, 1.0f, -1.0f};
    const float addend[] = {0x1.000002p-11f, 0x1p-11f, -0x1.000002p-11f};
    memcpy(operands[0]->f32, a, sizeof a);
    memcpy(operands[1]->f32, addend, sizeof addend);
    ir_value *left = arg_like(operands[0]);
    ir_value *right = arg_like(operands[1]);
    const ir_tensor *sum = eval_value(ir_binary(&b, IR_OP_ADD, left, right), operands);
    expect_floats(sum, (const double[]){0x1.004p0, 1.0, -0x1.004p0}, 0);
}

static void linear(void **state) {
    (void)state;
    // K = 11: one block of eight and a rest.
    enum { M = 3, N = 5, K = 11 };
    float x[M * K];
    float w[N * K];
    const float bias[N] = {0.5f, -1, 0, 2, 100};
    for (int i = 0; i < M * K; i++) x[i] = (float)(i % 7) - 3.0f;
    for (int i = 0; i < N * K; i++) w[i] = (float)(i % 5) * 0.25f - 0.5f;
    ir_tensor *operands[] = {
        tensor_f32(keep, M, K, x), tensor_f32(keep, N, K, w), vector_f32(keep, N, bias)};
    ir_value *values[3];
    for (int i = 0; i < 3; i++) values[i] = arg_like(operands[i]);
    double plain[M * N];
    double biased[M * N];
    for (int row = 0; row < M; row++) {
        for (int column = 0; column < N; column++) {
            double sum = 0;
            for (int k = 0; k < K; k++) sum += (double)x[row * K + k] * (double)w[column * K + k];
            plain[row * N + column] = sum;
            biased[row * N + column] = sum + (double)bias[column];
        }
    }
    expect_floats(
        eval_value(ir_linear(&b, values[0], values[1], NULL, IR_N_DTYPES), operands), plain, 0);
    expect_floats(
        eval_value(ir_linear(&b, values[0], values[1], values[2], IR_N_DTYPES), operands), biased,
        0);
    // [1, 2] times [[3, 4]] transposed
    ir_tensor *small[] = {
        tensor_f32(keep, 1, 2, (const float[]){1, 2}),
        tensor_f32(keep, 1, 2, (const float[]){3, 4})};
    ir_value *product = ir_linear(&b, arg_like(small[0]), arg_like(small[1]), NULL, IR_F16);
    expect_floats(eval_value(product, small), (const double[]){11}, 0);
}

// A sum that single precision loses: 2^24 + 1 - 2^24.
static void sums_run_in_double(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 1, 3, (const float[]){0x1p24f, 1.0f, -0x1p24f}),
        tensor_f32(keep, 1, 3, (const float[]){1, 1, 1}),
    };
    ir_value *product =
        ir_linear(&b, arg_like(operands[0]), arg_like(operands[1]), NULL, IR_N_DTYPES);
    expect_floats(eval_value(product, operands), (const double[]){1}, 0);
}

static void rms_norm(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 2, 3, (const float[]){1, 2, 2, 0, 0, 0}),
        vector_f32(keep, 3, (const float[]){1, 2, -1}),
    };
    // mean of squares 3; eps 1 makes the root 2.
    ir_value *x = arg_like(operands[0]);
    ir_value *gain = arg_like(operands[1]);
    expect_floats(
        eval_value(ir_rms_norm(&b, x, gain, 1.0), operands), (const double[]){0.5, 2, -1, 0, 0, 0},
        0);
    double root = sqrt(3.0 + 1e-5);
    expect_floats(
        eval_value(ir_rms_norm(&b, x, gain, 1e-5), operands),
        (const double[]){1 / root, 4 / root, -2 / root, 0, 0, 0}, 1e-7);
}

static void rms_norm_groups(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 1, 4, (const float[]){3, 4, 0, 0}),
        vector_f32(keep, 2, (const float[]){1, -2}),
    };
    // mean of squares 12.5 and 0; eps 12.5 makes the roots 5 and sqrt(12.5).
    ir_value *heads = ir_rms_norm_groups(&b, arg_like(operands[0]), arg_like(operands[1]), 12.5, 2);
    expect_floats(eval_value(heads, operands), (const double[]){0.6, -1.6, 0, 0}, 1e-7);
}

static void layer_norm(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 2, 3, (const float[]){1, 4, 7, 5, 5, 5}),
        vector_f32(keep, 3, (const float[]){1, 2, -1}),
        vector_f32(keep, 3, (const float[]){0.5, 0, 1}),
    };
    // Mean 4, variance 6; eps 3 makes the root 3.
    ir_value *x = arg_like(operands[0]), *gain = arg_like(operands[1]),
             *bias = arg_like(operands[2]);
    expect_floats(
        eval_value(ir_layer_norm(&b, x, NULL, NULL, 3.0), operands),
        (const double[]){-1, 0, 1, 0, 0, 0}, 0);
    expect_floats(
        eval_value(ir_layer_norm(&b, x, gain, NULL, 3.0), operands),
        (const double[]){-1, 0, -1, 0, 0, 0}, 0);
    expect_floats(
        eval_value(ir_layer_norm(&b, x, gain, bias, 3.0), operands),
        (const double[]){-0.5, 0, 0, 0.5, 0, 1}, 0);
}

static void layer_norm_groups(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        tensor_f32(keep, 1, 6, (const float[]){1, 4, 7, 5, 5, 5}),
        vector_f32(keep, 6, (const float[]){1, 2, -1, 4, 5, 6}),
        vector_f32(keep, 3, (const float[]){0.5, 0, 1}),
    };
    // Means 4 and 5, variances 6 and 0; eps 3 makes the first root 3.
    ir_value *x = arg_like(operands[0]), *gain = arg_like(operands[1]),
             *bias = arg_like(operands[2]);
    expect_floats(
        eval_value(ir_layer_norm_groups(&b, x, gain, NULL, 3.0, 3), operands),
        (const double[]){-1, 0, -1, 0, 0, 0}, 0);
    expect_floats(
        eval_value(ir_layer_norm_groups(&b, x, gain, bias, 3.0, 3), operands),
        (const double[]){-0.5, 0, 0, 0.5, 0, 1}, 0);
    ir_tensor *turned[] = {operands[0], operands[2], operands[1]};
    ir_value *short_gain = arg_like(turned[1]);
    expect_floats(
        eval_value(ir_layer_norm_groups(&b, x, short_gain, NULL, 3.0, 3), turned),
        (const double[]){-0.5, 0, 1, 0, 0, 0}, 0);
}

static void embedding_and_take_rows(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        vector_i32(keep, 4, (const int32_t[]){2, 0, 2, 1}),
        tensor_f32(keep, 3, 2, (const float[]){1, 2, 3, 4, 5, 0.1f}),
    };
    ir_value *ids = arg_like(operands[0]);
    ir_value *table = arg_like(operands[1]);
    ir_value *embedded = ir_embedding(&b, ids, table, IR_F16);
    const double h = 0.0999755859375;
    expect_floats(eval_value(embedded, operands), (const double[]){5, h, 1, 2, 5, h, 3, 4}, 0);
    ir_tensor *swapped[] = {operands[1], operands[0]};
    ir_value *taken = ir_take_rows(&b, table, ids);
    const double f = (double)0.1f;
    expect_floats(eval_value(taken, swapped), (const double[]){5, f, 1, 2, 5, f, 3, 4}, 0);

    ir_tensor *result = NULL;
    operands[0]->i32[2] = 3;
    expect_error(
        ir_eval_node(embedded->def, operands, keep, &result),
        "embedding: id 3 at place 2 is out of range, there are 3 rows");
    operands[0]->i32[2] = -1;
    expect_error(
        ir_eval_node(taken->def, swapped, keep, &result),
        "take_rows: row -1 at place 2 is out of range, there are 3 rows");
}

static void rope_table(void **state) {
    (void)state;
    ir_tensor *operands[] = {
        vector_i32(keep, 3, (const int32_t[]){0, 1, 500}),
        vector_f32(keep, 2, (const float[]){1.0f, 0.01f}),
    };
    ir_value *table = ir_rope_table(&b, arg_like(operands[0]), arg_like(operands[1]), 2.0);
    const double slow = (double)0.01f;
    const double expected[] = {
        2,
        2,
        0,
        0,
        2 * cos(1),
        2 * cos(slow),
        2 * sin(1),
        2 * sin(slow),
        2 * cos(500),
        2 * cos(500 * slow),
        2 * sin(500),
        2 * sin(500 * slow),
    };
    expect_floats(eval_value(table, operands), expected, 2e-7);
}

static void rope(void **state) {
    (void)state;
    // Two heads of five columns; the first four turn by angles whose cosine and sine are (0, 1) and
    // (-1, 0).
    ir_tensor *operands[] = {
        tensor_f32(keep, 1, 10, (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
        tensor_f32(keep, 1, 4, (const float[]){0, -1, 1, 0}),
    };
    ir_value *x = arg_like(operands[0]);
    ir_value *table = arg_like(operands[1]);
    // Pairs (0, 2) and (1, 3).
    expect_floats(
        eval_value(ir_rope(&b, x, table, 5, false), operands),
        (const double[]){-3, -2, 1, -4, 5, -8, -7, 6, -9, 10}, 0);
    // Pairs (0, 1) and (2, 3).
    expect_floats(
        eval_value(ir_rope(&b, x, table, 5, true), operands),
        (const double[]){-2, 1, -3, -4, 5, -7, 6, -8, -9, 10}, 0);
}

static void operands_must_agree(void **state) {
    (void)state;
    ir_tensor *good = tensor_f32(keep, 2, 3, NULL);
    ir_tensor *bad = tensor_f32(keep, 3, 2, NULL);
    ir_value *sum = ir_unary(&b, IR_OP_SILU, arg_like(good));
    ir_tensor *result = NULL;
    expect_error(
        ir_eval_node(sum->def, &bad, keep, &result),
        "'operand 0' is f32[2, 3], the tensor is f32[3, 2]");
    bad = ir_tensor_create(keep, IR_F16, 2, good->dims);
    expect_error(
        ir_eval_node(sum->def, &bad, keep, &result),
        "'operand 0' is f32[2, 3], the tensor is f16[2, 3]");
}

static void no_rows(void **state) {
    (void)state;
    ir_tensor *operands[] = {tensor_f32(keep, 0, 3, NULL), tensor_f32(keep, 2, 3, NULL)};
    ir_value *product =
        ir_linear(&b, arg_like(operands[0]), arg_like(operands[1]), NULL, IR_N_DTYPES);
    assert_int_equal(ir_tensor_count(eval_value(product, operands)), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(activations, setup, teardown),
        cmocka_unit_test_setup_teardown(clamp, setup, teardown),
        cmocka_unit_test_setup_teardown(scale_softcap_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(add_and_mul, setup, teardown),
        cmocka_unit_test_setup_teardown(cast_rounds_to_nearest_even, setup, teardown),
        cmocka_unit_test_setup_teardown(results_are_rounded_once, setup, teardown),
        cmocka_unit_test_setup_teardown(linear, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_run_in_double, setup, teardown),
        cmocka_unit_test_setup_teardown(rms_norm, setup, teardown),
        cmocka_unit_test_setup_teardown(rms_norm_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(layer_norm, setup, teardown),
        cmocka_unit_test_setup_teardown(layer_norm_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(embedding_and_take_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(rope_table, setup, teardown),
        cmocka_unit_test_setup_teardown(rope, setup, teardown),
        cmocka_unit_test_setup_teardown(operands_must_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(no_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
