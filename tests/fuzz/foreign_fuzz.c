// foreign: no set of stored parts makes a layout read outside them or write outside the rows, and what
// is accepted can be unpacked in any blocks of rows with the same result.
//
// Input: byte 0 layout, 1 bits hint, 2 group hint, 3 flags and blocks, then for every part of the layout
// 6 bytes: dtype, rank + 1, two dimensions (16 bits each, the largest of them stand for worse); the rest
// is data, repeated as needed. The same parts also go through detect and explain.
#include "quantization/foreign/foreign.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PART_BYTES ((size_t)1 << 16)
#define MAX_ELEMENTS   ((int64_t)1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct reader {
    const uint8_t *data;
    size_t size, offset;
} reader;

static uint8_t next(reader *r) {
    return r->offset < r->size ? r->data[r->offset++] : 0;
}

static int64_t next_dim(reader *r) {
    const uint16_t value = (uint16_t)(next(r) | next(r) << 8);
    if (value == 0xffff) return INT64_MAX;
    if (value == 0xfffe) return INT32_MAX;
    if (value == 0xfffd) return -1;
    return value;
}

// Bytes that a reader of the dimensions may touch; false: too many to try.
static bool part_bytes(const quant_foreign_tensor *tensor, size_t *size_bytes) {
    int64_t n = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] <= 0 || tensor->dims[i] > (int64_t)MAX_PART_BYTES) return false;
        n *= tensor->dims[i];
        if (n > (int64_t)MAX_PART_BYTES) return false;
    }
    *size_bytes = (size_t)n * ir_dtype_bytes(tensor->dtype);
    return *size_bytes <= MAX_PART_BYTES;
}

static const ir_dtype dtypes[] = {IR_I32, IR_F16,    IR_BF16,   IR_F32, IR_I16, IR_I8,
                                  IR_I64, IR_F8E4M3, IR_F8E5M2, IR_U32, IR_U8};

static void read_parts(reader *r, quant_foreign_weight *weight) {
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) {
        quant_foreign_tensor *tensor = &weight->parts[p];
        tensor->rank = -1;
        if (weight->layout->parts[p].suffix == NULL) continue;
        tensor->dtype = dtypes[next(r) % (sizeof dtypes / sizeof *dtypes)];
        tensor->rank = next(r) % 5 - 1;
        tensor->dims[0] = next_dim(r);
        tensor->dims[1] = next_dim(r);
        tensor->dims[2] = 1;
    }
}

// Every part in its own allocation of exactly its size, so that a step outside is seen.
static bool fill_parts(reader *r, quant_foreign_weight *weight, void **owned) {
    const size_t first = r->offset, left = r->size - r->offset;
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) {
        size_t size_bytes = 0;
        if (weight->parts[p].rank < 0) continue;
        if (!part_bytes(&weight->parts[p], &size_bytes)) return false;
        uint8_t *bytes = malloc(size_bytes);
        if (bytes == NULL) return false;
        owned[p] = bytes;
        for (size_t i = 0; i < size_bytes; i++)
            bytes[i] = left > 0 ? r->data[first + (i + (size_t)p) % left] : 0;
        weight->parts[p].data = bytes;
    }
    return true;
}

static void unpack_blocks(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    int64_t block, uint8_t *codes, int16_t *zeros, float *scales) {
    for (int64_t first = 0; first < canon->n_rows; first += block) {
        const int64_t n = canon->n_rows - first < block ? canon->n_rows - first : block;
        // Exactly sized, too.
        quant_canon_rows rows = {
            first, n, malloc((size_t)(n * canon->columns)),
            malloc((size_t)(n * canon->n_groups) * sizeof *zeros),
            malloc((size_t)(n * canon->n_groups) * sizeof *scales)};
        if (rows.codes == NULL || rows.zeros == NULL || rows.scales == NULL) abort();
        weight->layout->unpack(weight, hints, canon, &rows);
        memcpy(codes + first * canon->columns, rows.codes, (size_t)(n * canon->columns));
        memcpy(
            zeros + first * canon->n_groups, rows.zeros,
            (size_t)(n * canon->n_groups) * sizeof *zeros);
        memcpy(
            scales + first * canon->n_groups, rows.scales,
            (size_t)(n * canon->n_groups) * sizeof *scales);
        free(rows.codes);
        free(rows.zeros);
        free(rows.scales);
    }
}

static void check_canon(const quant_canon *canon) {
    if (canon->n_rows < 1 || canon->columns < 1 || canon->group < 1 || canon->n_groups < 1) abort();
    if (canon->group > canon->columns || canon->n_groups > canon->columns) abort();
    if (canon->columns / canon->group + (canon->columns % canon->group != 0) != canon->n_groups)
        abort();
    for (int64_t k = 0; canon->group_of_column != NULL && k < canon->columns; k++) {
        if (canon->group_of_column[k] < 0 || canon->group_of_column[k] >= canon->n_groups) abort();
    }
}

static void use(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    int64_t block) {
    if (canon->n_rows > MAX_ELEMENTS / canon->columns) return;
    const size_t n = (size_t)(canon->n_rows * canon->columns);
    const size_t n_scales = (size_t)(canon->n_rows * canon->n_groups);
    quant_canon_rows whole = {
        0, canon->n_rows, malloc(n), malloc(n_scales * sizeof(int16_t)),
        malloc(n_scales * sizeof(float))};
    quant_canon_rows parts = {
        0, canon->n_rows, malloc(n), malloc(n_scales * sizeof(int16_t)),
        malloc(n_scales * sizeof(float))};
    float *values = malloc(n * sizeof *values);
    if (whole.codes == NULL || parts.codes == NULL || values == NULL) abort();
    weight->layout->unpack(weight, hints, canon, &whole);
    unpack_blocks(weight, hints, canon, block, parts.codes, parts.zeros, parts.scales);
    if (memcmp(whole.codes, parts.codes, n) != 0) abort();
    if (memcmp(whole.zeros, parts.zeros, n_scales * sizeof(int16_t)) != 0) abort();
    if (memcmp(whole.scales, parts.scales, n_scales * sizeof(float)) != 0) abort();
    for (size_t i = 0; canon->kind == QUANT_CANON_INT && i < n; i++) {
        if (whole.codes[i] >> canon->bits != 0) abort();
    }
    quant_canon_decode(canon, &whole, values);
    mlcc_arena *keep = mlcc_arena_create();
    quant_foreign_weight packed = {.name = "packed"};
    mlcc_status_free(weight->layout->pack(canon, &whole, keep, &packed));
    mlcc_arena_free(keep);
    free(values);
    free(whole.codes);
    free(whole.zeros);
    free(whole.scales);
    free(parts.codes);
    free(parts.zeros);
    free(parts.scales);
}

static void detect(const quant_foreign_weight *weight, const quant_foreign_hints *hints) {
    const char *suffixes[QUANT_FOREIGN_MAX_PARTS];
    quant_foreign_tensor tensors[QUANT_FOREIGN_MAX_PARTS];
    size_t n = 0;
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) {
        if (weight->parts[p].rank < 0) continue;
        suffixes[n] = weight->layout->parts[p].suffix;
        tensors[n++] = weight->parts[p];
    }
    (void)quant_foreign_detect(suffixes, tensors, n, weight->layout->formats[0]);
    mlcc_status *status = quant_foreign_explain("fuzz", suffixes, tensors, n, NULL, NULL, hints);
    if (status == NULL) abort();
    mlcc_status_free(status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int64_t groups[] = {0, 0, -1, 32, 64, 128, 8, 48};
    reader r = {data, size, 0};
    size_t n_layouts = 0;
    const quant_foreign_layout *const *layouts = quant_foreign_layouts(&n_layouts);
    quant_foreign_weight weight = {.layout = layouts[next(&r) % n_layouts], .name = "fuzz"};
    quant_foreign_hints hints = {.bits = next(&r) % 10, .group_size = groups[next(&r) % 8]};
    const uint8_t flags = next(&r);
    hints.is_symmetric = (flags & 1) != 0;
    hints.is_llmc_gemv = (flags & 2) != 0;
    hints.block_rows = hints.block_columns = (flags & 4) != 0 ? 128 : 0;
    const int64_t block = 1 + (flags >> 3);
    void *owned[QUANT_FOREIGN_MAX_PARTS] = {NULL};
    quant_canon canon;
    read_parts(&r, &weight);
    detect(&weight, &hints);
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = weight.layout->describe(&weight, &hints, &canon); // shapes alone
    if (status == NULL) check_canon(&canon);
    mlcc_status_free(status);
    if (fill_parts(&r, &weight, owned)) {
        status = weight.layout->describe(&weight, &hints, &canon);
        if (status == NULL) status = weight.layout->check(&weight, &hints, &canon, keep);
        if (status == NULL) {
            check_canon(&canon);
            use(&weight, &hints, &canon, block);
        }
        mlcc_status_free(status);
    }
    mlcc_arena_free(keep);
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) free(owned[p]);
    return 0;
}
