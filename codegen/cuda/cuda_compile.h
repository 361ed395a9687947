// cuda_compile: translation units times architectures through NVRTC, on all cores, and only what no earlier compilation has left in the cache.
//
// The cache is the folder `nvrtc` of mlcc's cache directory; an entry's name is the XXH3-128 of source, options, architecture and NVRTC version, so a
// hit is what NVRTC would answer. Entries are written atomically and checked when read; a cache that cannot be written costs time, nothing else.
#ifndef MLCC_CODEGEN_CUDA_CUDA_COMPILE_H
#define MLCC_CODEGEN_CUDA_CUDA_COMPILE_H

#include "codegen/cuda/cuda_archs.h"

// One unit for one architecture.
typedef struct cuda_image {
    const cuda_arch *arch;
    const void *data; // cubin, or for PTX the text with its NUL
    size_t size_bytes;
    const char *ptx; // what the cubin was made of
    const char *log; // of NVRTC and ptxas; "" when they said nothing
    bool is_from_cache;
} cuda_image;

typedef struct cuda_unit {
    const char *name;        // for messages: "linear_tile16__sm80"
    const char *source;      // from emit_cuda
    const cuda_arch **archs; // what it is compiled for
    size_t n_archs;
    cuda_image *images; // one per architecture, in their order: filled by cuda_compile
} cuda_unit;

typedef struct cuda_compile_options {
    const char *cache_directory; // NULL: no cache
    int32_t n_threads;           // 0: all cores
} cuda_compile_options;

// Fills the images of all units, each for its own architectures; memory lives in `keep`. Same input, same bytes, whatever the number of threads.
// Errors: INTERNAL with NVRTC's whole log for the first unit that does not compile.
mlcc_status *cuda_compile(
    const nvrtc_library *nvrtc, const cuda_compile_options *options, cuda_unit *units,
    size_t n_units, mlcc_arena *keep);

// What ptxas reports of one entry function.
typedef struct cuda_usage {
    int32_t registers;
    int32_t stack_bytes;
    int32_t spill_store_bytes, spill_load_bytes;
} cuda_usage;

// Reads an image's log; false when it does not mention the entry function.
bool cuda_log_usage(const char *log, const char *entry, cuda_usage *usage);

#endif
