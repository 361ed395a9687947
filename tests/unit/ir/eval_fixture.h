// eval_fixture: a function that a test puts nodes into and evaluates one by one.
#ifndef MLCC_TESTS_UNIT_IR_EVAL_FIXTURE_H
#define MLCC_TESTS_UNIT_IR_EVAL_FIXTURE_H

#include "tests/unit/ir/ir_fixture.h"

static mlcc_arena *keep;
static ir_module *module;
static ir_function *function;
static ir_build b;

static int setup(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    module = ir_module_create(keep, "m");
    function = ir_module_add_function(module, "f", false);
    b = ir_build_start(function);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static ir_value *arg_like(const ir_tensor *tensor) {
    ir_type type = {.dtype = tensor->dtype, .rank = tensor->rank};
    for (int32_t i = 0; i < type.rank; i++) type.dims[i] = ir_dim_const(tensor->dims[i]);
    const char *name = mlcc_arena_printf(keep, "a%d", function->n_args);
    return ir_function_add_arg(function, name, type);
}

#endif
