#include "runtime/base/file.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *mlcc_path_join(mlcc_arena *keep, const char *dir, const char *name) {
    size_t length = strlen(dir);
    if (length == 0 || name[0] == '/') return mlcc_arena_strdup(keep, name);
    return mlcc_arena_printf(keep, dir[length - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

mlcc_status *mlcc_path_join_checked(
    mlcc_arena *keep, const char *dir, const char *name, char **out) {
    *out = NULL;
    const char *reason = NULL;
    if (name == NULL || name[0] == '\0') {
        return MLCC_ERROR(INVALID, "a file name in '%s' is empty", dir);
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        reason = "it names a directory";
    } else if (name[0] == '/') {
        reason = "it is an absolute path";
    } else if (strchr(name, '/') != NULL || strchr(name, '\\') != NULL) {
        reason = "it has a '/' or '\\' in it";
    }
    if (reason != NULL) {
        return MLCC_ERROR(
            INVALID, "file name '%s' is refused: %s, a plain name inside '%s' is expected", name,
            reason, dir);
    }
    *out = mlcc_path_join(keep, dir, name);
    return NULL;
}

const char *mlcc_path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *mlcc_path_dir(mlcc_arena *keep, const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return mlcc_arena_strdup(keep, ".");
    if (slash == path) return mlcc_arena_strdup(keep, "/");
    return mlcc_arena_strndup(keep, path, (size_t)(slash - path));
}

// The value of an environment variable, NULL when it is unset or empty.
static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

char *mlcc_path_cache(mlcc_arena *keep) {
    const char *own = environment("MLCC_CACHE_DIR");
    if (own != NULL) return mlcc_arena_strdup(keep, own);
    const char *xdg = environment("XDG_CACHE_HOME");
    // The XDG specification wants relative paths ignored.
    if (xdg != NULL && xdg[0] == '/') return mlcc_path_join(keep, xdg, "mlcc");
    const char *home = environment("HOME");
    char buffer[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    if (home == NULL && getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 &&
        found != NULL && found->pw_dir[0] == '/') {
        home = found->pw_dir;
    }
    return mlcc_path_join(keep, home != NULL ? home : ".", ".cache/mlcc");
}

char *mlcc_path_self(mlcc_arena *keep) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    if (length > 0 && (size_t)length < sizeof path) {
        return mlcc_arena_strndup(keep, path, (size_t)length);
    }
    return mlcc_arena_strdup(keep, program_invocation_name);
}
