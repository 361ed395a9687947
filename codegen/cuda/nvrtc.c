#include "codegen/cuda/nvrtc.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- NVRTC's interface, as its reference manual gives it ----------------------------------------------

typedef struct nvrtc_program nvrtc_program; // _nvrtcProgram *
enum { NVRTC_SUCCESS = 0, NVRTC_ERROR_COMPILATION = 6 };

// name of the field, symbol, arguments; every function returns nvrtcResult, an int
#define NVRTC_FUNCTIONS(X) \
    X(version, "nvrtcVersion", (int *major, int *minor)) \
    X(count_archs, "nvrtcGetNumSupportedArchs", (int *n_archs)) \
    X(list_archs, "nvrtcGetSupportedArchs", (int *archs)) \
    X(create, "nvrtcCreateProgram", \
      (nvrtc_program * *program, const char *source, const char *name, int n_headers, \
       const char *const *headers, const char *const *include_names)) \
    X(destroy, "nvrtcDestroyProgram", (nvrtc_program * *program)) \
    X(compile, "nvrtcCompileProgram", \
      (nvrtc_program * program, int n_options, const char *const *options)) \
    X(log_bytes, "nvrtcGetProgramLogSize", (nvrtc_program * program, size_t *size_bytes)) \
    X(log, "nvrtcGetProgramLog", (nvrtc_program * program, char *log)) \
    X(cubin_bytes, "nvrtcGetCUBINSize", (nvrtc_program * program, size_t *size_bytes)) \
    X(cubin, "nvrtcGetCUBIN", (nvrtc_program * program, char *cubin)) \
    X(ptx_bytes, "nvrtcGetPTXSize", (nvrtc_program * program, size_t *size_bytes)) \
    X(ptx, "nvrtcGetPTX", (nvrtc_program * program, char *ptx))

struct nvrtc_library {
    void *handle;
    int major, minor;
    int *archs;
    size_t n_archs;
    const char *(*error_text)(int result); // nvrtcGetErrorString
#define X(field, symbol, arguments) int(*field) arguments;
    NVRTC_FUNCTIONS(X)
#undef X
};

// ---- opening ------------------------------------------------------------------------------------------

// Function pointers travel through memcpy: ISO C has no cast from void *.
static bool find_symbol(void *handle, const char *symbol, void *function, mlcc_str *missing) {
    void *address = dlsym(handle, symbol);
    if (address == NULL) {
        mlcc_str_printf(missing, "%s%s", missing->length > 0 ? ", " : "", symbol);
        return false;
    }
    memcpy(function, &address, sizeof address);
    return true;
}

static bool find_symbols(nvrtc_library *library, mlcc_str *missing) {
    bool complete =
        find_symbol(library->handle, "nvrtcGetErrorString", &library->error_text, missing);
#define X(field, symbol, arguments) \
    complete = find_symbol(library->handle, symbol, &library->field, missing) && complete;
    NVRTC_FUNCTIONS(X)
#undef X
    return complete;
}

// Tries one file; notes in `tried` what became of it.
static bool try_open(nvrtc_library *library, const char *path, mlcc_str *tried) {
    mlcc_str_printf(tried, "%s%s", tried->length > 0 ? ", " : "", path);
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) return false;
    mlcc_str missing = {0};
    const bool complete = find_symbols(library, &missing);
    if (!complete) {
        mlcc_str_printf(tried, " (lacks %s)", mlcc_str_text(&missing));
        dlclose(library->handle);
        library->handle = NULL;
    }
    mlcc_str_free(&missing);
    return complete;
}

static const char *const names[] = {
    "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"};
enum { N_NAMES = sizeof names / sizeof names[0] };

static bool try_folder(
    nvrtc_library *library, const char *folder, mlcc_arena *scratch, mlcc_str *tried) {
    for (size_t i = 0; i < N_NAMES; i++) {
        const char *path = mlcc_path_join(scratch, folder, names[i]);
        if (mlcc_file_exists(path) && try_open(library, path, tried)) return true;
    }
    mlcc_str_printf(tried, "%s%s/", tried->length > 0 ? ", " : "", folder);
    return false;
}

// /usr/local/cuda, then the versioned folders from new to old.
static bool try_toolkits(nvrtc_library *library, mlcc_arena *scratch, mlcc_str *tried) {
    if (try_folder(library, "/usr/local/cuda/lib64", scratch, tried)) return true;
    char **entries = NULL;
    size_t n_entries = 0;
    mlcc_status_free(mlcc_dir_list("/usr/local", scratch, &entries, &n_entries));
    for (size_t i = n_entries; i-- > 0;) {
        if (!mlcc_text_starts_with(entries[i], "cuda-")) continue;
        const char *folder = mlcc_arena_printf(scratch, "/usr/local/%s/lib64", entries[i]);
        if (try_folder(library, folder, scratch, tried)) return true;
    }
    return false;
}

static bool search(nvrtc_library *library, mlcc_arena *scratch, mlcc_str *tried) {
    const char *own = getenv("MLCC_NVRTC_PATH");
    if (own != NULL && own[0] != '\0') {
        return mlcc_dir_exists(own) ? try_folder(library, own, scratch, tried)
                                    : try_open(library, own, tried);
    }
    for (size_t i = 0; i < N_NAMES; i++) {
        if (try_open(library, names[i], tried)) return true;
    }
    return try_toolkits(library, scratch, tried);
}

static mlcc_status *read_archs(nvrtc_library *library) {
    int n_archs = 0;
    int result = library->version(&library->major, &library->minor);
    if (result == NVRTC_SUCCESS) result = library->count_archs(&n_archs);
    if (result != NVRTC_SUCCESS || n_archs < 0) {
        return MLCC_ERROR(
            UNSUPPORTED, "NVRTC does not tell its version: %s", library->error_text(result));
    }
    library->archs = calloc((size_t)n_archs + 1, sizeof *library->archs);
    if (library->archs == NULL) return MLCC_ERROR(NO_MEMORY, "no memory for NVRTC's architectures");
    result = library->list_archs(library->archs);
    if (result != NVRTC_SUCCESS) {
        return MLCC_ERROR(
            UNSUPPORTED, "NVRTC does not list its architectures: %s", library->error_text(result));
    }
    library->n_archs = (size_t)n_archs;
    return NULL;
}

mlcc_status *nvrtc_open(nvrtc_library **out) {
    *out = NULL;
    nvrtc_library *library = calloc(1, sizeof *library);
    if (library == NULL) return MLCC_ERROR(NO_MEMORY, "no memory for NVRTC");
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_str tried = {0};
    mlcc_status *status = NULL;
    if (search(library, scratch, &tried)) {
        status = read_archs(library);
    } else {
        status = MLCC_ERROR(
            UNSUPPORTED,
            "code for CUDA devices needs NVRTC (11.8 or newer), which is not there; looked for %s; "
            "install CUDA's nvrtc package (cuda-nvrtc-13-0, or pip's nvidia-cuda-nvrtc) or name "
            "the "
            "file in MLCC_NVRTC_PATH",
            mlcc_str_text(&tried));
    }
    mlcc_str_free(&tried);
    mlcc_arena_free(scratch);
    if (status != NULL) {
        nvrtc_close(library);
        return status;
    }
    *out = library;
    return NULL;
}

void nvrtc_close(nvrtc_library *library) {
    if (library == NULL) return;
    // NVRTC keeps memory of its own that unloading would strand: the library stays until the process ends.
    free(library->archs);
    free(library);
}

void nvrtc_version(const nvrtc_library *library, int *major, int *minor) {
    *major = library->major;
    *minor = library->minor;
}

const int *nvrtc_archs(const nvrtc_library *library, size_t *n_archs) {
    *n_archs = library->n_archs;
    return library->archs;
}

// ---- compiling ----------------------------------------------------------------------------------------

static mlcc_status *call_error(const nvrtc_library *library, const char *call, int result) {
    return MLCC_ERROR(INTERNAL, "%s: %s", call, library->error_text(result));
}

// One output of a program. A NUL stands behind the bytes.
static mlcc_status *fetch(
    const nvrtc_library *library, nvrtc_program *program, const char *what,
    int (*measure)(nvrtc_program *, size_t *), int (*copy)(nvrtc_program *, char *), char **data,
    size_t *size_bytes) {
    *data = NULL;
    *size_bytes = 0;
    int result = measure(program, size_bytes);
    if (result != NVRTC_SUCCESS) return call_error(library, what, result);
    *data = calloc(1, *size_bytes + 1);
    if (*data == NULL)
        return MLCC_ERROR(NO_MEMORY, "no memory for %zu bytes of %s", *size_bytes, what);
    if (*size_bytes == 0) return NULL;
    result = copy(program, *data);
    return result != NVRTC_SUCCESS ? call_error(library, what, result) : NULL;
}

static mlcc_status *fetch_outputs(
    const nvrtc_library *library, nvrtc_program *program, const char *arch, nvrtc_output *out) {
    size_t size_bytes = 0;
    MLCC_TRY(
        fetch(library, program, "PTX", library->ptx_bytes, library->ptx, &out->ptx, &size_bytes));
    if (!mlcc_text_starts_with(arch, "sm_")) return NULL;
    char *cubin = NULL;
    mlcc_status *status = fetch(
        library, program, "cubin", library->cubin_bytes, library->cubin, &cubin, &out->cubin_bytes);
    out->cubin = cubin;
    return status;
}

static mlcc_status *compile(
    const nvrtc_library *library, nvrtc_program *program, const char *name, const char *arch,
    nvrtc_output *out) {
    char arch_option[64];
    const int length = snprintf(arch_option, sizeof arch_option, "--gpu-architecture=%s", arch);
    if (length < 0 || (size_t)length >= sizeof arch_option) {
        return MLCC_ERROR(INVALID, "'%s' is no architecture", arch);
    }
    const char *const fixed[] = NVRTC_OPTIONS;
    enum { N_FIXED = sizeof fixed / sizeof fixed[0] };
    const char *options[N_FIXED + 1];
    memcpy(options, fixed, sizeof fixed);
    options[N_FIXED] = arch_option;
    const int result = library->compile(program, N_FIXED + 1, options);
    size_t log_bytes = 0;
    MLCC_TRY(
        fetch(library, program, "log", library->log_bytes, library->log, &out->log, &log_bytes));
    if (result == NVRTC_ERROR_COMPILATION) {
        return MLCC_ERROR(
            INTERNAL, "NVRTC %d.%d cannot compile '%s' for %s:\n%s", library->major, library->minor,
            name, arch, out->log);
    }
    if (result != NVRTC_SUCCESS) {
        return MLCC_ERROR(
            INTERNAL, "NVRTC %d.%d fails on '%s' for %s: %s\n%s", library->major, library->minor,
            name, arch, library->error_text(result), out->log);
    }
    return fetch_outputs(library, program, arch, out);
}

mlcc_status *nvrtc_compile(
    const nvrtc_library *library, const char *name, const char *source, const char *arch,
    nvrtc_output *out) {
    *out = (nvrtc_output){0};
    nvrtc_program *program = NULL;
    const int result = library->create(&program, source, name, 0, NULL, NULL);
    if (result != NVRTC_SUCCESS) return call_error(library, "nvrtcCreateProgram", result);
    mlcc_status *status = compile(library, program, name, arch, out);
    library->destroy(&program);
    return status;
}

void nvrtc_output_free(nvrtc_output *output) {
    free(output->cubin);
    free(output->ptx);
    free(output->log);
    *output = (nvrtc_output){0};
}
