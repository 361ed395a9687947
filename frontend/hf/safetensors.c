// A source over mapped .safetensors files: one file, or the shards that an index names.
#include "frontend/hf/safetensors_header.h"
#include "frontend/hf/weight_index.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INDEX_NAME  "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"

typedef struct weight_shard {
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
    // Whole tensors that their file does not align and that somebody views, until their release; NULL: none.
    void **copies;
} safetensors_source;

static safetensors_source *source_of(hf_weight_source *source) {
    return (safetensors_source *)(void *)source;
}

static const char *data_of(const safetensors_source *source, const hf_tensor *tensor) {
    return (const char *)source->shards[tensor->file].mapping.data +
           source->offsets[tensor - source->tensors];
}

// Whole pages, outwards: a neighbour's page that goes too is simply read again.
static void drop_pages(const safetensors_source *self, const hf_tensor *tensor) {
    const mlcc_mapping *mapping = &self->shards[tensor->file].mapping;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = self->offsets[tensor - self->tensors];
    size_t end = begin + tensor->size_bytes;
    begin -= begin % page_bytes;
    // madvise rounds the length up itself. It is advice: a failure changes nothing. It writes nothing, hence the cast.
    (void)madvise((void *)((uintptr_t)mapping->data + begin), end - begin, MADV_DONTNEED);
}

// Old writers did not pad the header, so data may stand at any address; readers are promised aligned elements. The copy takes the place of the file's
// pages, so that memory holds the tensor once.
static mlcc_status *copy_aligned(
    safetensors_source *self, const hf_tensor *tensor, const char **data) {
    void **copy = &self->copies[tensor - self->tensors];
    if (*copy == NULL) {
        *copy = malloc(tensor->size_bytes);
        if (*copy == NULL)
            return MLCC_ERROR(
                NO_MEMORY, "no memory for the %llu bytes of tensor '%s', which lies unaligned",
                (unsigned long long)tensor->size_bytes, tensor->name);
        memcpy(*copy, *data, tensor->size_bytes);
        drop_pages(self, tensor);
    }
    *data = *copy;
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
            UNSUPPORTED, "tensor '%s' in %s has dtype %s; accepted are " HF_READABLE_DTYPES,
            tensor->name, self->shards[tensor->file].path, tensor->dtype_text);
    const char *data = data_of(self, tensor);
    const bool is_aligned =
        (uintptr_t)data % ir_dtype_bytes(tensor->dtype) == 0 || tensor->size_bytes == 0;
    if (view == NULL || (!is_aligned && buffer != NULL)) {
        if (size_bytes > 0) memcpy(buffer, data + offset, size_bytes);
        return NULL;
    }
    if (!is_aligned) MLCC_TRY(copy_aligned(self, tensor, &data));
    *view = data + offset;
    return NULL;
}

static void safetensors_release(hf_weight_source *source, const hf_tensor *tensor) {
    safetensors_source *self = source_of(source);
    void **copy = &self->copies[tensor - self->tensors];
    free(*copy);
    *copy = NULL;
    if (tensor->size_bytes > 0) drop_pages(self, tensor);
}

static void safetensors_close(hf_weight_source *source) {
    safetensors_source *self = source_of(source);
    for (size_t i = 0; i < self->n_shards; i++) {
        mlcc_file_unmap(&self->shards[i].mapping);
        mlcc_map_free(self->shards[i].by_name);
    }
    mlcc_map_free(self->by_name);
    for (size_t i = 0; i < self->source.n_tensors; i++) free(self->copies[i]);
    self->n_shards = 0;
    self->by_name = NULL;
    self->source.n_tensors = 0;
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
    self->copies = MLCC_NEW_ARRAY(keep, void *, n_tensors + 1);
    self->by_name = mlcc_map_create(n_tensors);
    self->source.tensors = self->tensors;
    self->source.by_name = self->by_name;
}

static mlcc_status *open_single(safetensors_source *self, const char *path, mlcc_arena *keep) {
    self->shards = MLCC_NEW(keep, weight_shard);
    self->n_shards = 1;
    self->shards[0].path = path;
    MLCC_TRY(open_shard(&self->shards[0], keep));
    const hf_safetensors_header *header = &self->shards[0].header;
    reserve_tensors(self, header->n_entries, keep);
    for (size_t i = 0; i < header->n_entries; i++) add_tensor(self, 0, &header->entries[i]);
    return NULL;
}

static mlcc_status *fill_from_index(safetensors_source *self, const hf_weight_index *index) {
    for (size_t i = 0; i < index->n_entries; i++) {
        const hf_weight_index_entry *entry = &index->entries[i];
        const weight_shard *shard = &self->shards[entry->file];
        uint64_t entry_index = 0;
        if (!mlcc_map_get_text(shard->by_name, entry->tensor, &entry_index))
            return MLCC_ERROR(
                INVALID, "the index says that tensor '%.200s' lies in %s, but that file lacks it",
                entry->tensor, shard->path);
        add_tensor(self, entry->file, &shard->header.entries[entry_index]);
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
    hf_weight_index index;
    MLCC_TRY_NOTE(hf_weight_index_read(path, keep, &index), "reading the index %s", path);
    self->shards = MLCC_NEW_ARRAY(keep, weight_shard, index.n_files + 1);
    for (size_t i = 0; i < index.n_files; i++) self->shards[i].path = index.files[i];
    self->n_shards = index.n_files;
    for (size_t i = 0; i < self->n_shards; i++)
        MLCC_TRY_NOTE(open_shard(&self->shards[i], keep), "reading the index %s", path);
    reserve_tensors(self, index.n_entries, keep);
    return mlcc_status_note(fill_from_index(self, &index), "reading the index %s", path);
}

// "model-00001-of-00002.safetensors": useless without the index.
static bool is_shard(const char *name) {
    const char *of = strstr(name, "-of-");
    return of != NULL && strspn(of + 4, "0123456789") > 0;
}

// A directory without the usual names: the one file or index that lies there (GPTQ tools write gptq_model-4bit-128g.safetensors), or what is wrong.
static mlcc_status *find_other(const char *dir, mlcc_arena *keep, char **file) {
    char **names = NULL;
    size_t n_names = 0, n_files = 0, n_indices = 0;
    const char *last_file = NULL, *last_index = NULL, *torch = NULL;
    MLCC_TRY(mlcc_dir_list(dir, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (mlcc_text_ends_with(names[i], ".safetensors"))
            last_file = names[i], n_files++;
        else if (mlcc_text_ends_with(names[i], ".safetensors.index.json"))
            last_index = names[i], n_indices++;
        else if (
            mlcc_text_starts_with(names[i], "pytorch_model") &&
            mlcc_text_ends_with(names[i], ".bin"))
            torch = names[i];
    }
    const char *only = n_indices == 1                                           ? last_index
                       : n_indices == 0 && n_files == 1 && !is_shard(last_file) ? last_file
                                                                                : NULL;
    if (only != NULL) {
        *file = mlcc_path_join(keep, dir, only);
        return NULL;
    }
    if (last_file != NULL)
        return MLCC_ERROR(
            INVALID,
            "%s holds '%s' but neither %s nor %s; name the .safetensors file itself, or fetch the "
            "index",
            dir, last_file, SINGLE_NAME, INDEX_NAME);
    if (torch != NULL)
        return MLCC_ERROR(
            UNSUPPORTED,
            "%s holds weights as a torch pickle ('%s'), not as safetensors; expected %s or %s", dir,
            torch, SINGLE_NAME, INDEX_NAME);
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
    return find_other(path, keep, file);
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
