// nvrtc_fake: a compiler of CUDA C that compiles nothing, as a file to be opened at run time (MLCC_NVRTC_PATH): what codegen says when NVRTC is old or
// fails. Settings are read from the environment at every call:
//
//   MLCC_FAKE_NVRTC_VERSION   "12.4" (the default): what it says it is; "" = the call fails
//   MLCC_FAKE_NVRTC_ARCHS     "80 90": what it says it compiles for; "" = the call fails
//   MLCC_FAKE_NVRTC_FAILS     the symbol that fails: "nvrtcCreateProgram" … with an internal error, "nvrtcCompileProgram" with a log
//
// A program's PTX is its source, its cubin the same bytes, its log names the options.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 1, COMPILATION = 6, INTERNAL_ERROR = 11 };

typedef struct program {
    char *source;
    char log[1024];
} program;

#define API __attribute__((visibility("default")))
// NVRTC's own header would declare them.
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

static const char *setting(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value != NULL ? value : fallback;
}

static int result_of(const char *symbol) {
    return strcmp(setting("MLCC_FAKE_NVRTC_FAILS", ""), symbol) == 0 ? INTERNAL_ERROR : SUCCESS;
}

API const char *nvrtcGetErrorString(int result) {
    if (result == COMPILATION) return "NVRTC_ERROR_COMPILATION";
    return result == SUCCESS ? "NVRTC_SUCCESS" : "NVRTC_ERROR_INTERNAL_ERROR";
}

API int nvrtcVersion(int *major, int *minor) {
    const char *version = setting("MLCC_FAKE_NVRTC_VERSION", "12.4");
    return sscanf(version, "%d.%d", major, minor) == 2 ? SUCCESS : INTERNAL_ERROR;
}

// Numbers of the setting, into `archs` where it is not NULL.
static int list_archs(int *archs) {
    int n_archs = 0;
    char *end = NULL;
    for (const char *p = setting("MLCC_FAKE_NVRTC_ARCHS", "80 86 89 90"); *p != '\0'; p = end) {
        const long number = strtol(p, &end, 10);
        if (end == p) break;
        if (archs != NULL) archs[n_archs] = (int)number;
        n_archs++;
    }
    return n_archs;
}

API int nvrtcGetNumSupportedArchs(int *n_archs) {
    *n_archs = list_archs(NULL);
    return result_of("nvrtcGetNumSupportedArchs");
}

API int nvrtcGetSupportedArchs(int *archs) {
    (void)list_archs(archs);
    return result_of("nvrtcGetSupportedArchs");
}

API int nvrtcCreateProgram(
    program **out, const char *source, const char *name, int n_headers, const char *const *headers,
    const char *const *include_names) {
    (void)name, (void)n_headers, (void)headers, (void)include_names;
    *out = calloc(1, sizeof **out);
    if (*out == NULL || result_of("nvrtcCreateProgram") != SUCCESS) {
        free(*out);
        *out = NULL;
        return result_of("nvrtcCreateProgram") != SUCCESS ? INTERNAL_ERROR : OUT_OF_MEMORY;
    }
    (*out)->source = strdup(source);
    return SUCCESS;
}

API int nvrtcDestroyProgram(program **self) {
    free((*self)->source);
    free(*self);
    *self = NULL;
    return SUCCESS;
}

API int nvrtcCompileProgram(program *self, int n_options, const char *const *options) {
    size_t length = 0;
    for (int i = 0; i < n_options; i++) {
        const int n =
            snprintf(self->log + length, sizeof self->log - length, "option %s\n", options[i]);
        if (n > 0 && (size_t)n < sizeof self->log - length) length += (size_t)n;
    }
    if (result_of("nvrtcCompileProgram") == SUCCESS) return SUCCESS;
    snprintf(self->log, sizeof self->log, "unit.cu(7): error: identifier \"nothing\" is undefined");
    return COMPILATION;
}

API int nvrtcGetProgramLogSize(program *self, size_t *size_bytes) {
    *size_bytes = strlen(self->log) + 1;
    return result_of("nvrtcGetProgramLogSize");
}

API int nvrtcGetProgramLog(program *self, char *log) {
    memcpy(log, self->log, strlen(self->log) + 1);
    return result_of("nvrtcGetProgramLog");
}

API int nvrtcGetPTXSize(program *self, size_t *size_bytes) {
    *size_bytes = strlen(self->source) + 1;
    return result_of("nvrtcGetPTXSize");
}

API int nvrtcGetPTX(program *self, char *ptx) {
    memcpy(ptx, self->source, strlen(self->source) + 1);
    return result_of("nvrtcGetPTX");
}

API int nvrtcGetCUBINSize(program *self, size_t *size_bytes) {
    *size_bytes = strlen(self->source) + 1;
    return result_of("nvrtcGetCUBINSize");
}

API int nvrtcGetCUBIN(program *self, char *cubin) {
    memcpy(cubin, self->source, strlen(self->source) + 1);
    return result_of("nvrtcGetCUBIN");
}
