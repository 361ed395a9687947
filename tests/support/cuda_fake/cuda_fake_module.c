// Modules, functions and launches of the fake driver, on the PTX interpreter.
#include "tests/support/cuda_fake/cuda_fake.h"

#include "tests/support/ptx/ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FUNCTIONS = 64, DEFAULT_SHARED = 48 * 1024 };

struct mlcc_cu_function {
    char name[256];
    const ptx_function *function;
    ptx_function_info info;
    int max_shared_bytes;
    bool waits; // its module's text knows griddepcontrol.wait
};

struct mlcc_cu_module {
    ptx_module *ptx;
    mlcc_cu_function functions[MAX_FUNCTIONS];
    int n_functions;
    bool waits;
};

static int n_modules, n_kernels, n_launches, n_early_launches;
// What launches touched since all before them had ended; under the lock of the queue.
static ptx_history *history;

int fake_n_modules(void) {
    return n_modules;
}

int cuda_fake_n_kernels(void) {
    return __atomic_load_n(&n_kernels, __ATOMIC_RELAXED);
}

int cuda_fake_n_launches(void) {
    return __atomic_load_n(&n_launches, __ATOMIC_RELAXED);
}

int cuda_fake_n_early_launches(void) {
    return __atomic_load_n(&n_early_launches, __ATOMIC_RELAXED);
}

// CUDA 11.x reads PTX 7.x, 12.x 8.x, 13.x 9.x.
static bool version_fits(const char *text) {
    const char *at = strstr(text, ".version");
    int major = 0, minor = 0;
    if (at == NULL || sscanf(at, ".version %d.%d", &major, &minor) != 2) return true;
    return (major + 4) * 1000 + minor * 10 <= fake_settings_now.version;
}

static void write_log(const char *text, unsigned n_options, const int *options, void **values) {
    char *log = NULL;
    size_t log_bytes = 0;
    for (unsigned i = 0; i < n_options; i++) {
        if (options[i] == MLCC_CU_JIT_ERROR_LOG) log = values[i];
        if (options[i] == MLCC_CU_JIT_ERROR_LOG_BYTES) log_bytes = (size_t)(uintptr_t)values[i];
    }
    if (log != NULL && log_bytes > 0) snprintf(log, log_bytes, "%s", text);
}

mlcc_cu_result cuModuleLoadDataEx(
    mlcc_cu_module **module, const void *image, unsigned n_options, const int *options,
    void **values) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (fake_fails(&fake_settings_now.load)) return fake_settings_now.load.code;
    // Only PTX runs here.
    if (memcmp(image, "\177ELF", 4) == 0) return MLCC_CU_NO_BINARY_FOR_GPU;
    if (!version_fits(image)) return MLCC_CU_UNSUPPORTED_PTX_VERSION;
    mlcc_cu_module *loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) abort();
    mlcc_status *status = ptx_module_load(image, strlen(image), &loaded->ptx);
    if (status != NULL) {
        write_log(mlcc_status_message(status), n_options, options, values);
        mlcc_status_free(status);
        free(loaded);
        return MLCC_CU_INVALID_PTX;
    }
    loaded->waits = strstr(image, "griddepcontrol.wait") != NULL;
    n_modules++;
    *module = loaded;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuModuleUnload(mlcc_cu_module *module) {
    mlcc_cu_result state = fake_context_state();
    ptx_module_free(module->ptx);
    free(module);
    n_modules--;
    return state;
}

mlcc_cu_result cuModuleGetFunction(
    mlcc_cu_function **function, mlcc_cu_module *module, const char *name) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    for (int i = 0; i < module->n_functions; i++) {
        if (strcmp(module->functions[i].name, name) != 0) continue;
        *function = &module->functions[i];
        return MLCC_CU_SUCCESS;
    }
    const ptx_function *found = NULL;
    mlcc_status *status = ptx_module_function(module->ptx, name, &found);
    if (status != NULL) {
        if (mlcc_status_code(status) != MLCC_INVALID) fake_fault("%s", mlcc_status_message(status));
        mlcc_status_free(status);
        return MLCC_CU_NOT_FOUND;
    }
    if (module->n_functions == MAX_FUNCTIONS) abort();
    mlcc_cu_function *mine = &module->functions[module->n_functions++];
    snprintf(mine->name, sizeof mine->name, "%s", name);
    mine->function = found;
    mine->max_shared_bytes = DEFAULT_SHARED;
    mine->waits = module->waits;
    ptx_function_describe(found, &mine->info);
    *function = mine;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuFuncGetAttribute(int *value, int attribute, mlcc_cu_function *function) {
    if (attribute != MLCC_CU_FUNCTION_MAX_DYNAMIC_SHARED) return MLCC_CU_INVALID_VALUE;
    *value = function->max_shared_bytes;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuFuncSetAttribute(mlcc_cu_function *function, int attribute, int value) {
    if (attribute != MLCC_CU_FUNCTION_MAX_DYNAMIC_SHARED || value < 0 ||
        (size_t)value > fake_settings_now.shared_bytes) {
        return MLCC_CU_INVALID_VALUE;
    }
    function->max_shared_bytes = value;
    return MLCC_CU_SUCCESS;
}

static mlcc_cu_result launch_kernel(
    mlcc_cu_function *function, const mlcc_cu_launch_config *config, void **arguments, void **extra,
    bool is_early) {
    const unsigned grid_x = config->grid_x, grid_y = config->grid_y, grid_z = config->grid_z;
    const unsigned shared_bytes = config->shared_bytes;
    mlcc_cu_stream *stream = config->stream;
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (fake_fails(&fake_settings_now.launch)) return fake_settings_now.launch.code;
    bool fits = stream != NULL && arguments != NULL && extra == NULL && grid_x > 0 && grid_y > 0 &&
                grid_z > 0 && grid_y <= 65535 && grid_z <= 65535 &&
                shared_bytes <= (unsigned)function->max_shared_bytes;
    if (!fits) return MLCC_CU_INVALID_VALUE;
    if ((uint64_t)config->block_x * config->block_y * config->block_z > function->info.max_threads)
        return MLCC_CU_LAUNCH_OUT_OF_RESOURCES;
    fake_launch launch = {
        .function = function,
        .grid = {grid_x, grid_y, grid_z},
        .block = {config->block_x, config->block_y, config->block_z},
        .shared_bytes = shared_bytes,
        .arguments = calloc(1, function->info.param_bytes + 1),
        .arguments_bytes = function->info.param_bytes,
        .is_early = is_early,
    };
    if (launch.arguments == NULL) abort();
    for (uint32_t i = 0; i < function->info.n_params; i++) {
        uint32_t offset_bytes = 0, size_bytes = 0;
        if (!ptx_function_param(function->function, i, &offset_bytes, &size_bytes)) break;
        memcpy((char *)launch.arguments + offset_bytes, arguments[i], size_bytes);
    }
    if (stream->capture != NULL) {
        fake_record_launch(stream, launch);
        return MLCC_CU_SUCCESS;
    }
    __atomic_add_fetch(&n_launches, 1, __ATOMIC_RELAXED);
    fake_enqueue_launch(launch);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuLaunchKernel(
    mlcc_cu_function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
    unsigned block_y, unsigned block_z, unsigned shared_bytes, mlcc_cu_stream *stream,
    void **arguments, void **extra) {
    const mlcc_cu_launch_config config = {
        .grid_x = grid_x,
        .grid_y = grid_y,
        .grid_z = grid_z,
        .block_x = block_x,
        .block_y = block_y,
        .block_z = block_z,
        .shared_bytes = shared_bytes,
        .stream = stream};
    return launch_kernel(function, &config, arguments, extra, false);
}

mlcc_cu_result cuLaunchKernelEx(
    const mlcc_cu_launch_config *config, mlcc_cu_function *function, void **arguments,
    void **extra) {
    bool is_early = false;
    for (unsigned i = 0; i < config->n_attributes; i++) {
        if (config->attributes[i].id != MLCC_CU_LAUNCH_PROGRAMMATIC_SERIALIZATION)
            return MLCC_CU_INVALID_VALUE;
        if (fake_settings_now.major < 9) {
            fake_fault("programmatic serialization on a device below 9.0");
            return MLCC_CU_INVALID_VALUE;
        }
        if (config->attributes[i].value.is_allowed == 0) continue;
        // A kernel that does not wait must not begin before the one before it has ended.
        if (!function->waits) fake_fault("kernel '%s' begins early", function->name);
        __atomic_add_fetch(&n_early_launches, 1, __ATOMIC_RELAXED);
        is_early = true;
    }
    return launch_kernel(function, config, arguments, extra, is_early);
}

void fake_forget_launches(void) {
    ptx_history_free(history);
    history = NULL;
}

mlcc_cu_result fake_run_launch(const fake_launch *launch) {
    if (fake_fails(&fake_settings_now.kernel)) return fake_settings_now.kernel.code;
    __atomic_add_fetch(&n_kernels, 1, __ATOMIC_RELAXED);
    ptx_shape shape = {.dynamic_shared_bytes = launch->shared_bytes};
    memcpy(shape.grid, launch->grid, sizeof shape.grid);
    memcpy(shape.block, launch->block, sizeof shape.block);
    if (history == NULL && cuda_fake_n_early_launches() > 0) history = ptx_history_create();
    const ptx_options options = {
        .checks = PTX_CHECK_ALL, .history = history, .is_dependent = launch->is_early};
    mlcc_status *status = ptx_launch(
        launch->function->function, &shape, launch->arguments, launch->arguments_bytes,
        fake_memory(), &options);
    if (status == NULL) return MLCC_CU_SUCCESS;
    char *text = mlcc_status_format(status, 0);
    fake_fault("kernel '%s': %s", launch->function->name, text);
    free(text);
    mlcc_status_free(status);
    return MLCC_CU_ILLEGAL_ADDRESS;
}
