// packed_bits: small codes in 32-bit words, little-endian bit streams and AWQ's interleaved nibbles.
//
//   along a row       word i of a row holds codes 32 / bits * i …; 3-bit: 32 codes in 3 words
//   along lines       the same stream runs down a column: word r of column n stands at [r][n] (GPTQ)
//   across lines      line k holds N codes in N / 8 words; output 8 c + t at bit shift[t] of word c (AWQ)
#ifndef MLCC_QUANTIZATION_FOREIGN_PACKED_BITS_H
#define MLCC_QUANTIZATION_FOREIGN_PACKED_BITS_H

#include "quantization/round.h"

#include <stddef.h>

// Bit position of output 8 c + t in an AWQ word: nibble i holds output (0, 2, 4, 6, 1, 3, 5, 7)[i].
extern const uint8_t quant_awq_shifts[8];
extern const uint8_t quant_awq_order[8];

// One code anywhere in a stream; it may straddle two words.
QUANT_INLINE uint32_t quant_bits_get(const uint32_t *words, int64_t index, int32_t bits) {
    const int64_t position = index * bits;
    const int64_t word = position >> 5;
    const uint32_t shift = (uint32_t)(position & 31);
    uint32_t code = words[word] >> shift;
    if (shift + (uint32_t)bits > 32) code |= words[word + 1] << (32 - shift);
    return code & ((1u << bits) - 1u);
}
// The same for writing; the place must hold zero bits.
QUANT_INLINE void quant_bits_put(uint32_t *words, int64_t index, int32_t bits, uint32_t code) {
    const int64_t position = index * bits;
    const int64_t word = position >> 5;
    const uint32_t shift = (uint32_t)(position & 31);
    words[word] |= code << shift;
    if (shift + (uint32_t)bits > 32) words[word + 1] |= code >> (32 - shift);
}
// Words of a stream of `count` codes, rounded up. No overflow for count < 2^58.
QUANT_INLINE int64_t quant_bits_words(int64_t count, int32_t bits) {
    return (count * bits + 31) >> 5;
}

// `count` codes of a row, as bytes.
void quant_unpack_row(const uint32_t *words, int32_t bits, int64_t count, uint8_t *codes);
// Columns [first, first + n) of streams that run down the columns of words [lines][stride]; codes are
// [n, count]. A line is read in runs of 16 words (a cache line).
void quant_unpack_lines(
    const uint32_t *words, int64_t stride, int32_t bits, int64_t first, int64_t n, int64_t count,
    uint8_t *codes);
// Outputs [first, first + n) of AWQ words [lines][stride]; codes are [n, lines].
void quant_unpack_across(
    const uint32_t *words, int64_t lines, int64_t stride, int64_t first, int64_t n, uint8_t *codes);

#endif
