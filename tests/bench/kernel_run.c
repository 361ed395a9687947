// kernel_run: see the header.
#include "tests/bench/kernel_run.h"

#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/panel16.h"
#include "runtime/base/threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 8, SCRATCH_BYTES = 1 << 20 };

const kernel_unit *unit_find(const char *kernel, const char *variant, int32_t dtype) {
    for (size_t i = 0; kernel_units[i] != NULL; i++) {
        const kernel_unit *unit = kernel_units[i];
        if (strcmp(unit->kernel, kernel) == 0 && strcmp(unit->variant, variant) == 0 &&
            unit->dtype == dtype)
            return unit;
    }
    return NULL;
}

const char *unit_dtype_text(int32_t dtype) {
    static const char *const text[] = {"f32", "f16", "bf16", "i32", "u32", "i8", "u8", "q4g32_f16"};
    return text[dtype];
}

bool unit_runs_here(const char *variant) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(variant, "x86_avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(variant, "x86_avx512vnni") == 0 && !__builtin_cpu_supports("avx512vnni"))
        return false;
    if (strcmp(variant, "x86_avx512") == 0 || strcmp(variant, "x86_avx512vnni") == 0)
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
    return strcmp(variant, "portable") == 0;
}

float unit_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(int32_t)((z >> 40) & 0xffffffu) / 8388608.0f - 1.0f;
}

void *unit_alloc(size_t size_bytes) {
    const size_t huge = (size_t)2 << 20;
    void *memory = NULL;
    // Exactly as many bytes as asked for, so that address sanitizers see a read beyond them.
    if (posix_memalign(&memory, size_bytes < huge ? 64 : huge, size_bytes > 0 ? size_bytes : 1) !=
        0) {
        fprintf(stderr, "kernels_bench: no memory for %zu bytes\n", size_bytes);
        exit(1);
    }
    if (size_bytes >= huge) madvise(memory, size_bytes, MADV_HUGEPAGE);
    memset(memory, 0, size_bytes);
    return memory;
}

double unit_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// ---- threads ---------------------------------------------------------------------------------------------------------------

typedef struct parallel_call {
    void (*work)(int32_t thread, void *user);
    void *user;
} parallel_call;

static void call_work(void *arg, int32_t thread, int32_t n_threads) {
    const parallel_call *call = arg;
    (void)n_threads;
    call->work(thread, call->user);
}

// One pool per number of threads, kept: the threads are awake when the next launch comes.
void unit_parallel(void (*work)(int32_t thread, void *user), void *user, int32_t n_threads) {
    static mlcc_pool *pools[MAX_THREADS + 1];
    parallel_call call = {work, user};
    if (pools[n_threads] == NULL) {
        mlcc_status *status = mlcc_pool_create(n_threads, &pools[n_threads]);
        if (status != NULL) {
            fprintf(stderr, "%s\n", mlcc_status_message(status));
            exit(1);
        }
    }
    mlcc_pool_run(pools[n_threads], call_work, &call);
}

typedef struct launch {
    const kernel_unit *unit;
    const kernel_env *env;
    int64_t n_items, chunk;
    atomic_long next;
} launch;

static void launch_thread(int32_t thread, void *user) {
    static void *scratch[MAX_THREADS];
    launch *run = user;
    if (scratch[thread] == NULL) scratch[thread] = unit_alloc(SCRATCH_BYTES);
    kernel_env env = *run->env;
    env.scratch = scratch[thread];
    for (;;) {
        const int64_t begin = atomic_fetch_add(&run->next, run->chunk);
        if (begin >= run->n_items) return;
        const int64_t end = begin + run->chunk;
        run->unit->run(&env, begin, end < run->n_items ? end : run->n_items);
    }
}

void unit_launch(const kernel_unit *unit, const kernel_env *env, int32_t n_threads) {
    launch run = {
        .unit = unit,
        .env = env,
        .n_items = unit->items(env),
        .chunk = unit->chunk(env, n_threads)};
    unit_parallel(launch_thread, &run, n_threads);
}

// ---- weights ---------------------------------------------------------------------------------------------------------------

static void fill_plain(unit_weight *weight, uint64_t *state) {
    for (int64_t i = 0; i < weight->n * weight->k; i++) {
        kernel_store_as(weight->pieces[0], weight->dtype, i, unit_random(state));
        if (weight->values)
            weight->values[i] = kernel_load_as_f32(weight->pieces[0], weight->dtype, i);
    }
}

static void fill_q4(unit_weight *weight, uint64_t *state) {
    const int64_t n_groups = (weight->k + 31) / 32;
    uint32_t *words = weight->pieces[0];
    uint16_t *scales = weight->pieces[1];
    for (int64_t i = 0; i < weight->n * n_groups; i++)
        scales[i] = kernel_f32_to_f16(0.1f + 0.05f * unit_random(state));
    for (int64_t i = 0; i < weight->n * n_groups * 4; i++) {
        uint32_t word = (uint32_t)(int32_t)(unit_random(state) * 32768.0f) ^
                        (uint32_t)(int32_t)(unit_random(state) * 2147483000.0f);
        for (int64_t e = 0; e < 8; e++) {
            if (i % (n_groups * 4) * 8 + e >= weight->k) word &= ~(15u << (4 * e));
        }
        words[i] = word;
    }
    for (int64_t r = 0; weight->values != NULL && r < weight->n; r++) {
        for (int64_t k = 0; k < weight->k; k++) {
            const uint32_t code = words[r * n_groups * 4 + k / 8] >> (4 * (k % 8)) & 15u;
            weight->values[r * weight->k + k] =
                ((float)code - 7.0f) * kernel_f16_to_f32(scales[r * n_groups + k / 32]);
        }
    }
}

unit_weight unit_weight_make(int32_t dtype, int64_t n, int64_t k, uint64_t seed, bool with_values) {
    unit_weight weight = {.dtype = dtype, .n = n, .k = k};
    const size_t count = (size_t)(n * k), n_groups = (size_t)((k + 31) / 32);
    if (with_values) weight.values = unit_alloc(count * 4);
    weight.pieces[0] = unit_alloc(
        dtype == KERNEL_Q4G32_F16 ? (size_t)n * n_groups * 16
                                  : count * (dtype == KERNEL_F32 ? 4 : 2));
    weight.pieces[1] = dtype == KERNEL_Q4G32_F16 ? unit_alloc((size_t)n * n_groups * 2) : NULL;
    if (dtype == KERNEL_Q4G32_F16)
        fill_q4(&weight, &seed);
    else
        fill_plain(&weight, &seed);
    if (!kernel_panel16_size(dtype, n, k, &weight.prepared_bytes)) exit(1);
    weight.prepared = unit_alloc((size_t)weight.prepared_bytes);
    const kernel_unit *prepare = unit_find("prepare_panel16", "portable", dtype);
    prepare->prepare_shape(n, k);
    const void *pieces[2] = {weight.pieces[0], weight.pieces[1]};
    prepare->prepare(pieces, weight.prepared, 0, kernel_panel16_panels(n));
    return weight;
}

void unit_weight_free(unit_weight *weight) {
    free(weight->values);
    free(weight->pieces[0]);
    free(weight->pieces[1]);
    free(weight->prepared);
    memset(weight, 0, sizeof *weight);
}
