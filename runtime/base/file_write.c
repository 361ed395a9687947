// Writes that are either complete or absent: the data goes to a temporary name, and only a flushed
// file gets the real one.
#include "runtime/base/file.h"

#include "runtime/base/temporaries.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BUFFER_BYTES = 4 * 1024 * 1024, MAX_NAMES_TRIED = 100 };

struct mlcc_writer {
    char *path;
    char *temporary; // NULL: the target is a device or a pipe and is written to as it is
    int file;
    int slot; // in the table of temporaries; -1 without a temporary
    uint64_t written_bytes;
    size_t fill_bytes;
    char *buffer;
};

static mlcc_status *write_error(const mlcc_writer *writer, size_t wanted_bytes, int reason) {
    if (reason != ENOSPC && reason != EDQUOT) {
        return MLCC_ERROR(IO, "cannot write '%s': %s", writer->path, strerror(reason));
    }
    const char *what = reason == ENOSPC ? "the disk is full" : "the disk quota is used up";
    struct statvfs disk;
    if (writer->temporary == NULL || fstatvfs(writer->file, &disk) != 0) {
        return MLCC_ERROR(
            IO, "cannot write '%s': %s, %zu more bytes were to be written after %llu", writer->path,
            what, wanted_bytes, (unsigned long long)writer->written_bytes);
    }
    return MLCC_ERROR(
        IO,
        "cannot write '%s': %s, %zu more bytes were to be written after %llu and %llu are free; "
        "make room or choose another place",
        writer->path, what, wanted_bytes, (unsigned long long)writer->written_bytes,
        (unsigned long long)disk.f_bavail * disk.f_frsize);
}

static void writer_free(mlcc_writer *writer) {
    if (writer->file >= 0) close(writer->file);
    free(writer->buffer);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}

// The temporary is PATH.tmp.PID, or with a number after it when this process already writes the
// same path or when a process of the same number in another container does. O_EXCL: never into a
// file that somebody else has open.
static mlcc_status *open_temporary(mlcc_writer *writer) {
    for (int i = 0; i < MAX_NAMES_TRIED; i++) {
        free(writer->temporary);
        writer->temporary = NULL;
        int length =
            i == 0 ? asprintf(&writer->temporary, "%s.tmp.%ld", writer->path, (long)getpid())
                   : asprintf(&writer->temporary, "%s.tmp.%ld.%d", writer->path, (long)getpid(), i);
        if (length < 0) {
            writer->temporary = NULL;
            return MLCC_ERROR(NO_MEMORY, "host memory ended while opening '%s'", writer->path);
        }
        writer->file = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->file >= 0) return NULL;
        if (errno != EEXIST) {
            return MLCC_ERROR(
                IO, "cannot create '%s' for writing: %s", writer->path, strerror(errno));
        }
    }
    return MLCC_ERROR(
        IO, "cannot create '%s' for writing: too many leftovers '%s*' are beside it, remove them",
        writer->path, writer->temporary);
}

// A device or a pipe (/dev/null, /dev/full, a FIFO) takes the bytes itself: a rename would put a file in its place.
static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

static mlcc_status *open_special(mlcc_writer *writer) {
    writer->file = open(writer->path, O_WRONLY | O_CLOEXEC);
    if (writer->file >= 0) return NULL;
    return MLCC_ERROR(IO, "cannot open '%s' for writing: %s", writer->path, strerror(errno));
}

mlcc_status *mlcc_writer_open(const char *path, mlcc_writer **out) {
    *out = NULL;
    mlcc_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while opening '%s'", path);
    writer->file = -1;
    writer->slot = -1;
    writer->path = strdup(path);
    writer->buffer = malloc(BUFFER_BYTES);
    mlcc_status *status;
    if (writer->path == NULL || writer->buffer == NULL) {
        status = MLCC_ERROR(NO_MEMORY, "host memory ended while opening '%s'", path);
        goto failed;
    }
    if (path[0] == '\0' || mlcc_dir_exists(path)) {
        status = MLCC_ERROR(
            INVALID, "cannot write '%s': %s", path,
            path[0] == '\0' ? "the name is empty" : "it is a directory");
        goto failed;
    }
    if (is_special(path)) {
        MLCC_GOTO(open_special(writer), failed);
        *out = writer;
        return NULL;
    }
    mlcc_interruption_hold(); // not to be ended between the two
    status = open_temporary(writer);
    if (status == NULL) writer->slot = mlcc_temporary_add(writer->temporary);
    mlcc_interruption_release();
    if (status != NULL) goto failed;
    if (writer->slot < 0) {
        unlink(writer->temporary);
        status = MLCC_ERROR(
            INTERNAL, "cannot write '%s': its path is too long or too many files are being written",
            path);
        goto failed;
    }
    *out = writer;
    return NULL;
failed:
    writer_free(writer);
    return status;
}

static mlcc_status *write_out(mlcc_writer *writer, const char *data, size_t size_bytes) {
    while (size_bytes != 0) {
        ssize_t n = write(writer->file, data, size_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return write_error(writer, size_bytes, errno);
        data += n;
        size_bytes -= (size_t)n;
        writer->written_bytes += (uint64_t)n;
    }
    return NULL;
}

static mlcc_status *flush(mlcc_writer *writer) {
    size_t size_bytes = writer->fill_bytes;
    writer->fill_bytes = 0;
    return write_out(writer, writer->buffer, size_bytes);
}

mlcc_status *mlcc_writer_write(mlcc_writer *writer, const void *data, size_t size_bytes) {
    if (size_bytes == 0) return NULL;
    if (size_bytes > BUFFER_BYTES - writer->fill_bytes) MLCC_TRY(flush(writer));
    if (size_bytes >= BUFFER_BYTES) return write_out(writer, data, size_bytes);
    memcpy(writer->buffer + writer->fill_bytes, data, size_bytes);
    writer->fill_bytes += size_bytes;
    return NULL;
}

uint64_t mlcc_writer_offset(const mlcc_writer *writer) {
    return writer->written_bytes + writer->fill_bytes;
}

mlcc_status *mlcc_writer_rewrite(
    mlcc_writer *writer, uint64_t offset, const void *data, size_t size_bytes) {
    MLCC_TRY(flush(writer));
    assert(offset <= writer->written_bytes && size_bytes <= writer->written_bytes - offset);
    const char *at = data;
    while (size_bytes != 0) {
        ssize_t n = pwrite(writer->file, at, size_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return write_error(writer, size_bytes, errno);
        at += n;
        offset += (uint64_t)n;
        size_bytes -= (size_t)n;
    }
    return NULL;
}

// After the rename the directory too must reach the disk. Some file systems cannot do that; the
// data is safe already.
static void sync_directory_of(const char *path) {
    char *dir = strdup(path);
    if (dir == NULL) return;
    char *slash = strrchr(dir, '/');
    if (slash != NULL) slash[slash == dir ? 1 : 0] = '\0';
    int file = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) {
        (void)fsync(file);
        close(file);
    }
    free(dir);
}

mlcc_status *mlcc_writer_commit(mlcc_writer *writer) {
    mlcc_status *status = NULL;
    MLCC_GOTO(flush(writer), failed);
    // EINVAL, EROFS: the target is of a kind that cannot be flushed, which is no reason to fail.
    if (fsync(writer->file) != 0 && errno != EINVAL && errno != EROFS) {
        status = write_error(writer, 0, errno);
        goto failed;
    }
    int closed = close(writer->file);
    writer->file = -1;
    if (closed != 0) { // network file systems report a full disk only here
        status = MLCC_ERROR(IO, "cannot write '%s': %s", writer->path, strerror(errno));
        goto failed;
    }
    if (writer->temporary == NULL) {
        writer_free(writer);
        return NULL;
    }
    if (rename(writer->temporary, writer->path) != 0) {
        status = MLCC_ERROR(
            IO, "cannot rename '%s' to '%s': %s", writer->temporary, writer->path, strerror(errno));
        goto failed;
    }
    mlcc_temporary_forget(writer->slot);
    sync_directory_of(writer->path);
    writer_free(writer);
    return NULL;
failed:
    mlcc_writer_abandon(writer);
    return status;
}

void mlcc_writer_abandon(mlcc_writer *writer) {
    if (writer == NULL) return;
    if (writer->temporary != NULL) unlink(writer->temporary);
    mlcc_temporary_forget(writer->slot);
    writer_free(writer);
}

mlcc_status *mlcc_file_check_writable(const char *path) {
    if (is_special(path)) return NULL; // opening a pipe waits for its reader
    mlcc_writer *writer;
    MLCC_TRY(mlcc_writer_open(path, &writer));
    mlcc_writer_abandon(writer);
    return NULL;
}

mlcc_status *mlcc_file_write_atomic(const char *path, const void *data, size_t size_bytes) {
    mlcc_writer *writer;
    MLCC_TRY(mlcc_writer_open(path, &writer));
    mlcc_status *status = mlcc_writer_write(writer, data, size_bytes);
    if (status != NULL) {
        mlcc_writer_abandon(writer);
        return status;
    }
    return mlcc_writer_commit(writer);
}
