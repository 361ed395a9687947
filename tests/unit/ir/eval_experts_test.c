// Mixtures of experts: routing beside what transformers' routers give for the same logits, products and sums on numbers worked out by hand.
#include "tests/unit/ir/eval_fixture.h"

static ir_tensor *integers(int64_t rows, int64_t columns, const int32_t *values) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){rows, columns});
    memcpy(tensor->i32, values, (size_t)(rows * columns) * sizeof *values);
    return tensor;
}

// ---- routing -----------------------------------------------------------------------------------

enum { ROWS = 3, EXPERTS = 8 };

// Experts 2 and 6 of the second row are equal.
static const float logits[ROWS * EXPERTS] = {
    2.76f, 0.78f, -2.57f, -2.55f, 3.03f, -0.4f, -0.2f,  -2.16f, 3.92f,  -0.65f, 0.53f, -0.1f,
    1.15f, 1.39f, 0.53f,  1.17f,  1.12f, 0.05f, -1.76f, -2.26f, -0.22f, 0.56f,  0.34f, -0.1f,
};
static const float bias[EXPERTS] = {-0.17f, -0.25f, 1.25f, 0.06f, 0.13f, -0.18f, 0.07f, 0.14f};

typedef struct route_case {
    const char *name;
    bool has_bias;
    ir_routing routing;
    int32_t experts[ROWS * 3];
    double weights[ROWS * 3];
} route_case;

static void check_route(const route_case *c, const float *from) {
    ir_tensor *x = tensor_f32(keep, ROWS, EXPERTS, from);
    ir_tensor *offsets = tensor_f32(keep, 1, EXPERTS, bias);
    offsets->rank = 1;
    offsets->dims[0] = EXPERTS;
    ir_tensor *operands[] = {x, offsets}, *results[2];
    const ir_node *node =
        ir_route_experts(&b, arg_like(x), c->has_bias ? arg_like(offsets) : NULL, &c->routing);
    expect_ok(b.status);
    expect_ok(ir_eval_node(node, operands, keep, results));
    for (int64_t i = 0; i < ROWS * c->routing.k; i++) {
        if (results[0]->i32[i] != c->experts[i])
            fail_msg("%s: place %d has expert %d", c->name, (int)i, results[0]->i32[i]);
        const double error = fabs((double)results[1]->f32[i] - c->weights[i]);
        if (!(error < 1e-6)) fail_msg("%s: weight %d is off by %g", c->name, (int)i, error);
    }
}

static void routers(void **state) {
    (void)state;
    static const route_case cases[] = {
        {"mixtral, qwen3_moe",
         false,
         {.k = 2, .renormalize = true},
         {4, 0, 0, 5, 0, 5},
         {0.5670929, 0.4329071, 0.9262184, 0.07378163, 0.6364525, 0.3635474}},
        {"gpt_oss, granitemoe",
         false,
         {.k = 3, .scoring = 2},
         {4, 0, 1, 0, 5, 7, 0, 5, 6},
         {0.5351088, 0.4084911, 0.05640005, 0.8744417, 0.06965715, 0.05590118, 0.4927042, 0.2814371,
          0.2258586}},
        {"deepseek_v2, group_limited_greedy",
         false,
         {.k = 3, .scale = 2.5, .n_groups = 4, .top_groups = 2},
         {4, 0, 1, 0, 5, 4, 0, 5, 1},
         {1.27958, 0.9768054, 0.1348668, 1.920157, 0.1529578, 0.1203209, 0.8278471, 0.4728737,
          0.2839586}},
        {"deepseek_v3, noaux_tc",
         true,
         {.k = 3,
          .scoring = 1,
          .renormalize = true,
          .scale = 2.5,
          .n_groups = 4,
          .top_groups = 2,
          .group_best = 2},
         {2, 4, 5, 2, 7, 6, 2, 6, 7},
         {0.1246116, 1.671982, 0.7034063, 0.7782499, 0.9435003, 0.7782499, 0.3042913, 1.211007,
          0.9847018}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_route(&cases[i], logits);
}

// Equal logits in order of their numbers; NaN counts as -inf; a choice stays one of different experts.
static void odd_logits(void **state) {
    (void)state;
    float odd[ROWS * EXPERTS];
    for (int i = 0; i < EXPERTS; i++) {
        odd[i] = 0.5f;
        odd[EXPERTS + i] = i == 6 ? -HUGE_VALF : (float)NAN;
        odd[2 * EXPERTS + i] = i == 3 ? 1.0f : -1.0f;
    }
    ir_tensor *x = tensor_f32(keep, ROWS, EXPERTS, odd), *results[2];
    const ir_node *node = ir_route_experts(&b, arg_like(x), NULL, &(ir_routing){.k = 3});
    expect_ok(b.status);
    expect_ok(ir_eval_node(node, &x, keep, results));
    static const int32_t expected[ROWS * 3] = {0, 1, 2, 0, 1, 2, 3, 0, 1};
    for (int i = 0; i < ROWS * 3; i++) assert_int_equal(results[0]->i32[i], expected[i]);
}

// ---- products and sums -------------------------------------------------------------------------

static void products(void **state) {
    (void)state;
    // Two experts of three outputs, K = 2.
    ir_tensor *w = ir_tensor_create(keep, IR_F32, 3, (const int64_t[]){2, 3, 2});
    for (int i = 0; i < 12; i++) w->f32[i] = (float)(i + 1);
    ir_tensor *offsets = tensor_f32(keep, 2, 3, (const float[]){100, 200, 300, 400, 500, 600});
    ir_tensor *shared = tensor_f32(keep, 2, 2, (const float[]){1, 10, -1, 0.5f});
    ir_tensor *parts = tensor_f32(keep, 2, 4, (const float[]){1, 10, 0, 1, -1, 0.5f, 2, 0});
    ir_tensor *experts = integers(2, 2, (const int32_t[]){1, 0, 0, 0});

    ir_tensor *operands[] = {shared, w, experts, offsets}, *result = NULL;
    ir_value *stack = arg_like(w), *chosen = arg_like(experts);
    const ir_value *y =
        ir_linear_experts(&b, arg_like(shared), stack, chosen, arg_like(offsets), IR_N_DTYPES);
    expect_ok(b.status);
    expect_ok(ir_eval_node(y->def, operands, keep, &result));
    expect_floats(
        result,
        (const double[]){487, 609, 731, 121, 243, 365, 100 + 0, 200 - 1, 300 - 2, 100 + 0, 200 - 1,
                         300 - 2},
        0);

    operands[0] = parts;
    y = ir_linear_experts(&b, arg_like(parts), stack, chosen, NULL, IR_N_DTYPES);
    expect_ok(b.status);
    expect_ok(ir_eval_node(y->def, operands, keep, &result));
    expect_floats(result, (const double[]){87, 109, 131, 2, 4, 6, 0, -1, -2, 2, 6, 10}, 0);

    experts->i32[3] = 2;
    expect_error(
        ir_eval_node(y->def, operands, keep, &result),
        "linear_experts: expert 2 of row 1 is out of range, there are 2");
}

// Codes times their scales: those of all columns, and of both parts, whose middle group lies in two.
static void products_of_codes(void **state) {
    (void)state;
    ir_tensor *w = ir_tensor_create(keep, IR_F32, 3, (const int64_t[]){2, 1, 3});
    for (int i = 0; i < 6; i++) w->f32[i] = (float)(i + 1);
    ir_tensor *codes = ir_tensor_create(keep, IR_I8, 2, (const int64_t[]){1, 3});
    ir_tensor *parts = ir_tensor_create(keep, IR_I8, 2, (const int64_t[]){1, 6});
    memcpy(codes->i32, (const int32_t[]){10, -3, 127}, 3 * sizeof(int32_t));
    memcpy(parts->i32, (const int32_t[]){1, 2, 3, -4, 5, 6}, 6 * sizeof(int32_t));
    ir_tensor *experts = integers(1, 2, (const int32_t[]){1, 0});
    ir_tensor *offsets = tensor_f32(keep, 2, 1, (const float[]){1000, 2000});

    ir_tensor *scales = tensor_f32(keep, 1, 2, (const float[]){0.5f, 0.25f});
    ir_tensor *operands[] = {codes, w, experts, scales, offsets}, *result = NULL;
    const ir_value *y = ir_linear_scaled_experts(
        &b, arg_like(codes), arg_like(w), arg_like(experts), arg_like(scales), arg_like(offsets), 2,
        IR_N_DTYPES);
    expect_ok(b.status);
    expect_ok(ir_eval_node(y->def, operands, keep, &result));
    const double of_all[] = {
        2000 + 0.5 * (40 - 15) + 0.25 * 127 * 6, 1000 + 0.5 * (10 - 6) + 0.25 * 127 * 3};
    expect_floats(result, of_all, 0);

    operands[0] = parts;
    operands[3] = tensor_f32(keep, 1, 3, (const float[]){1, 0.5f, 2});
    y = ir_linear_scaled_experts(
        &b, arg_like(parts), arg_like(w), arg_like(experts), arg_like(operands[3]), NULL, 2,
        IR_N_DTYPES);
    expect_ok(b.status);
    expect_ok(ir_eval_node(y->def, operands, keep, &result));
    expect_floats(result, (const double[]){4 + 10 + 9, -2 + 20 + 36}, 0);

    experts->i32[0] = -1;
    expect_error(
        ir_eval_node(y->def, operands, keep, &result),
        "linear_scaled_experts: expert -1 of row 0 is out of range, there are 2");
}

static void sums_and_parts(void **state) {
    (void)state;
    ir_tensor *y = tensor_f32(keep, 1, 6, (const float[]){1, 2, 3, 4, 5, 6});
    ir_tensor *weights = tensor_f32(keep, 1, 3, (const float[]){0.5f, 0.25f, -1});
    ir_tensor *operands[] = {y, weights}, *result = NULL;
    const ir_value *sum = ir_combine_experts(&b, arg_like(y), arg_like(weights));
    expect_ok(b.status);
    expect_ok(ir_eval_node(sum->def, operands, keep, &result));
    expect_floats(result, (const double[]){0.5 + 0.75 - 5, 1 + 1 - 6}, 0);

    const ir_value *second = ir_slice_parts(&b, arg_like(y), 2, 1, 3);
    expect_ok(b.status);
    expect_ok(ir_eval_node(second->def, operands, keep, &result));
    expect_floats(result, (const double[]){2, 3, 5, 6}, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(routers), TEST(odd_logits), TEST(products), TEST(products_of_codes),
        TEST(sums_and_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
