#include "codegen/cpu/tune_bench.h"

#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/kernels/panel16.h"
#include "runtime/base/clock.h"
#include "runtime/base/threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Of all copies of a weight together, at least and at most; a weight above the limit is not timed.
enum { LEAST_WEIGHTS_MIB = 96, MOST_WEIGHTS_MIB = 512 };
enum { MAX_ROUNDS = 256, LEAST_ROUNDS = 7 };
// Of one function with one number of rows.
static const double slice_s = 0.03;
static const int64_t rows_of[CPU_TUNE_ROWS] = {1, 8, 128};

struct tune_bench {
    mlcc_pool *pool;
    int32_t n_threads;
    // The open instance.
    void **memory; // inputs, then results that are not in place
    size_t n_memory;
    size_t weight; // index of the weight in memory
    char *weights;
    int64_t weight_bytes, n_copies, copy;
    int64_t *symbols, *bounds;
    size_t n_symbols;
    char *scratch;
    size_t scratch_bytes; // of one thread
    // The launch.
    emit_llvm_trial *function;
    int32_t counter;
};

mlcc_status *tune_bench_create(tune_bench **out) {
    *out = NULL;
    tune_bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL) return MLCC_ERROR(NO_MEMORY, "no memory to time kernels");
    mlcc_status *status = mlcc_pool_create(0, &bench->pool);
    if (status != NULL) {
        free(bench);
        return status;
    }
    bench->n_threads = mlcc_pool_size(bench->pool);
    *out = bench;
    return NULL;
}

int32_t tune_bench_threads(const tune_bench *bench) {
    return bench->n_threads;
}

void tune_bench_close(tune_bench *bench) {
    for (size_t i = 0; i < bench->n_memory; i++) {
        if (i != bench->weight) free(bench->memory[i]);
    }
    free(bench->memory);
    free(bench->weights);
    free(bench->symbols);
    free(bench->bounds);
    free(bench->scratch);
    *bench = (tune_bench){.pool = bench->pool, .n_threads = bench->n_threads};
}

void tune_bench_free(tune_bench *bench) {
    if (bench == NULL) return;
    mlcc_pool_free(bench->pool);
    free(bench);
}

// ---- operands -----------------------------------------------------------------------------------------

static void *allocate(size_t size_bytes, size_t alignment) {
    size_t rounded = 0;
    if (!mlcc_size_add(size_bytes > 0 ? size_bytes : 1, alignment - 1, &rounded)) return NULL;
    return aligned_alloc(alignment, rounded / alignment * alignment);
}

// Floats of any format are ordinary numbers with these bytes, codes too; what may be an index is 0.
static void *make_tensor(const ir_type *type) {
    int64_t size_bytes = 0;
    if (!ir_type_bound_bytes(type, &size_bytes)) return NULL;
    void *data = allocate((size_t)size_bytes, 64);
    const bool is_index = type->dtype == IR_I32 || type->dtype == IR_U32 || type->dtype == IR_I64;
    if (data != NULL) memset(data, is_index ? 0 : 0x3c, (size_t)size_bytes);
    return data;
}

// Many copies side by side, on huge pages where the system grants them, as the weights of a model are.
static bool make_weights(tune_bench *bench, const ir_type *type) {
    const int64_t mib = 1 << 20;
    if (!kernel_panel16_size(
            (int32_t)type->dtype, type->dims[0].value, type->dims[1].value, &bench->weight_bytes) ||
        bench->weight_bytes <= 0 || bench->weight_bytes > MOST_WEIGHTS_MIB * mib)
        return false;
    const long cache_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    int64_t wanted = cache_bytes > 0 ? 3 * (int64_t)cache_bytes : 0;
    if (wanted < LEAST_WEIGHTS_MIB * mib) wanted = LEAST_WEIGHTS_MIB * mib;
    if (wanted > MOST_WEIGHTS_MIB * mib) wanted = MOST_WEIGHTS_MIB * mib;
    bench->n_copies = (wanted + bench->weight_bytes - 1) / bench->weight_bytes;
    const size_t all = (size_t)(bench->n_copies * bench->weight_bytes);
    bench->weights = allocate(all, 2u << 20);
    if (bench->weights == NULL) return false;
    (void)madvise(bench->weights, all, MADV_HUGEPAGE);
    memset(bench->weights, 0x3c, all);
    return true;
}

static bool make_symbols(tune_bench *bench, const ir_module *module) {
    bench->n_symbols = module->n_symbols;
    bench->symbols = calloc(module->n_symbols + 1, sizeof *bench->symbols);
    bench->bounds = calloc(module->n_symbols + 1, sizeof *bench->bounds);
    if (bench->symbols == NULL || bench->bounds == NULL) return false;
    for (size_t i = 0; i < module->n_symbols; i++) bench->bounds[i] = module->symbols[i]->bound;
    return true;
}

static bool make_scratch(tune_bench *bench, const kernel_row *row, const ir_function *group) {
    const int64_t wish = row->scratch_bytes != NULL ? row->scratch_bytes(group) : 0;
    bench->scratch_bytes = ((size_t)wish + 4095) / 4096 * 4096 + 64; // threads in other cache sets
    bench->scratch = allocate(bench->scratch_bytes * (size_t)bench->n_threads, 4096);
    return bench->scratch != NULL;
}

static bool make_operands(tune_bench *bench, const codegen_instance *instance) {
    const ir_value *weight = codegen_group_anchor(instance->group)->operands[1];
    const size_t n = (size_t)instance->n_inputs + (size_t)instance->group->n_returns;
    bench->memory = calloc(n + 1, sizeof *bench->memory);
    bench->weight = SIZE_MAX;
    if (bench->memory == NULL) return false;
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        const size_t at = bench->n_memory++;
        if (instance->inputs[i] == weight) {
            bench->weight = at;
            if (!make_weights(bench, &weight->type)) return false;
        } else {
            bench->memory[at] = make_tensor(&instance->inputs[i]->type);
            if (bench->memory[at] == NULL) return false;
        }
    }
    for (int32_t r = 0; r < instance->group->n_returns; r++) {
        if (instance->in_place[r] >= 0) continue;
        const size_t at = bench->n_memory++;
        bench->memory[at] = make_tensor(&instance->group->returns[r]->type);
        if (bench->memory[at] == NULL) return false;
    }
    return bench->weight != SIZE_MAX;
}

bool tune_bench_open(
    tune_bench *bench, const codegen_artifact *artifact, int32_t index, const kernel_row *row) {
    const codegen_instance *instance = &artifact->instances[index];
    if (make_symbols(bench, artifact->module) && make_scratch(bench, row, instance->group) &&
        make_operands(bench, instance))
        return true;
    tune_bench_close(bench);
    return false;
}

// ---- timing -------------------------------------------------------------------------------------------

static void run_thread(void *user, int32_t thread, int32_t n_threads) {
    tune_bench *bench = user;
    bench->function(
        bench->memory, bench->symbols, bench->scratch + (size_t)thread * bench->scratch_bytes,
        &bench->counter, n_threads);
}

static double launch_us(tune_bench *bench, emit_llvm_trial *function) {
    bench->memory[bench->weight] = bench->weights + bench->copy * bench->weight_bytes;
    bench->copy = (bench->copy + 1) % bench->n_copies;
    bench->counter = 0;
    bench->function = function;
    const double start_s = mlcc_clock_s();
    mlcc_pool_run(bench->pool, run_thread, bench);
    const double us = (mlcc_clock_s() - start_s) * 1e6;
    return us > 1e-3 ? us : 1e-3;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile_of(double *values, int32_t n, double quantile) {
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return values[(int32_t)(n * quantile)];
}

static void time_rows(
    tune_bench *bench, emit_llvm_trial *const *functions, int32_t n, int32_t base, int32_t rows,
    tune_times *out) {
    double times[CPU_KNOB_MAX_CANDIDATES][MAX_ROUNDS], gains[MAX_ROUNDS];
    for (size_t i = 0; i < bench->n_symbols; i++)
        bench->symbols[i] = rows_of[rows] < bench->bounds[i] ? rows_of[rows] : bench->bounds[i];
    const double end_s = mlcc_clock_s() + slice_s * n;
    for (int32_t i = 0; i < n; i++) launch_us(bench, functions[i]); // pages, code, caches
    int32_t n_rounds = 0;
    while (n_rounds < MAX_ROUNDS && (n_rounds < LEAST_ROUNDS || mlcc_clock_s() < end_s)) {
        for (int32_t i = 0; i < n; i++) {
            const int32_t which = (i + n_rounds) % n; // nobody always follows the same
            times[which][n_rounds] = launch_us(bench, functions[which]);
        }
        n_rounds++;
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t r = 0; r < n_rounds; r++) gains[r] = log(times[base][r] / times[i][r]);
        out[i].gain[rows] = quantile_of(gains, n_rounds, 0.5);
    }
    for (int32_t i = 0; i < n; i++) out[i].us[rows] = quantile_of(times[i], n_rounds, 0.1);
}

void tune_bench_time(
    tune_bench *bench, emit_llvm_trial *const *functions, int32_t n, int32_t base,
    tune_times *times) {
    for (int32_t rows = 0; rows < CPU_TUNE_ROWS; rows++)
        time_rows(bench, functions, n, base, rows, times);
}
