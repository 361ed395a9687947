#include "frontend/hf/arranged_source.h"

#include "quantization/formats/plain.h"
#include "runtime/base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct arranged_tensor {
    const hf_arrangement *row; // NULL: passed through
    char *data;                // while somebody reads it
} arranged_tensor;

typedef struct arranged_source {
    hf_weight_source source; // first
    hf_weight_source *base;
    arranged_tensor *tensors; // as source.tensors
} arranged_source;

static size_t index_of(const arranged_source *self, const hf_tensor *tensor) {
    return (size_t)(tensor - self->source.tensors);
}

static int64_t column_count(const hf_tensor *tensor) {
    int64_t columns = 1;
    for (int32_t i = 1; i < tensor->rank; i++) columns *= tensor->dims[i];
    return columns;
}

// ---- making one -----------------------------------------------------------------------------------------

static void transpose(const char *from, int64_t n_rows, int64_t columns, size_t element, char *to) {
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(
                to + (size_t)(c * n_rows + r) * element, from + (size_t)(r * columns + c) * element,
                element);
}

static void gather_heads(const hf_arrangement *row, const char *from, size_t head_bytes, char *to) {
    const int64_t per_group = row->queries_per_group + 2;
    const int64_t n_queries = row->n_groups * row->queries_per_group;
    for (int64_t group = 0; group < row->n_groups; group++)
        for (int64_t head = 0; head < per_group; head++) {
            const int64_t part = head - row->queries_per_group; // 0 = k, 1 = v
            const int64_t place = part < 0 ? group * row->queries_per_group + head
                                           : n_queries + part * row->n_groups + group;
            memcpy(
                to + (size_t)place * head_bytes,
                from + (size_t)(group * per_group + head) * head_bytes, head_bytes);
        }
}

// The base's bytes of `stored` in their new places, in the element format of the base.
static void arrange(
    const hf_arrangement *row, const hf_tensor *stored, const char *from, char *to) {
    const size_t element = ir_dtype_bytes(stored->dtype);
    const int64_t columns = column_count(stored);
    switch (row->form) {
    case HF_UNIT_ROWS:
    case HF_AS_IT_IS: memcpy(to, from, stored->size_bytes); break;
    case HF_TRANSPOSED: transpose(from, stored->dims[0], columns, element, to); break;
    case HF_GROUPED_QKV:
        gather_heads(row, from, (size_t)(row->head_dim * columns) * element, to);
        break;
    }
}

// Whether the numbers become others, not only their places.
static bool computes(const hf_arrangement *row) {
    return row->addend > 0 || row->addend < 0 || row->form == HF_UNIT_ROWS;
}

static void divide_by_lengths(float *values, int64_t n_rows, int64_t columns) {
    for (int64_t r = 0; r < n_rows; r++) {
        float *row = values + r * columns;
        double square = 0;
        for (int64_t c = 0; c < columns; c++) square += (double)row[c] * (double)row[c];
        const double length = fmax(sqrt(square), 1e-12);
        for (int64_t c = 0; c < columns; c++) row[c] = (float)((double)row[c] / length);
    }
}

// The arranged elements `whole` become float32, then what the row makes of them.
static char *compute(const hf_arrangement *row, const hf_tensor *stored, char *whole) {
    const int64_t count = (int64_t)(stored->size_bytes / ir_dtype_bytes(stored->dtype));
    float *values = malloc((size_t)count * sizeof *values + 1);
    if (values != NULL) quant_cast_to_f32(whole, stored->dtype, count, values);
    for (int64_t i = 0; values != NULL && i < count; i++)
        values[i] = (float)((double)values[i] + row->addend);
    if (values != NULL && row->form == HF_UNIT_ROWS)
        divide_by_lengths(values, stored->dims[0], column_count(stored));
    free(whole);
    return (char *)values;
}

static mlcc_status *make(arranged_source *self, size_t index) {
    arranged_tensor *tensor = &self->tensors[index];
    const hf_tensor *stored = &self->base->tensors[index];
    if (tensor->data != NULL) return NULL;
    char *buffer = malloc(stored->size_bytes + 1), *whole = malloc(stored->size_bytes + 1);
    const void *view = NULL;
    mlcc_status *status = NULL;
    if (buffer == NULL || whole == NULL)
        status = MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was read", stored->name);
    if (status == NULL)
        status = self->base->read(self->base, stored, 0, stored->size_bytes, buffer, &view);
    if (status == NULL) arrange(tensor->row, stored, view != NULL ? view : buffer, whole);
    free(buffer);
    if (self->base->release != NULL) self->base->release(self->base, stored);
    if (status != NULL) {
        free(whole);
        return status;
    }
    if (computes(tensor->row)) whole = compute(tensor->row, stored, whole);
    if (whole == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was read", stored->name);
    tensor->data = whole;
    return NULL;
}

// ---- the source -----------------------------------------------------------------------------------------

static mlcc_status *arranged_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    arranged_source *self = (arranged_source *)(void *)source;
    const size_t index = index_of(self, tensor);
    if (self->tensors[index].row == NULL)
        return self->base->read(
            self->base, &self->base->tensors[index], offset, size_bytes, buffer, view);
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
    return self->base->quantized(self->base, &self->base->tensors[index], out);
}

static void arranged_release(hf_weight_source *source, const hf_tensor *tensor) {
    arranged_source *self = (arranged_source *)(void *)source;
    const size_t index = index_of(self, tensor);
    free(self->tensors[index].data);
    self->tensors[index].data = NULL;
    if (self->tensors[index].row == NULL && self->base->release != NULL)
        self->base->release(self->base, &self->base->tensors[index]);
}

static void arranged_close(hf_weight_source *source) {
    arranged_source *self = (arranged_source *)(void *)source;
    for (size_t i = 0; i < self->source.n_tensors; i++) free(self->tensors[i].data);
    self->base->close(self->base);
}

// ---- opening --------------------------------------------------------------------------------------------

static mlcc_status *check_tensor(
    const hf_arrangement *row, const hf_tensor *tensor, const hf_weight_source *base) {
    const int64_t n_rows = row->n_groups * (row->queries_per_group + 2) * row->head_dim;
    const bool needs_matrix = row->form == HF_TRANSPOSED || row->form == HF_UNIT_ROWS;
    if (needs_matrix && tensor->rank != 2)
        return MLCC_ERROR(
            INVALID, "tensor '%s' in %s has %d dimensions; expected a matrix", tensor->name,
            base->description, tensor->rank);
    if (row->form == HF_GROUPED_QKV && (tensor->rank < 1 || tensor->dims[0] != n_rows))
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' in %s has %lld rows, but the config makes q, k and v %lld together; "
            "config "
            "and weights are of different models",
            tensor->name, base->description, (long long)(tensor->rank < 1 ? 0 : tensor->dims[0]),
            (long long)n_rows);
    return NULL;
}

// What the tensor looks like once it is arranged.
static void describe(const hf_arrangement *row, hf_tensor *tensor) {
    if (row->form == HF_TRANSPOSED) {
        const int64_t n_rows = tensor->dims[0];
        tensor->dims[0] = tensor->dims[1];
        tensor->dims[1] = n_rows;
    }
    if (!computes(row)) return;
    tensor->size_bytes = tensor->size_bytes / ir_dtype_bytes(tensor->dtype) * sizeof(float);
    tensor->dtype = IR_F32;
    tensor->dtype_text = NULL;
}

// Whether its elements are floats; other element formats are left to the converter's own message.
static bool is_readable(const hf_tensor *tensor) {
    return tensor->dtype == IR_F32 || tensor->dtype == IR_F16 || tensor->dtype == IR_BF16;
}

static const hf_tensor *find(const hf_weight_source *base, const hf_arrangement *row) {
    const hf_tensor *tensor = hf_weight_source_find(base, row->name);
    const char *prefix = row->optional_prefix;
    if (tensor != NULL || prefix == NULL || !mlcc_text_starts_with(row->name, prefix))
        return tensor;
    return hf_weight_source_find(base, row->name + strlen(prefix));
}

mlcc_status *hf_arranged_source_open(
    hf_weight_source *base, const hf_arrangement *rows, size_t n_rows, mlcc_arena *keep,
    hf_weight_source **out) {
    *out = base;
    arranged_source *self = MLCC_NEW(keep, arranged_source);
    hf_tensor *tensors = MLCC_NEW_ARRAY(keep, hf_tensor, base->n_tensors + 1);
    memcpy(tensors, base->tensors, base->n_tensors * sizeof *tensors);
    self->tensors = MLCC_NEW_ARRAY(keep, arranged_tensor, base->n_tensors + 1);
    bool is_any = false;
    for (size_t i = 0; i < n_rows; i++) {
        const hf_tensor *tensor = find(base, &rows[i]);
        if (tensor == NULL || !is_readable(tensor)) continue;
        MLCC_TRY(check_tensor(&rows[i], tensor, base));
        const size_t index = (size_t)(tensor - base->tensors);
        self->tensors[index].row = &rows[i];
        describe(&rows[i], &tensors[index]);
        is_any = true;
    }
    if (!is_any) return NULL;
    self->base = base;
    self->source = *base;
    self->source.tensors = tensors;
    self->source.read = arranged_read;
    self->source.quantized = base->quantized != NULL ? arranged_quantized : NULL;
    self->source.release = arranged_release;
    self->source.close = arranged_close;
    *out = &self->source;
    return NULL;
}
