// stored_codes: what the prepare functions share about codes as they lie in storage (prepare_panel16.c draws the pieces).
#ifndef MLCC_CODEGEN_CPU_KERNELS_STORED_CODES_H
#define MLCC_CODEGEN_CPU_KERNELS_STORED_CODES_H

#include "codegen/cpu/kernels/kernel.h"

#include <stdbool.h>

// FT, 64 k of one column of the K x N matrix: eight stored words, four to 32 k. In 32 k, element k = 8 a + 2 j + b (a, j 0 … 3,
// b 0 … 1) stands in word j at nibble 4 b + a; the word with natural order wants it in word a at nibble 2 j + b.
KERNEL_INLINE uint32_t stored_ft_word(const uint32_t *words, int64_t a) {
    uint32_t word = 0;
    for (int64_t j = 0; j < 4; j++) {
        for (int64_t b = 0; b < 2; b++)
            word |= (words[j] >> (4 * (4 * b + a)) & 15u) << (4 * (2 * j + b));
    }
    return word;
}

// Where those four stored words of 32 k begin: word `word` of the column in natural order, column_words = K / 8. N and K are multiples of 64.
// Four columns are interleaved: their eight words of every 64 k lie side by side. Source: CUTLASS' mixed-input layout for SM80, as
// FasterTransformer's preprocess_weights_for_mixed_gemm makes it (row permutation, transposition, interleaving, +8 and the order of
// nibbles in a word).
KERNEL_INLINE int64_t stored_ft_at(int64_t row, int64_t word, int64_t column_words) {
    return row / 4 * 4 * column_words + word / 8 * 32 + row % 4 * 8 + word % 8 / 4 * 4;
}

// Whether one of n e4m3 codes is NaN.
KERNEL_INLINE bool stored_has_nan(const uint8_t *codes, int64_t n) {
    uint8_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t magnitude = codes[i] & 0x7fu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest == 0x7f;
}

#endif
