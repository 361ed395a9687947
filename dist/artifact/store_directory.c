#include "dist/artifact/store_directory.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const store_index_names[STORE_N_INDEXES] = {
    [STORE_INDEX] = "tensor-cache.json",
    [STORE_OLD_INDEX] = "ndarray-cache.json",
    [STORE_INDEX_B16] = "tensor-cache-b16.json",
    [STORE_OLD_INDEX_B16] = "ndarray-cache-b16.json"};

// ---- the folder --------------------------------------------------------------------------------

mlcc_status *store_directory_make(const char *directory, mlcc_arena *keep, char **first_made) {
    *first_made = NULL;
    if (directory[0] == '\0')
        return MLCC_ERROR(INVALID, "the name of the output directory is empty");
    // The topmost part that is missing: found by walking up until something exists.
    char *missing = mlcc_arena_strdup(keep, directory);
    struct stat info;
    while (stat(missing, &info) != 0 && errno == ENOENT) {
        size_t length = strlen(missing);
        while (length > 1 && missing[length - 1] == '/') missing[--length] = '\0';
        *first_made = missing;
        char *parent = mlcc_path_dir(keep, missing);
        if (strcmp(parent, missing) == 0) break;
        missing = parent;
    }
    mlcc_status *status = mlcc_dir_make(directory);
    if (status != NULL && *first_made != NULL) store_directory_unmake(directory, *first_made);
    if (status != NULL) *first_made = NULL;
    return status;
}

void store_directory_unmake(const char *directory, const char *first_made) {
    mlcc_arena *scratch = mlcc_arena_create();
    char *path = mlcc_arena_strdup(scratch, directory);
    const size_t top = strlen(first_made);
    for (;;) {
        size_t length = strlen(path);
        while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
        if (length < top || (rmdir(path) != 0 && errno != ENOENT) || length == top) break;
        path = mlcc_path_dir(scratch, path);
    }
    mlcc_arena_free(scratch);
}

static int open_directory(const char *directory) {
    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

mlcc_status *store_directory_lock(const char *directory, const char *advice, int *lock) {
    *lock = open_directory(directory);
    if (*lock < 0)
        return MLCC_ERROR(IO, "cannot open directory '%s': %s", directory, strerror(errno));
    // File systems that know no locks go without one.
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return NULL;
    close(*lock);
    *lock = -1;
    return MLCC_ERROR(IO, "another process is writing weights into '%s'; %s", directory, advice);
}

// Some file systems cannot flush directories, and need not.
void store_directory_sync(const char *directory) {
    int file = open_directory(directory);
    if (file < 0) return;
    (void)fsync(file);
    close(file);
}

// ---- the names in it ---------------------------------------------------------------------------

bool store_directory_has_index(const char *directory) {
    mlcc_arena *scratch = mlcc_arena_create();
    bool has_index = false;
    for (size_t i = STORE_INDEX; i <= STORE_OLD_INDEX; i++)
        has_index |= mlcc_file_exists(mlcc_path_join(scratch, directory, store_index_names[i]));
    mlcc_arena_free(scratch);
    return has_index;
}

char *store_shard_name(mlcc_arena *keep, size_t number) {
    return mlcc_arena_printf(keep, "params_shard_%zu.bin", number);
}

bool store_is_shard_name(const char *name) {
    return mlcc_text_starts_with(name, "params_shard_") &&
           (mlcc_text_ends_with(name, ".bin") || strstr(name, ".bin.tmp.") != NULL);
}

char *store_second_name(const char *directory, const char *name, mlcc_arena *keep) {
    const int length = (int)(strlen(name) - strlen(".bin"));
    for (int i = 0;; i++) {
        char *candidate = i == 0 ? mlcc_arena_printf(keep, "%.*s.old.bin", length, name)
                                 : mlcc_arena_printf(keep, "%.*s.old%d.bin", length, name, i);
        struct stat info;
        if (lstat(mlcc_path_join(keep, directory, candidate), &info) != 0) return candidate;
    }
}
