// store_journal: what an unfinished weight store holds that is worth keeping, so that a conversion
// that was killed goes on where it stopped.
//
// STAGING/journal.jsonl. Line 1 names the inputs, every further line a finished shard:
//
//   {"journal": 1, "inputs": {"mlcc": "0.1.0", "quantization": "q4f16_1", "source": "…", …}}
//   {"opened": 0, "shard": 0, "bytes": 33038336, "xxh3_128": "5d…"}
//
// `opened` counts shards in the order in which they were begun, `shard` in the order in which they
// were finished, which is their number. Both follow from the inputs alone, so the same inputs lead
// to the same shards. A line is written after the last byte of its shard. The order in which the
// disk gets the two is left to the system: after a power failure a line may name a shard whose
// bytes never arrived. That is why a shard counts only when its content has the stated XXH3-128.
// A last line that is cut off is ignored.
#ifndef MLCC_DIST_ARTIFACT_STORE_JOURNAL_H
#define MLCC_DIST_ARTIFACT_STORE_JOURNAL_H

#include "runtime/base/arena.h"
#include "runtime/base/hash.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct store_finished {
    size_t opened, shard;
    uint64_t size_bytes;
    mlcc_hash128 hash;
} store_finished;

typedef struct store_journal store_journal;

// Called while finished shards are read; may be NULL.
typedef void store_check_progress(void *user, uint64_t done_bytes, uint64_t total_bytes);

// Whether `staging` has a journal that can be read.
bool store_journal_exists(const char *staging);
// MISMATCH when the journal in `staging` is of other inputs (names the first that differs).
// Otherwise lists the finished shards whose content is what it was and removes every other file of
// the folder, with a warning for each shard that is damaged.
mlcc_status *store_journal_read(
    const char *staging, const char *inputs, store_check_progress *progress, void *progress_user,
    mlcc_arena *keep, store_finished **items, size_t *n_items);
// Starts the journal anew with what is finished. `inputs`: a JSON object of texts, on one line.
mlcc_status *store_journal_open(
    const char *staging, const char *inputs, const store_finished *items, size_t n_items,
    store_journal **out);
mlcc_status *store_journal_add(store_journal *journal, const store_finished *item);
void store_journal_close(store_journal *journal); // NULL is fine

#endif
