// ptx: no text breaks the PTX interpreter's parser, and what it accepts runs or ends with a message: within the registered memory, in finite time.
#include "tests/support/ptx/ptx.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void launch(const ptx_module *module, const char *name, const ptx_memory *memory) {
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(module, name, &function);
    if (status == NULL) {
        ptx_function_info info;
        ptx_function_describe(function, &info);
        const uint32_t n_threads =
            info.is_arch_specific ? 128 : 40; // a warpgroup, or a warp and a part
        const ptx_options options = {.checks = PTX_CHECK_ALL, .max_block_instructions = 20000};
        const ptx_shape shape = {
            .grid = {1, 1, 1},
            .block = {info.max_threads < n_threads ? info.max_threads : n_threads, 1, 1},
            .dynamic_shared_bytes = 256};
        void *params = calloc(1, info.param_bytes + 1u);
        if (params == NULL) abort();
        status = ptx_launch(function, &shape, params, info.param_bytes, memory, &options);
        free(params);
    }
    mlcc_status_free(status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ptx_module *module = NULL;
    mlcc_status *status = ptx_module_load((const char *)data, size, &module);
    if (status == NULL) {
        ptx_memory *memory = ptx_memory_create();
        for (size_t i = 0; i < ptx_module_n_functions(module); i++)
            launch(module, ptx_module_function_name(module, i), memory);
        ptx_memory_free(memory);
    }
    mlcc_status_free(status);
    ptx_module_free(module);
    return 0;
}
