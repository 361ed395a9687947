// tensor_cache_write: records into shards, shards into the index. Layout of the JSON: MLC's
// `tvmjs.dump_tensor_cache` (json.dump, indent 4).
#include "dist/artifact/tensor_cache_write.h"

#include "dist/artifact/store_directory.h"
#include "dist/artifact/store_publish.h"
#include "dist/artifact/store_seal.h"
#include "quantization/round.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SHARD_CAP_BYTES = 32 * 1024 * 1024, HALVES_AT_ONCE = 16 * 1024 };

typedef struct store_record {
    const char *name;
    ir_dtype dtype;
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
    uint64_t offset_bytes, stored_bytes;
    bool is_halved; // float32 stored as bfloat16
} store_record;

// A shard that is being filled: its bytes go to a file without a number.
typedef struct store_shard {
    bool is_open;
    size_t opened; // in the order in which shards are begun
    int file;      // -1: finished by an earlier writer, takes no bytes
    char *path;
    mlcc_hasher *hasher;
    store_record *records;
    size_t n_records, capacity;
    uint64_t size_bytes;
} store_shard;

struct artifact_store {
    mlcc_arena *keep;
    char *directory, *staging, *first_made;
    int lock;
    bool f32_as_bf16, resumes;
    mlcc_map *names;
    store_shard *shards; // closed, in number order
    size_t n_shards, shards_capacity;
    store_shard pending, alone;
    store_shard *current;
    const store_record *open_record;
    uint64_t left_bytes; // of the open record, in memory form
    uint64_t param_bytes;
    size_t n_opened;
    uint16_t *halves;
    store_seal *seal;
    store_journal *journal;       // NULL: none
    const store_finished **found; // [n_found] by `opened`: what an earlier writer finished, or NULL
    size_t n_found, n_resumed;
};

uint16_t artifact_store_bf16(float value) {
    const uint32_t bits = quant_bits(value);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f7f0000u) return (uint16_t)(bits >> 16);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Names of dtypes in MLC's files; NULL: not storable.
const char *artifact_dtype_name(ir_dtype dtype) {
    switch (dtype) {
    case IR_F32: return "float32";
    case IR_F16: return "float16";
    case IR_BF16: return "bfloat16";
    case IR_I32: return "int32";
    case IR_U32: return "uint32";
    case IR_I8: return "int8";
    case IR_U8: return "uint8";
    case IR_F8E4M3: return "float8_e4m3fn";
    case IR_F8E5M2: return "float8_e5m2";
    default: return NULL;
    }
}

static mlcc_status *take_over(artifact_store *store, const artifact_store_options *options) {
    store_finished *items = NULL;
    size_t n_items = 0;
    if (options->resume && store_journal_exists(store->staging))
        MLCC_TRY(store_journal_read(
            store->staging, options->inputs, options->check_progress, options->check_user,
            store->keep, &items, &n_items));
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].opened >= store->n_found) store->n_found = items[i].opened + 1;
    }
    store->found = MLCC_NEW_ARRAY(store->keep, const store_finished *, store->n_found + 1);
    for (size_t i = 0; i < n_items; i++) store->found[items[i].opened] = &items[i];
    return store_journal_open(store->staging, options->inputs, items, n_items, &store->journal);
}

mlcc_status *artifact_store_open(const artifact_store_options *options, artifact_store **out) {
    *out = NULL;
    mlcc_arena *keep = mlcc_arena_create();
    artifact_store *store = MLCC_NEW(keep, artifact_store);
    store->keep = keep;
    store->lock = -1;
    store->pending.file = store->alone.file = -1;
    store->directory = mlcc_arena_strdup(keep, options->directory);
    store->f32_as_bf16 = options->f32_as_bf16;
    store->resumes = options->resume;
    store->names = mlcc_map_create(1024);
    mlcc_status *status = NULL;
    MLCC_GOTO(store_directory_make(store->directory, keep, &store->first_made), failed);
    MLCC_GOTO(
        store_staging_make(store->directory, options->resume, keep, &store->lock, &store->staging),
        failed);
    if (options->inputs != NULL) MLCC_GOTO(take_over(store, options), failed);
    uint64_t needed_bytes = options->expected_bytes;
    for (size_t i = 0; i < store->n_found; i++) {
        const uint64_t there = store->found[i] != NULL ? store->found[i]->size_bytes : 0;
        needed_bytes = needed_bytes > there ? needed_bytes - there : 0;
    }
    MLCC_GOTO(store_space_check(store->directory, needed_bytes), failed);
    MLCC_GOTO(store_seal_start(&store->seal), failed);
    *out = store;
    return NULL;
failed:
    artifact_store_abandon(store);
    return mlcc_status_note(
        status, "opening the weight store '%s' for writing", options->directory);
}

static void shard_abandon(store_shard *shard) {
    if (shard->file >= 0) close(shard->file);
    mlcc_hasher_free(shard->hasher);
}

static void store_free(artifact_store *store) {
    // As store_staging_make has it: what may be resumed is not registered.
    if (store->staging != NULL && !store->resumes) mlcc_temporary_dir_register(NULL);
    shard_abandon(&store->pending);
    shard_abandon(&store->alone);
    store_seal_free(store->seal);
    store_journal_close(store->journal);
    mlcc_map_free(store->names);
    free(store->halves);
    if (store->lock >= 0) close(store->lock);
    mlcc_arena_free(store->keep);
}

void artifact_store_abandon(artifact_store *store) {
    if (store == NULL) return;
    // A journal that is not ours to continue (of other inputs) was found, not opened.
    const bool stays = store->resumes && store->staging != NULL &&
                       store_journal_exists(store->staging) &&
                       (store->journal == NULL || store->n_shards + store->n_found > 0);
    store_seal_free(store->seal);
    store->seal = NULL;
    if (store->staging != NULL && !stays) mlcc_status_free(mlcc_dir_remove_tree(store->staging));
    if (store->first_made != NULL && !stays)
        store_directory_unmake(store->directory, store->first_made);
    store_free(store);
}

// What an earlier writer made of the shard that is begun as number `opened`; NULL: nothing.
static const store_finished *found_shard(const artifact_store *store, size_t opened) {
    return opened < store->n_found ? store->found[opened] : NULL;
}

static mlcc_status *shard_open(artifact_store *store, store_shard *shard) {
    shard->is_open = true;
    shard->opened = store->n_opened++;
    shard->file = -1;
    if (found_shard(store, shard->opened) != NULL) return NULL;
    shard->path = mlcc_arena_printf(store->keep, "%s/open_%zu.bin", store->staging, shard->opened);
    shard->file = open(shard->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (shard->file < 0)
        return MLCC_ERROR(IO, "cannot create '%s' for writing: %s", shard->path, strerror(errno));
    shard->hasher = mlcc_hasher_create();
    return NULL;
}

// Of the shard that is closed next.
static char *shard_path(const artifact_store *store) {
    return mlcc_path_join(
        store->keep, store->staging, store_shard_name(store->keep, store->n_shards));
}

// A shard of an earlier writer: it is as the journal says, and the journal is of the same inputs.
static mlcc_status *shard_reuse(artifact_store *store, const store_shard *shard) {
    const store_finished *found = found_shard(store, shard->opened);
    if (found->shard != store->n_shards || found->size_bytes != shard->size_bytes) {
        return MLCC_ERROR(
            INTERNAL, "shard %zu of %llu bytes was written before as shard %zu of %llu",
            store->n_shards, (unsigned long long)shard->size_bytes, found->shard,
            (unsigned long long)found->size_bytes);
    }
    const char *path = shard_path(store);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return MLCC_ERROR(IO, "cannot open '%s': %s", path, strerror(errno));
    store->n_resumed++;
    return store_seal_add(store->seal, file, store->n_shards, shard->size_bytes);
}

static mlcc_status *shard_complete(artifact_store *store, store_shard *shard) {
    const store_finished item = {
        .opened = shard->opened,
        .shard = store->n_shards,
        .size_bytes = shard->size_bytes,
        .hash = mlcc_hasher_digest(shard->hasher)};
    mlcc_hasher_free(shard->hasher);
    shard->hasher = NULL;
    char *path = shard_path(store);
    MLCC_TRY(mlcc_file_rename(shard->path, path));
    if (store->journal != NULL) MLCC_TRY(store_journal_add(store->journal, &item));
    const int file = shard->file;
    shard->file = -1;
    return store_seal_add(store->seal, file, store->n_shards, shard->size_bytes);
}

// Gives the shard the next number and moves it to the closed ones.
static mlcc_status *shard_close(artifact_store *store, store_shard *shard) {
    if (!shard->is_open) return NULL;
    MLCC_TRY(shard->file < 0 ? shard_reuse(store, shard) : shard_complete(store, shard));
    MLCC_ARENA_GROW(store->keep, store->shards, store->n_shards, store->shards_capacity);
    store->shards[store->n_shards++] = *shard;
    *shard = (store_shard){.file = -1};
    return NULL;
}

static mlcc_status *record_sizes(
    const artifact_store *store, const char *name, store_record *record, uint64_t *memory_bytes) {
    if (record->rank < 0 || record->rank > IR_MAX_RANK)
        return MLCC_ERROR(
            INVALID, "record '%s' has %d dimensions, at most %d are possible", name, record->rank,
            IR_MAX_RANK);
    if (artifact_dtype_name(record->dtype) == NULL) {
        return MLCC_ERROR(
            INTERNAL, "record '%s' has the element type '%s', which a weight store cannot hold",
            name, ir_dtype_get(record->dtype)->text);
    }
    uint64_t n_elements = 1;
    for (int32_t i = 0; i < record->rank; i++) {
        if (record->dims[i] <= 0 ||
            __builtin_mul_overflow(n_elements, (uint64_t)record->dims[i], &n_elements)) {
            return MLCC_ERROR(
                INVALID, "record '%s' has an impossible shape: dimension %d is %lld", name, i,
                (long long)record->dims[i]);
        }
    }
    if (n_elements > INT64_MAX / 8)
        return MLCC_ERROR(
            INVALID, "record '%s' has %llu elements, which do not fit 63 bits", name,
            (unsigned long long)n_elements);
    *memory_bytes = n_elements * ir_dtype_bytes(record->dtype);
    record->is_halved = record->dtype == IR_F32 && store->f32_as_bf16;
    record->stored_bytes = record->is_halved ? *memory_bytes / 2 : *memory_bytes;
    return NULL;
}

// MLC's rule.
typedef enum shard_choice { JOINS_PENDING, BEGINS_PENDING, STANDS_ALONE } shard_choice;

static shard_choice choose_shard(bool has_pending, uint64_t pending_bytes, uint64_t stored_bytes) {
    if (pending_bytes + stored_bytes < SHARD_CAP_BYTES)
        return has_pending ? JOINS_PENDING : BEGINS_PENDING;
    return 2 * stored_bytes >= SHARD_CAP_BYTES ? STANDS_ALONE : BEGINS_PENDING;
}

bool artifact_store_is_finished(
    const artifact_store *store, const artifact_record *records, size_t n_records) {
    bool has_pending = store->pending.is_open;
    uint64_t pending_bytes = store->pending.size_bytes, memory_bytes = 0;
    size_t pending = store->pending.opened, n_opened = store->n_opened;
    for (size_t i = 0; i < n_records; i++) {
        store_record next = {.dtype = records[i].dtype, .rank = records[i].rank};
        memcpy(next.dims, records[i].dims, sizeof next.dims);
        mlcc_status *status = record_sizes(store, records[i].name, &next, &memory_bytes);
        if (status != NULL) {
            mlcc_status_free(status);
            return false;
        }
        const shard_choice choice = choose_shard(has_pending, pending_bytes, next.stored_bytes);
        size_t target = choice == JOINS_PENDING ? pending : n_opened++;
        if (found_shard(store, target) == NULL) return false;
        if (choice == STANDS_ALONE) continue;
        pending = target;
        pending_bytes = (choice == JOINS_PENDING ? pending_bytes : 0) + next.stored_bytes;
        has_pending = true;
    }
    return true;
}

mlcc_status *artifact_store_begin(
    artifact_store *store, const char *name, ir_dtype dtype, int32_t rank, const int64_t *dims) {
    if (store->left_bytes != 0) {
        return MLCC_ERROR(
            INTERNAL, "record '%s' begins while '%s' lacks %llu bytes", name,
            store->open_record->name, (unsigned long long)store->left_bytes);
    }
    if (!mlcc_map_add_text(store->names, name, 0))
        return MLCC_ERROR(INVALID, "two records have the name '%s'", name);
    store_record next = {
        .name = mlcc_arena_strdup(store->keep, name), .dtype = dtype, .rank = rank};
    for (int32_t i = 0; i < rank && i < IR_MAX_RANK; i++) next.dims[i] = dims[i];
    uint64_t memory_bytes = 0;
    MLCC_TRY(record_sizes(store, name, &next, &memory_bytes));

    store_shard *target = &store->pending;
    switch (choose_shard(target->is_open, target->size_bytes, next.stored_bytes)) {
    case JOINS_PENDING: break;
    case BEGINS_PENDING: MLCC_TRY(shard_close(store, target)); break;
    case STANDS_ALONE: target = &store->alone; break;
    }
    if (!target->is_open) MLCC_TRY(shard_open(store, target));
    next.offset_bytes = target->size_bytes;
    target->size_bytes += next.stored_bytes;
    MLCC_ARENA_GROW(store->keep, target->records, target->n_records, target->capacity);
    target->records[target->n_records] = next;
    store->open_record = &target->records[target->n_records++];
    store->current = target;
    store->left_bytes = memory_bytes;
    store->param_bytes += memory_bytes;
    return NULL;
}

static mlcc_status *write_error(const store_shard *shard, size_t size_bytes, int reason) {
    struct statvfs disk;
    if ((reason != ENOSPC && reason != EDQUOT) || fstatvfs(shard->file, &disk) != 0)
        return MLCC_ERROR(IO, "cannot write '%s': %s", shard->path, strerror(reason));
    return MLCC_ERROR(
        IO,
        "cannot write '%s': %s, %zu more bytes were to be written and %llu are free; make room or "
        "choose another place",
        shard->path, reason == ENOSPC ? "the disk is full" : "the disk quota is used up",
        size_bytes, (unsigned long long)disk.f_bavail * disk.f_frsize);
}

static mlcc_status *shard_write(store_shard *shard, const void *data, size_t size_bytes) {
    if (shard->file < 0) return NULL;
    mlcc_hasher_update(shard->hasher, data, size_bytes);
    const char *bytes = data;
    while (size_bytes != 0) {
        const ssize_t n = write(shard->file, bytes, size_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return write_error(shard, size_bytes, errno);
        bytes += n;
        size_bytes -= (size_t)n;
    }
    return NULL;
}

static mlcc_status *write_halves(artifact_store *store, const float *values, size_t count) {
    if (store->halves == NULL) {
        store->halves = malloc(HALVES_AT_ONCE * sizeof *store->halves);
        if (store->halves == NULL)
            return MLCC_ERROR(
                NO_MEMORY, "host memory ended while storing '%s'", store->open_record->name);
    }
    while (count != 0) {
        const size_t n = count < HALVES_AT_ONCE ? count : HALVES_AT_ONCE;
        for (size_t i = 0; i < n; i++) store->halves[i] = artifact_store_bf16(values[i]);
        MLCC_TRY(shard_write(store->current, store->halves, n * sizeof *store->halves));
        values += n;
        count -= n;
    }
    return NULL;
}

mlcc_status *artifact_store_append(artifact_store *store, const void *data, size_t size_bytes) {
    if (size_bytes > store->left_bytes) {
        return MLCC_ERROR(
            INTERNAL, "%zu bytes come for a record that lacks %llu", size_bytes,
            (unsigned long long)store->left_bytes);
    }
    if (store->open_record != NULL && store->open_record->is_halved) {
        if (size_bytes % sizeof(float) != 0)
            return MLCC_ERROR(INTERNAL, "%zu bytes are no whole float32 elements", size_bytes);
        MLCC_TRY(write_halves(store, data, size_bytes / sizeof(float)));
    } else {
        MLCC_TRY(shard_write(store->current, data, size_bytes));
    }
    store->left_bytes -= size_bytes;
    if (store->left_bytes == 0 && store->current == &store->alone)
        return shard_close(store, &store->alone);
    return NULL;
}

mlcc_status *artifact_store_skip(artifact_store *store, const artifact_record *record) {
    MLCC_TRY(artifact_store_begin(store, record->name, record->dtype, record->rank, record->dims));
    if (store->current->file >= 0)
        return MLCC_ERROR(INTERNAL, "record '%s' is skipped, but not finished", record->name);
    store->left_bytes = 0;
    return store->current == &store->alone ? shard_close(store, &store->alone) : NULL;
}

static void put_record(mlcc_json_writer *json, const store_record *record, bool as_b16) {
    const bool is_widened = as_b16 && record->is_halved;
    mlcc_json_begin_object(json);
    mlcc_json_key(json, "name");
    mlcc_json_put_text(json, record->name);
    mlcc_json_key(json, "shape");
    mlcc_json_begin_array(json);
    for (int32_t i = 0; i < record->rank; i++) mlcc_json_put_i64(json, record->dims[i]);
    mlcc_json_end(json);
    mlcc_json_key(json, "dtype");
    mlcc_json_put_text(json, is_widened ? "bfloat16" : artifact_dtype_name(record->dtype));
    mlcc_json_key(json, "format");
    // MLC writes "f32-to-bf16" on every record; only for float32 does it mean something.
    mlcc_json_put_text(
        json,
        is_widened || (record->dtype == IR_F32 && !record->is_halved) ? "raw" : "f32-to-bf16");
    mlcc_json_key(json, "nbytes");
    mlcc_json_put_i64(json, (int64_t)record->stored_bytes);
    mlcc_json_key(json, "byteOffset");
    mlcc_json_put_i64(json, (int64_t)record->offset_bytes);
    mlcc_json_end(json);
}

static void put_shard(
    mlcc_json_writer *json, const artifact_store *store, size_t number, bool as_b16) {
    const store_shard *shard = &store->shards[number];
    mlcc_json_begin_object(json);
    mlcc_json_key(json, "dataPath");
    mlcc_json_put_text(json, store_shard_name(store->keep, number));
    mlcc_json_key(json, "format");
    mlcc_json_put_text(json, "raw-shard");
    mlcc_json_key(json, "nbytes");
    mlcc_json_put_i64(json, (int64_t)shard->size_bytes);
    mlcc_json_key(json, "records");
    mlcc_json_begin_array(json);
    for (size_t i = 0; i < shard->n_records; i++) put_record(json, &shard->records[i], as_b16);
    mlcc_json_end(json);
    mlcc_json_key(json, "md5sum");
    mlcc_json_put_text(json, store_seal_md5(store->seal, number));
    mlcc_json_end(json);
}

// Writes the index into the staging folder; `as_b16`: the variant that calls the halves what they
// are.
static mlcc_status *write_index(
    const artifact_store *store, const artifact_store_totals *totals, bool as_b16) {
    mlcc_str text = {0};
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, &text, 4, true);
    mlcc_json_begin_object(&json);
    mlcc_json_key(&json, "metadata");
    mlcc_json_begin_object(&json);
    mlcc_json_key(&json, "ParamSize");
    mlcc_json_put_i64(&json, (int64_t)totals->n_records);
    mlcc_json_key(&json, "ParamBytes");
    mlcc_json_put_f64(&json, (double)totals->param_bytes);
    mlcc_json_key(&json, "BitsPerParam");
    mlcc_json_put_f64(&json, totals->bits_per_param);
    mlcc_json_end(&json);
    mlcc_json_key(&json, "records");
    mlcc_json_begin_array(&json);
    for (size_t i = 0; i < store->n_shards; i++) put_shard(&json, store, i, as_b16);
    mlcc_json_end(&json);
    mlcc_json_end(&json);
    const char *path = mlcc_path_join(
        store->keep, store->staging, store_index_names[as_b16 ? STORE_INDEX_B16 : STORE_INDEX]);
    mlcc_status *status = mlcc_file_write_atomic(path, text.data, text.length);
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *finish(
    artifact_store *store, uint64_t n_source_elements, artifact_store_totals *totals) {
    if (store->left_bytes != 0) {
        return MLCC_ERROR(
            INTERNAL, "the store ends while '%s' lacks %llu bytes", store->open_record->name,
            (unsigned long long)store->left_bytes);
    }
    MLCC_TRY(shard_close(store, &store->pending));
    MLCC_TRY(store_seal_wait(store->seal));
    bool has_b16 = false;
    for (size_t i = 0; i < store->n_shards; i++) {
        totals->stored_bytes += store->shards[i].size_bytes;
        for (size_t j = 0; j < store->shards[i].n_records; j++)
            has_b16 |= store->shards[i].records[j].is_halved;
    }
    totals->n_records = mlcc_map_count(store->names);
    totals->n_shards = store->n_shards;
    totals->n_resumed_shards = store->n_resumed;
    totals->param_bytes = store->param_bytes;
    totals->bits_per_param =
        n_source_elements == 0 ? 0.0 : (double)store->param_bytes * 8.0 / (double)n_source_elements;
    MLCC_TRY(write_index(store, totals, false));
    if (has_b16) MLCC_TRY(write_index(store, totals, true));
    return store_publish(store->directory, store->staging, store->n_shards, has_b16);
}

mlcc_status *artifact_store_finish(
    artifact_store *store, uint64_t n_source_elements, artifact_store_totals *totals) {
    artifact_store_totals unused = {0};
    if (totals == NULL) totals = &unused;
    *totals = unused;
    mlcc_status *status = finish(store, n_source_elements, totals);
    if (status != NULL) {
        status = mlcc_status_note(status, "completing the weight store '%s'", store->directory);
        artifact_store_abandon(store);
        return status;
    }
    store_free(store);
    return NULL;
}
