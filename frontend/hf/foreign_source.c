// The source over the groups that foreign_groups found: parts are viewed and checked when a linear is first asked for, and given back when it is
// released, so that memory holds the parts of few linears at a time.
#include "frontend/hf/foreign_source.h"

#include "frontend/hf/foreign_groups.h"
#include "ir/eval.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// float32 values that are unpacked and decoded at once.
enum { CHUNK_ELEMENTS = 1 << 18 };

// A linear between its first read and its release.
typedef struct open_linear {
    mlcc_arena *arena; // repaired parts, divisors
    hf_quantized quantized;
    const char *plain;     // data of the float weight
    const float *divisors; // [columns]; NULL = none
    float *floats; // the whole weight, for views; rows are decoded when asked for; NULL until then
} open_linear;

typedef struct foreign_source {
    hf_weight_source source; // first, so that the interface casts back
    hf_weight_source *base;
    foreign_groups groups;
    hf_tensor *tensors;
    const hf_tensor **stored; // per tensor: what the base calls it; NULL for a linear of ours
    size_t *linear_of;        // per tensor: index into groups.linears where `stored` is NULL
    open_linear **open;       // per linear; NULL = closed
    mlcc_map *by_name;
    // One chunk: codes, zeros, scales, values.
    void *buffers[4];
    size_t buffer_bytes[4];
} foreign_source;

static foreign_source *source_of(hf_weight_source *source) {
    return (foreign_source *)(void *)source;
}

// ---- one linear --------------------------------------------------------------------------------------------

static mlcc_status *view_whole(hf_weight_source *base, const hf_tensor *tensor, const void **data) {
    return base->read(base, tensor, 0, tensor->size_bytes, NULL, data);
}

static float widen(const void *data, ir_dtype dtype, int64_t index) {
    if (dtype == IR_F32) return ((const float *)data)[index];
    uint16_t bits = ((const uint16_t *)data)[index];
    return dtype == IR_F16 ? ir_f16_to_f32(bits) : ir_bf16_to_f32(bits);
}

static mlcc_status *read_divisors(
    hf_weight_source *base, const foreign_linear *linear, open_linear *open) {
    const void *data = NULL;
    MLCC_TRY(view_whole(base, linear->divisor, &data));
    int64_t columns = linear->quantized.canon.columns;
    float *divisors = MLCC_NEW_ARRAY(open->arena, float, (size_t)columns);
    for (int64_t k = 0; k < columns; k++) {
        divisors[k] = widen(data, linear->divisor->dtype, k);
        if (!isfinite(divisors[k]) || fpclassify(divisors[k]) == FP_ZERO)
            return MLCC_ERROR(
                INVALID,
                "activation scale %lld of '%s' in %s is %g; expected a number to divide by",
                (long long)k, linear->divisor->name, base->description, (double)divisors[k]);
    }
    open->divisors = divisors;
    return NULL;
}

static mlcc_status *fill_open(
    hf_weight_source *base, const foreign_linear *linear, open_linear *open) {
    const void *data = NULL;
    open->quantized = linear->quantized;
    if (linear->divisor != NULL) MLCC_TRY(read_divisors(base, linear, open));
    if (linear->plain != NULL) {
        MLCC_TRY(view_whole(base, linear->plain, &data));
        open->plain = data;
        return NULL;
    }
    hf_quantized *quantized = &open->quantized;
    for (size_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) {
        if (linear->parts[p] == NULL) continue;
        MLCC_TRY(view_whole(base, linear->parts[p], &data));
        quantized->weight.parts[p].data = data;
    }
    const quant_foreign_layout *layout = quantized->weight.layout;
    if (layout->check == NULL) return NULL;
    return mlcc_status_note(
        layout->check(&quantized->weight, &quantized->hints, &quantized->canon, open->arena),
        "reading %s (%s)", base->description, layout->name);
}

static void close_linear(foreign_source *self, size_t index) {
    open_linear *open = self->open[index];
    if (open == NULL) return;
    self->open[index] = NULL;
    free(open->floats);
    mlcc_arena_free(open->arena);
}

static mlcc_status *require_open(foreign_source *self, size_t index, open_linear **out) {
    if (self->open[index] == NULL) {
        mlcc_arena *arena = mlcc_arena_create();
        open_linear *open = MLCC_NEW(arena, open_linear);
        open->arena = arena;
        self->open[index] = open;
        mlcc_status *status = fill_open(self->base, &self->groups.linears[index], open);
        if (status != NULL) {
            close_linear(self, index);
            return status;
        }
    }
    *out = self->open[index];
    return NULL;
}

// ---- values ------------------------------------------------------------------------------------------------

static mlcc_status *reserve(foreign_source *self, size_t index, size_t size_bytes, void **out) {
    if (self->buffer_bytes[index] < size_bytes) {
        free(self->buffers[index]);
        self->buffers[index] = malloc(size_bytes);
        self->buffer_bytes[index] = self->buffers[index] != NULL ? size_bytes : 0;
    }
    *out = self->buffers[index];
    if (*out == NULL && size_bytes > 0)
        return MLCC_ERROR(NO_MEMORY, "no memory for %zu bytes of unpacked weights", size_bytes);
    return NULL;
}

// Rows [first_row, + n_rows) as float32.
static mlcc_status *decode_rows(
    foreign_source *self, const foreign_linear *linear, const open_linear *open, int64_t first_row,
    int64_t n_rows, float *values) {
    const hf_quantized *quantized = &open->quantized;
    const int64_t columns = quantized->canon.columns;
    if (open->plain != NULL) {
        const ir_dtype dtype = linear->plain->dtype;
        for (int64_t i = 0; i < n_rows * columns; i++)
            values[i] = widen(open->plain, dtype, first_row * columns + i);
    } else {
        size_t bytes[3];
        void *buffers[3] = {NULL, NULL, NULL};
        if (!quant_canon_bytes(&quantized->canon, n_rows, &bytes[0], &bytes[1], &bytes[2]))
            return MLCC_ERROR(INVALID, "linear '%s' is too large to unpack", linear->name);
        for (size_t i = 0; i < 3; i++) MLCC_TRY(reserve(self, i, bytes[i], &buffers[i]));
        quant_canon_rows rows = {
            .first_row = first_row,
            .n_rows = n_rows,
            .codes = buffers[0],
            .zeros = buffers[1],
            .scales = buffers[2]};
        quantized->weight.layout->unpack(
            &quantized->weight, &quantized->hints, &quantized->canon, &rows);
        quant_canon_decode(&quantized->canon, &rows, values);
    }
    if (open->divisors == NULL) return NULL;
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t k = 0; k < columns; k++) values[r * columns + k] /= open->divisors[k];
    return NULL;
}

// Any byte range of the float32 weight, a chunk of rows at a time.
static mlcc_status *decode_bytes(
    foreign_source *self, const foreign_linear *linear, const open_linear *open, uint64_t offset,
    uint64_t size_bytes, char *output) {
    const uint64_t row_bytes = (uint64_t)linear->quantized.canon.columns * sizeof(float);
    const int64_t chunk = CHUNK_ELEMENTS / linear->quantized.canon.columns + 1;
    while (size_bytes > 0) {
        const int64_t row = (int64_t)(offset / row_bytes);
        const uint64_t skipped = offset % row_bytes;
        int64_t n_rows = (int64_t)((skipped + size_bytes - 1) / row_bytes) + 1;
        if (n_rows > chunk) n_rows = chunk;
        uint64_t n_bytes = (uint64_t)n_rows * row_bytes - skipped;
        if (n_bytes > size_bytes) n_bytes = size_bytes;
        void *values = NULL;
        MLCC_TRY(reserve(self, 3, (size_t)n_rows * row_bytes, &values));
        MLCC_TRY(decode_rows(self, linear, open, row, n_rows, values));
        memcpy(output, (const char *)values + skipped, n_bytes);
        output += n_bytes;
        offset += n_bytes;
        size_bytes -= n_bytes;
    }
    return NULL;
}

// ---- the interface -----------------------------------------------------------------------------------------

static mlcc_status *foreign_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    foreign_source *self = source_of(source);
    const size_t index = (size_t)(tensor - self->tensors);
    if (self->stored[index] != NULL)
        return self->base->read(self->base, self->stored[index], offset, size_bytes, buffer, view);
    if (view != NULL) *view = NULL;
    if (offset > tensor->size_bytes || size_bytes > tensor->size_bytes - offset)
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu of tensor '%s' lie beyond its %llu",
            (unsigned long long)offset, (unsigned long long)size_bytes, tensor->name,
            (unsigned long long)tensor->size_bytes);
    const foreign_linear *linear = &self->groups.linears[self->linear_of[index]];
    open_linear *open = NULL;
    MLCC_TRY(require_open(self, self->linear_of[index], &open));
    // A view would be all of the weight as float32.
    if (view == NULL || buffer != NULL)
        return decode_bytes(self, linear, open, offset, size_bytes, buffer);
    if (open->floats == NULL) open->floats = malloc(tensor->size_bytes);
    if (open->floats == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "no memory for the %llu bytes of '%s' as float32",
            (unsigned long long)tensor->size_bytes, tensor->name);
    char *place = (char *)open->floats + offset;
    MLCC_TRY(decode_bytes(self, linear, open, offset, size_bytes, place));
    *view = place;
    return NULL;
}

static mlcc_status *foreign_quantized(
    hf_weight_source *source, const hf_tensor *tensor, const hf_quantized **out) {
    foreign_source *self = source_of(source);
    const size_t index = (size_t)(tensor - self->tensors);
    *out = NULL;
    if (self->stored[index] != NULL) return NULL;
    // Divided columns have no codes.
    if (self->groups.linears[self->linear_of[index]].divisor != NULL) return NULL;
    open_linear *open = NULL;
    MLCC_TRY(require_open(self, self->linear_of[index], &open));
    *out = &open->quantized;
    return NULL;
}

static void release_stored(const foreign_source *self, const hf_tensor *stored) {
    if (stored != NULL && self->base->release != NULL) self->base->release(self->base, stored);
}

static void foreign_release(hf_weight_source *source, const hf_tensor *tensor) {
    foreign_source *self = source_of(source);
    const size_t index = (size_t)(tensor - self->tensors);
    if (self->stored[index] != NULL) {
        release_stored(self, self->stored[index]);
        return;
    }
    const foreign_linear *linear = &self->groups.linears[self->linear_of[index]];
    close_linear(self, self->linear_of[index]);
    for (size_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) release_stored(self, linear->parts[p]);
    release_stored(self, linear->plain);
    release_stored(self, linear->divisor);
}

static void foreign_close(hf_weight_source *source) {
    foreign_source *self = source_of(source);
    for (size_t i = 0; i < self->groups.n_linears; i++) close_linear(self, i);
    for (size_t i = 0; i < sizeof self->buffers / sizeof *self->buffers; i++) {
        free(self->buffers[i]);
        self->buffers[i] = NULL;
        self->buffer_bytes[i] = 0;
    }
    mlcc_map_free(self->by_name);
    self->by_name = NULL;
    self->source.by_name = NULL;
    self->source.n_tensors = 0;
    self->groups.n_linears = 0;
    if (self->base != NULL) self->base->close(self->base);
    self->base = NULL;
}

// ---- opening -----------------------------------------------------------------------------------------------

static mlcc_status *list_linear(foreign_source *self, size_t linear_index, mlcc_arena *keep) {
    const foreign_linear *linear = &self->groups.linears[linear_index];
    const quant_canon *canon = &linear->quantized.canon;
    const size_t index = self->source.n_tensors;
    size_t size_bytes = 0;
    if (canon->n_rows < 1 || canon->columns < 1 ||
        !mlcc_size_mul((size_t)canon->n_rows, (size_t)canon->columns, &size_bytes) ||
        !mlcc_size_mul(size_bytes, sizeof(float), &size_bytes) || size_bytes > INT64_MAX)
        return MLCC_ERROR(
            INVALID,
            "linear '%s' in %s has %lld x %lld elements; expected a matrix that fits memory",
            linear->name, self->base->description, (long long)canon->n_rows,
            (long long)canon->columns);
    self->tensors[index] = (hf_tensor){.name = mlcc_arena_printf(keep, "%s.weight", linear->name),
                                       .dtype = IR_F32,
                                       .rank = 2,
                                       .dims = {canon->n_rows, canon->columns},
                                       .size_bytes = size_bytes,
                                       .file = self->base->tensors[linear->first].file};
    self->linear_of[index] = linear_index;
    return NULL;
}

// Base order; a linear stands where its first tensor stood.
static mlcc_status *list_tensors(foreign_source *self, mlcc_arena *keep) {
    const hf_weight_source *base = self->base;
    self->tensors = MLCC_NEW_ARRAY(keep, hf_tensor, base->n_tensors + 1);
    self->stored = MLCC_NEW_ARRAY(keep, const hf_tensor *, base->n_tensors + 1);
    self->linear_of = MLCC_NEW_ARRAY(keep, size_t, base->n_tensors + 1);
    self->source.tensors = self->tensors;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const size_t owner = self->groups.owners[i];
        if (owner == 0) {
            self->tensors[self->source.n_tensors] = base->tensors[i];
            self->stored[self->source.n_tensors] = &base->tensors[i];
        } else if (self->groups.linears[owner - 1].first == i) {
            MLCC_TRY(list_linear(self, owner - 1, keep));
        } else {
            continue;
        }
        const char *name = self->tensors[self->source.n_tensors].name;
        if (!mlcc_map_add_text(self->by_name, name, self->source.n_tensors))
            return MLCC_ERROR(
                INVALID, "linear '%s' in %s is stored twice, in float and quantized; remove one",
                name, base->description);
        self->source.n_tensors++;
    }
    return NULL;
}

static mlcc_status *open_source(
    hf_weight_source *base, const foreign_groups *groups, mlcc_arena *keep,
    hf_weight_source **out) {
    foreign_source *self = MLCC_NEW(keep, foreign_source);
    self->source = (hf_weight_source){.description = base->description,
                                      .read = foreign_read,
                                      .quantized = foreign_quantized,
                                      .release = foreign_release,
                                      .close = foreign_close};
    self->base = base;
    self->groups = *groups;
    self->open = MLCC_NEW_ARRAY(keep, open_linear *, groups->n_linears + 1);
    self->by_name = mlcc_map_create(base->n_tensors);
    self->source.by_name = self->by_name;
    mlcc_status *status = list_tensors(self, keep);
    if (status != NULL) {
        self->base = NULL; // stays the caller's
        foreign_close(&self->source);
        return status;
    }
    *out = &self->source;
    mlcc_log(
        MLCC_LOG_INFO, "weights", "%s: quantized linears: %s", base->description,
        hf_foreign_source_summary(*out, keep));
    return NULL;
}

mlcc_status *hf_foreign_source_open(
    hf_weight_source *base, const hf_quantization_config *config, const char *family,
    mlcc_arena *keep, hf_weight_source **out) {
    static const hf_quantization_config nothing = {0};
    foreign_groups groups;
    *out = NULL;
    if (family != NULL && strcmp(family, "auto") == 0) family = NULL;
    MLCC_TRY(foreign_groups_find(base, config != NULL ? config : &nothing, family, keep, &groups));
    if (groups.n_linears == 0) {
        *out = base;
        return NULL;
    }
    return open_source(base, &groups, keep, out);
}

const char *hf_foreign_source_summary(const hf_weight_source *source, mlcc_arena *keep) {
    if (source->read != foreign_read) return "none";
    const foreign_groups *groups = &((const foreign_source *)(const void *)source)->groups;
    size_t n_layouts = 0, n_plain = 0;
    const quant_foreign_layout *const *layouts = quant_foreign_layouts(&n_layouts);
    mlcc_str text = {0};
    for (size_t i = 0; i <= n_layouts; i++) {
        size_t n = 0;
        for (size_t k = 0; k < groups->n_linears; k++) {
            const quant_foreign_layout *layout = groups->linears[k].quantized.weight.layout;
            if (i < n_layouts)
                n += layout == layouts[i];
            else
                n_plain += layout == NULL;
        }
        if (n > 0)
            mlcc_str_printf(&text, "%s%s x %zu", text.length > 0 ? ", " : "", layouts[i]->name, n);
    }
    if (n_plain > 0) mlcc_str_printf(&text, "%sfloat x %zu", text.length > 0 ? ", " : "", n_plain);
    char *copy = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return copy;
}
