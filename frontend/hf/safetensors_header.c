#include "frontend/hf/safetensors_header.h"

#include "frontend/hf/lfs_pointer.h"
#include "runtime/base/json.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8u

// Every dtype of the format. bits: of one element. Those without an IR dtype may stand in a file but not be used.
typedef struct dtype_row {
    const char *text;
    uint32_t bits;
    ir_dtype dtype;
} dtype_row;

// clang-format off
static const dtype_row dtype_rows[] = {
    {"F32",     32, IR_F32},
    {"F16",     16, IR_F16},
    {"BF16",    16, IR_BF16},
    {"I32",     32, IR_I32},
    {"U32",     32, IR_U32},
    {"I64",     64, IR_I64},
    {"I16",     16, IR_I16},
    {"I8",       8, IR_I8},
    {"U8",       8, IR_U8},
    {"F8_E4M3",  8, IR_F8E4M3},
    {"F8_E5M2",  8, IR_F8E5M2},
    {"F64",     64, IR_N_DTYPES},
    {"U64",     64, IR_N_DTYPES},
    {"U16",     16, IR_N_DTYPES},
    {"BOOL",     8, IR_N_DTYPES},
    {"F8_E8M0",  8, IR_N_DTYPES},
    {"F6_E2M3",  6, IR_N_DTYPES},
    {"F6_E3M2",  6, IR_N_DTYPES},
    {"F4",       4, IR_N_DTYPES},
    {"C64",     64, IR_N_DTYPES},
};
// clang-format on

static const dtype_row *find_dtype(const char *text) {
    for (size_t i = 0; i < sizeof dtype_rows / sizeof dtype_rows[0]; i++)
        if (strcmp(dtype_rows[i].text, text) == 0) return &dtype_rows[i];
    return NULL;
}

// Checks the first eight bytes and sets the JSON text's length.
static mlcc_status *read_length(const unsigned char *bytes, size_t size_bytes, size_t *json_bytes) {
    if (hf_is_lfs_pointer(bytes, size_bytes)) return hf_lfs_pointer_error();
    if (size_bytes < LENGTH_BYTES)
        return MLCC_ERROR(
            INVALID,
            "the file has %zu bytes; a safetensors file begins with an 8-byte header length",
            size_bytes);
    uint64_t length = 0;
    for (unsigned i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)bytes[i] << (8 * i);
    if (length > HF_SAFETENSORS_MAX_HEADER_BYTES)
        return MLCC_ERROR(
            INVALID, "header length %llu bytes is above the limit of %zu (100 MiB)",
            (unsigned long long)length, HF_SAFETENSORS_MAX_HEADER_BYTES);
    if (length > size_bytes - LENGTH_BYTES)
        return MLCC_ERROR(
            INVALID, "header length %llu bytes reaches beyond the file, which has %zu after it",
            (unsigned long long)length, size_bytes - LENGTH_BYTES);
    *json_bytes = (size_t)length;
    return NULL;
}

// A non-negative integer below 2^63.
static bool read_count(const mlcc_json_value *value, uint64_t *out) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT || mlcc_json_int(value) < 0) return false;
    *out = (uint64_t)mlcc_json_int(value);
    return true;
}

static mlcc_status *read_shape(
    const mlcc_json_value *shape, uint64_t bits, hf_tensor *tensor, uint64_t *size_bytes) {
    if (mlcc_json_kind_of(shape) != MLCC_JSON_ARRAY)
        return MLCC_ERROR(
            INVALID, "shape is %s; expected an array of integers",
            mlcc_json_kind_text(mlcc_json_kind_of(shape)));
    size_t rank = mlcc_json_count(shape);
    if (rank > IR_MAX_RANK)
        return MLCC_ERROR(
            INVALID, "shape has %zu dimensions; at most %d are accepted", rank, IR_MAX_RANK);
    tensor->rank = (int32_t)rank;
    size_t size_bits = bits;
    for (size_t i = 0; i < rank; i++) {
        uint64_t dim;
        if (!read_count(mlcc_json_at(shape, i), &dim))
            return MLCC_ERROR(
                INVALID, "dimension %zu of shape is not an integer from 0 to 2^63 - 1", i);
        if (!mlcc_size_mul(size_bits, (size_t)dim, &size_bits))
            return MLCC_ERROR(INVALID, "shape has more elements than 64 bits can count");
        tensor->dims[i] = (int64_t)dim;
    }
    if (size_bits % 8 != 0)
        return MLCC_ERROR(
            INVALID, "shape holds %zu bits, which is no whole number of bytes", size_bits);
    *size_bytes = size_bits / 8;
    return NULL;
}

static mlcc_status *read_offsets(
    const mlcc_json_value *offsets, uint64_t data_bytes, uint64_t *begin, uint64_t *end) {
    if (mlcc_json_kind_of(offsets) != MLCC_JSON_ARRAY || mlcc_json_count(offsets) != 2 ||
        !read_count(mlcc_json_at(offsets, 0), begin) || !read_count(mlcc_json_at(offsets, 1), end))
        return MLCC_ERROR(INVALID, "data_offsets is not a pair of integers [begin, end]");
    if (*begin > *end || *end > data_bytes)
        return MLCC_ERROR(
            INVALID, "data_offsets [%llu, %llu] lie outside the file's %llu data bytes",
            (unsigned long long)*begin, (unsigned long long)*end, (unsigned long long)data_bytes);
    return NULL;
}

static mlcc_status *read_entry(
    const mlcc_json_value *value, uint64_t data_begin, uint64_t data_bytes,
    hf_safetensors_entry *entry) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "the entry is %s; expected an object with dtype, shape and data_offsets",
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    const char *dtype_text = NULL;
    MLCC_TRY(mlcc_json_get_text(value, "dtype", true, &dtype_text));
    const dtype_row *row = find_dtype(dtype_text);
    if (row == NULL)
        return MLCC_ERROR(
            INVALID, "dtype '%.40s' is none of the safetensors format (F32, F16, BF16, I32, …)",
            dtype_text);
    uint64_t expected_bytes = 0, begin = 0, end = 0;
    MLCC_TRY(read_shape(mlcc_json_get(value, "shape"), row->bits, &entry->tensor, &expected_bytes));
    MLCC_TRY(read_offsets(mlcc_json_get(value, "data_offsets"), data_bytes, &begin, &end));
    if (end - begin != expected_bytes)
        return MLCC_ERROR(
            INVALID, "data_offsets span %llu bytes, but shape and dtype %s need %llu",
            (unsigned long long)(end - begin), row->text, (unsigned long long)expected_bytes);
    entry->tensor.dtype = row->dtype;
    entry->tensor.dtype_text = row->text;
    entry->tensor.size_bytes = expected_bytes;
    entry->offset_bytes = data_begin + begin;
    return NULL;
}

static mlcc_status *check_metadata(const mlcc_json_value *metadata) {
    if (mlcc_json_kind_of(metadata) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(INVALID, "__metadata__ is not an object of strings");
    for (const mlcc_json_iter *it = mlcc_json_first(metadata); it != NULL;
         it = mlcc_json_next(metadata, it))
        if (mlcc_json_kind_of(mlcc_json_iter_value(it)) != MLCC_JSON_STRING)
            return MLCC_ERROR(
                INVALID, "__metadata__ key '%.80s' is not a string", mlcc_json_iter_key(it));
    return NULL;
}

static int by_offset(const void *a, const void *b) {
    const hf_safetensors_entry *x = *(const hf_safetensors_entry *const *)a;
    const hf_safetensors_entry *y = *(const hf_safetensors_entry *const *)b;
    return (x->offset_bytes > y->offset_bytes) - (x->offset_bytes < y->offset_bytes);
}

// No byte may belong to two tensors. Sets the number of bytes that belong to none.
static mlcc_status *check_overlap(hf_safetensors_header *header, uint64_t data_bytes) {
    const hf_safetensors_entry **sorted = calloc(header->n_entries + 1, sizeof *sorted);
    if (sorted == NULL)
        return MLCC_ERROR(NO_MEMORY, "no memory to sort %zu tensors", header->n_entries);
    size_t n_sorted = 0;
    for (size_t i = 0; i < header->n_entries; i++)
        if (header->entries[i].tensor.size_bytes > 0) sorted[n_sorted++] = &header->entries[i];
    qsort(sorted, n_sorted, sizeof *sorted, by_offset);

    mlcc_status *status = NULL;
    uint64_t claimed_bytes = 0;
    for (size_t i = 0; i < n_sorted && status == NULL; i++) {
        claimed_bytes += sorted[i]->tensor.size_bytes;
        if (i > 0 && sorted[i - 1]->offset_bytes + sorted[i - 1]->tensor.size_bytes >
                         sorted[i]->offset_bytes)
            status = MLCC_ERROR(
                INVALID, "the data of tensors '%s' and '%s' overlap", sorted[i - 1]->tensor.name,
                sorted[i]->tensor.name);
    }
    free(sorted);
    if (status == NULL) header->unclaimed_bytes = data_bytes - claimed_bytes;
    return status;
}

static mlcc_status *read_entries(
    const mlcc_json_value *root, uint64_t data_begin, uint64_t data_bytes, mlcc_arena *keep,
    hf_safetensors_header *out) {
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "the header is %s; expected an object",
            mlcc_json_kind_text(mlcc_json_kind_of(root)));
    out->entries = MLCC_NEW_ARRAY(keep, hf_safetensors_entry, mlcc_json_count(root) + 1);
    for (const mlcc_json_iter *it = mlcc_json_first(root); it != NULL;
         it = mlcc_json_next(root, it)) {
        const char *name = mlcc_json_iter_key(it);
        if (strcmp(name, "__metadata__") == 0) {
            MLCC_TRY(check_metadata(mlcc_json_iter_value(it)));
            continue;
        }
        if (name[0] == '\0') return MLCC_ERROR(INVALID, "a tensor has an empty name");
        hf_safetensors_entry *entry = &out->entries[out->n_entries++];
        entry->tensor.name = mlcc_arena_strdup(keep, name);
        MLCC_TRY_NOTE(
            read_entry(mlcc_json_iter_value(it), data_begin, data_bytes, entry),
            "reading the header entry of tensor '%.200s'", name);
    }
    return check_overlap(out, data_bytes);
}

mlcc_status *hf_safetensors_header_parse(
    const void *data, size_t size_bytes, const char *what, mlcc_arena *keep,
    hf_safetensors_header *out) {
    *out = (hf_safetensors_header){0};
    size_t json_bytes = 0;
    MLCC_TRY_NOTE(read_length(data, size_bytes, &json_bytes), "reading %s", what);

    const char *text = (const char *)data + LENGTH_BYTES;
    mlcc_json *json = NULL;
    MLCC_TRY_NOTE(
        mlcc_json_parse(
            text, json_bytes, "safetensors header", HF_SAFETENSORS_MAX_HEADER_BYTES, &json),
        "reading %s", what);
    uint64_t data_begin = LENGTH_BYTES + json_bytes;
    mlcc_status *status =
        read_entries(mlcc_json_root(json), data_begin, size_bytes - data_begin, keep, out);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading %s", what);
}
