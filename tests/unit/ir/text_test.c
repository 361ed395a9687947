// text: parse and print are inverse, on random modules and on every constant; places of errors;
// limits; hostile bytes.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/random_module.h"

static void random_modules_round_trip(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        mlcc_arena *keep = mlcc_arena_create();
        ir_module *module = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, keep);
        expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
        mlcc_str text = {0};
        ir_print_module(module, &text);
        ir_module *again = parse_good(keep, mlcc_str_text(&text));
        expect_equal_modules(module, again);
        mlcc_str_free(&text);
        mlcc_arena_free(keep);
    }
}

// A module with one constant that holds `count` elements.
static void round_trip_const(ir_dtype dtype, const void *data, int64_t count) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = ir_module_create(keep, "m");
    ir_type type = ir_type_vector(dtype, ir_dim_const(count));
    const ir_const *constant = ir_module_add_const(module, "c", type, data);
    mlcc_str text = {0};
    ir_print_module(module, &text);
    const ir_module *again = parse_good(keep, mlcc_str_text(&text));
    size_t size_bytes = (size_t)count * ir_dtype_bytes(dtype);
    assert_memory_equal(again->consts[0]->data, constant->data, size_bytes);
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

static void every_16_bit_constant_survives(void **state) {
    (void)state;
    uint16_t *codes = malloc(65536 * sizeof *codes);
    assert_non_null(codes);
    for (int32_t i = 0; i < 65536; i++) codes[i] = (uint16_t)i;
    round_trip_const(IR_F16, codes, 65536);
    round_trip_const(IR_BF16, codes, 65536);
    free(codes);
}

static void constants_survive_bit_for_bit(void **state) {
    (void)state;
    enum { N = 5000 };
    random_state random = {7};
    uint32_t words[N];
    for (int i = 0; i < N; i++) words[i] = (uint32_t)random_u64(&random);
    words[0] = 0x80000000; // -0.0
    words[1] = 0x7f800000;
    words[2] = 0xff800000;
    words[3] = 0x7fc00000;
    words[4] = 0xffc00000;
    words[5] = 0x00000001;
    words[6] = 0x7f7fffff;
    words[7] = 0x7f800001; // a signalling NaN
    round_trip_const(IR_F32, words, N);
    round_trip_const(IR_I32, words, N);
    round_trip_const(IR_U32, words, N);
    round_trip_const(IR_I8, words, N);
    round_trip_const(IR_U8, words, N);
    round_trip_const(IR_F32, words, 0);
}

static void attributes_survive_bit_for_bit(void **state) {
    (void)state;
    random_state random = {8};
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = ir_module_create(keep, "m");
    ir_function *function = ir_module_add_function(module, "f", false);
    ir_value *x = ir_function_add_arg(function, "x", ir_type_vector(IR_F32, ir_dim_const(3)));
    ir_build b = ir_build_start(function);
    for (int i = 0; i < 2000; i++) {
        uint64_t bits = random_u64(&random);
        double factor = 0;
        memcpy(&factor, &bits, sizeof factor);
        if (isfinite(factor)) x = ir_scale(&b, x, factor);
    }
    x = ir_scale(&b, x, -0.0);
    ir_function_set_returns(function, &x, 1);
    expect_ok(b.status);
    mlcc_str text = {0};
    ir_print_module(module, &text);
    expect_equal_modules(module, parse_good(keep, mlcc_str_text(&text)));
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

static void names_survive(void **state) {
    (void)state;
    const char *names[] = {
        "a.b-c/d_1", "two words", "\"\\", "\n\t\x01\x7f", "\xc3\xa9t\xc3\xa9", "\xff",
        "0",         "12",        "#",    "n_tokens"};
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = ir_module_create(keep, "a \"quoted\" module");
    ir_function *function = ir_module_add_function(module, "func tion", false);
    for (int32_t i = 0; i < COUNT(names); i++) {
        ir_dim n = ir_dim_symbol(ir_module_symbol(module, names[i], i + 1));
        ir_type type = ir_type_vector(IR_F32, ir_dim_const(1));
        ir_param *param = ir_module_add_param(module, names[i], type, &names[i], 1);
        param->fused_name = names[i];
        ir_function_add_arg(function, names[i], ir_type_vector(IR_F32, n));
    }
    ir_function_set_returns(function, function->args, function->n_args);
    mlcc_str text = {0};
    ir_print_module(module, &text);
    const ir_module *again = parse_good(keep, mlcc_str_text(&text));
    for (int32_t i = 0; i < COUNT(names); i++) {
        assert_string_equal(again->params[i]->value.name, names[i]);
        assert_string_equal(again->params[i]->fused_name, names[i]);
        assert_string_equal(again->functions[0]->args[i]->name, names[i]);
        assert_string_equal(again->symbols[i]->name, names[i]);
    }
    expect_equal_modules(module, again);
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

static void errors_carry_their_place(void **state) {
    (void)state;
    const char text[] =
        "module @m level=graph\n# comment\nfunc @f(%x: f32[4]) {\n    %0 = silu %y : f32[4]\n";
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    mlcc_status *status = ir_parse_module(text, strlen(text), "file.mlcir", keep, &module);
    assert_null(module);
    char *chain = mlcc_status_format(status, 0);
    assert_string_equal(
        chain, "error: invalid input: '%y' is not defined before its use in this function\n"
               "  while reading file.mlcir:4:15\n");
    free(chain);
    mlcc_status_free(status);
    mlcc_arena_free(keep);
}

static void limits(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    // Refused by its length alone: the text is not touched.
    expect_error(
        ir_parse_module("", (64u << 20) + 1, "big.mlcir", keep, &module),
        "big.mlcir has 67108865 bytes, at most 67108864 are accepted");
    mlcc_str text = {0};
    mlcc_str_puts(&text, "module @m level=graph\nfunc @f(%x: f32[1]) {\n%0 = silu %x");
    for (int i = 0; i < 64; i++) mlcc_str_puts(&text, ", %x");
    expect_error(
        ir_parse_module(text.data, text.length, "t", keep, &module),
        "a node has at most 64 operands");
    mlcc_str_clear(&text);
    mlcc_str_puts(&text, "module @m level=graph\nfunc @f() {\n%0");
    for (int i = 1; i < 70; i++) mlcc_str_printf(&text, ", %%%d", i);
    expect_error(
        ir_parse_module(text.data, text.length, "t", keep, &module),
        "a node has at most 64 results");
    mlcc_str_clear(&text);
    mlcc_str_puts(&text, "module @m level=graph\nsymbol n <= ");
    for (int i = 0; i < 100; i++) mlcc_str_putc(&text, '1');
    expect_error(
        ir_parse_module(text.data, text.length, "t", keep, &module),
        "number of 100 characters, at most 63 are accepted");
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

// Every prefix of a good text, and the text with single bytes changed, gives a module or an error,
// never a crash.
static void hostile_text(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_str text = {0};
    ir_print_module(random_module_with(3, RANDOM_FLOAT8, keep), &text);
    size_t step = text.length / 300 + 1;
    for (size_t length = 0; length < text.length; length += step) {
        mlcc_arena *scratch = mlcc_arena_create();
        ir_module *module = NULL;
        mlcc_status_free(ir_parse_module(text.data, length, "t", scratch, &module));
        mlcc_arena_free(scratch);
    }
    random_state random = {9};
    for (int i = 0; i < 2000; i++) {
        size_t place = (size_t)random_below(&random, (int64_t)text.length);
        char kept = text.data[place];
        text.data[place] = (char)random_below(&random, 256);
        mlcc_arena *scratch = mlcc_arena_create();
        ir_module *module = NULL;
        mlcc_status *status = ir_parse_module(text.data, text.length, "t", scratch, &module);
        if (status == NULL) mlcc_status_free(ir_verify(module, module->level));
        mlcc_status_free(status);
        mlcc_arena_free(scratch);
        text.data[place] = kept;
    }
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

static void one_node_and_one_function(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = random_module(1, keep);
    const ir_function *function = ir_module_find(module, "forward");
    mlcc_str text = {0};
    ir_print_node(function->first, &text);
    assert_true(
        mlcc_text_starts_with(text.data, "%0 = rope_table %positions, @inv_freq : f32[n_tokens, "));
    mlcc_str_clear(&text);
    ir_print_function(function, &text);
    assert_true(mlcc_text_starts_with(text.data, "func @forward(%ids: i32[n_tokens], "));
    assert_true(mlcc_text_ends_with(text.data, "}\n"));
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_modules_round_trip),
        cmocka_unit_test(every_16_bit_constant_survives),
        cmocka_unit_test(constants_survive_bit_for_bit),
        cmocka_unit_test(attributes_survive_bit_for_bit),
        cmocka_unit_test(names_survive),
        cmocka_unit_test(errors_carry_their_place),
        cmocka_unit_test(limits),
        cmocka_unit_test(hostile_text),
        cmocka_unit_test(one_node_and_one_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
