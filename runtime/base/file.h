// file: mapping, whole-file reads, and writes that are either complete or absent.
//
// Errors name the path and the system's reason. Names that come from requests or model files go through mlcc_path_join_checked,
// which refuses absolute paths, "..", NUL and separators.
#ifndef MLCC_RUNTIME_BASE_FILE_H
#define MLCC_RUNTIME_BASE_FILE_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_mapping {
    const void *data; // NULL for an empty file
    size_t size_bytes;
} mlcc_mapping;

mlcc_status *mlcc_file_map(const char *path, mlcc_mapping *out); // read-only, private
void mlcc_file_unmap(mlcc_mapping *mapping);
// A regular file to be read at any place by any number of threads. `file` is for the other two.
mlcc_status *mlcc_file_open(const char *path, int *file, uint64_t *size_bytes);
// All of [offset, offset + size): IO when the file ends before. `path` names it in errors.
mlcc_status *mlcc_file_read_at(
    int file, const char *path, uint64_t offset_bytes, void *data, size_t size_bytes);
void mlcc_file_close(int file); // -1 is fine
// Whole file with a NUL after it; refuses files above max_bytes (0 = no limit). Free with free().
mlcc_status *mlcc_file_read(const char *path, size_t max_bytes, char **data, size_t *size_bytes);
bool mlcc_file_exists(const char *path); // a regular file (after links)
bool mlcc_dir_exists(const char *path);
mlcc_status *mlcc_file_size(const char *path, uint64_t *size_bytes);
mlcc_status *mlcc_dir_make(const char *path); // with parents; an existing directory is fine
// Names in a directory, sorted, without "." and "..".
mlcc_status *mlcc_dir_list(const char *path, mlcc_arena *keep, char ***names, size_t *n_names);
mlcc_status *mlcc_file_remove(const char *path); // absent is fine
mlcc_status *mlcc_dir_remove_tree(const char *path);
mlcc_status *mlcc_file_rename(const char *from, const char *to);
mlcc_status *mlcc_file_copy(const char *from, const char *to); // through a temporary name

// Atomic write: data goes to PATH.tmp.PID beside the target; commit flushes (fsync) and renames; abandon removes.
// A device or a pipe is written to as it is.
typedef struct mlcc_writer mlcc_writer;
mlcc_status *mlcc_writer_open(const char *path, mlcc_writer **out);
mlcc_status *mlcc_writer_write(mlcc_writer *writer, const void *data, size_t size_bytes);
uint64_t mlcc_writer_offset(const mlcc_writer *writer);
// Writes over bytes that were written before: a header that is known at the end. A pipe has no way back: IO.
mlcc_status *mlcc_writer_rewrite(
    mlcc_writer *writer, uint64_t offset, const void *data, size_t size_bytes);
// consumes the writer, also on error (then the temporary is removed)
mlcc_status *mlcc_writer_commit(mlcc_writer *writer);
void mlcc_writer_abandon(mlcc_writer *writer); // consumes; NULL is fine
// Fails where the directory or the name would let nobody write: for commands that work for long before they do.
mlcc_status *mlcc_file_check_writable(const char *path);
mlcc_status *mlcc_file_write_atomic(const char *path, const void *data, size_t size_bytes);
// Removes every temporary of this process that is still open: for Ctrl-C handlers (async-signal-safe).
void mlcc_writer_remove_all_temporaries(void);
// A directory that mlcc_writer_remove_all_temporaries also removes, until NULL forgets the one that was registered last: what makes a directory and
// calls what makes others registers its own first and forgets it last. Of one thread.
void mlcc_temporary_dir_register(const char *path);
// Makes and registers "$TMPDIR/mlcc-PURPOSE-…" (/tmp where TMPDIR is unset or empty), empty and of this user alone. IO.
mlcc_status *mlcc_temporary_dir_make(mlcc_arena *keep, const char *purpose, char **out);
// Between these two, Ctrl-C, TERM and HUP wait: around the few renames that belong together, or a temporary and its registration. Of the calling
// thread (those of a pool take no signals at all); may be nested.
void mlcc_interruption_hold(void);
void mlcc_interruption_release(void);

char *mlcc_path_join(mlcc_arena *keep, const char *dir, const char *name);
mlcc_status *mlcc_path_join_checked(
    mlcc_arena *keep, const char *dir, const char *name, char **out);
const char *mlcc_path_base(const char *path);            // part after the last '/'
char *mlcc_path_dir(mlcc_arena *keep, const char *path); // part before it, "." when none
// $MLCC_CACHE_DIR, else $XDG_CACHE_HOME/mlcc, else ~/.cache/mlcc; not created.
char *mlcc_path_cache(mlcc_arena *keep);
// Path of the running program.
char *mlcc_path_self(mlcc_arena *keep);

#endif
