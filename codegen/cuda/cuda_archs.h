// cuda_archs: which GPU architectures a library is compiled for.
#ifndef MLCC_CODEGEN_CUDA_CUDA_ARCHS_H
#define MLCC_CODEGEN_CUDA_CUDA_ARCHS_H

#include "codegen/cuda/nvrtc.h"

typedef struct cuda_arch {
    const char *text; // as NVRTC takes it: "sm_90a", "compute_80"
    int32_t number;   // 80, 86, 90
    bool is_ptx;      // compute_…: text that a driver compiles for any newer device
    bool is_specific; // "a": only devices of exactly this compute capability
} cuda_arch;

// UNSUPPORTED unless `device` is "cuda" or begins with "cuda:"; needs no NVRTC.
mlcc_status *cuda_device_check(const char *device);

// `device`: "cuda", or "cuda:" and a comma separated list of sm_80 … sm_90a and compute_80 …, as in --device. Without a list: what this NVRTC
// supports of sm_80, 86, 87, 89, 90a (90 before NVRTC 12), and PTX for whatever comes after. Sorted by number, PTX last, each once.
// Errors: UNSUPPORTED with the accepted names.
mlcc_status *cuda_archs_parse(
    const char *device, const nvrtc_library *nvrtc, mlcc_arena *keep, cuda_arch **out,
    size_t *n_archs);

#endif
