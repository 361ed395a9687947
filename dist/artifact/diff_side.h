// diff_side: one of the two things that `mlcc diff` compares: a model directory of any mode, or a
// Hugging Face folder, float or quantized. Either gives the params of a model by MLC's names, row by
// row as float32, and the codes of those that are stored quantized.
#ifndef MLCC_DIST_ARTIFACT_DIFF_SIDE_H
#define MLCC_DIST_ARTIFACT_DIFF_SIDE_H

#include "dist/artifact/convert_model.h"
#include "dist/artifact/convert_rows.h"
#include "runtime/model/tensor_cache.h"

enum { DIFF_MAX_CODES = 256 };

typedef struct diff_param {
    const char *name; // "model.layers.0.mlp.down_proj.weight"
    bool is_optional; // a param with a fallback: an activation scale
    const ir_param *param;
    const quant_format *format;     // of the store; of a source: what the other side's mode makes
    const convert_param *of_source; // NULL: of a store
    int64_t n_rows, columns;
    int64_t row_multiple; // for ranges of rows
    uint64_t size_bytes;  // as stored
} diff_param;

typedef struct diff_side diff_side;

// A model directory when `path` holds a weight index, else a Hugging Face folder. What the path alone
// does not tell comes from the other side: diff_side_find_mode, diff_side_open_source.
mlcc_status *diff_side_open(const char *path, diff_side **out);
bool diff_side_is_store(const diff_side *side);
// NULL for a source that is not open yet, and for a store without mlc-chat-config.json.
const quant_mode *diff_side_mode(const diff_side *side);
// A store without mlc-chat-config.json takes the config of the other side, and its mode is the one
// whose records it holds.
mlcc_status *diff_side_find_mode(diff_side *side, const diff_side *other);
// `mode`: the params that the folder is seen as.
mlcc_status *diff_side_open_source(
    diff_side *side, const quant_mode *mode, const char *source_format);
void diff_side_close(diff_side *side); // NULL is fine

const diff_param *diff_side_params(const diff_side *side, size_t *n_params);
const char *diff_side_path(const diff_side *side);

// One param at a time. counts: see convert_rows.h.
mlcc_status *diff_side_begin(
    diff_side *side, const diff_param *param, convert_row_counts counts, int32_t n_threads);
mlcc_status *diff_side_load(diff_side *side, int64_t first_row, int64_t n_rows);
void diff_side_end(diff_side *side);
// Any thread: rows of the loaded block as float32 [n_rows, columns] in `output`.
void diff_side_rows(diff_side *side, int32_t thread, const quant_range *range, float *output);
// Number of codes there are (0: the param is not quantized), and how many of them the rows hold,
// added to `counts`. Of a store the codes as stored, padding included, in whatever order.
int32_t diff_side_n_codes(const diff_side *side);
void diff_side_count_codes(
    diff_side *side, int32_t thread, const quant_range *range, uint64_t counts[DIFF_MAX_CODES]);
// "q4g32_f16", "f16", "awq-gemm": how the param at work is stored.
const char *diff_side_format(const diff_side *side);

#endif
