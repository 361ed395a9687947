// The CPU as a device: memory is host memory, a function runs on every thread of the pool.
#include "runtime/base/clock.h"
#include "runtime/base/str.h"
#include "runtime/device/device_inside.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cpu_device {
    mlcc_device base;
    pthread_mutex_t pool_lock; // the pool serves one runner at a time
} cpu_device;

typedef struct cpu_runner {
    mlcc_runner base;
    const void *const *params;
    mlcc_block workspace, scratch, counters;
    char **thread_scratch; // [n_threads]
} cpu_runner;

static void cpu_close(mlcc_device *device) {
    cpu_device *self = (cpu_device *)device;
    pthread_mutex_destroy(&self->pool_lock);
    free(self);
}

static mlcc_status *cpu_alloc(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_memory *out) {
    (void)device;
    MLCC_TRY(mlcc_block_alloc(size_bytes, what, &out->block));
    mlcc_block_spread(&out->block);
    out->address = out->block.data;
    out->size_bytes = size_bytes;
    return NULL;
}

static void cpu_free(mlcc_device *device, mlcc_memory *memory) {
    (void)device;
    mlcc_block_free(&memory->block);
}

static mlcc_status *cpu_upload(
    mlcc_device *device, void *target, const void *source, size_t size_bytes) {
    (void)device;
    memcpy(target, source, size_bytes);
    return NULL;
}

// ---- running

static void cpu_runner_free(mlcc_runner *runner) {
    cpu_runner *self = (cpu_runner *)runner;
    mlcc_block_free(&self->workspace);
    mlcc_block_free(&self->scratch);
    mlcc_block_free(&self->counters);
    free(self->thread_scratch);
    free(self);
}

static mlcc_status *create_memory(cpu_runner *self) {
    const mlcc_abi_function *function = self->base.function;
    size_t n_threads = (size_t)mlcc_pool_size(self->base.device->pool);
    size_t scratch_bytes = 0, all_scratch = 0;
    if (!mlcc_size_add(function->scratch_bytes, 63, &scratch_bytes) ||
        !mlcc_size_mul(scratch_bytes / 64 * 64, n_threads, &all_scratch)) {
        return MLCC_ERROR(NO_MEMORY, "the scratch memory of the threads exceeds 64 bits of bytes");
    }
    scratch_bytes = scratch_bytes / 64 * 64;
    MLCC_TRY(mlcc_block_alloc(function->workspace_bytes, "the workspace", &self->workspace));
    mlcc_block_spread(&self->workspace);
    // Of each thread its own: where it is first touched is where it is used.
    MLCC_TRY(mlcc_block_alloc(all_scratch, "the scratch memory of the threads", &self->scratch));
    MLCC_TRY(
        mlcc_block_alloc(function->n_counters * sizeof(uint32_t), "the counters", &self->counters));
    self->thread_scratch = calloc(n_threads, sizeof *self->thread_scratch);
    if (self->thread_scratch == NULL)
        return MLCC_ERROR(NO_MEMORY, "memory for the call tables cannot be had");
    for (size_t i = 0; i < n_threads; i++)
        self->thread_scratch[i] = (char *)self->scratch.data + i * scratch_bytes;
    return NULL;
}

static mlcc_status *cpu_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out) {
    cpu_runner *self = calloc(1, sizeof *self);
    if (self == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a runner cannot be had");
    self->base = (mlcc_runner){.device = device, .function = &device->abi->functions[function]};
    self->params = params;
    mlcc_status *status = create_memory(self);
    if (status != NULL) {
        cpu_runner_free(&self->base);
        return status;
    }
    *out = &self->base;
    return NULL;
}

typedef struct run_work {
    mlcc_abi_run *run;
    mlcc_abi_call call;
    atomic_int result; // of the first thread that failed
} run_work;

// Of this thread in the run that it is in, counted while a trace is wanted.
static _Thread_local size_t n_waits;

static void run_thread(void *arg, int32_t thread, int32_t n_threads) {
    run_work *work = arg;
    n_waits = 0;
    int result = work->run(&work->call, thread, n_threads);
    int expected = 0;
    if (result != 0) (void)atomic_compare_exchange_strong(&work->result, &expected, result);
}

static void wait_for_all(void *pool) {
    mlcc_pool_barrier(pool);
}

// The same where a trace is wanted.
typedef struct traced_barrier {
    mlcc_pool *pool;
    mlcc_run_trace *trace;
} traced_barrier;

static uint64_t clock_ns(void) {
    return (uint64_t)(mlcc_clock_s() * 1e9);
}

// A thread's next wait, or the end of its run: the latest of all threads stays.
static void note_end(mlcc_run_trace *trace) {
    const size_t i = n_waits++;
    if (i >= trace->capacity) return;
    const uint64_t now = clock_ns();
    uint64_t latest = atomic_load(&trace->ends_ns[i]);
    while (latest < now && !atomic_compare_exchange_weak(&trace->ends_ns[i], &latest, now)) {
    }
}

static void note_and_wait(void *state) {
    const traced_barrier *barrier = state;
    note_end(barrier->trace);
    mlcc_pool_barrier(barrier->pool);
}

// Between the parts of a launch: all of it counts as one.
static void only_wait(void *state) {
    const traced_barrier *barrier = state;
    mlcc_pool_barrier(barrier->pool);
}

static void start_trace(mlcc_run_trace *trace) {
    for (size_t i = 0; i < trace->capacity; i++) atomic_store(&trace->ends_ns[i], 0);
    trace->start_ns = clock_ns();
}

static mlcc_status *cpu_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims) {
    cpu_runner *self = (cpu_runner *)runner;
    cpu_device *device = (cpu_device *)runner->device;
    const mlcc_abi_function *function = runner->function;
    memset(self->counters.data, 0, function->n_counters * sizeof(uint32_t));
    run_work work = {
        .run = function->run,
        .call =
            {
                .args = args,
                .results = results,
                .params = self->params,
                .dims = dims,
                .workspace = self->workspace.data,
                .scratch = self->thread_scratch,
                .counters = self->counters.data,
                .barrier = wait_for_all,
                .barrier_state = device->base.pool,
            },
    };
    mlcc_run_trace *trace = runner->trace;
    traced_barrier barrier = {device->base.pool, trace};
    if (trace != NULL) {
        work.call.barrier = note_and_wait;
        work.call.barrier_state = &barrier;
        work.call.meet = only_wait;
    }
    pthread_mutex_lock(&device->pool_lock);
    if (trace != NULL) start_trace(trace);
    mlcc_pool_run(device->base.pool, run_thread, &work);
    if (trace != NULL) {
        note_end(trace);
        trace->n_ends = n_waits;
    }
    pthread_mutex_unlock(&device->pool_lock);
    int result = atomic_load(&work.result);
    if (result == 0) return NULL;
    return MLCC_ERROR(
        DEVICE, "the library's function '%s' failed with code %d", function->name, result);
}

static const mlcc_device_kind cpu_kind = {
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .runner_create = cpu_runner_create,
    .runner_free = cpu_runner_free,
    .runner_run = cpu_runner_run,
};

mlcc_status *mlcc_device_open_cpu(const mlcc_abi_model *abi, mlcc_pool *pool, mlcc_device **out) {
    cpu_device *self = calloc(1, sizeof *self);
    if (self == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a device cannot be had");
    self->base = (mlcc_device){.kind = &cpu_kind, .abi = abi, .pool = pool};
    self->base.info.is_host = true;
    snprintf(self->base.info.name, sizeof self->base.info.name, "cpu");
    pthread_mutex_init(&self->pool_lock, NULL);
    *out = &self->base;
    return NULL;
}
