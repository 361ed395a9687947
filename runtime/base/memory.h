// memory: host memory for the containers of this room, which stop the program when it ends.
//
// Private to runtime/base. The compiler and the commands cannot go on without memory, so a check
// after every append would only be noise; code that must survive uses mlcc_arena_try_alloc or
// malloc and reports NO_MEMORY.
#ifndef MLCC_RUNTIME_BASE_MEMORY_H
#define MLCC_RUNTIME_BASE_MEMORY_H

#include <stddef.h>

// Says on stderr how much was wanted, removes this process's temporaries and ends it. The one
// exception to "only dist/cli prints": there is no memory left to carry a status upwards.
_Noreturn void mlcc_memory_stop(size_t wanted_bytes);

// malloc and realloc of `count` elements that never return NULL; an overflowing product stops like
// exhausted memory.
void *mlcc_memory_get(size_t count, size_t element_bytes);
void *mlcc_memory_resize(void *old, size_t count, size_t element_bytes);

#endif
