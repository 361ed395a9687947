// tokenizer_cache: keeps a loaded tokenizer on disk as it is used, so that the next start only maps it: some milliseconds instead of the
// tenths of a second that a big tokenizer.json takes.
//
// The key is the XXH3-128 of everything the bytes depend on: name and content of the files that made the tokenizer, the version of the
// packed form and of mlcc. Layout, little endian:
//
//   offset 0     header: magic, version, key, payload size and hash, hash of the header
//   offset 4096  payload: tokenizer_pack.h
//
// A file lies beside the model, DIR/tokenizer.cache, one for whatever the folder holds now; where that cannot be written, in
// CACHE/tokenizers/<key in hex>.tokenizer. It is complete or absent (written under a temporary name, then renamed). It is not trusted: a
// wrong size, key or hash makes it absent, and what the hashes let pass is checked number by number.
// Thread rule: any; processes may write the same file at the same time, the last one wins.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_CACHE_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_CACHE_H

#include "runtime/base/hash.h"
#include "runtime/text/tokenizer.h"

#define MLCC_TOKENIZER_CACHE_FILE "tokenizer.cache"

// The key begins with what is the same for all files; mlcc_tokenizer_cache_key_add adds one, by name and content.
mlcc_hasher *mlcc_tokenizer_cache_key_begin(void);
void mlcc_tokenizer_cache_key_add(
    mlcc_hasher *key, const char *name, const void *content, size_t size_bytes);

// CACHE/tokenizers/<key>.tokenizer; `directory` NULL = mlcc_path_cache.
char *mlcc_tokenizer_cache_path(mlcc_arena *keep, const char *directory, mlcc_hash128 key);
// False: absent or of no use; why, if it is there, goes to the log (a file of another key: at the level "info", for a folder's files change).
bool mlcc_tokenizer_cache_load(const char *path, mlcc_hash128 key, mlcc_tokenizer **out);
mlcc_status *mlcc_tokenizer_cache_store(
    const char *path, mlcc_hash128 key, const mlcc_tokenizer *tokenizer);

#endif
