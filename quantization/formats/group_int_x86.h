// group_int_x86: the group encoders with AVX2 and AVX-512 intrinsics, for one core of an x86-64
// machine that has them. They give the bits of the portable encoders in group_int.c.
//
// What they gain over the compiler's vector code: conversions from and to float16 are one
// instruction each (F16C), which also does the rounding of every operation, and groups advance side
// by side. On other machines there is nothing here but the type.
#ifndef MLCC_QUANTIZATION_FORMATS_GROUP_INT_X86_H
#define MLCC_QUANTIZATION_FORMATS_GROUP_INT_X86_H

#include "quantization/formats/group_int.h"

// `columns` elements of n_rows rows, `stride` elements from row to row; words and scales of the rows
// follow each other.
typedef struct quant_group_block {
    const void *source;
    ir_dtype source_dtype;
    int64_t stride, n_rows, columns;
    uint32_t *words;
    void *scales;
} quant_group_block;

#if defined(__x86_64__)
#    define X(id, ...) \
        void quant_group_encode_##id##_avx2(const quant_group_block *block); \
        void quant_group_encode_##id##_avx512(const quant_group_block *block);
QUANT_GROUP_INT_FORMATS(X)
#    undef X
#endif

#endif
