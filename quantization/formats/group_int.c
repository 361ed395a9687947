// group_int: encode and decode of grouped integers. The body is written once, with bits, group and
// scale type as parameters that every format's instance makes constant; loops over the elements of
// a group are branch-free, so compilers turn them into vector code.
#include "quantization/formats/group_int.h"

#include "quantization/formats/vector.h"
#include "quantization/round.h"

#include <assert.h>

#define MAX_GROUP 256

QUANT_INLINE float round_to(ir_dtype dtype, float value) {
    if (dtype == IR_F16) return quant_round_f16(value);
    if (dtype == IR_BF16) return quant_round_bf16(value);
    return value;
}

// For quotients w / s and for those plus M: where they differ from round_to (magnitudes below
// 2^-14), adding M hides it.
QUANT_INLINE float round_code(ir_dtype dtype, float value) {
    if (dtype == IR_F16) return quant_round_f16_normal(value);
    if (dtype == IR_BF16) return quant_round_bits(value, 16);
    return value;
}

QUANT_INLINE void store_scale(ir_dtype dtype, void *scales, int64_t index, float scale) {
    if (dtype == IR_F16) {
        ((uint16_t *)scales)[index] = quant_f16_bits_exact(scale);
    } else if (dtype == IR_BF16) {
        ((uint16_t *)scales)[index] = (uint16_t)(quant_bits(scale) >> 16);
    } else {
        ((float *)scales)[index] = scale;
    }
}

QUANT_INLINE float load_scale(ir_dtype dtype, const void *scales, int64_t index) {
    if (dtype == IR_F16) return quant_f16_to_f32(((const uint16_t *)scales)[index]);
    if (dtype == IR_BF16) return quant_bf16_to_f32(((const uint16_t *)scales)[index]);
    return ((const float *)scales)[index];
}

// Elements [first, first + count) of the source, cast to the scale type.
QUANT_INLINE void load_group(
    ir_dtype scale, const void *source, ir_dtype source_dtype, int64_t first, int32_t count,
    float *restrict weights) {
    if (source_dtype == IR_F32) {
        const float *restrict in = (const float *)source + first;
        for (int32_t k = 0; k < count; k++) weights[k] = round_to(scale, in[k]);
    } else if (source_dtype == IR_F16) {
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int32_t k = 0; k < count; k++)
            weights[k] = scale == IR_BF16 ? quant_round_bf16(quant_f16_to_f32(in[k]))
                                          : quant_f16_to_f32(in[k]);
    } else {
        assert(source_dtype == IR_BF16);
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int32_t k = 0; k < count; k++)
            weights[k] = scale == IR_F16 ? quant_round_f16(quant_bf16_to_f32(in[k]))
                                         : quant_bf16_to_f32(in[k]);
    }
}

// Magnitudes of floats order like integers, which lets compilers vectorise the maximum; NaN counts
// as 0.
QUANT_INLINE float largest_magnitude(const float *restrict weights, int32_t count) {
    int32_t largest = 0;
    for (int32_t k = 0; k < count; k++) {
        int32_t magnitude = (int32_t)(quant_bits(weights[k]) & 0x7fffffffu);
        magnitude = magnitude > 0x7f800000 ? 0 : magnitude;
        largest = magnitude > largest ? magnitude : largest;
    }
    return quant_float((uint32_t)largest);
}

// Codes of `count` weights. Clamping before rounding gives the same integer, as the limits are
// integers; it is done on the bits, which order like the numbers from 0 up (float comparisons,
// which may trap, keep compilers from vectorising). Adding 1.5 * 2^23 rounds to nearest even and
// leaves the integer in the low bits.
QUANT_INLINE void codes_of_group(
    ir_dtype scale_dtype, float scale, int32_t max_code, const float *restrict weights,
    int32_t count, uint8_t *restrict codes) {
    const float middle = (float)max_code;
    const int32_t limit = (int32_t)quant_bits((float)(2 * max_code));
    for (int32_t k = 0; k < count; k++) {
        const float value =
            round_code(scale_dtype, round_code(scale_dtype, weights[k] / scale) + middle);
        const int32_t bits = (int32_t)quant_bits(value);
        int32_t ordered = bits < 0 ? 0 : bits;
        ordered = ordered > limit ? limit : ordered;
        const uint32_t is_nan = quant_mask((bits & 0x7fffffff) > 0x7f800000);
        const uint32_t chosen = quant_select(is_nan, quant_bits(middle), (uint32_t)ordered);
        codes[k] = (uint8_t)(quant_bits(quant_float(chosen) + 12582912.0f) & 0xffu);
    }
}

// `count` codes, the rest of the group zero.
QUANT_INLINE void pack_group(
    int32_t bits, int32_t n_words, const uint8_t *restrict codes, uint32_t *restrict words) {
    const int32_t per_word = 32 / bits;
    for (int32_t i = 0; i < n_words; i++) {
        if (bits == 4) {
            // Eight bytes with a nibble each move together in three steps.
            uint64_t x;
            memcpy(&x, codes + 8 * i, sizeof x);
            x = (x | (x >> 4)) & 0x00ff00ff00ff00ffu;
            x = (x | (x >> 8)) & 0x0000ffff0000ffffu;
            words[i] = (uint32_t)(x | (x >> 16));
        } else {
            uint32_t word = 0;
            for (int32_t r = 0; r < per_word; r++)
                word |= (uint32_t)codes[i * per_word + r] << (r * bits);
            words[i] = word;
        }
    }
}

// `words` of a group hold ceil(group / per_word) * per_word codes, which may be more than the group
// has.
QUANT_INLINE void encode_rows(
    int32_t bits, int32_t group, ir_dtype scale_dtype, const void *source, ir_dtype source_dtype,
    int64_t n_rows, int64_t columns, uint32_t *words, void *scales) {
    const int32_t per_word = 32 / bits;
    const int32_t n_words = (group + per_word - 1) / per_word;
    const int32_t max_code = (1 << (bits - 1)) - 1;
    const int64_t n_groups = (columns + group - 1) / group;
    float weights[MAX_GROUP];
    uint8_t codes[MAX_GROUP + 32];
    assert(group <= MAX_GROUP);
    memset(codes, 0, sizeof codes);
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t j = 0; j < n_groups; j++) {
            const int64_t first = row * columns + j * group;
            const int64_t left = columns - j * group;
            float scale;
            if (left >= group) {
                load_group(scale_dtype, source, source_dtype, first, group, weights);
                scale = round_to(scale_dtype, largest_magnitude(weights, group) / (float)max_code);
                codes_of_group(scale_dtype, scale, max_code, weights, group, codes);
            } else {
                load_group(scale_dtype, source, source_dtype, first, (int32_t)left, weights);
                scale = round_to(
                    scale_dtype, largest_magnitude(weights, (int32_t)left) / (float)max_code);
                codes_of_group(scale_dtype, scale, max_code, weights, (int32_t)left, codes);
                memset(codes + left, 0, (size_t)(group - left));
            }
            store_scale(scale_dtype, scales, row * n_groups + j, scale);
            pack_group(bits, n_words, codes, words + (row * n_groups + j) * n_words);
        }
    }
}

QUANT_INLINE void decode_rows(
    int32_t bits, int32_t group, ir_dtype scale_dtype, const uint32_t *words, const void *scales,
    int64_t n_rows, int64_t columns, float *restrict output) {
    const int32_t per_word = 32 / bits;
    const int32_t n_words = (group + per_word - 1) / per_word;
    const int32_t max_code = (1 << (bits - 1)) - 1;
    const uint32_t mask = (1u << bits) - 1u;
    const int64_t n_groups = (columns + group - 1) / group;
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t k = 0; k < columns; k++) {
            const int64_t j = k / group;
            const int32_t in_group = (int32_t)(k - j * group);
            const uint32_t word = words[(row * n_groups + j) * n_words + in_group / per_word];
            const int32_t code = (int32_t)((word >> (in_group % per_word * bits)) & mask);
            output[row * columns + k] =
                (float)(code - max_code) * load_scale(scale_dtype, scales, row * n_groups + j);
        }
    }
}

void quant_group_int_encode(
    int32_t bits, int32_t group, ir_dtype scale, const void *source, ir_dtype source_dtype,
    int64_t n_rows, int64_t columns, uint32_t *words, void *scales) {
    encode_rows(bits, group, scale, source, source_dtype, n_rows, columns, words, scales);
}

void quant_group_int_decode(
    int32_t bits, int32_t group, ir_dtype scale, const uint32_t *words, const void *scales,
    int64_t n_rows, int64_t columns, float *output) {
    decode_rows(bits, group, scale, words, scales, n_rows, columns, output);
}

static mlcc_status *pieces_of(
    int32_t bits, int32_t group, ir_dtype scale, const ir_type *type, quant_piece *pieces,
    int32_t *n_pieces) {
    *n_pieces = 0;
    int64_t n_rows = 0, columns = 0;
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    if (type->rank < 2) {
        return MLCC_ERROR(
            INVALID, "a weight of format '%s' has %d dimension, at least 2 are needed",
            ir_dtype_get(type->dtype)->text, type->rank);
    }
    const int32_t per_word = 32 / bits;
    const int64_t n_groups = columns / group + (columns % group != 0);
    const int64_t n_words = n_groups * ((group + per_word - 1) / per_word);
    MLCC_TRY(quant_piece_init(&pieces[0], "q_weight", IR_U32, type, n_words));
    MLCC_TRY(quant_piece_init(&pieces[1], "q_scale", scale, type, n_groups));
    *n_pieces = 2;
    return NULL;
}

// clang-format off
#define DTYPE(id, text, kind, bits, group, scale, meaning)                                         \
    enum { BITS_##id = (bits), GROUP_##id = (group), SCALE_##id = IR_##scale };
#include "ir/dtypes.def"
// clang-format on

typedef void encode_function(
    const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns,
    void *const *outputs);

// The source type is made constant too: a branch on it inside the element loops would stop the
// vectoriser.
#define ENCODE_VARIANT(id, variant, attribute) \
    attribute static void encode_##id##_##variant( \
        const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns, \
        void *const *outputs) { \
        switch (source_dtype) { \
        case IR_F32: \
            encode_rows( \
                BITS_##id, GROUP_##id, (ir_dtype)SCALE_##id, source, IR_F32, n_rows, columns, \
                outputs[0], outputs[1]); \
            break; \
        case IR_F16: \
            encode_rows( \
                BITS_##id, GROUP_##id, (ir_dtype)SCALE_##id, source, IR_F16, n_rows, columns, \
                outputs[0], outputs[1]); \
            break; \
        default: \
            encode_rows( \
                BITS_##id, GROUP_##id, (ir_dtype)SCALE_##id, source, IR_BF16, n_rows, columns, \
                outputs[0], outputs[1]); \
            break; \
        } \
    }

#define GROUP_INT(id, bits, group, scale) \
    _Static_assert( \
        BITS_##id == (bits) && GROUP_##id == (group) && SCALE_##id == (int)IR_##scale, \
        #id " differs from its row in ir/dtypes.def"); \
    QUANT_FOR_VARIANTS(ENCODE_VARIANT, id) \
    static mlcc_status *pieces_##id(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) { \
        return pieces_of(bits, group, IR_##scale, type, pieces, n_pieces); \
    } \
    static void encode_##id( \
        const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns, \
        void *const *outputs) { \
        encode_function *encode = QUANT_CHOOSE(encode_##id); \
        encode(source, source_dtype, n_rows, columns, outputs); \
    } \
    static void decode_##id( \
        const void *const *inputs, int64_t n_rows, int64_t columns, float *output) { \
        decode_rows(bits, group, IR_##scale, inputs[0], inputs[1], n_rows, columns, output); \
    } \
    const quant_format quant_format_##id = {IR_##id, pieces_##id, encode_##id, decode_##id};

QUANT_GROUP_INT_FORMATS(GROUP_INT)
