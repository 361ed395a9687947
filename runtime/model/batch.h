// batch: cuts a ragged step into forward passes and writes the inputs of each.
//
// A step is a list of items, each bringing tokens of one sequence. A pass takes tokens from the
// items in order until one of the library's bounds is reached: tokens, sequences or logits rows. So
// a long prompt becomes several passes, logits rows come out in item order, and prefill and decode
// tokens share passes freely.
// The arrays are as large as the bounds; nothing is allocated after creation. Those that a call reads
// lie side by side in one mirror, so that one copy brings a pass to the device.
// Thread rule: one thread at a time.
#ifndef MLCC_RUNTIME_MODEL_BATCH_H
#define MLCC_RUNTIME_MODEL_BATCH_H

#include "runtime/device/device.h"
#include "runtime/mlcc.h"
#include "runtime/model/forward.h"
#include "runtime/model/kv_cache.h"

// Tokens [begin, begin + n_tokens) of one item.
typedef struct mlcc_batch_slice {
    int32_t item;
    int64_t begin, n_tokens, n_rows; // n_rows: the last n_rows tokens want logits
} mlcc_batch_slice;

typedef struct mlcc_batch {
    int64_t max_tokens, max_seqs, max_rows; // of one pass
    int64_t max_slots;                      // of a row of the page table
    mlcc_block block;
    mlcc_batch_slice *slices; // [max_seqs]
    mlcc_device *device;
    mlcc_mirror inputs;                 // what the next five lie in, host's side
    int32_t *ids, *positions, *seq_ids; // [max_tokens]
    int32_t *logit_rows;                // [max_rows]
    int32_t *page_table;                // [max_seqs, max_slots of the cache], last
    // The pass at hand:
    int64_t n_seqs, n_tokens, n_page_slots;
    int64_t n_rows; // logits rows that somebody wants; the call has at least one
    // The way through the step:
    int32_t next_item;
    int64_t next_token;
} mlcc_batch;

// `device` must outlive the batch.
mlcc_status *mlcc_batch_create(
    mlcc_device *device, const mlcc_forward *forward, int64_t max_slots, mlcc_batch *out);
void mlcc_batch_free(mlcc_batch *batch); // all zeros is fine
// The device's side of one of the arrays.
void *mlcc_batch_address(const mlcc_batch *batch, const int32_t *array);
// Brings the pass at hand to the device.
mlcc_status *mlcc_batch_push(const mlcc_batch *batch);

// Logits rows that an item asks for.
int64_t mlcc_batch_rows_of(const mlcc_batch_item *item);
// True when the whole step is one pass.
bool mlcc_batch_is_single(const mlcc_batch *batch, const mlcc_batch_item *items, int32_t n_items);
// Goes back to the first token of a step.
void mlcc_batch_rewind(mlcc_batch *batch);
// Fills the arrays for the next pass; false when every token of the step has been in one. The cache
// must already have been grown by the items' tokens.
bool mlcc_batch_next(
    mlcc_batch *batch, const mlcc_batch_item *items, int32_t n_items, const mlcc_kv_cache *cache);

#endif
