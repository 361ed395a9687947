// awq-gemv: AutoAWQ's gemv, and LLMC's gemv_pack.
//
//   qweight  i32 [N, K / 8]   word [n][c], nibble i = code of input 8 c + i
//   qzeros   i32 [N, Zw]      word [n][c], nibble i = zero of group 8 c + i; padding is 0
//   scales   f16 [N, 8 Zw]    padding is 0; Zw: awq_padding.h
//
// LLMC's writer filled only floor(G / 8) words of zeros a row: the zeros of the last G mod 8 groups
// were never stored and read as 0. That shows: the word is 0 in every row although its groups have
// scales. Where all other zeros are 8, or the configuration says symmetric, the missing ones are 8;
// otherwise nobody knows them and the weight is refused.
#include "quantization/foreign/awq_padding.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"
#include "runtime/base/log.h"

enum { QWEIGHT, QZEROS, SCALES };

static mlcc_status *describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, QWEIGHT, QUANT_TYPES_WORD, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[N, K / 8]"));
    const int64_t n_rows = parts[QWEIGHT].dims[0], columns = 8 * parts[QWEIGHT].dims[1];
    MLCC_TRY(quant_part_check_bits(weight, QWEIGHT, hints, 4));
    MLCC_TRY(quant_part_expect(
        weight, QZEROS, QUANT_TYPES_WORD, 2, n_rows, QUANT_ANY_DIM, "[N, zero words]"));
    const int64_t zero_words = parts[QZEROS].dims[1];
    MLCC_TRY(quant_part_expect(
        weight, SCALES, QUANT_TYPES_SCALE, 2, n_rows, 8 * zero_words, "[N, 8 * zero words]"));
    int64_t group = 0;
    MLCC_TRY(quant_awq_padded_group(weight, SCALES, hints, columns, zero_words, &group));
    return quant_part_finish(
        weight, QUANT_CANON_INT, n_rows, columns, 4, group, columns / group, canon);
}

// Whether the last, partly used word of zeros was never written: 0 in every row, with scales.
static bool lacks_last_zeros(const quant_foreign_weight *weight, const quant_canon *canon) {
    const int64_t zero_words = weight->parts[QZEROS].dims[1];
    const int64_t n_full = canon->n_groups / 8, n_left = canon->n_groups % 8;
    const uint32_t *words = weight->parts[QZEROS].data;
    bool has_scales = false;
    for (int64_t n = 0; n_left > 0 && n < canon->n_rows; n++) {
        float scales[8];
        if (words[n * zero_words + n_full] != 0) return false;
        quant_part_floats(&weight->parts[SCALES], 8 * (n * zero_words + n_full), n_left, scales);
        for (int64_t j = 0; j < n_left; j++) has_scales = has_scales || scales[j] != 0.0f;
    }
    return has_scales;
}

// Whether every full word of zeros is `word`, and there is one.
static bool full_zeros_are(
    const quant_foreign_weight *weight, const quant_canon *canon, uint32_t word) {
    const int64_t zero_words = weight->parts[QZEROS].dims[1];
    const uint32_t *words = weight->parts[QZEROS].data;
    for (int64_t n = 0; n < canon->n_rows; n++) {
        for (int64_t c = 0; c < canon->n_groups / 8; c++) {
            if (words[n * zero_words + c] != word) return false;
        }
    }
    return canon->n_groups >= 8;
}

static void repair_zeros(
    quant_foreign_weight *weight, const quant_canon *canon, const char *reason, mlcc_arena *keep) {
    quant_foreign_tensor *qzeros = &weight->parts[QZEROS];
    const int64_t zero_words = qzeros->dims[1];
    const size_t n_words = (size_t)quant_part_elements(qzeros);
    uint32_t *words = mlcc_arena_memdup(keep, qzeros->data, n_words * sizeof *words);
    const uint32_t used = (1u << (4 * (canon->n_groups % 8))) - 1u;
    for (int64_t n = 0; n < canon->n_rows; n++)
        words[n * zero_words + canon->n_groups / 8] = 0x88888888u & used;
    qzeros->data = words;
    mlcc_log(
        MLCC_LOG_WARN, "quantization",
        "%s.%s: zeros of the last %lld of %lld groups were not stored (LLMC's gemv_pack); they are "
        "8, "
        "since %s",
        weight->name != NULL ? weight->name : "weight", quant_part_name(weight, QZEROS),
        (long long)(canon->n_groups % 8), (long long)canon->n_groups, reason);
}

static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    MLCC_TRY(quant_part_check_finite(weight, SCALES));
    MLCC_TRY(quant_awq_check_padding(
        weight, SCALES, hints, false, weight->parts[QZEROS].dims[1], canon));
    if (!quant_part_has_data(weight, QZEROS) || !quant_part_has_data(weight, SCALES)) return NULL;
    // Zeros that are 0 everywhere are nobody's omission, unless the tool is known to omit them.
    if (!lacks_last_zeros(weight, canon) ||
        (!hints->is_llmc_gemv && full_zeros_are(weight, canon, 0)))
        return NULL;
    const bool are_eight = full_zeros_are(weight, canon, 0x88888888u);
    if (!hints->is_symmetric && !are_eight) {
        return MLCC_ERROR(
            INVALID,
            "%s.%s: zeros of the last %lld of %lld groups are missing (0 in every row, but their "
            "scales "
            "are not; LLMC's gemv_pack did not store them) and cannot be known; export the model "
            "again "
            "with gemm_pack",
            weight->name != NULL ? weight->name : "weight", quant_part_name(weight, QZEROS),
            (long long)(canon->n_groups % 8), (long long)canon->n_groups);
    }
    repair_zeros(
        weight, canon, are_eight ? "all others are" : "the configuration says symmetric", keep);
    return NULL;
}

static void unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    const int64_t stride = canon->columns / 8, zero_words = weight->parts[QZEROS].dims[1];
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const int64_t n = rows->first_row + r;
        const uint32_t *words = (const uint32_t *)weight->parts[QWEIGHT].data + n * stride;
        const uint32_t *zeros = (const uint32_t *)weight->parts[QZEROS].data + n * zero_words;
        quant_unpack_row(words, 4, canon->columns, rows->codes + r * canon->columns);
        for (int64_t j = 0; j < canon->n_groups; j++)
            rows->zeros[r * canon->n_groups + j] = (int16_t)quant_bits_get(zeros, j, 4);
        quant_part_floats(
            &weight->parts[SCALES], 8 * n * zero_words, canon->n_groups,
            rows->scales + r * canon->n_groups);
    }
}

static mlcc_status *pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_awq_gemv;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 4,
                             .rows_multiple = 1,
                             .columns_multiple = 8,
                             .max_zero = 15}));
    const int64_t zero_words = quant_awq_zero_words(canon->columns, canon->group);
    if (zero_words == 0) {
        return quant_pack_refuse(
            layout, "groups of %lld; it has 32, 64, or 128 and more", (long long)canon->group);
    }
    quant_pack_begin(weight, layout);
    const ir_dtype dtype = quant_pack_scale_dtype(canon, rows);
    uint32_t *qweight =
        quant_pack_new(weight, QWEIGHT, keep, IR_I32, 2, canon->n_rows, canon->columns / 8);
    uint32_t *qzeros = quant_pack_new(weight, QZEROS, keep, IR_I32, 2, canon->n_rows, zero_words);
    void *scales = quant_pack_new(weight, SCALES, keep, dtype, 2, canon->n_rows, 8 * zero_words);
    for (int64_t n = 0; n < canon->n_rows; n++) {
        const uint8_t *codes = rows->codes + n * canon->columns;
        for (int64_t k = 0; k < canon->columns; k++)
            quant_bits_put(qweight + n * (canon->columns / 8), k, 4, codes[k]);
        for (int64_t j = 0; j < canon->n_groups; j++) {
            const int64_t i = n * canon->n_groups + j;
            quant_bits_put(qzeros + n * zero_words, j, 4, (uint32_t)rows->zeros[i]);
            quant_pack_float(scales, dtype, 8 * n * zero_words + j, rows->scales[i]);
        }
    }
    return NULL;
}

const quant_foreign_layout quant_foreign_awq_gemv = {
    .name = "awq-gemv",
    .family = "awq",
    .meaning = "AutoAWQ gemv: nibbles in natural order along the inputs, padded groups",
    .formats = {"gemv"},
    .parts =
        {{.suffix = "qweight", .is_required = true},
         {.suffix = "qzeros", .is_required = true},
         {.suffix = "scales", .is_required = true}},
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack,
};
