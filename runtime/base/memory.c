#include "runtime/base/memory.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void mlcc_memory_stop(size_t wanted_bytes) {
    mlcc_writer_remove_all_temporaries();
    if (wanted_bytes == SIZE_MAX) {
        fputs("error: out of memory: a size does not fit this machine's address space\n", stderr);
    } else {
        fprintf(stderr, "error: out of memory: %zu more bytes were needed\n", wanted_bytes);
    }
    fflush(stderr);
    _Exit(1);
}

void *mlcc_memory_get(size_t count, size_t element_bytes) {
    return mlcc_memory_resize(NULL, count, element_bytes);
}

void *mlcc_memory_resize(void *old, size_t count, size_t element_bytes) {
    size_t size_bytes;
    if (!mlcc_size_mul(count, element_bytes, &size_bytes)) mlcc_memory_stop(SIZE_MAX);
    void *data = realloc(old, size_bytes != 0 ? size_bytes : 1);
    if (data == NULL) mlcc_memory_stop(size_bytes);
    return data;
}
