// store_directory: the folder of a weight store, as all that write one see it: made and unmade,
// locked, flushed, and the names of the files in it.
//
//   store_directory_make(directory, keep, &first_made);
//   store_directory_lock(directory, "wait for it", &lock);
//   write, rename, store_directory_sync(directory) between steps that must reach the disk in order
//   close(lock);      store_directory_unmake(directory, first_made) when nothing came of it
//
// Names are made in the caller's arena and are without the folder, as an index spells them.
#ifndef MLCC_DIST_ARTIFACT_STORE_DIRECTORY_H
#define MLCC_DIST_ARTIFACT_STORE_DIRECTORY_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

// The indexes that a folder may hold: before 2025-09 MLC LLM called them ndarray-cache. Those from
// STORE_INDEX_B16 on call float32 that is stored as bfloat16 by that name.
enum { STORE_INDEX, STORE_OLD_INDEX, STORE_INDEX_B16, STORE_OLD_INDEX_B16, STORE_N_INDEXES };
extern const char *const store_index_names[STORE_N_INDEXES];

// Makes `directory` and its parents; *first_made is the topmost one that did not exist, NULL when
// all did. On error nothing that was made stays. INVALID for an empty name, IO.
mlcc_status *store_directory_make(const char *directory, mlcc_arena *keep, char **first_made);
// Removes `directory` and its parents up to `first_made` as far as they are empty.
void store_directory_unmake(const char *directory, const char *first_made);
// Takes the writers' lock; the caller releases it by closing *lock, which is -1 on error. Does not
// wait: IO when another process has it, with `advice` as the next step, or when the folder cannot be
// opened. A file system that knows no locks gives one to everybody.
mlcc_status *store_directory_lock(const char *directory, const char *advice, int *lock);
// Renames up to here reach the disk before those after it, where the file system can flush a folder.
void store_directory_sync(const char *directory);

// Whether the folder holds an index that readers look for first: STORE_INDEX or STORE_OLD_INDEX.
bool store_directory_has_index(const char *directory);
// "params_shard_7.bin"
char *store_shard_name(mlcc_arena *keep, size_t number);
// Whether only a weight store's files have such a name: shards, their second names, and both cut off
// while they were written.
bool store_is_shard_name(const char *name);
// The first of params_shard_7.old.bin, params_shard_7.old1.bin … that `directory` does not hold, for
// the shard named `name`.
char *store_second_name(const char *directory, const char *name, mlcc_arena *keep);

#endif
