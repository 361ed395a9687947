// Opening the driver: absent, without a device and unusable are told apart; every failure says what to do.
#include "tests/cuda/fake_driver.h"

#include "runtime/device/cuda_driver.h"

static mlcc_arena *keep;

static int start(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    fake_use(keep);
    return 0;
}

static int end(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static void a_driver(void **state) {
    (void)state;
    mlcc_cuda_driver driver;
    setenv("MLCC_FAKE_VERSION", "12040", 1);
    setenv("MLCC_FAKE_DEVICES", "3", 1);
    tiny_ok(mlcc_cuda_driver_open(&driver));
    assert_int_equal(driver.version, 12040);
    assert_int_equal(driver.n_devices, 3);
    char text[160];
    assert_string_equal(
        mlcc_cuda_error_text(&driver, MLCC_CU_OUT_OF_MEMORY, text),
        "CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
    assert_string_equal(mlcc_cuda_error_text(&driver, 98765, text), "CUDA error 98765");
    tiny_ok(mlcc_cuda_check(&driver, MLCC_CU_SUCCESS, "breathing"));
    tiny_refused(
        mlcc_cuda_check(&driver, MLCC_CU_OUT_OF_MEMORY, "breathing"), MLCC_NO_MEMORY,
        "breathing: ", "CUDA_ERROR_OUT_OF_MEMORY");
    tiny_refused(
        mlcc_cuda_check(&driver, MLCC_CU_ILLEGAL_ADDRESS, "breathing"), MLCC_DEVICE,
        "breathing: ", "an illegal memory access");
    mlcc_cuda_driver_close(&driver);
    assert_null(driver.library);
}

static void refused(mlcc_code code, const char *part, const char *other) {
    mlcc_cuda_driver driver;
    tiny_refused(mlcc_cuda_driver_open(&driver), code, part, other);
    assert_null(driver.library);
}

static void no_driver(void **state) {
    (void)state;
    setenv("MLCC_CUDA_DRIVER", "/nowhere/libcuda.so", 1);
    refused(MLCC_UNSUPPORTED, "no CUDA driver: $MLCC_CUDA_DRIVER = /nowhere/libcuda.so", "unset");
    setenv("MLCC_CUDA_DRIVER", "/proc/self/status", 1); // there, but no library
    refused(
        MLCC_UNSUPPORTED, "no CUDA driver: $MLCC_CUDA_DRIVER = /proc/self/status",
        "cannot be opened");
    unsetenv("MLCC_CUDA_DRIVER");
    mlcc_cuda_driver driver;
    mlcc_status *status = mlcc_cuda_driver_open(&driver);
    if (status == NULL) { // this machine has one
        mlcc_cuda_driver_close(&driver);
    } else {
        tiny_refused(status, mlcc_status_code(status), "libcuda.so.1", "driver");
    }
}

static void no_device(void **state) {
    (void)state;
    setenv("CUDA_VISIBLE_DEVICES", "7", 1);
    setenv("MLCC_FAKE_DEVICES", "0", 1);
    refused(MLCC_UNSUPPORTED, "sees no device (CUDA_VISIBLE_DEVICES = 7)", "cuda_fake.so");
    setenv("MLCC_FAKE_INIT", "100", 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    refused(MLCC_UNSUPPORTED, "sees no device; make one visible", "--device cpu");
}

static void unusable(void **state) {
    (void)state;
    setenv("MLCC_FAKE_INIT", "34", 1);
    refused(MLCC_DEVICE, "cannot be used: it is the toolkit's stub", "reinstall");
    setenv("MLCC_FAKE_INIT", "803", 1);
    refused(MLCC_DEVICE, "cannot be used: it does not start: CUDA error 803", "update");
    setenv("MLCC_CUDA_DRIVER", fake_library(keep, "cuda_fake_old"), 1);
    refused(MLCC_DEVICE, "cannot be used: it has no function 'cuMemsetD8Async'", "update");
    unsetenv("MLCC_FAKE_INIT");
    setenv("MLCC_CUDA_DRIVER", fake_library(keep, "cuda_fake_plain"), 1);
    mlcc_cuda_driver driver;
    tiny_ok(mlcc_cuda_driver_open(&driver)); // lacks only what can be done without
    assert_null(driver.launch_kernel_ex);
    assert_null(driver.graph_launch);
    assert_non_null(driver.graph_instantiate);
    mlcc_cuda_driver_close(&driver);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_driver, start, end),
        cmocka_unit_test_setup_teardown(no_driver, start, end),
        cmocka_unit_test_setup_teardown(no_device, start, end),
        cmocka_unit_test_setup_teardown(unusable, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
