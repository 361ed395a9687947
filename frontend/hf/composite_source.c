#include "frontend/hf/composite_source.h"

#include "runtime/base/str.h"

#include <string.h>

// What a name may begin with, and what stands for it in the language model; NULL: the tensor is of another part.
static const struct {
    const char *prefix, *replacement;
} prefixes[] = {
    {"language_model.", ""},
    {"model.language_model.", "model."},
    {"vision_tower.", NULL},
    {"model.vision_tower.", NULL},
    {"vision_model.", NULL},
    {"model.vision_model.", NULL},
    {"multi_modal_projector.", NULL},
    {"model.multi_modal_projector.", NULL},
    {"mm_projector.", NULL},
    {"model.mm_projector.", NULL},
    {"image_newline", NULL},
    {"model.image_newline", NULL},
    {"model.vision_embed_tokens.", NULL},
};
enum { N_PREFIXES = sizeof prefixes / sizeof prefixes[0] };

// N_PREFIXES: it has none.
static size_t prefix_of(const char *name) {
    size_t row = 0;
    while (row < N_PREFIXES && !mlcc_text_starts_with(name, prefixes[row].prefix)) row++;
    return row;
}

typedef struct composite_source {
    hf_weight_source source;
    hf_weight_source *base;
    const hf_tensor **tensors; // the base's, of each of this one's
    mlcc_map *by_name;
} composite_source;

static const hf_tensor *base_tensor(const composite_source *self, const hf_tensor *tensor) {
    return self->tensors[tensor - self->source.tensors];
}

static mlcc_status *composite_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    composite_source *self = (composite_source *)(void *)source;
    return self->base->read(
        self->base, base_tensor(self, tensor), offset, size_bytes, buffer, view);
}

static mlcc_status *composite_quantized(
    hf_weight_source *source, const hf_tensor *tensor, const hf_quantized **out) {
    composite_source *self = (composite_source *)(void *)source;
    return self->base->quantized(self->base, base_tensor(self, tensor), out);
}

static void composite_release(hf_weight_source *source, const hf_tensor *tensor) {
    composite_source *self = (composite_source *)(void *)source;
    self->base->release(self->base, base_tensor(self, tensor));
}

static void composite_close(hf_weight_source *source) {
    composite_source *self = (composite_source *)(void *)source;
    mlcc_map_free(self->by_name);
    self->base->close(self->base);
}

static bool is_composite(const hf_weight_source *base) {
    for (size_t i = 0; i < base->n_tensors; i++)
        if (prefix_of(base->tensors[i].name) < N_PREFIXES) return true;
    return false;
}

static mlcc_status *add_tensors(composite_source *self, hf_tensor *tensors, mlcc_arena *keep) {
    const hf_weight_source *base = self->base;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const hf_tensor *from = &base->tensors[i];
        const size_t row = prefix_of(from->name), index = self->source.n_tensors;
        const char *name = from->name;
        uint64_t taken = 0;
        if (row < N_PREFIXES) {
            if (prefixes[row].replacement == NULL) continue;
            name = mlcc_arena_printf(
                keep, "%s%s", prefixes[row].replacement, from->name + strlen(prefixes[row].prefix));
        }
        if (mlcc_map_get_text(self->by_name, name, &taken))
            return MLCC_ERROR(
                INVALID, "%s holds '%s' and '%s', which are the same weight; remove one of them",
                base->description, self->tensors[taken]->name, from->name);
        tensors[index] = *from;
        tensors[index].name = name;
        self->tensors[index] = from;
        mlcc_map_add_text(self->by_name, name, index);
        self->source.n_tensors++;
    }
    return NULL;
}

mlcc_status *hf_composite_source_open(
    hf_weight_source *base, mlcc_arena *keep, hf_weight_source **out) {
    *out = base;
    if (!is_composite(base)) return NULL;
    composite_source *self = MLCC_NEW(keep, composite_source);
    hf_tensor *tensors = MLCC_NEW_ARRAY(keep, hf_tensor, base->n_tensors);
    self->base = base;
    self->tensors = MLCC_NEW_ARRAY(keep, const hf_tensor *, base->n_tensors);
    self->by_name = mlcc_map_create(base->n_tensors);
    self->source =
        (hf_weight_source){.tensors = tensors,
                           .description = base->description,
                           .read = composite_read,
                           .quantized = base->quantized != NULL ? composite_quantized : NULL,
                           .release = base->release != NULL ? composite_release : NULL,
                           .close = composite_close,
                           .by_name = self->by_name};
    mlcc_status *status = add_tensors(self, tensors, keep);
    if (status != NULL) {
        mlcc_map_free(self->by_name);
        return status;
    }
    *out = &self->source;
    return NULL;
}
