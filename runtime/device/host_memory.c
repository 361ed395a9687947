#include "runtime/device/host_memory.h"

#include "runtime/base/str.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK_ALIGNMENT = 64, MAPPED_FROM_BYTES = 1 << 20, HUGE_PAGE_BYTES = 2 << 20 };

static mlcc_status *no_memory(size_t size_bytes, const char *what) {
    return MLCC_ERROR(
        NO_MEMORY, "%zu bytes (%.1f MiB) for %s cannot be had", size_bytes,
        (double)size_bytes / 1048576.0, what);
}

static mlcc_status *map_block(size_t size_bytes, const char *what, mlcc_block *out) {
    // One huge page more than needed: the surplus before and after the aligned part is given back.
    size_t rounded = 0, reserved = 0;
    if (!mlcc_size_add(size_bytes, HUGE_PAGE_BYTES - 1, &rounded)) {
        return no_memory(size_bytes, what);
    }
    rounded -= rounded % HUGE_PAGE_BYTES;
    if (!mlcc_size_add(rounded, HUGE_PAGE_BYTES, &reserved)) return no_memory(size_bytes, what);
    char *base = mmap(
        NULL, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return no_memory(size_bytes, what);
    size_t before = (HUGE_PAGE_BYTES - (uintptr_t)base % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    if (before > 0) munmap(base, before);
    munmap(base + before + rounded, reserved - before - rounded);
    // Only a wish: kernels without transparent huge pages refuse it and nothing is lost.
    (void)madvise(base + before, rounded, MADV_HUGEPAGE);
    *out = (mlcc_block){.data = base + before, .size_bytes = size_bytes, .mapped_bytes = rounded};
    return NULL;
}

mlcc_status *mlcc_block_alloc(size_t size_bytes, const char *what, mlcc_block *out) {
    *out = (mlcc_block){0};
    if (size_bytes >= MAPPED_FROM_BYTES) return map_block(size_bytes, what, out);
    size_t rounded = (size_bytes + BLOCK_ALIGNMENT) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
    void *data = aligned_alloc(BLOCK_ALIGNMENT, rounded);
    if (data == NULL) return no_memory(size_bytes, what);
    memset(data, 0, rounded);
    *out = (mlcc_block){.data = data, .size_bytes = size_bytes};
    return NULL;
}

void mlcc_block_free(mlcc_block *block) {
    if (block->mapped_bytes > 0) {
        munmap(block->data, block->mapped_bytes);
    } else {
        free(block->data);
    }
    *block = (mlcc_block){0};
}
