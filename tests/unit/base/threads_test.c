// threads: every thread runs every job once, barriers order memory, chunks cover a range exactly,
// sleepers wake.
#include "runtime/base/clock.h"
#include "runtime/base/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

// The last two have more than one group of threads, with one member and with all in the last.
enum { MAX_THREADS = 24 };
static const int32_t sizes[] = {1, 2, 3, 5, 17, 24};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

static mlcc_pool *create(int32_t n_threads) {
    mlcc_pool *pool;
    assert_null(mlcc_pool_create(n_threads, &pool));
    return pool;
}

// Plain, unshared counters: the pool must order the accesses (the thread sanitizer checks that it
// does).
typedef struct sum_job {
    mlcc_pool *pool;
    int64_t value;
    int64_t parts[MAX_THREADS];
} sum_job;

static void add_part(void *arg, int32_t thread, int32_t n_threads) {
    sum_job *job = arg;
    assert_true(thread >= 0 && thread < n_threads);
    job->parts[thread] += job->value + thread;
}

static void every_thread_runs_every_job_once(void **state) {
    (void)state;
    for (int s = 0; s < N_SIZES; s++) {
        mlcc_pool *pool = create(sizes[s]);
        assert_int_equal(mlcc_pool_size(pool), sizes[s]);
        sum_job job = {0};
        int64_t expected = 0;
        for (int64_t round = 0; round < 2000; round++) {
            job.value = round;
            mlcc_pool_run(pool, add_part, &job);
            expected += round;
        }
        for (int32_t i = 0; i < sizes[s]; i++) {
            assert_int_equal(job.parts[i], expected + 2000 * (int64_t)i);
        }
        mlcc_pool_free(pool);
    }
    mlcc_pool_free(NULL);
}

enum { N_ROUNDS = 500 };

// In every round each thread writes its own cell and, after a barrier, checks everybody's: with a
// leaking barrier somebody would see a cell of the round before or after.
typedef struct barrier_job {
    mlcc_pool *pool;
    int64_t cells[MAX_THREADS];
    int64_t n_wrong[MAX_THREADS];
    int64_t total; // written by a different thread in each round
} barrier_job;

static void rounds_with_barriers(void *arg, int32_t thread, int32_t n_threads) {
    barrier_job *job = arg;
    for (int64_t round = 1; round <= N_ROUNDS; round++) {
        job->cells[thread] = round * 100 + thread;
        mlcc_pool_barrier(job->pool);
        int64_t sum = 0;
        for (int32_t i = 0; i < n_threads; i++) {
            if (job->cells[i] != round * 100 + i) job->n_wrong[thread]++;
            sum += job->cells[i];
        }
        if (round % n_threads == thread) job->total += sum;
        mlcc_pool_barrier(job->pool);
    }
}

static void barriers_separate_rounds(void **state) {
    (void)state;
    for (int s = 0; s < N_SIZES; s++) {
        mlcc_pool *pool = create(sizes[s]);
        barrier_job job = {.pool = pool};
        for (int run = 0; run < 4; run++) mlcc_pool_run(pool, rounds_with_barriers, &job);
        int64_t expected = 0;
        for (int64_t round = 1; round <= N_ROUNDS; round++) {
            for (int64_t i = 0; i < sizes[s]; i++) expected += round * 100 + i;
        }
        assert_int_equal(job.total, 4 * expected);
        for (int32_t i = 0; i < sizes[s]; i++) assert_int_equal(job.n_wrong[i], 0);
        mlcc_pool_free(pool);
    }
}

typedef struct range_job {
    unsigned char *seen; // [n_items]
    int64_t n_items;
    int64_t chunk;
    atomic_int n_calls;
    int64_t sums[MAX_THREADS];
} range_job;

static void visit(void *arg, int64_t begin, int64_t end, int32_t thread) {
    range_job *job = arg;
    assert_true(begin >= 0 && begin < end && end <= job->n_items);
    if (job->chunk > 0) assert_true(end - begin <= job->chunk);
    for (int64_t i = begin; i < end; i++) {
        job->seen[i]++;
        job->sums[thread] += i;
    }
    atomic_fetch_add(&job->n_calls, 1);
}

static void chunks_cover_the_range(void **state) {
    (void)state;
    static const int64_t item_counts[] = {0, 1, 2, 7, 64, 1000, 4099};
    static const int64_t chunks[] = {0, 1, 3, 64, 5000, INT64_MAX};
    for (int s = 0; s < N_SIZES; s++) {
        mlcc_pool *pool = create(sizes[s]);
        for (size_t a = 0; a < sizeof item_counts / sizeof item_counts[0]; a++) {
            for (size_t b = 0; b < sizeof chunks / sizeof chunks[0]; b++) {
                int64_t n_items = item_counts[a];
                range_job job = {.n_items = n_items, .chunk = chunks[b]};
                job.seen = calloc((size_t)n_items + 1, 1);
                assert_non_null(job.seen);
                mlcc_pool_for(pool, n_items, chunks[b], visit, &job);
                int64_t sum = 0;
                for (int32_t i = 0; i < MAX_THREADS; i++) sum += job.sums[i];
                assert_int_equal(sum, n_items * (n_items - 1) / 2);
                for (int64_t i = 0; i < n_items; i++) assert_int_equal(job.seen[i], 1);
                if (chunks[b] == 3) assert_int_equal(job.n_calls, (n_items + 2) / 3);
                free(job.seen);
            }
        }
        mlcc_pool_free(pool);
    }
}

static void sleepers_wake(void **state) {
    (void)state;
    mlcc_pool *pool = create(3);
    sum_job job = {.value = 1};
    for (int round = 0; round < 50; round++) {
        // From far below to far above the time for which workers spin: also just while they fall
        // asleep.
        struct timespec pause = {.tv_nsec = (round % 10) * 25000 + (round == 49 ? 20000000 : 0)};
        nanosleep(&pause, NULL);
        mlcc_pool_run(pool, add_part, &job);
    }
    assert_int_equal(job.parts[0], 50);
    assert_int_equal(job.parts[2], 150);
    mlcc_pool_free(pool);
}

static void pools_come_and_go(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        mlcc_pool *pool = create(1 + i % 5);
        sum_job job = {.value = 1};
        if (i % 3 != 0) mlcc_pool_run(pool, add_part, &job);
        mlcc_pool_free(pool);
    }
}

// A job that runs a pool of its own knows its place in the outer one afterwards.
typedef struct nested_job {
    mlcc_pool *outer;
    mlcc_pool *inner[MAX_THREADS];
    sum_job sums[MAX_THREADS];
    atomic_int n_before, n_wrong;
} nested_job;

static void run_inner(void *arg, int32_t thread, int32_t n_threads) {
    nested_job *job = arg;
    for (int round = 1; round <= 20; round++) {
        job->sums[thread].value = 1;
        mlcc_pool_run(job->inner[thread], add_part, &job->sums[thread]);
        atomic_fetch_add(&job->n_before, 1);
        mlcc_pool_barrier(job->outer);
        if (atomic_load(&job->n_before) < round * n_threads) atomic_fetch_add(&job->n_wrong, 1);
    }
}

static void pools_inside_jobs(void **state) {
    (void)state;
    const int32_t n_threads = 10; // two groups: the wrong place would be in the other one
    nested_job job = {.outer = create(n_threads)};
    for (int32_t i = 0; i < n_threads; i++) job.inner[i] = create(2);
    mlcc_pool_run(job.outer, run_inner, &job);
    assert_int_equal(job.n_wrong, 0);
    for (int32_t i = 0; i < n_threads; i++) {
        assert_int_equal(job.sums[i].parts[0], 20);
        assert_int_equal(job.sums[i].parts[1], 40);
        mlcc_pool_free(job.inner[i]);
    }
    mlcc_pool_free(job.outer);
}

static void read_signal_mask(void *arg, int32_t thread, int32_t n_threads) {
    (void)n_threads;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ((int *)arg)[thread] = sigismember(&mask, SIGINT);
}

static void workers_leave_signals_alone(void **state) {
    (void)state;
    mlcc_pool *pool = create(2);
    int blocked[2] = {-1, -1};
    mlcc_pool_run(pool, read_signal_mask, blocked);
    assert_int_equal(blocked[0], 0);
    assert_int_equal(blocked[1], 1);
    mlcc_pool_free(pool);
}

static void refuses_impossible_sizes(void **state) {
    (void)state;
    mlcc_pool *pool = NULL;
    mlcc_status *status = mlcc_pool_create(-1, &pool);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    mlcc_status_free(status);
    status = mlcc_pool_create(1025, &pool);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_null(pool);
    mlcc_status_free(status);
    assert_true(mlcc_physical_cores() >= 1);
    assert_true(mlcc_physical_cores() <= sysconf(_SC_NPROCESSORS_CONF));
    pool = create(0);
    assert_true(mlcc_pool_size(pool) == mlcc_physical_cores() || mlcc_physical_cores() > 1024);
    mlcc_pool_free(pool);
}

static void nothing(void *arg, int32_t thread, int32_t n_threads) {
    (void)arg;
    (void)thread;
    (void)n_threads;
}

static void latency_is_printed(void **state) {
    (void)state;
    int32_t n_threads = mlcc_physical_cores() < 2 ? 1 : 2;
    mlcc_pool *pool = create(n_threads);
    const int n_runs = 20000;
    for (int i = 0; i < 100; i++) mlcc_pool_run(pool, nothing, NULL);
    double start = mlcc_clock_s();
    for (int i = 0; i < n_runs; i++) mlcc_pool_run(pool, nothing, NULL);
    double seconds = mlcc_clock_s() - start;
    print_message("empty job on %d threads: %.2f us\n", n_threads, seconds / n_runs * 1e6);
    mlcc_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_every_job_once),
        cmocka_unit_test(barriers_separate_rounds),
        cmocka_unit_test(chunks_cover_the_range),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(pools_inside_jobs),
        cmocka_unit_test(workers_leave_signals_alone),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(latency_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
