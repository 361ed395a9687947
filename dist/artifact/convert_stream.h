// convert_stream: one param from its source tensors into the store: read, cast, encode and write in
// blocks of rows, the three overlapping.
//
// Memory: two source blocks and two blocks of the first piece (about 4 MiB of source each), and the
// whole of the other pieces (scales: 1/32 of the elements), which follow the first one in the
// store. Source tensors are released as soon as their last row is encoded.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_STREAM_H
#define MLCC_DIST_ARTIFACT_CONVERT_STREAM_H

#include "dist/artifact/convert_plan.h"
#include "dist/artifact/tensor_cache_write.h"
#include "runtime/base/threads.h"

typedef struct convert_stream convert_stream;

// Called by the calling thread after every block, with the source bytes encoded since the last
// call.
typedef void convert_stream_progress(void *user, uint64_t source_bytes);

convert_stream *convert_stream_create(
    hf_weight_source *source, artifact_store *store, mlcc_pool *pool,
    convert_stream_progress *progress, void *user);
void convert_stream_free(convert_stream *stream);
// Writes all pieces of the param. *n_special counts stored numbers that are infinite or NaN.
mlcc_status *convert_stream_param(
    convert_stream *stream, const convert_param *param, uint64_t *n_special);

#endif
