// group_int: small integers in groups along the last axis that share a scale (MLC's group-quant
// modes: q4f16_1 and its relatives).
//
//   b bits, g elements in a group, e = 32 div b elements in a word, M = 2^(b-1) - 1,
//   T = float type of the scales and of the model,
//   K columns make G = ceil(K / g) groups and W = G * ceil(g / e) words a row
//
//   NK     q_weight  u32[…, W]   word i of a row:   bit 31                                        bit 0
//                                                   | 0 | code e*i+e-1 | … | code e*i+1 | code e*i |
//          q_scale   T[…, G]     scale j of a row belongs to elements j*g … j*g+g-1
//   KN     q_weight  u32[W, N]   the transposes: word i of row n lies at i * N + n
//          q_scale   T[G, N]
//
//   int4, g 32:   group j = words 4j … 4j+3, element k in word k div 8, bits 4 (k mod 8)
//   int3, g 40:   group j = words 4j … 4j+3, element k in word k div 10, bits 3 (k mod 10);
//                 bits 30 and 31 are zero
//   int8, g 32:   group j = words 8j … 8j+7, element k in word k div 4, bits 8 (k mod 4)
//
// Encoding, every operation rounded to T, nearest even:
//
//   w = source cast to T     s = max |w| over the group / M     code = clamp(rne(w / s + M), 0, 2M)
//
// A short last group takes the maximum over the elements it has; codes beyond K are 0. A group of
// zeros has s = 0 and code M everywhere (0 / 0, which MLC leaves to the device). An infinite code
// quotient (s rounded to 0 below the smallest subnormal) clamps to 0 or 2M. NaN elements take no
// part in the maximum and get code M. Decoding: (code - M) * s. Source: mlc-llm
// python/mlc_llm/quantization/group_quantization.py, `_quantize` and `_dequantize`; int8 is our own
// by the same rules.
//
// `takes`: integers whose groups are made of groups of g, code - zero in -M … M, scales exact in T.
#ifndef MLCC_QUANTIZATION_FORMATS_GROUP_INT_H
#define MLCC_QUANTIZATION_FORMATS_GROUP_INT_H

#include "quantization/format.h"

// One row per NK format that group_int.c implements; the arguments repeat the row of ir/dtypes.def
// (checked at compile time). To add other groups or scales: a row in ir/dtypes.def and one here.
//
// clang-format off
//        id          bits group scale
#define QUANT_GROUP_INT_FORMATS(X)                                                                 \
        X( Q4G32_F16,  4,  32,   F16 )                                                             \
        X( Q4G32_BF16, 4,  32,   BF16 )                                                            \
        X( Q4G32_F32,  4,  32,   F32 )                                                             \
        X( Q3G40_F16,  3,  40,   F16 )                                                             \
        X( Q8G32_F16,  8,  32,   F16 )

// KN formats: the NK format that each is the transpose of. Matrices only.
//        id           of
#define QUANT_GROUP_INT_TRANSPOSED_FORMATS(X)                                                      \
        X( Q4G32T_F16,  Q4G32_F16 )                                                                \
        X( Q4G32T_BF16, Q4G32_BF16 )                                                               \
        X( Q3G40T_F16,  Q3G40_F16 )
// clang-format on

#define X(id, ...) extern const quant_format quant_format_##id;
QUANT_GROUP_INT_FORMATS(X)
QUANT_GROUP_INT_TRANSPOSED_FORMATS(X)
#undef X

// The same arithmetic with every parameter free, for tests and for formats that have no row yet:
// `bits` 2 to 8, `group` 1 to 256, `scale` F32, F16 or BF16. Slow: parameters are not constants.
// `words` and `scales` receive n_rows rows.
void quant_group_int_encode(
    int32_t bits, int32_t group, ir_dtype scale, const void *source, ir_dtype source_dtype,
    int64_t n_rows, int64_t columns, uint32_t *words, void *scales);
void quant_group_int_decode(
    int32_t bits, int32_t group, ir_dtype scale, const uint32_t *words, const void *scales,
    int64_t n_rows, int64_t columns, float *output);

#endif
