#include "frontend/hf/weight_source.h"

#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>

const hf_tensor *hf_weight_source_find(const hf_weight_source *source, const char *name) {
    if (source->by_name != NULL) {
        uint64_t index;
        return mlcc_map_get_text(source->by_name, name, &index) ? &source->tensors[index] : NULL;
    }
    for (size_t i = 0; i < source->n_tensors; i++)
        if (strcmp(source->tensors[i].name, name) == 0) return &source->tensors[i];
    return NULL;
}

static mlcc_status *missing(const hf_weight_source *source, const char *name) {
    const char **names = calloc(source->n_tensors + 1, sizeof *names);
    if (names == NULL) return MLCC_ERROR(NO_MEMORY, "no memory to look for tensor '%s'", name);
    for (size_t i = 0; i < source->n_tensors; i++) names[i] = source->tensors[i].name;
    const char *nearest = mlcc_text_nearest(name, names, source->n_tensors);
    mlcc_status *status =
        nearest != NULL ? MLCC_ERROR(
                              INVALID, "%s has no tensor '%s' among its %zu; the nearest is '%s'",
                              source->description, name, source->n_tensors, nearest)
                        : MLCC_ERROR(
                              INVALID, "%s has no tensor '%s' among its %zu", source->description,
                              name, source->n_tensors);
    free(names);
    return status;
}

mlcc_status *hf_weight_source_require(
    const hf_weight_source *source, const char *name, const hf_tensor **out) {
    *out = NULL;
    const hf_tensor *tensor = hf_weight_source_find(source, name);
    if (tensor == NULL) return missing(source, name);
    if (tensor->dtype >= IR_N_DTYPES)
        return MLCC_ERROR(
            UNSUPPORTED, "tensor '%s' in %s has dtype %s; accepted are " HF_READABLE_DTYPES, name,
            source->description, tensor->dtype_text != NULL ? tensor->dtype_text : "unknown");
    *out = tensor;
    return NULL;
}
