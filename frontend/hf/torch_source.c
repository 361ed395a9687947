// A source over torch checkpoints: one file, or the files that an index names.
//
// A tensor in C order that is asked for piece by piece is read straight into the caller's buffer. Views, and tensors in any other order, need
// memory: the tensor's own, filled only as far as was asked for, from the first use to its release.
#include "frontend/hf/torch_source.h"

#include "frontend/hf/torch_archive.h"
#include "frontend/hf/torch_pickle.h"
#include "frontend/hf/weight_index.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_NAME  "pytorch_model.bin.index.json"
#define SINGLE_NAME "pytorch_model.bin"

typedef struct torch_shard {
    const char *path;
    hf_torch_archive *archive;
    hf_torch_pickle pickle;
    uint64_t *entries; // of pickle.storages[i] in the archive
    mlcc_map *by_name; // name -> index into pickle.tensors
    size_t n_used;     // tensors that the source lists
} torch_shard;

typedef struct torch_slot {
    const hf_torch_tensor *stored;
    char *data; // all elements in C order; NULL until needed
    uint64_t n_filled_bytes;
} torch_slot;

typedef struct torch_source {
    hf_weight_source source; // first, so that the interface casts back
    torch_shard *shards;
    size_t n_shards;
    hf_tensor *tensors;
    torch_slot *slots; // of tensors[i]
    mlcc_map *by_name;
} torch_source;

static torch_source *source_of(hf_weight_source *source) {
    return (torch_source *)(void *)source;
}

// ---- reading --------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *read_bytes(
    const torch_source *self, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer) {
    const torch_shard *shard = &self->shards[tensor->file];
    const hf_torch_tensor *stored = self->slots[tensor - self->tensors].stored;
    MLCC_TRY_NOTE(
        hf_torch_archive_read(
            shard->archive, shard->entries[stored->storage], stored->offset_bytes + offset,
            size_bytes, buffer),
        "reading tensor '%s'", tensor->name);
    return NULL;
}

static void copy_row(
    char *to, const char *from, size_t n, size_t stride_bytes, size_t element_bytes) {
    switch (element_bytes) {
    case 1:
        for (size_t i = 0; i < n; i++) to[i] = from[i * stride_bytes];
        break;
    case 2:
        for (size_t i = 0; i < n; i++) memcpy(to + 2 * i, from + i * stride_bytes, 2);
        break;
    case 4:
        for (size_t i = 0; i < n; i++) memcpy(to + 4 * i, from + i * stride_bytes, 4);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            memcpy(to + element_bytes * i, from + i * stride_bytes, element_bytes);
    }
}

// The elements in C order, from the span of the storage that they are strewn over.
static void gather(const hf_torch_tensor *stored, const char *span, char *to) {
    const hf_tensor *tensor = &stored->tensor;
    const size_t element_bytes = ir_dtype_bytes(tensor->dtype);
    const int32_t last = tensor->rank - 1; // a tensor out of order has at least one axis
    const size_t row_length = (size_t)tensor->dims[last];
    size_t index[IR_MAX_RANK] = {0}, offset = 0;
    for (uint64_t done = 0; done < tensor->size_bytes; done += row_length * element_bytes) {
        copy_row(
            to + done, span + offset * element_bytes, row_length,
            (size_t)stored->strides[last] * element_bytes, element_bytes);
        for (int32_t axis = last - 1; axis >= 0; axis--) { // the next row
            offset += (size_t)stored->strides[axis];
            if (++index[axis] < (size_t)tensor->dims[axis]) break;
            offset -= (size_t)stored->strides[axis] * index[axis];
            index[axis] = 0;
        }
    }
}

static mlcc_status *fill_gathered(
    const torch_source *self, const hf_tensor *tensor, torch_slot *slot) {
    const hf_torch_tensor *stored = slot->stored;
    if (stored->span_bytes < tensor->size_bytes)
        return MLCC_ERROR(
            INVALID,
            "tensor '%s' of %s repeats its numbers: %llu bytes are spread to %llu; make it "
            "contiguous before saving it",
            tensor->name, self->shards[tensor->file].path, (unsigned long long)stored->span_bytes,
            (unsigned long long)tensor->size_bytes);
    char *span = malloc(stored->span_bytes);
    if (span == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "no memory for %llu bytes of tensor '%s'",
            (unsigned long long)stored->span_bytes, tensor->name);
    mlcc_status *status = read_bytes(self, tensor, 0, stored->span_bytes, span);
    if (status == NULL) {
        gather(stored, span, slot->data);
        slot->n_filled_bytes = tensor->size_bytes;
    }
    free(span);
    return status;
}

// Makes the first `end` bytes of the tensor stand in its slot.
static mlcc_status *fill(const torch_source *self, const hf_tensor *tensor, uint64_t end) {
    torch_slot *slot = &self->slots[tensor - self->tensors];
    if (slot->data == NULL) {
        slot->data = malloc(tensor->size_bytes + 1);
        slot->n_filled_bytes = 0;
        if (slot->data == NULL)
            return MLCC_ERROR(
                NO_MEMORY, "no memory for %llu bytes of tensor '%s'",
                (unsigned long long)tensor->size_bytes, tensor->name);
    }
    if (end <= slot->n_filled_bytes) return NULL;
    if (!slot->stored->is_contiguous) return fill_gathered(self, tensor, slot);
    MLCC_TRY(read_bytes(
        self, tensor, slot->n_filled_bytes, end - slot->n_filled_bytes,
        slot->data + slot->n_filled_bytes));
    slot->n_filled_bytes = end;
    return NULL;
}

static mlcc_status *torch_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    const torch_source *self = source_of(source);
    if (view != NULL) *view = NULL;
    if (offset > tensor->size_bytes || size_bytes > tensor->size_bytes - offset)
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu of tensor '%s' lie beyond its %llu",
            (unsigned long long)offset, (unsigned long long)size_bytes, tensor->name,
            (unsigned long long)tensor->size_bytes);
    if (tensor->dtype >= IR_N_DTYPES)
        return MLCC_ERROR(
            UNSUPPORTED,
            "tensor '%s' in %s has dtype %s; accepted are float32, float16, bfloat16, "
            "float8_e4m3fn, "
            "float8_e5m2 and integers of 8 to 64 bits",
            tensor->name, self->shards[tensor->file].path, tensor->dtype_text);
    if (buffer != NULL) view = NULL; // a view would be a copy
    const torch_slot *slot = &self->slots[tensor - self->tensors];
    const bool stands_there = slot->data != NULL && offset + size_bytes <= slot->n_filled_bytes;
    if (view == NULL && slot->stored->is_contiguous && !stands_there)
        return size_bytes > 0 ? read_bytes(self, tensor, offset, size_bytes, buffer) : NULL;
    MLCC_TRY(fill(self, tensor, offset + size_bytes));
    if (view != NULL)
        *view = slot->data + offset;
    else if (size_bytes > 0)
        memcpy(buffer, slot->data + offset, size_bytes);
    return NULL;
}

static void torch_release(hf_weight_source *source, const hf_tensor *tensor) {
    const torch_source *self = source_of(source);
    torch_slot *slot = &self->slots[tensor - self->tensors];
    free(slot->data);
    slot->data = NULL;
    slot->n_filled_bytes = 0;
}

static void torch_close(hf_weight_source *source) {
    torch_source *self = source_of(source);
    for (size_t i = 0; i < self->source.n_tensors; i++) torch_release(source, &self->tensors[i]);
    for (size_t i = 0; i < self->n_shards; i++) {
        hf_torch_archive_close(self->shards[i].archive);
        mlcc_map_free(self->shards[i].by_name);
    }
    mlcc_map_free(self->by_name);
    self->n_shards = 0;
    self->source.n_tensors = 0;
    self->by_name = NULL;
}

// ---- opening --------------------------------------------------------------------------------------------------------------------------------

// Every storage that a tensor needs must be in the archive with the size that the pickle claims.
static mlcc_status *locate_storages(torch_shard *shard, mlcc_arena *keep) {
    const hf_torch_pickle *pickle = &shard->pickle;
    shard->entries = MLCC_NEW_ARRAY(keep, uint64_t, pickle->n_storages + 1);
    bool *is_located = MLCC_NEW_ARRAY(keep, bool, pickle->n_storages + 1);
    for (size_t i = 0; i < pickle->n_tensors; i++) {
        const size_t storage = pickle->tensors[i].storage;
        if (is_located[storage]) continue;
        MLCC_TRY_NOTE(
            hf_torch_archive_find(
                shard->archive, pickle->storages[storage].key, pickle->storages[storage].size_bytes,
                &shard->entries[storage]),
            "looking for the data of tensor '%s'", pickle->tensors[i].tensor.name);
        is_located[storage] = true;
    }
    return NULL;
}

static mlcc_status *open_shard(torch_shard *shard, const char *path, mlcc_arena *keep) {
    void *data = NULL;
    size_t size_bytes = 0;
    shard->path = path;
    MLCC_TRY(hf_torch_archive_open(path, &shard->archive));
    MLCC_TRY(hf_torch_archive_read_pickle(
        shard->archive, HF_TORCH_MAX_PICKLE_BYTES, &data, &size_bytes));
    mlcc_status *status = hf_torch_pickle_parse(data, size_bytes, path, keep, &shard->pickle);
    free(data);
    MLCC_TRY(status);
    MLCC_TRY(locate_storages(shard, keep));
    const hf_torch_pickle *pickle = &shard->pickle;
    if (pickle->n_ignored > 0)
        mlcc_log(
            MLCC_LOG_WARN, "torch", "%s: %zu entries are no tensors and are ignored%s%s%s", path,
            pickle->n_ignored, pickle->first_ignored != NULL ? " ('" : "",
            pickle->first_ignored != NULL ? pickle->first_ignored : "",
            pickle->first_ignored != NULL ? "', …)" : "");
    shard->by_name = mlcc_map_create(pickle->n_tensors);
    for (size_t i = 0; i < pickle->n_tensors; i++)
        mlcc_map_add_text(shard->by_name, pickle->tensors[i].tensor.name, i);
    return NULL;
}

static void add_tensor(torch_source *self, size_t shard_index, const hf_torch_tensor *stored) {
    const size_t index = self->source.n_tensors++;
    self->tensors[index] = stored->tensor;
    self->tensors[index].file = (int32_t)shard_index;
    self->slots[index].stored = stored;
    mlcc_map_add_text(self->by_name, stored->tensor.name, index);
    self->shards[shard_index].n_used++;
}

static void reserve_tensors(torch_source *self, size_t n_tensors, mlcc_arena *keep) {
    self->tensors = MLCC_NEW_ARRAY(keep, hf_tensor, n_tensors + 1);
    self->slots = MLCC_NEW_ARRAY(keep, torch_slot, n_tensors + 1);
    self->by_name = mlcc_map_create(n_tensors);
    self->source.tensors = self->tensors;
    self->source.by_name = self->by_name;
}

static mlcc_status *open_single(torch_source *self, const char *path, mlcc_arena *keep) {
    self->shards = MLCC_NEW(keep, torch_shard);
    self->n_shards = 1;
    MLCC_TRY(open_shard(&self->shards[0], path, keep));
    const hf_torch_pickle *pickle = &self->shards[0].pickle;
    reserve_tensors(self, pickle->n_tensors, keep);
    for (size_t i = 0; i < pickle->n_tensors; i++) add_tensor(self, 0, &pickle->tensors[i]);
    return NULL;
}

static mlcc_status *open_files_of_index(
    torch_source *self, const hf_weight_index *index, mlcc_arena *keep) {
    self->shards = MLCC_NEW_ARRAY(keep, torch_shard, index->n_files + 1);
    for (size_t i = 0; i < index->n_files; i++) {
        self->n_shards++;
        MLCC_TRY(open_shard(&self->shards[i], index->files[i], keep));
    }
    reserve_tensors(self, index->n_entries, keep);
    for (size_t i = 0; i < index->n_entries; i++) {
        const torch_shard *shard = &self->shards[index->entries[i].file];
        uint64_t found = 0;
        if (!mlcc_map_get_text(shard->by_name, index->entries[i].tensor, &found))
            return MLCC_ERROR(
                INVALID, "the index says that tensor '%.200s' lies in %s, but that file lacks it",
                index->entries[i].tensor, shard->path);
        add_tensor(self, index->entries[i].file, &shard->pickle.tensors[found]);
    }
    for (size_t i = 0; i < self->n_shards; i++) {
        const torch_shard *shard = &self->shards[i];
        if (shard->n_used < shard->pickle.n_tensors)
            mlcc_log(
                MLCC_LOG_WARN, "torch",
                "%s: %zu of %zu tensors are not in the index and are ignored", shard->path,
                shard->pickle.n_tensors - shard->n_used, shard->pickle.n_tensors);
    }
    return NULL;
}

static mlcc_status *open_index(torch_source *self, const char *path, mlcc_arena *keep) {
    hf_weight_index index;
    mlcc_status *status = hf_weight_index_read(path, keep, &index);
    if (status == NULL) status = open_files_of_index(self, &index, keep);
    return mlcc_status_note(status, "reading the index %s", path);
}

// The only *.pt or *.pth of a directory: what llm-awq and older tools leave.
static mlcc_status *locate_other(const char *dir, mlcc_arena *keep, char **file) {
    char **names = NULL;
    size_t n_names = 0;
    const char *found = NULL;
    MLCC_TRY(mlcc_dir_list(dir, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (!mlcc_text_ends_with(names[i], ".pt") && !mlcc_text_ends_with(names[i], ".pth"))
            continue;
        if (found != NULL)
            return MLCC_ERROR(
                INVALID, "%s holds '%s', '%s' and neither %s nor %s; name one file", dir, found,
                names[i], SINGLE_NAME, INDEX_NAME);
        found = names[i];
    }
    if (found == NULL)
        return MLCC_ERROR(
            INVALID, "%s holds no torch weights; expected %s, %s or one .pt file", dir, SINGLE_NAME,
            INDEX_NAME);
    *file = mlcc_path_join(keep, dir, found);
    return NULL;
}

static mlcc_status *locate(const char *path, mlcc_arena *keep, char **file) {
    if (mlcc_dir_exists(path)) {
        *file = mlcc_path_join(keep, path, INDEX_NAME);
        if (mlcc_file_exists(*file)) return NULL;
        *file = mlcc_path_join(keep, path, SINGLE_NAME);
        if (mlcc_file_exists(*file)) return NULL;
        return locate_other(path, keep, file);
    }
    if (!mlcc_file_exists(path))
        return MLCC_ERROR(
            INVALID,
            "'%s' does not exist; expected a model directory, a torch checkpoint or its index",
            path);
    *file = mlcc_arena_strdup(keep, path);
    return NULL;
}

mlcc_status *hf_torch_open(const char *path, mlcc_arena *keep, hf_weight_source **out) {
    *out = NULL;
    char *file = NULL;
    MLCC_TRY(locate(path, keep, &file));
    torch_source *self = MLCC_NEW(keep, torch_source);
    self->source.description = file;
    self->source.read = torch_read;
    self->source.release = torch_release;
    self->source.close = torch_close;
    mlcc_status *status = mlcc_text_ends_with(file, ".json") ? open_index(self, file, keep)
                                                             : open_single(self, file, keep);
    if (status != NULL) {
        torch_close(&self->source);
        return status;
    }
    *out = &self->source;
    return NULL;
}

bool hf_torch_is_archive(const char *path) {
    static const char mark[] = {'P', 'K', 3, 4};
    char head[sizeof mark] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    const size_t n = fread(head, 1, sizeof head, file);
    (void)fclose(file);
    return n == sizeof mark && memcmp(head, mark, sizeof mark) == 0;
}
