#include "frontend/hf/arranged_source.h"

#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>

typedef struct arranged_tensor {
    const hf_arrangement *row; // NULL: passed through
    size_t base;               // index of the base's tensor
    const hf_tensor *scales;   // the base's, of mxfp4 blocks
    char *data;                // while somebody reads it
} arranged_tensor;

typedef struct arranged_source {
    hf_weight_source source; // first
    hf_weight_source *base;
    arranged_tensor *tensors; // as source.tensors
    mlcc_map *by_name;        // of source.tensors
} arranged_source;

static size_t index_of(const arranged_source *self, const hf_tensor *tensor) {
    return (size_t)(tensor - self->source.tensors);
}

// ---- making one -----------------------------------------------------------------------------------------

static mlcc_status *no_memory(const hf_tensor *stored) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was read", stored->name);
}

// A tensor's bytes: a view of them, or *buffer (the caller's to free) where the base has none. NULL: none are needed.
static mlcc_status *read_whole(
    hf_weight_source *base, const hf_tensor *stored, char **buffer, const void **data) {
    if (stored == NULL) return NULL;
    *buffer = malloc(stored->size_bytes + 1);
    if (*buffer == NULL) return no_memory(stored);
    MLCC_TRY(base->read(base, stored, 0, stored->size_bytes, *buffer, data));
    if (*data == NULL) *data = *buffer;
    return NULL;
}

static mlcc_status *make(arranged_source *self, size_t index) {
    arranged_tensor *tensor = &self->tensors[index];
    const hf_tensor *stored = &self->base->tensors[tensor->base];
    if (tensor->data != NULL) return NULL;
    char *buffer = NULL, *scales_buffer = NULL, *whole = NULL;
    const void *data = NULL, *scales = NULL;
    mlcc_status *status = read_whole(self->base, stored, &buffer, &data);
    if (status == NULL) status = read_whole(self->base, tensor->scales, &scales_buffer, &scales);
    if (status == NULL) {
        whole = hf_arrangement_make(tensor->row, stored, data, scales);
        if (whole == NULL) status = no_memory(stored);
    }
    free(buffer);
    free(scales_buffer);
    if (self->base->release != NULL) {
        self->base->release(self->base, stored);
        if (tensor->scales != NULL) self->base->release(self->base, tensor->scales);
    }
    tensor->data = whole;
    return status;
}

// ---- the source -----------------------------------------------------------------------------------------

static mlcc_status *arranged_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    arranged_source *self = (arranged_source *)(void *)source;
    const size_t index = index_of(self, tensor);
    if (self->tensors[index].row == NULL)
        return self->base->read(
            self->base, &self->base->tensors[self->tensors[index].base], offset, size_bytes, buffer,
            view);
    if (offset > tensor->size_bytes || size_bytes > tensor->size_bytes - offset)
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu of '%s' (%llu bytes) cannot be read",
            (unsigned long long)offset, (unsigned long long)size_bytes, tensor->name,
            (unsigned long long)tensor->size_bytes);
    MLCC_TRY(make(self, index));
    const char *data = self->tensors[index].data + offset;
    if (view != NULL)
        *view = data;
    else
        memcpy(buffer, data, size_bytes);
    return NULL;
}

static mlcc_status *arranged_quantized(
    hf_weight_source *source, const hf_tensor *tensor, const hf_quantized **out) {
    arranged_source *self = (arranged_source *)(void *)source;
    const size_t index = index_of(self, tensor);
    *out = NULL;
    if (self->tensors[index].row != NULL) return NULL;
    const hf_tensor *stored = &self->base->tensors[self->tensors[index].base];
    return self->base->quantized(self->base, stored, out);
}

static void arranged_release(hf_weight_source *source, const hf_tensor *tensor) {
    arranged_source *self = (arranged_source *)(void *)source;
    const size_t index = index_of(self, tensor);
    free(self->tensors[index].data);
    self->tensors[index].data = NULL;
    if (self->tensors[index].row == NULL && self->base->release != NULL)
        self->base->release(self->base, &self->base->tensors[self->tensors[index].base]);
}

static void arranged_close(hf_weight_source *source) {
    arranged_source *self = (arranged_source *)(void *)source;
    for (size_t i = 0; i < self->source.n_tensors; i++) free(self->tensors[i].data);
    mlcc_map_free(self->by_name);
    self->base->close(self->base);
}

// ---- opening --------------------------------------------------------------------------------------------

static const hf_tensor *find(const hf_weight_source *base, const hf_arrangement *row) {
    const hf_tensor *tensor = hf_weight_source_find(base, row->name);
    const char *prefix = row->optional_prefix;
    if (tensor != NULL || prefix == NULL || !mlcc_text_starts_with(row->name, prefix))
        return tensor;
    return hf_weight_source_find(base, row->name + strlen(prefix));
}

static const hf_tensor *find_scales(
    const hf_weight_source *base, const hf_tensor *blocks, mlcc_arena *keep) {
    static const char ending[] = "_blocks";
    if (!mlcc_text_ends_with(blocks->name, ending)) return NULL;
    const int length = (int)(strlen(blocks->name) - strlen(ending));
    return hf_weight_source_find(
        base, mlcc_arena_printf(keep, "%.*s_scales", length, blocks->name));
}

static mlcc_status *check_name(const arranged_source *self, const hf_arrangement *row) {
    uint64_t index = 0;
    if (row->as == NULL || !mlcc_map_get_text(self->by_name, row->as, &index)) return NULL;
    return MLCC_ERROR(
        INVALID, "%s holds '%s' beside '%s', which is the same weight; remove one of them",
        self->base->description, row->as, row->name);
}

// The base's tensors and those that are parts of one. Who asks for names finds both.
static void add_tensor(arranged_source *self, hf_tensor *tensors, size_t base, const char *name) {
    const size_t index = self->source.n_tensors++;
    tensors[index] = self->base->tensors[base];
    tensors[index].name = name;
    self->tensors[index].base = base;
    mlcc_map_add_text(self->by_name, name, index);
}

mlcc_status *hf_arranged_source_open(
    hf_weight_source *base, const hf_arrangement *rows, size_t n_rows, mlcc_arena *keep,
    hf_weight_source **out) {
    *out = base;
    arranged_source *self = MLCC_NEW(keep, arranged_source);
    hf_tensor *tensors = MLCC_NEW_ARRAY(keep, hf_tensor, base->n_tensors + n_rows + 1);
    self->tensors = MLCC_NEW_ARRAY(keep, arranged_tensor, base->n_tensors + n_rows + 1);
    self->source = (hf_weight_source){.tensors = tensors};
    self->base = base;
    self->by_name = mlcc_map_create(base->n_tensors + n_rows);
    for (size_t i = 0; i < base->n_tensors; i++)
        add_tensor(self, tensors, i, base->tensors[i].name);
    bool is_any = false;
    mlcc_status *status = NULL;
    for (size_t i = 0; i < n_rows && status == NULL; i++) {
        const hf_tensor *tensor = find(base, &rows[i]);
        if (tensor == NULL || !hf_arrangement_reads(&rows[i], tensor)) continue;
        const hf_tensor *scales =
            hf_arrangement_has_scales(&rows[i]) ? find_scales(base, tensor, keep) : NULL;
        status = hf_arrangement_check(&rows[i], tensor, scales, base->description);
        if (status == NULL) status = check_name(self, &rows[i]);
        if (status != NULL) break;
        size_t index = (size_t)(tensor - base->tensors);
        if (rows[i].as != NULL) {
            add_tensor(self, tensors, index, rows[i].as);
            index = self->source.n_tensors - 1;
        }
        self->tensors[index].row = &rows[i];
        self->tensors[index].scales = scales;
        hf_arrangement_describe(&rows[i], &tensors[index]);
        is_any = true;
    }
    if (status != NULL || !is_any) {
        mlcc_map_free(self->by_name);
        return status;
    }
    self->source.description = base->description;
    self->source.by_name = self->by_name;
    self->source.read = arranged_read;
    self->source.quantized = base->quantized != NULL ? arranged_quantized : NULL;
    self->source.release = arranged_release;
    self->source.close = arranged_close;
    *out = &self->source;
    return NULL;
}
