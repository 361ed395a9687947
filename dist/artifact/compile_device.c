#include "dist/artifact/compile_device.h"

#include "runtime/base/str.h"
#include "runtime/device/cuda_driver.h"

#include <string.h>

// Code for Hopper and for the first Blackwell is best in the form that runs nowhere else.
static bool has_own_form(int capability) {
    return capability == 90 || capability == 100;
}

static mlcc_status *read_capability(const mlcc_cuda_driver *driver, int ordinal, int *capability) {
    mlcc_cu_device device = 0;
    int major = 0, minor = 0;
    mlcc_cu_result result = driver->device_get(&device, ordinal);
    if (result == MLCC_CU_SUCCESS)
        result = driver->device_get_attribute(&major, MLCC_CU_DEVICE_CAPABILITY_MAJOR, device);
    if (result == MLCC_CU_SUCCESS)
        result = driver->device_get_attribute(&minor, MLCC_CU_DEVICE_CAPABILITY_MINOR, device);
    *capability = major * 10 + minor;
    return mlcc_cuda_check(driver, result, "asking what the device is");
}

static mlcc_status *list_devices(
    const mlcc_cuda_driver *driver, mlcc_arena *keep, const char **out) {
    const char *list = "cuda:";
    for (int i = 0; i < driver->n_devices; i++) {
        int capability = 0;
        MLCC_TRY(read_capability(driver, i, &capability));
        const char *name =
            mlcc_arena_printf(keep, "sm_%d%s", capability, has_own_form(capability) ? "a" : "");
        if (strstr(list, name) != NULL) continue;
        list = mlcc_arena_printf(keep, "%s%s%s", list, i > 0 ? "," : "", name);
    }
    *out = list;
    return NULL;
}

mlcc_status *compile_device_resolve(const char *device, mlcc_arena *keep, const char **out) {
    *out = device;
    if (device == NULL || strcmp(device, "cuda:native") != 0) return NULL;
    mlcc_cuda_driver driver;
    mlcc_status *status = mlcc_cuda_driver_open(&driver);
    if (status == NULL) {
        status = list_devices(&driver, keep, out);
        mlcc_cuda_driver_close(&driver);
    }
    return mlcc_status_note(
        status, "finding out what cuda:native is (without a device: --device cuda:sm_80,sm_90a,…)");
}
