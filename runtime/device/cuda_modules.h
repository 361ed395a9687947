// cuda_modules: a library's modules in the driver: which compiled form fits the device, and the entry
// functions of all launches, looked up once.
//
// Choice among the images of a module, for a device of compute capability M.m:
//   1. a cubin made for exactly M.m and nothing else ("sm_90a")
//   2. of the cubins for M.x, x ≤ m, the one with the highest x
//   3. of the PTX texts for at most M.m the highest: the driver compiles it now
// Thread rule: one thread at a time; the device's context must be current.
#ifndef MLCC_RUNTIME_DEVICE_CUDA_MODULES_H
#define MLCC_RUNTIME_DEVICE_CUDA_MODULES_H

#include "runtime/abi.h"
#include "runtime/device/cuda_driver.h"

#include <stdint.h>

typedef struct mlcc_cuda_modules {
    const mlcc_cuda_driver *driver;
    mlcc_cu_module **modules;
    uint32_t n_modules;
    // Entries of launches of functions, all in the order of the library's tables …
    mlcc_cu_function **entries;
    size_t *first_entry; // … [n_functions]: where a function's begin
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
