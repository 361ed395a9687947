// Runs a function of the library on a CUDA device: its launches in order on one stream.
//
// A launch's argument is one block of words (runtime/abi.h). Words that are the same in every run
// (params, constants, workspace) are written once; args, results and symbols before each launch.
//
// A launch begins early (programmatic serialization) where its kernel waits by itself for the one
// before it. The first of a run never does: copies come before it.
#include "runtime/base/str.h"
#include "runtime/device/cuda_graphs.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct cuda_launch {
    const mlcc_abi_cuda_launch *abi;
    const mlcc_cuda_chosen *chosen;
    uint64_t *words; // [n_places + n_symbols]
} cuda_launch;

typedef struct cuda_runner {
    mlcc_runner base;
    mlcc_memory workspace, scratch;
    cuda_launch *launches; // [n_launches]
    uint32_t n_launches;
    uint64_t *words; // of all launches
    mlcc_cuda_graphs graphs;
} cuda_runner;

void mlcc_cuda_runner_free(mlcc_runner *runner) {
    cuda_runner *self = (cuda_runner *)runner;
    mlcc_cuda_device *device = (mlcc_cuda_device *)runner->device;
    (void)device->driver.ctx_push_current(device->context);
    mlcc_cuda_graphs_free(&self->graphs);
    mlcc_cuda_leave(device);
    mlcc_device_free(runner->device, &self->workspace);
    mlcc_device_free(runner->device, &self->scratch);
    free(self->launches);
    free(self->words);
    free(self);
}

static uint64_t word_of(const void *address) {
    return (uint64_t)(uintptr_t)address;
}

// Address of a place that no run changes; 0 for args and results.
static uint64_t fixed_address(
    const cuda_runner *self, const mlcc_abi_cuda_place *place, const void *const *params) {
    const mlcc_cuda_device *device = (const mlcc_cuda_device *)self->base.device;
    switch (place->kind) {
    case MLCC_ABI_CUDA_PARAM: return word_of(params[place->index]);
    case MLCC_ABI_CUDA_CONST: return word_of(device->consts.address) + place->offset_bytes;
    case MLCC_ABI_CUDA_WORKSPACE: return word_of(self->workspace.address) + place->offset_bytes;
    case MLCC_ABI_CUDA_SCRATCH: return word_of(self->scratch.address);
    default: return 0;
    }
}

static void prepare_launches(
    cuda_runner *self, const mlcc_abi_cuda_function *function, const void *const *params,
    const mlcc_cuda_chosen *chosen) {
    uint32_t n_symbols = self->base.device->abi->n_symbols;
    uint64_t *words = self->words;
    for (uint32_t i = 0; i < function->n_launches; i++) {
        const mlcc_abi_cuda_launch *launch = &function->launches[i];
        self->launches[i] = (cuda_launch){.abi = launch, .chosen = &chosen[i], .words = words};
        for (uint32_t p = 0; p < launch->n_places; p++)
            words[p] = fixed_address(self, &launch->places[p], params);
        words += launch->n_places + n_symbols;
    }
}

static mlcc_status *create_launches(
    cuda_runner *self, const mlcc_abi_cuda_function *function, const void *const *params,
    const mlcc_cuda_chosen *chosen) {
    uint32_t n_symbols = self->base.device->abi->n_symbols;
    size_t n_words = 0;
    for (uint32_t i = 0; i < function->n_launches; i++)
        n_words += (size_t)function->launches[i].n_places + n_symbols;
    self->launches = calloc((size_t)function->n_launches + 1, sizeof *self->launches);
    self->words = calloc(n_words + 1, sizeof *self->words);
    if (self->launches == NULL || self->words == NULL)
        return MLCC_ERROR(NO_MEMORY, "memory for the table of launches cannot be had");
    self->n_launches = function->n_launches;
    MLCC_TRY(mlcc_device_alloc(
        self->base.device, (size_t)self->base.function->workspace_bytes, "the workspace",
        &self->workspace));
    // Zeroed, and the launches keep what must be zero so.
    MLCC_TRY(mlcc_device_alloc(
        self->base.device, (size_t)self->base.function->scratch_bytes, "scratch", &self->scratch));
    prepare_launches(self, function, params, chosen);
    return NULL;
}

mlcc_status *mlcc_cuda_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out) {
    mlcc_cuda_device *cuda = (mlcc_cuda_device *)device;
    cuda_runner *self = calloc(1, sizeof *self);
    if (self == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a runner cannot be had");
    const mlcc_abi_function *abi = &device->abi->functions[function];
    self->base = (mlcc_runner){.device = device, .function = abi};
    mlcc_status *status = create_launches(
        self, &device->abi->cuda->functions[function], params,
        cuda->modules.launches + cuda->modules.first_launch[function]);
    if (status == NULL) {
        size_t n_key_words = (size_t)abi->n_args + abi->n_results + device->abi->n_symbols;
        status = mlcc_cuda_graphs_create(cuda, n_key_words, &self->graphs);
    }
    if (status != NULL) {
        mlcc_cuda_runner_free(&self->base);
        return status;
    }
    *out = &self->base;
    return NULL;
}

// ---- a run

static void write_words(
    const cuda_launch *launch, void *const *args, void *const *results, const int64_t *dims,
    uint32_t n_symbols) {
    const mlcc_abi_cuda_launch *abi = launch->abi;
    for (uint32_t p = 0; p < abi->n_places; p++) {
        const mlcc_abi_cuda_place *place = &abi->places[p];
        if (place->kind == MLCC_ABI_CUDA_ARG) launch->words[p] = word_of(args[place->index]);
        if (place->kind == MLCC_ABI_CUDA_RESULT) launch->words[p] = word_of(results[place->index]);
    }
    for (uint32_t s = 0; s < n_symbols; s++) launch->words[abi->n_places + s] = (uint64_t)dims[s];
}

static int64_t rows_of(const mlcc_abi_cuda_launch *launch, const int64_t *dims) {
    return launch->rows_symbol < 0 ? launch->rows_constant : dims[launch->rows_symbol];
}

static bool is_left_out(const mlcc_abi_cuda_launch *launch, const int64_t *dims) {
    const int64_t rows = rows_of(launch, dims);
    return rows < launch->min_rows || (launch->max_rows > 0 && rows > launch->max_rows);
}

// The first entry whose max_rows holds the launch's rows; the last takes any number.
static uint32_t choose_entry(const mlcc_abi_cuda_variant *variant, int64_t rows) {
    uint32_t e = 0;
    while (e + 1 < variant->n_entries && variant->entries[e].max_rows > 0 &&
           variant->entries[e].max_rows < rows) {
        e++;
    }
    return e;
}

// False when the value is beyond what a grid can have.
static bool extent_of(
    const mlcc_abi_cuda_extent *extent, const int64_t *dims, int64_t limit, unsigned *out) {
    int64_t value = extent->symbol < 0 ? 1 : dims[extent->symbol], product = 0;
    if (!mlcc_i64_mul(value, extent->multiplier, &product)) return false;
    int64_t blocks = product / extent->divisor + (product % extent->divisor != 0);
    if (blocks < 1) blocks = 1;
    *out = (unsigned)blocks;
    return blocks <= limit;
}

static mlcc_cu_result launch_kernel(
    mlcc_cuda_device *device, mlcc_cu_function *function, const unsigned grid[3],
    const mlcc_abi_cuda_entry *entry, mlcc_cu_stream *stream, bool is_early, uint64_t *words) {
    void *arguments[] = {words};
    if (!is_early) {
        return device->driver.launch_kernel(
            function, grid[0], grid[1], grid[2], entry->threads, 1, 1, entry->shared_bytes, stream,
            arguments, NULL);
    }
    mlcc_cu_launch_attribute early = {
        .id = MLCC_CU_LAUNCH_PROGRAMMATIC_SERIALIZATION, .value.is_allowed = 1};
    const mlcc_cu_launch_config config = {
        .grid_x = grid[0],
        .grid_y = grid[1],
        .grid_z = grid[2],
        .block_x = entry->threads,
        .block_y = 1,
        .block_z = 1,
        .shared_bytes = entry->shared_bytes,
        .stream = stream,
        .attributes = &early,
        .n_attributes = 1,
    };
    return device->driver.launch_kernel_ex(&config, function, arguments, NULL);
}

static mlcc_status *launch_one(
    mlcc_cuda_device *device, const cuda_launch *launch, const int64_t *dims,
    mlcc_cu_stream *stream, bool is_first) {
    enum { MAX_GRID_X = 0x7fffffff, MAX_GRID_YZ = 65535 };
    const mlcc_abi_cuda_variant *variant = launch->chosen->variant;
    uint32_t e = choose_entry(variant, rows_of(launch->abi, dims));
    const mlcc_abi_cuda_entry *entry = &variant->entries[e];
    unsigned grid[3] = {1, 1, 1};
    bool fits = extent_of(&entry->grid[0], dims, MAX_GRID_X, &grid[0]) &&
                extent_of(&entry->grid[1], dims, MAX_GRID_YZ, &grid[1]) &&
                extent_of(&entry->grid[2], dims, MAX_GRID_YZ, &grid[2]);
    if (!fits) {
        return MLCC_ERROR(
            INTERNAL, "the grid of kernel '%s' exceeds what a device can have", entry->symbol);
    }
    bool is_captured = stream != device->stream;
    bool is_early = !is_first && launch->chosen->waits &&
                    (is_captured ? device->captures_early : device->launches_early);
    mlcc_cu_result result = launch_kernel(
        device, launch->chosen->entries[e], grid, entry, stream, is_early, launch->words);
    if (result == MLCC_CU_SUCCESS && device->waits_after_launch)
        result = device->driver.stream_synchronize(stream);
    if (result == MLCC_CU_SUCCESS) return NULL;
    char what[200];
    snprintf(
        what, sizeof what, "launching kernel '%s' of '%s' (grid %u x %u x %u, %u threads)",
        entry->symbol, device->base.abi->cuda->modules[variant->module].name, grid[0], grid[1],
        grid[2], entry->threads);
    return mlcc_cuda_done(device, result, what);
}

typedef struct run_work {
    cuda_runner *runner;
    void *const *args, *const *results;
    const int64_t *dims;
} run_work;

static mlcc_status *launch_all(void *user, mlcc_cu_stream *stream) {
    const run_work *work = user;
    const cuda_runner *self = work->runner;
    mlcc_cuda_device *device = (mlcc_cuda_device *)self->base.device;
    uint32_t n_symbols = device->base.abi->n_symbols;
    bool is_first = true;
    for (uint32_t i = 0; i < self->n_launches; i++) {
        const cuda_launch *launch = &self->launches[i];
        if (is_left_out(launch->abi, work->dims)) continue;
        write_words(launch, work->args, work->results, work->dims, n_symbols);
        MLCC_TRY(launch_one(device, launch, work->dims, stream, is_first));
        is_first = false;
    }
    return NULL;
}

// The run's graph, captured when it is time; NULL: its kernels are launched one by one.
static mlcc_cu_graph_exec *graph_of(run_work *work) {
    cuda_runner *self = work->runner;
    const mlcc_abi_function *function = self->base.function;
    uint32_t n_symbols = self->base.device->abi->n_symbols;
    uint64_t *key = mlcc_cuda_graphs_key(&self->graphs);
    if (key == NULL) return NULL;
    for (uint32_t i = 0; i < function->n_args; i++) *key++ = word_of(work->args[i]);
    for (uint32_t i = 0; i < function->n_results; i++) *key++ = word_of(work->results[i]);
    for (uint32_t i = 0; i < n_symbols; i++) *key++ = (uint64_t)work->dims[i];
    mlcc_cuda_graph *graph = mlcc_cuda_graphs_find(&self->graphs);
    if (graph->graph == NULL && graph->n_runs >= MLCC_CUDA_GRAPHS_CAPTURED_RUN)
        mlcc_cuda_graphs_capture(&self->graphs, graph, launch_all, work);
    return graph->graph;
}

static mlcc_status *launch_graph(
    mlcc_cuda_device *device, const char *function, mlcc_cu_graph_exec *graph) {
    mlcc_cu_result result = device->driver.graph_launch(graph, device->stream);
    if (result == MLCC_CU_SUCCESS) return NULL;
    char what[200];
    snprintf(what, sizeof what, "launching function '%s' as a graph", function);
    return mlcc_cuda_done(device, result, what);
}

mlcc_status *mlcc_cuda_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims) {
    mlcc_cuda_device *device = (mlcc_cuda_device *)runner->device;
    run_work work = {(cuda_runner *)runner, args, results, dims};
    MLCC_TRY(mlcc_cuda_enter(device));
    mlcc_cuda_set_running(device, runner->function->name);
    mlcc_cu_graph_exec *graph = graph_of(&work);
    mlcc_status *status = graph != NULL ? launch_graph(device, runner->function->name, graph)
                                        : launch_all(&work, device->stream);
    // What was launched before the failure still reads the caller's memory.
    if (status != NULL) (void)device->driver.stream_synchronize(device->stream);
    mlcc_cuda_leave(device);
    return status;
}
