// cuda_fake: a CUDA driver without a device: the functions of runtime/device/cuda_driver.h in a shared library, for tests
// (MLCC_CUDA_DRIVER=…/cuda_fake.so). Device memory is host memory; kernels are PTX, run by tests/support/ptx.
//
// It is stricter than a driver, and as late as one may be:
//   * what is asked of a stream waits in a queue until somebody synchronises: a host that overwrites page-locked memory too early, or reads before it
//     waited, gets wrong bytes;
//   * every copy, fill and kernel access must lie in memory that is allocated; memory starts as garbage; a pointer is freed once;
//   * calls need a current context; handles must be alive; after an error inside a kernel every call fails with it;
//   * a launch with programmatic serialization may not touch, before griddepcontrol.wait, what the launches before it write, nor write what they read;
//   * what is still alive when the context ends is reported as a leak, on standard error and by cuda_fake_n_faults.
// Words that begin with "cuda_fake:" on standard error are faults of the caller or of a kernel.
//
// Environment, read by cuInit (numbers of calls count from 1 since then; CODE is a CUresult):
//   MLCC_FAKE_CAPABILITY=13.0     compute capability; the default is above every cubin, so that PTX is chosen, the only thing that runs here
//   MLCC_FAKE_MEMORY=BYTES        of the device, default 4 GiB          MLCC_FAKE_SHARED=BYTES  of a block that asks, default 232448
//   MLCC_FAKE_DEVICES=1           number of devices                     MLCC_FAKE_VERSION=13000 CUDA version that the driver supports
//   MLCC_FAKE_INIT=CODE           cuInit fails
//   MLCC_FAKE_FAIL_ALLOC=N        the Nth cuMemAlloc is out of memory   MLCC_FAKE_FAIL_HOST_ALLOC=N  the Nth cuMemAllocHost
//   MLCC_FAKE_FAIL_LOAD=N:CODE    the Nth cuModuleLoadDataEx            MLCC_FAKE_FAIL_LAUNCH=N:CODE the Nth cuLaunchKernel, at once
//   MLCC_FAKE_FAIL_KERNEL=N:CODE  the Nth launched kernel, when it runs
//   MLCC_FAKE_FAIL_CAPTURE=N:CODE the Nth cuStreamEndCapture            MLCC_FAKE_FAIL_INSTANTIATE=N:CODE  the Nth cuGraphInstantiateWithFlags
//   MLCC_FAKE_FAIL_GRAPH=N:CODE   the Nth cuGraphLaunch, at once
#ifndef MLCC_TESTS_CUDA_FAKE_H
#define MLCC_TESTS_CUDA_FAKE_H

#include "runtime/device/cuda_driver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_EXPORT __attribute__((visibility("default")))

#define X(member, symbol, parameters) FAKE_EXPORT mlcc_cu_result symbol parameters;
MLCC_CUDA_FUNCTIONS(X)
MLCC_CUDA_OPTIONAL_FUNCTIONS(X)
#undef X

// Faults since the library was loaded: leaks, double frees, accesses out of bounds, kernel errors. A test finds it by dlsym.
FAKE_EXPORT int cuda_fake_n_faults(void);
// Since the library was loaded: kernels run; calls that launched one; of these with programmatic serialization, captured ones, too; graphs
// launched; graphs captured; copies to the device and back.
FAKE_EXPORT int cuda_fake_n_kernels(void);
FAKE_EXPORT int cuda_fake_n_launches(void);
FAKE_EXPORT int cuda_fake_n_early_launches(void);
FAKE_EXPORT int cuda_fake_n_graph_launches(void);
FAKE_EXPORT int cuda_fake_n_captures(void);
FAKE_EXPORT int cuda_fake_n_copies_to_device(void);
FAKE_EXPORT int cuda_fake_n_copies_to_host(void);

// ---- between the files of the library

typedef struct fake_failure {
    int64_t number; // of the call that fails; 0 = none
    mlcc_cu_result code;
    int64_t n_calls;
} fake_failure;

typedef struct fake_settings {
    int major, minor, n_devices, version;
    size_t memory_bytes, shared_bytes;
    fake_failure alloc, host_alloc, load, launch, kernel, capture, instantiate, graph;
} fake_settings;

extern fake_settings fake_settings_now;

// Counts a call; true when it is the one that fails.
bool fake_fails(fake_failure *failure);
void fake_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Result that every call gives now: NOT_INITIALIZED, INVALID_CONTEXT, the error that ended the context, or SUCCESS.
mlcc_cu_result fake_context_state(void);
// True when all of [address, address + size_bytes) lies in one device allocation.
bool fake_in_device(mlcc_cu_address address, size_t size_bytes);

// A kernel launch in the queue; `arguments` is a copy.
typedef struct fake_launch {
    mlcc_cu_function *function;
    uint32_t grid[3], block[3], shared_bytes;
    void *arguments;
    size_t arguments_bytes;
    bool is_early; // may begin before the one before has ended: what it touches is checked
} fake_launch;

struct mlcc_cu_stream {
    mlcc_cu_graph *capture; // what launches are recorded in; NULL: they wait in the queue
};

// Puts a launch at the end of the queue, which then owns its arguments.
void fake_enqueue_launch(fake_launch launch);
mlcc_cu_result fake_run_launch(const fake_launch *launch);
// All launches that ran have ended for whatever comes.
void fake_forget_launches(void);
// Adds to the graph that a stream is captured in, which then owns the arguments.
void fake_record_launch(mlcc_cu_stream *stream, fake_launch launch);
// A call that must not be made now: a fault, when this thread is capturing a stream.
bool fake_is_capturing(const char *call);
// What is alive; when a context ends.
int fake_n_modules(void);
int fake_n_graphs(void);

struct ptx_memory;
struct ptx_memory *fake_memory(void); // what kernels may touch

#endif
