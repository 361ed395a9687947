// The kernels that work on rows, compiled by NVRTC for an old and a new architecture in every activation dtype: no spills, no more registers than
// their rows allow. Skipped where NVRTC is not installed.
#include "codegen/cuda/cuda_compile.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/support/cuda_group.h"

// One function with a group for every kernel.
static cuda_subject write_module(const char *dtype, const char *folder) {
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 4096\nsymbol n_logits <= 256\n"
        "param @gain.weight : %s[4096]\n"
        "func @forward(%%x: %s[n_tokens, 4096], %%y: %s[n_tokens, 8192], %%m: f32[1], "
        "%%kv: %s[100, 2, 8, 16, 128], %%pages: i32[2, 50], %%seq: i32[n_tokens], "
        "%%pos: i32[n_tokens], %%rows: i32[n_logits], %%f: f32[64]) {\n",
        dtype, dtype, dtype, dtype);
    mlcc_str_printf(
        &text, "  %%0 = slice %%y {begin = 0, end = 4096} : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_printf(&text, "  %%1 = gelu %%0 : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_printf(&text, "  %%2 = add %%x, %%0 : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_printf(
        &text, "  %%3 = rms_norm %%2, @gain.weight {eps = 1e-05} : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_puts(&text, "  %4 = rope_table %pos, %f : f32[n_tokens, 128]\n");
    mlcc_str_printf(
        &text, "  %%5 = slice %%3 {begin = 0, end = 1024} : %s[n_tokens, 1024]\n", dtype);
    mlcc_str_printf(&text, "  %%6 = rope %%5, %%4 {head_dim = 128} : %s[n_tokens, 1024]\n", dtype);
    mlcc_str_printf(
        &text, "  %%7 = kv_append %%kv, %%6, %%5, %%pages, %%seq, %%pos : %s[100, 2, 8, 16, 128]\n",
        dtype);
    mlcc_str_printf(
        &text, "  %%8 = quantize_activation %%3 {group = 128} : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_printf(&text, "  %%9 = quantize_activation %%3 : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_puts(&text, "  %10 = observe_max %m, %3 : f32[1]\n");
    mlcc_str_printf(&text, "  %%11 = take_rows %%2, %%rows : %s[n_logits, 4096]\n", dtype);
    mlcc_str_printf(&text, "  %%12 = layer_norm %%x, @gain.weight : %s[n_tokens, 4096]\n", dtype);
    mlcc_str_puts(&text, "  return %1, %2, %7, %8, %9, %10, %11, %12\n}\n");
    cuda_subject s = cuda_subject_write(mlcc_str_text(&text), NULL, folder);
    mlcc_str_free(&text);
    return s;
}

static void check_instance(
    const nvrtc_library *library, const cuda_subject *s, int32_t index, const char *arch) {
    const cuda_kernel_row *row = s->rows[index];
    nvrtc_output output;
    assert_ok(nvrtc_compile(library, row->name, mlcc_str_text(&s->sources[index]), arch, &output));
    for (int32_t e = 0; e < row->n_entries; e++) {
        const cuda_entry *entry = &row->entries[e];
        cuda_usage usage;
        assert_true(cuda_log_usage(output.log, entry->symbol, &usage));
        const bool fits = usage.stack_bytes == 0 && usage.spill_store_bytes == 0 &&
                          usage.spill_load_bytes == 0 && usage.registers <= entry->max_registers;
        if (!fits) {
            fail_msg(
                "%s on %s: %d registers of %d, %d bytes of stack", row->name, arch, usage.registers,
                entry->max_registers, usage.stack_bytes);
        }
    }
    nvrtc_output_free(&output);
}

static void test_compile(void **state) {
    const nvrtc_library *library = *state;
    static const char *const dtypes[] = {"f32", "f16", "bf16"};
    static const char *const kernels[] = {
        "elementwise__sm80", "take_rows__sm80", "rms_norm__sm80",    "layer_norm__sm80",
        "rope_table__sm80",  "kv_append__sm80", "observe_max__sm80", "quantize_activation__sm80",
    };
    enum { N_KERNELS = sizeof kernels / sizeof kernels[0] };
    for (int d = 0; d < 3; d++) {
        cuda_subject s = write_module(dtypes[d], NULL);
        for (int k = 0; k < N_KERNELS; k++) {
            bool is_there = false;
            for (int32_t i = 0; i < s.artifact->n_instances; i++)
                is_there = is_there || strcmp(s.rows[i]->name, kernels[k]) == 0;
            if (!is_there) fail_msg("the module does not use %s", kernels[k]);
        }
        for (int32_t i = 0; i < s.artifact->n_instances; i++) {
            check_instance(library, &s, i, "sm_80");
            check_instance(library, &s, i, "sm_90a");
        }
        cuda_subject_close(&s);
    }
}

int main(void) {
    nvrtc_library *library = NULL;
    mlcc_status *status = nvrtc_open(&library);
    if (status != NULL) {
        print_message("%s: skipped\n", mlcc_status_message(status));
        mlcc_status_free(status);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_compile, library)};
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    nvrtc_close(library);
    return n_failed;
}
