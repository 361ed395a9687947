// Whole random models through all CUDA kernels on the host, against ir/eval: what single kernels hand to each other.
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

// ir/eval rounds after every op, kernels keep float32 inside: allow a few units of the shortest dtype on the way.
static double tolerance_of(const ir_function *function) {
    double tolerance = 1e-4;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        const ir_dtype dtype = node->results[0]->type.dtype;
        const double own = dtype == IR_F16 ? 1e-2 : dtype == IR_BF16 ? 8e-2 : 0;
        if (own > tolerance) tolerance = own;
    }
    return tolerance;
}

static void run_model(uint64_t seed, uint32_t features) {
    mlcc_arena *keep = mlcc_arena_create();
    const char *folder = test_folder_make(keep);
    ir_module *module = random_module_with(seed, features, keep);
    const ir_function *graph = ir_module_find(module, "forward");
    ir_tensor **args = random_inputs(graph, seed, keep);
    const double tolerance = tolerance_of(graph);
    cuda_subject s = cuda_subject_start(module, keep, NULL, folder);
    cuda_subject_finish(&s, random_param);
    cuda_subject_check(&s, args, tolerance, tolerance);
    mlcc_status_free(mlcc_dir_remove_tree(folder));
    cuda_subject_close(&s);
}

static void test_models(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) run_model(seed, 0);
}

int main(void) {
    if (!cuda_shim_can_compile()) {
        print_message("no C compiler: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
