// fake_driver: tests/support/cuda_fake for test programs: where it lies, its settings, its faults.
#ifndef MLCC_TESTS_CUDA_FAKE_DRIVER_H
#define MLCC_TESTS_CUDA_FAKE_DRIVER_H

#include "tests/unit/runtime/tiny_model.h"

#include <dlfcn.h>

// lib/NAME.so beside bin/.
static inline char *fake_library(mlcc_arena *keep, const char *name) {
    char *bin = mlcc_path_dir(keep, mlcc_path_self(keep));
    return mlcc_arena_printf(keep, "%s/../lib/%s.so", bin, name);
}

// The fake driver is the driver from here on, with its default settings.
static inline void fake_use(mlcc_arena *keep) {
    static const char *const settings[] = {
        "MLCC_FAKE_CAPABILITY", "MLCC_FAKE_MEMORY",           "MLCC_FAKE_SHARED",
        "MLCC_FAKE_DEVICES",    "MLCC_FAKE_VERSION",          "MLCC_FAKE_INIT",
        "MLCC_FAKE_FAIL_ALLOC", "MLCC_FAKE_FAIL_LAUNCH",      "MLCC_FAKE_FAIL_HOST_ALLOC",
        "MLCC_FAKE_FAIL_LOAD",  "MLCC_FAKE_FAIL_KERNEL",      "MLCC_FAKE_FAIL_CAPTURE",
        "MLCC_FAKE_FAIL_GRAPH", "MLCC_FAKE_FAIL_INSTANTIATE", "MLCC_CUDA_SYNC",
        "MLCC_CUDA_PDL",        "MLCC_CUDA_GRAPHS",
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) unsetenv(settings[i]);
    setenv("MLCC_CUDA_DRIVER", fake_library(keep, "cuda_fake"), 1);
}

// A number that the library counts: "cuda_fake_n_faults". It must have been opened once.
static inline int fake_count(mlcc_arena *keep, const char *symbol) {
    void *library = dlopen(fake_library(keep, "cuda_fake"), RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *found = dlsym(library, symbol);
    int (*count)(void) = NULL;
    assert_non_null(found);
    memcpy(&count, &found, sizeof count);
    int value = count();
    dlclose(library);
    return value;
}

static inline int fake_faults(mlcc_arena *keep) {
    return fake_count(keep, "cuda_fake_n_faults");
}

#endif
