// convert_queue: bytes on their way into a store, in order, so that writing overlaps with making the
// next ones.
//
// One thread at a time; the memory of an entry belongs to the queue until it is written, and is
// given out again afterwards.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_QUEUE_H
#define MLCC_DIST_ARTIFACT_CONVERT_QUEUE_H

#include "dist/artifact/convert_plan.h"
#include "dist/artifact/tensor_cache_write.h"

typedef struct convert_queue convert_queue;

convert_queue *convert_queue_create(artifact_store *store); // NULL when memory ends
void convert_queue_free(convert_queue *queue);              // NULL is fine

// Memory for an entry; NULL when memory ends. Goes back through convert_queue_push or _give_back.
void *convert_queue_take(convert_queue *queue, size_t size_bytes);
void convert_queue_give_back(convert_queue *queue, void *data);
// The next `size_bytes` of a piece of a param. The first entry of a piece begins its record.
mlcc_status *convert_queue_push(
    convert_queue *queue, const convert_param *param, int32_t piece, bool begins, void *data,
    size_t size_bytes);
bool convert_queue_is_empty(const convert_queue *queue);
// Writes a few MiB, or more when much is waiting.
mlcc_status *convert_queue_write_some(convert_queue *queue);
mlcc_status *convert_queue_write_all(convert_queue *queue);

#endif
