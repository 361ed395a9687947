// plain: the nine casts between f32, f16 and bf16.
#include "quantization/formats/plain.h"

#include "quantization/formats/vector.h"
#include "quantization/round.h"

#include <assert.h>

#define ELEMENT_F32   float
#define ELEMENT_F16   uint16_t
#define ELEMENT_BF16  uint16_t
#define LOAD_F32(x)   (x)
#define LOAD_F16(x)   quant_f16_to_f32(x)
#define LOAD_BF16(x)  quant_bf16_to_f32(x)
#define STORE_F32(x)  (x)
#define STORE_F16(x)  quant_f32_to_f16(x)
#define STORE_BF16(x) quant_f32_to_bf16(x)

#define CAST_LOOP(from, to) \
    do { \
        const ELEMENT_##from *restrict in = source; \
        ELEMENT_##to *restrict out = output; \
        for (int64_t i = 0; i < count; i++) out[i] = STORE_##to(LOAD_##from(in[i])); \
    } while (0)

// `source` and `output` may have any alignment that their element type needs; equal types are
// copied so that every bit, NaN payloads too, stays.
#define CAST_BODY(to) \
    QUANT_INLINE void cast_to_##to( \
        const void *source, ir_dtype source_dtype, int64_t count, void *output) { \
        if (source_dtype == IR_##to) { \
            memcpy(output, source, (size_t)count * sizeof(ELEMENT_##to)); \
        } else if (source_dtype == IR_F32) { \
            CAST_LOOP(F32, to); \
        } else if (source_dtype == IR_F16) { \
            CAST_LOOP(F16, to); \
        } else { \
            assert(source_dtype == IR_BF16); \
            CAST_LOOP(BF16, to); \
        } \
    }

CAST_BODY(F32)
CAST_BODY(F16)
CAST_BODY(BF16)

typedef void cast_function(const void *source, ir_dtype source_dtype, int64_t count, void *output);

#define CAST_VARIANT(to, variant, attribute) \
    attribute static void cast_to_##to##_##variant( \
        const void *source, ir_dtype source_dtype, int64_t count, void *output) { \
        cast_to_##to(source, source_dtype, count, output); \
    }

QUANT_FOR_VARIANTS(CAST_VARIANT, F32)
QUANT_FOR_VARIANTS(CAST_VARIANT, F16)
QUANT_FOR_VARIANTS(CAST_VARIANT, BF16)

#define PLAIN(id) \
    static mlcc_status *pieces_##id(const ir_type *type, quant_piece *pieces, int32_t *n_pieces) { \
        int64_t n_rows = 0, columns = 0; \
        *n_pieces = 0; \
        MLCC_TRY(quant_rows_of(type, &n_rows, &columns)); \
        MLCC_TRY(quant_piece_init(&pieces[0], NULL, IR_##id, type, columns)); \
        *n_pieces = 1; \
        return NULL; \
    } \
    static void encode_##id( \
        const void *source, ir_dtype source_dtype, const quant_range *range, float largest, \
        void *const *pieces) { \
        (void)largest; \
        cast_function *cast = QUANT_CHOOSE(cast_to_##id); \
        cast(source, source_dtype, range->n_rows * range->columns, pieces[0]); \
    } \
    static void decode_##id(const void *const *pieces, const quant_range *range, float *output) { \
        quant_cast_to_f32(pieces[0], IR_##id, range->n_rows * range->columns, output); \
    } \
    const quant_format quant_format_##id = { \
        .dtype = IR_##id, \
        .is_streamed = true, \
        .row_multiple = 1, \
        .pieces = pieces_##id, \
        .encode = encode_##id, \
        .decode = decode_##id};

void quant_cast_to_f32(const void *source, ir_dtype source_dtype, int64_t count, float *output) {
    cast_function *cast = QUANT_CHOOSE(cast_to_F32);
    cast(source, source_dtype, count, output);
}

PLAIN(F32)
PLAIN(F16)
PLAIN(BF16)
