#include "dist/cli/run/ceiling.h"

#include "runtime/base/clock.h"
#include "runtime/base/threads.h"
#include "runtime/device/cpu_features.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

// Many short rounds, of which the best counts: a neighbour that takes the core then spoils some of them only.
enum { BUFFER_BYTES = 512 << 20, ROUND_BYTES = 32 << 20, N_ROUNDS = 32, MAX_THREADS = 1024 };
#define ROUND_S 0.001 // at least, of arithmetic

typedef struct measuring {
    mlcc_pool *pool;
    char *data;
    uint64_t sums[MAX_THREADS]; // keeps the work alive
    size_t
        round_offset; // of the bytes that this round reads: no cache keeps them until it is their turn again
    const ceiling_unit *unit;
    int64_t steps;
} measuring;

static double best_seconds(mlcc_pool_function *function, measuring *m, int n_rounds) {
    double best = 1e30;
    for (int round = 0; round < n_rounds; round++) {
        double start_s = mlcc_clock_s();
        mlcc_pool_run(m->pool, function, m);
        double seconds = mlcc_clock_s() - start_s;
        if (seconds < best) best = seconds;
        m->round_offset = (m->round_offset + ROUND_BYTES) % BUFFER_BYTES;
    }
    return best;
}

// ---- memory

// Clones are chosen before the thread sanitizer is awake.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
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
    size_t n_words = ROUND_BYTES / sizeof(uint64_t) / (size_t)n_threads / 32 * 32;
    const uint64_t *words = (const void *)(m->data + m->round_offset);
    m->sums[thread] += read_streams(words + (size_t)thread * n_words, n_words);
}

static void touch_part(void *arg, int32_t thread, int32_t n_threads) {
    measuring *m = arg;
    size_t part = BUFFER_BYTES / (size_t)n_threads;
    // As a number of bfloat16, two of these bytes are neither tiny nor huge.
    memset(m->data + (size_t)thread * part, 0x3c, part);
}

// ---- arithmetic

static void multiply_part(void *arg, int32_t thread, int32_t n_threads) {
    measuring *m = arg;
    (void)n_threads;
    const char *operands = m->data + (size_t)thread * CEILING_OPERAND_BYTES;
    m->sums[thread] += m->unit->loop(m->steps, operands);
}

static bool has_unit(const ceiling_unit *unit) {
    if (mlcc_cpu_missing(unit->features, NULL) > 0) return false;
    // Tiles that the system does not grant are no tiles.
    mlcc_status *refusal = mlcc_cpu_request(unit->features);
    mlcc_status_free(refusal);
    return refusal == NULL;
}

static double measure_unit(const ceiling_unit *unit, measuring *m) {
    m->unit = unit;
    m->steps = 1000;
    while (best_seconds(multiply_part, m, 4) < ROUND_S) m->steps *= 2;
    double operations =
        unit->operations_per_step * (double)m->steps * (double)mlcc_pool_size(m->pool);
    return operations / best_seconds(multiply_part, m, N_ROUNDS) * 1e-9;
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
    out->gb_per_s = (double)ROUND_BYTES / best_seconds(read_part, &m, N_ROUNDS) * 1e-9;
    _Static_assert(
        (size_t)MAX_THREADS * CEILING_OPERAND_BYTES <= BUFFER_BYTES,
        "operands of all threads lie in the buffer");
    for (size_t i = 0; i < n_ceiling_units; i++) {
        if (has_unit(&ceiling_units[i]))
            out->unit_gop_per_s[i] = measure_unit(&ceiling_units[i], &m);
    }
    munmap(buffer, BUFFER_BYTES);
    mlcc_peak_rss_restart(); // the buffer is no part of what the model needs
    mlcc_pool_free(m.pool);
    return NULL;
}

// ---- which one binds

// Every one of `wanted` is in `list`; both comma separated.
static bool holds_all(const char *list, const char *wanted) {
    while (*wanted != '\0') {
        const size_t length = strcspn(wanted, ",");
        const char *at = list;
        while (*at != '\0' && !(strcspn(at, ",") == length && strncmp(at, wanted, length) == 0)) {
            at += strcspn(at, ",");
            at += *at == ',';
        }
        if (*at == '\0') return false;
        wanted += length;
        wanted += *wanted == ',';
    }
    return true;
}

size_t ceiling_unit_for(
    const ceiling *machine, ceiling_arithmetic arithmetic, const char *features) {
    size_t best = n_ceiling_units;
    double best_rate = 0.0;
    for (size_t i = 0; i < n_ceiling_units; i++) {
        const ceiling_unit *unit = &ceiling_units[i];
        const bool fits = unit->arithmetic == arithmetic && holds_all(features, unit->features);
        if (!fits || machine->unit_gop_per_s[i] <= best_rate) continue;
        best = i;
        best_rate = machine->unit_gop_per_s[i];
    }
    if (best < n_ceiling_units) return best;
    return arithmetic == CEILING_F32 ? 0 : ceiling_unit_for(machine, CEILING_F32, features);
}
