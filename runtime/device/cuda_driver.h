// cuda_driver: the only door to the CUDA driver, opened at run time; its types and prototypes are
// declared here by hand, no toolkit header is needed.
//
// Search: the file that $MLCC_CUDA_DRIVER names, if it is set; else libcuda.so.1. One build of mlcc
// serves machines with and without a driver.
// Source: "CUDA Driver API", the reference manual of CUDA 12.
// Thread rule: any; the driver keeps a stack of contexts for every thread.
#ifndef MLCC_RUNTIME_DEVICE_CUDA_DRIVER_H
#define MLCC_RUNTIME_DEVICE_CUDA_DRIVER_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef int mlcc_cu_result;
typedef int mlcc_cu_device;
typedef uint64_t mlcc_cu_address; // CUdeviceptr: in device memory
typedef struct mlcc_cu_context mlcc_cu_context;
typedef struct mlcc_cu_stream mlcc_cu_stream;
typedef struct mlcc_cu_event mlcc_cu_event;
typedef struct mlcc_cu_module mlcc_cu_module;
typedef struct mlcc_cu_function mlcc_cu_function;
typedef struct mlcc_cu_graph mlcc_cu_graph;
typedef struct mlcc_cu_graph_exec mlcc_cu_graph_exec;

// The codes that something here or the tests' driver depends on; cuGetErrorName knows them all.
enum {
    MLCC_CU_SUCCESS = 0,
    MLCC_CU_INVALID_VALUE = 1,
    MLCC_CU_OUT_OF_MEMORY = 2,
    MLCC_CU_NOT_INITIALIZED = 3,
    MLCC_CU_STUB_LIBRARY = 34,
    MLCC_CU_NO_DEVICE = 100,
    MLCC_CU_INVALID_DEVICE = 101,
    MLCC_CU_INVALID_IMAGE = 200,
    MLCC_CU_INVALID_CONTEXT = 201,
    MLCC_CU_NO_BINARY_FOR_GPU = 209,
    MLCC_CU_INVALID_PTX = 218,
    MLCC_CU_UNSUPPORTED_PTX_VERSION = 222,
    MLCC_CU_INVALID_HANDLE = 400,
    MLCC_CU_NOT_FOUND = 500,
    MLCC_CU_ILLEGAL_ADDRESS = 700,
    MLCC_CU_LAUNCH_OUT_OF_RESOURCES = 701,
    MLCC_CU_LAUNCH_FAILED = 719,
    MLCC_CU_CAPTURE_UNSUPPORTED = 900,
    MLCC_CU_CAPTURE_INVALIDATED = 901
};

enum { // CUdevice_attribute
    MLCC_CU_DEVICE_MULTIPROCESSORS = 16,
    MLCC_CU_DEVICE_CAPABILITY_MAJOR = 75,
    MLCC_CU_DEVICE_CAPABILITY_MINOR = 76,
    MLCC_CU_DEVICE_MAX_SHARED_OPTIN = 97 // dynamic shared bytes of a block that asks for more
};
enum { MLCC_CU_FUNCTION_MAX_DYNAMIC_SHARED = 8 }; // CUfunction_attribute
enum { MLCC_CU_STREAM_NON_BLOCKING = 1 };         // CUstream_flags
enum { MLCC_CU_EVENT_DISABLE_TIMING = 2 };        // CUevent_flags
enum {                                            // CUjit_option
    MLCC_CU_JIT_ERROR_LOG = 5,
    MLCC_CU_JIT_ERROR_LOG_BYTES = 6
};
enum { MLCC_CU_CAPTURE_THREAD_LOCAL = 1 }; // CUstreamCaptureMode

// CUlaunchAttribute, with the one value that is used here: a launch of a kernel that waits itself
// (grid_wait in codegen/cuda/kernels/device.h) may begin before the one before it has ended.
enum { MLCC_CU_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6 }; // CUlaunchAttributeID
typedef struct mlcc_cu_launch_attribute {
    int id;
    char padding[4];
    union {
        int is_allowed;
        uint64_t words[8];
    } value;
} mlcc_cu_launch_attribute;

typedef struct mlcc_cu_launch_config { // CUlaunchConfig
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    mlcc_cu_stream *stream;
    mlcc_cu_launch_attribute *attributes;
    unsigned n_attributes;
} mlcc_cu_launch_config;

// X(member, symbol of the driver, parameters); all return a mlcc_cu_result.
// clang-format off
#define MLCC_CUDA_FUNCTIONS(X)                                                                                                                 \
    X(init,                  cuInit,                       (unsigned flags))                                                                   \
    X(driver_get_version,    cuDriverGetVersion,           (int *version))                                                                     \
    X(get_error_name,        cuGetErrorName,               (mlcc_cu_result result, const char **text))                                         \
    X(get_error_string,      cuGetErrorString,             (mlcc_cu_result result, const char **text))                                         \
    X(device_get_count,      cuDeviceGetCount,             (int *n_devices))                                                                   \
    X(device_get,            cuDeviceGet,                  (mlcc_cu_device *device, int ordinal))                                              \
    X(device_get_name,       cuDeviceGetName,              (char *name, int size_bytes, mlcc_cu_device device))                                \
    X(device_get_attribute,  cuDeviceGetAttribute,         (int *value, int attribute, mlcc_cu_device device))                                 \
    X(device_total_mem,      cuDeviceTotalMem_v2,          (size_t *size_bytes, mlcc_cu_device device))                                        \
    X(primary_ctx_retain,    cuDevicePrimaryCtxRetain,     (mlcc_cu_context **context, mlcc_cu_device device))                                 \
    X(primary_ctx_release,   cuDevicePrimaryCtxRelease_v2, (mlcc_cu_device device))                                                            \
    X(ctx_push_current,      cuCtxPushCurrent_v2,          (mlcc_cu_context *context))                                                         \
    X(ctx_pop_current,       cuCtxPopCurrent_v2,           (mlcc_cu_context **context))                                                        \
    X(mem_get_info,          cuMemGetInfo_v2,              (size_t *free_bytes, size_t *total_bytes))                                          \
    X(mem_alloc,             cuMemAlloc_v2,                (mlcc_cu_address *address, size_t size_bytes))                                      \
    X(mem_free,              cuMemFree_v2,                 (mlcc_cu_address address))                                                          \
    X(mem_alloc_host,        cuMemAllocHost_v2,            (void **host, size_t size_bytes))                                                   \
    X(mem_free_host,         cuMemFreeHost,                (void *host))                                                                       \
    X(memcpy_htod_async,     cuMemcpyHtoDAsync_v2,         (mlcc_cu_address target, const void *source, size_t size_bytes, mlcc_cu_stream *stream)) \
    X(memcpy_dtoh_async,     cuMemcpyDtoHAsync_v2,         (void *target, mlcc_cu_address source, size_t size_bytes, mlcc_cu_stream *stream))  \
    X(memset_d8_async,       cuMemsetD8Async,              (mlcc_cu_address target, unsigned char value, size_t n_bytes, mlcc_cu_stream *stream)) \
    X(stream_create,         cuStreamCreate,               (mlcc_cu_stream **stream, unsigned flags))                                          \
    X(stream_destroy,        cuStreamDestroy_v2,           (mlcc_cu_stream *stream))                                                           \
    X(stream_synchronize,    cuStreamSynchronize,          (mlcc_cu_stream *stream))                                                           \
    X(event_create,          cuEventCreate,                (mlcc_cu_event **event, unsigned flags))                                            \
    X(event_destroy,         cuEventDestroy_v2,            (mlcc_cu_event *event))                                                             \
    X(event_record,          cuEventRecord,                (mlcc_cu_event *event, mlcc_cu_stream *stream))                                     \
    X(event_synchronize,     cuEventSynchronize,           (mlcc_cu_event *event))                                                             \
    X(module_load_data_ex,   cuModuleLoadDataEx,           (mlcc_cu_module **module, const void *image, unsigned n_options, const int *options, void **values)) \
    X(module_unload,         cuModuleUnload,               (mlcc_cu_module *module))                                                           \
    X(module_get_function,   cuModuleGetFunction,          (mlcc_cu_function **function, mlcc_cu_module *module, const char *name))            \
    X(func_get_attribute,    cuFuncGetAttribute,           (int *value, int attribute, mlcc_cu_function *function))                            \
    X(func_set_attribute,    cuFuncSetAttribute,           (mlcc_cu_function *function, int attribute, int value))                             \
    X(launch_kernel,         cuLaunchKernel,               (mlcc_cu_function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,     \
                                                            unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,       \
                                                            mlcc_cu_stream *stream, void **arguments, void **extra))

// What older drivers lack: NULL then.
#define MLCC_CUDA_OPTIONAL_FUNCTIONS(X)                                                                                                        \
    X(launch_kernel_ex,      cuLaunchKernelEx,             (const mlcc_cu_launch_config *config, mlcc_cu_function *function, void **arguments, void **extra)) \
    X(stream_begin_capture,  cuStreamBeginCapture_v2,      (mlcc_cu_stream *stream, int mode))                                                 \
    X(stream_end_capture,    cuStreamEndCapture,           (mlcc_cu_stream *stream, mlcc_cu_graph **graph))                                    \
    X(graph_instantiate,     cuGraphInstantiateWithFlags,  (mlcc_cu_graph_exec **exec, mlcc_cu_graph *graph, unsigned long long flags))        \
    X(graph_destroy,         cuGraphDestroy,               (mlcc_cu_graph *graph))                                                             \
    X(graph_launch,          cuGraphLaunch,                (mlcc_cu_graph_exec *exec, mlcc_cu_stream *stream))                                 \
    X(graph_exec_destroy,    cuGraphExecDestroy,           (mlcc_cu_graph_exec *exec))
// clang-format on

typedef struct mlcc_cuda_driver {
    void *library;    // of dlopen
    const char *file; // what was opened: "libcuda.so.1"
    int version;      // CUDA version that the driver supports: 12040 = 12.4
    int n_devices;    // ≥ 1
#define X(member, symbol, parameters) mlcc_cu_result(*member) parameters;
    MLCC_CUDA_FUNCTIONS(X)
    MLCC_CUDA_OPTIONAL_FUNCTIONS(X)
#undef X
} mlcc_cuda_driver;

// Opens and initialises the driver. Three ways to fail, told apart by code and words:
//   UNSUPPORTED "no CUDA driver …"            there is none to open
//   UNSUPPORTED "… sees no device"            a driver, but nothing that it drives
//   DEVICE      "… cannot be used"            too old, a stub, or it refuses to start
mlcc_status *mlcc_cuda_driver_open(mlcc_cuda_driver *out);
void mlcc_cuda_driver_close(mlcc_cuda_driver *driver); // all zeros is fine

// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)" or "CUDA error 12345" in `text`, which is returned.
const char *mlcc_cuda_error_text(
    const mlcc_cuda_driver *driver, mlcc_cu_result result, char text[160]);
// NULL for success, else NO_MEMORY or DEVICE: "WHAT: CUDA_ERROR_…". `what` says what was tried.
mlcc_status *mlcc_cuda_check(
    const mlcc_cuda_driver *driver, mlcc_cu_result result, const char *what);

#endif
