// nvrtc: the only door to NVRTC, opened at run time (11.8 to 13.x); its dozen prototypes are declared by hand, no toolkit header is needed.
//
// Search: $MLCC_NVRTC_PATH (a file or a folder), libnvrtc.so.13, .12, .11.2, libnvrtc.so, then /usr/local/cuda*/lib64. The versioned builtins
// library is found by NVRTC beside itself.
// Thread rule: compile from any number of threads.
#ifndef MLCC_CODEGEN_CUDA_NVRTC_H
#define MLCC_CODEGEN_CUDA_NVRTC_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nvrtc_library nvrtc_library;

// UNSUPPORTED when no NVRTC can be opened: the message lists where it was looked for and how to get it.
mlcc_status *nvrtc_open(nvrtc_library **out);
void nvrtc_close(nvrtc_library *library); // NULL is fine
void nvrtc_version(const nvrtc_library *library, int *major, int *minor);
// Architectures that this NVRTC can compile for: 75, 80, …
const int *nvrtc_archs(const nvrtc_library *library, size_t *n_archs);

// Options of every compilation besides the architecture. Products and sums may be fused.
#define NVRTC_OPTIONS {"--std=c++17", "--fmad=true", "--ptxas-options=-v"}

typedef struct nvrtc_output {
    void *cubin; // malloc'ed; NULL for "compute_XX"
    size_t cubin_bytes;
    char *ptx; // malloc'ed, NUL-terminated
    char *log; // malloc'ed: registers and spills (--ptxas-options=-v)
} nvrtc_output;

// `arch`: "sm_80", "sm_90a", "compute_80". INTERNAL with the whole log when the source does not compile: our bug. *out must be freed either way.
mlcc_status *nvrtc_compile(
    const nvrtc_library *library, const char *name, const char *source, const char *arch,
    nvrtc_output *out);
void nvrtc_output_free(nvrtc_output *output);

#endif
