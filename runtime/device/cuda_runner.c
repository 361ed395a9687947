// Runs a function of the library on a CUDA device: its launches in order on one stream.
//
// A launch's argument is one block of words (runtime/abi.h). Words that are the same in every run
// (params, constants, workspace) are written once; args, results and symbols before each launch.
#include "runtime/device/device_cuda.h"

#include "runtime/base/str.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct cuda_launch {
    const mlcc_abi_cuda_launch *abi;
    mlcc_cu_function **entries; // [abi->n_entries]
    uint64_t *words;            // [n_places + n_symbols]
} cuda_launch;

typedef struct cuda_runner {
    mlcc_runner base;
    mlcc_memory workspace;
    cuda_launch *launches; // [n_launches]
    uint32_t n_launches;
    uint64_t *words; // of all launches
} cuda_runner;

void mlcc_cuda_runner_free(mlcc_runner *runner) {
    cuda_runner *self = (cuda_runner *)runner;
    mlcc_device_free(runner->device, &self->workspace);
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
    default: return 0;
    }
}

static void prepare_launches(
    cuda_runner *self, const mlcc_abi_cuda_function *function, const void *const *params,
    mlcc_cu_function **entries) {
    uint32_t n_symbols = self->base.device->abi->n_symbols;
    uint64_t *words = self->words;
    for (uint32_t i = 0; i < function->n_launches; i++) {
        const mlcc_abi_cuda_launch *launch = &function->launches[i];
        self->launches[i] = (cuda_launch){.abi = launch, .entries = entries, .words = words};
        for (uint32_t p = 0; p < launch->n_places; p++)
            words[p] = fixed_address(self, &launch->places[p], params);
        words += launch->n_places + n_symbols;
        entries += launch->n_entries;
    }
}

static mlcc_status *create_launches(
    cuda_runner *self, const mlcc_abi_cuda_function *function, const void *const *params,
    mlcc_cu_function **entries) {
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
    prepare_launches(self, function, params, entries);
    return NULL;
}

mlcc_status *mlcc_cuda_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out) {
    const mlcc_cuda_device *cuda = (const mlcc_cuda_device *)device;
    cuda_runner *self = calloc(1, sizeof *self);
    if (self == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a runner cannot be had");
    self->base = (mlcc_runner){device, &device->abi->functions[function]};
    mlcc_status *status = create_launches(
        self, &device->abi->cuda->functions[function], params,
        cuda->modules.entries + cuda->modules.first_entry[function]);
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

// The first entry whose max_rows holds the launch's rows; the last takes any number.
static uint32_t choose_entry(const mlcc_abi_cuda_launch *launch, const int64_t *dims) {
    int64_t rows = launch->rows_symbol < 0 ? launch->rows_constant : dims[launch->rows_symbol];
    uint32_t e = 0;
    while (e + 1 < launch->n_entries && launch->entries[e].max_rows > 0 &&
           launch->entries[e].max_rows < rows) {
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

static mlcc_status *launch_one(
    mlcc_cuda_device *device, const cuda_launch *launch, const int64_t *dims) {
    enum { MAX_GRID_X = 0x7fffffff, MAX_GRID_YZ = 65535 };
    const mlcc_abi_cuda_launch *abi = launch->abi;
    uint32_t e = choose_entry(abi, dims);
    const mlcc_abi_cuda_entry *entry = &abi->entries[e];
    unsigned grid[3] = {1, 1, 1};
    bool fits = extent_of(&entry->grid[0], dims, MAX_GRID_X, &grid[0]) &&
                extent_of(&entry->grid[1], dims, MAX_GRID_YZ, &grid[1]) &&
                extent_of(&entry->grid[2], dims, MAX_GRID_YZ, &grid[2]);
    if (!fits) {
        return MLCC_ERROR(
            INTERNAL, "the grid of kernel '%s' exceeds what a device can have", entry->symbol);
    }
    void *arguments[] = {launch->words};
    mlcc_cu_result result = device->driver.launch_kernel(
        launch->entries[e], grid[0], grid[1], grid[2], entry->threads, 1, 1, entry->shared_bytes,
        device->stream, arguments, NULL);
    if (result == MLCC_CU_SUCCESS && device->waits_after_launch)
        result = device->driver.stream_synchronize(device->stream);
    if (result == MLCC_CU_SUCCESS) return NULL;
    char what[200];
    snprintf(
        what, sizeof what, "launching kernel '%s' of '%s' (grid %u x %u x %u, %u threads)",
        entry->symbol, device->base.abi->cuda->modules[abi->module].name, grid[0], grid[1], grid[2],
        entry->threads);
    return mlcc_cuda_done(device, result, what);
}

mlcc_status *mlcc_cuda_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims) {
    cuda_runner *self = (cuda_runner *)runner;
    mlcc_cuda_device *device = (mlcc_cuda_device *)runner->device;
    uint32_t n_symbols = device->base.abi->n_symbols;
    MLCC_TRY(mlcc_cuda_enter(device));
    mlcc_status *status = NULL;
    for (uint32_t i = 0; status == NULL && i < self->n_launches; i++) {
        write_words(&self->launches[i], args, results, dims, n_symbols);
        status = launch_one(device, &self->launches[i], dims);
    }
    // What was launched before the failure still reads the caller's memory.
    if (status != NULL) (void)device->driver.stream_synchronize(device->stream);
    mlcc_cuda_leave(device);
    return status;
}
