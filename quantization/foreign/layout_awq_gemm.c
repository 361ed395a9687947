// awq-gemm: AutoAWQ's default, also LLMC's gemm_pack, and what "exllama" and "ipex" mean on disk.
//
//   qweight  i32 [K, N / 8]   word [k][c], nibble i = code of output 8 c + (0, 2, 4, 6, 1, 3, 5, 7)[i], input k
//   qzeros   i32 [G, N / 8]   the same for zeros
//   scales   f16 [G, N]
//
// Codes 0 … 7 in one word: 0x75316420. Codes that LLMC packed without clamping have run into their
// neighbours' bits before they were stored; every nibble is a valid code, so nothing of that can be
// seen in a file.
#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"

enum { QWEIGHT, QZEROS, SCALES };

static mlcc_status *describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, QWEIGHT, QUANT_TYPES_WORD, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[K, N / 8]"));
    const int64_t columns = parts[QWEIGHT].dims[0], n_rows = 8 * parts[QWEIGHT].dims[1];
    MLCC_TRY(quant_part_check_bits(weight, QWEIGHT, hints, 4));
    MLCC_TRY(quant_part_expect(
        weight, SCALES, QUANT_TYPES_SCALE, 2, QUANT_ANY_DIM, n_rows, "[groups, N]"));
    const int64_t n_groups = parts[SCALES].dims[0];
    MLCC_TRY(quant_part_expect(
        weight, QZEROS, QUANT_TYPES_WORD, 2, n_groups, n_rows / 8, "[groups, N / 8]"));
    int64_t group = 0;
    MLCC_TRY(
        quant_part_group(weight, SCALES, hints, columns, n_groups, QUANT_GROUP_DIVIDES, &group));
    return quant_part_finish(weight, QUANT_CANON_INT, n_rows, columns, 4, group, n_groups, canon);
}

static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)hints, (void)canon, (void)keep;
    return quant_part_check_finite(weight, SCALES);
}

static void unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    const int64_t stride = canon->n_rows / 8;
    quant_unpack_across(
        weight->parts[QWEIGHT].data, canon->columns, stride, rows->first_row, rows->n_rows,
        rows->codes);
    for (int64_t j = 0; j < canon->n_groups; j++) {
        const uint32_t *line = (const uint32_t *)weight->parts[QZEROS].data + j * stride;
        for (int64_t r = 0; r < rows->n_rows; r++) {
            const int64_t n = rows->first_row + r;
            rows->zeros[r * canon->n_groups + j] =
                (int16_t)((line[n >> 3] >> quant_awq_shifts[n & 7]) & 15u);
        }
    }
    quant_part_scales_transposed(&weight->parts[SCALES], canon->n_rows, canon, rows);
}

static mlcc_status *pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_awq_gemm;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 4,
                             .rows_multiple = 8,
                             .columns_multiple = 1,
                             .max_zero = 15}));
    quant_pack_begin(weight, layout);
    const int64_t stride = canon->n_rows / 8;
    uint32_t *qweight = quant_pack_new(weight, QWEIGHT, keep, IR_I32, 2, canon->columns, stride);
    uint32_t *qzeros = quant_pack_new(weight, QZEROS, keep, IR_I32, 2, canon->n_groups, stride);
    for (int64_t n = 0; n < canon->n_rows; n++) {
        const uint32_t shift = quant_awq_shifts[n & 7];
        const uint8_t *codes = rows->codes + n * canon->columns;
        const int16_t *zeros = rows->zeros + n * canon->n_groups;
        for (int64_t k = 0; k < canon->columns; k++)
            qweight[k * stride + (n >> 3)] |= (uint32_t)codes[k] << shift;
        for (int64_t j = 0; j < canon->n_groups; j++)
            qzeros[j * stride + (n >> 3)] |= (uint32_t)zeros[j] << shift;
    }
    quant_pack_scales_transposed(
        weight, SCALES, keep, quant_pack_scale_dtype(canon, rows), canon, rows, canon->n_groups);
    return NULL;
}

const quant_foreign_layout quant_foreign_awq_gemm = {
    .name = "awq-gemm",
    .family = "awq",
    .meaning = "AutoAWQ gemm: nibbles interleaved along the outputs",
    .formats = {"gemm", "exllama", "ipex"},
    .parts =
        {{.suffix = "qweight", .is_required = true},
         {.suffix = "qzeros", .is_required = true},
         {.suffix = "scales", .is_required = true}},
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack,
};
