// segment_attention, run under cuda_shim on odd shapes and every activation dtype, against ir/eval.
#include "tests/support/cuda_group.h"
#include "tests/support/segment_modules.h"

static const char *const float_names[] = {"f32", "f16", "bf16"};
static const ir_dtype float_dtypes[] = {IR_F32, IR_F16, IR_BF16};

static void test_segments(void **state) {
    test_folder *f = *state;
    for (int shape = 0; shape < N_SEGMENT_SHAPES; shape++) {
        char text[1024];
        segment_module(shape, float_names[shape % 3], text, sizeof text);
        cuda_subject s = cuda_subject_open(text, "segment_attention__sm80", f->path);
        for (int variant = 0; variant < N_SEGMENT_VARIANTS; variant++) {
            ir_tensor *args[2];
            segment_args(shape, variant, float_dtypes[shape % 3], s.keep, args);
            cuda_subject_check(&s, args, shape % 3 == 0 ? 2e-5 : 3e-2, 2e-5);
        }
        cuda_subject_close(&s);
    }
}

int main(void) {
    if (!cuda_shim_can_compile()) {
        print_message("no C compiler: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_segments, test_folder_set_up, test_folder_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
