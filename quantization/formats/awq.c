// awq: AutoAWQ's integers and their transposed, interleaved words. A strip of rows times one group
// is encoded (or copied) as bytes, then turned into words, so that whole cache lines go out.
#include "quantization/formats/awq.h"

#include "quantization/formats/element.h"
#include "quantization/formats/integer_canon.h"
#include "quantization/formats/vector.h"

enum {
    ROWS_PER_WORD = 8,
    STRIP_ROWS = 64,
    STRIP_WORDS = STRIP_ROWS / ROWS_PER_WORD,
    STRIP_COLUMNS = 128,
    LEAST_GROUP = 32
};

// 1e-5 as float16.
#define LEAST_RANGE 0x1.5p-17f

// Up to STRIP_ROWS rows (a multiple of 8) and STRIP_COLUMNS columns (whole groups, but for the
// last).
typedef struct awq_strip {
    int64_t n_rows, columns;
    uint8_t codes[STRIP_ROWS][STRIP_COLUMNS];
    uint8_t zeros[STRIP_COLUMNS / LEAST_GROUP][STRIP_ROWS];
    uint16_t scales[STRIP_COLUMNS / LEAST_GROUP][STRIP_ROWS];
} awq_strip;

QUANT_INLINE int32_t shift_of_row(int64_t row) {
    const int32_t r = (int32_t)(row % ROWS_PER_WORD);
    return 4 * (r % 2 * 4 + r / 2);
}

// Floats ordered as integers: the magnitude bits of negative ones are turned round, which also is
// the way back.
QUANT_INLINE int32_t ordered_of(int32_t bits) {
    return (int32_t)((uint32_t)bits ^ (quant_mask(bits < 0) & 0x7fffffffu));
}

// Largest and least of the weights that are numbers; 0 and 0 when none is.
QUANT_INLINE void limits_of(
    const float *restrict weights, int32_t count, float *largest, float *least) {
    int32_t high = INT32_MIN, low = INT32_MAX;
    for (int32_t k = 0; k < count; k++) {
        const uint32_t bits = quant_bits(weights[k]);
        const uint32_t is_nan = quant_mask((int32_t)(bits & 0x7fffffffu) > 0x7f800000);
        const uint32_t ordered = (uint32_t)ordered_of((int32_t)bits);
        const int32_t for_high = (int32_t)quant_select(is_nan, 0x80000000u, ordered);
        const int32_t for_low = (int32_t)quant_select(is_nan, 0x7fffffffu, ordered);
        high = for_high > high ? for_high : high;
        low = for_low < low ? for_low : low;
    }
    if (high < low) high = low = 0;
    *largest = quant_float((uint32_t)ordered_of(high));
    *least = quant_float((uint32_t)ordered_of(low));
}

// The zero of a group, 0 … 15, and the scale.
QUANT_INLINE int32_t zero_of(float largest, float least, float *scale) {
    float range = quant_round_f16(largest - least);
    if (!(range <= 65504.0f)) range = quant_float(0x7f800000u);
    if (range < LEAST_RANGE) range = LEAST_RANGE;
    *scale = quant_round_f16(range / 15.0f);
    const float negated = -quant_round_f16(least / *scale);
    return (int32_t)quant_clamped_code(negated, 15.0f, 0.0f);
}

// One group of one row; gives the zero. 16 is added to quotients so that codes are counted from 0,
// which loses nothing: what a float32 sum below 32 cannot hold is less than 2^-18, and the bits of a
// float16 quotient that decides between two integers are worth more.
QUANT_INLINE int32_t encode_group(
    const void *source, ir_dtype source_dtype, int64_t first, int32_t count,
    uint8_t *restrict codes, uint16_t *scale_out) {
    float weights[STRIP_COLUMNS];
    float largest = 0, least = 0, scale = 0;
    quant_load_elements(IR_F16, source, source_dtype, first, count, weights);
    limits_of(weights, count, &largest, &least);
    const int32_t zero = zero_of(largest, least, &scale);
    const float factor = quant_f16_factor(scale);
    for (int32_t k = 0; k < count; k++) {
        const float quotient = quant_round_f16_normal(weights[k] * factor);
        const int32_t shifted = (int32_t)quant_clamped_code(quotient + 16.0f, 32.0f, 16.0f);
        const int32_t code = shifted - 16 + zero;
        codes[k] = (uint8_t)(code < 0 ? 0 : code > 15 ? 15 : code);
    }
    *scale_out = quant_f16_bits_exact(scale);
    return zero;
}

// Rows of `stride` elements; the strip begins with element `first`.
typedef struct awq_source {
    const void *elements;
    ir_dtype dtype;
    int64_t stride, first;
} awq_source;

QUANT_INLINE void encode_strip(
    const awq_source *source, ir_dtype dtype, int32_t group, awq_strip *strip) {
    for (int64_t r = 0; r < strip->n_rows; r++) {
        for (int64_t k = 0, j = 0; k < strip->columns; k += group, j++) {
            const int64_t left = strip->columns - k;
            strip->zeros[j][r] = (uint8_t)encode_group(
                source->elements, dtype, source->first + r * source->stride + k,
                (int32_t)(left < group ? left : group), strip->codes[r] + k, &strip->scales[j][r]);
        }
    }
}

// Words i of all columns: eight rows to a word.
QUANT_INLINE void words_of_strip(
    const awq_strip *strip, uint32_t words[restrict STRIP_WORDS][STRIP_COLUMNS]) {
    for (int64_t i = 0; i < strip->n_rows / ROWS_PER_WORD; i++) {
        const uint8_t(*rows)[STRIP_COLUMNS] = strip->codes + i * ROWS_PER_WORD;
        for (int64_t k = 0; k < strip->columns; k++) {
            uint32_t word = 0;
            for (int64_t r = 0; r < ROWS_PER_WORD; r++)
                word |= (uint32_t)rows[r][k] << shift_of_row(r);
            words[i][k] = word;
        }
    }
}

typedef void strip_function(
    const awq_source *source, int32_t group, awq_strip *strip,
    uint32_t words[STRIP_WORDS][STRIP_COLUMNS]);

// `source` NULL: the strip has its codes.
#define STRIP_VARIANT(name, variant, attribute) \
    attribute static void name##_##variant( \
        const awq_source *source, int32_t group, awq_strip *strip, \
        uint32_t words[STRIP_WORDS][STRIP_COLUMNS]) { \
        if (source == NULL) { \
        } else if (source->dtype == IR_F32) { \
            encode_strip(source, IR_F32, group, strip); \
        } else if (source->dtype == IR_F16) { \
            encode_strip(source, IR_F16, group, strip); \
        } else { \
            encode_strip(source, IR_BF16, group, strip); \
        } \
        words_of_strip(strip, words); \
    }
QUANT_FOR_VARIANTS(STRIP_VARIANT, finish_strip)

// Row `row` of the param and column `column` are the strip's first.
static void write_strip(
    const awq_strip *strip, uint32_t words[STRIP_WORDS][STRIP_COLUMNS], int64_t group,
    int64_t total_rows, int64_t row, int64_t column, void *const *pieces) {
    const int64_t words_per_row = total_rows / ROWS_PER_WORD, word = row / ROWS_PER_WORD;
    const int64_t n_words = strip->n_rows / ROWS_PER_WORD;
    for (int64_t k = 0; k < strip->columns; k++) {
        uint32_t *out = (uint32_t *)pieces[0] + (column + k) * words_per_row + word;
        for (int64_t i = 0; i < n_words; i++) out[i] = words[i][k];
    }
    for (int64_t j = 0; j * group < strip->columns; j++) {
        uint32_t *zeros = (uint32_t *)pieces[1] + (column / group + j) * words_per_row + word;
        for (int64_t i = 0; i < n_words; i++) {
            zeros[i] = 0;
            for (int64_t r = 0; r < ROWS_PER_WORD; r++)
                zeros[i] |= (uint32_t)strip->zeros[j][i * ROWS_PER_WORD + r] << shift_of_row(r);
        }
        memcpy(
            (uint16_t *)pieces[2] + (column / group + j) * total_rows + row, strip->scales[j],
            (size_t)strip->n_rows * sizeof strip->scales[0][0]);
    }
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void decode_rows(
    int64_t group, const void *const *pieces, const quant_range *range, float *restrict output) {
    const int64_t words_per_row = range->total_rows / ROWS_PER_WORD, columns = range->columns;
    const uint32_t *codes = pieces[0], *zeros = pieces[1];
    const uint16_t *scales = pieces[2];
    for (int64_t r = 0; r < range->n_rows; r++) {
        const int64_t n = range->first_row + r, word = n / ROWS_PER_WORD;
        const int32_t shift = shift_of_row(n);
        for (int64_t first = 0, j = 0; first < columns; first += group, j++) {
            const float scale = quant_f16_to_f32(scales[j * range->total_rows + n]);
            const int32_t zero = (int32_t)(zeros[j * words_per_row + word] >> shift & 15u);
            const int64_t end = smaller(first + group, columns);
            for (int64_t k = first; k < end; k++) {
                const int32_t code = (int32_t)(codes[k * words_per_row + word] >> shift & 15u);
                output[r * columns + k] = (float)(code - zero) * scale;
            }
        }
    }
}

// What to add to zero and codes so that all lie in 0 … 15; false when nothing does.
static bool shift_of(const quant_canon_part *part, int32_t *shift) {
    int32_t least = 0, most = 0;
    quant_canon_limits(part->codes, part->count, &least, &most);
    if (part->zero < least) least = part->zero;
    if (part->zero > most) most = part->zero;
    *shift = least < 0 ? -least : most > 15 ? 15 - most : 0;
    return least + *shift >= 0 && most + *shift <= 15;
}

static bool takes_of(int64_t group, const quant_canon *canon, const quant_canon_rows *rows) {
    if (canon->kind != QUANT_CANON_INT || !quant_canon_has_groups_of(canon, group)) return false;
    for (int64_t row = 0; row < rows->n_rows; row++) {
        for (int64_t j = 0; j * group < canon->columns; j++) {
            const quant_canon_part part = quant_canon_part_of(canon, rows, group, row, j);
            int32_t shift = 0;
            if (!shift_of(&part, &shift) || !quant_canon_scale_fits(IR_F16, part.scale))
                return false;
        }
    }
    return true;
}

static void copy_part(
    const quant_canon_part *part, int32_t group, awq_strip *strip, int64_t row, int64_t j) {
    int32_t shift = 0;
    shift_of(part, &shift);
    uint8_t *codes = strip->codes[row] + j * group;
    for (int64_t k = 0; k < part->count; k++) codes[k] = (uint8_t)(part->codes[k] + shift);
    strip->zeros[j][row] = (uint8_t)(part->zero + shift);
    strip->scales[j][row] = quant_f16_bits_exact(part->scale);
}

// The codes of the strip that begins with row `row` and column `column`.
static void copy_strip(
    const quant_canon *canon, const quant_canon_rows *rows, int32_t group, int64_t row,
    int64_t column, awq_strip *strip) {
    for (int64_t r = 0; r < strip->n_rows; r++) {
        for (int64_t j = 0; j * group < strip->columns; j++) {
            const quant_canon_part part =
                quant_canon_part_of(canon, rows, group, row + r, column / group + j);
            copy_part(&part, group, strip, r, j);
        }
    }
}

// What rows are made of: numbers to be encoded, or codes to be copied.
typedef struct awq_rows {
    const void *elements;
    ir_dtype dtype;
    const quant_canon *canon; // NULL: numbers
    const quant_canon_rows *canon_rows;
} awq_rows;

static void write_rows(
    int32_t group, const awq_rows *source, const quant_range *range, void *const *pieces) {
    strip_function *finish = QUANT_CHOOSE(finish_strip);
    uint32_t words[STRIP_WORDS][STRIP_COLUMNS];
    awq_strip strip;
    for (int64_t row = 0; row < range->n_rows; row += STRIP_ROWS) {
        strip.n_rows = smaller(range->n_rows - row, STRIP_ROWS);
        for (int64_t column = 0; column < range->columns; column += STRIP_COLUMNS) {
            strip.columns = smaller(range->columns - column, STRIP_COLUMNS);
            const awq_source numbers = {
                .elements = source->elements,
                .dtype = source->dtype,
                .stride = range->columns,
                .first = row * range->columns + column};
            if (source->canon != NULL)
                copy_strip(source->canon, source->canon_rows, group, row, column, &strip);
            finish(source->canon != NULL ? NULL : &numbers, group, &strip, words);
            write_strip(
                &strip, words, group, range->total_rows, range->first_row + row, column, pieces);
        }
    }
}

static bool accepts(const ir_type *type) {
    return type->rank == 2 && type->dims[0].symbol == NULL && type->dims[0].value > 0 &&
           type->dims[0].value % ROWS_PER_WORD == 0;
}

static mlcc_status *pieces_of(
    int64_t group, const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    int64_t n_rows = 0, columns = 0;
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    if (!accepts(type)) {
        return MLCC_ERROR(
            INVALID,
            "a weight of format '%s' has %d dimensions and %lld output features, 2 dimensions and "
            "a multiple of 8 output features are needed",
            ir_dtype_get(type->dtype)->text, type->rank, (long long)n_rows);
    }
    const int64_t n_groups = columns / group + (columns % group != 0);
    const int64_t n_words = n_rows / ROWS_PER_WORD;
    MLCC_TRY(quant_piece_init_matrix(&pieces[0], "qweight", IR_U32, columns, n_words));
    MLCC_TRY(quant_piece_init_matrix(&pieces[1], "qzeros", IR_U32, n_groups, n_words));
    MLCC_TRY(quant_piece_init_matrix(&pieces[2], "scales", IR_F16, n_groups, n_rows));
    *n_pieces = 3;
    return NULL;
}

#define AWQ(id, group) \
    static mlcc_status *pieces_##id(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) { \
        return pieces_of(group, type, pieces, n_pieces); \
    } \
    static void encode_##id( \
        const void *source, ir_dtype source_dtype, const quant_range *range, float largest, \
        void *const *pieces) { \
        (void)largest; \
        write_rows(group, &(awq_rows){.elements = source, .dtype = source_dtype}, range, pieces); \
    } \
    static void decode_##id(const void *const *pieces, const quant_range *range, float *output) { \
        decode_rows(group, pieces, range, output); \
    } \
    static bool takes_##id( \
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, \
        float *memory) { \
        (void)range; \
        (void)memory; \
        return takes_of(group, canon, rows); \
    } \
    static void pack_##id( \
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, \
        float memory, void *const *pieces) { \
        (void)memory; \
        write_rows(group, &(awq_rows){.canon = canon, .canon_rows = rows}, range, pieces); \
    } \
    const quant_format quant_format_##id = { \
        .dtype = IR_##id, \
        .is_streamed = false, \
        .row_multiple = STRIP_ROWS, \
        .accepts = accepts, \
        .pieces = pieces_##id, \
        .encode = encode_##id, \
        .decode = decode_##id, \
        .takes = takes_##id, \
        .pack = pack_##id};

AWQ(U4G32_F16, 32)
AWQ(U4G64_F16, 64)
AWQ(U4G128_F16, 128)
