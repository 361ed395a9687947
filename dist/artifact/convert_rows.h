// convert_rows: the rows of a param as its source tensors have them, joined, for many threads at a
// time.
//
//   convert_rows_open(rows, param, convert_rows_choose(param, row_multiple, n_threads))
//   for each block of rows:     convert_rows_load(rows, slot, …)          one thread
//       for each chunk of it:   convert_rows_floats / _canon              any thread
//       convert_rows_release(rows, first row that is still needed)        one thread
//   convert_rows_close(rows)
//
// Rows come straight from the source's view where one tensor holds the whole chunk; chunks that
// cross from one tensor to the next, and rows that were stored quantized, are put together in the
// thread's own memory. So a chunk begins at a multiple of row_multiple in the param, whatever the
// sources are. Quantized sources are unpacked by the thread that asks.
//
// Memory: two blocks, where the source has no views; a chunk per thread; the pages of the sources
// between load and release.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_ROWS_H
#define MLCC_DIST_ARTIFACT_CONVERT_ROWS_H

#include "dist/artifact/convert_plan.h"

typedef struct convert_rows convert_rows;

convert_rows *convert_rows_create(hf_weight_source *source, int32_t n_threads);
void convert_rows_free(convert_rows *rows); // NULL is fine

// Rows that are loaded together, and rows of them that one thread works on.
typedef struct convert_row_counts {
    int64_t of_block, of_chunk;
} convert_row_counts;
// A chunk fits a core's cache and a block is a few MiB, as far as multiples of row_multiple allow.
convert_row_counts convert_rows_choose(
    const convert_param *param, int64_t row_multiple, int32_t n_threads);

// Begins a param; no load and no chunk will be larger than `counts`.
mlcc_status *convert_rows_open(
    convert_rows *rows, const convert_param *param, convert_row_counts counts);
void convert_rows_close(convert_rows *rows); // releases its sources
// Whether every source is stored quantized, so that convert_rows_canon can be asked; whether any is.
bool convert_rows_are_quantized(const convert_rows *rows);
bool convert_rows_some_are_quantized(const convert_rows *rows);
// Bytes of a quantized weight as it is stored.
uint64_t convert_stored_bytes(const hf_quantized *quantized);
// The quantized source that row `row` lies in, and the name of its layout.
const quant_canon *convert_rows_canon_of(const convert_rows *rows, int64_t row);
const char *convert_rows_layout_of(const convert_rows *rows, int64_t row);

// Makes [first_row, first_row + n_rows) readable under `slot` (0 or 1), at most a block.
mlcc_status *convert_rows_load(convert_rows *rows, int32_t slot, int64_t first_row, int64_t n_rows);
// Sources that end before `row` will not be read again (quantized ones stay until the close).
void convert_rows_release(convert_rows *rows, int64_t row);

// The values of a param with a fallback, [n_rows * columns] in `values`: the element-wise maximum of
// the sources that exist, where one number stands for all elements. INVALID: a source holds a
// negative, infinite or NaN number.
mlcc_status *convert_optional_values(
    hf_weight_source *source, const convert_param *param, float *values);

// Rows of a loaded block as [n_rows, columns] of *dtype; holds until the thread's next call.
const void *convert_rows_floats(
    const convert_rows *rows, int32_t slot, int32_t thread, int64_t first_row, int64_t n_rows,
    ir_dtype *dtype);
// The same in canonical form. false: the rows come from sources whose forms cannot be joined.
// out->first_row counts in the param.
bool convert_rows_canon(
    const convert_rows *rows, int32_t thread, int64_t first_row, int64_t n_rows, quant_canon *canon,
    quant_canon_rows *out);

#endif
