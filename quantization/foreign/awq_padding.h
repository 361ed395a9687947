// awq_padding: the scale tables of awq-gemv and awq-gemv-fast are padded to 8 Zw groups, where
// Zw = ceil(ceil(G / 8) / m) * m words of zeros, m = 1 for groups of 128 and more, 2 for 64, 4 for 32.
// Other groups do not exist in these layouts.
//
// Zw alone does not always tell the group: with K = 1024, Zw = 1 fits groups of 128, 256, 512 and 1024.
// The configuration decides; without one it is 128, and with the data the padding tells: the groups
// from the real number on have scale 0 in every row.
#ifndef MLCC_QUANTIZATION_FOREIGN_AWQ_PADDING_H
#define MLCC_QUANTIZATION_FOREIGN_AWQ_PADDING_H

#include "quantization/foreign/foreign_parts.h"

// Words of zeros that K columns in this group size need; 0: not a group size of these layouts, or it
// does not divide K.
int64_t quant_awq_zero_words(int64_t columns, int64_t group);
// The group of `zero_words` words; `part` is named in messages.
mlcc_status *quant_awq_padded_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int64_t columns, int64_t zero_words, int64_t *group);
// Scales are [N, 8 Zw], or [8 Zw, N] when `is_transposed`. Corrects the canon where the group was a
// guess; INVALID when groups that should be padding are in use.
mlcc_status *quant_awq_check_padding(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    bool is_transposed, int64_t zero_words, quant_canon *canon);

#endif
