// ct-pack-quantized, ct-int-quantized: compressed-tensors' integer formats, also LLMC's vllm exports.
//
// pack-quantized, b = 4 or 8 bits; signed numbers have 2^(b-1) added before they are packed:
//   weight_packed      i32 [N, ceil(K b / 32)]   little-endian stream along K
//   weight_scale       f16 [N, G], [N, 1], [N] or [1]
//   weight_zero_point  i32 [ceil(N b / 32), G]   optional: little-endian stream down N; absent: 2^(b-1)
//   weight_g_idx       i32 [K]                   optional: group of input k; all -1: none
//   weight_shape       i64 [2] = (N, K)          LLMC writes none: K is then what the words hold
//
// int-quantized (also naive-quantized, which keeps fewer bits in a byte):
//   weight             i8 [N, K]
//   weight_scale       f16 [N, 1], [N], [1] or [N, G]
//   weight_zero_point  i8, shape of weight_scale; optional
#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"

// Parts of both layouts; the last two are of pack-quantized only.
enum { WEIGHT, SCALE, ZERO_POINT, G_IDX, SHAPE };

static mlcc_status *describe_scale(
    const quant_foreign_weight *weight, int64_t n_rows, int64_t *n_groups) {
    const quant_foreign_tensor *scale = &weight->parts[SCALE];
    *n_groups = 1;
    if (scale->rank == 2) {
        *n_groups = scale->dims[1];
        return quant_part_expect(
            weight, SCALE, QUANT_TYPES_SCALE, 2, n_rows, QUANT_ANY_DIM, "[N, groups]");
    }
    if (quant_part_elements(scale) == 1)
        return quant_part_expect(weight, SCALE, QUANT_TYPES_SCALE, scale->rank, 1, 0, "[1]");
    return quant_part_expect(weight, SCALE, QUANT_TYPES_SCALE, 1, n_rows, 0, "[N]");
}

// Scale and zero of a row begin here: one row of them may stand for all.
static int64_t first_of_row(const quant_foreign_tensor *tensor, int64_t n, int64_t n_groups) {
    return quant_part_elements(tensor) == 1 ? 0 : n * n_groups;
}

static void unpack_scales(
    const quant_foreign_weight *weight, const quant_canon *canon, quant_canon_rows *rows) {
    const quant_foreign_tensor *scale = &weight->parts[SCALE];
    for (int64_t r = 0; r < rows->n_rows; r++) {
        quant_part_floats(
            scale, first_of_row(scale, rows->first_row + r, canon->n_groups), canon->n_groups,
            rows->scales + r * canon->n_groups);
    }
}

static void pack_scales(
    quant_foreign_weight *weight, mlcc_arena *keep, const quant_canon *canon,
    const quant_canon_rows *rows) {
    const ir_dtype dtype = quant_pack_scale_dtype(canon, rows);
    void *data = quant_pack_new(weight, SCALE, keep, dtype, 2, canon->n_rows, canon->n_groups);
    for (int64_t i = 0; i < canon->n_rows * canon->n_groups; i++)
        quant_pack_float(data, dtype, i, rows->scales[i]);
}

static bool has_other_zero(
    const quant_canon *canon, const quant_canon_rows *rows, int16_t expected) {
    for (int64_t i = 0; i < canon->n_rows * canon->n_groups; i++) {
        if (rows->zeros[i] != expected) return true;
    }
    return false;
}

// ---- pack-quantized -----------------------------------------------------------------------------

// K, from weight_shape where its data is at hand, else all that the words hold.
static mlcc_status *columns_of(const quant_foreign_weight *weight, int32_t bits, int64_t *columns) {
    const int64_t n_rows = weight->parts[WEIGHT].dims[0], n_words = weight->parts[WEIGHT].dims[1];
    *columns = n_words * 32 / bits;
    if (quant_part_exists(weight, SHAPE))
        MLCC_TRY(quant_part_expect(weight, SHAPE, 1u << IR_I64, 1, 2, 0, "[2]"));
    if (!quant_part_has_data(weight, SHAPE)) return NULL;
    const int64_t *shape = weight->parts[SHAPE].data;
    if (shape[0] == n_rows && shape[1] >= 1 && shape[1] <= INT32_MAX &&
        quant_bits_words(shape[1], bits) == n_words) {
        *columns = shape[1];
        return NULL;
    }
    return quant_part_refuse(
        weight, SHAPE,
        "says [%lld, %lld], but weight_packed %s holds %lld rows of at most %lld "
        "%d-bit codes",
        (long long)shape[0], (long long)shape[1], quant_part_describe(&weight->parts[WEIGHT]).text,
        (long long)n_rows, (long long)*columns, (int)bits);
}

static mlcc_status *describe_bits(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, int32_t bits,
    quant_canon *canon) {
    const int64_t n_rows = weight->parts[WEIGHT].dims[0];
    int64_t columns = 0, n_groups = 0, group = 0;
    MLCC_TRY(columns_of(weight, bits, &columns));
    MLCC_TRY(describe_scale(weight, n_rows, &n_groups));
    if (quant_part_exists(weight, ZERO_POINT)) {
        MLCC_TRY(quant_part_expect(
            weight, ZERO_POINT, QUANT_TYPES_WORD, 2, quant_bits_words(n_rows, bits), n_groups,
            bits == 4 ? "[N * 4 / 32, groups]" : "[N * 8 / 32, groups]"));
    }
    if (quant_part_exists(weight, G_IDX))
        MLCC_TRY(quant_part_expect(weight, G_IDX, 1u << IR_I32, 1, columns, 0, "[K]"));
    MLCC_TRY(
        quant_part_group(weight, SCALE, hints, columns, n_groups, QUANT_GROUP_MAY_TAIL, &group));
    return quant_part_finish(
        weight, QUANT_CANON_INT, n_rows, columns, bits, group, n_groups, canon);
}

static mlcc_status *packed_describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, WEIGHT, QUANT_TYPES_WORD, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[N, K * bits / 32]"));
    if (hints->bits != 0 && hints->bits != 4 && hints->bits != 8) {
        return quant_part_refuse(
            weight, WEIGHT, "the configuration says %d bits; layout ct-pack-quantized has 4 or 8",
            (int)hints->bits);
    }
    const int32_t first = hints->bits != 0 ? hints->bits : 4, second = 12 - first;
    mlcc_status *status = describe_bits(weight, hints, first, canon);
    if (status == NULL) return NULL;
    // Does the other width fit? Then nobody said which, or, where zero points or the stored shape
    // speak against it, the configuration is wrong.
    const bool is_certain =
        quant_part_exists(weight, ZERO_POINT) || quant_part_has_data(weight, SHAPE);
    mlcc_status *other = describe_bits(weight, hints, second, canon);
    if (other == NULL && hints->bits == 0) {
        mlcc_status_free(status);
        return NULL;
    }
    *canon = (quant_canon){0};
    if (other == NULL && is_certain) {
        mlcc_status_free(status);
        return quant_part_check_bits(weight, WEIGHT, hints, second);
    }
    mlcc_status_free(other);
    return status;
}

static mlcc_status *packed_check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)keep;
    MLCC_TRY(quant_part_check_finite(weight, SCALE));
    if (!quant_part_exists(weight, G_IDX))
        MLCC_TRY(quant_part_check_group(weight, SCALE, hints, canon));
    return quant_part_check_map(weight, G_IDX, canon, true, &canon->group_of_column);
}

static void packed_unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    const int32_t bits = canon->bits;
    const int64_t stride = weight->parts[WEIGHT].dims[1];
    const uint32_t *words = weight->parts[WEIGHT].data;
    const uint32_t *zeros =
        quant_part_exists(weight, ZERO_POINT) ? weight->parts[ZERO_POINT].data : NULL;
    unpack_scales(weight, canon, rows);
    quant_zeros_fill(canon, rows, (int16_t)(1 << (bits - 1)));
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const int64_t n = rows->first_row + r;
        quant_unpack_row(
            words + n * stride, bits, canon->columns, rows->codes + r * canon->columns);
        if (zeros == NULL) continue;
        const uint32_t *line = zeros + (n * bits >> 5) * canon->n_groups;
        const uint32_t shift = (uint32_t)(n * bits & 31), mask = (1u << bits) - 1u;
        for (int64_t j = 0; j < canon->n_groups; j++)
            rows->zeros[r * canon->n_groups + j] = (int16_t)((line[j] >> shift) & mask);
    }
}

static mlcc_status *packed_pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_ct_packed;
    const int32_t bits = canon->bits;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 4 | 1u << 8,
                             .rows_multiple = 1,
                             .columns_multiple = 1,
                             .takes_map = true,
                             .takes_tail = true,
                             .max_zero = (1 << bits) - 1}));
    quant_pack_begin(weight, layout);
    const int64_t stride = quant_bits_words(canon->columns, bits);
    uint32_t *words = quant_pack_new(weight, WEIGHT, keep, IR_I32, 2, canon->n_rows, stride);
    for (int64_t n = 0; n < canon->n_rows; n++) {
        for (int64_t k = 0; k < canon->columns; k++)
            quant_bits_put(words + n * stride, k, bits, rows->codes[n * canon->columns + k]);
    }
    pack_scales(weight, keep, canon, rows);
    if (has_other_zero(canon, rows, (int16_t)(1 << (bits - 1)))) {
        uint32_t *zeros = quant_pack_new(
            weight, ZERO_POINT, keep, IR_I32, 2, quant_bits_words(canon->n_rows, bits),
            canon->n_groups);
        for (int64_t n = 0; n < canon->n_rows; n++) {
            for (int64_t j = 0; j < canon->n_groups; j++) {
                zeros[(n * bits >> 5) * canon->n_groups + j] |=
                    (uint32_t)rows->zeros[n * canon->n_groups + j] << (n * bits & 31);
            }
        }
    }
    if (canon->group_of_column != NULL) {
        int32_t *map = quant_pack_new(weight, G_IDX, keep, IR_I32, 1, canon->columns, 0);
        memcpy(map, canon->group_of_column, (size_t)canon->columns * sizeof *map);
    }
    int64_t *shape = quant_pack_new(weight, SHAPE, keep, IR_I64, 1, 2, 0);
    shape[0] = canon->n_rows;
    shape[1] = canon->columns;
    return NULL;
}

const quant_foreign_layout quant_foreign_ct_packed = {
    .name = "ct-pack-quantized",
    .family = "compressed-tensors",
    .meaning = "compressed-tensors pack-quantized: 4 or 8 bits along the inputs",
    .formats = {"pack-quantized"},
    .parts =
        {{.suffix = "weight_packed", .is_required = true},
         {.suffix = "weight_scale", .is_required = true},
         {.suffix = "weight_zero_point"},
         {.suffix = "weight_g_idx"},
         {.suffix = "weight_shape"}},
    .describe = packed_describe,
    .check = packed_check,
    .unpack = packed_unpack,
    .pack = packed_pack,
};

// ---- int-quantized ------------------------------------------------------------------------------

static mlcc_status *int_describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(
        quant_part_expect(weight, WEIGHT, 1u << IR_I8, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[N, K]"));
    const int64_t n_rows = weight->parts[WEIGHT].dims[0], columns = weight->parts[WEIGHT].dims[1];
    int64_t n_groups = 0, group = 0;
    if (hints->bits > 8) MLCC_TRY(quant_part_check_bits(weight, WEIGHT, hints, 8));
    MLCC_TRY(describe_scale(weight, n_rows, &n_groups));
    if (quant_part_exists(weight, ZERO_POINT)) {
        const quant_foreign_tensor *scale = &weight->parts[SCALE];
        MLCC_TRY(quant_part_expect(
            weight, ZERO_POINT, 1u << IR_I8, scale->rank, scale->dims[0], scale->dims[1],
            "shape of weight_scale"));
    }
    MLCC_TRY(
        quant_part_group(weight, SCALE, hints, columns, n_groups, QUANT_GROUP_MAY_TAIL, &group));
    return quant_part_finish(weight, QUANT_CANON_INT, n_rows, columns, 8, group, n_groups, canon);
}

static mlcc_status *int_check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)keep;
    MLCC_TRY(quant_part_check_finite(weight, SCALE));
    return quant_part_check_group(weight, SCALE, hints, canon);
}

static void int_unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    // Adding 128 turns the sign bit over.
    const uint8_t *restrict stored =
        (const uint8_t *)weight->parts[WEIGHT].data + rows->first_row * canon->columns;
    uint8_t *restrict codes = rows->codes;
    for (int64_t i = 0; i < rows->n_rows * canon->columns; i++) codes[i] = stored[i] ^ 0x80u;
    unpack_scales(weight, canon, rows);
    quant_zeros_fill(canon, rows, 128);
    if (!quant_part_exists(weight, ZERO_POINT)) return;
    const quant_foreign_tensor *part = &weight->parts[ZERO_POINT];
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const int8_t *zeros =
            (const int8_t *)part->data + first_of_row(part, rows->first_row + r, canon->n_groups);
        for (int64_t j = 0; j < canon->n_groups; j++)
            rows->zeros[r * canon->n_groups + j] = (int16_t)(zeros[j] + 128);
    }
}

static mlcc_status *int_pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_ct_int;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 8,
                             .rows_multiple = 1,
                             .columns_multiple = 1,
                             .takes_tail = true,
                             .max_zero = 255}));
    quant_pack_begin(weight, layout);
    uint8_t *stored = quant_pack_new(weight, WEIGHT, keep, IR_I8, 2, canon->n_rows, canon->columns);
    for (int64_t i = 0; i < canon->n_rows * canon->columns; i++) stored[i] = rows->codes[i] ^ 0x80u;
    pack_scales(weight, keep, canon, rows);
    if (!has_other_zero(canon, rows, 128)) return NULL;
    int8_t *zeros =
        quant_pack_new(weight, ZERO_POINT, keep, IR_I8, 2, canon->n_rows, canon->n_groups);
    for (int64_t i = 0; i < canon->n_rows * canon->n_groups; i++)
        zeros[i] = (int8_t)(rows->zeros[i] - 128);
    return NULL;
}

const quant_foreign_layout quant_foreign_ct_int = {
    .name = "ct-int-quantized",
    .family = "compressed-tensors",
    .meaning = "compressed-tensors int-quantized: int8 with a scale per output feature",
    .formats = {"int-quantized", "naive-quantized"},
    .parts =
        {{.suffix = "weight", .is_required = true},
         {.suffix = "weight_scale", .is_required = true},
         {.suffix = "weight_zero_point"}},
    .describe = int_describe,
    .check = int_check,
    .unpack = int_unpack,
    .pack = int_pack,
};
