#include "codegen/cuda/cuda_sources.h"

#include "codegen/cuda/cuda_kernels.h"

#include <string.h>

const char *cuda_source_find(const char *name) {
    for (const cuda_source *row = cuda_source_table; row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) return row->text;
    }
    return NULL;
}
