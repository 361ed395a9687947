// compile_module: GRAPH text → passes → lib.so in a temporary folder, for tests of generated code. Static functions in a header, because the
// support library links neither passes nor codegen.
#ifndef MLCC_TESTS_SUPPORT_COMPILE_MODULE_H
#define MLCC_TESTS_SUPPORT_COMPILE_MODULE_H

#include "codegen/target.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/pipeline.h"
#include "tests/support/model_library.h"
#include "tests/support/test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline void assert_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

// The status is an error whose innermost message holds `part`.
static inline void assert_error(mlcc_status *status, mlcc_code code, const char *part) {
    assert_non_null(status);
    assert_int_equal(mlcc_status_code(status), code);
    if (strstr(mlcc_status_message(status), part) == NULL) {
        fail_msg("'%s' is not in '%s'", part, mlcc_status_message(status));
    }
    mlcc_status_free(status);
}

static inline ir_module *compile_parse(const char *text, mlcc_arena *keep) {
    ir_module *module = NULL;
    assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
    assert_ok(ir_verify(module, module->level));
    return module;
}

// A target whose choice of kernels may be forced: `only` wins wherever it fits.
typedef struct compile_target {
    codegen_target *codegen;
    const kernel_row *only; // NULL: the target's own choice
} compile_target;

static inline mlcc_status *compile_choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    compile_target *target = user;
    MLCC_TRY(codegen_choose_kernel(target->codegen, group, kernel, why));
    if (target->only == NULL) return NULL;
    ir_op op = IR_N_OPS;
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        if (ir_op_get(node->op)->flags & IR_ANCHOR) op = node->op;
    }
    if (op == target->only->op) *kernel = target->only->name;
    return NULL;
}

static inline const char *compile_choose_layout(
    void *user, ir_op op, int32_t operand, const ir_type *type) {
    compile_target *target = user;
    return codegen_choose_layout(target->codegen, op, operand, type);
}

// All passes; the module ends at PLAN level.
static inline void compile_plan(ir_module *module, compile_target *target, const quant_mode *mode) {
    mlcc_arena *scratch = mlcc_arena_create();
    const pass_target questions = {
        .user = target,
        .choose_kernel = compile_choose_kernel,
        .choose_layout = compile_choose_layout};
    pass_context context = {.scratch = scratch, .mode = mode, .target = &questions};
    pass_options options = {.limit = -1};
    assert_ok(pass_pipeline_run(module, &options, &context));
    assert_int_equal(module->level, IR_LEVEL_PLAN);
    mlcc_arena_free(scratch);
}

// Plans (when still needed) and generates `folder`/`name`; returns the path.
static inline char *compile_module(
    ir_module *module, const char *target_name, const kernel_row *only, const char *folder,
    const char *name, mlcc_arena *keep) {
    codegen_options options = {.target = target_name, .metadata_json = "{\"test\": true}"};
    compile_target target = {.only = only};
    assert_ok(codegen_open(&options, keep, &target.codegen));
    if (module->level != IR_LEVEL_PLAN) compile_plan(module, &target, NULL);
    char *path = mlcc_path_join(keep, folder, name);
    assert_ok(codegen_generate(target.codegen, module, path));
    codegen_close(target.codegen);
    return path;
}

// Whether this machine can run code for `target_name`.
static inline bool compile_can_run(const char *target_name) {
    mlcc_arena *scratch = mlcc_arena_create();
    codegen_options options = {.target = target_name}, native = {.target = "native"};
    codegen_target *wanted = NULL, *host = NULL;
    assert_ok(codegen_open(&options, scratch, &wanted));
    assert_ok(codegen_open(&native, scratch, &host));
    const codegen_cpu *there = codegen_cpu_of(wanted), *here = codegen_cpu_of(host);
    bool can = strcmp(there->triple, here->triple) == 0;
    char *list = mlcc_arena_strdup(scratch, there->features), *state = NULL;
    for (char *f = strtok_r(list, ",", &state); can && f; f = strtok_r(NULL, ",", &state)) {
        const char *found = strstr(here->features, f);
        size_t n = strlen(f);
        while (found != NULL && ((found > here->features && found[-1] != ',') ||
                                 (found[n] != '\0' && found[n] != ','))) {
            found = strstr(found + 1, f);
        }
        can = found != NULL;
    }
    mlcc_arena_free(scratch);
    return can;
}

#endif
