// bench_pool: what the thread pool costs, in nanoseconds: an empty job while the workers still spin, one that finds them asleep, and a
// barrier; for 1, 2, … threads up to the cores and for more threads than cores. By hand, never a gate.
//
//   bench_pool [MOST_THREADS]
//
// Medians and minima over many short runs: on a machine that others use, the minimum is what the pool costs.
#include "runtime/base/clock.h"
#include "runtime/base/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N_RUNS = 400, JOBS_PER_RUN = 50, BARRIERS_PER_RUN = 50, N_SLEEPS = 60, SLEEP_NS = 3000000 };

typedef struct figures {
    double median_ns, least_ns;
} figures;

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static figures summarize(double *samples_ns, size_t n_samples) {
    qsort(samples_ns, n_samples, sizeof *samples_ns, by_value);
    return (figures){samples_ns[n_samples / 2], samples_ns[0]};
}

static void nothing(void *arg, int32_t thread, int32_t n_threads) {
    (void)arg;
    (void)thread;
    (void)n_threads;
}

static void barriers(void *pool, int32_t thread, int32_t n_threads) {
    (void)thread;
    (void)n_threads;
    for (int i = 0; i < BARRIERS_PER_RUN; i++) mlcc_pool_barrier(pool);
}

static double seconds_of(mlcc_pool *pool, mlcc_pool_function *function, int n_jobs) {
    const double start_s = mlcc_clock_s();
    for (int i = 0; i < n_jobs; i++) mlcc_pool_run(pool, function, pool);
    return mlcc_clock_s() - start_s;
}

static figures measure_jobs(mlcc_pool *pool) {
    double samples[N_RUNS];
    seconds_of(pool, nothing, JOBS_PER_RUN);
    for (int i = 0; i < N_RUNS; i++)
        samples[i] = seconds_of(pool, nothing, JOBS_PER_RUN) / (double)JOBS_PER_RUN * 1e9;
    return summarize(samples, N_RUNS);
}

static figures measure_sleepers(mlcc_pool *pool) {
    double samples[N_SLEEPS];
    for (int i = 0; i < N_SLEEPS; i++) {
        const struct timespec pause = {.tv_nsec = SLEEP_NS};
        nanosleep(&pause, NULL);
        samples[i] = seconds_of(pool, nothing, 1) * 1e9;
    }
    return summarize(samples, N_SLEEPS);
}

static figures measure_barriers(mlcc_pool *pool) {
    double samples[N_RUNS];
    seconds_of(pool, barriers, 1);
    for (int i = 0; i < N_RUNS; i++)
        samples[i] = seconds_of(pool, barriers, 1) / (double)BARRIERS_PER_RUN * 1e9;
    return summarize(samples, N_RUNS);
}

static int measure(int32_t n_threads) {
    mlcc_pool *pool = NULL;
    mlcc_status *status = mlcc_pool_create(n_threads, &pool);
    if (status != NULL) {
        fprintf(stderr, "error: %s\n", mlcc_status_message(status));
        mlcc_status_free(status);
        return 1;
    }
    const figures jobs = measure_jobs(pool), sleepers = measure_sleepers(pool);
    const figures waits = measure_barriers(pool);
    printf(
        "| %d | %.0f (%.0f) | %.0f (%.0f) | %.0f (%.0f) |\n", n_threads, jobs.median_ns,
        jobs.least_ns, sleepers.median_ns, sleepers.least_ns, waits.median_ns, waits.least_ns);
    fflush(stdout);
    mlcc_pool_free(pool);
    return 0;
}

int main(int argc, char **argv) {
    const int32_t n_cores = mlcc_physical_cores();
    const long most = argc > 1 ? strtol(argv[1], NULL, 10) : 4L * n_cores;
    if (most < 1 || most > 1024) {
        fprintf(stderr, "usage: bench_pool [MOST_THREADS], 1 to 1024\n");
        return 2;
    }
    printf("%d cores; ns, median (minimum)\n\n", n_cores);
    printf("| threads | empty job | empty job, workers asleep | barrier |\n|---|---|---|---|\n");
    // Every number while it is small, then doubled.
    for (long n = 1; n <= most; n = n < n_cores || n < 4 ? n + 1 : n * 2) {
        if (measure((int32_t)n) != 0) return 1;
    }
    return 0;
}
