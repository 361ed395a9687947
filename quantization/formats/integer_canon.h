// integer_canon: what integer formats ask of weights that arrive with their codes chosen (canon.h).
//
// A format group is `group` columns of one row; canons that pass quant_canon_has_groups_of have one
// zero and one scale for it, those of column j * group.
#ifndef MLCC_QUANTIZATION_FORMATS_INTEGER_CANON_H
#define MLCC_QUANTIZATION_FORMATS_INTEGER_CANON_H

#include "quantization/canon.h"

// What a format group's columns share, and its codes.
typedef struct quant_canon_part {
    const uint8_t *codes; // [count]
    int64_t count;        // columns, fewer than `group` at the end of the row
    int32_t zero;
    float scale;
} quant_canon_part;

// Format group j of row `row` (counted in `rows`).
quant_canon_part quant_canon_part_of(
    const quant_canon *canon, const quant_canon_rows *rows, int64_t group, int64_t row, int64_t j);
// Least and largest of count ≥ 1 codes.
void quant_canon_limits(const uint8_t *codes, int64_t count, int32_t *least, int32_t *most);
// Whether the scale is finite and is a number of `dtype` (F32, F16, BF16).
bool quant_canon_scale_fits(ir_dtype dtype, float scale);
// Whether the rows are integers whose groups of `group` columns have one scale that fits `scale`,
// and every code less its zero lies in low … high.
bool quant_canon_fits(
    const quant_canon *canon, const quant_canon_rows *rows, int64_t group, ir_dtype scale,
    int32_t low, int32_t high);

#endif
