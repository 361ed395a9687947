// host_memory: large blocks of zeroed memory for weights, caches and workspaces.
//
// A block starts at a multiple of 64 bytes. Large ones come straight from the kernel, aligned for
// huge pages, which the kernel is asked for; their pages cost nothing until they are touched, so a
// KV cache may be planned for a long context and stay small. Small ones come from the heap, where
// the address sanitizer sees overruns.
// Thread rule: a block belongs to one owner; its memory may be used by many threads.
#ifndef MLCC_RUNTIME_DEVICE_HOST_MEMORY_H
#define MLCC_RUNTIME_DEVICE_HOST_MEMORY_H

#include "runtime/base/status.h"

#include <stddef.h>

typedef struct mlcc_block {
    void *data;
    size_t size_bytes;
    size_t mapped_bytes; // from mmap; 0 = from the heap
} mlcc_block;

// `what` names the block in the NO_MEMORY message ("the KV cache"). 0 bytes give a small block.
mlcc_status *mlcc_block_alloc(size_t size_bytes, const char *what, mlcc_block *out);
// Ends a block and clears it; an all-zero block is fine.
void mlcc_block_free(mlcc_block *block);

#endif
