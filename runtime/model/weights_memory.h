// weights_memory: whether weights stay in the mapped files or are read into memory of their own, and
// the reading.
//
// Files get pages of 4 KiB, anonymous memory huge pages: a decoded token that streams all weights
// through the cores then meets 500 times fewer ends of pages, at which hardware prefetching stops and
// the address must be looked up. On a machine with several memory nodes anonymous memory can be spread
// over them, too, while a file's pages lie where somebody once read them. The price is the time to
// read, memory that processes cannot share, and that the files' pages may stay in the system's cache.
// Thread rule: any; one reading at a time per pool.
#ifndef MLCC_RUNTIME_MODEL_WEIGHTS_MEMORY_H
#define MLCC_RUNTIME_MODEL_WEIGHTS_MEMORY_H

#include "runtime/base/status.h"
#include "runtime/base/threads.h"
#include "runtime/mlcc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_weights_circumstances {
    uint64_t available_bytes; // of memory
    bool has_huge_pages;
    int32_t n_memory_nodes;
} mlcc_weights_circumstances;
mlcc_weights_circumstances mlcc_weights_look_around(void);

// Which weights are read into memory of their own: the prepared ones in the cache; those that are used
// as they are stored.
typedef struct mlcc_weights_choice {
    bool payload, direct;
} mlcc_weights_choice;
// MLCC_WEIGHTS_AUTO takes prepared weights where there are huge pages (4-bit weights of a 1B model: 14
// to 20 % more tokens a second), and both where memory has several nodes (16-bit weights gain nothing
// from huge pages: they keep the memory busy either way); never more than half of what is available.
mlcc_weights_choice mlcc_weights_choose(
    mlcc_weights_memory wish, const mlcc_weights_circumstances *around, uint64_t payload_bytes,
    uint64_t direct_bytes);

// Who reads, and who is told about it ("reading", `done_bytes` of `total_bytes`).
typedef struct mlcc_weights_reading {
    mlcc_pool *pool;
    mlcc_progress *progress; // may be NULL
    void *progress_user;
    uint64_t done_bytes; // before this piece
    uint64_t total_bytes;
} mlcc_weights_reading;

// A piece of an open file (mlcc_file_open).
typedef struct mlcc_weights_source {
    int file;
    const char *path;
    uint64_t offset_bytes;
    size_t size_bytes;
} mlcc_weights_source;

// All of it into `target`, by all threads. IO when the file ends before.
mlcc_status *mlcc_weights_read(
    const mlcc_weights_reading *reading, const mlcc_weights_source *source, void *target);

#endif
