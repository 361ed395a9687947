// Maxima that calibration records live in arguments: places and waits of observe_max in a plan.
#include "codegen/artifact.h"
#include "tests/support/compile_module.h"

static const char plan[] =
    "module @fp8 level=plan\n"
    "symbol n_tokens <= 8\n"
    "group @observe_max(%a0: f32[1], %a1: f16[n_tokens, 64]) {\n"
    "    %0 = observe_max %a0, %a1 : f32[1]\n"
    "    return %0\n"
    "}\n"
    "group @quantize_activation(%a0: f16[n_tokens, 64]) {\n"
    "    %0 = quantize_activation %a0 : f16[n_tokens, 64]\n"
    "    return %0\n"
    "}\n"
    "func @forward(%x: f16[n_tokens, 64], %a.q_calibration_scale: f32[1], "
    "%b.q_calibration_scale: f32[1]) workspace=1024 {\n"
    "    %0 = launch %a.q_calibration_scale, %x {callee = \"observe_max\", kernel = \"k\"} : "
    "f32[1]\n"
    "    %1 = launch %x {callee = \"quantize_activation\", kernel = \"k\"} : f16[n_tokens, 64] at "
    "0\n"
    "    %2 = launch %b.q_calibration_scale, %x {callee = \"observe_max\", kernel = \"k\"} : "
    "f32[1]\n"
    "    %3 = launch %0, %1 {callee = \"observe_max\", kernel = \"k\"} : f32[1]\n"
    "    %4 = launch %1 {callee = \"quantize_activation\", kernel = \"k\"} : f16[n_tokens, 64]\n"
    "    return %4, %3, %2\n"
    "}\n";

static void maxima_lie_in_their_arguments(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    codegen_artifact *artifact = NULL;
    assert_ok(ir_parse_module(plan, strlen(plan), "test", keep, &module));
    assert_ok(ir_verify(module, IR_LEVEL_PLAN));
    assert_ok(codegen_artifact_build(module, keep, &artifact));
    assert_int_equal(artifact->n_instances, 2);
    const codegen_function *f = &artifact->functions[0];
    assert_int_equal(artifact->instances[f->launches[0].instance].in_place[0], 0);
    assert_int_equal(artifact->instances[f->launches[1].instance].in_place[0], -1);
    // Only the rounded rows are a result of the function's own.
    assert_int_equal(f->n_results, 1);
    static const int32_t launches[] = {0, 2, 3}, args[] = {1, 2, 1};
    for (int i = 0; i < 3; i++) {
        const codegen_launch *launch = &f->launches[launches[i]];
        assert_int_equal(launch->inputs[0].kind, CODEGEN_PLACE_ARG);
        assert_int_equal(launch->results[0].kind, CODEGEN_PLACE_ARG);
        assert_int_equal(launch->inputs[0].index, args[i]);
        assert_int_equal(launch->results[0].index, args[i]);
    }
    // Recording, rounding and recording elsewhere may run together; the second look at @a waits.
    static const bool waits[] = {false, false, false, true, false};
    for (int i = 0; i < 5; i++) assert_int_equal(f->launches[i].waits, waits[i]);
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(maxima_lie_in_their_arguments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
