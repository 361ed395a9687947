// store_publish: how a staged store takes the place of the one that a directory holds. See
// tensor_cache_write.h for the order of steps and why.
#ifndef MLCC_DIST_ARTIFACT_STORE_PUBLISH_H
#define MLCC_DIST_ARTIFACT_STORE_PUBLISH_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Takes the writers' lock (store_directory_lock) and makes DIR/.mlcc-store.PID, after removing
// what killed writers left there. With `adopts` a folder that such a writer left with a journal
// becomes that folder instead, and Ctrl-C leaves it alone.
mlcc_status *store_staging_make(
    const char *directory, bool adopts, mlcc_arena *keep, int *lock, char **staging);
// IO error when the disk has fewer than `needed_bytes` free; 0 = unknown, never an error.
mlcc_status *store_space_check(const char *directory, uint64_t needed_bytes);

// Moves `staging`/params_shard_0.bin … and `staging`/tensor-cache.json (and tensor-cache-b16.json
// if `has_b16`) into `directory`, then removes `staging`.
mlcc_status *store_publish(
    const char *directory, const char *staging, size_t n_shards, bool has_b16);

#endif
