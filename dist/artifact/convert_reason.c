#include "dist/artifact/convert_reason.h"

#include <math.h>

static bool has_zeros(ir_dtype dtype) {
    return dtype == IR_U4G32_F16 || dtype == IR_U4G64_F16 || dtype == IR_U4G128_F16;
}

static bool is_float8(ir_dtype dtype) {
    return dtype == IR_E4M3_F32 || dtype == IR_E4M3B128_F32 || dtype == IR_E5M2;
}

static bool is_ordered(const quant_canon *canon) {
    for (int64_t k = 0; canon->group_of_column != NULL && k < canon->columns; k++) {
        if (canon->group_of_column[k] != k / canon->group) return false;
    }
    return true;
}

// The signed numbers that an integer format without zero points stores.
typedef struct code_range {
    int32_t bits, low, high;
    const char *reason;
} code_range;

static const code_range symmetric_ranges[] = {
    {3, -3, 3, "code minus zero is not always in -3 … 3, which the mode holds"},
    {4, -7, 7, "code minus zero is not always in -7 … 7, which the mode holds"},
    {8, -127, 127, "code minus zero is not always in -127 … 127, which the mode holds"},
};
static const code_range row_range = {
    4, -8, 7, "code minus zero is not always in -8 … 7, which the mode holds"};

static bool are_within(
    const quant_canon *canon, const quant_canon_rows *rows, const code_range *range) {
    for (int64_t r = 0; r < rows->n_rows; r++) {
        for (int64_t k = 0; k < canon->columns; k++) {
            const int64_t j =
                canon->group_of_column != NULL ? canon->group_of_column[k] : k / canon->group;
            const int32_t value =
                rows->codes[r * canon->columns + k] - rows->zeros[r * canon->n_groups + j];
            if (value < range->low || value > range->high) return false;
        }
    }
    return true;
}

static const code_range *range_of(ir_dtype dtype) {
    if (dtype == IR_Q4FT_F16) return &row_range;
    for (size_t i = 0; i < sizeof symmetric_ranges / sizeof symmetric_ranges[0]; i++) {
        if (symmetric_ranges[i].bits == ir_dtype_get(dtype)->bits) return &symmetric_ranges[i];
    }
    return NULL;
}

static bool scales_are_finite(const quant_canon *canon, const quant_canon_rows *rows) {
    for (int64_t i = 0; i < rows->n_rows * canon->n_groups; i++) {
        if (!isfinite(rows->scales[i])) return false;
    }
    return true;
}

const char *convert_reason(
    const quant_format *format, const quant_canon *canon, const quant_canon_rows *rows) {
    const ir_dtype_info *info = ir_dtype_get(format->dtype);
    const bool is_int = canon->kind == QUANT_CANON_INT;
    if (is_int == is_float8(format->dtype))
        return is_int ? "integer codes, the mode stores fp8" : "fp8, the mode stores integers";
    if (is_int && canon->bits > info->bits) return "its codes have more bits than the mode's";
    if (!is_ordered(canon)) return "act-order: its groups are not runs of columns";
    if (info->group > 1 && !quant_canon_has_groups_of(canon, info->group))
        return "its group size is no multiple of the mode's";
    if (info->group == 0 && is_int && canon->n_groups > 1)
        return "it has several scales a row, the mode has one";
    if (rows == NULL) return "joined weights have different groups";
    if (!scales_are_finite(canon, rows)) return "its scales are not finite";
    if (!is_int)
        return info->group == 0 ? "its scales differ inside the joined weight"
                                : "its scales are not those of the mode's blocks";
    const code_range *range = has_zeros(format->dtype) ? NULL : range_of(format->dtype);
    if (range != NULL && !are_within(canon, rows, range)) return range->reason;
    return "codes, zeros or scales that the mode cannot hold";
}
