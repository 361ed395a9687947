// awq-gemv-fast: AutoAWQ's gemv_fast, and llm-awq's "v2" files (there qzeros is called scaled_zeros).
//
//   qweight  i16 [N / 4, K]   row r holds outputs 4 r … 4 r + 3 (below)
//   scales   f16 [8 Zw, N]    padding is 0; Zw: awq_padding.h
//   qzeros   f16 [8 Zw, N]    - scale * zero, rounded to the scales' type
//
// Word x of row r, b = x div 64, w = x mod 64: nibble n is output 4 r + w div 16 at input
//   64 b + 32 (p div 32) + 8 (p' mod 4) + 2 (p' div 8) + ((p' div 4) mod 2),  p = 4 (w mod 16) + n, p' = p mod 32
//
// The zero comes back as the integer nearest to - qzeros / scale, and must give the stored number when
// multiplied and rounded again. A scale of 0 has weights of 0 whatever its zero; it is read as 0.
#include "quantization/foreign/awq_padding.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"

#include <math.h>

enum { QWEIGHT, QZEROS, SCALES };
enum { BLOCK = 64 }; // columns, and words of a row, that are permuted among themselves

// Input, within its block, of a nibble of word w mod 16: the formula above, with p' div 4 = word mod 8
// and p' mod 4 = nibble.
static int32_t column_of(int32_t word, int32_t nibble) {
    const int32_t half = word / 8, w = word % 8;
    return 32 * half + 8 * nibble + 2 * (w / 2) + w % 2;
}

static mlcc_status *describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, QWEIGHT, 1u << IR_I16, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[N / 4, K]"));
    const int64_t n_rows = 4 * parts[QWEIGHT].dims[0], columns = parts[QWEIGHT].dims[1];
    MLCC_TRY(quant_part_check_bits(weight, QWEIGHT, hints, 4));
    if (columns % BLOCK != 0) {
        return quant_part_refuse(
            weight, QWEIGHT, "K = %lld, expected a multiple of %d for layout awq-gemv-fast",
            (long long)columns, (int)BLOCK);
    }
    MLCC_TRY(quant_part_expect(
        weight, SCALES, QUANT_TYPES_SCALE, 2, QUANT_ANY_DIM, n_rows, "[8 * zero words, N]"));
    const int64_t n_padded = parts[SCALES].dims[0];
    MLCC_TRY(quant_part_expect(
        weight, QZEROS, 1u << parts[SCALES].dtype, 2, n_padded, n_rows, "shape of scales"));
    if (n_padded % 8 != 0) {
        return quant_part_refuse(
            weight, SCALES, "%lld groups, expected a multiple of 8 for layout awq-gemv-fast",
            (long long)n_padded);
    }
    int64_t group = 0;
    MLCC_TRY(quant_awq_padded_group(weight, SCALES, hints, columns, n_padded / 8, &group));
    return quant_part_finish(
        weight, QUANT_CANON_INT, n_rows, columns, 4, group, columns / group, canon);
}

static float zero_of(float scale, float scaled_zero) {
    return scale == 0.0f ? 0.0f : rintf(-scaled_zero / scale);
}

static mlcc_status *check_zeros(const quant_foreign_weight *weight, const quant_canon *canon) {
    const ir_dtype dtype = weight->parts[SCALES].dtype;
    for (int64_t i = 0; i < canon->n_groups * canon->n_rows; i++) {
        float scale = 0.0f, scaled_zero = 0.0f;
        quant_part_floats(&weight->parts[SCALES], i, 1, &scale);
        quant_part_floats(&weight->parts[QZEROS], i, 1, &scaled_zero);
        const float zero = zero_of(scale, scaled_zero);
        if (zero >= 0.0f && zero <= 15.0f &&
            quant_pack_round(dtype, -(scale * zero)) == scaled_zero)
            continue;
        return MLCC_ERROR(
            INVALID,
            "%s.%s[%lld, %lld] is %.9g, expected - scale * zero with scale %.9g and a whole zero "
            "from 0 "
            "to 15",
            weight->name != NULL ? weight->name : "weight", quant_part_name(weight, QZEROS),
            (long long)(i / canon->n_rows), (long long)(i % canon->n_rows), (double)scaled_zero,
            (double)scale);
    }
    return NULL;
}

static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)keep;
    MLCC_TRY(quant_part_check_finite(weight, SCALES));
    MLCC_TRY(quant_part_check_finite(weight, QZEROS));
    MLCC_TRY(quant_awq_check_padding(
        weight, SCALES, hints, true, weight->parts[SCALES].dims[0] / 8, canon));
    if (!quant_part_has_data(weight, SCALES) || !quant_part_has_data(weight, QZEROS)) return NULL;
    return check_zeros(weight, canon);
}

// One output's sixteen words of a block.
static void unpack_block(const uint16_t *restrict words, uint8_t *restrict codes) {
    for (int32_t w = 0; w < 16; w++) {
        uint8_t *output = codes + column_of(w, 0);
        for (int32_t i = 0; i < 4; i++) output[8 * i] = (uint8_t)((words[w] >> (4 * i)) & 15);
    }
}

static void unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const int64_t n = rows->first_row + r;
        const uint16_t *words = (const uint16_t *)weight->parts[QWEIGHT].data +
                                (n >> 2) * canon->columns + 16 * (n & 3);
        uint8_t *codes = rows->codes + r * canon->columns;
        for (int64_t k = 0; k < canon->columns; k += BLOCK) unpack_block(words + k, codes + k);
    }
    quant_part_scales_transposed(&weight->parts[SCALES], canon->n_rows, canon, rows);
    float run[256];
    for (int64_t begin = 0; begin < rows->n_rows; begin += 256) {
        const int64_t count = rows->n_rows - begin < 256 ? rows->n_rows - begin : 256;
        for (int64_t j = 0; j < canon->n_groups; j++) {
            quant_part_floats(
                &weight->parts[QZEROS], j * canon->n_rows + rows->first_row + begin, count, run);
            for (int64_t r = 0; r < count; r++) {
                const int64_t i = (begin + r) * canon->n_groups + j;
                rows->zeros[i] = (int16_t)zero_of(rows->scales[i], run[r]);
            }
        }
    }
}

// The zeros, multiplied and rounded, must be found again.
static mlcc_status *pack_zeros(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight, ir_dtype dtype, int64_t lines) {
    void *data = quant_pack_new(weight, QZEROS, keep, dtype, 2, lines, canon->n_rows);
    for (int64_t j = 0; j < canon->n_groups; j++) {
        for (int64_t n = 0; n < canon->n_rows; n++) {
            const float scale = rows->scales[n * canon->n_groups + j];
            const float zero = (float)rows->zeros[n * canon->n_groups + j];
            const float product = quant_pack_round(dtype, -(scale * zero));
            if (!isfinite(product) || (scale != 0.0f && zero_of(scale, product) != zero)) {
                return quant_pack_refuse(
                    weight->layout, "scale %.9g times zero %d in %s", (double)scale, (int)zero,
                    ir_dtype_get(dtype)->text);
            }
            quant_pack_float(data, dtype, j * canon->n_rows + n, product);
        }
    }
    return NULL;
}

static mlcc_status *pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_awq_gemv_fast;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 4,
                             .rows_multiple = 4,
                             .columns_multiple = BLOCK,
                             .max_zero = 15}));
    const int64_t zero_words = quant_awq_zero_words(canon->columns, canon->group);
    if (zero_words == 0) {
        return quant_pack_refuse(
            layout, "groups of %lld; it has 32, 64, or 128 and more", (long long)canon->group);
    }
    quant_pack_begin(weight, layout);
    const ir_dtype dtype = quant_pack_scale_dtype(canon, rows);
    uint16_t *qweight =
        quant_pack_new(weight, QWEIGHT, keep, IR_I16, 2, canon->n_rows / 4, canon->columns);
    for (int64_t n = 0; n < canon->n_rows; n++) {
        uint16_t *words = qweight + (n >> 2) * canon->columns + 16 * (n & 3);
        for (int64_t k = 0; k < canon->columns; k += BLOCK) {
            const uint8_t *codes = rows->codes + n * canon->columns + k;
            for (int32_t w = 0; w < 16; w++) {
                uint32_t word = 0;
                for (int32_t i = 0; i < 4; i++) word |= (uint32_t)codes[column_of(w, i)] << (4 * i);
                words[k + w] = (uint16_t)word;
            }
        }
    }
    quant_pack_scales_transposed(weight, SCALES, keep, dtype, canon, rows, 8 * zero_words);
    return pack_zeros(canon, rows, keep, weight, dtype, 8 * zero_words);
}

const quant_foreign_layout quant_foreign_awq_gemv_fast = {
    .name = "awq-gemv-fast",
    .family = "awq",
    .meaning = "AutoAWQ gemv_fast and llm-awq v2: 16-bit words, zeros stored as - scale * zero",
    .formats = {"gemv_fast", "gemv-fast", "llm-awq"},
    .parts =
        {{.suffix = "qweight", .is_required = true},
         {.suffix = "qzeros", .alternative = "scaled_zeros", .is_required = true},
         {.suffix = "scales", .is_required = true}},
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack,
};
