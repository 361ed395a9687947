// verify: damage that no text can express, done to modules in memory. What text can express is in
// tests/golden/ir/verify_*.
#include "tests/unit/ir/ir_fixture.h"

static mlcc_arena *keep;
static ir_module *module;
static ir_function *function;

static const char graph_text[] = "module @m level=graph\n"
                                 "symbol n <= 8\n"
                                 "param @w : f32[4, 4] from \"w\"\n"
                                 "const @c : f32[4] = [1.0, 2.0, 3.0, 4.0]\n"
                                 "func @f(%x: f32[n, 4]) {\n"
                                 "    %0 = linear %x, @w : f32[n, 4]\n"
                                 "    %1 = add %0, @c : f32[n, 4]\n"
                                 "    %2 = scale %1 {factor = 2.0} : f32[n, 4]\n"
                                 "    return %2\n"
                                 "}\n";

static const char plan_text[] =
    "module @m level=plan\n"
    "symbol n <= 8\n"
    "symbol n_pages <= 2\n"
    "group @g(%x: f32[n, 4]) {\n"
    "    %0 = silu %x : f32[n, 4]\n"
    "    return %0\n"
    "}\n"
    "group @append(%c: f32[n_pages, 2, 1, 16, 4], %k: f32[n, 4], %t: i32[1, 1], %s: i32[n], %p: "
    "i32[n]) {\n"
    "    %0 = kv_append %c, %k, %k, %t, %s, %p : f32[n_pages, 2, 1, 16, 4]\n"
    "    return %0\n"
    "}\n"
    "func @f(%x: f32[n, 4], %c: f32[n_pages, 2, 1, 16, 4], %t: i32[1, 1], %s: i32[n], %p: i32[n]) "
    "workspace=256 {\n"
    "    %0 = launch %x {callee = \"g\", kernel = \"k\"} : f32[n, 4] at 0\n"
    "    %1 = launch %c, %0, %t, %s, %p {callee = \"append\", kernel = \"k\"} : f32[n_pages, 2, 1, "
    "16, 4]\n"
    "    %2 = launch %0 {callee = \"g\", kernel = \"k\"} : f32[n, 4] at 128\n"
    "    %3 = launch %2 {callee = \"g\", kernel = \"k\"} : f32[n, 4]\n"
    "    return %3, %1\n"
    "}\n";

static void load(const char *text) {
    module = parse_good(keep, text);
    function = ir_module_find(module, "f");
}

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    load(graph_text);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static void wrong_level(void **state) {
    (void)state;
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN), "module @m is at level graph, expected level plan");
    module->level = IR_LEVEL_PLAN;
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN),
        "linear outside of a group: at level plan entry functions hold launches only");
}

static void order_of_definitions(void **state) {
    (void)state;
    ir_node_move_before(function->last, function->first);
    mlcc_status *status = ir_verify(module, IR_LEVEL_GRAPH);
    char *chain = mlcc_status_format(status, 0);
    // The values are numbered in their new order.
    assert_string_equal(
        chain, "error: invalid input: scale: operand 0 is not defined before its use in @f\n"
               "  while checking '%0 = scale %2 {factor = 2.0} : f32[n, 4]'\n"
               "  while checking function @f\n"
               "  while checking module @m at level graph\n");
    free(chain);
    mlcc_status_free(status);
}

static void foreign_values(void **state) {
    (void)state;
    ir_module *other = parse_good(keep, graph_text);
    ir_node *linear = function->first;
    linear->operands[1] = &other->params[0]->value;
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH), "linear: operand 1 is not defined before its use in @f");
    linear->operands[1] = &module->params[0]->value;
    linear->operands[0] = ir_module_find(other, "f")->args[0];
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH), "linear: operand 0 is not defined before its use in @f");
    linear->operands[0] = function->args[0];
    function->returns[0] = ir_module_find(other, "f")->returns[0];
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH),
        "returned value 0 is neither a result nor an argument of the function");
}

static void broken_types(void **state) {
    (void)state;
    function->last->results[0]->type.dims[1] = ir_dim_const(5);
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "result 0 of scale must be f32[n, 4]");
    function->last->results[0]->type.dims[1] = ir_dim_const(4);
    const ir_symbol stranger = {.name = "n", .bound = 8, .index = 0};
    function->args[0]->type.dims[0] = ir_dim_symbol(&stranger);
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH), "'x' uses symbol 'n', which is not the module's");
    function->args[0]->type.dims[0] = ir_dim_const(-1);
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "'x' has the negative dimension -1");
    function->args[0]->type.dims[0] = ir_dim_const(INT64_MAX / 2);
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "'x' has too many elements");
    function->args[0]->type.rank = 9;
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "'x' has no proper type");
}

static void broken_lists(void **state) {
    (void)state;
    module->params[0]->value.index = 1;
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "param 'w' is not listed properly");
    module->params[0]->value.index = 0;
    module->symbols[0]->bound = 0;
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH),
        "symbol 'n' has bound 0 and index 0, expected a bound above 0 and index 0");
    module->symbols[0]->bound = 8;
    ir_node *last = function->last;
    function->last = last->prev;
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "the list of nodes is broken");
    function->last = last;
    last->results[0]->def = function->first;
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "result 0 is not linked to its node");
    last->results[0]->def = last;
    last->n_operands = 0;
    expect_error(ir_verify(module, IR_LEVEL_GRAPH), "scale takes 1 operand, found 0");
    last->n_operands = 1;
    last->attrs[0].name = "size";
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH),
        "scale does not carry the attributes of attrs.def in order");
    last->attrs[0].name = "factor";
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
}

static void attribute_values(void **state) {
    (void)state;
    ir_attr_set_f64(function->last, "factor", (double)INFINITY);
    mlcc_status *status = ir_verify(module, IR_LEVEL_GRAPH);
    char *chain = mlcc_status_format(status, 0);
    assert_non_null(strstr(chain, "attribute 'factor' is inf, expected a finite number"));
    assert_non_null(strstr(chain, "while checking '%2 = scale %1 {factor = inf} : f32[n, 4]'"));
    free(chain);
    mlcc_status_free(status);
}

static void plan_values_at_graph_level(void **state) {
    (void)state;
    function->last->results[0]->offset_bytes = 0;
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH), "result 0 has an offset, which belongs to level plan");
    function->last->results[0]->offset_bytes = -1;
    function->workspace_bytes = 64;
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH),
        "only entry functions at level plan have a workspace, this one has 64 bytes");
    function->workspace_bytes = -1;
    module->params[0]->layout = "rows";
    expect_error(
        ir_verify(module, IR_LEVEL_GRAPH), "param 'w' has a layout, which belongs to level plan");
}

static ir_node *plan_node(int place) {
    ir_node *node = function->first;
    while (place-- > 0) node = node->next;
    return node;
}

static void callees(void **state) {
    (void)state;
    load(plan_text);
    ir_attr_set_text(plan_node(0), "callee", "append");
    mlcc_status *status = ir_verify(module, IR_LEVEL_PLAN);
    expect_error(status, "launch: group @append takes 5 operands, found 1");
    ir_attr_set_text(plan_node(0), "callee", "f");
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN), "launch: 'f' is not a group function defined before");
    ir_attr_set_text(plan_node(0), "callee", "g");
    ir_function *group = module->functions[0];
    module->functions[0] = function;
    module->functions[2] = group;
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN), "launch: 'g' is not a group function defined before");
}

static void memory_of_in_place_results(void **state) {
    (void)state;
    load(plan_text);
    // The appended cache is the caller's: no offset, whichever value names it.
    ir_node *append = plan_node(1);
    assert_ptr_equal(ir_value_memory_root(append->results[0]), function->args[1]);
    assert_ptr_equal(ir_value_memory_root(function->args[1]), function->args[1]);
    ir_value *plain = plan_node(0)->results[0];
    assert_ptr_equal(ir_value_memory_root(plain), plain);
    append->results[0]->offset_bytes = 0;
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN),
        "result 0 is written in place and must not have an offset");
}

// A cache in the workspace lives until the last use of what was appended to it.
static void in_place_results_extend_lifetimes(void **state) {
    (void)state;
    static const char text[] =
        "module @m level=plan\n"
        "group @make(%x: f32[1, 4]) {\n"
        "    %0 = silu %x : f32[1, 4]\n"
        "    return %0\n"
        "}\n"
        "group @append(%c: f32[1, 2, 1, 16, 4], %k: f32[1, 4], %t: i32[1, 1], %s: i32[1], %p: "
        "i32[1]) {\n"
        "    %0 = kv_append %c, %k, %k, %t, %s, %p : f32[1, 2, 1, 16, 4]\n"
        "    return %0\n"
        "}\n"
        "group @attend(%q: f32[1, 4], %c: f32[1, 2, 1, 16, 4], %t: i32[1, 1], %s: i32[1], %p: "
        "i32[1]) {\n"
        "    %0 = paged_attention %q, %c, %t, %s, %p {head_dim = 4} : f32[1, 4]\n"
        "    return %0\n"
        "}\n"
        "func @f(%x: f32[1, 4], %c: f32[1, 2, 1, 16, 4], %t: i32[1, 1], %s: i32[1], %p: i32[1]) "
        "workspace=1024 {\n"
        "    %0 = launch %x {callee = \"make\", kernel = \"k\"} : f32[1, 4] at 0\n"
        "    %1 = launch %c, %0, %t, %s, %p {callee = \"append\", kernel = \"k\"} : f32[1, 2, 1, "
        "16, 4]\n"
        "    %2 = launch %0, %1, %t, %s, %p {callee = \"attend\", kernel = \"k\"} : f32[1, 4] at "
        "64\n"
        "    %3 = launch %2 {callee = \"make\", kernel = \"k\"} : f32[1, 4] at 128\n"
        "    %4 = launch %3, %1, %t, %s, %p {callee = \"attend\", kernel = \"k\"} : f32[1, 4]\n"
        "    return %4\n"
        "}\n";
    load(text);
    // %0 ends at the third launch, so %3 may have its place; %2 is still read by the launch that
    // writes %3.
    plan_node(3)->results[0]->offset_bytes = 0;
    expect_ok(ir_verify(module, IR_LEVEL_PLAN));
    plan_node(3)->results[0]->offset_bytes = 64;
    expect_error(
        ir_verify(module, IR_LEVEL_PLAN),
        "result 0 at 64 … 80 overlaps a value at 64 … 80 that is still in use");
}

static void plan_is_checked_step_by_step(void **state) {
    (void)state;
    load(plan_text);
    // Before plan_memory there is neither a workspace nor an offset.
    function->workspace_bytes = -1;
    for (ir_node *node = function->first; node != NULL; node = node->next)
        node->results[0]->offset_bytes = -1;
    expect_ok(ir_verify(module, IR_LEVEL_PLAN));
    function->workspace_bytes = 0;
    expect_error(ir_verify(module, IR_LEVEL_PLAN), "result 0 has no offset");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_level, setup, teardown),
        cmocka_unit_test_setup_teardown(order_of_definitions, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_values, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_types, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(attribute_values, setup, teardown),
        cmocka_unit_test_setup_teardown(plan_values_at_graph_level, setup, teardown),
        cmocka_unit_test_setup_teardown(callees, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_of_in_place_results, setup, teardown),
        cmocka_unit_test_setup_teardown(in_place_results_extend_lifetimes, setup, teardown),
        cmocka_unit_test_setup_teardown(plan_is_checked_step_by_step, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
