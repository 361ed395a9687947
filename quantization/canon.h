// canon: the one form that every foreign quantized weight unpacks to, whatever its bit order: codes,
// zeros, scales and the map from columns to groups.
//
//   INT           w[n][k] = (code[n][k] - zero[n][j]) * scale[n][j],  j = group_of_column[k], else k div group
//   E4M3, E5M2    w[n][k] = fp8(code[n][k]) * scale[n][j]
//
// Codes are unsigned (a signed code of b bits has 2^(b-1) added, and so has its zero). Scales are as
// stored, widened to float32, never changed. Nothing here allocates.
#ifndef MLCC_QUANTIZATION_CANON_H
#define MLCC_QUANTIZATION_CANON_H

#include "ir/ir.h"

typedef enum quant_canon_kind {
    QUANT_CANON_INT,
    QUANT_CANON_E4M3,
    QUANT_CANON_E5M2
} quant_canon_kind;

// What a whole weight is.
typedef struct quant_canon {
    quant_canon_kind kind;
    int64_t n_rows, columns; // N output features, K input features
    int32_t bits;            // of a code: 2, 3, 4, 8
    int64_t group;           // columns that share a scale, 1 … K; the last group may be short
    int64_t n_groups; // ceil(K / group); with group_of_column: entries of the map are below it
    // Act-order (GPTQ): the group of every column; NULL = k div group.
    const int32_t *group_of_column; // [columns]
} quant_canon;

// Rows [first_row, first_row + n_rows) of one, in caller's memory.
typedef struct quant_canon_rows {
    int64_t first_row, n_rows;
    uint8_t *codes; // [n_rows, columns]
    int16_t *zeros; // [n_rows, n_groups]; GPTQ v1 files reach 2^bits
    float *scales;  // [n_rows, n_groups]
} quant_canon_rows;

// float32 values of the rows, [n_rows, columns]. (code - zero) * scale is rounded once; it is exact
// when the scale has at most 15 significant bits (float16 and bfloat16 do).
void quant_canon_decode(const quant_canon *canon, const quant_canon_rows *rows, float *output);
// Whether every `group` columns lie in one group of the canon: no act-order map other than k div
// group, and either canon->group is a multiple of `group`, or it covers all columns.
bool quant_canon_has_groups_of(const quant_canon *canon, int64_t group);
// Bytes of the three buffers for n_rows rows; false when 63 bits do not hold one of them.
bool quant_canon_bytes(
    const quant_canon *canon, int64_t n_rows, size_t *codes_bytes, size_t *zeros_bytes,
    size_t *scales_bytes);

#endif
