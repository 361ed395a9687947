// integer_canon: groups of the canonical form, as integer formats see them.
#include "quantization/formats/integer_canon.h"

#include "quantization/formats/element.h"

quant_canon_part quant_canon_part_of(
    const quant_canon *canon, const quant_canon_rows *rows, int64_t group, int64_t row, int64_t j) {
    const int64_t first = j * group, left = canon->columns - first;
    const int64_t index = row * canon->n_groups + first / canon->group;
    return (quant_canon_part){.codes = rows->codes + row * canon->columns + first,
                              .count = left < group ? left : group,
                              .zero = rows->zeros[index],
                              .scale = rows->scales[index]};
}

void quant_canon_limits(const uint8_t *codes, int64_t count, int32_t *least, int32_t *most) {
    uint8_t low = codes[0], high = codes[0];
    for (int64_t k = 1; k < count; k++) {
        low = codes[k] < low ? codes[k] : low;
        high = codes[k] > high ? codes[k] : high;
    }
    *least = low;
    *most = high;
}

bool quant_canon_scale_fits(ir_dtype dtype, float scale) {
    const uint32_t bits = quant_bits(scale);
    return (bits & 0x7f800000u) != 0x7f800000u && quant_bits(quant_round_to(dtype, scale)) == bits;
}

bool quant_canon_fits(
    const quant_canon *canon, const quant_canon_rows *rows, int64_t group, ir_dtype scale,
    int32_t low, int32_t high) {
    if (canon->kind != QUANT_CANON_INT || !quant_canon_has_groups_of(canon, group)) return false;
    // Zero and scale belong to the canon's groups, so these are looked at whole.
    const int64_t step = canon->group < canon->columns ? canon->group : canon->columns;
    for (int64_t row = 0; row < rows->n_rows; row++) {
        for (int64_t first = 0, j = 0; first < canon->columns; first += step, j++) {
            const int64_t left = canon->columns - first;
            const int64_t index = row * canon->n_groups + j;
            int32_t least = 0, most = 0;
            quant_canon_limits(
                rows->codes + row * canon->columns + first, left < step ? left : step, &least,
                &most);
            const int32_t zero = rows->zeros[index];
            if (least - zero < low || most - zero > high) return false;
            if (!quant_canon_scale_fits(scale, rows->scales[index])) return false;
        }
    }
    return true;
}
