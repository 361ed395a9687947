#include "runtime/device/host_memory.h"

#include "runtime/base/str.h"
#include "runtime/base/topology.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

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

void mlcc_block_spread(const mlcc_block *block) {
    if (block->mapped_bytes > 0) mlcc_memory_interleave(block->data, block->mapped_bytes);
}

void mlcc_block_free(mlcc_block *block) {
    if (block->mapped_bytes > 0) {
        munmap(block->data, block->mapped_bytes);
    } else {
        free(block->data);
    }
    *block = (mlcc_block){0};
}

// ---- huge pages

static bool is_chosen(const char *text, const char *word) {
    const char *bracket = strchr(text, '[');
    size_t length = strlen(word);
    return bracket != NULL && strncmp(bracket + 1, word, length) == 0 && bracket[1 + length] == ']';
}

bool mlcc_huge_pages_granted_by(const char *machine, const char *of_this_size) {
    // Kernels since 6.8 have a switch for every size, which may refer to the one for all.
    const char *text =
        of_this_size[0] == '\0' || is_chosen(of_this_size, "inherit") ? machine : of_this_size;
    return is_chosen(text, "madvise") || is_chosen(text, "always");
}

static const char *read_switch(const char *path, char *text, size_t capacity) {
    text[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL) return text;
    if (fgets(text, (int)capacity, file) == NULL) text[0] = '\0';
    fclose(file);
    return text;
}

bool mlcc_huge_pages_granted(void) {
    char machine[128], of_this_size[128];
    if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) return false;
    return mlcc_huge_pages_granted_by(
        read_switch("/sys/kernel/mm/transparent_hugepage/enabled", machine, sizeof machine),
        read_switch(
            "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled", of_this_size,
            sizeof of_this_size));
}
