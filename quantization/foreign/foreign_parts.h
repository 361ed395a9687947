// foreign_parts: what the layouts of this folder share: checks of stored parts against each other with
// one wording for all messages, float parts read as float32, new parts for the writers.
//
// "model.layers.0.mlp.down_proj.qzeros: expected i32[2, 8] = [groups, N / 8], found i32[2, 16]"
//
// Dimensions that passed quant_part_begin lie in 1 … 2^31 - 1, so that products of two of them fit 63
// bits; N and K are checked once more by quant_part_finish after the layout has computed them.
#ifndef MLCC_QUANTIZATION_FOREIGN_FOREIGN_PARTS_H
#define MLCC_QUANTIZATION_FOREIGN_FOREIGN_PARTS_H

#include "quantization/foreign/foreign.h"

// Sets of element types, for quant_part_expect.
#define QUANT_TYPES_WORD  ((1u << IR_I32) | (1u << IR_U32))
#define QUANT_TYPES_SCALE ((1u << IR_F16) | (1u << IR_BF16) | (1u << IR_F32))
#define QUANT_ANY_DIM     (-1)

bool quant_part_exists(const quant_foreign_weight *weight, int32_t part);
// With data and no dimension missing: what check functions may read.
bool quant_part_has_data(const quant_foreign_weight *weight, int32_t part);
const char *quant_part_name(const quant_foreign_weight *weight, int32_t part); // "qweight"
int64_t quant_part_elements(const quant_foreign_tensor *tensor);
// "i32[64, 8]" into `text`, which is returned.
typedef struct quant_part_text {
    char text[160];
} quant_part_text;
quant_part_text quant_part_describe(const quant_foreign_tensor *tensor);

// Required parts are there, ranks and dimensions in range. First call of every describe.
mlcc_status *quant_part_begin(const quant_foreign_weight *weight);
// One of `types` and exactly these dimensions (QUANT_ANY_DIM: any); `meaning` explains them: "[K, N / 8]".
mlcc_status *quant_part_expect(
    const quant_foreign_weight *weight, int32_t part, uint32_t types, int32_t rank, int64_t d0,
    int64_t d1, const char *meaning);
// A MISMATCH about one part: "<name>.<part>: …".
mlcc_status *quant_part_refuse(
    const quant_foreign_weight *weight, int32_t part, const char *format, ...) MLCC_PRINTF(3, 4);
// The configuration's bits, when it names any, are those of the shapes.
mlcc_status *quant_part_check_bits(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int32_t bits);

typedef enum quant_group_rule {
    QUANT_GROUP_DIVIDES,  // K is a multiple of the group
    QUANT_GROUP_MAY_TAIL, // the last group may be short
} quant_group_rule;
// Columns of a group, from the n_groups that `part` holds and the configuration's group size.
mlcc_status *quant_part_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int64_t columns, int64_t n_groups, quant_group_rule rule, int64_t *group);
// For layouts whose last group may be short, where no map tells the groups: INVALID when the
// configuration names no group size and a usual one fits as well as the one that divides K.
mlcc_status *quant_part_check_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    const quant_canon *canon);
// Last call of every describe: N and K in range, then the canon is filled in.
mlcc_status *quant_part_finish(
    const quant_foreign_weight *weight, quant_canon_kind kind, int64_t n_rows, int64_t columns,
    int32_t bits, int64_t group, int64_t n_groups, quant_canon *canon);

// INVALID names the first element that is NaN or infinite. No data: success.
mlcc_status *quant_part_check_finite(const quant_foreign_weight *weight, int32_t part);
// An act-order map: int32 [columns]. Entries outside 0 … n_groups - 1 are INVALID. *map is NULL when
// there is none, when it says k div group, or (`may_be_unset`) when every entry is -1.
mlcc_status *quant_part_check_map(
    const quant_foreign_weight *weight, int32_t part, const quant_canon *canon, bool may_be_unset,
    const int32_t **map);

// Elements [first, first + count) of a float part as float32.
void quant_part_floats(
    const quant_foreign_tensor *tensor, int64_t first, int64_t count, float *output);
// Scales stored [groups, N]: rows into [n_rows, n_groups].
void quant_part_scales_transposed(
    const quant_foreign_tensor *tensor, int64_t total_rows, const quant_canon *canon,
    quant_canon_rows *rows);
void quant_zeros_fill(const quant_canon *canon, quant_canon_rows *rows, int16_t zero);

// ---- writers ------------------------------------------------------------------------------------

// What a writer can hold; UNSUPPORTED says what it was given. Codes must fit `bits` (INVALID).
typedef struct quant_pack_limits {
    quant_canon_kind kind;
    uint32_t bits; // set of accepted widths: 1u << bits
    int64_t rows_multiple, columns_multiple;
    bool takes_map, takes_tail; // act-order; a short last group
    int32_t min_zero, max_zero;
} quant_pack_limits;
mlcc_status *quant_pack_check(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    const quant_pack_limits *limits);
mlcc_status *quant_pack_refuse(const quant_foreign_layout *layout, const char *format, ...)
    MLCC_PRINTF(2, 3);
// Clears `weight` (its name stays) for parts of this layout.
void quant_pack_begin(quant_foreign_weight *weight, const quant_foreign_layout *layout);
// A new part, zeroed; d1 is looked at when rank is 2.
void *quant_pack_new(
    quant_foreign_weight *weight, int32_t part, mlcc_arena *keep, ir_dtype dtype, int32_t rank,
    int64_t d0, int64_t d1);
// The narrowest of F16, BF16, F32 that holds every scale exactly.
ir_dtype quant_pack_scale_dtype(const quant_canon *canon, const quant_canon_rows *rows);
void quant_pack_float(void *data, ir_dtype dtype, int64_t index, float value);
// `value` rounded to F16, BF16 or F32.
float quant_pack_round(ir_dtype dtype, float value);
// Scales [groups, N] as a new part; `lines` ≥ n_groups, those beyond are zero.
void quant_pack_scales_transposed(
    quant_foreign_weight *weight, int32_t part, mlcc_arena *keep, ir_dtype dtype,
    const quant_canon *canon, const quant_canon_rows *rows, int64_t lines);

#endif
