// Threads wait at gates, counters that move when whoever waits may go on: first spinning, so that
// the thousands of short jobs and barriers of one decoded token cost a fraction of a microsecond each,
// then asleep in the kernel (futex), so that a processor is free for the thread that everybody waits
// for, for other programs, or for nobody. With more threads than cores the spinning is all but left
// out: whoever spins then holds up the one that is late.
//
// Threads arrive in groups of eight, each with a counter on a line of its own, and the last of a group
// at a common counter: no line is written by more than eight cores, or by more than one of a group
// (a combining tree: Yew, Tzeng, Lawrie 1987).
#include "runtime/base/threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_THREADS = 1024,
    // How long a thread spins before it sleeps. At barriers, where all others are at work, about as long
    // as being woken takes: that is never more than twice of what the better choice would have cost
    // (Karlin, Li, Manasse, Owicki 1991). Between jobs longer: the caller of a small model comes back
    // with the next token in a moment.
    BARRIER_SPIN_NS = 25 * 1000,
    IDLE_SPIN_NS = 100 * 1000,
    PAUSES_PER_LOOK = 32, // pauses between two looks at the clock
    GROUP_THREADS = 8,
    CACHE_LINE = 64,
};

typedef struct pool_worker {
    pthread_t thread;
    struct mlcc_pool *pool;
    int32_t index;
} pool_worker;

typedef struct pool_gate {
    _Alignas(CACHE_LINE) atomic_uint epoch; // moves when the gate opens
    atomic_int n_sleeping;
} pool_gate;

typedef struct pool_group {
    _Alignas(CACHE_LINE) atomic_int n_arrived;
    int32_t n_members;
} pool_group;

struct mlcc_pool {
    int32_t n_threads;
    int32_t n_started; // workers that exist
    int32_t n_groups;
    int64_t idle_spin_ns, barrier_spin_ns; // 0 with more threads than cores: one look
    pool_worker *workers;
    pool_group *groups; // [n_groups]

    // Written by the caller between jobs, read by the workers after they saw `job` open.
    mlcc_pool_function *function;
    void *arg;
    bool stop;

    pool_gate job;     // opened by the caller
    pool_gate barrier; // by the last thread that arrives at one
    pool_gate done;    // by the last thread that ends the job
    _Alignas(CACHE_LINE) atomic_int n_groups_arrived;
    _Alignas(CACHE_LINE) atomic_int_fast64_t next_chunk;
};

// Of the calling thread in the pool whose job it runs; the caller of a pool is 0.
static _Thread_local int32_t own_index;

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

// ---- gates --------------------------------------------------------------------------------------

static unsigned gate_epoch(pool_gate *gate) {
    return atomic_load_explicit(&gate->epoch, memory_order_relaxed);
}

// True when the epoch moved from `seen` while this thread spun.
static bool gate_spin(pool_gate *gate, unsigned seen, int64_t spin_ns) {
    const int64_t start = spin_ns != 0 ? now_ns() : 0;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (atomic_load_explicit(&gate->epoch, memory_order_acquire) != seen) return true;
            cpu_pause();
        }
    } while (spin_ns != 0 && now_ns() - start < spin_ns);
    return false;
}

// Waits until the epoch is no longer `seen`.
static void gate_wait(pool_gate *gate, unsigned seen, int64_t spin_ns) {
    if (gate_spin(gate, seen, spin_ns)) return;
    // Whoever opens moves the epoch and then looks for sleepers; we count ourselves as one, and the
    // kernel then looks at the epoch. In sequential order, so at least one sees the other.
    atomic_fetch_add(&gate->n_sleeping, 1);
    while (atomic_load(&gate->epoch) == seen)
        syscall(SYS_futex, &gate->epoch, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&gate->n_sleeping, 1);
}

static void gate_open(pool_gate *gate) {
    atomic_fetch_add(&gate->epoch, 1);
    if (atomic_load(&gate->n_sleeping) == 0) return;
    syscall(SYS_futex, &gate->epoch, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// True for the last of all threads, when the counters are ready for the next time.
static bool arrive(mlcc_pool *pool) {
    pool_group *group = &pool->groups[own_index / GROUP_THREADS];
    if (atomic_fetch_add_explicit(&group->n_arrived, 1, memory_order_acq_rel) + 1 <
        group->n_members) {
        return false;
    }
    atomic_store_explicit(&group->n_arrived, 0, memory_order_relaxed);
    if (pool->n_groups == 1) return true;
    if (atomic_fetch_add_explicit(&pool->n_groups_arrived, 1, memory_order_acq_rel) + 1 <
        pool->n_groups) {
        return false;
    }
    atomic_store_explicit(&pool->n_groups_arrived, 0, memory_order_relaxed);
    return true;
}

// ---- life -------------------------------------------------------------------------------------

static void *worker_main(void *data) {
    const pool_worker *worker = data;
    mlcc_pool *pool = worker->pool;
    own_index = worker->index;
    // Every worker takes part in every job, so epochs come one by one.
    for (unsigned seen = 0;; seen++) {
        gate_wait(&pool->job, seen, pool->idle_spin_ns);
        if (pool->stop) return NULL;
        pool->function(pool->arg, worker->index, pool->n_threads);
        if (arrive(pool)) gate_open(&pool->done);
    }
}

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

static void make_groups(mlcc_pool *pool) {
    for (int32_t i = 0; i < pool->n_groups; i++) {
        const int32_t left = pool->n_threads - i * GROUP_THREADS;
        pool_group *group = &pool->groups[i];
        atomic_init(&group->n_arrived, 0);
        group->n_members = left < GROUP_THREADS ? left : GROUP_THREADS;
    }
}

static mlcc_pool *allocate(int32_t n_threads) {
    const size_t n_groups = ((size_t)n_threads + GROUP_THREADS - 1) / GROUP_THREADS;
    mlcc_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    pool_worker *workers = calloc((size_t)n_threads, sizeof *workers);
    pool_group *groups = aligned_alloc(CACHE_LINE, n_groups * sizeof *groups);
    if (pool == NULL || workers == NULL || groups == NULL) {
        free(pool);
        free(workers);
        free(groups);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pool->n_groups = (int32_t)n_groups;
    pool->workers = workers;
    pool->groups = groups;
    make_groups(pool);
    return pool;
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
    mlcc_pool *pool = allocate(n_threads);
    if (pool == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while starting %d threads", n_threads);
    pool->idle_spin_ns = n_threads > n_cores ? 0 : IDLE_SPIN_NS;
    pool->barrier_spin_ns = n_threads > n_cores ? 0 : BARRIER_SPIN_NS;
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
    gate_open(&pool->job);
    for (int32_t i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    free(pool->groups);
    free(pool->workers);
    free(pool);
}

int32_t mlcc_pool_size(const mlcc_pool *pool) {
    return pool->n_threads;
}

// ---- work -------------------------------------------------------------------------------------

void mlcc_pool_run(mlcc_pool *pool, mlcc_pool_function *function, void *arg) {
    if (pool->n_threads == 1) {
        function(arg, 0, 1);
        return;
    }
    const int32_t outer_index = own_index; // a job may run a pool of its own
    own_index = 0;
    pool->function = function;
    pool->arg = arg;
    const unsigned seen = gate_epoch(&pool->done);
    gate_open(&pool->job);
    function(arg, 0, pool->n_threads);
    if (!arrive(pool)) gate_wait(&pool->done, seen, pool->barrier_spin_ns);
    own_index = outer_index;
}

void mlcc_pool_barrier(mlcc_pool *pool) {
    if (pool->n_threads == 1) return;
    // Read before arriving: the last one moves it as soon as all have arrived.
    const unsigned seen = gate_epoch(&pool->barrier);
    if (arrive(pool)) {
        gate_open(&pool->barrier);
    } else {
        gate_wait(&pool->barrier, seen, pool->barrier_spin_ns);
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
