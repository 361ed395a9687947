// foreign_pack: what the writers of the layouts share.
#include "quantization/foreign/foreign_parts.h"

#include "quantization/round.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

mlcc_status *quant_pack_refuse(const quant_foreign_layout *layout, const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return MLCC_ERROR(UNSUPPORTED, "layout %s cannot hold %s", layout->name, message);
}

static const char *const kind_text[] = {"integer codes", "e4m3 codes", "e5m2 codes"};

static mlcc_status *check_numbers(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    const quant_pack_limits *limits) {
    const int32_t n_codes = 1 << canon->bits;
    for (int64_t i = 0; i < canon->n_rows * canon->columns; i++) {
        if (rows->codes[i] < n_codes) continue;
        return MLCC_ERROR(
            INVALID, "code [%lld, %lld] is %d, expected 0 to %d for %d bits",
            (long long)(i / canon->columns), (long long)(i % canon->columns), (int)rows->codes[i],
            (int)(n_codes - 1), (int)canon->bits);
    }
    for (int64_t i = 0; i < canon->n_rows * canon->n_groups; i++) {
        const int32_t zero = rows->zeros[i];
        if (zero >= limits->min_zero && zero <= limits->max_zero) continue;
        return quant_pack_refuse(
            layout, "zero %d (row %lld, group %lld); it holds %d to %d", (int)zero,
            (long long)(i / canon->n_groups), (long long)(i % canon->n_groups),
            (int)limits->min_zero, (int)limits->max_zero);
    }
    return NULL;
}

mlcc_status *quant_pack_check(
    const quant_foreign_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    const quant_pack_limits *limits) {
    assert(rows->first_row == 0 && rows->n_rows == canon->n_rows);
    if (canon->kind != limits->kind) return quant_pack_refuse(layout, "%s", kind_text[canon->kind]);
    if ((limits->bits & (1u << canon->bits)) == 0)
        return quant_pack_refuse(layout, "%d-bit codes", (int)canon->bits);
    if (canon->n_rows % limits->rows_multiple != 0) {
        return quant_pack_refuse(
            layout, "N = %lld output features; it needs a multiple of %lld",
            (long long)canon->n_rows, (long long)limits->rows_multiple);
    }
    if (canon->columns % limits->columns_multiple != 0) {
        return quant_pack_refuse(
            layout, "K = %lld input features; it needs a multiple of %lld",
            (long long)canon->columns, (long long)limits->columns_multiple);
    }
    if (canon->group_of_column != NULL && !limits->takes_map)
        return quant_pack_refuse(layout, "an act-order map");
    if (canon->columns % canon->group != 0 && !limits->takes_tail) {
        return quant_pack_refuse(
            layout, "groups of %lld that do not divide K = %lld", (long long)canon->group,
            (long long)canon->columns);
    }
    return canon->kind == QUANT_CANON_INT ? check_numbers(layout, canon, rows, limits) : NULL;
}

void quant_pack_begin(quant_foreign_weight *weight, const quant_foreign_layout *layout) {
    const char *name = weight->name;
    *weight = (quant_foreign_weight){.layout = layout, .name = name};
    for (int32_t i = 0; i < QUANT_FOREIGN_MAX_PARTS; i++) weight->parts[i].rank = -1;
}

void *quant_pack_new(
    quant_foreign_weight *weight, int32_t part, mlcc_arena *keep, ir_dtype dtype, int32_t rank,
    int64_t d0, int64_t d1) {
    const size_t count = (size_t)d0 * (rank == 2 ? (size_t)d1 : 1);
    void *data = mlcc_arena_alloc_array(keep, count, ir_dtype_bytes(dtype));
    weight->parts[part] = (quant_foreign_tensor){data, dtype, rank, {d0, rank == 2 ? d1 : 0}};
    return data;
}

ir_dtype quant_pack_scale_dtype(const quant_canon *canon, const quant_canon_rows *rows) {
    bool is_f16 = true, is_bf16 = true;
    for (int64_t i = 0; i < canon->n_rows * canon->n_groups; i++) {
        const uint32_t bits = quant_bits(rows->scales[i]);
        is_f16 = is_f16 && quant_bits(quant_round_f16(rows->scales[i])) == bits;
        is_bf16 = is_bf16 && (bits & 0xffffu) == 0;
    }
    return is_f16 ? IR_F16 : is_bf16 ? IR_BF16 : IR_F32;
}

void quant_pack_float(void *data, ir_dtype dtype, int64_t index, float value) {
    if (dtype == IR_F16) {
        ((uint16_t *)data)[index] = quant_f32_to_f16(value);
    } else if (dtype == IR_BF16) {
        ((uint16_t *)data)[index] = quant_f32_to_bf16(value);
    } else {
        ((float *)data)[index] = value;
    }
}

float quant_pack_round(ir_dtype dtype, float value) {
    if (dtype == IR_F16) return quant_round_f16(value);
    if (dtype == IR_BF16) return quant_round_bf16(value);
    return value;
}

void quant_pack_scales_transposed(
    quant_foreign_weight *weight, int32_t part, mlcc_arena *keep, ir_dtype dtype,
    const quant_canon *canon, const quant_canon_rows *rows, int64_t lines) {
    void *data = quant_pack_new(weight, part, keep, dtype, 2, lines, canon->n_rows);
    for (int64_t j = 0; j < canon->n_groups; j++) {
        for (int64_t n = 0; n < canon->n_rows; n++)
            quant_pack_float(
                data, dtype, j * canon->n_rows + n, rows->scales[n * canon->n_groups + j]);
    }
}
