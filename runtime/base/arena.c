// A chunked bump allocator. Chunks double in size, so an arena makes few system calls and wastes at
// most half.
#include "runtime/base/arena.h"

#include "runtime/base/memory.h"
#include "runtime/base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define ARENA_SANITIZED 1
#    endif
#elif defined(__SANITIZE_ADDRESS__)
#    define ARENA_SANITIZED 1
#endif
#ifdef ARENA_SANITIZED
#    include <sanitizer/asan_interface.h>
#else
#    define ARENA_SANITIZED                         0
#    define ASAN_POISON_MEMORY_REGION(data, size)   ((void)(data), (void)(size))
#    define ASAN_UNPOISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#endif

enum {
    ARENA_ALIGNMENT = 16,
    ARENA_FIRST_CHUNK = 64 * 1024,
    ARENA_LARGEST_CHUNK = 8 * 1024 * 1024,
    // Unaddressable bytes after each object, so that the sanitizer sees one that is overrun by a
    // little.
    ARENA_RED_ZONE = ARENA_SANITIZED ? 16 : 0,
};

typedef struct arena_chunk {
    struct arena_chunk *previous;
    size_t size_bytes;  // of data
    size_t used_bytes;  // of data
    size_t dirty_bytes; // data beyond this was never handed out and is still zero from calloc
    _Alignas(ARENA_ALIGNMENT) unsigned char data[];
} arena_chunk;

struct mlcc_arena {
    arena_chunk *newest; // the only one that still serves requests
    size_t used_bytes;
    size_t next_chunk_bytes;
};

mlcc_arena *mlcc_arena_create(void) {
    mlcc_arena *arena = mlcc_memory_get(1, sizeof *arena);
    *arena = (mlcc_arena){.next_chunk_bytes = ARENA_FIRST_CHUNK};
    return arena;
}

static void chunk_free(arena_chunk *chunk) {
    ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size_bytes);
    free(chunk);
}

void mlcc_arena_free(mlcc_arena *arena) {
    if (arena == NULL) return;
    for (arena_chunk *chunk = arena->newest; chunk != NULL;) {
        arena_chunk *previous = chunk->previous;
        chunk_free(chunk);
        chunk = previous;
    }
    free(arena);
}

void mlcc_arena_reset(mlcc_arena *arena) {
    arena->used_bytes = 0;
    arena_chunk *kept = arena->newest;
    if (kept == NULL) return;
    // The newest chunk is usually the largest: keeping it makes a loop of fill and reset
    // allocation-free.
    for (arena_chunk *chunk = kept->previous; chunk != NULL;) {
        arena_chunk *previous = chunk->previous;
        chunk_free(chunk);
        chunk = previous;
    }
    kept->previous = NULL;
    kept->used_bytes = 0;
    ASAN_POISON_MEMORY_REGION(kept->data, kept->size_bytes);
}

size_t mlcc_arena_used_bytes(const mlcc_arena *arena) {
    return arena->used_bytes;
}

// An object from `chunk`, or NULL when it does not fit.
static void *chunk_take(arena_chunk *chunk, size_t size_bytes, size_t alignment) {
    uintptr_t base = (uintptr_t)chunk->data;
    uintptr_t start = (base + chunk->used_bytes + alignment - 1) & ~(uintptr_t)(alignment - 1);
    size_t offset = (size_t)(start - base);
    if (offset > chunk->size_bytes || size_bytes > chunk->size_bytes - offset) return NULL;
    size_t end = offset + size_bytes;
    unsigned char *object = chunk->data + offset;
    ASAN_UNPOISON_MEMORY_REGION(object, size_bytes);
    if (offset < chunk->dirty_bytes) {
        size_t dirty_end = end < chunk->dirty_bytes ? end : chunk->dirty_bytes;
        memset(object, 0, dirty_end - offset);
    }
    if (end > chunk->dirty_bytes) chunk->dirty_bytes = end;
    chunk->used_bytes = end + ARENA_RED_ZONE;
    if (chunk->used_bytes > chunk->size_bytes) chunk->used_bytes = chunk->size_bytes;
    return object;
}

static void *try_alloc(mlcc_arena *arena, size_t size_bytes, size_t alignment) {
    if (alignment < ARENA_ALIGNMENT) alignment = ARENA_ALIGNMENT;
    // Every object has its own address and starts a new 16-byte unit, also one of size 0.
    size_t taken;
    if (!mlcc_size_add(size_bytes, size_bytes == 0 ? 1 : 0, &taken)) return NULL;
    void *object = arena->newest != NULL ? chunk_take(arena->newest, taken, alignment) : NULL;
    if (object == NULL) {
        size_t wanted;
        if (!mlcc_size_add(taken, alignment + ARENA_RED_ZONE, &wanted)) return NULL;
        size_t chunk_bytes = wanted > arena->next_chunk_bytes ? wanted : arena->next_chunk_bytes;
        size_t total_bytes;
        if (!mlcc_size_add(chunk_bytes, sizeof(arena_chunk), &total_bytes)) return NULL;
        arena_chunk *chunk = calloc(1, total_bytes);
        if (chunk == NULL) return NULL;
        chunk->size_bytes = chunk_bytes;
        chunk->previous = arena->newest;
        arena->newest = chunk;
        if (arena->next_chunk_bytes < ARENA_LARGEST_CHUNK) arena->next_chunk_bytes *= 2;
        ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size_bytes);
        object = chunk_take(chunk, taken, alignment);
    }
    arena->used_bytes += size_bytes;
    return object;
}

void *mlcc_arena_alloc(mlcc_arena *arena, size_t size_bytes) {
    return mlcc_arena_alloc_aligned(arena, size_bytes, ARENA_ALIGNMENT);
}

void *mlcc_arena_alloc_aligned(mlcc_arena *arena, size_t size_bytes, size_t alignment) {
    void *object = try_alloc(arena, size_bytes, alignment);
    if (object == NULL) mlcc_memory_stop(size_bytes);
    return object;
}

void *mlcc_arena_try_alloc(mlcc_arena *arena, size_t size_bytes) {
    return try_alloc(arena, size_bytes, ARENA_ALIGNMENT);
}

void *mlcc_arena_alloc_array(mlcc_arena *arena, size_t count, size_t element_bytes) {
    size_t size_bytes;
    if (!mlcc_size_mul(count, element_bytes, &size_bytes)) mlcc_memory_stop(SIZE_MAX);
    return mlcc_arena_alloc(arena, size_bytes);
}

char *mlcc_arena_strdup(mlcc_arena *arena, const char *text) {
    return mlcc_arena_memdup(arena, text, strlen(text) + 1);
}

char *mlcc_arena_strndup(mlcc_arena *arena, const char *text, size_t length) {
    length = strnlen(text, length);
    char *copy = mlcc_arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *mlcc_arena_printf(mlcc_arena *arena, const char *format, ...) {
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = mlcc_arena_alloc(arena, length > 0 ? (size_t)length + 1 : 1);
    if (length > 0) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void *mlcc_arena_memdup(mlcc_arena *arena, const void *data, size_t size_bytes) {
    void *copy = mlcc_arena_alloc(arena, size_bytes);
    if (size_bytes != 0) memcpy(copy, data, size_bytes);
    return copy;
}

void *mlcc_arena_grow(
    mlcc_arena *arena, void *items, size_t n_items, size_t *capacity, size_t element_bytes) {
    if (n_items < *capacity) return items;
    size_t larger;
    if (!mlcc_size_mul(*capacity, 2, &larger)) mlcc_memory_stop(SIZE_MAX);
    if (larger < 8) larger = 8;
    void *grown = mlcc_arena_alloc_array(arena, larger, element_bytes);
    if (n_items != 0) memcpy(grown, items, n_items * element_bytes);
    *capacity = larger;
    return grown;
}
