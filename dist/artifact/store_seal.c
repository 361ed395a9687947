#include "dist/artifact/store_seal.h"

#include "runtime/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024, // of one shard at a time
    MD5_BLOCK_BYTES = 64,
    MAX_WAITING = 64, // open files
};

typedef struct waiting_shard {
    int file; // -1: no shard
    size_t number;
    uint64_t size_bytes, at_bytes;
    mlcc_md5 md5;
} waiting_shard;

typedef struct shard_sum {
    char hex[33];
} shard_sum;

struct store_seal {
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; // guards everything down to `sums`
    pthread_cond_t changed;
    waiting_shard waiting[MAX_WAITING];
    size_t n_waiting;
    size_t n_open; // waiting, in lanes, or not flushed yet
    bool is_complete, is_given_up;
    mlcc_status *status; // the first failure
    shard_sum *sums;
    size_t sums_capacity;

    // Of the thread alone.
    waiting_shard lanes[MLCC_MD5_LANES];
    unsigned char *buffers;  // [MLCC_MD5_LANES, READ_BYTES]
    int summed[MAX_WAITING]; // files whose sum is known, still to be flushed
    size_t n_summed;
};

// ---- sums ---------------------------------------------------------------------------------------

static mlcc_status *read_fully(waiting_shard *shard, unsigned char *buffer, size_t size_bytes) {
    while (size_bytes != 0) {
        const ssize_t n = pread(shard->file, buffer, size_bytes, (off_t)shard->at_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            return MLCC_ERROR(
                IO, "cannot read back shard %zu at byte %llu of %llu: %s", shard->number,
                (unsigned long long)shard->at_bytes, (unsigned long long)shard->size_bytes,
                n < 0 ? strerror(errno) : "the file is shorter than what was written");
        }
        buffer += n;
        size_bytes -= (size_t)n;
        shard->at_bytes += (uint64_t)n;
    }
    return NULL;
}

static uint64_t left_bytes(const waiting_shard *shard) {
    return shard->size_bytes - shard->at_bytes;
}

// One shard alone, or the end of one that fills no block.
static mlcc_status *sum_part(waiting_shard *shard, unsigned char *buffer) {
    const uint64_t left = left_bytes(shard);
    const size_t size_bytes = left < READ_BYTES ? (size_t)left : READ_BYTES;
    MLCC_TRY(read_fully(shard, buffer, size_bytes));
    mlcc_md5_update(&shard->md5, buffer, size_bytes);
    return NULL;
}

static size_t count_lanes(const store_seal *seal, bool with_a_block) {
    size_t n = 0;
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        const waiting_shard *shard = &seal->lanes[i];
        n += shard->file >= 0 && (!with_a_block || left_bytes(shard) >= MD5_BLOCK_BYTES);
    }
    return n;
}

static mlcc_status *sum_lanes(store_seal *seal) {
    mlcc_md5 *sums[MLCC_MD5_LANES] = {NULL};
    const void *data[MLCC_MD5_LANES] = {NULL};
    size_t n_blocks = READ_BYTES / MD5_BLOCK_BYTES;
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        const waiting_shard *shard = &seal->lanes[i];
        if (shard->file < 0 || left_bytes(shard) < MD5_BLOCK_BYTES) continue;
        const uint64_t n = left_bytes(shard) / MD5_BLOCK_BYTES;
        if (n < n_blocks) n_blocks = (size_t)n;
        sums[i] = &seal->lanes[i].md5;
    }
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        if (sums[i] == NULL) continue;
        unsigned char *buffer = seal->buffers + (size_t)i * READ_BYTES;
        MLCC_TRY(read_fully(&seal->lanes[i], buffer, n_blocks * MD5_BLOCK_BYTES));
        data[i] = buffer;
    }
    mlcc_md5_update_lanes(sums, data, n_blocks);
    return NULL;
}

static mlcc_status *sum_some(store_seal *seal) {
    if (count_lanes(seal, true) > 1) return sum_lanes(seal);
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        waiting_shard *shard = &seal->lanes[i];
        if (shard->file >= 0 && left_bytes(shard) > 0) return sum_part(shard, seal->buffers);
    }
    return NULL;
}

static mlcc_status *keep_sum(store_seal *seal, const waiting_shard *shard) {
    if (shard->number >= seal->sums_capacity) {
        const size_t capacity = 2 * shard->number + 16;
        shard_sum *larger = realloc(seal->sums, capacity * sizeof *larger);
        if (larger == NULL)
            return MLCC_ERROR(NO_MEMORY, "host memory ended while a weight store was written");
        memset(larger + seal->sums_capacity, 0, (capacity - seal->sums_capacity) * sizeof *larger);
        seal->sums = larger;
        seal->sums_capacity = capacity;
    }
    mlcc_md5 md5 = shard->md5;
    mlcc_md5_hex(&md5, seal->sums[shard->number].hex);
    return NULL;
}

// ---- the thread ---------------------------------------------------------------------------------

static void note_failure(store_seal *seal, mlcc_status *status) {
    if (seal->status == NULL) {
        seal->status = status;
    } else {
        mlcc_status_free(status);
    }
}

static void flush_summed(store_seal *seal) {
    mlcc_status *status = NULL;
    for (size_t i = 0; i < seal->n_summed; i++) {
        if (status == NULL && fsync(seal->summed[i]) != 0 && errno != EINVAL && errno != EROFS)
            status = MLCC_ERROR(IO, "cannot flush a shard to the disk: %s", strerror(errno));
        close(seal->summed[i]);
    }
    pthread_mutex_lock(&seal->lock);
    if (status != NULL) note_failure(seal, status);
    seal->n_open -= seal->n_summed;
    seal->n_summed = 0;
    pthread_cond_broadcast(&seal->changed);
    pthread_mutex_unlock(&seal->lock);
}

// Fills free lanes; false when there is nothing to do and never will be.
static bool take_work(store_seal *seal) {
    pthread_mutex_lock(&seal->lock);
    const size_t n_busy = count_lanes(seal, false);
    while (!seal->is_given_up && !seal->is_complete && n_busy + seal->n_waiting < MLCC_MD5_LANES) {
        pthread_cond_wait(&seal->changed, &seal->lock);
    }
    for (int i = 0; i < MLCC_MD5_LANES && seal->n_waiting > 0; i++) {
        if (seal->lanes[i].file >= 0) continue;
        seal->lanes[i] = seal->waiting[0];
        memmove(&seal->waiting[0], &seal->waiting[1], --seal->n_waiting * sizeof seal->waiting[0]);
    }
    const bool goes_on = !seal->is_given_up && count_lanes(seal, false) > 0;
    pthread_mutex_unlock(&seal->lock);
    return goes_on;
}

static void retire_done(store_seal *seal) {
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        waiting_shard *shard = &seal->lanes[i];
        if (shard->file < 0 || left_bytes(shard) > 0) continue;
        pthread_mutex_lock(&seal->lock);
        mlcc_status *status = keep_sum(seal, shard);
        if (status != NULL) note_failure(seal, status);
        pthread_mutex_unlock(&seal->lock);
        seal->summed[seal->n_summed++] = shard->file;
        shard->file = -1;
    }
    if (seal->n_summed >= MLCC_MD5_LANES || count_lanes(seal, false) == 0) flush_summed(seal);
}

static void *run_seal(void *arg) {
    store_seal *seal = arg;
    while (take_work(seal)) {
        mlcc_status *status = sum_some(seal);
        if (status != NULL) {
            pthread_mutex_lock(&seal->lock);
            note_failure(seal, status);
            seal->is_given_up = true;
            pthread_cond_broadcast(&seal->changed);
            pthread_mutex_unlock(&seal->lock);
        }
        retire_done(seal);
    }
    flush_summed(seal);
    return NULL;
}

// ---- its users ----------------------------------------------------------------------------------

mlcc_status *store_seal_start(store_seal **out) {
    *out = NULL;
    store_seal *seal = calloc(1, sizeof *seal);
    if (seal == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended before the first shard");
    for (int i = 0; i < MLCC_MD5_LANES; i++) seal->lanes[i].file = -1;
    pthread_mutex_init(&seal->lock, NULL);
    pthread_cond_init(&seal->changed, NULL);
    seal->buffers = malloc((size_t)MLCC_MD5_LANES * READ_BYTES);
    if (seal->buffers == NULL) {
        store_seal_free(seal);
        return MLCC_ERROR(NO_MEMORY, "host memory ended before the first shard");
    }
    // Signals are for the thread that prints.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int reason = pthread_create(&seal->thread, NULL, run_seal, seal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (reason != 0) {
        store_seal_free(seal);
        return MLCC_ERROR(NO_MEMORY, "cannot start a thread: %s", strerror(reason));
    }
    seal->has_thread = true;
    *out = seal;
    return NULL;
}

static mlcc_status *take_status(store_seal *seal) {
    mlcc_status *status = seal->status;
    seal->status = NULL;
    return status;
}

mlcc_status *store_seal_add(store_seal *seal, int file, size_t number, uint64_t size_bytes) {
    // Advice: the disk may start now, the flush that counts comes later.
    (void)sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE);
    pthread_mutex_lock(&seal->lock);
    while (seal->n_open >= MAX_WAITING && !seal->is_given_up)
        pthread_cond_wait(&seal->changed, &seal->lock);
    if (seal->is_given_up) {
        close(file);
    } else {
        waiting_shard *shard = &seal->waiting[seal->n_waiting++];
        *shard = (waiting_shard){.file = file, .number = number, .size_bytes = size_bytes};
        mlcc_md5_init(&shard->md5);
        seal->n_open++;
        pthread_cond_broadcast(&seal->changed);
    }
    mlcc_status *status = take_status(seal);
    pthread_mutex_unlock(&seal->lock);
    return status;
}

static void end_thread(store_seal *seal, bool gives_up) {
    if (!seal->has_thread) return;
    pthread_mutex_lock(&seal->lock);
    seal->is_complete = true;
    seal->is_given_up |= gives_up;
    pthread_cond_broadcast(&seal->changed);
    pthread_mutex_unlock(&seal->lock);
    pthread_join(seal->thread, NULL);
    seal->has_thread = false;
}

mlcc_status *store_seal_wait(store_seal *seal) {
    end_thread(seal, false);
    return take_status(seal);
}

const char *store_seal_md5(const store_seal *seal, size_t number) {
    return number < seal->sums_capacity ? seal->sums[number].hex : "";
}

void store_seal_free(store_seal *seal) {
    if (seal == NULL) return;
    end_thread(seal, true);
    for (size_t i = 0; i < seal->n_waiting; i++) close(seal->waiting[i].file);
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        if (seal->lanes[i].file >= 0) close(seal->lanes[i].file);
    }
    mlcc_status_free(seal->status);
    pthread_cond_destroy(&seal->changed);
    pthread_mutex_destroy(&seal->lock);
    free(seal->sums);
    free(seal->buffers);
    free(seal);
}
