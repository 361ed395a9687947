#include "codegen/link.h"

#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

// ---- one run of a linker ------------------------------------------------------------------------------

typedef struct linker_run {
    int error;        // errno of the start; 0 = it ran
    int exit_status;  // as waitpid gives it
    mlcc_str message; // what it wrote to standard error and output, shortened
} linker_run;

static void read_message(int fd, mlcc_str *message) {
    enum { MAX_MESSAGE_BYTES = 8192 };
    char buffer[1024];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        // The pipe is read to its end, so that the linker never blocks on it.
        if (message->length < MAX_MESSAGE_BYTES) mlcc_str_append(message, buffer, (size_t)n);
    }
}

static int start(const char *const *arguments, int output, pid_t *child) {
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return error;
    error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, 2);
    if (error == 0) {
        // posix_spawn changes neither the array nor the texts; its prototype is older than const.
        char *const *argv = (char *const *)(void *)(uintptr_t)arguments;
        error = posix_spawnp(child, arguments[0], &actions, NULL, argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void run_linker(const char *const *arguments, linker_run *run) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        run->error = errno;
        return;
    }
    pid_t child = 0;
    run->error = start(arguments, ends[1], &child);
    close(ends[1]);
    if (run->error == 0) {
        read_message(ends[0], &run->message);
        while (waitpid(child, &run->exit_status, 0) < 0 && errno == EINTR) continue;
    }
    close(ends[0]);
}

static mlcc_status *failed(const char *linker, const linker_run *run) {
    if (run->error != 0) {
        return MLCC_ERROR(IO, "cannot start linker '%s': %s", linker, strerror(run->error));
    }
    if (WIFSIGNALED(run->exit_status)) {
        return MLCC_ERROR(
            INTERNAL, "linker '%s' was ended by signal %d", linker, WTERMSIG(run->exit_status));
    }
    mlcc_str text = {0};
    mlcc_str_puts(&text, mlcc_str_text(&run->message));
    while (text.length > 0 && text.data[text.length - 1] == '\n') text.data[--text.length] = '\0';
    mlcc_status *status = MLCC_ERROR(
        INTERNAL, "linker '%s' failed with status %d: %s", linker, WEXITSTATUS(run->exit_status),
        text.length > 0 ? text.data : "it said nothing");
    mlcc_str_free(&text);
    return status;
}

// ---- which linker -------------------------------------------------------------------------------------

typedef struct candidates {
    const char *names[8];
    size_t n;
    bool must_work; // the user named it
} candidates;

static bool is_this_machine(const codegen_cpu *cpu) {
#if defined(__x86_64__)
    return mlcc_text_starts_with(cpu->triple, "x86_64");
#else
    return mlcc_text_starts_with(cpu->triple, "aarch64");
#endif
}

static candidates find_candidates(const codegen_cpu *cpu, const char *linker) {
    candidates c = {0};
    if (linker == NULL || *linker == '\0') linker = getenv("MLCC_LINKER");
    if (linker != NULL && *linker != '\0') {
        c.names[c.n++] = linker;
        c.must_work = true;
        return c;
    }
    c.names[c.n++] = MLCC_LLVM_BIN_DIR "/ld.lld";
    c.names[c.n++] = "ld.lld-" TEXT_OF(MLCC_LLVM_MAJOR);
    c.names[c.n++] = "ld.lld";
    if (is_this_machine(cpu)) c.names[c.n++] = "ld";
    return c;
}

// The soname is fixed, and no build id, time or path goes into the file.
#define LINKER_OPTIONS \
    "-shared", "--build-id=none", "-z", "relro", "-z", "noexecstack", "--hash-style=gnu", \
        "-soname", "mlcc-model.so", "-o"

static mlcc_status *link_with_any(
    const candidates *c, const char *const *objects, size_t n_objects, const char *output,
    mlcc_arena *keep, const char **used) {
    mlcc_str tried = {0};
    for (size_t i = 0; i < c->n; i++) {
        const char *const first[] = {c->names[i], LINKER_OPTIONS, output};
        enum { N_FIRST = sizeof first / sizeof first[0] };
        const char **arguments = MLCC_NEW_ARRAY(keep, const char *, N_FIRST + n_objects + 1);
        memcpy(arguments, first, sizeof first);
        memcpy(arguments + N_FIRST, objects, n_objects * sizeof *objects);
        linker_run run = {0};
        run_linker(arguments, &run);
        bool absent = run.error == ENOENT && !c->must_work;
        bool worked = run.error == 0 && run.exit_status == 0;
        mlcc_status *status = worked || absent ? NULL : failed(c->names[i], &run);
        mlcc_str_free(&run.message);
        if (!absent) {
            *used = c->names[i];
            mlcc_str_free(&tried);
            return status;
        }
        mlcc_str_printf(&tried, "%s%s", i > 0 ? ", " : "", c->names[i]);
    }
    mlcc_status *status = MLCC_ERROR(
        IO, "no linker found (tried %s); install lld, or name one with --linker or MLCC_LINKER",
        mlcc_str_text(&tried));
    mlcc_str_free(&tried);
    return status;
}

mlcc_status *codegen_link(
    const codegen_cpu *cpu, const char *linker, const codegen_object *objects, size_t n_objects,
    const char *path, mlcc_arena *keep, const char **used) {
    *used = NULL;
    const char *folder = mlcc_arena_printf(keep, "%s.tmp.%ld", path, (long)getpid());
    const char **names = MLCC_NEW_ARRAY(keep, const char *, n_objects);
    const char *output = mlcc_path_join(keep, folder, "lib.so");
    candidates c = find_candidates(cpu, linker);

    mlcc_temporary_dir_register(folder);
    mlcc_status *status = mlcc_dir_make(folder);
    for (size_t i = 0; status == NULL && i < n_objects; i++) {
        names[i] = mlcc_arena_printf(keep, "%s/lib.%zu.o", folder, i);
        status = mlcc_file_write_atomic(names[i], objects[i].data, objects[i].size_bytes);
    }
    if (status == NULL) status = link_with_any(&c, names, n_objects, output, keep, used);
    if (status == NULL) status = mlcc_file_rename(output, path);
    mlcc_status *left = mlcc_dir_remove_tree(folder);
    mlcc_temporary_dir_register(NULL);
    if (status == NULL) return left;
    mlcc_status_free(left);
    return status;
}
