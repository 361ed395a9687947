// library: opens a lib.so and proves that this runtime may read it.
//
// Order of checks: the ELF header is read from the file before the dynamic loader sees it (machine,
// completeness), then the loader runs, then the query symbol, magic, ABI version and structure
// size, then every table entry that the runtime will follow. mlcc_library_check_cpu is separate, so
// that `inspect` can look at a library made for another machine's features.
// Everything a library shows (names, metadata) ends with mlcc_library_close.
#ifndef MLCC_RUNTIME_MODEL_LIBRARY_H
#define MLCC_RUNTIME_MODEL_LIBRARY_H

#include "runtime/abi.h"
#include "runtime/base/status.h"

typedef struct mlcc_library {
    void *handle;
    const mlcc_abi_model *abi;
} mlcc_library;

// INVALID: not a library of mlcc, or a damaged one.
// MISMATCH: another machine, ABI version or structure size.
mlcc_status *mlcc_library_open(const char *path, mlcc_library *out);
// MISMATCH names the missing CPU features and the target that the library was compiled for.
mlcc_status *mlcc_library_check_cpu(const mlcc_library *library);
// The part of mlcc_library_open that looks at abi->cuda, which is there.
mlcc_status *mlcc_library_check_cuda(const mlcc_abi_model *abi);
// An all-zero library is fine.
void mlcc_library_close(mlcc_library *library);

// Bytes of one element of an enum mlcc_abi_dtype; 0 for any other number.
size_t mlcc_abi_dtype_bytes(uint32_t dtype);
// "float32", as tensor-cache.json spells it; "unknown" for any other number.
const char *mlcc_abi_dtype_text(uint32_t dtype);

#endif
