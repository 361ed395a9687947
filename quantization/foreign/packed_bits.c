// packed_bits: codes are spread a word at a time; loops run along whatever is contiguous in the file,
// and the scattered side is the caller's small buffer.
#include "quantization/foreign/packed_bits.h"

#include <assert.h>

#define LINE_WORDS 16 // 32-bit words of a cache line
#define TILE_LINES 64

const uint8_t quant_awq_order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
const uint8_t quant_awq_shifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};

// Eight nibbles become eight bytes in three steps.
QUANT_INLINE void spread_nibbles(uint32_t word, uint8_t *codes) {
    uint64_t x = word;
    x = (x | (x << 16)) & 0x0000ffff0000ffffu;
    x = (x | (x << 8)) & 0x00ff00ff00ff00ffu;
    x = (x | (x << 4)) & 0x0f0f0f0f0f0f0f0fu;
    memcpy(codes, &x, sizeof x);
}

// Sixteen codes of two bits.
QUANT_INLINE void spread_pairs(uint32_t word, uint8_t *codes) {
    uint8_t nibbles[8];
    spread_nibbles(word, nibbles);
    for (int32_t i = 0; i < 8; i++) {
        codes[2 * i] = nibbles[i] & 3u;
        codes[2 * i + 1] = (uint8_t)(nibbles[i] >> 2);
    }
}

// 32 codes of three bits: the 96 bits fall into four runs of 24 with eight codes each.
QUANT_INLINE void spread_triple(uint32_t w0, uint32_t w1, uint32_t w2, uint8_t *codes) {
    const uint32_t runs[4] = {w0, (w0 >> 24) | (w1 << 8), (w1 >> 16) | (w2 << 16), w2 >> 8};
    for (int32_t r = 0; r < 4; r++) {
        for (int32_t i = 0; i < 8; i++) codes[8 * r + i] = (uint8_t)((runs[r] >> (3 * i)) & 7u);
    }
}

QUANT_INLINE void spread(int32_t bits, const uint32_t *words, int64_t stride, uint8_t *codes) {
    if (bits == 4) {
        spread_nibbles(words[0], codes);
    } else if (bits == 8) {
        memcpy(codes, words, sizeof *words);
    } else if (bits == 2) {
        spread_pairs(words[0], codes);
    } else {
        spread_triple(words[0], words[stride], words[2 * stride], codes);
    }
}

// Codes that `spread` writes at once, and the words that it reads.
QUANT_INLINE int64_t codes_of_unit(int32_t bits) {
    return bits == 3 ? 32 : 32 / bits;
}
QUANT_INLINE int64_t words_of_unit(int32_t bits) {
    return bits == 3 ? 3 : 1;
}

QUANT_INLINE void unpack_row(
    const uint32_t *words, int32_t bits, int64_t count, uint8_t *restrict codes) {
    const int64_t unit = codes_of_unit(bits);
    int64_t k = 0;
    for (; k + unit <= count; k += unit, words += words_of_unit(bits))
        spread(bits, words, 1, codes + k);
    for (int64_t i = 0; k < count; k++, i++) codes[k] = (uint8_t)quant_bits_get(words, i, bits);
}

void quant_unpack_row(const uint32_t *words, int32_t bits, int64_t count, uint8_t *codes) {
    switch (bits) {
    case 2: unpack_row(words, 2, count, codes); break;
    case 3: unpack_row(words, 3, count, codes); break;
    case 4: unpack_row(words, 4, count, codes); break;
    default:
        assert(bits == 8);
        unpack_row(words, 8, count, codes);
        break;
    }
}

// `count` is a whole number of words, and of units for three bits.
QUANT_INLINE void unpack_lines(
    const uint32_t *words, int64_t stride, int32_t bits, int64_t first, int64_t n, int64_t count,
    uint8_t *restrict codes) {
    const int64_t unit = codes_of_unit(bits);
    for (int64_t begin = 0; begin < n; begin += LINE_WORDS) {
        const int64_t end = begin + LINE_WORDS < n ? begin + LINE_WORDS : n;
        const uint32_t *line = words + first;
        for (int64_t k = 0; k < count; k += unit, line += words_of_unit(bits) * stride) {
            for (int64_t r = begin; r < end; r++)
                spread(bits, line + r, stride, codes + r * count + k);
        }
    }
}

void quant_unpack_lines(
    const uint32_t *words, int64_t stride, int32_t bits, int64_t first, int64_t n, int64_t count,
    uint8_t *codes) {
    assert(count * bits % (bits == 3 ? 96 : 32) == 0);
    switch (bits) {
    case 2: unpack_lines(words, stride, 2, first, n, count, codes); break;
    case 3: unpack_lines(words, stride, 3, first, n, count, codes); break;
    case 4: unpack_lines(words, stride, 4, first, n, count, codes); break;
    default:
        assert(bits == 8);
        unpack_lines(words, stride, 8, first, n, count, codes);
        break;
    }
}

// A tile of 64 lines stays in the first cache while all its words of these outputs are used.
void quant_unpack_across(
    const uint32_t *words, int64_t lines, int64_t stride, int64_t first, int64_t n,
    uint8_t *codes) {
    const int64_t end = first + n;
    for (int64_t k = 0; k < lines; k += TILE_LINES) {
        const int64_t tile = lines - k < TILE_LINES ? lines - k : TILE_LINES;
        for (int64_t c = first >> 3; 8 * c < end; c++) {
            uint32_t column[TILE_LINES];
            for (int64_t i = 0; i < tile; i++) column[i] = words[(k + i) * stride + c];
            for (int64_t t = 0; t < 8; t++) {
                const int64_t row = 8 * c + t;
                if (row < first || row >= end) continue;
                const uint32_t shift = quant_awq_shifts[t];
                uint8_t *restrict output = codes + (row - first) * lines + k;
                for (int64_t i = 0; i < tile; i++)
                    output[i] = (uint8_t)((column[i] >> shift) & 15u);
            }
        }
    }
}
