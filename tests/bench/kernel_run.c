// kernel_run: see the header.
#include "tests/bench/kernel_run.h"

#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/panel16.h"
#include "runtime/base/threads.h"
#include "runtime/device/cpu_features.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__aarch64__)
#    include <sys/auxv.h>
#endif

enum { MAX_THREADS = 8, SCRATCH_BYTES = 1 << 20, SHARED_BYTES = 4 << 20 };

int64_t kernel_unit_knobs[UNIT_N_KNOBS] = {
#define KNOB(name, kernels, fallback, candidates, meaning) fallback,
#include "codegen/cpu/knobs.def"
};

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
    return ir_dtype_get((ir_dtype)dtype)->text;
}

bool unit_runs_here(const char *variant) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(variant, "x86_avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(variant, "x86_avxvnni") == 0) return __builtin_cpu_supports("avxvnni");
    if (strcmp(variant, "x86_amx") == 0) {
        static const char needs[] = "amx-bf16,amx-int8,amx-tile,avx512bw,avx512vl,avx512vnni";
        if (mlcc_cpu_missing(needs, NULL) > 0) return false;
        mlcc_status *refusal = mlcc_cpu_request(needs);
        const bool is_granted = refusal == NULL;
        mlcc_status_free(refusal);
        return is_granted;
    }
    if (strcmp(variant, "x86_avx512bf16") == 0)
        return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl");
    if (strcmp(variant, "x86_avx512vnni") == 0 && !__builtin_cpu_supports("avx512vnni"))
        return false;
    if (strcmp(variant, "x86_avx512") == 0 || strcmp(variant, "x86_avx512vnni") == 0)
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    if (strcmp(variant, "arm_dotprod") == 0) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    if (strcmp(variant, "arm_i8mm") == 0) return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
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

// One part of a launch.
typedef struct launch {
    void (*part)(const kernel_env *env, int64_t begin, int64_t end);
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
        run->part(&env, begin, end < run->n_items ? end : run->n_items);
    }
}

void unit_launch(const kernel_unit *unit, const kernel_env *env, int32_t n_threads) {
    kernel_env shared = *env;
    if (unit->finish != NULL) {
        static void *memory;
        if (memory == NULL) memory = unit_alloc(SHARED_BYTES);
        shared.shared = memory;
        shared.shared_bytes = SHARED_BYTES;
    }
    launch run = {
        .part = unit->run,
        .env = &shared,
        .n_items = unit->items(&shared),
        .chunk = unit->chunk(&shared, n_threads)};
    unit_parallel(launch_thread, &run, n_threads);
    const int64_t n_left = unit->finish != NULL ? unit->finish_items(&shared, n_threads) : 0;
    if (n_left == 0) return;
    launch second = {.part = unit->finish, .env = &shared, .n_items = n_left, .chunk = 1};
    unit_parallel(launch_thread, &second, n_threads);
}

// ---- weights ---------------------------------------------------------------------------------------------------------------

static void must(mlcc_status *status) {
    if (status == NULL) return;
    fprintf(stderr, "%s\n", mlcc_status_message(status));
    exit(1);
}

static ir_type type_of(int32_t dtype, int64_t n, int64_t k) {
    return ir_type_matrix((ir_dtype)dtype, ir_dim_const(n), ir_dim_const(k));
}

bool unit_weight_fits(int32_t dtype, int64_t n, int64_t k) {
    const ir_type type = type_of(dtype, n, k);
    return quant_format_accepts(quant_format_of((ir_dtype)dtype), &type);
}

// Stores random rows and, where the caller wants it, reads them back.
static void fill(unit_weight *weight, uint64_t seed) {
    const quant_format *format = quant_format_of((ir_dtype)weight->dtype);
    const ir_type type = type_of(weight->dtype, weight->n, weight->k);
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    must(format->pieces(&type, pieces, &n_pieces));
    for (int32_t i = 0; i < n_pieces; i++) weight->pieces[i] = unit_alloc(pieces[i].size_bytes);
    float *source = unit_alloc((size_t)(weight->n * weight->k) * 4);
    for (int64_t i = 0; i < weight->n * weight->k; i++) source[i] = unit_random(&seed);
    const quant_range range = quant_range_all(weight->n, weight->k);
    const float largest =
        format->measure != NULL ? format->measure(source, IR_F32, weight->n, weight->k) : 0.0f;
    format->encode(source, IR_F32, &range, largest, weight->pieces);
    free(source);
    if (weight->values == NULL) return;
    const void *stored[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < n_pieces; i++) stored[i] = weight->pieces[i];
    format->decode(stored, &range, weight->values);
}

unit_weight unit_weight_make(int32_t dtype, int64_t n, int64_t k, uint64_t seed, bool with_values) {
    unit_weight weight = {.dtype = dtype, .n = n, .k = k};
    if (with_values) weight.values = unit_alloc((size_t)(n * k) * 4);
    fill(&weight, seed);
    if (!kernel_panel16_size(dtype, n, k, &weight.prepared_bytes)) exit(1);
    weight.prepared = unit_alloc((size_t)weight.prepared_bytes);
    const kernel_unit *prepare = unit_find("prepare_panel16", "portable", dtype);
    prepare->prepare_shape(n, k);
    const void *pieces[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < QUANT_MAX_PIECES; i++) pieces[i] = weight.pieces[i];
    prepare->prepare(NULL, pieces, weight.prepared, 0, kernel_panel16_panels(n));
    return weight;
}

void unit_weight_free(unit_weight *weight) {
    free(weight->values);
    for (int32_t i = 0; i < QUANT_MAX_PIECES; i++) free(weight->pieces[i]);
    free(weight->prepared);
    memset(weight, 0, sizeof *weight);
}
