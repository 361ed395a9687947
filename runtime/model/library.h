// library: opens a lib.so and proves that this runtime may read it.
//
// Order of checks: the ELF header is read from the file before the dynamic loader sees it (machine,
// completeness), then the loader runs, then the query symbol, magic, ABI version and structure
// size, then every table entry that the runtime will follow. mlcc_library_check_cpu is separate, so
// that `inspect` can look at a library made for another machine's features.
//
// A library with several CPU levels is its chosen level: the last one whose features this machine
// has, or the one that $MLCC_CPU_LEVEL names. Where none can be chosen it is the first, which
// mlcc_library_check_cpu then refuses.
// Everything a library shows (names, metadata) ends with mlcc_library_close.
#ifndef MLCC_RUNTIME_MODEL_LIBRARY_H
#define MLCC_RUNTIME_MODEL_LIBRARY_H

#include "runtime/abi.h"
#include "runtime/base/status.h"
#include "runtime/base/str.h"

typedef struct mlcc_library {
    void *handle;
    const mlcc_abi_model *abi; // the chosen level
    const mlcc_abi_model *levels[MLCC_ABI_MAX_LEVELS];
    uint32_t n_levels; // at least 1
} mlcc_library;

// INVALID: not a library of mlcc, or a damaged one.
// MISMATCH: another machine, ABI version or structure size.
mlcc_status *mlcc_library_open(const char *path, mlcc_library *out);
// MISMATCH names the missing CPU features of every level and the target that it was compiled for.
mlcc_status *mlcc_library_check_cpu(const mlcc_library *library);
// Appends the targets of all levels: "x86-64-v3, x86-64-v4".
void mlcc_library_level_names(const mlcc_library *library, mlcc_str *out);
// Parts of mlcc_library_open: the tables of one level; abi->cuda, which is there; the levels of a
// library whose handle and first level are known.
mlcc_status *mlcc_library_check_tables(const mlcc_abi_model *abi);
mlcc_status *mlcc_library_check_cuda(const mlcc_abi_model *abi);
mlcc_status *mlcc_library_read_levels(mlcc_library *library);
// An all-zero library is fine.
void mlcc_library_close(mlcc_library *library);

// Bytes of one element of an enum mlcc_abi_dtype; 0 for any other number.
size_t mlcc_abi_dtype_bytes(uint32_t dtype);
// "float32", as tensor-cache.json spells it; "unknown" for any other number.
const char *mlcc_abi_dtype_text(uint32_t dtype);

#endif
