#include "dist/artifact/store_journal.h"

#include "dist/artifact/store_directory.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOURNAL_VERSION = 1, READ_BYTES = 1024 * 1024, MAX_JOURNAL_BYTES = 64 * 1024 * 1024 };

static const char journal_name[] = "journal.jsonl";

struct store_journal {
    int file;
    char *path;
};

bool store_journal_exists(const char *staging) {
    mlcc_arena *scratch = mlcc_arena_create();
    const bool exists = mlcc_file_exists(mlcc_path_join(scratch, staging, journal_name));
    mlcc_arena_free(scratch);
    return exists;
}

// ---- writing ------------------------------------------------------------------------------------

static void put_line(mlcc_str *text, const store_finished *item) {
    char hex[33];
    mlcc_hash128_hex(item->hash, hex);
    mlcc_str_printf(
        text, "{\"opened\": %zu, \"shard\": %zu, \"bytes\": %llu, \"xxh3_128\": \"%s\"}\n",
        item->opened, item->shard, (unsigned long long)item->size_bytes, hex);
}

mlcc_status *store_journal_open(
    const char *staging, const char *inputs, const store_finished *items, size_t n_items,
    store_journal **out) {
    *out = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    const char *path = mlcc_path_join(scratch, staging, journal_name);
    mlcc_str text = {0};
    mlcc_str_printf(&text, "{\"journal\": %d, \"inputs\": %s}\n", JOURNAL_VERSION, inputs);
    for (size_t i = 0; i < n_items; i++) put_line(&text, &items[i]);
    mlcc_status *status = mlcc_file_write_atomic(path, text.data, text.length);
    mlcc_str_free(&text);
    store_journal *journal = calloc(1, sizeof *journal);
    if (journal != NULL) {
        journal->file = -1;
        journal->path = strdup(path);
    }
    mlcc_arena_free(scratch);
    if (status == NULL && (journal == NULL || journal->path == NULL))
        status = MLCC_ERROR(NO_MEMORY, "host memory ended before the first shard");
    if (status == NULL) {
        journal->file = open(journal->path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (journal->file < 0)
            status = MLCC_ERROR(IO, "cannot open '%s': %s", journal->path, strerror(errno));
    }
    if (status != NULL) {
        store_journal_close(journal);
        return status;
    }
    *out = journal;
    return NULL;
}

mlcc_status *store_journal_add(store_journal *journal, const store_finished *item) {
    mlcc_str text = {0};
    put_line(&text, item);
    mlcc_status *status = NULL;
    for (size_t at = 0; at < text.length && status == NULL;) {
        const ssize_t n = write(journal->file, text.data + at, text.length - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = MLCC_ERROR(IO, "cannot write '%s': %s", journal->path, strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    mlcc_str_free(&text);
    return status;
}

void store_journal_close(store_journal *journal) {
    if (journal == NULL) return;
    if (journal->file >= 0) close(journal->file);
    free(journal->path);
    free(journal);
}

// ---- reading ------------------------------------------------------------------------------------

// The first input that differs. Keys that only one side has differ too.
static mlcc_status *compare_inputs(
    const mlcc_json_value *before, const mlcc_json_value *now, const char *staging) {
    for (const mlcc_json_iter *it = mlcc_json_first(now); it != NULL;
         it = mlcc_json_next(now, it)) {
        const char *key = mlcc_json_iter_key(it);
        const char *value = mlcc_json_text(mlcc_json_iter_value(it), NULL),
                   *old = mlcc_json_text(mlcc_json_get(before, key), NULL);
        if (old != NULL && value != NULL && strcmp(old, value) == 0) continue;
        return MLCC_ERROR(
            MISMATCH,
            "the unfinished store '%s' was made from other inputs: %s was '%s' and is now '%s'; "
            "convert without --resume to start anew",
            staging, key, old != NULL ? old : "", value != NULL ? value : "");
    }
    return NULL;
}

static bool parse_hash(const char *hex, mlcc_hash128 *out) {
    if (hex == NULL || strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32) return false;
    char high[17] = {0};
    memcpy(high, hex, 16);
    out->high = strtoull(high, NULL, 16);
    out->low = strtoull(hex + 16, NULL, 16);
    return true;
}

// A line that is not what this writer writes ends the journal: it was cut off.
static bool parse_line(const char *line, size_t length, store_finished *out) {
    mlcc_json *json = NULL;
    mlcc_status *status = mlcc_json_parse(line, length, journal_name, 0, &json);
    int64_t opened = -1, shard = -1, size_bytes = -1;
    const char *hex = NULL;
    const mlcc_json_value *root = mlcc_json_root(json);
    if (status == NULL) status = mlcc_json_get_i64(root, "opened", true, 0, INT32_MAX, &opened);
    if (status == NULL) status = mlcc_json_get_i64(root, "shard", true, 0, INT32_MAX, &shard);
    if (status == NULL) status = mlcc_json_get_i64(root, "bytes", true, 0, INT64_MAX, &size_bytes);
    if (status == NULL) status = mlcc_json_get_text(root, "xxh3_128", true, &hex);
    bool is_good = status == NULL && parse_hash(hex, &out->hash);
    mlcc_status_free(status);
    mlcc_json_free(json);
    out->opened = (size_t)opened;
    out->shard = (size_t)shard;
    out->size_bytes = (uint64_t)size_bytes;
    return is_good;
}

typedef struct check {
    store_check_progress *progress;
    void *user;
    uint64_t done_bytes, total_bytes;
} check;

// Whether the file has the size and the content that the line says. An error of the disk counts as
// other content: the shard is made again.
static bool has_content(const char *path, const store_finished *item, check *c) {
    uint64_t size_bytes = 0;
    mlcc_status *status = mlcc_file_size(path, &size_bytes);
    const bool has_size = status == NULL && size_bytes == item->size_bytes;
    mlcc_status_free(status);
    const int file = has_size ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char *buffer = malloc(READ_BYTES);
    mlcc_hasher *hasher = mlcc_hasher_create();
    uint64_t n_read = 0;
    while (file >= 0 && buffer != NULL && n_read < size_bytes) {
        const ssize_t n = read(file, buffer, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        mlcc_hasher_update(hasher, buffer, (size_t)n);
        n_read += (uint64_t)n;
        if (c->progress != NULL) c->progress(c->user, c->done_bytes + n_read, c->total_bytes);
    }
    if (file >= 0) close(file);
    free(buffer);
    c->done_bytes += item->size_bytes;
    const bool is_same = has_size && n_read == size_bytes &&
                         mlcc_hash128_equal(mlcc_hasher_digest(hasher), item->hash);
    mlcc_hasher_free(hasher);
    return is_same;
}

static void remove_others(
    const char *staging, const store_finished *items, size_t n_items, mlcc_arena *scratch) {
    char **names = NULL;
    size_t n_names = 0;
    mlcc_map *kept = mlcc_map_create(n_items + 1);
    mlcc_map_add_text(kept, journal_name, 0);
    for (size_t i = 0; i < n_items; i++)
        mlcc_map_add_text(kept, store_shard_name(scratch, items[i].shard), 0);
    mlcc_status_free(mlcc_dir_list(staging, scratch, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        uint64_t unused = 0;
        if (!mlcc_map_get_text(kept, names[i], &unused))
            mlcc_status_free(mlcc_file_remove(mlcc_path_join(scratch, staging, names[i])));
    }
    mlcc_map_free(kept);
}

static size_t keep_intact(
    const char *staging, store_finished *items, size_t n_items, check *c, mlcc_arena *scratch) {
    size_t n_kept = 0;
    for (size_t i = 0; i < n_items; i++) c->total_bytes += items[i].size_bytes;
    for (size_t i = 0; i < n_items; i++) {
        const char *path =
            mlcc_path_join(scratch, staging, store_shard_name(scratch, items[i].shard));
        if (has_content(path, &items[i], c)) {
            items[n_kept++] = items[i];
        } else {
            mlcc_log(
                MLCC_LOG_WARN, "convert_weight",
                "shard %zu of the unfinished store is not what was written and is made again",
                items[i].shard);
        }
    }
    return n_kept;
}

static mlcc_status *check_header(
    const char *line, size_t length, const char *inputs, const char *staging) {
    mlcc_json *before = NULL, *now = NULL;
    mlcc_status *status = NULL;
    int64_t version = 0;
    MLCC_GOTO(mlcc_json_parse(line, length, journal_name, 0, &before), done);
    MLCC_GOTO(mlcc_json_parse(inputs, strlen(inputs), "the inputs", 0, &now), done);
    MLCC_GOTO(
        mlcc_json_get_i64(
            mlcc_json_root(before), "journal", true, JOURNAL_VERSION, JOURNAL_VERSION, &version),
        done);
    status = compare_inputs(
        mlcc_json_get(mlcc_json_root(before), "inputs"), mlcc_json_root(now), staging);
done:
    mlcc_json_free(before);
    mlcc_json_free(now);
    return status;
}

mlcc_status *store_journal_read(
    const char *staging, const char *inputs, store_check_progress *progress, void *progress_user,
    mlcc_arena *keep, store_finished **items, size_t *n_items) {
    *items = NULL;
    *n_items = 0;
    const char *path = mlcc_path_join(keep, staging, journal_name);
    char *text = NULL;
    size_t length = 0, capacity = 0;
    MLCC_TRY(mlcc_file_read(path, MAX_JOURNAL_BYTES, &text, &length));
    const char *end = memchr(text, '\n', length);
    mlcc_status *status =
        check_header(text, end != NULL ? (size_t)(end - text) : length, inputs, staging);
    for (const char *line = end; status == NULL && line != NULL;) {
        line++;
        end = memchr(line, '\n', length - (size_t)(line - text));
        store_finished item = {0};
        if (end == NULL || !parse_line(line, (size_t)(end - line), &item)) break;
        MLCC_ARENA_GROW(keep, *items, *n_items, capacity);
        (*items)[(*n_items)++] = item;
        line = end;
    }
    free(text);
    MLCC_TRY_NOTE(status, "reading the journal '%s'", path);
    check c = {.progress = progress, .user = progress_user};
    *n_items = keep_intact(staging, *items, *n_items, &c, keep);
    remove_others(staging, *items, *n_items, keep);
    return NULL;
}
