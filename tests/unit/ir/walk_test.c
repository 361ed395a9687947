// walk: uses, replacement, erasure, moving, removing, inlining and cloning.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/random_module.h"

static mlcc_arena *keep;
static ir_module *module;
static ir_function *function;

static const char text[] =
    "module @m level=fused\n"
    "symbol n <= 8\n"
    "param @a : f32[4, 4] from \"a\"\n"
    "param @b : f32[4, 4] from \"b\"\n"
    "param @c : f32[4, 4] from \"c\"\n"
    "const @k : f32[4] = [1.0, 2.0, 3.0, 4.0]\n"
    "const @l : f32[4] = [1.0, 2.0, 3.0, 5.0]\n"
    "group @g(%x: f32[n, 4], %w: f32[4, 4]) {\n"
    "    %0 = linear %x, %w : f32[n, 4]\n"
    "    %1 = add %0, @l : f32[n, 4]\n"
    "    return %1, %0, %x\n"
    "}\n"
    "func @f(%x: f32[n, 4]) {\n"
    "    %0 = silu %x : f32[n, 4]\n"
    "    %1 = add %0, %0 : f32[n, 4]\n"
    "    %2 = mul %1, @k : f32[n, 4]\n"
    "    %3, %4, %5 = call %2, @b {callee = \"g\"} : f32[n, 4], f32[n, 4], f32[n, 4]\n"
    "    return %0, %3\n"
    "}\n";

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    module = parse_good(keep, text);
    function = ir_module_find(module, "f");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static ir_node *node_at(int place) {
    ir_node *node = function->first;
    while (place-- > 0) node = node->next;
    return node;
}

static void expect_function(const char *expected) {
    mlcc_str printed = {0};
    ir_print_function(function, &printed);
    assert_string_equal(mlcc_str_text(&printed), expected);
    mlcc_str_free(&printed);
}

static void uses_and_replacement(void **state) {
    (void)state;
    ir_value *silu = node_at(0)->results[0];
    assert_int_equal(ir_value_count_uses(function, silu), 3);
    assert_int_equal(ir_value_count_uses(function, node_at(3)->results[1]), 0);
    assert_int_equal(ir_value_count_uses(function, function->args[0]), 1);
    ir_value_replace(function, silu, function->args[0]);
    assert_int_equal(ir_value_count_uses(function, silu), 0);
    assert_int_equal(ir_value_count_uses(function, function->args[0]), 4);
    ir_node_erase(node_at(0));
    expect_function(
        "func @f(%x: f32[n, 4]) {\n"
        "    %0 = add %x, %x : f32[n, 4]\n"
        "    %1 = mul %0, @k : f32[n, 4]\n"
        "    %2, %3, %4 = call %1, @b {callee = \"g\"} : f32[n, 4], f32[n, 4], f32[n, 4]\n"
        "    return %x, %2\n"
        "}\n");
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
}

static void dependence(void **state) {
    (void)state;
    const ir_value *x = function->args[0], *silu = node_at(0)->results[0];
    const ir_value *called = node_at(3)->results[1];
    assert_true(ir_value_depends(function, called, x));
    assert_true(ir_value_depends(function, called, silu));
    assert_true(ir_value_depends(function, silu, silu));
    assert_true(ir_value_depends(function, x, x));
    assert_false(ir_value_depends(function, silu, called));
    assert_false(ir_value_depends(function, x, silu));
    assert_false(ir_value_depends(function, node_at(3)->results[0], called));
}

static void erasing_ends_and_middle(void **state) {
    (void)state;
    ir_value_replace(function, node_at(3)->results[0], function->args[0]);
    ir_node_erase(node_at(3));
    ir_value_replace(function, node_at(1)->results[0], function->args[0]);
    ir_node_erase(node_at(1));
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
    ir_node_erase(node_at(1));
    function->returns[0] = function->args[0];
    ir_node_erase(node_at(0));
    assert_null(function->first);
    assert_null(function->last);
    expect_function("func @f(%x: f32[n, 4]) {\n    return %x, %x\n}\n");
}

static void order_and_moving(void **state) {
    (void)state;
    ir_node *first = node_at(0);
    ir_node *last = node_at(3);
    assert_true(ir_node_precedes(first, last));
    assert_false(ir_node_precedes(last, first));
    assert_false(ir_node_precedes(first, first));
    ir_node_move_before(last, first);
    assert_ptr_equal(function->first, last);
    assert_ptr_equal(function->last, node_at(3));
    assert_true(ir_node_precedes(last, first));
    ir_node_move_before(first, first);
    ir_node_move_before(first, last);
    ir_node *mul = function->last->prev;
    ir_node_move_before(function->last, mul);
    assert_ptr_equal(function->last, mul);
    int32_t n_nodes = 0;
    for (const ir_node *node = function->last; node != NULL; node = node->prev) n_nodes++;
    assert_int_equal(n_nodes, 4);
}

static void removing_renumbers(void **state) {
    (void)state;
    ir_module_remove_param(module, module->params[0]);
    assert_int_equal(module->n_params, 2);
    assert_string_equal(module->params[0]->value.name, "b");
    assert_int_equal(module->params[0]->value.index, 0);
    assert_int_equal(module->params[1]->value.index, 1);
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
    ir_value_replace(function, &module->consts[0]->value, &module->consts[1]->value);
    ir_module_remove_const(module, module->consts[0]);
    assert_int_equal(module->n_consts, 1);
    assert_int_equal(module->consts[0]->value.index, 0);
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
    ir_module_remove_function(module, function);
    assert_int_equal(module->n_functions, 1);
    assert_null(ir_module_find(module, "f"));
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
}

static void inlining(void **state) {
    (void)state;
    ir_node *call = node_at(3);
    ir_value *results[3];
    ir_function_inline(ir_module_find(module, "g"), function, call, call->operands, results);
    assert_ptr_equal(results[2], call->operands[0]);
    for (int32_t i = 0; i < 3; i++) ir_value_replace(function, call->results[i], results[i]);
    ir_node_erase(call);
    expect_function("func @f(%x: f32[n, 4]) {\n"
                    "    %0 = silu %x : f32[n, 4]\n"
                    "    %1 = add %0, %0 : f32[n, 4]\n"
                    "    %2 = mul %1, @k : f32[n, 4]\n"
                    "    %3 = linear %2, @b : f32[n, 4]\n"
                    "    %4 = add %3, @l : f32[n, 4]\n"
                    "    return %0, %4\n"
                    "}\n");
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
    // At the end, a second time.
    ir_value *operands[] = {results[0], &module->params[0]->value};
    ir_function_inline(ir_module_find(module, "g"), function, NULL, operands, results);
    assert_ptr_equal(function->last->results[0], results[0]);
    expect_ok(ir_verify(module, IR_LEVEL_FUSED));
}

static void clones_are_equal_and_apart(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        mlcc_arena *original_keep = mlcc_arena_create();
        ir_module *original = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, original_keep);
        ir_module *clone = ir_module_clone(original, keep);
        expect_equal_modules(original, clone);
        // Nothing of the clone points into the original.
        mlcc_arena_free(original_keep);
        expect_ok(ir_verify(clone, IR_LEVEL_GRAPH));
        mlcc_str printed = {0};
        ir_print_module(clone, &printed);
        mlcc_str_free(&printed);
    }
    ir_module *clone = ir_module_clone(module, keep);
    expect_equal_modules(module, clone);
    expect_ok(ir_verify(clone, IR_LEVEL_FUSED));
    ir_attr_set_text(ir_module_find(clone, "f")->last, "callee", "h");
    assert_string_equal(ir_attr_text(node_at(3), "callee"), "g");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uses_and_replacement, setup, teardown),
        cmocka_unit_test_setup_teardown(dependence, setup, teardown),
        cmocka_unit_test_setup_teardown(erasing_ends_and_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(order_and_moving, setup, teardown),
        cmocka_unit_test_setup_teardown(removing_renumbers, setup, teardown),
        cmocka_unit_test_setup_teardown(inlining, setup, teardown),
        cmocka_unit_test_setup_teardown(clones_are_equal_and_apart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
