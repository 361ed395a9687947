// Chains: joining launches into one function keeps what they compute, and the verifier holds the marks to their rules.
#include "ir/chain.h"
#include "ir/eval.h"
#include "ir/fingerprint.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "ir/walk.h"
#include "tests/support/random_module.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    fail();
}

// Two layers of the same three launches; %s: attributes of the first launch.
// clang-format off
#define LAYERS \
    "module @layers level=plan\nsymbol n_tokens <= 8\n" \
    "param @g : f16[8]\nparam @w : f16[16, 8]\nparam @h : f16[8]\nparam @v : f16[16, 8]\n" \
    "group @norm(%%a0: f16[n_tokens, 8], %%a1: f16[n_tokens, 8], %%a2: f16[8]) {\n" \
    "    %%0 = add %%a0, %%a1 : f16[n_tokens, 8]\n" \
    "    %%1 = rms_norm %%0, %%a2 : f16[n_tokens, 8]\n    return %%0, %%1\n}\n" \
    "group @linear(%%a0: f16[n_tokens, 8], %%a1: f16[16, 8]) {\n" \
    "    %%0 = linear %%a0, %%a1 : f16[n_tokens, 16]\n    return %%0\n}\n" \
    "group @gate(%%a0: f16[n_tokens, 16]) {\n" \
    "    %%0 = slice %%a0 {begin = 0, end = 8} : f16[n_tokens, 8]\n" \
    "    %%1 = slice %%a0 {begin = 8, end = 16} : f16[n_tokens, 8]\n" \
    "    %%2 = mul %%0, %%1 : f16[n_tokens, 8]\n    return %%2\n}\n" \
    "func @forward(%%x: f16[n_tokens, 8], %%r: f16[n_tokens, 8]) {\n" \
    "    %%0, %%1 = launch %%x, %%r, @g {callee = \"norm\", kernel = \"k\"%s} : f16[n_tokens, 8], " \
    "f16[n_tokens, 8]\n" \
    "    %%2 = launch %%1, @w {callee = \"linear\", kernel = \"k\"} : f16[n_tokens, 16]\n" \
    "    %%3 = launch %%2 {callee = \"gate\", kernel = \"k\"%s} : f16[n_tokens, 8]\n" \
    "    %%4, %%5 = launch %%3, %%0, @h {callee = \"norm\", kernel = \"k\"} : f16[n_tokens, 8], " \
    "f16[n_tokens, 8]\n" \
    "    %%6 = launch %%5, @v {callee = \"linear\", kernel = \"k\"} : f16[n_tokens, 16]\n" \
    "    %%7 = launch %%6 {callee = \"gate\", kernel = \"k\"} : f16[n_tokens, 8]\n" \
    "    return %%7, %%4\n}\n"
// clang-format on

static ir_module *parse(const char *first, const char *third, mlcc_arena *keep) {
    char text[4096];
    snprintf(text, sizeof text, LAYERS, first, third);
    ir_module *module = NULL;
    assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
    return module;
}

static void joined_chains_compute_the_same(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = parse("", "", keep);
    assert_ok(ir_verify(module, IR_LEVEL_PLAN));
    const ir_function *forward = ir_module_find(module, "forward");
    const ir_node *second = forward->first->next->next->next;
    const size_t n_functions = module->n_functions;
    const ir_chain one = ir_chain_join(forward->first, 3, keep);
    const ir_chain other = ir_chain_join(second, 3, keep);
    assert_int_equal(module->n_functions, n_functions);
    assert_string_equal(one.function->name, "norm + linear + gate");

    // The same function twice: what is read behind is the sum and the gate, not the normed rows nor the linear's.
    assert_true(mlcc_hash128_equal(
        ir_fingerprint_function(one.function), ir_fingerprint_function(other.function)));
    assert_int_equal(one.function->n_args, 4);
    assert_int_equal(one.function->n_returns, 2);
    assert_ptr_equal(one.inputs[3], &ir_module_find_param(module, "w")->value);
    assert_ptr_equal(one.results[0], forward->first->results[0]);
    assert_ptr_equal(other.inputs[0], second->operands[0]);
    const ir_chain shorter = ir_chain_join(forward->first, 2, keep);
    assert_int_equal(shorter.function->n_returns, 2);
    assert_ptr_equal(shorter.results[1], forward->first->next->results[0]);

    // Both layers by the joined functions.
    ir_tensor **args = random_inputs(forward, 5, keep);
    ir_tensor *expected[2], *sums[2], *actual[2], *weights[4];
    const ir_eval_options options = {.param = random_param};
    assert_ok(ir_eval_function(forward, args, &options, keep, expected));
    const char *const names[] = {"g", "w", "h", "v"};
    for (int i = 0; i < 4; i++) {
        assert_ok(random_param(NULL, ir_module_find_param(module, names[i]), keep, &weights[i]));
    }
    ir_tensor *first[] = {args[0], args[1], weights[0], weights[1]};
    assert_ok(ir_eval_function(one.function, first, &options, keep, sums));
    ir_tensor *then[] = {sums[1], sums[0], weights[2], weights[3]};
    assert_ok(ir_eval_function(other.function, then, &options, keep, actual));
    // The entry function returns the gate first.
    for (int64_t i = 0; i < ir_tensor_count(expected[0]); i++) {
        assert_memory_equal(&actual[1]->f32[i], &expected[0]->f32[i], sizeof(float));
        assert_memory_equal(&actual[0]->f32[i], &expected[1]->f32[i], sizeof(float));
    }
    mlcc_arena_free(keep);
}

static void text_keeps_the_marks(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = parse(", chain = 3, chain_rows = 8, chain_kernel = \"all\"", "", keep);
    assert_ok(ir_verify(module, IR_LEVEL_PLAN));
    mlcc_str text = {0};
    ir_print_module(module, &text);
    assert_non_null(
        strstr(mlcc_str_text(&text), "chain = 3, chain_rows = 8, chain_kernel = \"all\"}"));
    ir_module *again = NULL;
    assert_ok(ir_parse_module(mlcc_str_text(&text), text.length, "printed", keep, &again));
    assert_true(mlcc_hash128_equal(ir_fingerprint_module(module), ir_fingerprint_module(again)));
    mlcc_str_free(&text);

    const ir_function *forward = ir_module_find(module, "forward");
    static const bool continues[] = {false, true, true, false, false, false};
    int64_t n_left = 0;
    int i = 0;
    for (const ir_node *node = forward->first; node != NULL; node = node->next)
        assert_int_equal(ir_chain_continues(node, &n_left), continues[i++]);
    mlcc_arena_free(keep);
}

static void broken_marks_are_refused(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {", chain = 1, chain_rows = 8, chain_kernel = \"all\"", "", "two launches or more"},
        {", chain = -3, chain_rows = 8, chain_kernel = \"all\"", "", "two launches or more"},
        {", chain = 2, chain_kernel = \"all\"", "", "two launches or more"},
        {", chain = 2, chain_rows = 8", "", "two launches or more"},
        {", chain_rows = 8", "", "two launches or more"},
        {", chain = 7, chain_rows = 8, chain_kernel = \"all\"", "", "1 launches more"},
        {", chain = 3, chain_rows = 8, chain_kernel = \"all\"",
         ", chain = 2, chain_rows = 8, chain_kernel = \"all\"", "inside of another"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        ir_module *module = parse(cases[i][0], cases[i][1], keep);
        mlcc_status *status = ir_verify(module, IR_LEVEL_PLAN);
        assert_non_null(status);
        if (strstr(mlcc_status_message(status), cases[i][2]) == NULL) {
            fail_msg("case %zu: '%s'", i, mlcc_status_message(status));
        }
        mlcc_status_free(status);
        mlcc_arena_free(keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_chains_compute_the_same),
        cmocka_unit_test(text_keeps_the_marks),
        cmocka_unit_test(broken_marks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
