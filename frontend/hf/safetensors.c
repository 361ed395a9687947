// A source over mapped .safetensors files: one file, or the shards that an index names.
#include "frontend/hf/safetensors_header.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INDEX_NAME      "model.safetensors.index.json"
#define SINGLE_NAME     "model.safetensors"
#define MAX_INDEX_BYTES ((size_t)64 << 20)

typedef struct weight_shard {
    const char *name; // as the index spells it
    const char *path;
    mlcc_mapping mapping;
    hf_safetensors_header header;
    mlcc_map *by_name; // name -> index into header.entries
    size_t n_used;     // entries that the source lists
} weight_shard;

typedef struct safetensors_source {
    hf_weight_source source; // first, so that the interface casts back
    weight_shard *shards;
    size_t n_shards;
    hf_tensor *tensors;
    uint64_t *offsets; // of tensors[i] in its file
    mlcc_map *by_name;
    void *bounce; // for tensors that their file does not align
    size_t bounce_bytes;
} safetensors_source;

static safetensors_source *source_of(hf_weight_source *source) {
    return (safetensors_source *)(void *)source;
}

static const char *data_of(const safetensors_source *source, const hf_tensor *tensor) {
    return (const char *)source->shards[tensor->file].mapping.data +
           source->offsets[tensor - source->tensors];
}

// Old writers did not pad the header, so data may stand at any address; readers are promised aligned elements.
static mlcc_status *copy_aligned(
    safetensors_source *self, const void *from, size_t size_bytes, const void **view) {
    if (self->bounce_bytes < size_bytes) {
        void *larger = realloc(self->bounce, size_bytes);
        if (larger == NULL)
            return MLCC_ERROR(
                NO_MEMORY, "no memory for %zu bytes of unaligned tensor data", size_bytes);
        self->bounce = larger;
        self->bounce_bytes = size_bytes;
    }
    memcpy(self->bounce, from, size_bytes);
    *view = self->bounce;
    return NULL;
}

static mlcc_status *safetensors_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    safetensors_source *self = source_of(source);
    if (view != NULL) *view = NULL;
    if (offset > tensor->size_bytes || size_bytes > tensor->size_bytes - offset)
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu of tensor '%s' lie beyond its %llu",
            (unsigned long long)offset, (unsigned long long)size_bytes, tensor->name,
            (unsigned long long)tensor->size_bytes);
    if (tensor->dtype >= IR_N_DTYPES)
        return MLCC_ERROR(
            UNSUPPORTED,
            "tensor '%s' in %s has dtype %s; accepted are F32, F16, BF16, I32, U32, I8 and U8",
            tensor->name, self->shards[tensor->file].path, tensor->dtype_text);
    const char *data = data_of(self, tensor) + offset;
    if (view == NULL) {
        if (size_bytes > 0) memcpy(buffer, data, size_bytes);
        return NULL;
    }
    if ((uintptr_t)data % ir_dtype_bytes(tensor->dtype) != 0 && size_bytes > 0)
        return copy_aligned(self, data, size_bytes, view);
    *view = data;
    return NULL;
}

// Whole pages, outwards: a neighbour's page that goes too is simply read again.
static void safetensors_release(hf_weight_source *source, const hf_tensor *tensor) {
    safetensors_source *self = source_of(source);
    if (tensor->size_bytes == 0) return;
    const mlcc_mapping *mapping = &self->shards[tensor->file].mapping;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = self->offsets[tensor - self->tensors];
    size_t end = begin + tensor->size_bytes;
    begin -= begin % page_bytes;
    // madvise rounds the length up itself. It is advice: a failure changes nothing. It writes nothing, hence the cast.
    (void)madvise((void *)((uintptr_t)mapping->data + begin), end - begin, MADV_DONTNEED);
}

static void safetensors_close(hf_weight_source *source) {
    safetensors_source *self = source_of(source);
    for (size_t i = 0; i < self->n_shards; i++) {
        mlcc_file_unmap(&self->shards[i].mapping);
        mlcc_map_free(self->shards[i].by_name);
    }
    mlcc_map_free(self->by_name);
    free(self->bounce);
    self->n_shards = 0;
    self->by_name = NULL;
    self->bounce = NULL;
}

static mlcc_status *open_shard(weight_shard *shard, mlcc_arena *keep) {
    MLCC_TRY(mlcc_file_map(shard->path, &shard->mapping));
    MLCC_TRY(hf_safetensors_header_parse(
        shard->mapping.data, shard->mapping.size_bytes, shard->path, keep, &shard->header));
    if (shard->header.unclaimed_bytes > 0)
        mlcc_log(
            MLCC_LOG_WARN, "safetensors", "%s: %llu bytes of data belong to no tensor", shard->path,
            (unsigned long long)shard->header.unclaimed_bytes);
    shard->by_name = mlcc_map_create(shard->header.n_entries);
    for (size_t i = 0; i < shard->header.n_entries; i++)
        mlcc_map_add_text(shard->by_name, shard->header.entries[i].tensor.name, i);
    return NULL;
}

static void add_tensor(
    safetensors_source *self, size_t shard_index, const hf_safetensors_entry *entry) {
    hf_tensor *tensor = &self->tensors[self->source.n_tensors];
    *tensor = entry->tensor;
    tensor->file = (int32_t)shard_index;
    self->offsets[self->source.n_tensors] = entry->offset_bytes;
    mlcc_map_add_text(self->by_name, tensor->name, self->source.n_tensors);
    self->source.n_tensors++;
    self->shards[shard_index].n_used++;
}

static void reserve_tensors(safetensors_source *self, size_t n_tensors, mlcc_arena *keep) {
    self->tensors = MLCC_NEW_ARRAY(keep, hf_tensor, n_tensors + 1);
    self->offsets = MLCC_NEW_ARRAY(keep, uint64_t, n_tensors + 1);
    self->by_name = mlcc_map_create(n_tensors);
    self->source.tensors = self->tensors;
    self->source.by_name = self->by_name;
}

static mlcc_status *open_single(safetensors_source *self, const char *path, mlcc_arena *keep) {
    self->shards = MLCC_NEW(keep, weight_shard);
    self->n_shards = 1;
    self->shards[0].name = mlcc_path_base(path);
    self->shards[0].path = path;
    MLCC_TRY(open_shard(&self->shards[0], keep));
    const hf_safetensors_header *header = &self->shards[0].header;
    reserve_tensors(self, header->n_entries, keep);
    for (size_t i = 0; i < header->n_entries; i++) add_tensor(self, 0, &header->entries[i]);
    return NULL;
}

// Shards in the order in which the weight map first names them.
static mlcc_status *collect_shards(
    safetensors_source *self, const mlcc_json_value *weight_map, const char *dir, mlcc_map *by_name,
    mlcc_arena *keep) {
    self->shards = MLCC_NEW_ARRAY(keep, weight_shard, mlcc_json_count(weight_map) + 1);
    for (const mlcc_json_iter *it = mlcc_json_first(weight_map); it != NULL;
         it = mlcc_json_next(weight_map, it)) {
        const char *name = mlcc_json_text(mlcc_json_iter_value(it), NULL);
        if (name == NULL)
            return MLCC_ERROR(
                INVALID, "weight_map entry '%.200s' is %s; expected the name of a file",
                mlcc_json_iter_key(it),
                mlcc_json_kind_text(mlcc_json_kind_of(mlcc_json_iter_value(it))));
        if (!mlcc_map_add_text(by_name, name, self->n_shards)) continue;
        char *path = NULL;
        MLCC_TRY_NOTE(
            mlcc_path_join_checked(keep, dir, name, &path),
            "looking for the file of tensor '%.200s'", mlcc_json_iter_key(it));
        if (!mlcc_file_exists(path))
            return MLCC_ERROR(
                INVALID,
                "the index names shard '%s' (for tensor '%.200s' and others), but %s does not "
                "exist; "
                "fetch the missing file",
                name, mlcc_json_iter_key(it), path);
        self->shards[self->n_shards].name = mlcc_arena_strdup(keep, name);
        self->shards[self->n_shards++].path = path;
    }
    return NULL;
}

static mlcc_status *fill_from_index(
    safetensors_source *self, const mlcc_json_value *weight_map, const mlcc_map *shard_of_name) {
    for (const mlcc_json_iter *it = mlcc_json_first(weight_map); it != NULL;
         it = mlcc_json_next(weight_map, it)) {
        const char *name = mlcc_json_iter_key(it);
        uint64_t shard_index = 0, entry_index = 0;
        mlcc_map_get_text(
            shard_of_name, mlcc_json_text(mlcc_json_iter_value(it), NULL), &shard_index);
        const weight_shard *shard = &self->shards[shard_index];
        if (!mlcc_map_get_text(shard->by_name, name, &entry_index))
            return MLCC_ERROR(
                INVALID, "the index says that tensor '%.200s' lies in %s, but that file lacks it",
                name, shard->path);
        add_tensor(self, shard_index, &shard->header.entries[entry_index]);
    }
    for (size_t i = 0; i < self->n_shards; i++)
        if (self->shards[i].n_used < self->shards[i].header.n_entries)
            mlcc_log(
                MLCC_LOG_WARN, "safetensors",
                "%s: %zu of %zu tensors are not in the index and are ignored", self->shards[i].path,
                self->shards[i].header.n_entries - self->shards[i].n_used,
                self->shards[i].header.n_entries);
    return NULL;
}

static mlcc_status *open_index(safetensors_source *self, const char *path, mlcc_arena *keep) {
    mlcc_json *json = NULL;
    mlcc_map *shard_of_name = mlcc_map_create(16);
    const mlcc_json_value *weight_map = NULL;
    mlcc_status *status = NULL;
    MLCC_GOTO(mlcc_json_read_file(path, MAX_INDEX_BYTES, &json), done);
    MLCC_GOTO(mlcc_json_get_object(mlcc_json_root(json), "weight_map", true, &weight_map), done);
    MLCC_GOTO(
        collect_shards(self, weight_map, mlcc_path_dir(keep, path), shard_of_name, keep), done);
    for (size_t i = 0; i < self->n_shards; i++) MLCC_GOTO(open_shard(&self->shards[i], keep), done);
    reserve_tensors(self, mlcc_json_count(weight_map), keep);
    status = fill_from_index(self, weight_map, shard_of_name);
done:
    mlcc_map_free(shard_of_name);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading the index %s", path);
}

// A directory without safetensors: say what lies there instead.
static mlcc_status *no_weights(const char *dir, mlcc_arena *keep) {
    char **names = NULL;
    size_t n_names = 0;
    MLCC_TRY(mlcc_dir_list(dir, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (mlcc_text_ends_with(names[i], ".safetensors"))
            return MLCC_ERROR(
                INVALID,
                "%s holds '%s' but neither %s nor %s; name the .safetensors file itself, or fetch "
                "the index",
                dir, names[i], SINGLE_NAME, INDEX_NAME);
        if (mlcc_text_starts_with(names[i], "pytorch_model") &&
            mlcc_text_ends_with(names[i], ".bin"))
            return MLCC_ERROR(
                UNSUPPORTED,
                "%s holds weights as a torch pickle ('%s'); accepted are safetensors: %s or %s",
                dir, names[i], SINGLE_NAME, INDEX_NAME);
    }
    return MLCC_ERROR(
        INVALID, "%s holds no weights; expected %s or %s", dir, SINGLE_NAME, INDEX_NAME);
}

static mlcc_status *locate(const char *path, mlcc_arena *keep, char **file) {
    if (!mlcc_dir_exists(path)) {
        if (!mlcc_file_exists(path))
            return MLCC_ERROR(
                INVALID,
                "'%s' does not exist; expected a model directory, a .safetensors file or its index",
                path);
        *file = mlcc_arena_strdup(keep, path);
        return NULL;
    }
    *file = mlcc_path_join(keep, path, INDEX_NAME);
    if (mlcc_file_exists(*file)) return NULL;
    *file = mlcc_path_join(keep, path, SINGLE_NAME);
    if (mlcc_file_exists(*file)) return NULL;
    return no_weights(path, keep);
}

mlcc_status *hf_safetensors_open(const char *path, mlcc_arena *keep, hf_weight_source **out) {
    *out = NULL;
    char *file = NULL;
    MLCC_TRY(locate(path, keep, &file));
    safetensors_source *self = MLCC_NEW(keep, safetensors_source);
    self->source.description = file;
    self->source.read = safetensors_read;
    self->source.release = safetensors_release;
    self->source.close = safetensors_close;
    mlcc_status *status = mlcc_text_ends_with(file, ".json") ? open_index(self, file, keep)
                                                             : open_single(self, file, keep);
    if (status != NULL) {
        safetensors_close(&self->source);
        return status;
    }
    *out = &self->source;
    return NULL;
}
