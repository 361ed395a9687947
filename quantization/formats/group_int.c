// group_int: encode, decode and pack of grouped integers. The encoder's body is written once, with
// bits, group and scale type as parameters that every format's instance makes constant; loops over
// the elements of a group are branch-free, so compilers turn them into vector code.
#include "quantization/formats/group_int.h"

#include "quantization/formats/element.h"
#include "quantization/formats/group_int_x86.h"
#include "quantization/formats/integer_canon.h"
#include "quantization/formats/vector.h"

#define MAX_GROUP 256

// For quotients w / s and for those plus M: where they differ from quant_round_to (magnitudes below
// 2^-14), adding M hides it.
QUANT_INLINE float round_code(ir_dtype dtype, float value) {
    if (dtype == IR_F16) return quant_round_f16_normal(value);
    if (dtype == IR_BF16) return quant_round_bits(value, 16);
    return value;
}

QUANT_INLINE void codes_of_group(
    ir_dtype scale_dtype, float scale, int32_t max_code, const float *restrict weights,
    int32_t count, uint8_t *restrict codes) {
    const float middle = (float)max_code, most = (float)(2 * max_code);
    const float factor = scale_dtype == IR_F16 ? quant_f16_factor(scale) : 0.0f;
    for (int32_t k = 0; k < count; k++) {
        const float quotient = scale_dtype == IR_F16 ? weights[k] * factor : weights[k] / scale;
        const float value = round_code(scale_dtype, round_code(scale_dtype, quotient) + middle);
        codes[k] = (uint8_t)quant_clamped_code(value, most, middle);
    }
}

// Elements [first, first + count) of the source: codes and scale of their group.
QUANT_INLINE float encode_group(
    int32_t bits, ir_dtype scale_dtype, const void *source, ir_dtype source_dtype, int64_t first,
    int32_t count, uint8_t *restrict codes) {
    const int32_t max_code = (1 << (bits - 1)) - 1;
    float weights[MAX_GROUP];
    quant_load_elements(scale_dtype, source, source_dtype, first, count, weights);
    const float scale =
        quant_round_to(scale_dtype, quant_largest_magnitude(weights, count) / (float)max_code);
    codes_of_group(scale_dtype, scale, max_code, weights, count, codes);
    return scale;
}

// `words` of a group hold ceil(group / per_word) * per_word codes, which may be more than the group
// has.
QUANT_INLINE void encode_block(
    int32_t bits, int32_t group, ir_dtype scale_dtype, ir_dtype source_dtype,
    const quant_group_block *block) {
    const int32_t per_word = 32 / bits, n_words = (group + per_word - 1) / per_word;
    uint8_t codes[MAX_GROUP + 32];
    assert(group <= MAX_GROUP);
    memset(codes, 0, sizeof codes);
    uint32_t *words = block->words;
    int64_t index = 0;
    for (int64_t row = 0; row < block->n_rows; row++) {
        for (int64_t k = 0; k < block->columns; k += group) {
            const int64_t first = row * block->stride + k, left = block->columns - k;
            float scale;
            if (left >= group) {
                scale = encode_group(
                    bits, scale_dtype, block->source, source_dtype, first, group, codes);
            } else {
                scale = encode_group(
                    bits, scale_dtype, block->source, source_dtype, first, (int32_t)left, codes);
                memset(codes + left, 0, (size_t)(group - left));
            }
            quant_store_scale(scale_dtype, block->scales, index++, scale);
            quant_words_of_codes(bits, n_words, codes, words);
            words += n_words;
        }
    }
}

// What a format is: its numbers, and whether words and scales are transposed.
typedef struct group_layout {
    int32_t bits, group;
    ir_dtype scale;
    bool is_transposed;
} group_layout;

static int32_t words_per_group(const group_layout *layout) {
    const int32_t per_word = 32 / layout->bits;
    return (layout->group + per_word - 1) / per_word;
}

// Where word i and scale j of a range's row r lie: words[r * row + i * next], scales likewise.
typedef struct group_steps {
    int64_t n_groups, word_row, word_next, scale_row, scale_next;
    int64_t first_scale; // of the range's first row, in elements
    int64_t first_word;  // the same for words; streamed pieces begin with the range
} group_steps;

static group_steps steps_of(const group_layout *layout, const quant_range *range) {
    const int64_t n_groups = (range->columns + layout->group - 1) / layout->group;
    if (layout->is_transposed) {
        return (group_steps){.n_groups = n_groups,
                             .word_row = 1,
                             .word_next = range->total_rows,
                             .scale_row = 1,
                             .scale_next = range->total_rows,
                             .first_scale = range->first_row,
                             .first_word = range->first_row};
    }
    return (group_steps){.n_groups = n_groups,
                         .word_row = n_groups * words_per_group(layout),
                         .word_next = 1,
                         .scale_row = n_groups,
                         .scale_next = 1,
                         .first_scale = range->first_row * n_groups,
                         .first_word = 0};
}

static void decode_rows(
    const group_layout *layout, const group_steps *steps, const uint32_t *words, const void *scales,
    int64_t n_rows, int64_t columns, float *restrict output) {
    const int32_t bits = layout->bits, per_word = 32 / bits, n_words = words_per_group(layout);
    const int32_t max_code = (1 << (bits - 1)) - 1;
    const uint32_t mask = (1u << bits) - 1u;
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t j = 0; j < steps->n_groups; j++) {
            const float scale = quant_load_scale(
                layout->scale, scales,
                steps->first_scale + row * steps->scale_row + j * steps->scale_next);
            const int64_t first = j * layout->group;
            const int64_t end = columns - first < layout->group ? columns : first + layout->group;
            const uint32_t *word =
                words + steps->first_word + row * steps->word_row + j * n_words * steps->word_next;
            for (int64_t k = first; k < end; k += per_word, word += steps->word_next) {
                const int64_t n = end - k < per_word ? end - k : per_word;
                for (int64_t r = 0; r < n; r++) {
                    const int32_t code = (int32_t)((*word >> (r * bits)) & mask);
                    output[row * columns + k + r] = (float)(code - max_code) * scale;
                }
            }
        }
    }
}

void quant_group_int_encode(
    int32_t bits, int32_t group, ir_dtype scale, const void *source, ir_dtype source_dtype,
    int64_t n_rows, int64_t columns, uint32_t *words, void *scales) {
    const quant_group_block block = {
        .source = source,
        .stride = columns,
        .n_rows = n_rows,
        .columns = columns,
        .words = words,
        .scales = scales};
    encode_block(bits, group, scale, source_dtype, &block);
}

void quant_group_int_decode(
    int32_t bits, int32_t group, ir_dtype scale, const uint32_t *words, const void *scales,
    int64_t n_rows, int64_t columns, float *output) {
    const group_layout layout = {.bits = bits, .group = group, .scale = scale};
    const quant_range range = quant_range_all(n_rows, columns);
    const group_steps steps = steps_of(&layout, &range);
    decode_rows(&layout, &steps, words, scales, n_rows, columns, output);
}

static mlcc_status *pieces_of(
    const group_layout *layout, const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    int64_t n_rows = 0, columns = 0;
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    const char *text = ir_dtype_get(type->dtype)->text;
    if (type->rank < 2) {
        return MLCC_ERROR(
            INVALID, "a weight of format '%s' has %d dimension, at least 2 are needed", text,
            type->rank);
    }
    const int64_t n_groups = columns / layout->group + (columns % layout->group != 0);
    const int64_t n_words = n_groups * words_per_group(layout);
    if (!layout->is_transposed) {
        MLCC_TRY(quant_piece_init(&pieces[0], "q_weight", IR_U32, type, n_words));
        MLCC_TRY(quant_piece_init(&pieces[1], "q_scale", layout->scale, type, n_groups));
    } else if (type->rank == 2) {
        MLCC_TRY(quant_piece_init_matrix(&pieces[0], "q_weight", IR_U32, n_words, n_rows));
        MLCC_TRY(quant_piece_init_matrix(&pieces[1], "q_scale", layout->scale, n_groups, n_rows));
    } else {
        return MLCC_ERROR(
            INVALID,
            "a weight of format '%s' has %d dimensions, transposed formats hold matrices only; "
            "use a mode that ends in _1",
            text, type->rank);
    }
    *n_pieces = 2;
    return NULL;
}

static bool accepts_matrix(const ir_type *type) {
    return type->rank == 2;
}

static void encode_rows(
    const group_layout *layout, void (*encode)(const quant_group_block *), const void *source,
    ir_dtype source_dtype, const quant_range *range, void *const *pieces) {
    const group_steps steps = steps_of(layout, range);
    const quant_group_block block = {
        .source = source,
        .source_dtype = source_dtype,
        .stride = range->columns,
        .n_rows = range->n_rows,
        .columns = range->columns,
        .words = pieces[0],
        .scales = (char *)pieces[1] + (size_t)steps.first_scale * ir_dtype_bytes(layout->scale)};
    encode(&block);
}

// A transposed range is encoded in blocks small enough for the first level cache, whose words and
// scales then go out as strips of up to STRIP_ROWS neighbours.
enum { STRIP_ROWS = 64, STRIP_GROUPS = 8, STRIP_WORDS = 4 };

static void transpose_words(
    const uint32_t *restrict in, int64_t n_rows, int64_t n_words, uint32_t *restrict out,
    int64_t out_stride) {
    for (int64_t i = 0; i < n_words; i++) {
        for (int64_t r = 0; r < n_rows; r++) out[i * out_stride + r] = in[r * n_words + i];
    }
}

static void transpose_halves(
    const uint16_t *restrict in, int64_t n_rows, int64_t n_scales, uint16_t *restrict out,
    int64_t out_stride) {
    for (int64_t j = 0; j < n_scales; j++) {
        for (int64_t r = 0; r < n_rows; r++) out[j * out_stride + r] = in[r * n_scales + j];
    }
}

static void encode_transposed(
    const group_layout *layout, void (*encode)(const quant_group_block *), const void *source,
    ir_dtype source_dtype, const quant_range *range, void *const *pieces) {
    uint32_t words[STRIP_ROWS * STRIP_GROUPS * STRIP_WORDS];
    uint16_t scales[STRIP_ROWS * STRIP_GROUPS];
    const int32_t n_words = words_per_group(layout);
    const int64_t n_groups = steps_of(layout, range).n_groups;
    assert(n_words <= STRIP_WORDS && ir_dtype_bytes(layout->scale) == sizeof scales[0]);
    for (int64_t row = 0; row < range->n_rows; row += STRIP_ROWS) {
        const int64_t n_rows = range->n_rows - row < STRIP_ROWS ? range->n_rows - row : STRIP_ROWS;
        for (int64_t j = 0; j < n_groups; j += STRIP_GROUPS) {
            const int64_t n = n_groups - j < STRIP_GROUPS ? n_groups - j : STRIP_GROUPS;
            const int64_t column = j * layout->group, left = range->columns - column;
            encode(&(quant_group_block){
                .source = (const char *)source +
                          (size_t)(row * range->columns + column) * ir_dtype_bytes(source_dtype),
                .source_dtype = source_dtype,
                .stride = range->columns,
                .n_rows = n_rows,
                .columns = left < n * layout->group ? left : n * layout->group,
                .words = words,
                .scales = scales});
            const int64_t out = range->first_row + row;
            transpose_words(
                words, n_rows, n * n_words,
                (uint32_t *)pieces[0] + j * n_words * range->total_rows + out, range->total_rows);
            transpose_halves(
                scales, n_rows, n, (uint16_t *)pieces[1] + j * range->total_rows + out,
                range->total_rows);
        }
    }
}

static bool takes_of(
    const group_layout *layout, const quant_canon *canon, const quant_canon_rows *rows) {
    const int32_t max_code = (1 << (layout->bits - 1)) - 1;
    return quant_canon_fits(canon, rows, layout->group, layout->scale, -max_code, max_code);
}

// Rows in strips, groups outside: the words of a strip that lie side by side in a transposed piece
// are written while their cache lines are at hand.
static void pack_rows(
    const group_layout *layout, const quant_canon *canon, const quant_canon_rows *rows,
    const quant_range *range, void *const *pieces) {
    enum { ROWS = 16 };
    const int32_t max_code = (1 << (layout->bits - 1)) - 1, n_words = words_per_group(layout);
    const group_steps steps = steps_of(layout, range);
    uint8_t codes[MAX_GROUP + 32];
    uint32_t words[MAX_GROUP];
    for (int64_t strip = 0; strip < range->n_rows; strip += ROWS) {
        const int64_t end = range->n_rows - strip < ROWS ? range->n_rows : strip + ROWS;
        for (int64_t j = 0; j < steps.n_groups; j++) {
            memset(codes, 0, sizeof codes);
            for (int64_t row = strip; row < end; row++) {
                const quant_canon_part part =
                    quant_canon_part_of(canon, rows, layout->group, row, j);
                for (int64_t k = 0; k < part.count; k++)
                    codes[k] = (uint8_t)(part.codes[k] - part.zero + max_code);
                quant_words_of_codes(layout->bits, n_words, codes, words);
                uint32_t *out = (uint32_t *)pieces[0] + steps.first_word + row * steps.word_row +
                                j * n_words * steps.word_next;
                for (int32_t i = 0; i < n_words; i++) out[i * steps.word_next] = words[i];
                quant_store_scale(
                    layout->scale, pieces[1],
                    steps.first_scale + row * steps.scale_row + j * steps.scale_next, part.scale);
            }
        }
    }
}

// clang-format off
#define DTYPE(id, text, kind, bits, group, scale, meaning)                                         \
    enum { BITS_##id = (bits), GROUP_##id = (group), SCALE_##id = IR_##scale };
#include "ir/dtypes.def"
// clang-format on

// The source type is made constant too: a branch on it inside the element loops would stop the
// vectoriser.
#define ENCODERS(id, bits, group, scale) \
    _Static_assert( \
        BITS_##id == (bits) && GROUP_##id == (group) && SCALE_##id == (int)IR_##scale, \
        #id " differs from its row in ir/dtypes.def"); \
    static void quant_group_encode_##id##_baseline(const quant_group_block *block) { \
        switch (block->source_dtype) { \
        case IR_F32: encode_block(bits, group, IR_##scale, IR_F32, block); break; \
        case IR_F16: encode_block(bits, group, IR_##scale, IR_F16, block); break; \
        default: encode_block(bits, group, IR_##scale, IR_BF16, block); break; \
        } \
    }
QUANT_GROUP_INT_FORMATS(ENCODERS)

#define FORMAT(id, of, transposed, function, first_piece_streams, multiple, shapes) \
    static const group_layout layout_##id = { \
        .bits = BITS_##id, \
        .group = GROUP_##id, \
        .scale = (ir_dtype)SCALE_##id, \
        .is_transposed = transposed}; \
    static mlcc_status *pieces_##id(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) { \
        return pieces_of(&layout_##id, type, pieces, n_pieces); \
    } \
    static void encode_##id( \
        const void *source, ir_dtype source_dtype, const quant_range *range, float largest, \
        void *const *pieces) { \
        (void)largest; \
        function( \
            &layout_##id, QUANT_CHOOSE(quant_group_encode_##of), source, source_dtype, range, \
            pieces); \
    } \
    static void decode_##id(const void *const *pieces, const quant_range *range, float *output) { \
        const group_steps steps = steps_of(&layout_##id, range); \
        decode_rows( \
            &layout_##id, &steps, pieces[0], pieces[1], range->n_rows, range->columns, output); \
    } \
    static bool takes_##id( \
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, \
        float *memory) { \
        (void)range; \
        (void)memory; \
        return takes_of(&layout_##id, canon, rows); \
    } \
    static void pack_##id( \
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, \
        float memory, void *const *pieces) { \
        (void)memory; \
        pack_rows(&layout_##id, canon, rows, range, pieces); \
    } \
    const quant_format quant_format_##id = { \
        .dtype = IR_##id, \
        .is_streamed = first_piece_streams, \
        .row_multiple = multiple, \
        .accepts = shapes, \
        .pieces = pieces_##id, \
        .encode = encode_##id, \
        .decode = decode_##id, \
        .takes = takes_##id, \
        .pack = pack_##id};

#define STREAMED(id, bits, group, scale) FORMAT(id, id, false, encode_rows, true, 1, NULL)
QUANT_GROUP_INT_FORMATS(STREAMED)

#define TRANSPOSED(id, of) \
    _Static_assert( \
        BITS_##id == (int)BITS_##of && GROUP_##id == (int)GROUP_##of && \
            SCALE_##id == (int)SCALE_##of, \
        #id " is not the transpose of " #of); \
    FORMAT(id, of, true, encode_transposed, false, 16, accepts_matrix)
QUANT_GROUP_INT_TRANSPOSED_FORMATS(TRANSPOSED)
