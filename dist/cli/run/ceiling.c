#include "dist/cli/run/ceiling.h"

#include "runtime/base/clock.h"
#include "runtime/base/threads.h"

#include <string.h>
#include <sys/mman.h>

enum { BUFFER_BYTES = 512 << 20, N_ROUNDS = 5, N_CHAINS = 16, FMA_STEPS = 2000000 };

typedef struct measuring {
    mlcc_pool *pool;
    const uint64_t *data;
    uint64_t sums[1024]; // keeps the reads alive
    float products[1024];
} measuring;

#if defined(__x86_64__)
#    define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#    define CLONES
#endif

// Four streams per thread: one sequential stream leaves a third of the bandwidth unused.
CLONES static uint64_t read_streams(const uint64_t *data, size_t n_words) {
    size_t quarter = n_words / 4;
    uint64_t sum[32] = {0};
    for (size_t i = 0; i + 8 <= quarter; i += 8) {
        for (size_t s = 0; s < 4; s++) {
            for (size_t k = 0; k < 8; k++) sum[s * 8 + k] += data[s * quarter + i + k];
        }
    }
    uint64_t total = 0;
    for (size_t i = 0; i < 32; i++) total += sum[i];
    return total;
}

static void read_part(void *arg, int32_t thread, int32_t n_threads) {
    measuring *m = arg;
    size_t n_words = BUFFER_BYTES / sizeof(uint64_t) / (size_t)n_threads / 32 * 32;
    m->sums[thread] += read_streams(m->data + (size_t)thread * n_words, n_words);
}

static void touch_part(void *arg, int32_t thread, int32_t n_threads) {
    measuring *m = arg;
    size_t part = BUFFER_BYTES / (size_t)n_threads;
    union {
        const uint64_t *read;
        char *write;
    } data = {.read = m->data};
    memset(data.write + (size_t)thread * part, thread + 1, part);
}

#if defined(__x86_64__)
#    include <immintrin.h>
__attribute__((target("avx512f"))) static float multiply_avx512(float start) {
    __m512 x[N_CHAINS], a = _mm512_set1_ps(0.999999f), b = _mm512_set1_ps(1e-6f);
    for (int i = 0; i < N_CHAINS; i++) x[i] = _mm512_set1_ps(start + (float)i);
    for (int step = 0; step < FMA_STEPS; step++) {
        for (int i = 0; i < N_CHAINS; i++) x[i] = _mm512_fmadd_ps(x[i], a, b);
    }
    float sum = 0.0f;
    for (int i = 0; i < N_CHAINS; i++) sum += _mm512_cvtss_f32(x[i]);
    return sum;
}
__attribute__((target("avx2,fma"))) static float multiply_avx2(float start) {
    __m256 x[N_CHAINS / 2 + 4], a = _mm256_set1_ps(0.999999f), b = _mm256_set1_ps(1e-6f);
    for (int i = 0; i < N_CHAINS / 2 + 4; i++) x[i] = _mm256_set1_ps(start + (float)i);
    for (int step = 0; step < FMA_STEPS; step++) {
        for (int i = 0; i < N_CHAINS / 2 + 4; i++) x[i] = _mm256_fmadd_ps(x[i], a, b);
    }
    float sum = 0.0f;
    for (int i = 0; i < N_CHAINS / 2 + 4; i++) sum += _mm256_cvtss_f32(x[i]);
    return sum;
}
#endif

static float multiply_portable(float start) {
    float x[64];
    for (int i = 0; i < 64; i++) x[i] = start + (float)i;
    for (int step = 0; step < FMA_STEPS / 4; step++) {
        for (int i = 0; i < 64; i++) x[i] = x[i] * 0.999999f + 1e-6f;
    }
    float sum = 0.0f;
    for (int i = 0; i < 64; i++) sum += x[i];
    return sum;
}

// Operations of one call of the variant that this machine runs.
static double multiply(float start, float *result) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        *result = multiply_avx512(start);
        return 2.0 * 16 * (double)N_CHAINS * (double)FMA_STEPS;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        *result = multiply_avx2(start);
        return 2.0 * 8 * (double)(N_CHAINS / 2 + 4) * (double)FMA_STEPS;
    }
#endif
    *result = multiply_portable(start);
    return 2.0 * 64 * (FMA_STEPS / 4);
}

static void multiply_part(void *arg, int32_t thread, int32_t n_threads) {
    measuring *m = arg;
    (void)n_threads;
    (void)multiply((float)thread, &m->products[thread]);
}

static double best_seconds(mlcc_pool *pool, mlcc_pool_function *function, measuring *m) {
    double best = 1e30;
    for (int round = 0; round < N_ROUNDS; round++) {
        double start_s = mlcc_clock_s();
        mlcc_pool_run(pool, function, m);
        double seconds = mlcc_clock_s() - start_s;
        if (seconds < best) best = seconds;
    }
    return best;
}

mlcc_status *ceiling_measure(int32_t n_threads, ceiling *out) {
    static measuring m;
    memset(&m, 0, sizeof m);
    *out = (ceiling){0};
    MLCC_TRY(mlcc_pool_create(n_threads, &m.pool));
    void *buffer =
        mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        mlcc_pool_free(m.pool);
        return MLCC_ERROR(
            NO_MEMORY, "no room for %d bytes to measure the memory with", BUFFER_BYTES);
    }
    madvise(buffer, BUFFER_BYTES, MADV_HUGEPAGE);
    m.data = buffer;
    mlcc_pool_run(m.pool, touch_part, &m);
    out->gb_per_s = (double)BUFFER_BYTES / best_seconds(m.pool, read_part, &m) * 1e-9;
    munmap(buffer, BUFFER_BYTES);
    float ignored;
    double operations = multiply(1.0f, &ignored) * mlcc_pool_size(m.pool);
    out->gflop_per_s = operations / best_seconds(m.pool, multiply_part, &m) * 1e-9;
    mlcc_pool_free(m.pool);
    return NULL;
}
