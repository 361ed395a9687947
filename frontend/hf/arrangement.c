#include "frontend/hf/arrangement.h"

#include "quantization/foreign/mxfp4.h"
#include "quantization/formats/plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t column_count(const hf_tensor *tensor) {
    int64_t columns = 1;
    for (int32_t i = 1; i < tensor->rank; i++) columns *= tensor->dims[i];
    return columns;
}

static bool has_pairs(const hf_arrangement *row) {
    return row->form == HF_TRANSPOSED_PAIRS || row->form == HF_PAIRS || row->form == HF_MXFP4_PAIRS;
}

bool hf_arrangement_has_scales(const hf_arrangement *row) {
    return row->form == HF_MXFP4 || row->form == HF_MXFP4_PAIRS;
}

// Where a row of one of a stack's matrices of n_rows goes: of pairs, all first ones stand before all second ones.
static int64_t place_of(const hf_arrangement *row, int64_t index, int64_t n_rows) {
    if (!has_pairs(row)) return index;
    const int64_t in_matrix = index % n_rows;
    return index - in_matrix + in_matrix / 2 + in_matrix % 2 * (n_rows / 2);
}

// `columns` columns out of rows of `stride` elements.
static void transpose(
    const char *from, int64_t n_rows, int64_t columns, int64_t stride, size_t element, char *to) {
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(
                to + (size_t)(c * n_rows + r) * element, from + (size_t)(r * stride + c) * element,
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

static void gather_rows(
    const hf_arrangement *row, const char *from, int64_t n_rows, int64_t n_matrices,
    size_t row_bytes, char *to) {
    for (int64_t i = 0; i < n_matrices * n_rows; i++)
        memcpy(
            to + (size_t)place_of(row, i, n_rows) * row_bytes, from + (size_t)i * row_bytes,
            row_bytes);
}

// A matrix, or every matrix of a stack by itself.
static void transpose_all(
    const hf_arrangement *row, const hf_tensor *stored, const char *from, size_t element,
    char *to) {
    const int64_t n_matrices = stored->rank == 3 ? stored->dims[0] : 1;
    const int64_t n_rows = stored->dims[stored->rank - 2], columns = stored->dims[stored->rank - 1];
    const size_t matrix_bytes = (size_t)(n_rows * columns) * element;
    for (int64_t i = 0; i < n_matrices; i++) {
        const char *matrix = from + (size_t)i * matrix_bytes;
        char *place = to + (size_t)i * matrix_bytes;
        for (int64_t c = 0; c < columns; c++)
            transpose(
                matrix + (size_t)c * element, n_rows, 1, columns, element,
                place + (size_t)(place_of(row, c, columns) * n_rows) * element);
    }
}

static void decode_mxfp4(
    const hf_arrangement *row, const hf_tensor *stored, const char *blocks, const char *scales,
    char *to) {
    const int64_t n_rows = stored->dims[1], n_blocks = stored->dims[2];
    const size_t row_bytes = (size_t)n_blocks * QUANT_MXFP4_BLOCK_BYTES;
    uint16_t *out = (uint16_t *)(void *)to;
    for (int64_t i = 0; i < stored->dims[0] * n_rows; i++)
        quant_mxfp4_decode(
            (const uint8_t *)blocks + (size_t)i * row_bytes, (const uint8_t *)scales + i * n_blocks,
            n_blocks, out + place_of(row, i, n_rows) * n_blocks * QUANT_MXFP4_BLOCK);
}

static void take_part(
    const hf_arrangement *row, const char *from, int64_t columns, size_t element, char *to) {
    const size_t row_bytes = (size_t)columns * element;
    for (int64_t head = 0; head < row->n_groups; head++) {
        const char *part = from + (size_t)(head * row->head_dim + row->part_begin) * row_bytes;
        char *place = to + (size_t)(head * row->part_rows) * row_bytes;
        if (row->form == HF_PART_OF_HEADS)
            memcpy(place, part, (size_t)row->part_rows * row_bytes);
        else
            transpose(part, row->part_rows, columns, columns, element, place);
    }
}

// The base's bytes of `stored` in their new places, in the element format of the base; numbers of codes. `scales`: of mxfp4 blocks.
static void arrange(
    const hf_arrangement *row, const hf_tensor *stored, const char *from, const char *scales,
    char *to) {
    const size_t element = ir_dtype_bytes(stored->dtype);
    const int64_t columns = column_count(stored);
    switch (row->form) {
    case HF_FLATTENED:
    case HF_UNIT_ROWS:
    case HF_AS_IT_IS: memcpy(to, from, stored->size_bytes); break;
    case HF_TRANSPOSED:
    case HF_TRANSPOSED_PAIRS: transpose_all(row, stored, from, element, to); break;
    case HF_PAIRS:
        gather_rows(
            row, from, stored->dims[1], stored->dims[0],
            (size_t)(columns / stored->dims[1]) * element, to);
        break;
    case HF_MXFP4:
    case HF_MXFP4_PAIRS: decode_mxfp4(row, stored, from, scales, to); break;
    case HF_GROUPED_QKV:
        gather_heads(row, from, (size_t)(row->head_dim * columns) * element, to);
        break;
    case HF_PART_OF_HEADS:
    case HF_PART_OF_HEADS_TRANSPOSED: take_part(row, from, columns, element, to); break;
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

// ---- before and afterwards ------------------------------------------------------------------------------

bool hf_arrangement_reads(const hf_arrangement *row, const hf_tensor *tensor) {
    if (hf_arrangement_has_scales(row)) return true;
    return tensor->dtype == IR_F32 || tensor->dtype == IR_F16 || tensor->dtype == IR_BF16;
}

static bool is_part(const hf_arrangement *row) {
    return row->form == HF_PART_OF_HEADS || row->form == HF_PART_OF_HEADS_TRANSPOSED;
}

// Of a matrix or stack whose rows are pairs, or are transposed.
static mlcc_status *check_rows(
    const hf_arrangement *row, const hf_tensor *tensor, const char *description) {
    const bool is_transposed = row->form == HF_TRANSPOSED || row->form == HF_TRANSPOSED_PAIRS;
    const int32_t dim = is_transposed ? tensor->rank - 1 : 1;
    if (!hf_arrangement_has_scales(row) && tensor->rank != 2 && tensor->rank != 3)
        return MLCC_ERROR(
            INVALID, "tensor '%s' in %s has %d dimensions; expected a matrix or a stack of them",
            tensor->name, description, tensor->rank);
    if (has_pairs(row) && (tensor->dims[dim] < 2 || tensor->dims[dim] % 2 != 0))
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' in %s has %lld rows of gate and up in turn; expected an even number",
            tensor->name, description, (long long)tensor->dims[dim]);
    return NULL;
}

// Blocks [E, N, K/32, 16] and scales [E, N, K/32], both bytes.
static mlcc_status *check_mxfp4(
    const hf_tensor *blocks, const hf_tensor *scales, const char *description) {
    const bool are_blocks = blocks->dtype == IR_U8 && blocks->rank == 4 &&
                            blocks->dims[3] == QUANT_MXFP4_BLOCK_BYTES &&
                            blocks->dims[2] <= INT64_MAX / QUANT_MXFP4_BLOCK;
    if (!are_blocks)
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' in %s holds no mxfp4 blocks; expected bytes of shape [experts, rows, "
            "columns / 32, 16]",
            blocks->name, description);
    const bool fits = scales != NULL && scales->dtype == IR_U8 && scales->rank == 3 &&
                      memcmp(scales->dims, blocks->dims, 3 * sizeof *scales->dims) == 0;
    if (fits) return NULL;
    return MLCC_ERROR(
        INVALID,
        "mxfp4 blocks '%s' in %s stand without scales; expected bytes of shape [%lld, %lld, %lld] "
        "under the name that ends in _scales",
        blocks->name, description, (long long)blocks->dims[0], (long long)blocks->dims[1],
        (long long)blocks->dims[2]);
}

mlcc_status *hf_arrangement_check(
    const hf_arrangement *row, const hf_tensor *tensor, const hf_tensor *scales,
    const char *description) {
    if (hf_arrangement_has_scales(row)) MLCC_TRY(check_mxfp4(tensor, scales, description));
    if (row->form == HF_TRANSPOSED || has_pairs(row)) return check_rows(row, tensor, description);
    const int64_t n_rows = row->n_groups * (row->queries_per_group + 2) * row->head_dim;
    const int64_t n_head_rows = row->n_groups * row->head_dim;
    const bool needs_matrix =
        row->form == HF_UNIT_ROWS || row->form == HF_FLATTENED || is_part(row);
    if (needs_matrix && tensor->rank != 2)
        return MLCC_ERROR(
            INVALID, "tensor '%s' in %s has %d dimensions; expected a matrix", tensor->name,
            description, tensor->rank);
    if (row->form == HF_GROUPED_QKV && (tensor->rank < 1 || tensor->dims[0] != n_rows))
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' in %s has %lld rows, but the config makes q, k and v %lld together; "
            "config "
            "and weights are of different models",
            tensor->name, description, (long long)(tensor->rank < 1 ? 0 : tensor->dims[0]),
            (long long)n_rows);
    if (is_part(row) && tensor->dims[0] != n_head_rows)
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' in %s has %lld rows, but the config makes %lld heads of %lld rows; config "
            "and weights are of different models",
            tensor->name, description, (long long)tensor->dims[0], (long long)row->n_groups,
            (long long)row->head_dim);
    return NULL;
}

void hf_arrangement_describe(const hf_arrangement *row, hf_tensor *tensor) {
    if (row->form == HF_TRANSPOSED || row->form == HF_TRANSPOSED_PAIRS) {
        int64_t *dims = &tensor->dims[tensor->rank - 2], n_rows = dims[0];
        dims[0] = dims[1];
        dims[1] = n_rows;
    }
    if (hf_arrangement_has_scales(row)) {
        tensor->rank = 3;
        tensor->dims[2] *= QUANT_MXFP4_BLOCK;
        tensor->size_bytes *= QUANT_MXFP4_BLOCK * sizeof(uint16_t) / QUANT_MXFP4_BLOCK_BYTES;
        tensor->dtype = IR_BF16;
        tensor->dtype_text = NULL;
    }
    if (is_part(row)) {
        const int64_t columns = tensor->dims[1];
        const bool is_transposed = row->form == HF_PART_OF_HEADS_TRANSPOSED;
        tensor->rank = 3;
        tensor->size_bytes =
            tensor->size_bytes / (uint64_t)row->head_dim * (uint64_t)row->part_rows;
        tensor->dims[0] = row->n_groups;
        tensor->dims[1] = is_transposed ? columns : row->part_rows;
        tensor->dims[2] = is_transposed ? row->part_rows : columns;
    }
    if (row->form == HF_FLATTENED) {
        tensor->rank = 1;
        tensor->dims[0] *= tensor->dims[1];
    }
    if (!computes(row)) return;
    tensor->size_bytes = tensor->size_bytes / ir_dtype_bytes(tensor->dtype) * sizeof(float);
    tensor->dtype = IR_F32;
    tensor->dtype_text = NULL;
}

char *hf_arrangement_make(
    const hf_arrangement *row, const hf_tensor *stored, const void *data, const void *scales) {
    uint64_t size_bytes = stored->size_bytes;
    if (hf_arrangement_has_scales(row)) {
        hf_tensor decoded = *stored;
        hf_arrangement_describe(row, &decoded);
        size_bytes = decoded.size_bytes;
    }
    char *whole = malloc(size_bytes + 1);
    if (whole == NULL) return NULL;
    arrange(row, stored, data, scales, whole);
    return computes(row) ? compute(row, stored, whole) : whole;
}
