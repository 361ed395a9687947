// element: what the integer formats share: source elements as float32 rounded to the model dtype,
// scales in their stored type, codes moved together in words. Always inlined: dtypes and bits are
// constants where these are called, and the loops become vector code.
#ifndef MLCC_QUANTIZATION_FORMATS_ELEMENT_H
#define MLCC_QUANTIZATION_FORMATS_ELEMENT_H

#include "ir/ir.h"
#include "quantization/round.h"

#include <assert.h>

QUANT_INLINE float quant_round_to(ir_dtype dtype, float value) {
    if (dtype == IR_F16) return quant_round_f16(value);
    if (dtype == IR_BF16) return quant_round_bf16(value);
    return value;
}

// Elements [first, first + count) of the source, cast to `dtype`.
QUANT_INLINE void quant_load_elements(
    ir_dtype dtype, const void *source, ir_dtype source_dtype, int64_t first, int32_t count,
    float *restrict values) {
    if (source_dtype == IR_F32) {
        const float *restrict in = (const float *)source + first;
        for (int32_t k = 0; k < count; k++) values[k] = quant_round_to(dtype, in[k]);
    } else if (source_dtype == IR_F16) {
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int32_t k = 0; k < count; k++)
            values[k] = dtype == IR_BF16 ? quant_round_bf16(quant_f16_to_f32(in[k]))
                                         : quant_f16_to_f32(in[k]);
    } else {
        assert(source_dtype == IR_BF16);
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int32_t k = 0; k < count; k++)
            values[k] = dtype == IR_F16 ? quant_round_f16(quant_bf16_to_f32(in[k]))
                                        : quant_bf16_to_f32(in[k]);
    }
}

// What float16 weights are multiplied with instead of being divided by a float16 scale: rounding
// w * (1 / s), both float32 operations, to float16 gives the float16 quotient w / s, where that is
// at least 2^-14. Let b, 11 bits, be the significand of s and c, 12 bits, that of the nearest midpoint
// of two float16 numbers. w / s is never c itself, as c is odd and has more bits than w, so it lies at
// least 1 / (b c) away, relative. With b = m 2^10 and c = q 2^11 that is 2^-24 * 8 / (m q), while the
// two roundings move it by at most 2^-24 (m / 2 + 1 / q); and m^2 q / 2 + m < 8. Zero and infinite
// scales give what division gives.
QUANT_INLINE float quant_f16_factor(float scale) {
    return 1.0f / scale;
}

// Magnitudes of floats order like integers, which lets compilers vectorise the maximum; NaN counts
// as 0.
QUANT_INLINE float quant_largest_magnitude(const float *restrict values, int32_t count) {
    int32_t largest = 0;
    for (int32_t k = 0; k < count; k++) {
        int32_t magnitude = (int32_t)(quant_bits(values[k]) & 0x7fffffffu);
        magnitude = magnitude > 0x7f800000 ? 0 : magnitude;
        largest = magnitude > largest ? magnitude : largest;
    }
    return quant_float((uint32_t)largest);
}

// clamp(rne(value), 0, most), NaN gives `if_nan`. Clamping before rounding gives the same integer,
// as the limits are integers; it is done on the bits, which order like the numbers from 0 up (float
// comparisons, which may trap, keep compilers from vectorising). Adding 1.5 * 2^23 rounds to nearest
// even and leaves the integer in the low bits.
QUANT_INLINE uint32_t quant_clamped_code(float value, float most, float if_nan) {
    const int32_t limit = (int32_t)quant_bits(most);
    const int32_t bits = (int32_t)quant_bits(value);
    int32_t ordered = bits < 0 ? 0 : bits;
    ordered = ordered > limit ? limit : ordered;
    const uint32_t is_nan = quant_mask((bits & 0x7fffffff) > 0x7f800000);
    const uint32_t chosen = quant_select(is_nan, quant_bits(if_nan), (uint32_t)ordered);
    return quant_bits(quant_float(chosen) + 12582912.0f) & 0xffu;
}

// A rounded scale, stored and loaded.
QUANT_INLINE void quant_store_scale(ir_dtype dtype, void *scales, int64_t index, float scale) {
    if (dtype == IR_F16) {
        ((uint16_t *)scales)[index] = quant_f16_bits_exact(scale);
    } else if (dtype == IR_BF16) {
        ((uint16_t *)scales)[index] = (uint16_t)(quant_bits(scale) >> 16);
    } else {
        ((float *)scales)[index] = scale;
    }
}

QUANT_INLINE float quant_load_scale(ir_dtype dtype, const void *scales, int64_t index) {
    if (dtype == IR_F16) return quant_f16_to_f32(((const uint16_t *)scales)[index]);
    if (dtype == IR_BF16) return quant_bf16_to_f32(((const uint16_t *)scales)[index]);
    return ((const float *)scales)[index];
}

// Eight bytes of at most `bits` bits, least first, to 8 * bits neighbouring bits in three steps.
QUANT_INLINE uint64_t quant_gather_bits(int32_t bits, const uint8_t *codes) {
    const uint64_t two = ((1ull << 2 * bits) - 1ull) * 0x0001000100010001ull;
    const uint64_t four = ((1ull << 4 * bits) - 1ull) * 0x0000000100000001ull;
    uint64_t x;
    memcpy(&x, codes, sizeof x);
    x = (x | (x >> (8 - bits))) & two;
    x = (x | (x >> 2 * (8 - bits))) & four;
    return x | (x >> 4 * (8 - bits));
}

// Codes 0 … n_words * (32 div bits) - 1, the first in the lowest bits of the first word.
QUANT_INLINE void quant_words_of_codes(
    int32_t bits, int32_t n_words, const uint8_t *restrict codes, uint32_t *restrict words) {
    const int32_t per_word = 32 / bits;
    if (bits == 8) {
        memcpy(words, codes, (size_t)n_words * sizeof words[0]);
        return;
    }
    for (int32_t i = 0; i < n_words; i++) {
        const uint8_t *of_word = codes + i * per_word;
        if (bits == 4) {
            words[i] = (uint32_t)quant_gather_bits(4, of_word);
        } else if (bits == 3) {
            words[i] = (uint32_t)quant_gather_bits(3, of_word) | (uint32_t)of_word[8] << 24 |
                       (uint32_t)of_word[9] << 27;
        } else {
            uint32_t word = 0;
            for (int32_t r = 0; r < per_word; r++) word |= (uint32_t)of_word[r] << (r * bits);
            words[i] = word;
        }
    }
}

#endif
