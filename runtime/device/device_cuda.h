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
    // An error inside a kernel ends the context for good: what it was, else MLCC_CU_SUCCESS.
    mlcc_cu_result lost;
    pthread_mutex_t lock; // `lost`, and the launches of one run stay together
} mlcc_cuda_device;

// The device's context becomes the thread's current one until leave gives back what was there.
mlcc_status *mlcc_cuda_enter(mlcc_cuda_device *device);
void mlcc_cuda_leave(mlcc_cuda_device *device);
// mlcc_cuda_check, and remembers results after which the context is of no use.
mlcc_status *mlcc_cuda_done(mlcc_cuda_device *device, mlcc_cu_result result, const char *what);

mlcc_status *mlcc_cuda_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out);
void mlcc_cuda_runner_free(mlcc_runner *runner);
mlcc_status *mlcc_cuda_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims);

#endif
