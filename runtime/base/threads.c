// The workers wait for a counter, the epoch, to move: first spinning, so that the thousands of
// short jobs of one decoded token cost a microsecond each, then asleep, so that an idle process
// costs nothing.
#include "runtime/base/threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_THREADS = 1024,
    SPIN_NS = 100 * 1000,  // how long an idle worker spins before it sleeps
    PAUSES_PER_LOOK = 32,  // pauses between two looks at the clock
    BARRIER_PAUSES = 1024, // spins at a barrier before the processor is offered to others
    CACHE_LINE = 64,
};

typedef struct pool_worker {
    pthread_t thread;
    struct mlcc_pool *pool;
    int32_t index;
} pool_worker;

struct mlcc_pool {
    int32_t n_threads;
    int32_t n_started;  // workers that exist
    int barrier_pauses; // both are near zero when there are more threads than cores: whoever spins
    int64_t idle_spin_ns; // then holds up the one that everybody waits for
    pool_worker *workers;

    // Written by the caller between jobs, read by the workers after they saw the epoch move.
    mlcc_pool_function *function;
    void *arg;
    bool stop;

    pthread_mutex_t lock; // only for going to sleep and waking up
    pthread_cond_t wake;

    // On lines of their own: each is written by one side while the other spins on it.
    _Alignas(CACHE_LINE) atomic_uint epoch;
    atomic_int n_sleeping;
    _Alignas(CACHE_LINE) atomic_int n_running;
    _Alignas(CACHE_LINE) atomic_int n_arrived;
    _Alignas(CACHE_LINE) atomic_uint barrier_epoch;
    _Alignas(CACHE_LINE) atomic_int_fast64_t next_chunk;
};

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// ---- workers ----------------------------------------------------------------------------------

// Waits until the epoch is no longer `seen`; spins first.
static void wait_for_epoch(mlcc_pool *pool, unsigned seen) {
    int64_t start = pool->idle_spin_ns != 0 ? now_ns() : 0;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen) return;
            cpu_pause();
        }
    } while (pool->idle_spin_ns != 0 && now_ns() - start < pool->idle_spin_ns);
    // The caller moves the epoch and then looks for sleepers; we count ourselves as one and then
    // look at the epoch. Both in sequential order, so at least one of the two sees the other; the
    // lock closes the gap before cond_wait.
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while (atomic_load(&pool->epoch) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *data) {
    const pool_worker *worker = data;
    mlcc_pool *pool = worker->pool;
    // Every worker takes part in every job, so epochs come one by one.
    for (unsigned seen = 0;; seen++) {
        wait_for_epoch(pool, seen);
        if (pool->stop) return NULL;
        pool->function(pool->arg, worker->index, pool->n_threads);
        atomic_fetch_sub_explicit(&pool->n_running, 1, memory_order_release);
    }
}

static void start_epoch(mlcc_pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->n_sleeping) != 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

// ---- life -------------------------------------------------------------------------------------

static int start_workers(mlcc_pool *pool) {
    // Signals belong to the program's own threads: Ctrl-C must not interrupt a worker.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = 0;
    for (int32_t i = 0; i < pool->n_threads - 1 && reason == 0; i++) {
        pool_worker *worker = &pool->workers[i];
        *worker = (pool_worker){.pool = pool, .index = i + 1};
        reason = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (reason == 0) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return reason;
}

mlcc_status *mlcc_pool_create(int32_t n_threads, mlcc_pool **out) {
    *out = NULL;
    int32_t n_cores = mlcc_physical_cores();
    if (n_threads == 0) n_threads = n_cores < MAX_THREADS ? n_cores : MAX_THREADS;
    if (n_threads < 0 || n_threads > MAX_THREADS) {
        return MLCC_ERROR(
            INVALID, "%d threads are wanted, 0 (one per physical core) to %d are accepted",
            n_threads, MAX_THREADS);
    }
    mlcc_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    pool_worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (pool == NULL || workers == NULL) {
        free(pool);
        free(workers);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while starting %d threads", n_threads);
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pool->workers = workers;
    pool->barrier_pauses = n_threads > n_cores ? 16 : BARRIER_PAUSES;
    pool->idle_spin_ns = n_threads > n_cores ? 0 : SPIN_NS;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    atomic_init(&pool->epoch, 0);
    atomic_init(&pool->n_sleeping, 0);
    atomic_init(&pool->n_running, 0);
    atomic_init(&pool->n_arrived, 0);
    atomic_init(&pool->barrier_epoch, 0);
    atomic_init(&pool->next_chunk, 0);
    int reason = start_workers(pool);
    if (reason != 0) {
        mlcc_status *status = MLCC_ERROR(
            NO_MEMORY, "cannot start %d threads, only %d: %s; ask for fewer", n_threads,
            pool->n_started + 1, strerror(reason));
        mlcc_pool_free(pool);
        return status;
    }
    *out = pool;
    return NULL;
}

void mlcc_pool_free(mlcc_pool *pool) {
    if (pool == NULL) return;
    pool->stop = true;
    start_epoch(pool);
    for (int32_t i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int32_t mlcc_pool_size(const mlcc_pool *pool) {
    return pool->n_threads;
}

// ---- work -------------------------------------------------------------------------------------

// One step of waiting for threads that are at work: they are done in a moment, unless one of them
// lost its processor.
static void pause_or_yield(const mlcc_pool *pool, int *n_pauses) {
    if (*n_pauses < pool->barrier_pauses) {
        (*n_pauses)++;
        cpu_pause();
    } else {
        sched_yield();
    }
}

void mlcc_pool_run(mlcc_pool *pool, mlcc_pool_function *function, void *arg) {
    if (pool->n_threads == 1) {
        function(arg, 0, 1);
        return;
    }
    pool->function = function;
    pool->arg = arg;
    atomic_store_explicit(&pool->n_running, pool->n_threads - 1, memory_order_relaxed);
    start_epoch(pool);
    function(arg, 0, pool->n_threads);
    int n_pauses = 0;
    while (atomic_load_explicit(&pool->n_running, memory_order_acquire) != 0) {
        pause_or_yield(pool, &n_pauses);
    }
}

void mlcc_pool_barrier(mlcc_pool *pool) {
    if (pool->n_threads == 1) return;
    // Read before arriving: the last one moves it as soon as all have arrived.
    unsigned epoch = atomic_load_explicit(&pool->barrier_epoch, memory_order_relaxed);
    int arrived = atomic_fetch_add_explicit(&pool->n_arrived, 1, memory_order_acq_rel) + 1;
    if (arrived == pool->n_threads) {
        atomic_store_explicit(&pool->n_arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->barrier_epoch, epoch + 1, memory_order_release);
        return;
    }
    int n_pauses = 0;
    while (atomic_load_explicit(&pool->barrier_epoch, memory_order_acquire) == epoch) {
        pause_or_yield(pool, &n_pauses);
    }
}

typedef struct for_job {
    mlcc_pool *pool;
    mlcc_pool_body *body;
    void *arg;
    int64_t n_items;
    int64_t chunk;
    int64_t n_chunks;
} for_job;

static void run_chunks(void *data, int32_t thread, int32_t n_threads) {
    (void)n_threads;
    const for_job *job = data;
    for (;;) {
        // Counts chunks, not items: a counter of items could run over the end of its range.
        int64_t index = atomic_fetch_add_explicit(&job->pool->next_chunk, 1, memory_order_relaxed);
        if (index >= job->n_chunks) return;
        int64_t begin = index * job->chunk;
        int64_t end = job->n_items - begin < job->chunk ? job->n_items : begin + job->chunk;
        job->body(job->arg, begin, end, thread);
    }
}

void mlcc_pool_for(
    mlcc_pool *pool, int64_t n_items, int64_t chunk, mlcc_pool_body *body, void *arg) {
    if (n_items <= 0) return;
    if (chunk <= 0) { // a few chunks per thread even out uneven work
        chunk = n_items / (4 * (int64_t)pool->n_threads);
        if (chunk == 0) chunk = 1;
    }
    if (chunk >= n_items) { // nothing to share: spare the others the wake-up
        body(arg, 0, n_items, 0);
        return;
    }
    for_job job = {
        .pool = pool,
        .body = body,
        .arg = arg,
        .n_items = n_items,
        .chunk = chunk,
        .n_chunks = (n_items - 1) / chunk + 1,
    };
    atomic_store_explicit(&pool->next_chunk, 0, memory_order_relaxed);
    mlcc_pool_run(pool, run_chunks, &job);
}
