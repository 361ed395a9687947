// The pipeline's own business: names, levels, limits, dumps.
#include "ir/builder.h"
#include "passes/pipeline.h"
#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static ir_module *module_with_dead_node(mlcc_arena *keep) {
    ir_module *module = ir_module_create(keep, "test");
    ir_symbol *n_tokens = ir_module_symbol(module, "n_tokens", 8);
    ir_function *forward = ir_module_add_function(module, "forward", false);
    ir_value *x = ir_function_add_arg(
        forward, "x", ir_type_matrix(IR_F32, ir_dim_symbol(n_tokens), ir_dim_const(4)));
    ir_build b = ir_build_start(forward);
    (void)ir_unary(&b, IR_OP_SILU, x);
    ir_value *kept = ir_unary(&b, IR_OP_RELU, x);
    assert_null(b.status);
    ir_function_set_returns(forward, &kept, 1);
    return module;
}

static int count_nodes(const ir_module *module) {
    int n = 0;
    for (const ir_node *node = ir_module_find(module, "forward")->first; node; node = node->next)
        n++;
    return n;
}

static void expect_error(mlcc_status *status, const char *part) {
    assert_non_null(status);
    if (strstr(mlcc_status_message(status), part) == NULL) {
        print_error("'%s' is not in '%s'\n", part, mlcc_status_message(status));
        fail();
    }
    mlcc_status_free(status);
}

typedef struct fixture {
    mlcc_arena *keep, *scratch;
    ir_module *module;
    pass_context context;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->keep = mlcc_arena_create();
    f->scratch = mlcc_arena_create();
    f->module = module_with_dead_node(f->keep);
    f->context.scratch = f->scratch;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    mlcc_arena_free(f->scratch);
    mlcc_arena_free(f->keep);
    free(f);
    return 0;
}

static void unknown_names_are_refused_with_the_nearest(void **state) {
    fixture *f = *state;
    const char *only[] = {"fuse_norms"};
    pass_options options = {.only = only, .n_only = 1, .limit = -1};
    expect_error(pass_pipeline_run(f->module, &options, &f->context), "did you mean 'fuse_norm'");
    pass_options dumps = {.dump = "after:nonsense_pass", .limit = -1};
    expect_error(pass_pipeline_run(f->module, &dumps, &f->context), "nonsense_pass");
    pass_options spec = {.dump = "sometimes", .limit = -1};
    expect_error(pass_pipeline_run(f->module, &spec, &f->context), "accepted: all, changed");
}

static void plan_passes_need_a_target(void **state) {
    fixture *f = *state;
    expect_error(pass_pipeline_run(f->module, NULL, &f->context), "--target");
}

static void a_pass_needs_its_level(void **state) {
    fixture *f = *state;
    const char *only[] = {"plan_memory"};
    pass_options options = {.only = only, .n_only = 1, .limit = -1};
    expect_error(
        pass_pipeline_run(f->module, &options, &f->context), "needs a module of level plan");
}

static void limits_stop_the_pipeline(void **state) {
    fixture *f = *state;
    pass_options none = {.limit = 0};
    assert_null(pass_pipeline_run(f->module, &none, &f->context));
    assert_int_equal(count_nodes(f->module), 2);
    pass_options until_prune = {.stop_after = "prune", .limit = -1};
    assert_null(pass_pipeline_run(f->module, &until_prune, &f->context));
    assert_int_equal(count_nodes(f->module), 1);
    assert_int_equal(f->module->level, IR_LEVEL_GRAPH);
}

static void changed_dumps_only_what_moved(void **state) {
    fixture *f = *state;
    char dir[] = "/tmp/mlcc-pipeline-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    pass_options options = {.dump = "changed", .dump_dir = dir, .stop_after = "prune", .limit = -1};
    assert_null(pass_pipeline_run(f->module, &options, &f->context));
    char **names;
    size_t n_names;
    assert_null(mlcc_dir_list(dir, f->keep, &names, &n_names));
    assert_int_equal(n_names, 1);
    assert_string_equal(names[0], "08-prune.mlcir");
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    assert_null(mlcc_dir_remove_tree(dir));
    assert_false(mlcc_file_exists(path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            unknown_names_are_refused_with_the_nearest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plan_passes_need_a_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pass_needs_its_level, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_stop_the_pipeline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changed_dumps_only_what_moved, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
