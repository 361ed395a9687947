// The ceilings of a CUDA device: copies within its memory are timed, the matrix units' rate is the data sheet's.
#include "dist/cli/run/ceiling.h"
#include "dist/cli/run/gpu_sheet.h"
#include "runtime/base/clock.h"
#include "runtime/device/cuda_driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_BYTES = 512 << 20, N_COPIES = 16, N_ROUNDS = 5 };

typedef mlcc_cu_result copy_function(
    mlcc_cu_address target, mlcc_cu_address source, size_t size_bytes, mlcc_cu_stream *stream);

typedef struct copying {
    const mlcc_cuda_driver *driver;
    copy_function *copy;
    mlcc_cu_address source, target;
    mlcc_cu_stream *stream;
} copying;

static double time_copies(const copying *c) {
    double best_s = 0.0;
    for (int round = 0; round <= N_ROUNDS; round++) { // the first warms up
        const double start_s = mlcc_clock_s();
        mlcc_cu_result result = MLCC_CU_SUCCESS;
        for (int i = 0; i < N_COPIES && result == MLCC_CU_SUCCESS; i++)
            result = c->copy(c->target, c->source, COPY_BYTES, c->stream);
        if (result == MLCC_CU_SUCCESS) result = c->driver->stream_synchronize(c->stream);
        if (result != MLCC_CU_SUCCESS) return 0.0;
        const double seconds = mlcc_clock_s() - start_s;
        if (round == 1 || (round > 1 && seconds < best_s)) best_s = seconds;
    }
    // Every byte is read and written.
    return 2.0 * (double)COPY_BYTES * (double)N_COPIES / best_s * 1e-9;
}

// With a context current. Where there is no room, nothing is measured.
static double measure_copies(const mlcc_cuda_driver *driver) {
    copying c = {.driver = driver};
    void *found = dlsym(driver->library, "cuMemcpyDtoDAsync_v2");
    if (found == NULL) return 0.0;
    memcpy(&c.copy, &found, sizeof c.copy);
    double gb_per_s = 0.0;
    if (driver->mem_alloc(&c.source, COPY_BYTES) == MLCC_CU_SUCCESS &&
        driver->mem_alloc(&c.target, COPY_BYTES) == MLCC_CU_SUCCESS &&
        driver->stream_create(&c.stream, MLCC_CU_STREAM_NON_BLOCKING) == MLCC_CU_SUCCESS &&
        driver->memset_d8_async(c.source, 0x5a, COPY_BYTES, c.stream) == MLCC_CU_SUCCESS) {
        gb_per_s = time_copies(&c);
    }
    if (c.stream != NULL) (void)driver->stream_destroy(c.stream);
    if (c.target != 0) (void)driver->mem_free(c.target);
    if (c.source != 0) (void)driver->mem_free(c.source);
    return gb_per_s;
}

mlcc_status *ceiling_measure_cuda(const char *device, const char *description, ceiling *out) {
    *out = (ceiling){0};
    const gpu_sheet *sheet = gpu_sheet_find(description);
    if (sheet != NULL) {
        out->sheet_gb_per_s = sheet->gb_per_s;
        out->f16_gflop_per_s = sheet->f16_tflop_per_s * 1e3;
        out->fp8_gflop_per_s = sheet->fp8_tflop_per_s * 1e3;
    }
    const char *digits = strchr(device, ':');
    const int ordinal = digits != NULL ? (int)strtol(digits + 1, NULL, 10) : 0;
    mlcc_cuda_driver driver;
    mlcc_cu_device number = 0;
    mlcc_cu_context *context = NULL, *mine = NULL;
    MLCC_TRY(mlcc_cuda_driver_open(&driver));
    mlcc_cu_result result = driver.device_get(&number, ordinal);
    if (result == MLCC_CU_SUCCESS) result = driver.primary_ctx_retain(&context, number);
    if (result == MLCC_CU_SUCCESS) result = driver.ctx_push_current(context);
    if (result == MLCC_CU_SUCCESS) {
        out->gb_per_s = measure_copies(&driver);
        (void)driver.ctx_pop_current(&mine);
    }
    if (context != NULL) (void)driver.primary_ctx_release(number);
    mlcc_status *status = mlcc_cuda_check(&driver, result, "measuring the device's memory");
    mlcc_cuda_driver_close(&driver);
    return status;
}
