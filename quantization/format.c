// format: the table of formats, one row per element type that weights may have, and the names of
// stored pieces.
#include "quantization/format.h"

#include "quantization/formats/awq.h"
#include "quantization/formats/fp8.h"
#include "quantization/formats/ft.h"
#include "quantization/formats/group_int.h"
#include "quantization/formats/plain.h"

#include <string.h>

// A FLOAT or GROUPED row of dtypes.def without a `quant_format_<id>` in formats/ does not compile;
// an INT row is no weight format.
#define FORMAT_FLOAT(id)   &quant_format_##id
#define FORMAT_GROUPED(id) &quant_format_##id
#define FORMAT_INT(id)     NULL
#define FORMAT_STORED(id)  NULL
#define FORMAT_FLOAT8(id)  NULL

static const quant_format *const formats[IR_N_DTYPES] = {
#define DTYPE(id, text, kind, bits, group, scale, meaning) [IR_##id] = FORMAT_##kind(id),
#include "ir/dtypes.def"
};

const quant_format *quant_format_of(ir_dtype dtype) {
    return (unsigned)dtype < IR_N_DTYPES ? formats[dtype] : NULL;
}

bool quant_format_accepts(const quant_format *format, const ir_type *type) {
    if (format->accepts != NULL) return format->accepts(type);
    return ir_dtype_get(format->dtype)->kind != IR_KIND_GROUPED || type->rank >= 2;
}

mlcc_status *quant_rows_of(const ir_type *type, int64_t *n_rows, int64_t *columns) {
    *n_rows = 1;
    *columns = 1;
    if (type->rank < 1 || type->rank > IR_MAX_RANK) {
        return MLCC_ERROR(
            INVALID, "a stored weight has %d dimensions, accepted are 1 to %d", type->rank,
            IR_MAX_RANK);
    }
    for (int32_t i = 0; i < type->rank; i++) {
        const ir_dim dim = type->dims[i];
        if (dim.symbol != NULL) {
            return MLCC_ERROR(
                INVALID, "dimension %d of a stored weight is the symbol '%s', a constant is needed",
                i, dim.symbol->name);
        }
        if (dim.value <= 0) {
            return MLCC_ERROR(
                INVALID, "dimension %d of a stored weight is %lld, at least 1 is needed", i,
                (long long)dim.value);
        }
        if (i > 0 && i == type->rank - 1) {
            *columns = dim.value;
        } else if (!mlcc_i64_mul(*n_rows, dim.value, n_rows)) {
            return MLCC_ERROR(INVALID, "the rows of a stored weight do not fit 63 bits");
        }
    }
    return NULL;
}

mlcc_status *quant_piece_init(
    quant_piece *piece, const char *suffix, ir_dtype dtype, const ir_type *type, int64_t columns) {
    int64_t n_rows = 0, unused = 0;
    MLCC_TRY(quant_rows_of(type, &n_rows, &unused));
    *piece = (quant_piece){.suffix = suffix, .dtype = dtype, .rank = type->rank};
    for (int32_t i = 0; i < type->rank; i++) piece->dims[i] = type->dims[i].value;
    if (type->rank > 1) piece->dims[type->rank - 1] = columns;
    int64_t size_bytes = 0;
    if (!mlcc_i64_mul(n_rows, columns, &size_bytes) ||
        !mlcc_i64_mul(size_bytes, (int64_t)ir_dtype_bytes(dtype), &size_bytes)) {
        return MLCC_ERROR(
            INVALID, "a stored weight of %lld rows and %lld columns does not fit 63 bits",
            (long long)n_rows, (long long)columns);
    }
    piece->size_bytes = (size_t)size_bytes;
    piece->row_bytes = (size_t)(size_bytes / piece->dims[0]);
    return NULL;
}

mlcc_status *quant_piece_init_matrix(
    quant_piece *piece, const char *suffix, ir_dtype dtype, int64_t rows, int64_t columns) {
    ir_type type = ir_type_matrix(dtype, ir_dim_const(rows), ir_dim_const(columns));
    return quant_piece_init(piece, suffix, dtype, &type, columns);
}

mlcc_status *quant_piece_init_vector(
    quant_piece *piece, const char *suffix, ir_dtype dtype, int64_t length) {
    ir_type type = ir_type_vector(dtype, ir_dim_const(length));
    return quant_piece_init(piece, suffix, dtype, &type, 1);
}

char *quant_piece_name(mlcc_arena *keep, const char *param_name, const quant_piece *piece) {
    static const char ending[] = ".weight";
    if (piece->suffix == NULL) return mlcc_arena_strdup(keep, param_name);
    size_t length = strlen(param_name);
    if (mlcc_text_ends_with(param_name, ending)) length -= sizeof ending - 1;
    return mlcc_arena_printf(keep, "%.*s.%s", (int)length, param_name, piece->suffix);
}
