// convert_stream: params from their source tensors into the store: read, encode and write in blocks
// of rows, the three overlapping.
//
// A param of floats is cast and encoded; a format with one scale for the tensor is measured in a
// pass of its own first. A param whose sources are all stored quantized is stored unchanged when
// the format takes every row (asked in a pass of its own), and otherwise dequantized and encoded
// like floats. A param with a fallback is the element-wise maximum of the sources that exist.
//
// Memory: see convert_rows.h; of what is written a few blocks, and whole the pieces that are no
// stream: scales, and transposed weights (a quarter of their float16 source).
#ifndef MLCC_DIST_ARTIFACT_CONVERT_STREAM_H
#define MLCC_DIST_ARTIFACT_CONVERT_STREAM_H

#include "dist/artifact/convert_plan.h"
#include "dist/artifact/tensor_cache_write.h"
#include "runtime/base/threads.h"

typedef struct convert_stream convert_stream;

// Called by the calling thread after every block: how much of the param is done, 0 … 1.
typedef void convert_stream_progress(void *user, double done);

typedef enum convert_way {
    CONVERT_FLOATS,      // the sources are floats, or there are none
    CONVERT_UNCHANGED,   // codes and scales of quantized sources, as they were
    CONVERT_DEQUANTIZED, // quantized sources, stored as floats
    CONVERT_REQUANTIZED  // quantized sources, dequantized and quantized anew
} convert_way;

typedef struct convert_outcome {
    convert_way way;
    const char *reason; // REQUANTIZED: why; text that does not end
    // REQUANTIZED: sums over all elements of (new - old)^2 and old^2.
    double error_squares, value_squares;
    uint64_t n_special; // stored numbers that are infinite or NaN
} convert_outcome;

convert_stream *convert_stream_create(
    hf_weight_source *source, artifact_store *store, mlcc_pool *pool,
    convert_stream_progress *progress, void *user);
void convert_stream_free(convert_stream *stream);
// All pieces of the param. The last blocks may still be in memory when it returns.
mlcc_status *convert_stream_param(
    convert_stream *stream, const convert_param *param, convert_outcome *outcome);
// Everything reaches the store; before artifact_store_is_finished and _finish.
mlcc_status *convert_stream_flush(convert_stream *stream);

#endif
