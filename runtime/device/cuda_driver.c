#include "runtime/device/cuda_driver.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER_VARIABLE "MLCC_CUDA_DRIVER"
#define DRIVER_FILE     "libcuda.so.1"

static mlcc_status *absent(const char *file, const char *reason) {
    bool is_named = strcmp(file, DRIVER_FILE) != 0;
    return MLCC_ERROR(
        UNSUPPORTED,
        "no CUDA driver: %s%s cannot be opened (%s); %s, or compile the model for the CPU (mlcc "
        "compile DIR --device cpu)",
        is_named ? "$" DRIVER_VARIABLE " = " : "", file, reason,
        is_named ? "correct or unset " DRIVER_VARIABLE : "install NVIDIA's driver");
}

static mlcc_status *unusable(const mlcc_cuda_driver *driver, const char *what) {
    return MLCC_ERROR(
        DEVICE, "the CUDA driver %s cannot be used: %s; update or reinstall NVIDIA's driver",
        driver->file, what);
}

static mlcc_status *no_device(const mlcc_cuda_driver *driver) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return MLCC_ERROR(
        UNSUPPORTED,
        "the CUDA driver %s sees no device%s%s%s; make one visible to this process, or compile the "
        "model for the CPU (mlcc compile DIR --device cpu)",
        driver->file,
        visible == NULL ? "" : " (CUDA_VISIBLE_DEVICES = ", visible == NULL ? "" : visible,
        visible == NULL ? "" : ")");
}

static mlcc_status *resolve(mlcc_cuda_driver *driver) {
    const struct {
        const char *symbol;
        size_t offset;
        bool is_optional;
    } rows[] = {
#define X(member, symbol, parameters) {#symbol, offsetof(mlcc_cuda_driver, member), false},
        MLCC_CUDA_FUNCTIONS(X)
#undef X
#define X(member, symbol, parameters) {#symbol, offsetof(mlcc_cuda_driver, member), true},
            MLCC_CUDA_OPTIONAL_FUNCTIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        void *found = dlsym(driver->library, rows[i].symbol);
        if (found == NULL && !rows[i].is_optional) {
            char what[128];
            snprintf(what, sizeof what, "it has no function '%s'", rows[i].symbol);
            return unusable(driver, what);
        }
        // ISO C has no cast from an object to a function.
        memcpy((char *)driver + rows[i].offset, &found, sizeof found);
    }
    return NULL;
}

static mlcc_status *start(mlcc_cuda_driver *driver) {
    char error[160], what[256];
    mlcc_cu_result result = driver->init(0);
    if (result == MLCC_CU_NO_DEVICE) return no_device(driver);
    if (result == MLCC_CU_STUB_LIBRARY)
        return unusable(driver, "it is the toolkit's stub for linking, not a driver");
    if (result == MLCC_CU_SUCCESS) result = driver->driver_get_version(&driver->version);
    if (result == MLCC_CU_SUCCESS) result = driver->device_get_count(&driver->n_devices);
    if (result != MLCC_CU_SUCCESS) {
        snprintf(
            what, sizeof what, "it does not start: %s",
            mlcc_cuda_error_text(driver, result, error));
        return unusable(driver, what);
    }
    return driver->n_devices < 1 ? no_device(driver) : NULL;
}

mlcc_status *mlcc_cuda_driver_open(mlcc_cuda_driver *out) {
    *out = (mlcc_cuda_driver){0};
    const char *named = getenv(DRIVER_VARIABLE);
    out->file = named != NULL && named[0] != '\0' ? named : DRIVER_FILE;
    // The driver starts threads and handlers of its own: it stays until the process ends.
    out->library = dlopen(out->file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (out->library == NULL) return absent(out->file, dlerror());
    mlcc_status *status = resolve(out);
    if (status == NULL) status = start(out);
    if (status != NULL) mlcc_cuda_driver_close(out);
    return status;
}

void mlcc_cuda_driver_close(mlcc_cuda_driver *driver) {
    if (driver->library != NULL) dlclose(driver->library);
    *driver = (mlcc_cuda_driver){0};
}

const char *mlcc_cuda_error_text(
    const mlcc_cuda_driver *driver, mlcc_cu_result result, char text[160]) {
    const char *name = NULL, *meaning = NULL;
    if (driver->get_error_name(result, &name) != MLCC_CU_SUCCESS || name == NULL) {
        snprintf(text, 160, "CUDA error %d", result);
        return text;
    }
    (void)driver->get_error_string(result, &meaning);
    snprintf(text, 160, "%s (%s)", name, meaning == NULL ? "no description" : meaning);
    return text;
}

mlcc_status *mlcc_cuda_check(
    const mlcc_cuda_driver *driver, mlcc_cu_result result, const char *what) {
    if (result == MLCC_CU_SUCCESS) return NULL;
    char error[160];
    mlcc_cuda_error_text(driver, result, error);
    if (result == MLCC_CU_OUT_OF_MEMORY) return MLCC_ERROR(NO_MEMORY, "%s: %s", what, error);
    return MLCC_ERROR(DEVICE, "%s: %s", what, error);
}
