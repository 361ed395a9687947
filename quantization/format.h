// format: how the weights of one IR dtype are stored in a model directory (MLC LLM's layouts), and
// the ways there and back.
//
// A param `X.weight` of a plain dtype is stored as one record `X.weight`; a GROUPED one as several
// pieces (`X.q_weight`, `X.q_scale`). One row per dtype in format.c's table, one file per family in
// formats/ with the layout drawn in its header. No allocation, no state: all functions may run on
// disjoint row ranges from many threads.
//
// There are two ways in. `encode` takes float rows and quantizes them as the reference does.
// `pack` takes codes that somebody else chose (canon.h) and stores them unchanged; `takes` says
// whether that is possible without loss.
#ifndef MLCC_QUANTIZATION_FORMAT_H
#define MLCC_QUANTIZATION_FORMAT_H

#include "ir/ir.h"
#include "quantization/canon.h"
#include "runtime/base/str.h"

#define QUANT_MAX_PIECES 4

typedef struct quant_piece {
    const char *suffix; // replaces ".weight" at the end of the param's name; NULL: the name stays
    ir_dtype dtype;     // element dtype on disk: U32, F16, …
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
    size_t size_bytes;
    size_t
        row_bytes; // bytes of one row of the param (dims[0] of the param rows in all); streamed formats, piece 0
} quant_piece;

// Rows [first_row, first_row + n_rows) of a param of total_rows rows; rows and columns as
// quant_rows_of has them. first_row is a multiple of the format's row_multiple, and so is n_rows
// unless the range ends with the param.
typedef struct quant_range {
    int64_t first_row, n_rows, total_rows, columns;
} quant_range;

// Pieces in memory, for all functions below: pieces[0] points at row first_row when the format is
// streamed, at the start of the piece otherwise; every other piece at its start.
typedef struct quant_format {
    ir_dtype dtype;
    // Piece 0 holds the param's rows one after another, row_bytes each: it may be written as a
    // stream. false: a row is spread over the piece (transposed layouts).
    bool is_streamed;
    int64_t row_multiple; // ≥ 1
    // Whether a weight of this shape can be stored; NULL: every matrix (every shape for FLOAT).
    bool (*accepts)(const ir_type *type);
    // Pieces of a param of this shape (constant dims); returns how many (≤ QUANT_MAX_PIECES).
    mlcc_status *(*pieces)(const ir_type *type, quant_piece *pieces, int32_t *n_pieces);
    // Formats with one scale for the tensor: the largest magnitude among the rows as encode will see
    // them (cast to the model dtype), NaN counts as 0. The caller keeps the maximum over all rows
    // and gives it to encode. NULL: not needed.
    float (*measure)(const void *source, ir_dtype source_dtype, int64_t n_rows, int64_t columns);
    // `source` holds the rows of the range as elements of `source_dtype` (F32, F16, BF16) in C
    // order; it is first cast to the format's scale/model dtype, then encoded with every operation
    // rounded as the reference says. `largest` is what measure found.
    void (*encode)(
        const void *source, ir_dtype source_dtype, const quant_range *range, float largest,
        void *const *pieces);
    // The inverse: rows as float32 [n_rows, columns]. Grouped formats give code times scale exactly
    // (float32 holds the product), as kernels that compute in float32 see it.
    void (*decode)(const void *const *pieces, const quant_range *range, float *output);
    // Whether these rows can be stored without loss. `memory` is 0 before the first rows of a param
    // and carries what formats with a shared scale must remember; range->first_row counts in the
    // param, rows->first_row in the source. NULL: never.
    bool (*takes)(
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
        float *memory);
    // Stores rows that `takes` agreed to; `memory` as it was after the last call of takes.
    void (*pack)(
        const quant_canon *canon, const quant_canon_rows *rows, const quant_range *range,
        float memory, void *const *pieces);
} quant_format;

// Never NULL for a FLOAT or GROUPED dtype.
const quant_format *quant_format_of(ir_dtype dtype);
bool quant_format_accepts(const quant_format *format, const ir_type *type);
// How encode and decode see a param: its last dimension is the columns, the product of the others
// the rows; a vector [D] is D rows of one column. INVALID when a dimension is a symbol or not
// positive. The bytes of one such row in a piece are size_bytes / n_rows.
mlcc_status *quant_rows_of(const ir_type *type, int64_t *n_rows, int64_t *columns);
// All rows of a param.
static inline quant_range quant_range_all(int64_t n_rows, int64_t columns) {
    return (quant_range){0, n_rows, n_rows, columns};
}
// For `pieces` functions: a piece with the dimensions of `type` except the last one, which becomes
// `columns` (a vector keeps its own).
mlcc_status *quant_piece_init(
    quant_piece *piece, const char *suffix, ir_dtype dtype, const ir_type *type, int64_t columns);
// For layouts whose piece has a shape of its own: [rows, columns], row_bytes = bytes of a row of the
// piece.
mlcc_status *quant_piece_init_matrix(
    quant_piece *piece, const char *suffix, ir_dtype dtype, int64_t rows, int64_t columns);
// A vector piece: [length].
mlcc_status *quant_piece_init_vector(
    quant_piece *piece, const char *suffix, ir_dtype dtype, int64_t length);
// MLC's record name of a piece: "a.b.weight" + "q_scale" = "a.b.q_scale".
char *quant_piece_name(mlcc_arena *keep, const char *param_name, const quant_piece *piece);

#endif
