// format: how the weights of one IR dtype are stored in a model directory (MLC LLM's layouts), and
// the way there and back.
//
// A param `X.weight` of a plain dtype is stored as one record `X.weight`; a GROUPED one as several
// pieces (`X.q_weight`, `X.q_scale`). One row per dtype in format.c's table, one file per family in
// formats/ with the layout drawn in its header. No allocation, no state: all functions may run on
// disjoint row ranges from many threads.
#ifndef MLCC_QUANTIZATION_FORMAT_H
#define MLCC_QUANTIZATION_FORMAT_H

#include "ir/ir.h"
#include "runtime/base/str.h"

#define QUANT_MAX_PIECES 4

typedef struct quant_piece {
    const char *suffix; // replaces ".weight" at the end of the param's name; NULL: the name stays
    ir_dtype dtype;     // element dtype on disk: U32, F16, …
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
    size_t size_bytes;
    size_t row_bytes; // bytes of one row of the param (dims[0] of the param rows in all)
} quant_piece;

typedef struct quant_format {
    ir_dtype dtype;
    // Pieces of a param of this shape (constant dims); returns how many (≤ QUANT_MAX_PIECES).
    mlcc_status *(*pieces)(const ir_type *type, quant_piece *pieces, int32_t *n_pieces);
    // Encodes rows [0, n_rows) of `columns` elements each; rows and columns of a param are those of
    // quant_rows_of. `source` holds elements of `source_dtype` (F32, F16, BF16) in C order; it is
    // first cast to the format's scale/model dtype, then encoded with every operation rounded as
    // the reference says. outputs[i] = piece i at the first row.
    void (*encode)(
        const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns,
        void *const *outputs);
    // The inverse: rows as float32. Grouped formats give code times scale exactly (float32 holds
    // the product), as kernels that compute in float32 see it.
    void (*decode)(const void *const *inputs, int64_t n_rows, int64_t columns, float *output);
} quant_format;

// Never NULL for a FLOAT or GROUPED dtype.
const quant_format *quant_format_of(ir_dtype dtype);
// How encode and decode see a param: its last dimension is the columns, the product of the others
// the rows; a vector [D] is D rows of one column. INVALID when a dimension is a symbol or not
// positive. The bytes of one such row in a piece are size_bytes / n_rows.
mlcc_status *quant_rows_of(const ir_type *type, int64_t *n_rows, int64_t *columns);
// For `pieces` functions: a piece with the dimensions of `type` except the last one, which becomes
// `columns` (a vector keeps its own).
mlcc_status *quant_piece_init(
    quant_piece *piece, const char *suffix, ir_dtype dtype, const ir_type *type, int64_t columns);
// MLC's record name of a piece: "a.b.weight" + "q_scale" = "a.b.q_scale".
char *quant_piece_name(mlcc_arena *keep, const char *param_name, const quant_piece *piece);

#endif
