// Reading, and what can be asked of and done to names. Writing is in file_write.c, path text in
// path.c.
#include "runtime/base/file.h"

#include "runtime/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mlcc_status *open_for_reading(const char *path, int *file, struct stat *info) {
    *file = open(path, O_RDONLY | O_CLOEXEC);
    if (*file < 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return MLCC_ERROR(INVALID, "cannot open '%s': %s", path, strerror(errno));
        }
        return MLCC_ERROR(IO, "cannot open '%s': %s", path, strerror(errno));
    }
    mlcc_status *status = NULL;
    if (fstat(*file, info) != 0) {
        status = MLCC_ERROR(IO, "cannot examine '%s': %s", path, strerror(errno));
    } else if (S_ISDIR(info->st_mode)) {
        status = MLCC_ERROR(INVALID, "'%s' is a directory, a file is expected", path);
    }
    if (status != NULL) close(*file);
    return status;
}

mlcc_status *mlcc_file_map(const char *path, mlcc_mapping *out) {
    *out = (mlcc_mapping){0};
    int file;
    struct stat info;
    MLCC_TRY(open_for_reading(path, &file, &info));
    mlcc_status *status = NULL;
    if (!S_ISREG(info.st_mode)) {
        status = MLCC_ERROR(INVALID, "'%s' is not a regular file and cannot be mapped", path);
    } else if ((uint64_t)info.st_size > SIZE_MAX / 2) {
        status = MLCC_ERROR(UNSUPPORTED, "'%s' is too large to be mapped", path);
    } else if (info.st_size > 0) {
        size_t size_bytes = (size_t)info.st_size;
        void *data = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, file, 0);
        if (data == MAP_FAILED) {
            status = MLCC_ERROR(
                IO, "cannot map '%s' (%zu bytes): %s", path, size_bytes, strerror(errno));
        } else {
            *out = (mlcc_mapping){.data = data, .size_bytes = size_bytes};
        }
    }
    close(file); // the mapping keeps the file alive
    return status;
}

void mlcc_file_unmap(mlcc_mapping *mapping) {
    if (mapping->data != NULL) munmap((void *)(uintptr_t)mapping->data, mapping->size_bytes);
    *mapping = (mlcc_mapping){0};
}

mlcc_status *mlcc_file_open(const char *path, int *file, uint64_t *size_bytes) {
    *size_bytes = 0;
    struct stat info;
    mlcc_status *status = open_for_reading(path, file, &info);
    if (status == NULL && !S_ISREG(info.st_mode)) {
        status = MLCC_ERROR(INVALID, "'%s' is not a regular file", path);
        close(*file);
    }
    if (status != NULL) {
        *file = -1;
        return status;
    }
    *size_bytes = (uint64_t)info.st_size;
    return NULL;
}

mlcc_status *mlcc_file_read_at(
    int file, const char *path, uint64_t offset_bytes, void *data, size_t size_bytes) {
    char *target = data;
    while (size_bytes > 0) {
        if (offset_bytes > INT64_MAX) break;
        ssize_t n = pread(file, target, size_bytes, (off_t)offset_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return MLCC_ERROR(IO, "cannot read '%s': %s", path, strerror(errno));
        if (n == 0) break;
        target += n;
        offset_bytes += (uint64_t)n;
        size_bytes -= (size_t)n;
    }
    if (size_bytes == 0) return NULL;
    return MLCC_ERROR(
        IO, "'%s' ends at %llu, %zu bytes more are expected", path,
        (unsigned long long)offset_bytes, size_bytes);
}

void mlcc_file_close(int file) {
    if (file >= 0) close(file);
}

// Reads to the end of the file, whatever its stated size: it may be a pipe or in /proc, or growing.
static mlcc_status *read_all(
    int file, const char *path, size_t expected_bytes, size_t max_bytes, char **data,
    size_t *size_bytes) {
    size_t capacity = expected_bytes + 2; // the NUL, and one byte to see the end of the file
    size_t length = 0;
    char *buffer = malloc(capacity);
    while (buffer != NULL) {
        ssize_t n = read(file, buffer + length, capacity - 1 - length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            free(buffer);
            return MLCC_ERROR(IO, "cannot read '%s': %s", path, strerror(errno));
        }
        length += (size_t)n;
        if (max_bytes != 0 && length > max_bytes) {
            free(buffer);
            return MLCC_ERROR(
                INVALID, "'%s' is larger than %zu bytes, the most that is accepted here", path,
                max_bytes);
        }
        if (n == 0) {
            buffer[length] = '\0';
            *data = buffer;
            *size_bytes = length;
            return NULL;
        }
        if (length == capacity - 1) {
            size_t larger;
            char *grown = mlcc_size_mul(capacity, 2, &larger) ? realloc(buffer, larger) : NULL;
            if (grown == NULL) break;
            buffer = grown;
            capacity = larger;
        }
    }
    free(buffer);
    return MLCC_ERROR(NO_MEMORY, "host memory ended while reading '%s'", path);
}

mlcc_status *mlcc_file_read(const char *path, size_t max_bytes, char **data, size_t *size_bytes) {
    *data = NULL;
    *size_bytes = 0;
    int file;
    struct stat info;
    MLCC_TRY(open_for_reading(path, &file, &info));
    uint64_t stated = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    mlcc_status *status;
    if (max_bytes != 0 && stated > max_bytes) {
        status = MLCC_ERROR(
            INVALID, "'%s' has %llu bytes, at most %zu are accepted here", path,
            (unsigned long long)stated, max_bytes);
    } else if (stated > SIZE_MAX / 2) {
        status = MLCC_ERROR(NO_MEMORY, "'%s' does not fit into memory", path);
    } else {
        status =
            read_all(file, path, stated != 0 ? (size_t)stated : 4096, max_bytes, data, size_bytes);
    }
    close(file);
    return status;
}

bool mlcc_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool mlcc_dir_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

mlcc_status *mlcc_file_size(const char *path, uint64_t *size_bytes) {
    *size_bytes = 0;
    struct stat info;
    if (stat(path, &info) != 0) {
        return MLCC_ERROR(IO, "cannot examine '%s': %s", path, strerror(errno));
    }
    *size_bytes = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    return NULL;
}

mlcc_status *mlcc_dir_make(const char *path) {
    char *prefix = strdup(path);
    if (prefix == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended");
    mlcc_status *status = NULL;
    for (char *p = prefix; status == NULL; p++) {
        bool last = *p == '\0';
        if (*p != '/' && !last) continue;
        *p = '\0';
        // EEXIST is the usual answer; others (read-only file system, no permission) matter only if
        // nothing is there.
        if (prefix[0] != '\0' && mkdir(prefix, 0777) != 0) {
            int reason = errno;
            if (!mlcc_dir_exists(prefix)) {
                status = MLCC_ERROR(
                    IO, "cannot make directory '%s': %s", prefix,
                    reason == EEXIST ? "a file of this name is in the way" : strerror(reason));
            }
        }
        if (last) break;
        *p = '/';
    }
    free(prefix);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

mlcc_status *mlcc_dir_list(const char *path, mlcc_arena *keep, char ***names, size_t *n_names) {
    *names = NULL;
    *n_names = 0;
    DIR *dir = opendir(path);
    if (dir == NULL) return MLCC_ERROR(IO, "cannot list '%s': %s", path, strerror(errno));
    char **items = NULL;
    size_t n = 0;
    size_t capacity = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        MLCC_ARENA_GROW(keep, items, n, capacity);
        items[n++] = mlcc_arena_strdup(keep, entry->d_name);
    }
    int reason = errno;
    closedir(dir);
    if (reason != 0) return MLCC_ERROR(IO, "cannot list '%s': %s", path, strerror(reason));
    if (n != 0) qsort(items, n, sizeof *items, compare_names);
    *names = items;
    *n_names = n;
    return NULL;
}

mlcc_status *mlcc_file_remove(const char *path) {
    if (unlink(path) != 0 && errno != ENOENT) {
        return MLCC_ERROR(IO, "cannot remove '%s': %s", path, strerror(errno));
    }
    return NULL;
}

mlcc_status *mlcc_file_rename(const char *from, const char *to) {
    if (rename(from, to) != 0) {
        return MLCC_ERROR(IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
    }
    return NULL;
}

mlcc_status *mlcc_file_copy(const char *from, const char *to) {
    enum { COPY_BYTES = 1 << 20 };
    int file;
    struct stat info;
    MLCC_TRY(open_for_reading(from, &file, &info));
    mlcc_status *status = NULL;
    mlcc_writer *writer = NULL;
    char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL) {
        status = MLCC_ERROR(NO_MEMORY, "host memory ended while copying '%s'", from);
        goto done;
    }
    MLCC_GOTO(mlcc_writer_open(to, &writer), done);
    for (;;) {
        ssize_t n = read(file, buffer, COPY_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = MLCC_ERROR(IO, "cannot read '%s': %s", from, strerror(errno));
            goto done;
        }
        if (n == 0) break;
        MLCC_GOTO(mlcc_writer_write(writer, buffer, (size_t)n), done);
    }
    status = mlcc_writer_commit(writer);
    writer = NULL;
done:
    mlcc_writer_abandon(writer);
    free(buffer);
    close(file);
    return status;
}
