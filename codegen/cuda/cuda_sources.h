// cuda_sources: the texts of codegen/cuda/kernels, embedded when mlcc is built.
#ifndef MLCC_CODEGEN_CUDA_CUDA_SOURCES_H
#define MLCC_CODEGEN_CUDA_CUDA_SOURCES_H

typedef struct cuda_source {
    const char *name; // "device.h", "rms_norm.cu"; NULL ends the table
    const char *text; // NUL-terminated
} cuda_source;

// Written by kernels.cmake, sorted by name.
extern const cuda_source cuda_source_table[];

#endif
