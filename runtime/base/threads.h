// threads: a pool that runs one function on all its threads, with barriers inside.
//
// The calling thread is thread 0; the pool owns n_threads - 1 others, which spin for a short while after work and then sleep.
// mlcc_pool_run returns when all have returned from the function. Inside it any thread may call mlcc_pool_barrier; all must.
// Thread rule: one caller at a time.
#ifndef MLCC_RUNTIME_BASE_THREADS_H
#define MLCC_RUNTIME_BASE_THREADS_H

#include "runtime/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_pool mlcc_pool;
typedef void mlcc_pool_function(void *arg, int32_t thread, int32_t n_threads);

// n_threads 0 = mlcc_physical_cores(). At most 1024.
mlcc_status *mlcc_pool_create(int32_t n_threads, mlcc_pool **out);
void mlcc_pool_free(mlcc_pool *pool);
int32_t mlcc_pool_size(const mlcc_pool *pool);
void mlcc_pool_run(mlcc_pool *pool, mlcc_pool_function *function, void *arg);
// All threads of the running function wait for each other; memory written before is visible after.
void mlcc_pool_barrier(mlcc_pool *pool);
// Splits 0 … n_items-1 over the pool in chunks handed out dynamically; body gets [begin, end).
typedef void mlcc_pool_body(void *arg, int64_t begin, int64_t end, int32_t thread);
// Physical cores this process may use: topology (hwloc) cut by affinity and cgroup limits; at least 1.
void mlcc_pool_for(
    mlcc_pool *pool, int64_t n_items, int64_t chunk, mlcc_pool_body *body, void *arg);
int32_t mlcc_physical_cores(void);

#endif
