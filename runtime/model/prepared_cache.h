// prepared_cache: keeps prepared weights on disk, so that the second start only maps or reads them.
//
// One file per key, CACHE/prepared/<key in hex>.weights. The key is the XXH3-128 of everything the
// bytes depend on: the library's layout fingerprint and the identity of the weight store. A file is
// either complete or absent (written under a temporary name, then renamed). Layout, little endian:
//
//   offset 0     header: magic, version, key, payload size and hash, hash of the header
//   offset 4096  payload: the prepared block of weights.h, mapped as it is
//
// A file with a wrong size, header or key is treated as absent and written again; the payload is
// compared with its hash only on request, because that reads all of it. Nobody deletes old files:
// the folder may be emptied at any time.
// Thread rule: any; processes may write the same key at the same time, the last one wins with equal
// content.
#ifndef MLCC_RUNTIME_MODEL_PREPARED_CACHE_H
#define MLCC_RUNTIME_MODEL_PREPARED_CACHE_H

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/status.h"
#include "runtime/model/weights_memory.h"

#include <stdbool.h>
#include <stddef.h>

mlcc_hash128 mlcc_prepared_cache_key(
    const unsigned char layout_fingerprint[16], mlcc_hash128 store_identity);
// `directory` NULL = mlcc_path_cache.
char *mlcc_prepared_cache_path(mlcc_arena *keep, const char *directory, mlcc_hash128 key);
// True: `mapping` holds the file and *payload points to `payload_bytes` bytes at a page border
// inside it. False: absent or unusable; why, if it is there, goes to the log.
// `verify` compares the payload's hash, too.
bool mlcc_prepared_cache_map(
    const char *path, mlcc_hash128 key, size_t payload_bytes, bool verify, mlcc_mapping *mapping,
    const void **payload);

// The same, but the payload is read into `payload`, payload_bytes of memory. `verify` checks what was
// read. After false the content of `payload` is not defined.
bool mlcc_prepared_cache_read(
    const char *path, mlcc_hash128 key, size_t payload_bytes, bool verify,
    const mlcc_weights_reading *reading, void *payload);

// Writing piece by piece: begin, append until the payload is complete, commit or abandon.
typedef struct mlcc_prepared_writer mlcc_prepared_writer;
mlcc_status *mlcc_prepared_cache_begin(
    const char *path, mlcc_hash128 key, mlcc_prepared_writer **out);
mlcc_status *mlcc_prepared_cache_append(
    mlcc_prepared_writer *writer, const void *data, size_t size_bytes);
// Consumes the writer, also on error: the file is there, or nothing is.
mlcc_status *mlcc_prepared_cache_commit(mlcc_prepared_writer *writer);
void mlcc_prepared_cache_abandon(mlcc_prepared_writer *writer); // consumes; NULL is fine

#endif
