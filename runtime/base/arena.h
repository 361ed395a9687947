// arena: memory that lives and dies together. A parameter called `keep` or `scratch` says how long a result lives.
//
// Objects are never freed one by one; mlcc_arena_free (or _reset) ends all of them. Two regimes: the compiler's
// arenas stop the program with a message when host memory ends (mlcc_arena_alloc never returns NULL); the runtime,
// a guest in another process, uses mlcc_arena_try_alloc and reports NO_MEMORY.
// Memory is zeroed, aligned to 64 bytes on request and to 16 by default, and poisoned when unused under the address sanitizer.
// Thread rule: one thread at a time.
#ifndef MLCC_RUNTIME_BASE_ARENA_H
#define MLCC_RUNTIME_BASE_ARENA_H

#include <stddef.h>

typedef struct mlcc_arena mlcc_arena;

mlcc_arena *mlcc_arena_create(void); // stops the program when memory ends
void mlcc_arena_free(mlcc_arena *arena);
void mlcc_arena_reset(mlcc_arena *arena); // all objects end, the arena can be used again
size_t mlcc_arena_used_bytes(const mlcc_arena *arena);

void *mlcc_arena_alloc(mlcc_arena *arena, size_t size_bytes); // zeroed, 16-byte aligned
void *mlcc_arena_alloc_aligned(mlcc_arena *arena, size_t size_bytes, size_t alignment);
void *mlcc_arena_try_alloc(mlcc_arena *arena, size_t size_bytes); // NULL when memory ends
// Room for `count` elements; a product that overflows stops the program like exhausted memory does.
void *mlcc_arena_alloc_array(mlcc_arena *arena, size_t count, size_t element_bytes);
char *mlcc_arena_strdup(mlcc_arena *arena, const char *text);
char *mlcc_arena_strndup(mlcc_arena *arena, const char *text, size_t length);
char *mlcc_arena_printf(mlcc_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *mlcc_arena_memdup(mlcc_arena *arena, const void *data, size_t size_bytes);

// Typed conveniences.
#define MLCC_NEW(arena, type) ((type *)mlcc_arena_alloc((arena), sizeof(type)))
#define MLCC_NEW_ARRAY(arena, type, count) \
    ((type *)mlcc_arena_alloc_array((arena), (count), sizeof(type)))

// Grows a `type *items; size_t n, capacity` triple that lives in an arena so that one more item fits.
#define MLCC_ARENA_GROW(arena, items, n, capacity) \
    ((items) = mlcc_arena_grow((arena), (items), (n), &(capacity), sizeof *(items)))
void *mlcc_arena_grow(
    mlcc_arena *arena, void *items, size_t n_items, size_t *capacity, size_t element_bytes);

#endif
