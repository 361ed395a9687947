// kernel_ceilings: what this machine can do at best, measured in the same process as the kernels. Compiled for the machine.
#include "codegen/cpu/kernels/simd.h"
#include "tests/bench/kernel_run.h"

#if defined(__AVX512VNNI__) || defined(__AVX512BF16__)
#    include <immintrin.h>
#endif

enum { MAX_THREADS = 2, READ_BYTES = 256 << 20, READ_RUN = 4 << 20, STREAMS = 4, N_CHAINS = 12 };

static volatile float sink[MAX_THREADS * 16];

static void multiply_add(int32_t thread, void *user) {
    const int64_t rounds = *(const int64_t *)user;
    f32x16 sum[N_CHAINS];
    f32x16 a = simd_splat(1.0f + (float)thread), b = simd_splat(1e-9f);
    for (int i = 0; i < N_CHAINS; i++) sum[i] = simd_splat((float)i);
    for (int64_t round = 0; round < rounds; round++) {
        KERNEL_UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = simd_fma(a, b, sum[i]);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < N_CHAINS; i++) sum[0] += sum[i];
    sink[thread * 16] = simd_sum(sum[0]);
}

double unit_peak_flops(int32_t n_threads) {
    // Short runs, the best of many: a neighbour that takes the core then spoils some of them only.
    int64_t rounds = 40000;
    double best = 0;
    for (int attempt = 0; attempt < 50; attempt++) {
        const double start = unit_seconds();
        unit_parallel(multiply_add, &rounds, n_threads);
        const double rate = (double)(rounds * N_CHAINS * 32 * n_threads) / (unit_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

#ifdef __AVX512VNNI__
static void multiply_bytes(int32_t thread, void *user) {
    const int64_t rounds = *(const int64_t *)user;
    __m512i sum[N_CHAINS], a = _mm512_set1_epi32(thread), b = _mm512_set1_epi32(0x01020304);
    for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm512_set1_epi32(i);
    for (int64_t round = 0; round < rounds; round++) {
        KERNEL_UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < N_CHAINS; i++) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
    sink[thread * 16] = (float)_mm512_reduce_add_epi32(sum[0]);
}
#endif

double unit_peak_bytes(int32_t n_threads) {
    double best = 0;
#ifdef __AVX512VNNI__
    int64_t rounds = 40000;
    for (int attempt = 0; attempt < 50; attempt++) {
        const double start = unit_seconds();
        unit_parallel(multiply_bytes, &rounds, n_threads);
        const double rate =
            (double)(rounds * N_CHAINS * 128 * n_threads) / (unit_seconds() - start);
        best = rate > best ? rate : best;
    }
#else
    (void)n_threads;
#endif
    return best;
}

#ifdef __AVX512BF16__
static void multiply_pairs(int32_t thread, void *user) {
    const int64_t rounds = *(const int64_t *)user;
    __m512 sum[N_CHAINS];
    __m512i a = _mm512_set1_epi32(0x3f803f80 + thread), b = _mm512_set1_epi32(0x30003000);
    for (int i = 0; i < N_CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < rounds; round++) {
        KERNEL_UNROLL for (int i = 0; i < N_CHAINS; i++) sum[i] =
            _mm512_dpbf16_ps(sum[i], (__m512bh)a, (__m512bh)b);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < N_CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    sink[thread * 16] = _mm512_reduce_add_ps(sum[0]);
}
#endif

double unit_peak_pairs(int32_t n_threads) {
    double best = 0;
#ifdef __AVX512BF16__
    int64_t rounds = 40000;
    for (int attempt = 0; attempt < 50; attempt++) {
        const double start = unit_seconds();
        unit_parallel(multiply_pairs, &rounds, n_threads);
        const double rate = (double)(rounds * N_CHAINS * 64 * n_threads) / (unit_seconds() - start);
        best = rate > best ? rate : best;
    }
#else
    (void)n_threads;
#endif
    return best;
}

typedef struct read_run {
    const char *memory;
    size_t offset; // of this run in each thread's memory
} read_run;

static void read_streams(int32_t thread, void *user) {
    const read_run *run = user;
    const char *memory = run->memory + (size_t)thread * READ_BYTES + run->offset;
    const size_t stream = READ_RUN / STREAMS;
    u32x16 sum[STREAMS] = {0};
    for (size_t offset = 0; offset < stream; offset += 64) {
        KERNEL_UNROLL for (size_t s = 0; s < STREAMS; s++) {
            __builtin_prefetch(memory + s * stream + offset + 2048, 0, 3);
            sum[s] ^= simd_load_u32(memory + s * stream + offset);
        }
    }
    for (int s = 1; s < STREAMS; s++) sum[0] ^= sum[s];
    sink[thread * 16] = (float)sum[0][0];
}

double unit_peak_read(int32_t n_threads) {
    static read_run run;
    if (run.memory == NULL) run.memory = unit_alloc((size_t)READ_BYTES * MAX_THREADS);
    double best = 0;
    for (int attempt = 0; attempt < 40; attempt++) {
        run.offset = (run.offset + READ_RUN) % READ_BYTES;
        const double start = unit_seconds();
        unit_parallel(read_streams, &run, n_threads);
        const double rate = (double)READ_RUN * n_threads / (unit_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
