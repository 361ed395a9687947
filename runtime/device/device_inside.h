// device_inside: what a kind of device brings; private to runtime/device.
//
// device.c finds the kind and passes every call on, so that each kind is one table of functions and
// the rest of the runtime sees none of them.
#ifndef MLCC_RUNTIME_DEVICE_DEVICE_INSIDE_H
#define MLCC_RUNTIME_DEVICE_DEVICE_INSIDE_H

#include "runtime/device/device.h"

typedef struct mlcc_device_kind {
    void (*close)(mlcc_device *device);
    mlcc_status *(*alloc)(
        mlcc_device *device, size_t size_bytes, const char *what, mlcc_memory *out);
    void (*free)(mlcc_device *device, mlcc_memory *memory);
    // Only the host's side; NULL: the two sides are one.
    mlcc_status *(*alloc_host)(
        mlcc_device *device, size_t size_bytes, const char *what, mlcc_mirror *out);
    void (*free_host)(mlcc_device *device, mlcc_mirror *mirror);
    // NULL: nothing to be done.
    mlcc_status *(*push)(mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end);
    mlcc_status *(*pull)(mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end);
    mlcc_status *(*upload)(
        mlcc_device *device, void *target, const void *source, size_t size_bytes);
    mlcc_status *(*stage)(mlcc_device *device, size_t size_bytes, void **stage);
    mlcc_status *(*send)(mlcc_device *device, void *target, size_t size_bytes);
    mlcc_status *(*end_uploads)(mlcc_device *device);
    mlcc_status *(*memory_info)(mlcc_device *device, size_t *free_bytes, size_t *total_bytes);
    mlcc_status *(*synchronize)(mlcc_device *device);
    mlcc_status *(*runner_create)(
        mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out);
    void (*runner_free)(mlcc_runner *runner);
    mlcc_status *(*runner_run)(
        mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims);
} mlcc_device_kind;

// First member of every kind's own structure.
struct mlcc_device {
    const mlcc_device_kind *kind;
    const mlcc_abi_model *abi;
    mlcc_pool *pool;
    mlcc_device_info info;
};

struct mlcc_runner {
    mlcc_device *device;
    const mlcc_abi_function *function;
    mlcc_run_trace *trace; // NULL: nobody asks
};

mlcc_status *mlcc_device_open_cpu(const mlcc_abi_model *abi, mlcc_pool *pool, mlcc_device **out);
mlcc_status *mlcc_device_open_cuda(
    const mlcc_abi_model *abi, int ordinal, mlcc_pool *pool, mlcc_device **out);

#endif
