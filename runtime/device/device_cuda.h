// device_cuda: a CUDA device's inside, shared by device_cuda.c (memory) and cuda_runner.c (launches).
#ifndef MLCC_RUNTIME_DEVICE_DEVICE_CUDA_H
#define MLCC_RUNTIME_DEVICE_DEVICE_CUDA_H

#include "runtime/device/cuda_driver.h"
#include "runtime/device/cuda_modules.h"
#include "runtime/device/device_inside.h"

#include <pthread.h>

// One half of the page-locked memory that large copies go through.
typedef struct mlcc_cuda_stage {
    void *host;
    size_t size_bytes;
    mlcc_cu_event *copied; // the last copy out of `host` is done
    bool is_pinned;
} mlcc_cuda_stage;

typedef struct mlcc_cuda_device {
    mlcc_device base;
    mlcc_cuda_driver driver;
    mlcc_cu_device number;
    mlcc_cu_context *context; // the primary one, which other libraries in the process use, too
    mlcc_cu_stream *stream;
    mlcc_cuda_modules modules;
    mlcc_memory consts;
    mlcc_cuda_stage stages[2];
    int next_stage;
    bool waits_after_launch; // MLCC_CUDA_SYNC=1: errors name their launch
    // Programmatic serialization, one by one and in a graph (MLCC_CUDA_PDL=0: neither); graphs
    // (MLCC_CUDA_GRAPHS=0: none). What driver or device lack is off, too.
    bool launches_early, captures_early, has_graphs;
    // An error inside a kernel ends the context for good: what it was, else MLCC_CU_SUCCESS.
    mlcc_cu_result lost;
    const char *running;  // name of the function that was launched last; NULL before the first
    pthread_mutex_t lock; // of `lost` and `running`
} mlcc_cuda_device;

// The device's context becomes the thread's current one until leave gives back what was there.
mlcc_status *mlcc_cuda_enter(mlcc_cuda_device *device);
void mlcc_cuda_leave(mlcc_cuda_device *device);
// mlcc_cuda_check, and remembers results after which the context is of no use.
mlcc_status *mlcc_cuda_done(mlcc_cuda_device *device, mlcc_cu_result result, const char *what);
// What errors of kernels name that are found later.
void mlcc_cuda_set_running(mlcc_cuda_device *device, const char *function);

mlcc_status *mlcc_cuda_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out);
void mlcc_cuda_runner_free(mlcc_runner *runner);
mlcc_status *mlcc_cuda_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims);

#endif
