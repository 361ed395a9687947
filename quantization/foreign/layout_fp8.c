// fp8-tensor, fp8-channel, fp8-block: float8 weights, W = weight * scale whatever the scale is called.
//
//   weight            f8e4m3 or f8e5m2 [N, K]
//   weight_scale      fp8-tensor: one number, [1] or scalar; fp8-channel: [N, 1] or [N]
//   weight_scale_inv  fp8-block: f32 [ceil(N / b0), ceil(K / b1)], blocks of 128 x 128 unless the
//                     configuration says otherwise
//
// Scales are f32, bf16 or f16; either of the two names is read in all three layouts.
#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"

#include <string.h>

enum { WEIGHT, SCALE };

static mlcc_status *describe_weight(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon_kind *kind) {
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, WEIGHT, 1u << IR_F8E4M3 | 1u << IR_F8E5M2, 2, QUANT_ANY_DIM, QUANT_ANY_DIM,
        "[N, K]"));
    MLCC_TRY(quant_part_check_bits(weight, WEIGHT, hints, 8));
    *kind = weight->parts[WEIGHT].dtype == IR_F8E4M3 ? QUANT_CANON_E4M3 : QUANT_CANON_E5M2;
    return NULL;
}

static mlcc_status *tensor_describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    quant_canon_kind kind = QUANT_CANON_E4M3;
    *canon = (quant_canon){0};
    MLCC_TRY(describe_weight(weight, hints, &kind));
    const int32_t rank = parts[SCALE].rank < 2 ? parts[SCALE].rank : 1;
    MLCC_TRY(quant_part_expect(
        weight, SCALE, QUANT_TYPES_SCALE, rank, 1, 0, "one number for the tensor"));
    return quant_part_finish(
        weight, kind, parts[WEIGHT].dims[0], parts[WEIGHT].dims[1], 8, parts[WEIGHT].dims[1], 1,
        canon);
}

static mlcc_status *channel_describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    quant_canon_kind kind = QUANT_CANON_E4M3;
    *canon = (quant_canon){0};
    MLCC_TRY(describe_weight(weight, hints, &kind));
    const int64_t n_rows = parts[WEIGHT].dims[0];
    MLCC_TRY(quant_part_expect(
        weight, SCALE, QUANT_TYPES_SCALE, parts[SCALE].rank == 1 ? 1 : 2, n_rows, 1, "[N, 1]"));
    return quant_part_finish(
        weight, kind, n_rows, parts[WEIGHT].dims[1], 8, parts[WEIGHT].dims[1], 1, canon);
}

static int64_t blocks_of(int64_t length, int64_t block) {
    return length / block + (length % block != 0);
}

// Rows and columns of a block: the configuration's, else the first usual square that fits; both 0
// when none does.
static void find_block(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, int64_t *block_rows,
    int64_t *block_columns) {
    static const int64_t usual[] = {128, 64, 32, 256, 16, 512};
    const int64_t *dims = weight->parts[WEIGHT].dims, *scale = weight->parts[SCALE].dims;
    const bool is_named = hints->block_rows > 0 && hints->block_columns > 0;
    const size_t n = is_named ? 1 : sizeof usual / sizeof *usual;
    for (size_t i = 0; i < n; i++) {
        *block_rows = is_named ? hints->block_rows : usual[i];
        *block_columns = is_named ? hints->block_columns : usual[i];
        if (blocks_of(dims[0], *block_rows) == scale[0] &&
            blocks_of(dims[1], *block_columns) == scale[1])
            return;
    }
    *block_rows = *block_columns = 0;
}

static mlcc_status *block_describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    quant_canon_kind kind = QUANT_CANON_E4M3;
    int64_t block_rows = 0, block_columns = 0;
    *canon = (quant_canon){0};
    MLCC_TRY(describe_weight(weight, hints, &kind));
    MLCC_TRY(quant_part_expect(
        weight, SCALE, QUANT_TYPES_SCALE, 2, QUANT_ANY_DIM, QUANT_ANY_DIM,
        "[ceil(N / block rows), ceil(K / block columns)]"));
    const int64_t n_rows = parts[WEIGHT].dims[0], columns = parts[WEIGHT].dims[1];
    find_block(weight, hints, &block_rows, &block_columns);
    if (block_rows == 0) {
        const bool is_named = hints->block_rows > 0 && hints->block_columns > 0;
        const int64_t r = is_named ? hints->block_rows : 128,
                      c = is_named ? hints->block_columns : 128;
        return quant_part_refuse(
            weight, SCALE,
            "expected [%lld, %lld] for blocks of %lld x %lld (%s) of weight %s, found %s",
            (long long)blocks_of(n_rows, r), (long long)blocks_of(columns, c), (long long)r,
            (long long)c, is_named ? "weight_block_size of the configuration" : "the usual size",
            quant_part_describe(&parts[WEIGHT]).text, quant_part_describe(&parts[SCALE]).text);
    }
    return quant_part_finish(
        weight, kind, n_rows, columns, 8, block_columns < columns ? block_columns : columns,
        parts[SCALE].dims[1], canon);
}

// NaN codes are legal elements (a NaN weight) and are left to whoever looks at the values.
static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)hints, (void)canon, (void)keep;
    return quant_part_check_finite(weight, SCALE);
}

static void copy_codes(
    const quant_foreign_weight *weight, const quant_canon *canon, quant_canon_rows *rows) {
    memcpy(
        rows->codes, (const uint8_t *)weight->parts[WEIGHT].data + rows->first_row * canon->columns,
        (size_t)(rows->n_rows * canon->columns));
    quant_zeros_fill(canon, rows, 0);
}

static void tensor_unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    float scale = 0.0f;
    copy_codes(weight, canon, rows);
    quant_part_floats(&weight->parts[SCALE], 0, 1, &scale);
    for (int64_t r = 0; r < rows->n_rows; r++) rows->scales[r] = scale;
}

static void channel_unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    copy_codes(weight, canon, rows);
    quant_part_floats(&weight->parts[SCALE], rows->first_row, rows->n_rows, rows->scales);
}

static void block_unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    int64_t block_rows = 0, block_columns = 0;
    copy_codes(weight, canon, rows);
    find_block(weight, hints, &block_rows, &block_columns);
    for (int64_t r = 0; r < rows->n_rows; r++) {
        quant_part_floats(
            &weight->parts[SCALE], (rows->first_row + r) / block_rows * canon->n_groups,
            canon->n_groups, rows->scales + r * canon->n_groups);
    }
}

// ---- writers ------------------------------------------------------------------------------------

// Begins a weight with its codes and returns the scales, f32.
static float *pack_codes(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    mlcc_arena *keep, int32_t scale_rank, int64_t d0, int64_t d1, quant_foreign_weight *weight) {
    quant_pack_begin(weight, layout);
    const ir_dtype dtype = canon->kind == QUANT_CANON_E4M3 ? IR_F8E4M3 : IR_F8E5M2;
    void *codes = quant_pack_new(weight, WEIGHT, keep, dtype, 2, canon->n_rows, canon->columns);
    memcpy(codes, rows->codes, (size_t)(canon->n_rows * canon->columns));
    return quant_pack_new(weight, SCALE, keep, IR_F32, scale_rank, d0, d1);
}

static mlcc_status *check_kind(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    bool is_blocked) {
    if (canon->kind == QUANT_CANON_INT) return quant_pack_refuse(layout, "integer codes");
    if (!is_blocked && canon->n_groups != 1)
        return quant_pack_refuse(layout, "%lld scales a row", (long long)canon->n_groups);
    return quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = canon->kind,
                             .bits = 1u << 8,
                             .rows_multiple = 1,
                             .columns_multiple = 1,
                             .takes_tail = true});
}

static mlcc_status *tensor_pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_fp8_tensor;
    MLCC_TRY(check_kind(layout, canon, rows, false));
    for (int64_t n = 1; n < canon->n_rows; n++) {
        if (rows->scales[n] != rows->scales[0])
            return quant_pack_refuse(layout, "a scale per output feature");
    }
    float *scale = pack_codes(layout, canon, rows, keep, 1, 1, 0, weight);
    scale[0] = rows->scales[0];
    return NULL;
}

static mlcc_status *channel_pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_fp8_channel;
    MLCC_TRY(check_kind(layout, canon, rows, false));
    float *scales = pack_codes(layout, canon, rows, keep, 2, canon->n_rows, 1, weight);
    memcpy(scales, rows->scales, (size_t)canon->n_rows * sizeof *scales);
    return NULL;
}

// Blocks are square: as many rows as the group has columns.
static mlcc_status *block_pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_fp8_block;
    MLCC_TRY(check_kind(layout, canon, rows, true));
    const int64_t block = canon->n_groups == 1 ? 128 : canon->group;
    if (blocks_of(canon->columns, block) != canon->n_groups) {
        return quant_pack_refuse(
            layout, "a group of %lld columns; blocks are 128 wide", (long long)canon->group);
    }
    const size_t row_bytes = (size_t)canon->n_groups * sizeof *rows->scales;
    for (int64_t n = 0; n < canon->n_rows; n++) {
        if (memcmp(
                rows->scales + n * canon->n_groups,
                rows->scales + n / block * block * canon->n_groups, row_bytes) != 0) {
            return quant_pack_refuse(
                layout, "scales that differ within %lld output features", (long long)block);
        }
    }
    float *scales = pack_codes(
        layout, canon, rows, keep, 2, blocks_of(canon->n_rows, block), canon->n_groups, weight);
    for (int64_t b = 0; b * block < canon->n_rows; b++) {
        memcpy(scales + b * canon->n_groups, rows->scales + b * block * canon->n_groups, row_bytes);
    }
    return NULL;
}

const quant_foreign_layout quant_foreign_fp8_tensor = {
    .name = "fp8-tensor",
    .family = "fp8",
    .other_family = "compressed-tensors",
    .meaning = "float8 with one scale",
    .formats = {"float-quantized"},
    .parts =
        {{.suffix = "weight", .is_required = true},
         {.suffix = "weight_scale", .alternative = "weight_scale_inv", .is_required = true}},
    .describe = tensor_describe,
    .check = check,
    .unpack = tensor_unpack,
    .pack = tensor_pack,
};

const quant_foreign_layout quant_foreign_fp8_channel = {
    .name = "fp8-channel",
    .family = "fp8",
    .other_family = "compressed-tensors",
    .meaning = "float8 with a scale per output feature",
    .formats = {"float-quantized"},
    .parts =
        {{.suffix = "weight", .is_required = true},
         {.suffix = "weight_scale", .alternative = "weight_scale_inv", .is_required = true}},
    .describe = channel_describe,
    .check = check,
    .unpack = channel_unpack,
    .pack = channel_pack,
};

const quant_foreign_layout quant_foreign_fp8_block = {
    .name = "fp8-block",
    .family = "fp8",
    .other_family = "compressed-tensors",
    .meaning = "float8 with a scale per block of outputs and inputs (DeepSeek)",
    .formats = {"float-quantized"},
    .parts =
        {{.suffix = "weight", .is_required = true},
         {.suffix = "weight_scale_inv", .alternative = "weight_scale", .is_required = true}},
    .describe = block_describe,
    .check = check,
    .unpack = block_unpack,
    .pack = block_pack,
};
