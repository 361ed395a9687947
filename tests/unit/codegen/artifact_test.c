// Resolving a plan: places, shared instances, waits, results; and what is refused.
#include "codegen/artifact.h"
#include "tests/support/compile_module.h"

static mlcc_arena *keep;

static int set_up(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

#define HEAD \
    "module @m level=plan\nsymbol n_tokens <= 4\nconst @c : f32[4] = [1.0, 2.0, 3.0, 4.0]\n" \
    "group @relu(%x: f32[n_tokens, 4]) {\n  %0 = relu %x : f32[n_tokens, 4]\n  return %0\n}\n" \
    "group @add(%x: f32[n_tokens, 4], %y: f32[n_tokens, 4]) {\n" \
    "  %0 = add %x, %y : f32[n_tokens, 4]\n  return %0\n}\n"
#define RELU(x)   "launch " x " {callee = \"relu\", kernel = \"k\"} : f32[n_tokens, 4]"
#define ADD(x, y) "launch " x ", " y " {callee = \"add\", kernel = \"k\"} : f32[n_tokens, 4]"

static mlcc_status *build(const char *text, codegen_artifact **out) {
    ir_module *module = NULL;
    assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
    return codegen_artifact_build(module, keep, out);
}

static void test_waits(void **state) {
    (void)state;
    static const char text[] = HEAD
        "func @forward(%x: f32[n_tokens, 4], %y: f32[n_tokens, 4]) workspace=192 {\n"
        "  %0 = " RELU(
            "%x") " at 0\n"
                  "  %1 = " RELU(
                      "%y") " at 64\n" // independent
                            "  %2 = " ADD(
                                "%0", "%1") " at 128\n" // reads both
                                            "  %3 = " RELU(
                                                "%x") " at 0\n" // overwrites what launch 2 reads
                                                      "  %4 = " RELU(
                                                          "%y") "\n" // independent of launch 3
                                                                "  %5 = " ADD(
                                                                    "%2",
                                                                    "%3") "\n"
                                                                          "  return %5, %4\n}\n";
    codegen_artifact *artifact = NULL;
    assert_ok(build(text, &artifact));
    assert_int_equal(artifact->n_instances, 2);
    assert_int_equal(artifact->n_functions, 1);
    const codegen_function *f = &artifact->functions[0];
    assert_int_equal(f->n_launches, 6);
    static const bool waits[] = {false, false, true, true, false, true};
    for (int32_t i = 0; i < 6; i++) assert_int_equal(f->launches[i].waits, waits[i]);
    assert_int_equal(f->launches[0].inputs[0].kind, CODEGEN_PLACE_ARG);
    assert_int_equal(f->launches[1].results[0].kind, CODEGEN_PLACE_WORKSPACE);
    assert_int_equal(f->launches[1].results[0].offset_bytes, 64);
    assert_int_equal(f->launches[1].results[0].size_bytes, 64);
    assert_int_equal(f->n_results, 2);
    assert_int_equal(f->launches[5].results[0].kind, CODEGEN_PLACE_RESULT);
    assert_int_equal(f->launches[5].results[0].index, 0);
    assert_int_equal(f->launches[4].results[0].index, 1);
}

static void test_in_place(void **state) {
    (void)state;
    static const char text[] =
        "module @m level=plan\nsymbol n_tokens <= 4\nsymbol n_seqs <= 2\nsymbol n_pages <= "
        "8\nsymbol n_page_slots <= 4\n"
        "group @append(%c: f16[n_pages, 2, 1, 16, 4], %k: f32[n_tokens, 4], %p: i32[n_seqs, "
        "n_page_slots], %s: i32[n_tokens], %t: i32[n_tokens]) {\n"
        "  %0 = kv_append %c, %k, %k, %p, %s, %t : f16[n_pages, 2, 1, 16, 4]\n  return %0\n}\n"
        "func @forward(%kv.0: f16[n_pages, 2, 1, 16, 4], %k: f32[n_tokens, 4], %p: i32[n_seqs, "
        "n_page_slots], %s: i32[n_tokens], %t: i32[n_tokens]) workspace=0 {\n"
        "  %0 = launch %kv.0, %k, %p, %s, %t {callee = \"append\", kernel = \"k\"} : f16[n_pages, "
        "2, 1, 16, 4]\n"
        "  %1 = launch %0, %k, %p, %s, %t {callee = \"append\", kernel = \"k\"} : f16[n_pages, 2, "
        "1, 16, 4]\n"
        "  return %1\n}\n";
    codegen_artifact *artifact = NULL;
    assert_ok(build(text, &artifact));
    const codegen_function *f = &artifact->functions[0];
    assert_int_equal(artifact->n_instances, 1);
    assert_int_equal(artifact->instances[0].in_place[0], 0);
    assert_int_equal(f->n_results, 0);
    assert_true(f->launches[1].waits);
    assert_int_equal(f->launches[1].inputs[0].kind, CODEGEN_PLACE_ARG);
    assert_int_equal(f->launches[1].results[0].kind, CODEGEN_PLACE_ARG);
    assert_int_equal(f->launches[1].results[0].index, 0);
}

static void test_refusals(void **state) {
    (void)state;
    codegen_artifact *artifact = NULL;
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) workspace=64 {\n  %0 = " RELU(
                "%x") "\n  %1 = " RELU("%0") "\n  return %1\n}\n",
            &artifact),
        MLCC_INTERNAL, "has no place in its workspace");
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) workspace=64 {\n  %0 = " RELU(
                "%x") " at 64\n  %1 = " RELU("%0") "\n  return %1\n}\n",
            &artifact),
        MLCC_INTERNAL, "has no place in its workspace of 64 bytes (offset 64, 64 bytes)");
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) {\n  %0 = " RELU("%x") "\n  return %0\n}\n",
            &artifact),
        MLCC_INTERNAL, "run pass plan_memory first");
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) workspace=128 {\n  %0 = " RELU(
                "%x") " at 0\n  %1 = " RELU("%0") " at 0\n  %2 = " RELU("%1") "\n  return %2\n}\n",
            &artifact),
        MLCC_INTERNAL, "overwrites its input 0");
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) workspace=0 {\n  %0 = " RELU(
                "%x") "\n  return %0, %0\n}\n",
            &artifact),
        MLCC_UNSUPPORTED, "returns one value as results 0 and 1");
    assert_error(
        build(HEAD "func @f(%x: f32[n_tokens, 4]) workspace=0 {\n  return @c\n}\n", &artifact),
        MLCC_UNSUPPORTED, "returns '@c'");
    assert_error(
        build(
            HEAD "func @f(%x: f32[n_tokens, 4]) workspace=0 {\n  %0 = relu %x : f32[n_tokens, 4]\n "
                 " return %0\n}\n",
            &artifact),
        MLCC_INTERNAL, "holds op 'relu'");
    assert_error(
        build(
            "module @m level=plan\nparam @w : f32[4]\nfunc @f(%x: f32[4]) workspace=0 {\n  return "
            "%x\n}\n",
            &artifact),
        MLCC_INTERNAL, "param 'w' has no layout");
    assert_error(
        build(
            "module @m level=plan\nparam @w.weight : q4g32_f16[4, 32] layout \"rows\"\nfunc @f(%x: "
            "f32[4]) workspace=0 {\n  return %x\n}\n",
            &artifact),
        MLCC_INTERNAL, "is stored in 2 pieces and cannot have layout 'rows'");
    assert_error(
        build("module @m level=graph\nfunc @f(%x: f32[4]) {\n  return %x\n}\n", &artifact),
        MLCC_INTERNAL, "is not at PLAN level");
}

// Two equal chains behind one another: one instance more, a launch before each, limits on all.
static void test_chains(void **state) {
    (void)state;
    static const char text[] =
        "module @m level=plan\nsymbol n_tokens <= 4\n"
        "param @g : f32[4] layout \"rows\"\nparam @w : f32[4, 4] layout \"rows\"\n"
        "group @norm(%x: f32[n_tokens, 4], %g: f32[4]) {\n"
        "  %0 = rms_norm %x, %g : f32[n_tokens, 4]\n  return %0\n}\n"
        "group @linear(%x: f32[n_tokens, 4], %w: f32[4, 4]) {\n"
        "  %0 = linear %x, %w : f32[n_tokens, 4]\n  return %0\n}\n"
        "func @forward(%x: f32[n_tokens, 4]) workspace=192 {\n"
        "  %0 = launch %x, @g {callee = \"norm\", kernel = \"k\", chain = 2, chain_rows = 8, "
        "chain_kernel = \"both\"} : f32[n_tokens, 4] at 0\n"
        "  %1 = launch %0, @w {callee = \"linear\", kernel = \"k\"} : f32[n_tokens, 4] at 64\n"
        "  %2 = launch %1, @g {callee = \"norm\", kernel = \"k\", chain = 2, chain_rows = 8, "
        "chain_kernel = \"both\"} : f32[n_tokens, 4] at 128\n"
        "  %3 = launch %2, @w {callee = \"linear\", kernel = \"k\"} : f32[n_tokens, 4]\n"
        "  return %3\n}\n";
    codegen_artifact *artifact = NULL;
    assert_ok(build(text, &artifact));
    assert_int_equal(artifact->n_instances, 3);
    const codegen_function *f = &artifact->functions[0];
    assert_int_equal(f->n_launches, 6);
    for (int32_t i = 0; i < 6; i++) {
        const codegen_launch *launch = &f->launches[i];
        const codegen_instance *instance = &artifact->instances[launch->instance];
        assert_int_equal(instance->is_chain, i % 3 == 0);
        assert_string_equal(instance->kernel, i % 3 == 0 ? "both" : "k");
        assert_int_equal(launch->min_rows, i % 3 == 0 ? 0 : 9);
        assert_int_equal(launch->max_rows, i % 3 == 0 ? 8 : 0);
        assert_string_equal(launch->rows->symbol->name, "n_tokens");
    }
    // The chain reads what its launches read and writes what is read behind: not the normed rows.
    const codegen_launch *chain = &f->launches[3];
    const codegen_instance *instance = &artifact->instances[chain->instance];
    assert_int_equal(f->launches[0].instance, chain->instance);
    assert_int_equal(instance->n_inputs, 3);
    assert_int_equal(instance->group->n_returns, 1);
    assert_int_equal(codegen_group_anchor(instance->group)->op, IR_OP_LINEAR);
    assert_int_equal(chain->inputs[0].kind, CODEGEN_PLACE_WORKSPACE);
    assert_int_equal(chain->inputs[0].offset_bytes, 64);
    assert_int_equal(chain->inputs[2].kind, CODEGEN_PLACE_PARAM);
    assert_int_equal(chain->results[0].kind, CODEGEN_PLACE_RESULT);
}

static void test_fingerprints(void **state) {
    (void)state;
#define PARAM(type, layout) \
    "module @m level=plan\nparam @w.weight : " type " layout \"" layout \
    "\"\nfunc @f(%x: f32[4]) workspace=0 {\n  return %x\n}\n"
    static const char *const texts[] = {
        PARAM("f32[4, 8]", "rows"), PARAM("f32[4, 8]", "panel16"), PARAM("f16[4, 8]", "rows"),
        PARAM("f32[8, 4]", "rows")};
    mlcc_hash128 params[4], layouts[4];
    for (size_t i = 0; i < 4; i++) {
        ir_module *module = NULL;
        assert_ok(ir_parse_module(texts[i], strlen(texts[i]), "test", keep, &module));
        params[i] = codegen_param_fingerprint(module);
        layouts[i] = codegen_layout_fingerprint(module, "v1");
        assert_false(mlcc_hash128_equal(layouts[i], codegen_layout_fingerprint(module, "v2")));
    }
    assert_true(mlcc_hash128_equal(params[0], params[1]));
    assert_false(mlcc_hash128_equal(layouts[0], layouts[1]));
    assert_false(mlcc_hash128_equal(params[0], params[2]));
    assert_false(mlcc_hash128_equal(params[0], params[3]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_chains),
        cmocka_unit_test(test_fingerprints),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
