// store_seal: what a finished shard still needs, done by a thread of its own while the next ones are
// written: its md5 for the index, and its way to the disk.
//
// MD5 is slower than quantizing, but eight sums at once cost little more than one
// (mlcc_md5_update_lanes). So shards wait until eight are there or no more will come. They are read
// back, which the page cache makes cheap, and flushed after their sum is known, when the kernel has
// mostly written them already (store_seal_add starts that).
#ifndef MLCC_DIST_ARTIFACT_STORE_SEAL_H
#define MLCC_DIST_ARTIFACT_STORE_SEAL_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct store_seal store_seal;

mlcc_status *store_seal_start(store_seal **out);
// Takes over an open, complete file; `number` is the shard's. Waits while too many files are open.
// Returns what went wrong with earlier ones; the file is taken all the same.
mlcc_status *store_seal_add(store_seal *seal, int file, size_t number, uint64_t size_bytes);
// Waits until everything that was added has its sum and lies on the disk.
mlcc_status *store_seal_wait(store_seal *seal);
// 32 hex digits; after store_seal_wait.
const char *store_seal_md5(const store_seal *seal, size_t number);
void store_seal_free(store_seal *seal); // gives up what is not done; NULL is fine

#endif
