#include "runtime/model/weights_memory.h"

#include "runtime/base/cgroup.h"
#include "runtime/base/file.h"
#include "runtime/base/topology.h"
#include "runtime/device/host_memory.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    // One huge page at a time: two threads never zero the same one, and a bar moves often enough.
    READ_CHUNK_BYTES = 2 << 20,
    // What the second-level TLBs of today reach with small pages (2048 entries): below that nothing is
    // gained.
    LEAST_BYTES = 8 << 20,
};

// ---- whether

mlcc_weights_circumstances mlcc_weights_look_around(void) {
    return (mlcc_weights_circumstances){
        .available_bytes = mlcc_available_memory_bytes(),
        .has_huge_pages = mlcc_huge_pages_granted(),
        .n_memory_nodes = mlcc_memory_nodes(),
    };
}

mlcc_weights_choice mlcc_weights_choose(
    mlcc_weights_memory wish, const mlcc_weights_circumstances *around, uint64_t payload_bytes,
    uint64_t direct_bytes) {
    mlcc_weights_choice choice = {payload_bytes > 0, direct_bytes > 0};
    if (wish == MLCC_WEIGHTS_COPIED) return choice;
    if (wish == MLCC_WEIGHTS_MAPPED) return (mlcc_weights_choice){false, false};
    choice.payload =
        payload_bytes >= LEAST_BYTES && (around->has_huge_pages || around->n_memory_nodes > 1);
    choice.direct = direct_bytes >= LEAST_BYTES && around->n_memory_nodes > 1;
    // The other half is for the KV cache, for others, and for the files in the system's cache, so that
    // the next start need not wait for the disk.
    uint64_t left_bytes = around->available_bytes / 2;
    choice.payload = choice.payload && payload_bytes <= left_bytes;
    if (choice.payload) left_bytes -= payload_bytes;
    choice.direct = choice.direct && direct_bytes <= left_bytes;
    return choice;
}

// ---- reading

typedef struct read_work {
    const mlcc_weights_reading *reading;
    const mlcc_weights_source *source;
    char *target;
    size_t first_bytes; // the first chunk ends where a huge page of the target does
    atomic_uint_fast64_t done_bytes;
    pthread_mutex_t lock; // guards `status`
    mlcc_status *status;  // of the first thread that failed
    atomic_bool has_failed;
} read_work;

static void keep_first(read_work *work, mlcc_status *status) {
    atomic_store(&work->has_failed, true);
    pthread_mutex_lock(&work->lock);
    if (work->status == NULL) {
        work->status = status;
    } else {
        mlcc_status_free(status);
    }
    pthread_mutex_unlock(&work->lock);
}

// Where chunk `index` begins.
static size_t chunk_begin(const read_work *work, int64_t index) {
    if (index == 0) return 0;
    const size_t begin = work->first_bytes + (size_t)(index - 1) * READ_CHUNK_BYTES;
    return begin < work->source->size_bytes ? begin : work->source->size_bytes;
}

static void read_chunks(void *arg, int64_t begin, int64_t end, int32_t thread) {
    read_work *work = arg;
    const mlcc_weights_reading *reading = work->reading;
    for (int64_t i = begin; i < end && !atomic_load(&work->has_failed); i++) {
        const size_t first = chunk_begin(work, i), limit = chunk_begin(work, i + 1);
        mlcc_status *status = mlcc_file_read_at(
            work->source->file, work->source->path, work->source->offset_bytes + first,
            work->target + first, limit - first);
        if (status != NULL) {
            keep_first(work, status);
            return;
        }
        const uint64_t done = atomic_fetch_add(&work->done_bytes, limit - first) + limit - first;
        if (thread == 0 && reading->progress != NULL) {
            reading->progress(
                reading->progress_user, "reading", reading->done_bytes + done,
                reading->total_bytes);
        }
    }
}

mlcc_status *mlcc_weights_read(
    const mlcc_weights_reading *reading, const mlcc_weights_source *source, void *target) {
    if (source->size_bytes == 0) return NULL;
    const size_t first_bytes = READ_CHUNK_BYTES - (uintptr_t)target % READ_CHUNK_BYTES;
    read_work work = {
        .reading = reading, .source = source, .target = target, .first_bytes = first_bytes};
    pthread_mutex_init(&work.lock, NULL);
    int64_t n_chunks = 1;
    if (source->size_bytes > first_bytes)
        n_chunks += (int64_t)((source->size_bytes - first_bytes - 1) / READ_CHUNK_BYTES) + 1;
    mlcc_pool_for(reading->pool, n_chunks, 1, read_chunks, &work);
    pthread_mutex_destroy(&work.lock);
    return work.status;
}
