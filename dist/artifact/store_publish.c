// store_publish: the steps of tensor_cache_write.h.
#include "dist/artifact/store_publish.h"

#include "dist/artifact/store_directory.h"
#include "dist/artifact/store_journal.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char staging_prefix[] = ".mlcc-store.";

// Under the lock no other writer is at work: every staging folder that is there was left by a
// killed one. *adopted is the one to go on with, if it is wanted; the others go.
static mlcc_status *remove_stale_staging(
    const char *directory, bool adopts, mlcc_arena *keep, const char **adopted) {
    char **names = NULL;
    size_t n_names = 0;
    *adopted = NULL;
    MLCC_TRY(mlcc_dir_list(directory, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (!mlcc_text_starts_with(names[i], staging_prefix)) continue;
        const char *path = mlcc_path_join(keep, directory, names[i]);
        if (adopts && *adopted == NULL && store_journal_exists(path)) {
            *adopted = path;
        } else {
            MLCC_TRY(mlcc_dir_remove_tree(path));
        }
    }
    return NULL;
}

static mlcc_status *make_staging(const char *directory, const char *path, bool is_temporary) {
    mlcc_interruption_hold(); // not to be ended between the two
    const bool is_made = mkdir(path, 0777) == 0;
    const int reason = errno;
    if (is_made && is_temporary) mlcc_temporary_dir_register(path);
    mlcc_interruption_release();
    if (is_made) return NULL;
    return MLCC_ERROR(IO, "cannot write into directory '%s': %s", directory, strerror(reason));
}

mlcc_status *store_staging_make(
    const char *directory, bool adopts, mlcc_arena *keep, int *lock, char **staging) {
    *staging = NULL;
    MLCC_TRY(store_directory_lock(directory, "wait for it or choose another directory", lock));
    const char *adopted = NULL;
    MLCC_TRY(remove_stale_staging(directory, adopts, keep, &adopted));
    char *path = mlcc_arena_printf(keep, "%s/%s%ld", directory, staging_prefix, (long)getpid());
    if (adopted != NULL) {
        if (strcmp(adopted, path) != 0) MLCC_TRY(mlcc_file_rename(adopted, path));
    } else {
        MLCC_TRY(make_staging(directory, path, !adopts));
    }
    *staging = path;
    return NULL;
}

mlcc_status *store_space_check(const char *directory, uint64_t needed_bytes) {
    struct statvfs disk;
    if (needed_bytes == 0 || statvfs(directory, &disk) != 0) return NULL;
    uint64_t free_bytes = 0;
    if (__builtin_mul_overflow((uint64_t)disk.f_bavail, (uint64_t)disk.f_frsize, &free_bytes))
        return NULL;
    if (needed_bytes <= free_bytes) return NULL;
    return MLCC_ERROR(
        IO,
        "the weights need %llu bytes, but the disk of '%s' has %llu free; make room or choose "
        "another directory",
        (unsigned long long)needed_bytes, directory, (unsigned long long)free_bytes);
}

typedef struct publication {
    mlcc_arena *scratch;
    const char *directory, *staging;
    size_t n_shards;
    mlcc_map *new_names;
} publication;

static char *in_directory(const publication *p, const char *name) {
    return mlcc_path_join(p->scratch, p->directory, name);
}

static char *in_staging(const publication *p, const char *name) {
    return mlcc_path_join(p->scratch, p->staging, name);
}

// Step 1 for one shard. A shard that is missing makes the old store unreadable anyway; then there
// is nothing to keep.
static mlcc_status *give_second_name(
    const publication *p, const char *name, char **second, bool *is_missing) {
    const char *path = in_directory(p, name);
    *second = store_second_name(p->directory, name, p->scratch);
    const char *second_path = in_directory(p, *second);
    if (link(path, second_path) == 0) return NULL;
    if (errno == ENOENT) {
        *is_missing = true;
        return NULL;
    }
    return mlcc_file_copy(path, second_path);
}

static void put_renamed_shard(
    mlcc_json_writer *json, const mlcc_json_value *record, const char *name) {
    mlcc_json_begin_object(json);
    for (const mlcc_json_iter *it = mlcc_json_first(record); it != NULL;
         it = mlcc_json_next(record, it)) {
        const char *key = mlcc_json_iter_key(it);
        mlcc_json_key(json, key);
        if (strcmp(key, "dataPath") == 0) {
            mlcc_json_put_text(json, name);
        } else {
            mlcc_json_put_value(json, mlcc_json_iter_value(it));
        }
    }
    mlcc_json_end(json);
}

// The old index with second names, everything else as it was.
static void put_renamed_index(
    mlcc_str *text, const mlcc_json_value *root, const mlcc_map *second_names) {
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, text, 4, true);
    mlcc_json_begin_object(&json);
    for (const mlcc_json_iter *it = mlcc_json_first(root); it != NULL;
         it = mlcc_json_next(root, it)) {
        const mlcc_json_value *value = mlcc_json_iter_value(it);
        mlcc_json_key(&json, mlcc_json_iter_key(it));
        if (strcmp(mlcc_json_iter_key(it), "records") != 0) {
            mlcc_json_put_value(&json, value);
            continue;
        }
        mlcc_json_begin_array(&json);
        for (size_t i = 0; i < mlcc_json_count(value); i++) {
            const mlcc_json_value *record = mlcc_json_at(value, i);
            const char *name = mlcc_json_text(mlcc_json_get(record, "dataPath"), NULL);
            uint64_t second = 0;
            if (name != NULL && mlcc_map_get_text(second_names, name, &second))
                name = (const char *)(uintptr_t)second;
            put_renamed_shard(&json, record, name != NULL ? name : "");
        }
        mlcc_json_end(&json);
    }
    mlcc_json_end(&json);
}

static void remove_second_names(const publication *p, const mlcc_map *second_names) {
    for (size_t i = 0; i < mlcc_map_count(second_names); i++) {
        const char *name = NULL;
        size_t length = 0;
        uint64_t second = 0;
        mlcc_map_entry(second_names, i, &name, &length, &second);
        mlcc_status_free(mlcc_file_remove(in_directory(p, (const char *)(uintptr_t)second)));
    }
}

// Steps 1 and 2. An old index that cannot be read, or whose shards are gone, is not worth keeping:
// it is replaced at the end like any file.
static mlcc_status *keep_old_readable(const publication *p) {
    const char *path = in_directory(p, store_index_names[STORE_INDEX]);
    if (!mlcc_file_exists(path)) path = in_directory(p, store_index_names[STORE_OLD_INDEX]);
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *old = NULL;
    mlcc_status *status = mlcc_json_read_file(path, 0, &old);
    if (status != NULL) {
        mlcc_log(
            MLCC_LOG_WARN, "convert_weight",
            "the weight index '%s' cannot be read and is replaced: %s", path,
            mlcc_status_message(status));
        mlcc_status_free(status);
        return NULL;
    }
    const mlcc_json_value *root = mlcc_json_root(old);
    const mlcc_json_value *records = mlcc_json_get(root, "records");
    mlcc_map *second_names = mlcc_map_create(16);
    bool is_missing = false;
    for (size_t i = 0; i < mlcc_json_count(records) && status == NULL && !is_missing; i++) {
        const char *name =
            mlcc_json_text(mlcc_json_get(mlcc_json_at(records, i), "dataPath"), NULL);
        uint64_t unused = 0;
        if (name == NULL || !mlcc_map_get_text(p->new_names, name, &unused)) continue;
        char *second = NULL;
        status = give_second_name(p, name, &second, &is_missing);
        mlcc_map_set_text(second_names, name, (uint64_t)(uintptr_t)second);
    }
    if (status == NULL && !is_missing && mlcc_map_count(second_names) > 0) {
        mlcc_str text = {0};
        put_renamed_index(&text, root, second_names);
        const char *staged = in_staging(p, "tensor-cache.old.json");
        status = mlcc_file_write_atomic(staged, text.data, text.length);
        mlcc_str_free(&text);
        if (status == NULL)
            status = mlcc_file_rename(staged, in_directory(p, store_index_names[STORE_INDEX]));
    }
    if (status != NULL) remove_second_names(p, second_names);
    mlcc_map_free(second_names);
    mlcc_json_free(old);
    return mlcc_status_note(
        status, "keeping the weights that '%s' holds readable meanwhile", p->directory);
}

static mlcc_status *move_in(const publication *p, const char *name) {
    return mlcc_file_rename(in_staging(p, name), in_directory(p, name));
}

// Step 5. What cannot be removed does no harm.
static void remove_leftovers(const publication *p) {
    char **names = NULL;
    size_t n_names = 0;
    mlcc_status_free(mlcc_file_remove(in_directory(p, store_index_names[STORE_OLD_INDEX])));
    mlcc_status *status = mlcc_dir_list(p->directory, p->scratch, &names, &n_names);
    for (size_t i = 0; i < n_names; i++) {
        uint64_t unused = 0;
        if (store_is_shard_name(names[i]) && !mlcc_map_get_text(p->new_names, names[i], &unused)) {
            mlcc_status_free(mlcc_file_remove(in_directory(p, names[i])));
        }
    }
    mlcc_status_free(status);
    mlcc_status_free(mlcc_dir_remove_tree(p->staging));
}

static mlcc_status *publish(const publication *p, bool has_b16) {
    MLCC_TRY(keep_old_readable(p));
    MLCC_TRY(mlcc_file_remove(in_directory(p, store_index_names[STORE_INDEX_B16])));
    MLCC_TRY(mlcc_file_remove(in_directory(p, store_index_names[STORE_OLD_INDEX_B16])));
    // A reader that knows only the old name must not see new shards through it; where it is the
    // only index it stays until the new one stands.
    if (mlcc_file_exists(in_directory(p, store_index_names[STORE_INDEX])))
        MLCC_TRY(mlcc_file_remove(in_directory(p, store_index_names[STORE_OLD_INDEX])));
    store_directory_sync(p->directory);
    for (size_t i = 0; i < p->n_shards; i++) MLCC_TRY(move_in(p, store_shard_name(p->scratch, i)));
    store_directory_sync(p->directory);
    MLCC_TRY(move_in(p, store_index_names[STORE_INDEX]));
    if (has_b16) MLCC_TRY(move_in(p, store_index_names[STORE_INDEX_B16]));
    store_directory_sync(p->directory);
    remove_leftovers(p);
    return NULL;
}

mlcc_status *store_publish(
    const char *directory, const char *staging, size_t n_shards, bool has_b16) {
    publication p = {
        .scratch = mlcc_arena_create(),
        .directory = directory,
        .staging = staging,
        .n_shards = n_shards};
    p.new_names = mlcc_map_create(n_shards);
    for (size_t i = 0; i < n_shards; i++)
        mlcc_map_add_text(p.new_names, store_shard_name(p.scratch, i), 0);
    // Everything is on the disk; what is left takes no time, and half of it would leave shards that no index names.
    mlcc_interruption_hold();
    mlcc_status *status = publish(&p, has_b16);
    mlcc_interruption_release();
    mlcc_map_free(p.new_names);
    mlcc_arena_free(p.scratch);
    return status;
}
