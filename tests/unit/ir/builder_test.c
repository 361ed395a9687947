// builder: names, sticky errors, attributes and defaults, inferred types, order of functions.
#include "tests/unit/ir/ir_fixture.h"

static mlcc_arena *keep;
static ir_module *module;
static ir_function *function;
static ir_build b;
static ir_dim n;

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    module = ir_module_create(keep, "m");
    function = ir_module_add_function(module, "f", false);
    b = ir_build_start(function);
    n = ir_dim_symbol(ir_module_symbol(module, "n", 8));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static ir_value *arg(const char *name, ir_type type) {
    return ir_function_add_arg(function, name, type);
}

static ir_value *weight(const char *name, int64_t rows, int64_t columns) {
    ir_type type = ir_type_matrix(IR_F32, ir_dim_const(rows), ir_dim_const(columns));
    return &ir_module_add_param(module, name, type, NULL, 0)->value;
}

static void names_and_symbols(void **state) {
    (void)state;
    ir_type type = ir_type_vector(IR_F32, ir_dim_const(2));
    const float data[] = {1.0f, 2.0f};
    const char *sources[] = {"x", "y"};
    ir_param *param = ir_module_add_param(module, "a", type, sources, 2);
    assert_non_null(param);
    assert_string_equal(param->sources[1], "y");
    assert_null(ir_module_add_param(module, "a", type, NULL, 0));
    assert_null(ir_module_add_const(module, "a", type, data));
    assert_non_null(ir_module_add_const(module, "c", type, data));
    assert_null(ir_module_add_const(module, "c", type, data));
    assert_null(ir_module_add_param(module, "c", type, NULL, 0));
    assert_null(ir_module_add_function(module, "f", true));
    assert_ptr_equal(ir_module_find_param(module, "a"), param);
    assert_null(ir_module_find_param(module, "b"));
    assert_ptr_equal(ir_module_find(module, "f"), function);
    assert_ptr_equal(ir_param_of(&param->value), param);
    assert_null(ir_const_of(&param->value));

    const ir_symbol *symbol = ir_module_symbol(module, "n", 3);
    assert_ptr_equal(symbol, n.symbol);
    assert_int_equal(symbol->bound, 8);
    assert_int_equal(ir_module_symbol(module, "n", 100)->bound, 100);
    assert_int_equal(ir_module_symbol(module, "other", 1)->index, 1);
}

static void fresh_names(void **state) {
    (void)state;
    assert_string_equal(ir_module_fresh_name(module, "g"), "g");
    assert_string_equal(ir_module_fresh_name(module, "f"), "f.1");
    ir_module_add_function(module, "f.1", true);
    assert_string_equal(ir_module_fresh_name(module, "f"), "f.2");
}

static void groups_precede_entry_functions(void **state) {
    (void)state;
    ir_module_add_function(module, "g1", true);
    ir_module_add_function(module, "e2", false);
    ir_module_add_function(module, "g2", true);
    const char *expected[] = {"g1", "g2", "f", "e2"};
    assert_int_equal(module->n_functions, COUNT(expected));
    for (size_t i = 0; i < module->n_functions; i++) {
        assert_string_equal(module->functions[i]->name, expected[i]);
    }
}

static void many_arguments(void **state) {
    (void)state;
    for (int32_t i = 0; i < 100; i++) {
        const ir_value *value = arg(mlcc_arena_printf(keep, "a%d", i), ir_type_vector(IR_I32, n));
        assert_int_equal(value->index, i);
    }
    assert_int_equal(function->n_args, 100);
    assert_string_equal(function->args[63]->name, "a63");
}

static void expect_type(const ir_value *value, const char *expected) {
    mlcc_str text = {0};
    ir_print_type(&value->type, &text);
    assert_string_equal(mlcc_str_text(&text), expected);
    mlcc_str_free(&text);
}

static void result_types(void **state) {
    (void)state;
    ir_value *ids = arg("ids", ir_type_vector(IR_I32, n));
    ir_value *rows = arg("rows", ir_type_vector(IR_I32, ir_dim_const(3)));
    ir_value *x = ir_embedding(&b, ids, weight("table", 10, 6), IR_F16);
    expect_type(x, "f16[n, 6]");
    ir_type grouped = ir_type_matrix(IR_Q4G32_F16, ir_dim_const(10), ir_dim_const(6));
    ir_value *packed = &ir_module_add_param(module, "packed", grouped, NULL, 0)->value;
    expect_type(ir_embedding(&b, ids, packed, IR_N_DTYPES), "f16[n, 6]");
    expect_type(ir_linear(&b, x, packed, NULL, IR_N_DTYPES), "f16[n, 10]");
    expect_type(ir_linear(&b, x, weight("w", 4, 6), NULL, IR_F32), "f32[n, 4]");
    expect_type(ir_cast(&b, x, IR_BF16), "bf16[n, 6]");
    expect_type(ir_slice(&b, x, 2, 5), "f16[n, 3]");
    expect_type(ir_take_rows(&b, x, rows), "f16[3, 6]");
    // The dtype of operand 0 wins.
    ir_value *wide = ir_cast(&b, x, IR_F32);
    expect_type(ir_binary(&b, IR_OP_ADD, x, wide), "f16[n, 6]");
    expect_type(ir_binary(&b, IR_OP_MUL, wide, x), "f32[n, 6]");
    expect_type(ir_unary(&b, IR_OP_GELU, x), "f16[n, 6]");
    expect_ok(b.status);
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
}

static void attributes_and_defaults(void **state) {
    (void)state;
    ir_value *x = arg("x", ir_type_matrix(IR_F32, n, ir_dim_const(4)));
    const ir_node *scaled = ir_scale(&b, x, 2.5)->def;
    assert_true(ir_attr_f64(scaled, "factor") == 2.5);
    ir_node *plain = ir_build_node(&b, IR_OP_SOFTCAP, &x, 1, NULL, 0, IR_N_DTYPES);
    assert_non_null(plain);
    assert_true(ir_attr_f64(plain, "cap") == 30.0);
    ir_attr_set_f64(plain, "cap", 4.0);
    assert_true(ir_attr_f64(plain, "cap") == 4.0);
    ir_node *slice = ir_slice(&b, x, 1, 3)->def;
    ir_attr_set_i64(slice, "begin", 0);
    assert_int_equal(ir_attr_i64(slice, "begin"), 0);
    expect_ok(b.status);
}

static void attention_slopes_need_sinks(void **state) {
    (void)state;
    ir_value *q = arg("q", ir_type_matrix(IR_F32, n, ir_dim_const(4)));
    ir_value *slopes = arg("slopes", ir_type_vector(IR_F32, ir_dim_const(1)));
    assert_non_null(
        ir_paged_attention(&b, q, q, q, q, q, &(ir_attention){.head_dim = 4, .slopes = slopes}));
    expect_error(b.status, "paged_attention: slopes without sinks");
    b.status = NULL;
}

static void new_nodes_before_another(void **state) {
    (void)state;
    ir_value *x = arg("x", ir_type_matrix(IR_F32, n, ir_dim_const(4)));
    ir_value *last = ir_unary(&b, IR_OP_SILU, x);
    b.before = last->def;
    ir_value *first = ir_unary(&b, IR_OP_RELU, x);
    ir_value *second = ir_unary(&b, IR_OP_GELU, first);
    assert_ptr_equal(function->first, first->def);
    assert_ptr_equal(function->first->next, second->def);
    assert_ptr_equal(function->last, last->def);
    assert_ptr_equal(last->def->prev, second->def);
}

static void errors_are_sticky(void **state) {
    (void)state;
    ir_value *x = arg("x", ir_type_matrix(IR_F32, n, ir_dim_const(4)));
    ir_value *bad = ir_linear(&b, x, weight("w", 3, 5), NULL, IR_N_DTYPES);
    assert_non_null(bad);
    assert_null(function->first);
    // Nothing happens any more, whatever is asked.
    assert_non_null(ir_unary(&b, IR_OP_SILU, bad));
    assert_null(ir_call(&b, function, NULL, 0));
    assert_null(function->first);
    expect_error(
        b.status,
        "linear: operand 1 @w is f32[3, 5], expected [N, K] with K = 4 (the columns of operand 0)");
}

typedef struct bad_node {
    ir_op op;
    int32_t operands[8]; // indices into the values below
    int32_t n_operands;
    ir_attr attrs[3];
    int32_t n_attrs;
    ir_dtype dtype;
    const char *message;
} bad_node;

#define F64(key, value) \
    { \
        .name = (key), .kind = IR_ATTR_F64, .as = {.f64 = (value) } \
    }
#define I64(key, value) \
    { \
        .name = (key), .kind = IR_ATTR_I64, .as = {.i64 = (value) } \
    }

static void errors_name_operand_and_shape(void **state) {
    (void)state;
    enum { X, IDS, TABLE, CACHE, PAGES, LONG, VECTOR, THIN, SYMBOLIC, WORDS, ONE };
    ir_dim four = ir_dim_const(4);
    ir_type cache = {
        .dtype = IR_F32,
        .rank = 5,
        .dims = {four, ir_dim_const(2), ir_dim_const(1), ir_dim_const(16), four}};
    ir_value *values[] = {
        [X] = arg("x", ir_type_matrix(IR_F32, n, four)),
        [IDS] = arg("ids", ir_type_vector(IR_I32, n)),
        [TABLE] = weight("table", 10, 4),
        [CACHE] = arg("cache", cache),
        [PAGES] = arg("pages", ir_type_matrix(IR_I32, four, four)),
        [LONG] = arg("long", ir_type_vector(IR_I32, ir_dim_const(9))),
        [VECTOR] = arg("vector", ir_type_vector(IR_F32, ir_dim_const(3))),
        [THIN] = arg("thin", ir_type_matrix(IR_F32, n, ir_dim_const(3))),
        [SYMBOLIC] = arg("symbolic", ir_type_matrix(IR_F32, n, n)),
        [WORDS] = arg("words", ir_type_vector(IR_U32, n)),
        [ONE] = arg("one", ir_type_vector(IR_F32, ir_dim_const(1))),
    };
    // clang-format off
    const bad_node cases[] = {
        {IR_OP_EMBEDDING, {X, TABLE}, 2, {{0}}, 0, IR_N_DTYPES, "embedding: operand 0 %x is f32[n, 4], expected an i32 vector"},
        {IR_OP_EMBEDDING, {WORDS, TABLE}, 2, {{0}}, 0, IR_N_DTYPES, "embedding: operand 0 %words is u32[n], expected an i32 vector"},
        {IR_OP_EMBEDDING, {IDS, X}, 2, {{0}}, 0, IR_N_DTYPES, "embedding: operand 1 %x is f32[n, 4], expected a weight matrix with constant extents"},
        {IR_OP_EMBEDDING, {IDS, TABLE}, 2, {{0}}, 0, IR_I8, "embedding: result dtype is i8, expected a float dtype"},
        {IR_OP_LINEAR, {IDS, TABLE}, 2, {{0}}, 0, IR_N_DTYPES, "linear: operand 0 %ids is i32[n], expected a float matrix"},
        {IR_OP_LINEAR, {X, TABLE, VECTOR}, 3, {{0}}, 0, IR_N_DTYPES, "linear: operand 2 %vector is f32[3], expected length 10 (the rows of operand 1)"},
        {IR_OP_LINEAR, {X}, 1, {{0}}, 0, IR_N_DTYPES, "linear takes 2 to 3 operands, found 1"},
        {IR_OP_SILU, {X, X}, 2, {{0}}, 0, IR_N_DTYPES, "silu takes 1 operand, found 2"},
        {IR_OP_SILU, {CACHE}, 1, {{0}}, 0, IR_N_DTYPES, "silu: operand 0 %cache is f32[4, 2, 1, 16, 4], expected a float matrix or vector"},
        {IR_OP_RMS_NORM, {X, VECTOR}, 2, {{0}}, 0, IR_N_DTYPES, "rms_norm: operand 1 %vector is f32[3], expected length 4 (the columns of operand 0)"},
        {IR_OP_RMS_NORM, {SYMBOLIC, VECTOR}, 2, {{0}}, 0, IR_N_DTYPES, "rms_norm: operand 1 %vector is f32[3], expected length n (the columns of operand 0)"},
        {IR_OP_ADD, {X, THIN}, 2, {{0}}, 0, IR_N_DTYPES, "add: operand 1 %thin is f32[n, 3], expected the shape of operand 0 or a vector as long as its rows"},
        {IR_OP_SLICE, {X}, 1, {I64("begin", 3), I64("end", 3)}, 2, IR_N_DTYPES, "slice: begin = 3, end = 3 do not lie within the 4 columns of operand 0"},
        {IR_OP_SLICE, {SYMBOLIC}, 1, {I64("begin", 0), I64("end", 1)}, 2, IR_N_DTYPES, "slice: operand 0 %symbolic is f32[n, n], expected a constant number of columns"},
        {IR_OP_SLICE, {X}, 1, {I64("begin", 0)}, 1, IR_N_DTYPES, "slice: attribute 'end' (an integer) must be written"},
        {IR_OP_SLICE, {X}, 1, {F64("begin", 0.0), I64("end", 1)}, 2, IR_N_DTYPES, "slice: attribute 'begin' is an integer"},
        {IR_OP_SCALE, {X}, 1, {F64("size", 1.0)}, 1, IR_N_DTYPES, "scale has no attribute 'size'"},
        {IR_OP_SCALE, {X}, 1, {F64("factor", (double)NAN)}, 1, IR_N_DTYPES, "scale: attribute 'factor' is nan, expected a finite number"},
        {IR_OP_SOFTCAP, {X}, 1, {F64("cap", 0.0)}, 1, IR_N_DTYPES, "softcap: attribute 'cap' is 0, expected more than 0"},
        {IR_OP_SOFTCAP, {X}, 1, {F64("cap", -1.0)}, 1, IR_N_DTYPES, "softcap: attribute 'cap' is -1, expected at least 0"},
        {IR_OP_CLAMP, {X}, 1, {F64("min", 1.0), F64("max", -1.0)}, 2, IR_N_DTYPES, "clamp: attributes 'min' = 1, 'max' = -1, expected min <= max"},
        {IR_OP_CLAMP, {X}, 1, {F64("max", (double)NAN)}, 1, IR_N_DTYPES, "clamp: attributes 'min' = -inf, 'max' = nan, expected min <= max"},
        {IR_OP_ROPE_TABLE, {IDS, TABLE}, 2, {{0}}, 0, IR_N_DTYPES, "rope_table: operand 1 @table is f32[10, 4], expected an f32 vector of constant length"},
        {IR_OP_ROPE_TABLE, {IDS, VECTOR}, 2, {F64("growth", -0.5)}, 1, IR_N_DTYPES, "rope_table: attribute 'growth' is -0.5, expected at least 0"},
        {IR_OP_ROPE_TABLE, {IDS, VECTOR}, 2, {I64("period", 0)}, 1, IR_N_DTYPES, "rope_table: attribute 'period' is 0, expected at least 1"},
        {IR_OP_ROPE, {X, THIN}, 2, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "rope: operand 1 %thin is f32[n, 3], expected an even number of columns, at most 4 (head_dim)"},
        {IR_OP_ROPE, {X, TABLE}, 2, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "rope: operand 1 @table is f32[10, 4], expected rows n (the rows of operand 0)"},
        {IR_OP_ROPE, {X, X}, 2, {I64("head_dim", 0)}, 1, IR_N_DTYPES, "rope: attribute 'head_dim' is 0, expected at least 1"},
        {IR_OP_KV_APPEND, {X, X, X, PAGES, IDS, IDS}, 6, {{0}}, 0, IR_N_DTYPES, "kv_append: operand 0 %x is f32[n, 4], expected a float kv cache of rank 5"},
        {IR_OP_KV_APPEND, {CACHE, X, THIN, PAGES, IDS, IDS}, 6, {{0}}, 0, IR_N_DTYPES, "kv_append: operand 2 %thin is f32[n, 3], expected columns 4 (n_kv_heads * head_dim of operand 0)"},
        {IR_OP_KV_APPEND, {CACHE, X, X, PAGES, IDS, LONG}, 6, {{0}}, 0, IR_N_DTYPES, "kv_append: operand 5 %long is i32[9], expected length n (one entry per token)"},
        {IR_OP_PAGED_ATTENTION, {THIN, CACHE, PAGES, IDS, IDS}, 5, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "paged_attention: operand 0 %thin is f32[n, 3], expected columns that are a multiple of 4 (n_kv_heads * head_dim of operand 1)"},
        {IR_OP_PAGED_ATTENTION, {X, CACHE, PAGES, IDS, IDS}, 5, {I64("head_dim", 2)}, 1, IR_N_DTYPES, "paged_attention: operand 1 %cache is f32[4, 2, 1, 16, 4], expected head_dim 2 (the attribute)"},
        {IR_OP_PAGED_ATTENTION, {X, CACHE, PAGES, IDS, IDS}, 5, {I64("head_dim", 4), I64("window", -1)}, 2, IR_N_DTYPES, "paged_attention: attribute 'window' is -1, expected at least 0"},
        {IR_OP_PAGED_ATTENTION, {X, CACHE, PAGES, IDS, IDS, VECTOR}, 6, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "paged_attention: operand 5 %vector is f32[3], expected length 1 (the heads of operand 0)"},
        {IR_OP_PAGED_ATTENTION, {X, CACHE, PAGES, IDS, IDS, ONE, IDS}, 7, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "paged_attention: operand 6 %ids is i32[n], expected a float vector"},
        {IR_OP_PAGED_ATTENTION, {X, CACHE, PAGES, IDS, IDS, ONE, ONE, ONE}, 8, {I64("head_dim", 4)}, 1, IR_N_DTYPES, "paged_attention takes 5 to 7 operands, found 8"},
        {IR_OP_TAKE_ROWS, {X, X}, 2, {{0}}, 0, IR_N_DTYPES, "take_rows: operand 1 %x is f32[n, 4], expected an i32 vector"},
        {IR_OP_CAST, {IDS}, 1, {{0}}, 0, IR_F32, "cast: operand 0 %ids is i32[n], expected a float matrix or vector"},
    };
    // clang-format on
    for (int32_t i = 0; i < COUNT(cases); i++) {
        ir_value *operands[8];
        for (int32_t k = 0; k < cases[i].n_operands; k++)
            operands[k] = values[cases[i].operands[k]];
        ir_build fresh = ir_build_start(function);
        assert_null(ir_build_node(
            &fresh, cases[i].op, operands, cases[i].n_operands, cases[i].attrs, cases[i].n_attrs,
            cases[i].dtype));
        expect_error(fresh.status, cases[i].message);
    }
    assert_null(function->first);
}

static void type_sizes(void **state) {
    (void)state;
    ir_type type = ir_type_matrix(IR_F16, n, ir_dim_const(3));
    int64_t elements = 0;
    int64_t size_bytes = 0;
    assert_true(ir_type_bound_elements(&type, &elements));
    assert_true(ir_type_bound_bytes(&type, &size_bytes));
    assert_int_equal(elements, 24);
    assert_int_equal(size_bytes, 48);
    type.dims[1] = ir_dim_const(INT64_MAX / 8);
    assert_true(ir_type_bound_elements(&type, &elements));
    assert_false(ir_type_bound_bytes(&type, &size_bytes));
    type.dims[1] = ir_dim_const(INT64_MAX / 4);
    assert_false(ir_type_bound_elements(&type, &elements));
}

static void tables(void **state) {
    (void)state;
    for (int op = 0; op < IR_N_OPS; op++) {
        ir_op found = IR_N_OPS;
        assert_true(ir_op_parse(ir_op_get((ir_op)op)->text, &found));
        assert_int_equal(found, op);
    }
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        ir_dtype found = IR_N_DTYPES;
        assert_true(ir_dtype_parse(ir_dtype_get((ir_dtype)dtype)->text, &found));
        assert_int_equal(found, dtype);
    }
    ir_op op = IR_OP_ADD;
    assert_false(ir_op_parse("ad", &op));
    assert_int_equal(ir_dtype_bytes(IR_BF16), 2);
    assert_int_equal(ir_dtype_bytes(IR_U8), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_and_symbols, setup, teardown),
        cmocka_unit_test_setup_teardown(fresh_names, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_precede_entry_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(many_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(result_types, setup, teardown),
        cmocka_unit_test_setup_teardown(attributes_and_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(attention_slopes_need_sinks, setup, teardown),
        cmocka_unit_test_setup_teardown(new_nodes_before_another, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_are_sticky, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_operand_and_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(type_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(tables, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
