// gptq, gptq-v2: AutoGPTQ and GPTQModel, b = 2, 3, 4 or 8 bits.
//
//   qweight  i32 [K b / 32, N]   little-endian bit stream down every column n: code of input k at bit k b
//                                (4 bits: nibble i of word [r][n] = input 8 r + i; 3 bits: 32 codes in 3 words)
//   qzeros   i32 [G, N b / 32]   the same stream along N; v1 stores zero - 1, v2 the zero
//   scales   f16 [G, N]
//   g_idx    i32 [K]             optional: group of input k (act-order); absent: k div group
//
// v1 fields are read as field + 1 without a mask, so field 2^b - 1 is zero 2^b, as AutoGPTQ's kernels
// have it. A v1 file with sym = false may hold a zero of 0 stored as -1, whose sign ran over the
// rest of its word when it was written; what is left are ordinary fields, so it cannot be seen.
#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"

enum { QWEIGHT, QZEROS, SCALES, G_IDX };

static int32_t zero_offset(const quant_foreign_layout *layout) {
    return layout == &quant_foreign_gptq ? 1 : 0;
}

// Bits of a zero: qzeros [G, N b / 32] beside scales [G, N].
static mlcc_status *bits_of_zeros(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, int32_t *bits) {
    const quant_foreign_tensor *parts = weight->parts;
    const int64_t n_groups = parts[SCALES].dims[0], n_rows = parts[SCALES].dims[1];
    MLCC_TRY(quant_part_expect(
        weight, QZEROS, QUANT_TYPES_WORD, 2, n_groups, QUANT_ANY_DIM, "[groups, N * bits / 32]"));
    const int64_t line_bits = 32 * parts[QZEROS].dims[1];
    *bits = line_bits % n_rows == 0 && line_bits / n_rows <= 8 ? (int32_t)(line_bits / n_rows) : 0;
    if (*bits == 2 || *bits == 3 || *bits == 4 || *bits == 8)
        return quant_part_check_bits(weight, QZEROS, hints, *bits);
    const int32_t wanted =
        hints->bits == 2 || hints->bits == 3 || hints->bits == 8 ? hints->bits : 4;
    return quant_part_refuse(
        weight, QZEROS,
        "expected i32[%lld, %lld] = [groups, N * bits / 32] for %d bits (layout %s has 2, 3, 4 or "
        "8), "
        "found %s",
        (long long)n_groups, (long long)quant_bits_words(n_rows, wanted), (int)wanted,
        weight->layout->name, quant_part_describe(&parts[QZEROS]).text);
}

static mlcc_status *describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, SCALES, QUANT_TYPES_SCALE, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[groups, N]"));
    const int64_t n_groups = parts[SCALES].dims[0], n_rows = parts[SCALES].dims[1];
    int32_t bits = 0;
    MLCC_TRY(bits_of_zeros(weight, hints, &bits));
    MLCC_TRY(quant_part_expect(
        weight, QWEIGHT, QUANT_TYPES_WORD, 2, QUANT_ANY_DIM, n_rows, "[K * bits / 32, N]"));
    const int64_t n_lines = parts[QWEIGHT].dims[0];
    if (n_lines * 32 % bits != 0) {
        return quant_part_refuse(
            weight, QWEIGHT, "%lld rows of words, expected a multiple of 3 for 3 bits",
            (long long)n_lines);
    }
    const int64_t columns = n_lines * 32 / bits;
    if (quant_part_exists(weight, G_IDX))
        MLCC_TRY(quant_part_expect(weight, G_IDX, 1u << IR_I32, 1, columns, 0, "[K]"));
    int64_t group = 0;
    MLCC_TRY(
        quant_part_group(weight, SCALES, hints, columns, n_groups, QUANT_GROUP_MAY_TAIL, &group));
    return quant_part_finish(
        weight, QUANT_CANON_INT, n_rows, columns, bits, group, n_groups, canon);
}

static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)keep;
    MLCC_TRY(quant_part_check_finite(weight, SCALES));
    if (!quant_part_exists(weight, G_IDX))
        MLCC_TRY(quant_part_check_group(weight, SCALES, hints, canon));
    return quant_part_check_map(weight, G_IDX, canon, false, &canon->group_of_column);
}

static void unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    const int32_t bits = canon->bits, offset = zero_offset(weight->layout);
    quant_unpack_lines(
        weight->parts[QWEIGHT].data, canon->n_rows, bits, rows->first_row, rows->n_rows,
        canon->columns, rows->codes);
    const int64_t stride = weight->parts[QZEROS].dims[1];
    for (int64_t j = 0; j < canon->n_groups; j++) {
        const uint32_t *line = (const uint32_t *)weight->parts[QZEROS].data + j * stride;
        for (int64_t r = 0; r < rows->n_rows; r++) {
            rows->zeros[r * canon->n_groups + j] =
                (int16_t)((int32_t)quant_bits_get(line, rows->first_row + r, bits) + offset);
        }
    }
    quant_part_scales_transposed(&weight->parts[SCALES], canon->n_rows, canon, rows);
}

static mlcc_status *pack_as(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    mlcc_arena *keep, quant_foreign_weight *weight) {
    const int32_t bits = canon->bits, offset = zero_offset(layout);
    const int64_t multiple = bits == 3 ? 32 : 32 / bits;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8,
                             .rows_multiple = multiple,
                             .columns_multiple = multiple,
                             .takes_map = true,
                             .takes_tail = true,
                             .min_zero = offset,
                             .max_zero = (1 << bits) - 1 + offset}));
    quant_pack_begin(weight, layout);
    const int64_t n_lines = quant_bits_words(canon->columns, bits);
    const int64_t zero_words = quant_bits_words(canon->n_rows, bits);
    uint32_t *qweight = quant_pack_new(weight, QWEIGHT, keep, IR_I32, 2, n_lines, canon->n_rows);
    uint32_t *qzeros = quant_pack_new(weight, QZEROS, keep, IR_I32, 2, canon->n_groups, zero_words);
    int32_t *map = quant_pack_new(weight, G_IDX, keep, IR_I32, 1, canon->columns, 0);
    for (int64_t k = 0; k < canon->columns; k++) {
        const int64_t position = k * bits, line = position >> 5;
        const uint32_t shift = (uint32_t)(position & 31);
        for (int64_t n = 0; n < canon->n_rows; n++) {
            const uint32_t code = rows->codes[n * canon->columns + k];
            qweight[line * canon->n_rows + n] |= code << shift;
            if (shift + (uint32_t)bits > 32)
                qweight[(line + 1) * canon->n_rows + n] |= code >> (32 - shift);
        }
        map[k] = canon->group_of_column != NULL ? canon->group_of_column[k]
                                                : (int32_t)(k / canon->group);
    }
    for (int64_t j = 0; j < canon->n_groups; j++) {
        for (int64_t n = 0; n < canon->n_rows; n++) {
            const int32_t zero = rows->zeros[n * canon->n_groups + j];
            quant_bits_put(qzeros + j * zero_words, n, bits, (uint32_t)(zero - offset));
        }
    }
    quant_pack_scales_transposed(
        weight, SCALES, keep, quant_pack_scale_dtype(canon, rows), canon, rows, canon->n_groups);
    return NULL;
}

static mlcc_status *pack_v1(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    return pack_as(&quant_foreign_gptq, canon, rows, keep, weight);
}

static mlcc_status *pack_v2(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    return pack_as(&quant_foreign_gptq_v2, canon, rows, keep, weight);
}

#define GPTQ_PARTS \
    {{.suffix = "qweight", .is_required = true}, \
     {.suffix = "qzeros", .is_required = true}, \
     {.suffix = "scales", .is_required = true}, \
     {.suffix = "g_idx"}}

const quant_foreign_layout quant_foreign_gptq = {
    .name = "gptq",
    .family = "gptq",
    .meaning = "GPTQ: 2, 3, 4 or 8 bits packed along the inputs, zeros stored less one",
    .formats = {"gptq"},
    .parts = GPTQ_PARTS,
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack_v1,
};

const quant_foreign_layout quant_foreign_gptq_v2 = {
    .name = "gptq-v2",
    .family = "gptq",
    .meaning = "GPTQ with zeros as they are",
    .formats = {"gptq_v2", "gptq-v2"},
    .parts = GPTQ_PARTS,
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack_v2,
};
