// fp8: one body for spans of elements, instantiated per cast and element format; blocks are spans of
// 128 columns. A scale is written by the range that holds the first row of what it belongs to, so
// that ranges may be encoded on many threads.
#include "quantization/formats/fp8.h"

#include "quantization/float8.h"
#include "quantization/formats/vector.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#define BLOCK QUANT_FP8_BLOCK

// ---- largest magnitudes ----------------------------------------------------------------------

// Magnitudes order like integers, which lets compilers vectorise the maximum; NaN counts as 0.
#define LARGEST_LOOP(type, mask, infinity) \
    do { \
        const type *restrict in = (const type *)source + first; \
        type largest = 0; \
        for (int64_t i = 0; i < count; i++) { \
            const type magnitude = (type)(in[i] & (mask)); \
            const type number = magnitude > (infinity) ? 0 : magnitude; \
            largest = number > largest ? number : largest; \
        } \
        bits = (uint32_t)largest; \
    } while (0)

// The largest magnitude of elements [first, first + count).
QUANT_INLINE float largest_of(
    const void *source, ir_dtype source_dtype, int64_t first, int64_t count) {
    uint32_t bits = 0;
    if (source_dtype == IR_F32) {
        LARGEST_LOOP(int32_t, 0x7fffffff, 0x7f800000);
        return quant_float(bits);
    }
    if (source_dtype == IR_F16) {
        LARGEST_LOOP(int16_t, 0x7fff, 0x7c00);
        return quant_f16_to_f32((uint16_t)bits);
    }
    assert(source_dtype == IR_BF16);
    LARGEST_LOOP(int16_t, 0x7fff, 0x7f80);
    return quant_bf16_to_f32((uint16_t)bits);
}

typedef float largest_function(
    const void *source, ir_dtype source_dtype, int64_t first, int64_t count);

#define LARGEST_VARIANT(name, variant, attribute) \
    attribute static float name##_##variant( \
        const void *source, ir_dtype source_dtype, int64_t first, int64_t count) { \
        return largest_of(source, source_dtype, first, count); \
    }

QUANT_FOR_VARIANTS(LARGEST_VARIANT, largest_in_span)

// ---- spans -----------------------------------------------------------------------------------

QUANT_INLINE float cast_to(ir_dtype dtype, float value) {
    return dtype == IR_F16 ? quant_round_f16(value) : quant_round_bf16(value);
}

QUANT_INLINE uint8_t encode_element(ir_dtype f8, float value) {
    return f8 == IR_F8E4M3 ? quant_f32_to_f8e4m3(value) : quant_f32_to_f8e5m2(value);
}

// Elements [first, first + count) cast to `cast`, divided by the scale, in `f8`. (x / 1 is x.)
QUANT_INLINE void encode_span(
    ir_dtype cast, ir_dtype f8, const void *source, ir_dtype source_dtype, int64_t first,
    int64_t count, float scale, uint8_t *restrict out) {
    if (source_dtype == IR_F32) {
        const float *restrict in = (const float *)source + first;
        for (int64_t i = 0; i < count; i++)
            out[i] = encode_element(f8, cast_to(cast, in[i]) / scale);
    } else if (source_dtype == IR_F16) {
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int64_t i = 0; i < count; i++)
            out[i] = encode_element(f8, cast_to(cast, quant_f16_to_f32(in[i])) / scale);
    } else {
        assert(source_dtype == IR_BF16);
        const uint16_t *restrict in = (const uint16_t *)source + first;
        for (int64_t i = 0; i < count; i++)
            out[i] = encode_element(f8, cast_to(cast, quant_bf16_to_f32(in[i])) / scale);
    }
}

QUANT_INLINE void decode_span(
    ir_dtype f8, const uint8_t *restrict codes, int64_t count, float scale, float *restrict out) {
    for (int64_t i = 0; i < count; i++) {
        const float value =
            f8 == IR_F8E4M3 ? quant_f8e4m3_to_f32(codes[i]) : quant_f8e5m2_to_f32(codes[i]);
        out[i] = value * scale;
    }
}

typedef void encode_function(
    const void *source, ir_dtype source_dtype, int64_t first, int64_t count, float scale,
    uint8_t *out);
typedef void decode_function(const uint8_t *codes, int64_t count, float scale, float *out);

// The instances: name, cast, element format.
#define CAST_encode_per_tensor IR_F16
#define F8_encode_per_tensor   IR_F8E4M3
#define CAST_encode_plain      IR_F16
#define F8_encode_plain        IR_F8E5M2
#define CAST_encode_block      IR_BF16
#define F8_encode_block        IR_F8E4M3
#define F8_decode_e4m3         IR_F8E4M3
#define F8_decode_e5m2         IR_F8E5M2

#define ENCODE_VARIANT(name, variant, attribute) \
    attribute static void name##_##variant( \
        const void *source, ir_dtype source_dtype, int64_t first, int64_t count, float scale, \
        uint8_t *out) { \
        encode_span(CAST_##name, F8_##name, source, source_dtype, first, count, scale, out); \
    }

#define DECODE_VARIANT(name, variant, attribute) \
    attribute static void name##_##variant( \
        const uint8_t *codes, int64_t count, float scale, float *out) { \
        decode_span(F8_##name, codes, count, scale, out); \
    }

QUANT_FOR_VARIANTS(ENCODE_VARIANT, encode_per_tensor)
QUANT_FOR_VARIANTS(ENCODE_VARIANT, encode_plain)
QUANT_FOR_VARIANTS(ENCODE_VARIANT, encode_block)
QUANT_FOR_VARIANTS(DECODE_VARIANT, decode_e4m3)
QUANT_FOR_VARIANTS(DECODE_VARIANT, decode_e5m2)

// ---- one scale for the tensor, or none -------------------------------------------------------

float quant_fp8_scale(float largest, ir_dtype f8) {
    const float limit = f8 == IR_F8E4M3 ? 448.0f : 57344.0f;
    const float least = quant_round_f16(1.0f / (512.0f * limit));
    const float scale = quant_round_f16(quant_round_f16(largest) / limit);
    return scale > least ? scale : least;
}

static mlcc_status *need_matrix(const ir_type *type) {
    if (type->rank >= 2) return NULL;
    return MLCC_ERROR(
        INVALID, "a weight of format '%s' has %d dimension, at least 2 are needed",
        ir_dtype_get(type->dtype)->text, type->rank);
}

static mlcc_status *codes_piece(
    const ir_type *type, const char *suffix, ir_dtype f8, quant_piece *piece) {
    int64_t n_rows = 0, columns = 0;
    MLCC_TRY(need_matrix(type));
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    return quant_piece_init(piece, suffix, f8, type, columns);
}

static mlcc_status *pieces_per_tensor(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    MLCC_TRY(codes_piece(type, "q_weight", IR_F8E4M3, &pieces[0]));
    MLCC_TRY(quant_piece_init_vector(&pieces[1], "q_scale", IR_F32, 1));
    *n_pieces = 2;
    return NULL;
}

static mlcc_status *pieces_plain(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    MLCC_TRY(codes_piece(type, "q_weight", IR_F8E5M2, &pieces[0]));
    *n_pieces = 1;
    return NULL;
}

static float measure_per_tensor(
    const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns) {
    largest_function *largest = QUANT_CHOOSE(largest_in_span);
    // Rounding keeps the order, so that one rounding of the maximum is enough.
    return quant_round_f16(largest(source, source_dtype, 0, n_rows * columns));
}

static void encode_rows_per_tensor(
    const void *source, ir_dtype source_dtype, const quant_range *range, float largest,
    void *const *pieces) {
    encode_function *encode = QUANT_CHOOSE(encode_per_tensor);
    const float scale = quant_fp8_scale(largest, IR_F8E4M3);
    encode(source, source_dtype, 0, range->n_rows * range->columns, scale, pieces[0]);
    if (range->first_row == 0) *(float *)pieces[1] = scale;
}

static void encode_rows_plain(
    const void *source, ir_dtype source_dtype, const quant_range *range, float largest,
    void *const *pieces) {
    (void)largest;
    encode_function *encode = QUANT_CHOOSE(encode_plain);
    encode(source, source_dtype, 0, range->n_rows * range->columns, 1.0f, pieces[0]);
}

static void decode_per_tensor(const void *const *pieces, const quant_range *range, float *output) {
    decode_function *decode = QUANT_CHOOSE(decode_e4m3);
    decode(pieces[0], range->n_rows * range->columns, *(const float *)pieces[1], output);
}

static void decode_plain(const void *const *pieces, const quant_range *range, float *output) {
    decode_function *decode = QUANT_CHOOSE(decode_e5m2);
    decode(pieces[0], range->n_rows * range->columns, 1.0f, output);
}

// The one number that all scales of the rows are; NaN when they differ.
static float common_scale(const quant_canon *canon, const quant_canon_rows *rows) {
    const int64_t count = rows->n_rows * canon->n_groups;
    for (int64_t i = 1; i < count; i++) {
        if (rows->scales[i] != rows->scales[0]) return NAN;
    }
    return count > 0 ? rows->scales[0] : NAN;
}

// `memory` is the scale of the rows before.
static bool takes_per_tensor(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
    float *memory) {
    (void)range;
    if (canon->kind != QUANT_CANON_E4M3) return false;
    const float scale = common_scale(canon, rows);
    if (!isfinite(scale) || scale <= 0 || (*memory != 0 && *memory != scale)) return false;
    *memory = scale;
    return true;
}

static bool takes_plain(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
    float *memory) {
    (void)range;
    (void)memory;
    return canon->kind == QUANT_CANON_E5M2 && common_scale(canon, rows) == 1.0f;
}

static void pack_plain(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, float memory,
    void *const *pieces) {
    (void)canon;
    (void)memory;
    memcpy(pieces[0], rows->codes, (size_t)(range->n_rows * range->columns));
}

static void pack_per_tensor(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, float memory,
    void *const *pieces) {
    pack_plain(canon, rows, range, memory, pieces);
    if (range->first_row == 0) *(float *)pieces[1] = memory;
}

const quant_format quant_format_E4M3_F32 = {
    .dtype = IR_E4M3_F32,
    .is_streamed = true,
    .row_multiple = 1,
    .pieces = pieces_per_tensor,
    .measure = measure_per_tensor,
    .encode = encode_rows_per_tensor,
    .decode = decode_per_tensor,
    .takes = takes_per_tensor,
    .pack = pack_per_tensor};

const quant_format quant_format_E5M2 = {
    .dtype = IR_E5M2,
    .is_streamed = true,
    .row_multiple = 1,
    .pieces = pieces_plain,
    .encode = encode_rows_plain,
    .decode = decode_plain,
    .takes = takes_plain,
    .pack = pack_plain};

// ---- one scale for a block -------------------------------------------------------------------

static int64_t n_blocks_of(int64_t extent) {
    return extent / BLOCK + (extent % BLOCK != 0);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Of a stack of matrices, only where no block reaches from one matrix into the next.
static bool accepts_blocks(const ir_type *type) {
    return type->rank == 2 || (type->rank == 3 && type->dims[1].value % BLOCK == 0);
}

static mlcc_status *pieces_blocks(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) {
    *n_pieces = 0;
    MLCC_TRY(codes_piece(type, NULL, IR_F8E4M3, &pieces[0]));
    if (!accepts_blocks(type)) {
        return MLCC_ERROR(
            INVALID,
            "a weight of format '%s' has %d dimensions, 2 are needed, or 3 with blocks of 128 rows",
            ir_dtype_get(type->dtype)->text, type->rank);
    }
    ir_type blocks = *type;
    for (int32_t i = type->rank - 2; i < type->rank; i++)
        blocks.dims[i] = ir_dim_const(n_blocks_of(type->dims[i].value));
    MLCC_TRY(quant_piece_init(
        &pieces[1], "weight_scale_inv", IR_F32, &blocks, blocks.dims[type->rank - 1].value));
    *n_pieces = 2;
    return NULL;
}

static float block_scale(float largest) {
    const float scale = quant_round_bf16(largest) / 448.0f;
    return scale >= FLT_MIN ? scale : 1.0f;
}

static void encode_rows_blocks(
    const void *source, ir_dtype source_dtype, const quant_range *range, float largest,
    void *const *pieces) {
    (void)largest;
    largest_function *largest_in = QUANT_CHOOSE(largest_in_span);
    encode_function *encode = QUANT_CHOOSE(encode_block);
    const int64_t columns = range->columns, n_blocks = n_blocks_of(columns);
    assert(range->first_row % BLOCK == 0);
    uint8_t *codes = pieces[0];
    float *scales = (float *)pieces[1] + range->first_row / BLOCK * n_blocks;
    for (int64_t row = 0; row < range->n_rows; row += BLOCK, scales += n_blocks) {
        const int64_t last = smaller(row + BLOCK, range->n_rows);
        for (int64_t j = 0; j < n_blocks; j++) {
            const int64_t first = j * BLOCK, count = smaller(BLOCK, columns - first);
            float found = 0;
            for (int64_t r = row; r < last; r++) {
                const float in_row = largest_in(source, source_dtype, r * columns + first, count);
                found = in_row > found ? in_row : found;
            }
            scales[j] = block_scale(found);
            for (int64_t r = row; r < last; r++) {
                const int64_t at = r * columns + first;
                encode(source, source_dtype, at, count, scales[j], codes + at);
            }
        }
    }
}

static void decode_blocks(const void *const *pieces, const quant_range *range, float *output) {
    decode_function *decode = QUANT_CHOOSE(decode_e4m3);
    const uint8_t *codes = pieces[0];
    const int64_t columns = range->columns, n_blocks = n_blocks_of(columns);
    for (int64_t row = 0; row < range->n_rows; row++) {
        const float *scales =
            (const float *)pieces[1] + (range->first_row + row) / BLOCK * n_blocks;
        for (int64_t j = 0; j < n_blocks; j++) {
            const int64_t at = row * columns + j * BLOCK;
            decode(codes + at, smaller(BLOCK, columns - j * BLOCK), scales[j], output + at);
        }
    }
}

// Of row `row` of the rows: the scale of columns [128 j, 128 j + 128); NaN when it changes there.
static float scale_of_block(
    const quant_canon *canon, const quant_canon_rows *rows, int64_t row, int64_t j) {
    const float *scales = rows->scales + row * canon->n_groups;
    const int64_t first = j * BLOCK, last = smaller(first + BLOCK, canon->columns) - 1;
    const float scale = scales[first / canon->group];
    for (int64_t group = first / canon->group; group <= last / canon->group; group++) {
        if (scales[group] != scale) return NAN;
    }
    return scale;
}

// `memory` is the one scale of all rows before, or -1 when they have several: the rest of a block
// that earlier rows began can only be judged by the former.
static bool takes_blocks(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
    float *memory) {
    if (canon->kind != QUANT_CANON_E4M3 || canon->group_of_column != NULL) return false;
    if (canon->group < 1) return false;
    const bool begins_inside = range->first_row % BLOCK != 0;
    const float common = common_scale(canon, rows);
    if (begins_inside && !(common > 0 && common == *memory)) return false;
    for (int64_t row = 0; row < rows->n_rows; row++) {
        const bool begins_block = row == 0 || (range->first_row + row) % BLOCK == 0;
        for (int64_t j = 0; j < n_blocks_of(canon->columns); j++) {
            const float scale = scale_of_block(canon, rows, row, j);
            if (!isfinite(scale)) return false;
            if (!begins_block && scale != scale_of_block(canon, rows, row - 1, j)) return false;
        }
    }
    const bool is_same = common > 0 && (*memory == 0 || *memory == common);
    *memory = is_same ? common : -1.0f;
    return true;
}

static void pack_blocks(
    const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range, float memory,
    void *const *pieces) {
    pack_plain(canon, rows, range, memory, pieces);
    const int64_t n_blocks = n_blocks_of(canon->columns);
    float *scales = pieces[1];
    for (int64_t row = 0; row < range->n_rows; row++) {
        const int64_t param_row = range->first_row + row;
        if (param_row % BLOCK != 0) continue;
        for (int64_t j = 0; j < n_blocks; j++) {
            scales[param_row / BLOCK * n_blocks + j] = scale_of_block(canon, rows, row, j);
        }
    }
}

const quant_format quant_format_E4M3B128_F32 = {
    .dtype = IR_E4M3B128_F32,
    .is_streamed = true,
    .row_multiple = BLOCK,
    .accepts = accepts_blocks,
    .pieces = pieces_blocks,
    .encode = encode_rows_blocks,
    .decode = decode_blocks,
    .takes = takes_blocks,
    .pack = pack_blocks};
