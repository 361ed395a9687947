// device: where a library's functions run and where their data lies: the CPU, or a CUDA device.
//
// An address of device memory is only a name on the host; it may be followed where is_host says so.
//   mlcc_memory   memory of the device
//   mlcc_mirror   the same bytes on both sides, brought over by push and pull; one place on the CPU
//   mlcc_runner   a function of the library, ready to run: its workspace and everything that is the
//                 same in every call. Engines have their own.
// Work is done in the order of the calls. push, run and zeroing may return before it is done; pull and
// synchronize wait, and report what went wrong since. Nothing here allocates after creation.
// Thread rule: any thread, one at a time per runner, memory and mirror. Runners of one device take
// turns, call by call.
#ifndef MLCC_RUNTIME_DEVICE_DEVICE_H
#define MLCC_RUNTIME_DEVICE_DEVICE_H

#include "runtime/abi.h"
#include "runtime/base/status.h"
#include "runtime/base/threads.h"
#include "runtime/device/host_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_device mlcc_device;
typedef struct mlcc_runner mlcc_runner;

typedef struct mlcc_device_info {
    bool is_host;  // device memory is host memory
    char name[16]; // "cpu", "cuda:0"
    char description
        [160]; // "NVIDIA H100 80GB HBM3, compute capability 9.0, 79.1 GiB"; "" for the CPU
} mlcc_device_info;

// Where a library with these tables runs. `name`: "cpu", "cuda" (the first device), "cuda:N"; NULL or
// "auto" = what the library is compiled for. On a CUDA device the library's modules are loaded.
// `pool` runs functions on the CPU and copies for the others; it must outlive the device, like `abi`.
// INVALID: an unknown name. MISMATCH: the library is compiled for something else. UNSUPPORTED,
// DEVICE: see cuda_driver.h.
mlcc_status *mlcc_device_open(
    const mlcc_abi_model *abi, const char *name, mlcc_pool *pool, mlcc_device **out);
void mlcc_device_close(mlcc_device *device); // NULL is fine
const mlcc_device_info *mlcc_device_get_info(const mlcc_device *device);

// ---- memory

typedef struct mlcc_memory {
    void *address; // in the device's memory, a multiple of 64
    size_t size_bytes;
    mlcc_block block; // on the CPU: what it is
} mlcc_memory;

typedef struct mlcc_mirror {
    void *host;         // the host's side; page-locked for a device that copies
    mlcc_memory memory; // the device's side
    bool is_pinned;     // the host's side belongs to the driver
    mlcc_block block;   // else what it is, where the two sides differ
} mlcc_mirror;

// All zeros, both. `what` names it in the NO_MEMORY message ("the KV cache").
mlcc_status *mlcc_device_alloc(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_memory *out);
void mlcc_device_free(mlcc_device *device, mlcc_memory *memory); // all zeros is fine
mlcc_status *mlcc_device_alloc_mirror(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_mirror *out);
void mlcc_device_free_mirror(mlcc_device *device, mlcc_mirror *mirror); // all zeros is fine
// Bytes [begin, end): host to device, and back. The host's side must stay as it is until the next
// synchronize or pull.
mlcc_status *mlcc_device_push(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end);
mlcc_status *mlcc_device_pull(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end);
// Large one-way copies at load time, through page-locked memory, which mlcc_device_end_uploads gives
// back after the last copy.
mlcc_status *mlcc_device_upload(
    mlcc_device *device, const mlcc_memory *target, size_t offset_bytes, const void *source,
    size_t size_bytes);
// The same without a copy on the host: the caller writes to the memory that stage gives, all of it
// his until he sends it. There are two in turn, so that one is on its way while the next is written.
// Not for a device whose memory is the host's.
mlcc_status *mlcc_device_stage(mlcc_device *device, size_t size_bytes, void **stage);
mlcc_status *mlcc_device_send(
    mlcc_device *device, const mlcc_memory *target, size_t offset_bytes, size_t size_bytes);
mlcc_status *mlcc_device_end_uploads(mlcc_device *device);

typedef struct mlcc_memory_item {
    const char *what; // "weights"
    uint64_t size_bytes;
    bool is_held; // named in the message, but allocated already
} mlcc_memory_item;
// NO_MEMORY, with every item and `advice`, when the device cannot hold what is not held yet. The CPU
// never refuses: its memory is taken as it is touched. `free_bytes` may be NULL; UINT64_MAX on the CPU.
mlcc_status *mlcc_device_free_bytes(mlcc_device *device, uint64_t *free_bytes);
mlcc_status *mlcc_device_check_room(
    mlcc_device *device, const mlcc_memory_item *items, size_t n_items, const char *advice);

// ---- work

// `function`: index in the library's table. `params`: device addresses of prepared params, which the
// runner keeps using.
mlcc_status *mlcc_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out);
void mlcc_runner_free(mlcc_runner *runner); // NULL is fine
// Addresses in device memory, in the order of the function's tables; `dims`: values of the symbols.
mlcc_status *mlcc_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims);
mlcc_status *mlcc_device_synchronize(mlcc_device *device);

// Times within a run, for whoever wants to know where it goes: the library's threads wait for each
// other several times, and kept is when the last of them arrived. No cost while nobody asks.
typedef struct mlcc_run_trace {
    // the caller's, [capacity]: when every wait was over, and at last the run; nanoseconds of mlcc_clock_s
    _Atomic uint64_t *ends_ns;
    size_t capacity;   // later ones are counted only
    size_t n_ends;     // of the last run
    uint64_t start_ns; // of the last run
} mlcc_run_trace;

// Every run from now on fills `trace`; NULL ends that. On a CUDA device n_ends stays what it is.
void mlcc_runner_trace(mlcc_runner *runner, mlcc_run_trace *trace);

#endif
