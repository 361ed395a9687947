// cuda_modules: a library's modules in the driver: which compiled form fits the device, and the entry
// functions of all launches, looked up once.
//
// Choice among the images of a module, for a device of compute capability M.m:
//   1. a cubin made for exactly M.m and nothing else ("sm_90a")
//   2. of the cubins for M.x, x ≤ m, the one with the highest x
//   3. of the PTX texts for at most M.m the highest: the driver compiles it now
// What the driver refuses as code that it does not know (it is older than the library) is followed by
// the next best image, with a warning. A launch takes the first of its variants whose module has one;
// modules that no launch takes are not loaded.
// Thread rule: one thread at a time; the device's context must be current.
#ifndef MLCC_RUNTIME_DEVICE_CUDA_MODULES_H
#define MLCC_RUNTIME_DEVICE_CUDA_MODULES_H

#include "runtime/abi.h"
#include "runtime/device/cuda_driver.h"

#include <stdbool.h>
#include <stdint.h>

// The variant of a launch that this device runs.
typedef struct mlcc_cuda_chosen {
    const mlcc_abi_cuda_variant *variant;
    mlcc_cu_function **entries; // [variant->n_entries]
    // Its kernels wait for the launch before (grid_wait in codegen/cuda/kernels/device.h): compiled for
    // sm_90 or newer.
    bool waits;
} mlcc_cuda_chosen;

typedef struct mlcc_cuda_module {
    mlcc_cu_module *loaded;           // NULL where not taken
    const mlcc_abi_cuda_image *image; // that was loaded
    bool is_refused;                  // the driver knows none of its images
} mlcc_cuda_module;

typedef struct mlcc_cuda_modules {
    const mlcc_cuda_driver *driver;
    mlcc_cuda_module *modules;
    uint32_t n_modules;
    bool has_warned; // of an image that the driver refused
    // Launches of functions, all in the order of the library's tables …
    mlcc_cuda_chosen *launches;
    size_t *first_launch; // … [n_functions]: where a function's begin
    mlcc_cu_function **entries;
} mlcc_cuda_modules;

// `arch`: 90 for compute capability 9.0. NULL when no image fits.
const mlcc_abi_cuda_image *mlcc_cuda_choose_image(
    const mlcc_abi_cuda_module *module, uint32_t arch);

// `max_shared_bytes`: what a block of this device may have. MISMATCH: no image fits the device, or
// the driver is older than the library's code; DEVICE and NO_MEMORY from the driver.
mlcc_status *mlcc_cuda_modules_load(
    const mlcc_cuda_driver *driver, const mlcc_abi_model *abi, uint32_t arch,
    uint32_t max_shared_bytes, mlcc_cuda_modules *out);
void mlcc_cuda_modules_free(mlcc_cuda_modules *modules); // all zeros is fine

#endif
