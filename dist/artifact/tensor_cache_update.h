// tensor_cache_update: puts small float32 tensors into a weight store that exists, or replaces them
// there (what MLC LLM's calibration does with `update_if_exists`).
//
// The rest of the store is neither read nor written. MLC overwrites a tensor inside its shard, which
// is not atomic; here all given tensors go into one new shard and the index says so: records of the
// same names leave their old shards (whose bytes, sizes and md5 sums stay), a shard that loses its
// last record leaves the index, `metadata` is copied. The shard is params_shard_N.bin, N = how many
// shards stay, so that the result depends on the store and the values only, not on how often
// somebody wrote them. Every index of the directory (tensor-cache.json, ndarray-cache.json and their
// -b16 variants) follows.
//
// Never half an update. At every instant each index names complete files with either all old or all
// new values:
//
//   1  if an index already names params_shard_N.bin: it gets a second name params_shard_N.old.bin
//      (a hard link; where links are not possible, a copy), and the indexes are replaced by ones
//      that say so
//   2  the new shard is renamed to params_shard_N.bin, which nothing refers to now
//   3  the new indexes are renamed over the old ones
//   4  files named params_shard_*.bin that no index names are removed
//
// The writers' lock of tensor_cache_write keeps two writers apart.
#ifndef MLCC_DIST_ARTIFACT_TENSOR_CACHE_UPDATE_H
#define MLCC_DIST_ARTIFACT_TENSOR_CACHE_UPDATE_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct artifact_vector {
    const char *name; // unique among the given ones
    const float *values;
    int64_t n_values; // ≥ 1; the tensor is float32 [n_values]
} artifact_vector;

typedef struct artifact_update_result {
    size_t n_replaced, n_added;
    bool is_unchanged; // the store was exactly what it would become: nothing was written
    const char *shard; // "params_shard_7.bin"; NULL when nothing was written
} artifact_update_result;

// A tensor that exists keeps its stored form ("raw", or "f32-to-bf16" with half the bits); a new one
// gets the form that the store's float32 tensors have, "raw" when there are none.
// Errors: INVALID when there is no store, MISMATCH when a name is taken by a tensor of another
// element type or shape, IO when another writer is at work or the directory cannot be written.
mlcc_status *artifact_store_update(
    const char *directory, const artifact_vector *vectors, size_t n_vectors, mlcc_arena *keep,
    artifact_update_result *out);

#endif
