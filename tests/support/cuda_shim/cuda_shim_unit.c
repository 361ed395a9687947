#include "tests/support/cuda_shim/cuda_shim_unit.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct cuda_shim_unit {
    char *text;
    void *handle;
    cuda_shim_unit *next;
};

// Units of the process, for whoever asks for the same text again: another row, or another subject with the same kernel in it.
static cuda_shim_unit *loaded;

// The sanitizers' runtimes come from the test program, so the compiler must be the one that built it.
#if defined(__clang__)
#    define COMPILER_TEXT_(major) "clang-" #major
#    define COMPILER_TEXT(major)  COMPILER_TEXT_(major)
static const char compiler[] = COMPILER_TEXT(__clang_major__);
#else
static const char compiler[] = "cc";
#endif

// Runs a program, both outputs into `log`; its exit status, or -1 when it could not be started.
static int run_program(const char *const *arguments, const char *log) {
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return -1;
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t process = 0;
    char **values = (char **)(uintptr_t)arguments;
    const int error = posix_spawnp(&process, arguments[0], &actions, NULL, values, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return -1;
    int state = 0;
    while (waitpid(process, &state, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

bool cuda_shim_can_compile(void) {
    const char *const arguments[] = {compiler, "--version", NULL};
    return run_program(arguments, "/dev/null") == 0;
}

static mlcc_status *compile(
    const char *source_path, const char *library_path, const char *log_path) {
    const char *arguments[32];
    size_t n = 0;
    arguments[n++] = compiler;
    // Without -fno-strict-aliasing vectors seen as halves come out wrong; contraction is left to the fma functions.
    static const char *const fixed[] = {
        "-std=gnu11", "-fno-strict-aliasing",      "-ffp-contract=off", "-w", "-shared", "-fPIC",
        "-I.",        "-Itests/support/cuda_shim",
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) arguments[n++] = fixed[i];
    // Most of a test's time goes into compiling, and little into what is compiled: line numbers cost a third of it, -O1 twice as much again.
    arguments[n++] = "-O0";
    if (CUDA_SHIM_HAS_ASAN) {
        arguments[n++] = "-fsanitize=address,undefined";
        arguments[n++] = "-fno-sanitize-recover=undefined";
    }
    arguments[n++] = "-o";
    arguments[n++] = library_path;
    arguments[n++] = source_path;
    arguments[n++] = "-lm";
    arguments[n] = NULL;
    if (run_program(arguments, log_path) == 0) return NULL;
    char *log = NULL;
    size_t size_bytes = 0;
    MLCC_TRY(mlcc_file_read(log_path, 1 << 20, &log, &size_bytes));
    mlcc_status *status =
        MLCC_ERROR(INTERNAL, "'%s' does not compile for the host:\n%.4000s", source_path, log);
    free(log);
    return status;
}

// The unit keeps a copy of the text.
static mlcc_status *load(const char *path, const char *text, const cuda_shim_unit **out) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return MLCC_ERROR(INTERNAL, "%s", dlerror());
    cuda_shim **table = dlsym(handle, "cuda_shim_of_unit");
    if (table != NULL) *table = cuda_shim_table();
    cuda_shim_unit *unit = malloc(sizeof *unit);
    char *copy = strdup(text);
    if (unit == NULL || copy == NULL) abort();
    *unit = (cuda_shim_unit){.text = copy, .handle = handle, .next = loaded};
    loaded = unit;
    *out = unit;
    return NULL;
}

static mlcc_status *compile_and_load(
    const char *name, const char *text, const char *folder, const cuda_shim_unit **out) {
    static int n_libraries;
    mlcc_arena *scratch = mlcc_arena_create();
    const char *source_path = mlcc_arena_printf(scratch, "%s/%s.c", folder, name);
    // A path of its own: for the path of a loaded library dlopen gives that library, whatever the file holds by now.
    const char *library_path =
        mlcc_arena_printf(scratch, "%s/%s.%d.so", folder, name, n_libraries++);
    const char *log_path = mlcc_arena_printf(scratch, "%s/%s.log", folder, name);
    mlcc_status *status = mlcc_file_write_atomic(source_path, text, strlen(text));
    if (status == NULL) status = compile(source_path, library_path, log_path);
    if (status == NULL) status = load(library_path, text, out);
    mlcc_arena_free(scratch);
    return status;
}

mlcc_status *cuda_shim_unit_build(
    const char *name, const char *source, const char *const *entries, const char *folder,
    const cuda_shim_unit **out) {
    *out = NULL;
    mlcc_str text = {0};
    mlcc_str_puts(&text, source);
    for (; entries != NULL && *entries != NULL; entries++) {
        mlcc_str_printf(
            &text, "\nvoid shim_entry_%s(const void *words) { %s(*(const kernel_env *)words); }\n",
            *entries, *entries);
    }
    for (const cuda_shim_unit *unit = loaded; unit != NULL && *out == NULL; unit = unit->next) {
        if (strcmp(unit->text, mlcc_str_text(&text)) == 0) *out = unit;
    }
    mlcc_status *status =
        *out == NULL ? compile_and_load(name, mlcc_str_text(&text), folder, out) : NULL;
    mlcc_str_free(&text);
    return status;
}

cuda_shim_entry *cuda_shim_unit_entry(const cuda_shim_unit *unit, const char *name) {
    char full[256] = "shim_entry_";
    if (strlen(name) > sizeof full - 12) return NULL;
    strcat(full, name);
    void *symbol = dlsym(unit->handle, full);
    cuda_shim_entry *entry = NULL;
    memcpy(&entry, &symbol, sizeof entry);
    return entry;
}
