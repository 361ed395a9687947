// cuda_target: a CUDA device as a target: the answers for the passes, and the way from an artifact to compiled modules. codegen/generate.c calls it
// where a library is for CUDA devices.
#ifndef MLCC_CODEGEN_CUDA_CUDA_TARGET_H
#define MLCC_CODEGEN_CUDA_CUDA_TARGET_H

#include "codegen/artifact.h"
#include "codegen/cuda/cuda_compile.h"
#include "codegen/cuda/cuda_kernels.h"

typedef struct cuda_target {
    nvrtc_library *nvrtc;
    cuda_arch *archs;
    size_t n_archs;
    mlcc_arena *keep; // the caller's, for choices
} cuda_target;

// One module of the library: one instance of the artifact compiled with one row, for the architectures that have no better one.
typedef struct cuda_module {
    int32_t instance;
    const cuda_kernel_row *row;
    cuda_unit unit;
} cuda_module;

typedef struct cuda_modules {
    cuda_module *modules; // in the order of the instances; of one instance the special rows first
    int32_t n_modules;
    int32_t *first; // [n_instances + 1]: where an instance's begin
} cuda_modules;

// `device`: "cuda" or "cuda:sm_80,…" (cuda_archs.h). UNSUPPORTED without NVRTC and for unknown architectures.
mlcc_status *cuda_target_open(const char *device, mlcc_arena *keep, cuda_target **out);
void cuda_target_close(cuda_target *target); // NULL is fine

// Why this NVRTC has no code for the architecture from the row, or NULL when it has. The text lives in `keep` or for ever.
const char *cuda_row_refusal(
    const nvrtc_library *nvrtc, const cuda_kernel_row *row, const cuda_arch *arch,
    mlcc_arena *keep);
// Why one of the architectures or the group cannot use the row, or NULL when all can. The text lives in target->keep or for ever.
const char *cuda_kernel_refusal(
    const cuda_target *target, const cuda_kernel_row *row, const ir_function *group);

// Bytes that a launch of the instance wants of its function's scratch on any architecture, counters included; 0 = none.
int64_t cuda_target_scratch_bytes(const cuda_target *target, const codegen_instance *instance);

// Writes and compiles every instance. `debug_dump`: folder that receives NN_KERNEL.cu, .ARCH.ptx and .ARCH.log; NULL = none; what was written before an
// error stays there.
mlcc_status *cuda_target_compile(
    const cuda_target *target, const codegen_artifact *artifact, const char *debug_dump,
    mlcc_arena *keep, cuda_modules *out);

// Registers, spills and sizes of every compiled entry function, for the report.
void cuda_target_report(
    const cuda_target *target, const codegen_artifact *artifact, const cuda_modules *modules,
    mlcc_str *out);

#endif
