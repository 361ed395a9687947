// NVRTC as it may be found: old, incomplete, failing at any call. tests/support/nvrtc_fake stands for it.
#include "codegen/cuda/cuda_target.h"
#include "runtime/base/file.h"
#include "tests/support/compile_module.h"

#include <stdlib.h>
#include <string.h>

static mlcc_arena *keep;

// lib/NAME.so beside bin/.
static void use(const char *name) {
    static const char *const settings[] = {
        "MLCC_FAKE_NVRTC_VERSION", "MLCC_FAKE_NVRTC_ARCHS", "MLCC_FAKE_NVRTC_FAILS"};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) unsetenv(settings[i]);
    const char *bin = mlcc_path_dir(keep, mlcc_path_self(keep));
    setenv("MLCC_NVRTC_PATH", mlcc_arena_printf(keep, "%s/../lib/%s.so", bin, name), 1);
}

static int start(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    use("nvrtc_fake");
    return 0;
}

static int end(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static void opening(void **state) {
    (void)state;
    nvrtc_library *nvrtc = NULL;
    assert_ok(nvrtc_open(&nvrtc));
    size_t n_archs = 0;
    int major = 0, minor = 0;
    nvrtc_version(nvrtc, &major, &minor);
    assert_int_equal(major * 100 + minor, 1204);
    assert_int_equal(nvrtc_archs(nvrtc, &n_archs)[0], 80);
    assert_int_equal(n_archs, 4);
    nvrtc_close(nvrtc);

    use("nvrtc_fake_old");
    assert_error(nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "nvrtc_fake_old.so (lacks nvrtcGetCUBIN)");
    use("nvrtc_fake");
    setenv("MLCC_FAKE_NVRTC_VERSION", "", 1);
    assert_error(nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "does not tell its version");
    use("nvrtc_fake");
    setenv("MLCC_FAKE_NVRTC_FAILS", "nvrtcGetNumSupportedArchs", 1);
    assert_error(nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "NVRTC_ERROR_INTERNAL_ERROR");
    setenv("MLCC_FAKE_NVRTC_FAILS", "nvrtcGetSupportedArchs", 1);
    assert_error(nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "does not list its architectures");
    assert_null(nvrtc);
}

// Every call may fail; what was made until then is freed.
static void failing_calls(void **state) {
    (void)state;
    static const struct {
        const char *symbol, *says;
    } calls[] = {
        {"nvrtcCreateProgram", "nvrtcCreateProgram: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcCompileProgram", "identifier \"nothing\" is undefined"},
        {"nvrtcGetProgramLogSize", "log: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcGetProgramLog", "log: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcGetPTXSize", "PTX: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcGetPTX", "PTX: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcGetCUBINSize", "cubin: NVRTC_ERROR_INTERNAL_ERROR"},
        {"nvrtcGetCUBIN", "cubin: NVRTC_ERROR_INTERNAL_ERROR"},
    };
    nvrtc_library *nvrtc = NULL;
    nvrtc_output output;
    use("nvrtc_fake");
    assert_ok(nvrtc_open(&nvrtc));
    assert_ok(nvrtc_compile(nvrtc, "unit.cu", "text", "sm_80", &output));
    assert_string_equal(output.ptx, "text");
    assert_string_equal(output.cubin, "text");
    assert_non_null(strstr(output.log, "option --gpu-architecture=sm_80\n"));
    nvrtc_output_free(&output);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        setenv("MLCC_FAKE_NVRTC_FAILS", calls[i].symbol, 1);
        assert_error(
            nvrtc_compile(nvrtc, "unit.cu", "text", "sm_80", &output), MLCC_INTERNAL,
            calls[i].says);
        nvrtc_output_free(&output);
    }
    nvrtc_close(nvrtc);
}

static const char *archs_of(const nvrtc_library *nvrtc, const char *device) {
    cuda_arch *archs = NULL;
    size_t n_archs = 0;
    const char *list = "";
    assert_ok(cuda_archs_parse(device, nvrtc, keep, &archs, &n_archs));
    for (size_t i = 0; i < n_archs; i++)
        list = mlcc_arena_printf(keep, "%s%s%s", list, i > 0 ? "," : "", archs[i].text);
    return list;
}

// NVRTC 11.8 knows Hopper, but not its own form; fp8 matrix instructions came with 12.4.
static void versions(void **state) {
    (void)state;
    static const cuda_arch ada = {.text = "sm_89", .number = 89};
    static const cuda_arch hopper = {.text = "sm_90a", .number = 90, .is_specific = true};
    static const struct {
        const char *version, *archs;
        bool has_wgmma, has_fp8;
    } cases[] = {
        {"11.8", "sm_80,sm_86,sm_89,sm_90,compute_80", false, false},
        {"12.2", "sm_80,sm_86,sm_89,sm_90a,compute_80", true, false},
        {"12.4", "sm_80,sm_86,sm_89,sm_90a,compute_80", true, true},
        {"13.0", "sm_80,sm_86,sm_89,sm_90a,compute_80", true, true},
    };
    const cuda_kernel_row *wgmma = cuda_kernel_find("linear_wgmma__sm90a");
    const cuda_kernel_row *fp8 = cuda_kernel_find("linear_fp8__sm89");
    assert_non_null(wgmma);
    assert_non_null(fp8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nvrtc_library *nvrtc = NULL;
        setenv("MLCC_FAKE_NVRTC_VERSION", cases[i].version, 1);
        assert_ok(nvrtc_open(&nvrtc));
        assert_string_equal(archs_of(nvrtc, "cuda"), cases[i].archs);
        assert_int_equal(cuda_row_refusal(nvrtc, wgmma, &hopper, keep) == NULL, cases[i].has_wgmma);
        assert_int_equal(cuda_row_refusal(nvrtc, fp8, &ada, keep) == NULL, cases[i].has_fp8);
        if (!cases[i].has_fp8) {
            const char *says =
                mlcc_arena_printf(keep, "needs NVRTC 12.4, not %s", cases[i].version);
            assert_string_equal(cuda_row_refusal(nvrtc, fp8, &ada, keep), says);
        }
        if (!cases[i].has_wgmma) {
            cuda_arch *archs = NULL;
            size_t n_archs = 0;
            assert_error(
                cuda_archs_parse("cuda:sm_90a", nvrtc, keep, &archs, &n_archs), MLCC_UNSUPPORTED,
                "with NVRTC 11.8; accepted: sm_80, sm_86, sm_89, sm_90 for cubins");
        }
        nvrtc_close(nvrtc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opening, start, end),
        cmocka_unit_test_setup_teardown(failing_calls, start, end),
        cmocka_unit_test_setup_teardown(versions, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
