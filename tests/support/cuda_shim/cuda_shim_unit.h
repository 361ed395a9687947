// cuda_shim_unit: a kernel's translation unit (emit_cuda_source) compiled for the host by the system's C compiler and loaded; its entries run
// under cuda_shim. In a sanitized test the unit is sanitized too.
#ifndef MLCC_TESTS_SUPPORT_CUDA_SHIM_CUDA_SHIM_UNIT_H
#define MLCC_TESTS_SUPPORT_CUDA_SHIM_CUDA_SHIM_UNIT_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "tests/support/cuda_shim/cuda_shim.h"

typedef struct cuda_shim_unit cuda_shim_unit;

// Whether there is a C compiler; where none is, tests skip.
bool cuda_shim_can_compile(void);

// Compiles `source` into `folder` (which keeps the text, for debuggers) and loads it. For every name in `entries` the text must define
// KERNEL void NAME(const kernel_env env); NULL ends the list. A unit stays loaded until the process ends; the same source and entries again are the same
// unit, and nothing is compiled. Must run with the project's root as working directory.
// INTERNAL with what the compiler said.
mlcc_status *cuda_shim_unit_build(
    const char *name, const char *source, const char *const *entries, const char *folder,
    const cuda_shim_unit **out);
// An entry as cuda_shim_launch wants it; NULL when it was not named.
cuda_shim_entry *cuda_shim_unit_entry(const cuda_shim_unit *unit, const char *name);

#endif
