// Every pass keeps the meaning of random modules: the module is evaluated before the first pass and after each one.
#include "ir/eval.h"
#include "ir/verify.h"
#include "passes/pipeline.h"
#include "tests/support/random_module.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N_MODULES = 60 };

static mlcc_status *choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    (void)user;
    (void)group;
    (void)why;
    *kernel = "stub";
    return NULL;
}

static const char *choose_layout(void *user, ir_op op, int32_t operand, const ir_type *type) {
    (void)user;
    (void)op;
    (void)operand;
    return type->rank == 2 ? "panel16" : "rows";
}

// Whatever holds an odd number of ops: chains of every length and kind.
static const char *choose_chain(void *user, const ir_function *chain, int64_t *max_rows) {
    (void)user;
    int n_nodes = 0;
    for (const ir_node *node = chain->first; node != NULL; node = node->next) n_nodes++;
    *max_rows = 8;
    return n_nodes % 2 != 0 ? "stub_chain" : NULL;
}

static bool takes_codes(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)user, (void)mantissa_bits, (void)group;
    return weight->dims[0].value % 3 != 0;
}

static bool takes_dtype(void *user, const ir_type *weight, ir_dtype dtype) {
    (void)user;
    return dtype == IR_BF16 && weight->dtype == IR_BF16;
}

static const pass_target target = {
    .choose_kernel = choose_kernel,
    .choose_layout = choose_layout,
    .takes_codes = takes_codes,
    .takes_dtype = takes_dtype,
    .choose_chain = choose_chain};

static void assert_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    fail();
}

static ir_tensor **evaluate(const ir_module *module, uint64_t seed, mlcc_arena *keep) {
    const ir_function *forward = ir_module_find(module, "forward");
    ir_tensor **args = random_inputs(forward, seed, keep);
    ir_tensor **results = MLCC_NEW_ARRAY(keep, ir_tensor *, (size_t)forward->n_returns);
    ir_eval_options options = {.param = random_param};
    assert_ok(ir_eval_function(forward, args, &options, keep, results));
    return results;
}

// Folding scales and moving ops into groups changes no rounding step but the ones that canonicalize merges in f32.
static void compare(
    const ir_tensor *before, const ir_tensor *after, const char *pass, uint64_t seed) {
    assert_int_equal(before->rank, after->rank);
    assert_int_equal(ir_tensor_count(before), ir_tensor_count(after));
    int64_t n = ir_tensor_count(before);
    for (int64_t i = 0; i < n && before->f32 != NULL; i++) {
        double a = (double)before->f32[i], b = (double)after->f32[i];
        if (fabs(a - b) > 1e-5 * (1.0 + fabs(a))) {
            print_error(
                "seed %llu, pass %s, element %lld: %.9g became %.9g\n", (unsigned long long)seed,
                pass, (long long)i, a, b);
            fail();
        }
    }
}

static void passes_keep_meaning(void **state) {
    (void)state;
    size_t n_passes;
    const pass_info *passes = pass_table(&n_passes);
    for (uint64_t seed = 1; seed <= N_MODULES; seed++) {
        mlcc_arena *keep = mlcc_arena_create(), *scratch = mlcc_arena_create();
        const bool has_float8 = seed % 2 == 0;
        ir_module *module = random_module_with(seed, has_float8 ? RANDOM_FLOAT8 : 0, keep);
        ir_tensor **before = evaluate(module, seed, keep);
        pass_context context = {.scratch = scratch, .target = &target};
        for (size_t p = 0; p < n_passes; p++) {
            const char *only[] = {passes[p].name};
            pass_options options = {.only = only, .n_only = 1, .limit = -1};
            assert_ok(pass_pipeline_run(module, &options, &context));
            ir_tensor **after = evaluate(module, seed, keep);
            // Rounding to fp8 makes the last bit of float32 that canonicalize moves visible: from here on.
            // The same for the rounding of values that encode_activations does not make (encode_activations_test looks at it).
            const bool moves_bits = strcmp(passes[p].name, "canonicalize") == 0 ||
                                    strcmp(passes[p].name, "encode_activations") == 0;
            if (has_float8 && moves_bits) before = after;
            const ir_function *forward = ir_module_find(module, "forward");
            for (int32_t r = 0; r < forward->n_returns; r++) {
                compare(before[r], after[r], passes[p].name, seed);
            }
        }
        assert_int_equal(module->level, IR_LEVEL_PLAN);
        mlcc_arena_free(scratch);
        mlcc_arena_free(keep);
    }
}

static void assert_apart(const ir_value *result, const ir_value *other) {
    int64_t result_bytes, other_bytes;
    if (result == other || result->offset_bytes < 0 || other->offset_bytes < 0) return;
    assert_true(ir_type_bound_bytes(&result->type, &result_bytes));
    assert_true(ir_type_bound_bytes(&other->type, &other_bytes));
    assert_true(
        result->offset_bytes + result_bytes <= other->offset_bytes ||
        other->offset_bytes + other_bytes <= result->offset_bytes);
}

// No result of a chain lies where another launch of it reads or writes.
static void assert_chain_is_apart(const ir_node *first, int64_t n_launches) {
    const ir_node *writer = first;
    for (int64_t w = 0; w < n_launches; w++, writer = writer->next) {
        const ir_node *other = first;
        for (int64_t o = 0; o < n_launches; o++, other = other->next) {
            for (int32_t r = 0; r < writer->n_results; r++) {
                for (int32_t i = 0; i < other->n_operands; i++)
                    assert_apart(writer->results[r], other->operands[i]);
                for (int32_t i = 0; i < other->n_results; i++)
                    assert_apart(writer->results[r], other->results[i]);
            }
        }
    }
}

static void chains_are_planned_apart(void **state) {
    (void)state;
    int64_t n_chains = 0;
    for (uint64_t seed = 1; seed <= N_MODULES; seed++) {
        mlcc_arena *keep = mlcc_arena_create(), *scratch = mlcc_arena_create();
        ir_module *module = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, keep);
        pass_context context = {.scratch = scratch, .target = &target};
        assert_ok(pass_pipeline_run(module, NULL, &context));
        const ir_function *forward = ir_module_find(module, "forward");
        for (const ir_node *node = forward->first; node != NULL; node = node->next) {
            const int64_t n_launches = ir_attr_i64(node, "chain");
            if (n_launches == 0) continue;
            assert_string_equal(ir_attr_text(node, "chain_kernel"), "stub_chain");
            assert_chain_is_apart(node, n_launches);
            n_chains++;
        }
        mlcc_arena_free(scratch);
        mlcc_arena_free(keep);
    }
    assert_true(n_chains > N_MODULES);
}

// Planned memory: what is alive together never overlaps. (The verifier checks it too; this is the independent count.)
static void planned_values_do_not_overlap(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= N_MODULES; seed++) {
        mlcc_arena *keep = mlcc_arena_create(), *scratch = mlcc_arena_create();
        ir_module *module = random_module_with(seed, seed % 2 ? RANDOM_FLOAT8 : 0, keep);
        pass_context context = {.scratch = scratch, .target = &target};
        assert_ok(pass_pipeline_run(module, NULL, &context));
        const ir_function *forward = ir_module_find(module, "forward");
        // owner[k] = number of the value that was last written at byte block k; a read must find its own number.
        int64_t n_blocks = forward->workspace_bytes / 64;
        const ir_value **owner = MLCC_NEW_ARRAY(keep, const ir_value *, (size_t)n_blocks + 1);
        for (const ir_node *node = forward->first; node != NULL; node = node->next) {
            for (int32_t i = 0; i < node->n_operands; i++) {
                const ir_value *operand = node->operands[i];
                if (operand->kind != IR_VALUE_RESULT || operand->offset_bytes < 0) continue;
                int64_t size_bytes;
                assert_true(ir_type_bound_bytes(&operand->type, &size_bytes));
                for (int64_t b = operand->offset_bytes / 64;
                     b < (operand->offset_bytes + size_bytes + 63) / 64; b++) {
                    assert_ptr_equal(owner[b], operand);
                }
            }
            for (int32_t r = 0; r < node->n_results; r++) {
                const ir_value *result = node->results[r];
                if (result->offset_bytes < 0) continue;
                int64_t size_bytes;
                assert_true(ir_type_bound_bytes(&result->type, &size_bytes));
                for (int64_t b = result->offset_bytes / 64;
                     b < (result->offset_bytes + size_bytes + 63) / 64; b++) {
                    assert_true(b < n_blocks);
                    owner[b] = result;
                }
            }
        }
        mlcc_arena_free(scratch);
        mlcc_arena_free(keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_keep_meaning),
        cmocka_unit_test(planned_values_do_not_overlap),
        cmocka_unit_test(chains_are_planned_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
