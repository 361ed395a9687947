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

#include <stdbool.h>
#include <stddef.h>

typedef struct mlcc_block {
    void *data;
    size_t size_bytes;
    size_t mapped_bytes; // from mmap; 0 = from the heap
} mlcc_block;

// `what` names the block in the NO_MEMORY message ("the KV cache"). 0 bytes give a small block.
mlcc_status *mlcc_block_alloc(size_t size_bytes, const char *what, mlcc_block *out);
// Spreads a block that was not touched yet over the memory nodes of the process's processors
// (runtime/base/topology.h): for what all threads read. Small blocks stay as they are.
void mlcc_block_spread(const mlcc_block *block);
// Ends a block and clears it; an all-zero block is fine.
void mlcc_block_free(mlcc_block *block);

// The system gives large blocks huge pages: transparent ones of 2 MiB are not switched off, neither
// for the machine nor for this process.
bool mlcc_huge_pages_granted(void);
// The same from the texts of /sys/kernel/mm/transparent_hugepage/enabled and of hugepages-2048kB/enabled
// below it ("" where a kernel has none), the chosen word in brackets: "always [madvise] never".
bool mlcc_huge_pages_granted_by(const char *machine, const char *of_this_size);

#endif
