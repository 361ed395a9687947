// tensor_cache: the reader of MLC LLM's weight store: tensor-cache.json (before 2025-09
// ndarray-cache.json) and its shards.
//
// Everything the index claims is checked before anybody relies on it: data paths stay inside the
// directory, ranges lie inside their shard and do not overlap, shape times element size is the
// stored size, names are unique, dtypes and formats are known, files have the stated size. What is
// not checked at open is the content (mlcc_tensor_cache_verify does that, by md5).
//
// Stored values: C order, little endian, as their dtype says; a float32 record with format
// "f32-to-bf16" keeps only the high halves (2 bytes an element). Records are not aligned inside a
// shard.
// Thread rule: one writer (open, map, close), many readers.
#ifndef MLCC_RUNTIME_MODEL_TENSOR_CACHE_H
#define MLCC_RUNTIME_MODEL_TENSOR_CACHE_H

#include "runtime/abi.h"
#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/map.h"
#include "runtime/base/status.h"
#include "runtime/base/str.h"
#include "runtime/base/threads.h"
#include "runtime/mlcc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_tensor_record {
    const char *name;    // "model.layers.0.mlp.down_proj.q_scale"
    const char *dtype;   // as the index spells it: "float16"
    uint32_t abi_dtype;  // enum mlcc_abi_dtype; 0 = a known dtype that no lib.so reads
    bool is_bf16_halves; // float32 stored as its high halves
    uint32_t rank;
    int64_t dims[MLCC_ABI_MAX_RANK];
    uint64_t n_elements;
    size_t shard;
    uint64_t offset_bytes, size_bytes; // in the shard
} mlcc_tensor_record;

typedef struct mlcc_tensor_shard {
    const char *name; // "params_shard_0.bin"
    const char *path;
    const char *md5; // 32 hex digits, NULL when the index gives none
    uint64_t size_bytes;
    mlcc_mapping mapping; // after mlcc_tensor_cache_map
} mlcc_tensor_shard;

typedef struct mlcc_tensor_cache {
    mlcc_arena *arena;
    const char *path; // of the index
    mlcc_tensor_shard *shards;
    size_t n_shards;
    mlcc_tensor_record *records; // in file order: shard after shard
    size_t n_records;
    mlcc_map *by_name;
    double param_bytes, bits_per_param; // the index's own figures; 0 when absent
} mlcc_tensor_cache;

// Reads an index from memory; `path` names it in errors, its folder is where the shards are looked
// for. No file is touched.
mlcc_status *mlcc_tensor_cache_parse(
    const char *text, size_t length, const char *path, mlcc_tensor_cache **out);
// Finds and reads the index of a model directory, then checks that every shard is there and has the
// stated size.
mlcc_status *mlcc_tensor_cache_open(const char *directory, mlcc_tensor_cache **out);
// Maps every shard. Not needed when the prepared weights come from the disk cache.
mlcc_status *mlcc_tensor_cache_map(mlcc_tensor_cache *cache);
// Unmaps shard `index`; its tensors end.
void mlcc_tensor_cache_unmap(mlcc_tensor_cache *cache, size_t index);
// Compares the md5 of every shard (which must be mapped) with the index, several shards at a time.
// INVALID names the first damaged shard and both sums. `progress` may be NULL and is called by the
// calling thread only.
mlcc_status *mlcc_tensor_cache_verify(
    const mlcc_tensor_cache *cache, mlcc_pool *pool, mlcc_progress *progress, void *progress_user);
void mlcc_tensor_cache_close(mlcc_tensor_cache *cache); // NULL is fine

// NULL when absent.
const mlcc_tensor_record *mlcc_tensor_cache_find(const mlcc_tensor_cache *cache, const char *name);
// The stored bytes of a record; its shard must be mapped.
const void *mlcc_tensor_cache_data(
    const mlcc_tensor_cache *cache, const mlcc_tensor_record *record);
// Turns `n_elements` high halves, as a record with is_bf16_halves stores them, into float32. Neither
// side needs to be aligned.
void mlcc_tensor_widen_halves(const void *halves, uint64_t n_elements, void *output);
// Says that a record will hardly be read again: its pages leave this process (and come back if they
// are read all the same).
void mlcc_tensor_cache_release(const mlcc_tensor_cache *cache, const mlcc_tensor_record *record);
// What the store is: names, shapes, places and md5 sums (size and modification time of a shard
// without md5).
mlcc_hash128 mlcc_tensor_cache_identity(const mlcc_tensor_cache *cache);
// Appends "float16 [64, 172]".
void mlcc_tensor_shape_text(const char *dtype, uint32_t rank, const int64_t *dims, mlcc_str *out);

#endif
