// encode_activations keeps the sums of linears, up to the rounding of values that it no longer makes.
#include "ir/builder.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include "tests/support/random_module.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_MODULES = 60, MAX_ROWS = 4 };

static bool takes_codes(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)user, (void)weight, (void)mantissa_bits, (void)group;
    return true;
}

static ir_tensor *random_operand(const ir_type *type, random_state *random, mlcc_arena *keep) {
    int64_t dims[IR_MAX_RANK];
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    ir_tensor *tensor = ir_tensor_create(keep, type->dtype, type->rank, dims);
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++)
        tensor->f32[i] = ir_round_to(type->dtype, (float)random_unit(random));
    return tensor;
}

typedef struct subject {
    mlcc_arena *keep;
    random_state random;
    ir_module *module;
    ir_function *function;
    int64_t rows, columns, outputs;
    ir_tensor *args[3];
} subject;

static ir_value *add_arg(subject *s, const char *name, ir_type type) {
    ir_value *arg = ir_function_add_arg(s->function, name, type);
    s->args[arg->index] = random_operand(&type, &s->random, s->keep);
    return arg;
}

// A rounding and one or two linears that read it, all of random kind.
static subject make_subject(uint64_t seed) {
    subject s = {.keep = mlcc_arena_create(), .random = {seed}};
    random_state *random = &s.random;
    const ir_dtype dtype = (const ir_dtype[]){IR_F32, IR_F16, IR_BF16}[random_below(random, 3)];
    s.rows = 1 + random_below(random, MAX_ROWS);
    s.columns = 1 + random_below(random, 300);
    s.outputs = 1 + random_below(random, 5);
    s.module = ir_module_create(s.keep, "m");
    s.function = ir_module_add_function(s.module, "forward", false);
    const ir_dim rows = ir_dim_const(s.rows), columns = ir_dim_const(s.columns);
    const ir_dim outputs = ir_dim_const(s.outputs);
    ir_value *x = add_arg(&s, "x", ir_type_matrix(dtype, rows, columns));
    ir_value *weight = add_arg(&s, "w", ir_type_matrix(IR_F32, outputs, columns));
    ir_value *bias = add_arg(&s, "b", ir_type_vector(dtype, outputs));
    ir_build b = ir_build_start(s.function);
    const int64_t bits[] = {2, 3, 7};
    const int64_t group = random_below(random, 3) == 0 ? 0 : 1 + random_below(random, 200);
    ir_value *rounded =
        ir_quantize_activation(&b, x, NULL, bits[random_below(random, 3)], group, 1e-10);
    ir_value *returns[] = {
        ir_linear(&b, rounded, weight, NULL, IR_F32), ir_linear(&b, rounded, weight, bias, dtype)};
    ir_function_set_returns(s.function, returns, 1 + (int32_t)random_below(random, 2));
    assert_null(b.status);
    return s;
}

static ir_tensor **evaluate(const subject *s) {
    ir_tensor **results = MLCC_NEW_ARRAY(s->keep, ir_tensor *, 2);
    assert_null(ir_eval_function(s->function, s->args, NULL, s->keep, results));
    return results;
}

static int count(const subject *s, ir_op op) {
    int n = 0;
    for (const ir_node *node = s->function->first; node != NULL; node = node->next)
        n += node->op == op;
    return n;
}

static void sums_stay(void **state) {
    (void)state;
    const pass_target target = {.takes_codes = takes_codes};
    const char *const passes[] = {"encode_activations", "prune"};
    for (uint64_t seed = 1; seed <= N_MODULES; seed++) {
        subject s = make_subject(seed);
        ir_tensor **before = evaluate(&s);
        mlcc_arena *scratch = mlcc_arena_create();
        pass_context context = {.scratch = scratch, .target = &target};
        const pass_options options = {.only = passes, .n_only = 2, .limit = -1};
        assert_null(pass_pipeline_run(s.module, &options, &context));
        mlcc_arena_free(scratch);
        assert_int_equal(count(&s, IR_OP_QUANTIZE_ACTIVATION), 0);
        assert_int_equal(count(&s, IR_OP_ENCODE_ACTIVATION), 1);
        assert_int_equal(count(&s, IR_OP_LINEAR), 0);
        ir_tensor **after = evaluate(&s);
        const ir_dtype dtype = s.args[0]->dtype;
        // Every product may have had a value with half a unit of error, and the result has another.
        const double unit = dtype == IR_F32 ? 0x1p-23 : dtype == IR_F16 ? 0x1p-10 : 0x1p-7;
        for (int32_t r = 0; r < s.function->n_returns; r++) {
            assert_int_equal(after[r]->dtype, before[r]->dtype);
            for (int64_t i = 0; i < s.rows * s.outputs; i++) {
                const double a = (double)before[r]->f32[i], c = (double)after[r]->f32[i];
                if (!(fabs(a - c) <= unit * ((double)s.columns + fabs(a)))) {
                    fail_msg("seed %d, return %d: %.9g became %.9g", (int)seed, r, a, c);
                }
            }
        }
        mlcc_arena_free(s.keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
