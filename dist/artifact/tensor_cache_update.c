#include "dist/artifact/tensor_cache_update.h"

#include "dist/artifact/store_directory.h"
#include "dist/artifact/tensor_cache_write.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"
#include "runtime/model/tensor_cache.h"

#include <string.h>
#include <unistd.h>

// How a vector will lie in the new shard.
typedef struct placed_vector {
    bool is_halved;
    uint64_t offset_bytes, size_bytes;
} placed_vector;

typedef struct update {
    mlcc_arena *scratch;
    const char *directory;
    const artifact_vector *vectors;
    size_t n_vectors;
    placed_vector *placed;
    mlcc_map *names; // of the vectors
    mlcc_tensor_cache *store;
    mlcc_json *indexes[STORE_N_INDEXES]; // NULL: the directory has none of this name
    const char *shard;                   // name of the new shard
    const char *second_name; // of the file that has this name now; NULL: no index names it
    mlcc_str bytes;          // of the new shard
    char md5[33];
} update;

static char *in_directory(const update *u, const char *name) {
    return mlcc_path_join(u->scratch, u->directory, name);
}

static bool is_updated(const update *u, const mlcc_json_value *record) {
    uint64_t unused = 0;
    const char *name = mlcc_json_text(mlcc_json_get(record, "name"), NULL);
    return name != NULL && mlcc_map_get_text(u->names, name, &unused);
}

static const char *path_of_shard(const mlcc_json_value *shard) {
    const char *name = mlcc_json_text(mlcc_json_get(shard, "dataPath"), NULL);
    return name != NULL ? name : "";
}

// ---- what is there ---------------------------------------------------------------------------

static mlcc_status *read_indexes(update *u) {
    MLCC_TRY(mlcc_tensor_cache_open(u->directory, &u->store));
    for (size_t i = 0; i < STORE_N_INDEXES; i++) {
        const char *path = in_directory(u, store_index_names[i]);
        if (mlcc_file_exists(path)) MLCC_TRY(mlcc_json_read_file(path, 0, &u->indexes[i]));
    }
    return NULL;
}

static mlcc_status *check_vectors(const update *u) {
    for (size_t i = 0; i < u->n_vectors; i++) {
        const artifact_vector *vector = &u->vectors[i];
        if (!mlcc_map_add_text(u->names, vector->name, i))
            return MLCC_ERROR(INVALID, "two tensors have the name '%s'", vector->name);
        if (vector->n_values < 1 || vector->n_values > INT32_MAX)
            return MLCC_ERROR(
                INVALID, "tensor '%s' has %lld values; accepted are 1 … 2^31 - 1", vector->name,
                (long long)vector->n_values);
        const mlcc_tensor_record *record = mlcc_tensor_cache_find(u->store, vector->name);
        if (record == NULL || (record->abi_dtype == MLCC_ABI_F32 && record->rank == 1 &&
                               record->dims[0] == vector->n_values))
            continue;
        mlcc_str found = {0};
        mlcc_tensor_shape_text(record->dtype, record->rank, record->dims, &found);
        mlcc_status *status = MLCC_ERROR(
            MISMATCH, "%s holds '%s' as %s, it cannot be replaced by a float32 [%lld]",
            u->store->path, vector->name, mlcc_str_text(&found), (long long)vector->n_values);
        mlcc_str_free(&found);
        return status;
    }
    return NULL;
}

// ---- the new shard ---------------------------------------------------------------------------

static bool store_halves_floats(const mlcc_tensor_cache *store) {
    for (size_t i = 0; i < store->n_records; i++) {
        if (store->records[i].abi_dtype == MLCC_ABI_F32) return store->records[i].is_bf16_halves;
    }
    return false;
}

static void make_bytes(update *u, artifact_update_result *out) {
    const bool halves = store_halves_floats(u->store);
    u->placed = MLCC_NEW_ARRAY(u->scratch, placed_vector, u->n_vectors + 1);
    for (size_t i = 0; i < u->n_vectors; i++) {
        const artifact_vector *vector = &u->vectors[i];
        const mlcc_tensor_record *old = mlcc_tensor_cache_find(u->store, vector->name);
        placed_vector *placed = &u->placed[i];
        placed->is_halved = old != NULL ? old->is_bf16_halves : halves;
        placed->offset_bytes = u->bytes.length;
        for (int64_t j = 0; j < vector->n_values; j++) {
            const uint16_t half = artifact_store_bf16(vector->values[j]);
            if (placed->is_halved) {
                mlcc_str_append(&u->bytes, (const char *)&half, sizeof half);
            } else {
                mlcc_str_append(&u->bytes, (const char *)&vector->values[j], sizeof(float));
            }
        }
        placed->size_bytes = u->bytes.length - placed->offset_bytes;
        *(old != NULL ? &out->n_replaced : &out->n_added) += 1;
    }
    mlcc_md5 md5;
    mlcc_md5_init(&md5);
    mlcc_md5_update(&md5, u->bytes.data, u->bytes.length);
    mlcc_md5_hex(&md5, u->md5);
}

// A shard leaves the index when all of its records do; an empty one stays.
static bool shard_stays(const update *u, const mlcc_json_value *shard) {
    const mlcc_json_value *records = mlcc_json_get(shard, "records");
    const size_t n_records = mlcc_json_count(records);
    for (size_t i = 0; i < n_records; i++) {
        if (!is_updated(u, mlcc_json_at(records, i))) return true;
    }
    return n_records == 0;
}

// Whether some index names the file; `stays`: in a shard that stays.
static bool is_named(const update *u, const char *name, bool stays) {
    for (size_t i = 0; i < STORE_N_INDEXES; i++) {
        if (u->indexes[i] == NULL) continue;
        const mlcc_json_value *shards = mlcc_json_get(mlcc_json_root(u->indexes[i]), "records");
        for (size_t j = 0; j < mlcc_json_count(shards); j++) {
            const mlcc_json_value *shard = mlcc_json_at(shards, j);
            if (strcmp(path_of_shard(shard), name) == 0 && (!stays || shard_stays(u, shard)))
                return true;
        }
    }
    return false;
}

static const mlcc_json_value *first_index(const update *u) {
    return mlcc_json_root(
        u->indexes[STORE_INDEX] != NULL ? u->indexes[STORE_INDEX] : u->indexes[STORE_OLD_INDEX]);
}

static void choose_names(update *u) {
    const mlcc_json_value *shards = mlcc_json_get(first_index(u), "records");
    size_t number = 0;
    for (size_t i = 0; i < mlcc_json_count(shards); i++)
        number += shard_stays(u, mlcc_json_at(shards, i));
    do {
        u->shard = store_shard_name(u->scratch, number++);
    } while (is_named(u, u->shard, true));
    if (!is_named(u, u->shard, false)) return;
    u->second_name = store_second_name(u->directory, u->shard, u->scratch);
}

// ---- indexes ---------------------------------------------------------------------------------

static void put_vector(mlcc_json_writer *json, const update *u, size_t index, bool as_b16) {
    const artifact_vector *vector = &u->vectors[index];
    const placed_vector *placed = &u->placed[index];
    mlcc_json_begin_object(json);
    mlcc_json_key(json, "name");
    mlcc_json_put_text(json, vector->name);
    mlcc_json_key(json, "shape");
    mlcc_json_begin_array(json);
    mlcc_json_put_i64(json, vector->n_values);
    mlcc_json_end(json);
    mlcc_json_key(json, "dtype");
    mlcc_json_put_text(json, as_b16 && placed->is_halved ? "bfloat16" : "float32");
    mlcc_json_key(json, "format");
    mlcc_json_put_text(json, placed->is_halved && !as_b16 ? "f32-to-bf16" : "raw");
    mlcc_json_key(json, "nbytes");
    mlcc_json_put_i64(json, (int64_t)placed->size_bytes);
    mlcc_json_key(json, "byteOffset");
    mlcc_json_put_i64(json, (int64_t)placed->offset_bytes);
    mlcc_json_end(json);
}

static void put_new_shard(mlcc_json_writer *json, const update *u, bool as_b16) {
    mlcc_json_begin_object(json);
    mlcc_json_key(json, "dataPath");
    mlcc_json_put_text(json, u->shard);
    mlcc_json_key(json, "format");
    mlcc_json_put_text(json, "raw-shard");
    mlcc_json_key(json, "nbytes");
    mlcc_json_put_i64(json, (int64_t)u->bytes.length);
    mlcc_json_key(json, "records");
    mlcc_json_begin_array(json);
    for (size_t i = 0; i < u->n_vectors; i++) put_vector(json, u, i, as_b16);
    mlcc_json_end(json);
    mlcc_json_key(json, "md5sum");
    mlcc_json_put_text(json, u->md5);
    mlcc_json_end(json);
}

// An old shard; step 1: under its second name, else without the records that move.
static void put_old_shard(
    mlcc_json_writer *json, const update *u, const mlcc_json_value *shard, bool is_step_1) {
    mlcc_json_begin_object(json);
    for (const mlcc_json_iter *it = mlcc_json_first(shard); it != NULL;
         it = mlcc_json_next(shard, it)) {
        const char *key = mlcc_json_iter_key(it);
        const mlcc_json_value *value = mlcc_json_iter_value(it);
        mlcc_json_key(json, key);
        if (is_step_1 && strcmp(key, "dataPath") == 0 &&
            strcmp(path_of_shard(shard), u->shard) == 0) {
            mlcc_json_put_text(json, u->second_name);
        } else if (!is_step_1 && strcmp(key, "records") == 0) {
            mlcc_json_begin_array(json);
            for (size_t i = 0; i < mlcc_json_count(value); i++) {
                const mlcc_json_value *record = mlcc_json_at(value, i);
                if (!is_updated(u, record)) mlcc_json_put_value(json, record);
            }
            mlcc_json_end(json);
        } else {
            mlcc_json_put_value(json, value);
        }
    }
    mlcc_json_end(json);
}

static void put_index(mlcc_str *text, const update *u, size_t index, bool is_step_1) {
    const mlcc_json_value *root = mlcc_json_root(u->indexes[index]);
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
            const mlcc_json_value *shard = mlcc_json_at(value, i);
            if (is_step_1 || shard_stays(u, shard)) put_old_shard(&json, u, shard, is_step_1);
        }
        if (!is_step_1) put_new_shard(&json, u, index >= STORE_INDEX_B16);
        mlcc_json_end(&json);
    }
    mlcc_json_end(&json);
}

static bool file_holds(const update *u, const char *name, const mlcc_str *expected) {
    mlcc_mapping file = {0};
    mlcc_status *status = mlcc_file_map(in_directory(u, name), &file);
    const bool holds =
        status == NULL && file.size_bytes == expected->length &&
        (expected->length == 0 || memcmp(file.data, expected->data, expected->length) == 0);
    mlcc_status_free(status);
    mlcc_file_unmap(&file);
    return holds;
}

// Whether shard and indexes already are what they would become.
static bool is_current(const update *u) {
    bool is_same = file_holds(u, u->shard, &u->bytes);
    for (size_t i = 0; i < STORE_N_INDEXES && is_same; i++) {
        if (u->indexes[i] == NULL) continue;
        mlcc_str text = {0};
        put_index(&text, u, i, false);
        is_same = file_holds(u, store_index_names[i], &text);
        mlcc_str_free(&text);
    }
    return is_same;
}

// What a killed process leaves has the name of a shard that no index names: the next writer, of this
// kind or the converter, removes it.
static mlcc_status *write_indexes(const update *u, bool is_step_1) {
    const char *staged = in_directory(u, "params_shard_index.bin");
    for (size_t i = 0; i < STORE_N_INDEXES; i++) {
        if (u->indexes[i] == NULL) continue;
        mlcc_str text = {0};
        put_index(&text, u, i, is_step_1);
        mlcc_status *status = mlcc_file_write_atomic(staged, text.data, text.length);
        mlcc_str_free(&text);
        if (status == NULL)
            status = mlcc_file_rename(staged, in_directory(u, store_index_names[i]));
        if (status != NULL) return status;
    }
    return NULL;
}

// ---- publishing ------------------------------------------------------------------------------

// Step 1.
static mlcc_status *keep_old_readable(const update *u) {
    if (u->second_name == NULL) return NULL;
    const char *path = in_directory(u, u->shard);
    const char *second_path = in_directory(u, u->second_name);
    if (link(path, second_path) != 0) MLCC_TRY(mlcc_file_copy(path, second_path));
    store_directory_sync(u->directory);
    MLCC_TRY(write_indexes(u, true));
    store_directory_sync(u->directory);
    return NULL;
}

// Step 4. What cannot be removed costs room, nothing else.
static void remove_leftovers(const update *u) {
    char **names = NULL;
    size_t n_names = 0;
    mlcc_status *status = mlcc_dir_list(u->directory, u->scratch, &names, &n_names);
    for (size_t i = 0; i < n_names && status == NULL; i++) {
        if (store_is_shard_name(names[i]) && strcmp(names[i], u->shard) != 0 &&
            !is_named(u, names[i], true))
            mlcc_status_free(mlcc_file_remove(in_directory(u, names[i])));
    }
    mlcc_status_free(status);
}

// The new shard's bytes are on the disk before anything changes that readers see.
static mlcc_status *publish(const update *u) {
    mlcc_writer *writer = NULL;
    MLCC_TRY(mlcc_writer_open(in_directory(u, u->shard), &writer));
    mlcc_status *status = mlcc_writer_write(writer, u->bytes.data, u->bytes.length);
    if (status == NULL) status = keep_old_readable(u);
    if (status != NULL) {
        mlcc_writer_abandon(writer);
        return status;
    }
    MLCC_TRY(mlcc_writer_commit(writer));
    store_directory_sync(u->directory);
    MLCC_TRY(write_indexes(u, false));
    store_directory_sync(u->directory);
    remove_leftovers(u);
    return NULL;
}

static mlcc_status *run_update(update *u, mlcc_arena *keep, artifact_update_result *out) {
    MLCC_TRY(read_indexes(u));
    MLCC_TRY(check_vectors(u));
    make_bytes(u, out);
    choose_names(u);
    out->is_unchanged = u->n_vectors == 0 || is_current(u);
    if (out->is_unchanged) {
        if (u->n_vectors != 0) remove_leftovers(u);
        return NULL;
    }
    mlcc_interruption_hold();
    mlcc_status *status = publish(u);
    mlcc_interruption_release();
    if (status == NULL) out->shard = mlcc_arena_strdup(keep, u->shard);
    return status;
}

mlcc_status *artifact_store_update(
    const char *directory, const artifact_vector *vectors, size_t n_vectors, mlcc_arena *keep,
    artifact_update_result *out) {
    *out = (artifact_update_result){0};
    int lock = -1;
    update u = {
        .scratch = mlcc_arena_create(),
        .directory = directory,
        .vectors = vectors,
        .n_vectors = n_vectors,
        .names = mlcc_map_create(n_vectors + 1),
    };
    mlcc_status *status = store_directory_lock(directory, "wait for it", &lock);
    if (status == NULL) status = run_update(&u, keep, out);
    if (status != NULL) *out = (artifact_update_result){0};
    for (size_t i = 0; i < STORE_N_INDEXES; i++) mlcc_json_free(u.indexes[i]);
    mlcc_tensor_cache_close(u.store);
    mlcc_map_free(u.names);
    mlcc_str_free(&u.bytes);
    mlcc_arena_free(u.scratch);
    if (lock >= 0) close(lock);
    return mlcc_status_note(status, "updating the weight store '%s'", directory);
}
