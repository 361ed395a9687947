// ft: one tile of 64 codes is the unit: eight words of one output feature.
#include "quantization/formats/ft.h"

#include "quantization/formats/element.h"
#include "quantization/formats/integer_canon.h"
#include "quantization/formats/vector.h"

enum { TILE = 64, TILE_BYTES = TILE / 2, TILE_WORDS = TILE / 8, INTERLEAVED = 4, MAX_CODE = 7 };

// Where the tile of input features TILE * tile … begins for output feature n, in bytes.
static int64_t tile_offset(int64_t n_tiles, int64_t n, int64_t tile) {
    return ((n / INTERLEAVED * n_tiles + tile) * INTERLEAVED + n % INTERLEAVED) * TILE_BYTES;
}

// Codes plus 8, 0 … 15, in the order of the input features.
QUANT_INLINE void tile_from_codes(const uint8_t *restrict codes, uint8_t *restrict stored) {
    uint32_t words[TILE_WORDS];
    for (int32_t b = 0; b < 2; b++) {
        for (int32_t j = 0; j < 4; j++) {
            const uint8_t *of_word = codes + 32 * b + 2 * j;
            uint32_t word = 0;
            for (int32_t r = 0; r < 4; r++) {
                word |= (uint32_t)of_word[8 * r] << (4 * r) | (uint32_t)of_word[8 * r + 1]
                                                                  << (16 + 4 * r);
            }
            words[4 * b + j] = word;
        }
    }
    memcpy(stored, words, sizeof words);
}

QUANT_INLINE void codes_from_tile(const uint8_t *restrict stored, uint8_t *restrict codes) {
    uint32_t words[TILE_WORDS];
    memcpy(words, stored, sizeof words);
    for (int32_t b = 0; b < 2; b++) {
        for (int32_t j = 0; j < 4; j++) {
            uint8_t *of_word = codes + 32 * b + 2 * j;
            for (int32_t r = 0; r < 4; r++) {
                of_word[8 * r] = words[4 * b + j] >> (4 * r) & 15u;
                of_word[8 * r + 1] = words[4 * b + j] >> (16 + 4 * r) & 15u;
            }
        }
    }
}

void quant_ft_stored_from_plain(const uint8_t *plain, int64_t k, int64_t n, uint8_t *stored) {
    for (int64_t column = 0; column < n; column++) {
        for (int64_t tile = 0; tile < k / TILE; tile++) {
            uint8_t codes[TILE];
            for (int64_t i = 0; i < TILE; i++) {
                const uint8_t pair = plain[(tile * TILE + i) * (n / 2) + column / 2];
                codes[i] = (uint8_t)((pair >> (column % 2 * 4) & 15u) ^ 8u);
            }
            tile_from_codes(codes, stored + tile_offset(k / TILE, column, tile));
        }
    }
}

void quant_ft_plain_from_stored(const uint8_t *stored, int64_t k, int64_t n, uint8_t *plain) {
    for (int64_t column = 0; column < n; column += 2) {
        for (int64_t tile = 0; tile < k / TILE; tile++) {
            uint8_t even[TILE], odd[TILE];
            codes_from_tile(stored + tile_offset(k / TILE, column, tile), even);
            codes_from_tile(stored + tile_offset(k / TILE, column + 1, tile), odd);
            for (int64_t i = 0; i < TILE; i++) {
                plain[(tile * TILE + i) * (n / 2) + column / 2] =
                    (uint8_t)((even[i] ^ 8u) | (odd[i] ^ 8u) << 4);
            }
        }
    }
}

// One row. 8 is added to quotients as the stored codes want it, which loses nothing: what a float32
// sum below 16 cannot hold is less than 2^-19, and the bits of a float16 quotient that decides
// between two integers are worth more.
QUANT_INLINE void encode_row(
    const void *source, ir_dtype source_dtype, int64_t first, int64_t columns, int64_t n,
    uint8_t *stored, uint16_t *scale_out) {
    float weights[TILE];
    float largest = 0.0f;
    for (int64_t k = 0; k < columns; k += TILE) {
        quant_load_elements(IR_F16, source, source_dtype, first + k, TILE, weights);
        const float of_tile = quant_largest_magnitude(weights, TILE);
        largest = of_tile > largest ? of_tile : largest;
    }
    const float scale = quant_round_f16(largest / (float)MAX_CODE);
    const float factor = quant_f16_factor(scale);
    *scale_out = quant_f16_bits_exact(scale);
    for (int64_t k = 0; k < columns; k += TILE) {
        uint8_t codes[TILE];
        quant_load_elements(IR_F16, source, source_dtype, first + k, TILE, weights);
        for (int32_t i = 0; i < TILE; i++) {
            const float quotient = quant_round_f16_normal(weights[i] * factor);
            codes[i] = (uint8_t)quant_clamped_code(quotient + 8.0f, 15.0f, 8.0f);
        }
        tile_from_codes(codes, stored + tile_offset(columns / TILE, n, k / TILE));
    }
}

typedef void rows_function(
    const void *source, ir_dtype source_dtype, const quant_range *range, void *const *pieces);

QUANT_INLINE void encode_rows(
    const void *source, ir_dtype source_dtype, const quant_range *range, void *const *pieces) {
    uint16_t *scales = (uint16_t *)pieces[1] + range->first_row;
    for (int64_t r = 0; r < range->n_rows; r++) {
        encode_row(
            source, source_dtype, r * range->columns, range->columns, r, pieces[0], &scales[r]);
    }
}

#define ROWS_VARIANT(name, variant, attribute) \
    attribute static void name##_##variant( \
        const void *source, ir_dtype source_dtype, const quant_range *range, \
        void *const *pieces) { \
        switch (source_dtype) { \
        case IR_F32: encode_rows(source, IR_F32, range, pieces); break; \
        case IR_F16: encode_rows(source, IR_F16, range, pieces); break; \
        default: encode_rows(source, IR_BF16, range, pieces); break; \
        } \
    }
QUANT_FOR_VARIANTS(ROWS_VARIANT, rows)

static void encode(
    const void *source, ir_dtype source_dtype, const quant_range *range, float largest,
    void *const *pieces) {
    (void)largest;
    rows_function *function = QUANT_CHOOSE(rows);
    function(source, source_dtype, range, pieces);
}

static void decode(const void *const *pieces, const quant_range *range, float *output) {
    const uint16_t *scales = (const uint16_t *)pieces[1] + range->first_row;
    const int64_t n_tiles = range->columns / TILE;
    for (int64_t r = 0; r < range->n_rows; r++) {
        const float scale = quant_f16_to_f32(scales[r]);
        for (int64_t tile = 0; tile < n_tiles; tile++) {
            uint8_t codes[TILE];
            float *out = output + r * range->columns + tile * TILE;
            codes_from_tile((const uint8_t *)pieces[0] + tile_offset(n_tiles, r, tile), codes);
            for (int32_t i = 0; i < TILE; i++) out[i] = (float)(codes[i] - 8) * scale;
        }
    }
}

static bool takes(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
    float *memory) {
    (void)range;
    (void)memory;
    return quant_canon_fits(canon, rows, canon->columns, IR_F16, -MAX_CODE - 1, MAX_CODE);
}

static void pack(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, float memory,
    void *const *pieces) {
    (void)memory;
    uint16_t *scales = (uint16_t *)pieces[1] + range->first_row;
    const int64_t n_tiles = range->columns / TILE;
    for (int64_t r = 0; r < range->n_rows; r++) {
        const quant_canon_part part = quant_canon_part_of(canon, rows, canon->columns, r, 0);
        scales[r] = quant_f16_bits_exact(part.scale);
        for (int64_t tile = 0; tile < n_tiles; tile++) {
            uint8_t codes[TILE];
            for (int32_t i = 0; i < TILE; i++)
                codes[i] = (uint8_t)(part.codes[tile * TILE + i] - part.zero + 8);
            tile_from_codes(codes, (uint8_t *)pieces[0] + tile_offset(n_tiles, r, tile));
        }
    }
}

static bool accepts(const ir_type *type) {
    if (type->rank != 2) return false;
    for (int32_t i = 0; i < 2; i++) {
        const ir_dim dim = type->dims[i];
        if (dim.symbol != NULL || dim.value <= 0 || dim.value % TILE != 0) return false;
    }
    return true;
}

static mlcc_status *pieces_of(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    int64_t n_rows = 0, columns = 0;
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    if (!accepts(type)) {
        return MLCC_ERROR(
            INVALID,
            "a weight of format '%s' has %d dimensions, %lld rows and %lld columns, 2 dimensions "
            "that are multiples of 64 are needed",
            ir_dtype_get(type->dtype)->text, type->rank, (long long)n_rows, (long long)columns);
    }
    MLCC_TRY(quant_piece_init_matrix(&pieces[0], "q_weight", IR_I8, columns, n_rows / 2));
    pieces[0].row_bytes = (size_t)(columns / 2); // of the param, not of the piece
    MLCC_TRY(quant_piece_init_matrix(&pieces[1], "q_scale", IR_F16, 1, n_rows));
    *n_pieces = 2;
    return NULL;
}

const quant_format quant_format_Q4FT_F16 = {
    .dtype = IR_Q4FT_F16,
    .is_streamed = true,
    .row_multiple = INTERLEAVED,
    .accepts = accepts,
    .pieces = pieces_of,
    .encode = encode,
    .decode = decode,
    .takes = takes,
    .pack = pack};
