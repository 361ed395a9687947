#include "tests/bench/cuda_bench_run.h"

#include "codegen/cuda/emit_cuda.h"
#include "runtime/base/clock.h"
#include "tests/support/cuda_direct.h"

#include <dlfcn.h>

typedef mlcc_cu_result elapsed_function(float *ms, mlcc_cu_event *begin, mlcc_cu_event *end);

enum { PATTERN_BYTES = 8 << 20, N_ROUNDS = 5, MAX_RUNS = 400, WARM_RUNS = 4 };

struct bench_module {
    mlcc_arena *keep;
    ir_module *module;
    const ir_function *forward;
    codegen_artifact *artifact;
    const cuda_kernel_row **rows;
    mlcc_str *sources;
    cuda_direct *direct;
    mlcc_memory *args, *results;
    void **arg_addresses, **result_addresses;
    int64_t *dims;
};

// ---- planning -----------------------------------------------------------------------------------------

static bool is_for(const cuda_kernel_row *row, const ir_function *group, mlcc_arena *keep) {
    const char *why = NULL;
    const cuda_direct_machine *m = cuda_direct_machine_get(&why);
    if (m == NULL || cuda_direct_arch(m, row, keep) == NULL) return false;
    // PTX for a device that NVRTC does not know: the rows of the oldest.
    if (!m->has_cubins && row->min_arch > 80) return false;
    return row->refuses == NULL || row->refuses(group) == NULL;
}

// The last row that the device can run: what a library compiled for it would use.
static mlcc_status *choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    (void)why;
    size_t n_rows = 0;
    const cuda_kernel_row *table = cuda_kernel_table(&n_rows);
    const ir_node *anchor = codegen_group_anchor(group);
    *kernel = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        const bool is_same = table[i].op == (anchor != NULL ? anchor->op : IR_N_OPS);
        if (is_same && is_for(&table[i], group, user)) *kernel = table[i].name;
    }
    return *kernel != NULL ? NULL : MLCC_ERROR(INTERNAL, "no kernel for '%s'", group->name);
}

static const char *choose_layout(void *user, ir_op op, int32_t operand, const ir_type *type) {
    (void)user;
    return cuda_layout_choose(op, operand, type);
}

static bool takes_codes(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)user;
    return cuda_takes_codes(weight, mantissa_bits, group);
}

static void plan(bench_module *m) {
    mlcc_arena *scratch = mlcc_arena_create();
    const pass_target target = {
        .user = m->keep,
        .choose_kernel = choose_kernel,
        .choose_layout = choose_layout,
        .takes_codes = takes_codes};
    pass_context context = {.scratch = scratch, .target = &target};
    const pass_options options = {.limit = -1};
    assert_ok(pass_pipeline_run(m->module, &options, &context));
    mlcc_arena_free(scratch);
    assert_ok(codegen_artifact_build(m->module, m->keep, &m->artifact));
    m->forward = ir_module_find(m->module, "forward");
    const size_t n = (size_t)m->artifact->n_instances;
    m->rows = MLCC_NEW_ARRAY(m->keep, const cuda_kernel_row *, n + 1);
    m->sources = MLCC_NEW_ARRAY(m->keep, mlcc_str, n + 1);
    for (size_t i = 0; i < n; i++) {
        m->rows[i] = cuda_kernel_find(m->artifact->instances[i].kernel);
        assert_ok(emit_cuda_source(&m->artifact->instances[i], m->rows[i], &m->sources[i]));
    }
}

// ---- memory -------------------------------------------------------------------------------------------

// Random bits, arranged so that they are small numbers when read as f16, and no NaN as anything.
static const uint16_t *pattern(void) {
    static uint16_t *words;
    if (words != NULL) return words;
    words = malloc(PATTERN_BYTES);
    assert_non_null(words);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < PATTERN_BYTES / sizeof *words; i++) {
        state ^= state << 13; // G. Marsaglia's xorshift
        state ^= state >> 7;
        state ^= state << 17;
        words[i] = (uint16_t)((state >> 32 & 0x83ff) | 0x2000);
    }
    return words;
}

static void fill(bench_module *m, const mlcc_memory *memory) {
    const char *source = (const char *)pattern();
    for (size_t at = 0; at < memory->size_bytes; at += PATTERN_BYTES) {
        const size_t left_bytes = memory->size_bytes - at;
        assert_ok(mlcc_device_upload(
            m->direct->device, memory, at, source,
            left_bytes < PATTERN_BYTES ? left_bytes : PATTERN_BYTES));
    }
}

static mlcc_memory allocate(bench_module *m, const ir_type *type) {
    int64_t size_bytes = 0;
    mlcc_memory memory;
    assert_true(ir_type_bound_bytes(type, &size_bytes));
    assert_ok(mlcc_device_alloc(m->direct->device, (size_t)size_bytes, "a tensor", &memory));
    if (type->dtype != IR_I32) fill(m, &memory);
    return memory;
}

static void allocate_all(bench_module *m) {
    const codegen_function *function = m->direct->function;
    const size_t n_args = (size_t)m->forward->n_args, n_results = (size_t)function->n_results;
    m->args = MLCC_NEW_ARRAY(m->keep, mlcc_memory, n_args + 1);
    m->results = MLCC_NEW_ARRAY(m->keep, mlcc_memory, n_results + 1);
    m->arg_addresses = MLCC_NEW_ARRAY(m->keep, void *, n_args + 1);
    m->result_addresses = MLCC_NEW_ARRAY(m->keep, void *, n_results + 1);
    m->dims = MLCC_NEW_ARRAY(m->keep, int64_t, m->module->n_symbols + 1);
    for (size_t i = 0; i < m->module->n_symbols; i++) m->dims[i] = m->module->symbols[i]->bound;
    for (size_t i = 0; i < m->module->n_params; i++) fill(m, &m->direct->params[i]);
    for (size_t i = 0; i < n_args; i++) {
        m->args[i] = allocate(m, &m->forward->args[i]->type);
        m->arg_addresses[i] = m->args[i].address;
    }
    for (size_t i = 0; i < n_results; i++) {
        m->results[i] = allocate(m, &m->forward->returns[function->results[i]]->type);
        m->result_addresses[i] = m->results[i].address;
    }
    assert_ok(mlcc_device_end_uploads(m->direct->device));
}

// ---- life ---------------------------------------------------------------------------------------------

bool bench_device_get(bench_device *out, const char **why) {
    const cuda_direct_machine *m = cuda_direct_machine_get(why);
    if (m == NULL) return false;
    snprintf(out->name, sizeof out->name, "%.95s", m->name);
    out->capability = m->capability;
    return true;
}

bench_module *bench_module_open(const char *text, const char **why) {
    mlcc_arena *keep = mlcc_arena_create();
    bench_module *m = MLCC_NEW(keep, bench_module);
    m->keep = keep;
    m->module = compile_parse(text, keep);
    plan(m);
    m->direct = cuda_direct_open(m->artifact, m->forward, m->rows, m->sources, keep, why);
    if (m->direct == NULL) {
        bench_module_close(m);
        return NULL;
    }
    allocate_all(m);
    return m;
}

void bench_module_close(bench_module *m) {
    for (int32_t i = 0; m->args != NULL && i < m->forward->n_args; i++)
        mlcc_device_free(m->direct->device, &m->args[i]);
    for (int32_t i = 0; m->results != NULL && i < m->direct->function->n_results; i++)
        mlcc_device_free(m->direct->device, &m->results[i]);
    cuda_direct_close(m->direct);
    for (int32_t i = 0; i < m->artifact->n_instances; i++) mlcc_str_free(&m->sources[i]);
    mlcc_arena_free(m->keep);
}

void bench_module_compile(const char *text) {
    mlcc_arena *keep = mlcc_arena_create();
    bench_module m = {.keep = keep, .module = compile_parse(text, keep)};
    plan(&m);
    cuda_direct direct = {.artifact = m.artifact, .rows = m.rows, .keep = keep};
    const char *why = NULL;
    (void)cuda_direct_compile(&direct, cuda_direct_machine_get(NULL), m.sources, &why);
    for (int32_t i = 0; i < m.artifact->n_instances; i++) mlcc_str_free(&m.sources[i]);
    mlcc_arena_free(keep);
}

const char *bench_module_kernels(const bench_module *m) {
    const char *names = "";
    for (int32_t i = 0; i < m->artifact->n_instances; i++) {
        const char *name = m->rows[i]->name;
        if (strstr(names, name) != NULL) continue;
        names = mlcc_arena_printf(m->keep, "%s%s%s", names, *names != '\0' ? "," : "", name);
    }
    return names;
}

void bench_module_set(bench_module *m, const char *symbol, int64_t value) {
    for (size_t i = 0; i < m->module->n_symbols; i++) {
        if (strcmp(m->module->symbols[i]->name, symbol) != 0) continue;
        assert_in_range(value, 1, m->module->symbols[i]->bound);
        m->dims[i] = value;
        return;
    }
    fail_msg("there is no symbol '%s'", symbol);
}

void bench_module_give_ints(
    bench_module *m, const char *arg, const int32_t *values, size_t n_values) {
    for (int32_t i = 0; i < m->forward->n_args; i++) {
        if (strcmp(m->forward->args[i]->name, arg) != 0) continue;
        assert_true(n_values * sizeof *values <= m->args[i].size_bytes);
        assert_ok(mlcc_device_upload(
            m->direct->device, &m->args[i], 0, values, n_values * sizeof *values));
        assert_ok(mlcc_device_end_uploads(m->direct->device));
        return;
    }
    fail_msg("there is no argument '%s'", arg);
}

// ---- timing -------------------------------------------------------------------------------------------

typedef struct stopwatch {
    mlcc_cuda_device *device;
    elapsed_function *elapsed; // NULL: the host's clock
    mlcc_cu_event *begin, *end;
    double start_s;
} stopwatch;

static stopwatch stopwatch_make(mlcc_cuda_device *device) {
    stopwatch w = {.device = device};
    void *found = dlsym(device->driver.library, "cuEventElapsedTime");
    memcpy(&w.elapsed, &found, sizeof w.elapsed);
    if (w.elapsed == NULL) return w;
    assert_int_equal(device->driver.event_create(&w.begin, 0), MLCC_CU_SUCCESS);
    assert_int_equal(device->driver.event_create(&w.end, 0), MLCC_CU_SUCCESS);
    return w;
}

static void stopwatch_start(stopwatch *w) {
    w->start_s = mlcc_clock_s();
    if (w->elapsed == NULL) return;
    assert_int_equal(w->device->driver.event_record(w->begin, w->device->stream), MLCC_CU_SUCCESS);
}

static double stopwatch_stop_ms(stopwatch *w) {
    const mlcc_cuda_driver *driver = &w->device->driver;
    float ms = 0.0f;
    if (w->elapsed != NULL)
        assert_int_equal(driver->event_record(w->end, w->device->stream), MLCC_CU_SUCCESS);
    assert_int_equal(driver->stream_synchronize(w->device->stream), MLCC_CU_SUCCESS);
    if (w->elapsed == NULL) return (mlcc_clock_s() - w->start_s) * 1e3;
    assert_int_equal(w->elapsed(&ms, w->begin, w->end), MLCC_CU_SUCCESS);
    return (double)ms;
}

static void stopwatch_free(stopwatch *w) {
    if (w->begin != NULL) (void)w->device->driver.event_destroy(w->begin);
    if (w->end != NULL) (void)w->device->driver.event_destroy(w->end);
}

static double time_runs(bench_module *m, stopwatch *w, int n_runs) {
    stopwatch_start(w);
    for (int i = 0; i < n_runs; i++) {
        assert_ok(
            mlcc_runner_run(m->direct->runner, m->arg_addresses, m->result_addresses, m->dims));
    }
    return stopwatch_stop_ms(w) / n_runs;
}

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

void bench_module_time(bench_module *m, double round_ms, bench_timing *out) {
    mlcc_cuda_device *device = (mlcc_cuda_device *)m->direct->device;
    double rounds[N_ROUNDS];
    assert_ok(mlcc_cuda_enter(device));
    stopwatch w = stopwatch_make(device);
    if (round_ms > 0.0) (void)time_runs(m, &w, WARM_RUNS);
    const double one_ms = time_runs(m, &w, 1);
    int n_runs = one_ms > 0.0 ? (int)(round_ms / one_ms) : MAX_RUNS;
    n_runs = n_runs < 1 ? 1 : n_runs > MAX_RUNS ? MAX_RUNS : n_runs;
    const int n_rounds = round_ms > 0.0 ? N_ROUNDS : 1;
    for (int i = 0; i < n_rounds; i++) rounds[i] = time_runs(m, &w, n_runs);
    stopwatch_free(&w);
    mlcc_cuda_leave(device);
    qsort(rounds, (size_t)n_rounds, sizeof *rounds, by_value);
    const double median = rounds[n_rounds / 2];
    *out =
        (bench_timing){.us = median * 1e3, .spread = (rounds[n_rounds - 1] - rounds[0]) / median};
}

// ---- ceilings -----------------------------------------------------------------------------------------

typedef struct ceiling_run {
    const cuda_direct_machine *machine;
    mlcc_cuda_device *device; // of a module that is open, for its stream
    mlcc_cu_module *module;
    int n_multiprocessors;
} ceiling_run;

// One launch of `name`, five times; the fastest.
static double time_kernel(
    const ceiling_run *c, const char *name, unsigned n_blocks, unsigned n_threads,
    uint64_t words[3]) {
    const mlcc_cuda_driver *driver = &c->device->driver;
    mlcc_cu_function *function = NULL;
    double best_ms = 0.0;
    assert_int_equal(driver->module_get_function(&function, c->module, name), MLCC_CU_SUCCESS);
    stopwatch w = stopwatch_make(c->device);
    for (int i = 0; i < 6; i++) {
        void *arguments[] = {&words[0], &words[1], &words[2]};
        stopwatch_start(&w);
        assert_int_equal(
            driver->launch_kernel(
                function, n_blocks, 1, 1, n_threads, 1, 1, 0, c->device->stream, arguments, NULL),
            MLCC_CU_SUCCESS);
        const double ms = stopwatch_stop_ms(&w);
        if (i == 1 || (i > 1 && ms < best_ms)) best_ms = ms;
    }
    stopwatch_free(&w);
    return best_ms;
}

static void run_ceilings(ceiling_run *c, bool is_quick, bench_ceilings *out) {
    enum { N_THREADS = 256, N_SUMS = 8, WARPS = N_THREADS / 32 };
    const mlcc_cuda_driver *driver = &c->device->driver;
    const uint64_t size_bytes = is_quick ? 1 << 16 : (uint64_t)2 << 30;
    const uint64_t n_steps = is_quick ? 4 : 20000;
    const unsigned n_blocks = is_quick ? 2 : (unsigned)c->n_multiprocessors * 4;
    mlcc_cu_address data = 0, result = 0;
    assert_int_equal(driver->mem_alloc(&data, size_bytes), MLCC_CU_SUCCESS);
    assert_int_equal(driver->mem_alloc(&result, n_blocks * N_THREADS * 4ul), MLCC_CU_SUCCESS);
    assert_int_equal(
        driver->memset_d8_async(data, 0x2c, size_bytes, c->device->stream), MLCC_CU_SUCCESS);
    double ms = time_kernel(
        c, "read_all", n_blocks * (is_quick ? 1 : 4), N_THREADS,
        (uint64_t[]){data, size_bytes / 16, result});
    out->read_gb_per_s = (double)size_bytes / ms * 1e-6;
    ms = time_kernel(c, "multiply", n_blocks, N_THREADS, (uint64_t[]){n_steps, 0, result});
    const double flop =
        2.0 * 16 * 8 * 16 * (double)N_SUMS * (double)n_steps * (double)WARPS * n_blocks;
    out->mma_tflop_per_s = flop / ms * 1e-9;
    (void)driver->mem_free(data);
    (void)driver->mem_free(result);
}

void bench_ceilings_measure(bool is_quick, bench_ceilings *out) {
    static const char text[] = "module @m level=graph\nsymbol n_tokens <= 1\n"
                               "func @forward(%x: f32[n_tokens, 4]) {\n  %0 = relu %x : "
                               "f32[n_tokens, 4]\n  return %0\n}\n";
    *out = (bench_ceilings){0};
    ceiling_run c = {.machine = cuda_direct_machine_get(NULL)};
    bench_module *m = bench_module_open(text, NULL);
    assert_non_null(m);
    c.device = (mlcc_cuda_device *)m->direct->device;
    char *source = NULL;
    size_t source_bytes = 0;
    assert_ok(mlcc_file_read("tests/bench/cuda_ceilings.cu", 1 << 20, &source, &source_bytes));
    nvrtc_output output = {0};
    const char *arch = mlcc_arena_printf(
        m->keep, "%s_%d", c.machine->has_cubins ? "sm" : "compute",
        c.machine->has_cubins ? c.machine->capability : 80);
    assert_ok(nvrtc_compile(c.machine->nvrtc, "cuda_ceilings", source, arch, &output));
    assert_ok(mlcc_cuda_enter(c.device));
    const mlcc_cuda_driver *driver = &c.device->driver;
    const void *image = output.cubin != NULL ? output.cubin : output.ptx;
    assert_int_equal(driver->module_load_data_ex(&c.module, image, 0, NULL, NULL), MLCC_CU_SUCCESS);
    assert_int_equal(
        driver->device_get_attribute(
            &c.n_multiprocessors, MLCC_CU_DEVICE_MULTIPROCESSORS, c.device->number),
        MLCC_CU_SUCCESS);
    run_ceilings(&c, is_quick, out);
    (void)driver->module_unload(c.module);
    mlcc_cuda_leave(c.device);
    nvrtc_output_free(&output);
    free(source);
    bench_module_close(m);
}
