// tensor_cache_write: writes MLC LLM's weight store (params_shard_N.bin, tensor-cache.json) into a
// model directory.
//
//   artifact_store *store;
//   artifact_store_open(&options, &store);
//   for each record:  artifact_store_begin(store, name, dtype, rank, dims);
//                     artifact_store_append(store, data, size) until complete
//   artifact_store_finish(store, n_source_elements);      or artifact_store_abandon(store)
//
// Shards: 32 MiB, closed by MLC's rule (artifact_store_begin). Records are streamed to disk; the
// writer holds names and sums, no weights. What a closed shard still needs happens beside the next
// ones (store_seal.h). A writer that is killed can be continued (store_journal.h): the same records
// begun in the same order lead to the same shards, so those that are finished take no bytes again.
//
// Never half a store. Everything is first written into DIR/.mlcc-store.PID; nothing that readers
// see changes until all bytes are flushed. Old and new shards have the same names, so replacing
// them one by one would for a moment mix two models. Publishing therefore goes so that at every
// instant tensor-cache.json names complete files of one store, for every reader of the format,
// without a journal:
//
//   1  every old shard whose name a new one takes gets a second name params_shard_N.old.bin (a hard
//      link; where links are not possible, a copy)
//   2  tensor-cache.json is replaced by one that names those: still the old weights
//   3  new shards are renamed over the old names, which nothing refers to any more
//   4  the new tensor-cache.json is renamed over the old one: from here on the new weights
//   5  files named params_shard_*.bin that the new index does not name are removed
//
// A process killed in between leaves a loadable store and some files that the next writer of this
// directory removes. A lock on the directory keeps two writers apart.
#ifndef MLCC_DIST_ARTIFACT_TENSOR_CACHE_WRITE_H
#define MLCC_DIST_ARTIFACT_TENSOR_CACHE_WRITE_H

#include "dist/artifact/store_journal.h"
#include "ir/ir.h"

typedef struct artifact_store artifact_store;

typedef struct artifact_store_options {
    const char *directory; // made when absent, with parents (and removed again on failure)
    // float32 as MLC stores it (bfloat16 halves, format "f32-to-bf16"); false: as it is (format
    // "raw"), which MLC reads too.
    bool f32_as_bf16;
    uint64_t expected_bytes; // refused at once when the disk has less free; 0 = unknown
    // What the store is made from: a JSON object of texts on one line, for the journal. NULL: no
    // journal, the writer cannot be continued.
    const char *inputs;
    // Continues what a killed writer left (starts anew when there is nothing), and keeps what it has
    // when it is itself abandoned or interrupted. Needs `inputs`.
    bool resume;
    store_check_progress *check_progress; // while finished shards are read again; may be NULL
    void *check_user;
} artifact_store_options;

// Errors: IO when the directory cannot be made or written, is locked by another writer, or lacks
// space; MISMATCH when what is to be continued was made from other inputs.
mlcc_status *artifact_store_open(const artifact_store_options *options, artifact_store **out);

// Starts the next record. MLC's rule, with L the stored bytes, cap 32 MiB: if pending + L >= cap, a
// record with 2 L >= cap becomes a shard of its own (pending stays open), any other closes pending
// first. A shard gets its number when it is closed. Names must be unique.
mlcc_status *artifact_store_begin(
    artifact_store *store, const char *name, ir_dtype dtype, int32_t rank, const int64_t *dims);
// Bytes of the record in memory form (float32: 4 bytes an element, whole elements), in order; the
// record ends when all have come.
mlcc_status *artifact_store_append(artifact_store *store, const void *data, size_t size_bytes);

typedef struct artifact_record {
    const char *name;
    ir_dtype dtype;
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
} artifact_record;
// Whether these records, begun next and in this order, would all lie in finished shards of the
// writer that is continued. Then artifact_store_skip takes the place of begin and append.
bool artifact_store_is_finished(
    const artifact_store *store, const artifact_record *records, size_t n_records);
mlcc_status *artifact_store_skip(artifact_store *store, const artifact_record *record);

typedef struct artifact_store_totals {
    uint64_t n_records, n_shards;
    uint64_t n_resumed_shards; // of them finished by an earlier writer
    uint64_t stored_bytes;     // on disk, without the index
    uint64_t param_bytes;      // in memory
    double bits_per_param;     // 8 param_bytes / n_source_elements
} artifact_store_totals;

// Publishes. Consumes the store, also on error (then the directory keeps what it had). `totals` may
// be NULL.
mlcc_status *artifact_store_finish(
    artifact_store *store, uint64_t n_source_elements, artifact_store_totals *totals);
// Removes everything that was written; with `resume`, keeps it if a shard is finished. Consumes; NULL
// is fine.
void artifact_store_abandon(artifact_store *store);

// float32 to the high half of its bits as MLC rounds it: nearest even below 3.3895314e38, cut above
// (and for infinities and NaN).
uint16_t artifact_store_bf16(float value);
// Name of an element type in MLC's files: "float16"; NULL for types that a store cannot hold.
const char *artifact_dtype_name(ir_dtype dtype);

#endif
