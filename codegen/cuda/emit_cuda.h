// emit_cuda: one kernel instance as CUDA C text: the translation unit that kernels/kernel.h describes. Pure text work, no NVRTC.
#ifndef MLCC_CODEGEN_CUDA_EMIT_CUDA_H
#define MLCC_CODEGEN_CUDA_EMIT_CUDA_H

#include "codegen/artifact.h"
#include "codegen/cuda/cuda_kernels.h"
#include "runtime/base/str.h"

// `in` of kernel_env: instance->inputs in order; `out`: the group's returns that are not in place; `scratch`: the function's; `dims`: the module's symbols in order.
// Same instance, same bytes. INTERNAL when a kernel needs a hook that the group cannot provide.
mlcc_status *emit_cuda_source(
    const codegen_instance *instance, const cuda_kernel_row *row, mlcc_str *source);

#endif
