#include "runtime/model/tensor_cache.h"

#include "runtime/base/json.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const index_names[] = {"tensor-cache.json", "ndarray-cache.json"};

// Every dtype name that TVM writes for weights; abi 0: it may lie in a store but no lib.so reads
// it.
static const struct {
    const char *text;
    uint64_t size_bytes;
    uint32_t abi;
} dtypes[] = {
    {"float16", 2, MLCC_ABI_F16},
    {"float32", 4, MLCC_ABI_F32},
    {"bfloat16", 2, MLCC_ABI_BF16},
    {"uint32", 4, MLCC_ABI_U32},
    {"int32", 4, MLCC_ABI_I32},
    {"int8", 1, MLCC_ABI_I8},
    {"uint8", 1, MLCC_ABI_U8},
    {"float8_e4m3fn", 1, MLCC_ABI_F8E4M3},
    {"float8_e5m2", 1, MLCC_ABI_F8E5M2},
    {"e4m3_float8", 1, MLCC_ABI_F8E4M3}, // TVM's names until 2025
    {"e5m2_float8", 1, MLCC_ABI_F8E5M2},
    {"float64", 8, 0},
    {"int64", 8, 0},
    {"uint64", 8, 0},
    {"int16", 2, 0},
    {"uint16", 2, 0},
    {"bool", 1, 0},
};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

// A name as text without NUL bytes inside: "a\0b" must not pass for "a".
static mlcc_status *get_name(const mlcc_json_value *object, const char *key, const char **out) {
    MLCC_TRY(mlcc_json_get_text(object, key, true, out));
    size_t length = 0;
    (void)mlcc_json_text(mlcc_json_get(object, key), &length);
    if (length == 0 || strlen(*out) != length) {
        return MLCC_ERROR(INVALID, "key '%s' is empty or holds a NUL character", key);
    }
    return NULL;
}

static mlcc_status *read_dtype(
    const mlcc_json_value *value, mlcc_tensor_record *record, uint64_t *element_bytes) {
    const char *dtype = NULL;
    const char *format = NULL;
    MLCC_TRY(get_name(value, "dtype", &dtype));
    MLCC_TRY(get_name(value, "format", &format));
    for (size_t i = 0; i < N_DTYPES && record->dtype == NULL; i++) {
        if (strcmp(dtypes[i].text, dtype) != 0) continue;
        record->dtype = dtypes[i].text;
        record->abi_dtype = dtypes[i].abi;
        *element_bytes = dtypes[i].size_bytes;
    }
    if (record->dtype == NULL) {
        mlcc_str accepted = {0};
        for (size_t i = 0; i < N_DTYPES; i++) {
            mlcc_str_printf(&accepted, "%s%s", i == 0 ? "" : ", ", dtypes[i].text);
        }
        mlcc_status *status = MLCC_ERROR(
            UNSUPPORTED, "dtype '%s' is not known; accepted are %s", dtype,
            mlcc_str_text(&accepted));
        mlcc_str_free(&accepted);
        return status;
    }
    if (strcmp(format, "f32-to-bf16") == 0) {
        if (record->abi_dtype == MLCC_ABI_F32) {
            record->is_bf16_halves = true;
            *element_bytes = 2;
        }
    } else if (strcmp(format, "raw") != 0) {
        return MLCC_ERROR(
            UNSUPPORTED, "format '%s' is not known; accepted are raw and f32-to-bf16", format);
    }
    return NULL;
}

static mlcc_status *read_shape(const mlcc_json_value *value, mlcc_tensor_record *record) {
    const mlcc_json_value *shape = NULL;
    MLCC_TRY(mlcc_json_get_array(value, "shape", true, &shape));
    size_t rank = mlcc_json_count(shape);
    if (rank > MLCC_ABI_MAX_RANK) {
        return MLCC_ERROR(
            UNSUPPORTED, "'shape' has %zu dimensions, at most %d are supported", rank,
            MLCC_ABI_MAX_RANK);
    }
    record->rank = (uint32_t)rank;
    int64_t n_elements = 1;
    for (size_t axis = 0; axis < rank; axis++) {
        const mlcc_json_value *dim = mlcc_json_at(shape, axis);
        if (mlcc_json_kind_of(dim) != MLCC_JSON_INT || mlcc_json_int(dim) < 0) {
            return MLCC_ERROR(INVALID, "'shape' must hold integers ≥ 0 (dimension %zu)", axis);
        }
        record->dims[axis] = mlcc_json_int(dim);
        if (!mlcc_i64_mul(n_elements, record->dims[axis], &n_elements)) {
            return MLCC_ERROR(INVALID, "the product of 'shape' exceeds 63 bits");
        }
    }
    record->n_elements = (uint64_t)n_elements;
    return NULL;
}

static mlcc_status *read_record(
    const mlcc_json_value *value, const mlcc_tensor_shard *shard, mlcc_tensor_record *record) {
    uint64_t element_bytes = 0;
    int64_t size_bytes = 0, offset_bytes = 0;
    MLCC_TRY(read_dtype(value, record, &element_bytes));
    MLCC_TRY(read_shape(value, record));
    MLCC_TRY(mlcc_json_get_i64(value, "nbytes", true, 0, INT64_MAX, &size_bytes));
    MLCC_TRY(mlcc_json_get_i64(value, "byteOffset", true, 0, INT64_MAX, &offset_bytes));
    record->size_bytes = (uint64_t)size_bytes;
    record->offset_bytes = (uint64_t)offset_bytes;
    size_t expected_bytes = 0;
    if (!mlcc_size_mul(record->n_elements, element_bytes, &expected_bytes) ||
        expected_bytes != record->size_bytes) {
        return MLCC_ERROR(
            INVALID,
            "'nbytes' is %" PRIu64 ", but %" PRIu64 " elements of %" PRIu64
            " bytes need another size",
            record->size_bytes, record->n_elements, element_bytes);
    }
    if (record->offset_bytes > shard->size_bytes ||
        record->size_bytes > shard->size_bytes - record->offset_bytes) {
        return MLCC_ERROR(
            INVALID, "bytes %" PRIu64 " … %" PRIu64 " lie outside the shard's %" PRIu64 " bytes",
            record->offset_bytes, record->offset_bytes + record->size_bytes, shard->size_bytes);
    }
    return NULL;
}

static bool is_md5(const char *text) {
    return strlen(text) == 32 && strspn(text, "0123456789abcdefABCDEF") == 32;
}

static mlcc_status *read_shard(
    mlcc_tensor_cache *cache, const mlcc_json_value *value, const char *directory, mlcc_map *names,
    mlcc_tensor_shard *shard) {
    const char *name = NULL;
    const char *format = NULL;
    const char *md5 = NULL;
    char *path = NULL;
    int64_t size_bytes = 0;
    MLCC_TRY(get_name(value, "dataPath", &name));
    MLCC_TRY(mlcc_path_join_checked(cache->arena, directory, name, &path));
    MLCC_TRY(mlcc_json_get_text(value, "format", true, &format));
    MLCC_TRY(mlcc_json_get_i64(value, "nbytes", true, 0, INT64_MAX, &size_bytes));
    MLCC_TRY(mlcc_json_get_text(value, "md5sum", false, &md5));
    if (strcmp(format, "raw-shard") != 0) {
        return MLCC_ERROR(
            UNSUPPORTED, "shard format '%s' is not known; accepted is raw-shard", format);
    }
    if (md5 != NULL && !is_md5(md5)) {
        return MLCC_ERROR(INVALID, "'md5sum' is '%s', accepted are 32 hexadecimal digits", md5);
    }
    if (!mlcc_map_add_text(names, name, 0)) {
        return MLCC_ERROR(INVALID, "the shard '%s' is listed twice", name);
    }
    shard->name = mlcc_arena_strdup(cache->arena, name);
    shard->path = path;
    shard->md5 = md5 == NULL ? NULL : mlcc_arena_strdup(cache->arena, md5);
    shard->size_bytes = (uint64_t)size_bytes;
    return NULL;
}

static int by_offset(const void *a, const void *b) {
    const mlcc_tensor_record *x = *(const mlcc_tensor_record *const *)a;
    const mlcc_tensor_record *y = *(const mlcc_tensor_record *const *)b;
    if (x->offset_bytes != y->offset_bytes) return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

static mlcc_status *check_overlaps(mlcc_tensor_record *records, size_t n_records) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    const mlcc_tensor_record **sorted =
        MLCC_NEW_ARRAY(scratch, const mlcc_tensor_record *, n_records + 1);
    size_t n_sorted = 0;
    for (size_t i = 0; i < n_records; i++) {
        if (records[i].size_bytes > 0) sorted[n_sorted++] = &records[i];
    }
    qsort(sorted, n_sorted, sizeof *sorted, by_offset);
    for (size_t i = 1; i < n_sorted && status == NULL; i++) {
        if (sorted[i - 1]->offset_bytes + sorted[i - 1]->size_bytes > sorted[i]->offset_bytes) {
            status = MLCC_ERROR(
                INVALID, "'%s' and '%s' overlap at byte %" PRIu64, sorted[i - 1]->name,
                sorted[i]->name, sorted[i]->offset_bytes);
        }
    }
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *read_records(
    mlcc_tensor_cache *cache, const mlcc_json_value *value, size_t shard_index) {
    const mlcc_json_value *records = NULL;
    MLCC_TRY(mlcc_json_get_array(value, "records", true, &records));
    size_t first = cache->n_records;
    for (size_t i = 0; i < mlcc_json_count(records); i++) {
        const mlcc_json_value *item = mlcc_json_at(records, i);
        if (mlcc_json_kind_of(item) != MLCC_JSON_OBJECT) {
            return MLCC_ERROR(INVALID, "record %zu is not an object", i);
        }
        mlcc_tensor_record *record = &cache->records[cache->n_records];
        const char *name = NULL;
        MLCC_TRY_NOTE(get_name(item, "name", &name), "reading record %zu", i);
        record->name = mlcc_arena_strdup(cache->arena, name);
        record->shard = shard_index;
        MLCC_TRY_NOTE(
            read_record(item, &cache->shards[shard_index], record), "reading record '%s'", name);
        if (!mlcc_map_add_text(cache->by_name, name, cache->n_records)) {
            return MLCC_ERROR(INVALID, "the name '%s' appears twice", name);
        }
        cache->n_records++;
    }
    return check_overlaps(&cache->records[first], cache->n_records - first);
}

static mlcc_status *read_index(
    mlcc_tensor_cache *cache, const mlcc_json_value *root, const char *directory, mlcc_map *names) {
    const mlcc_json_value *shards = NULL;
    const mlcc_json_value *metadata = NULL;
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "the index must be an object with 'records', found %s",
            mlcc_json_kind_text(mlcc_json_kind_of(root)));
    }
    MLCC_TRY(mlcc_json_get_array(root, "records", true, &shards));
    MLCC_TRY(mlcc_json_get_object(root, "metadata", false, &metadata));
    cache->param_bytes = mlcc_json_number(mlcc_json_get(metadata, "ParamBytes"));
    cache->bits_per_param = mlcc_json_number(mlcc_json_get(metadata, "BitsPerParam"));
    size_t n_shards = mlcc_json_count(shards), n_records = 0;
    for (size_t i = 0; i < n_shards; i++) {
        n_records += mlcc_json_count(mlcc_json_get(mlcc_json_at(shards, i), "records"));
    }
    cache->shards = MLCC_NEW_ARRAY(cache->arena, mlcc_tensor_shard, n_shards + 1);
    cache->records = MLCC_NEW_ARRAY(cache->arena, mlcc_tensor_record, n_records + 1);
    for (size_t i = 0; i < n_shards; i++) {
        const mlcc_json_value *value = mlcc_json_at(shards, i);
        if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT) {
            return MLCC_ERROR(INVALID, "shard %zu is not an object", i);
        }
        mlcc_tensor_shard *shard = &cache->shards[i];
        MLCC_TRY_NOTE(read_shard(cache, value, directory, names, shard), "reading shard %zu", i);
        cache->n_shards++;
        MLCC_TRY_NOTE(read_records(cache, value, i), "reading shard '%s'", shard->name);
    }
    return NULL;
}

mlcc_status *mlcc_tensor_cache_parse(
    const char *text, size_t length, const char *path, mlcc_tensor_cache **out) {
    *out = NULL;
    mlcc_json *json = NULL;
    MLCC_TRY_NOTE(mlcc_json_parse(text, length, path, 0, &json), "reading the weight index");
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_tensor_cache *cache = MLCC_NEW(arena, mlcc_tensor_cache);
    cache->arena = arena;
    cache->path = mlcc_arena_strdup(arena, path);
    cache->by_name = mlcc_map_create(64);
    mlcc_map *names = mlcc_map_create(16);
    mlcc_status *status =
        read_index(cache, mlcc_json_root(json), mlcc_path_dir(arena, path), names);
    mlcc_map_free(names);
    mlcc_json_free(json);
    if (status != NULL) {
        mlcc_tensor_cache_close(cache);
        return mlcc_status_note(status, "reading the weight index %s", path);
    }
    *out = cache;
    return NULL;
}

static mlcc_status *check_shard_files(const mlcc_tensor_cache *cache) {
    for (size_t i = 0; i < cache->n_shards; i++) {
        const mlcc_tensor_shard *shard = &cache->shards[i];
        if (!mlcc_file_exists(shard->path)) {
            return MLCC_ERROR(
                INVALID, "the shard %s is missing: copy it or convert the weights again",
                shard->path);
        }
        uint64_t size_bytes = 0;
        MLCC_TRY(mlcc_file_size(shard->path, &size_bytes));
        if (size_bytes != shard->size_bytes) {
            return MLCC_ERROR(
                INVALID,
                "the shard %s has %" PRIu64 " bytes, its index says %" PRIu64
                ": it is truncated or belongs to another conversion; copy it or convert the "
                "weights again",
                shard->path, size_bytes, shard->size_bytes);
        }
    }
    return NULL;
}

mlcc_status *mlcc_tensor_cache_open(const char *directory, mlcc_tensor_cache **out) {
    *out = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    const char *path = NULL;
    for (size_t i = 0; i < sizeof index_names / sizeof index_names[0] && path == NULL; i++) {
        const char *candidate = mlcc_path_join(scratch, directory, index_names[i]);
        if (mlcc_file_exists(candidate)) path = candidate;
    }
    char *text = NULL;
    size_t length = 0;
    mlcc_tensor_cache *cache = NULL;
    if (path == NULL) {
        status = MLCC_ERROR(
            INVALID,
            "%s holds neither tensor-cache.json nor ndarray-cache.json: convert the weights first "
            "(mlcc convert_weight)",
            directory);
        goto done;
    }
    MLCC_GOTO(mlcc_file_read(path, (size_t)256 << 20, &text, &length), done);
    MLCC_GOTO(mlcc_tensor_cache_parse(text, length, path, &cache), done);
    MLCC_GOTO(check_shard_files(cache), done);
    *out = cache;
    cache = NULL;
done:
    mlcc_tensor_cache_close(cache);
    free(text);
    mlcc_arena_free(scratch);
    return status;
}

mlcc_status *mlcc_tensor_cache_map(mlcc_tensor_cache *cache) {
    for (size_t i = 0; i < cache->n_shards; i++) {
        mlcc_tensor_shard *shard = &cache->shards[i];
        if (shard->mapping.data != NULL) continue;
        MLCC_TRY(mlcc_file_map(shard->path, &shard->mapping));
        // The file may have changed since its size was checked; the ranges were checked against
        // that size.
        if (shard->mapping.size_bytes != shard->size_bytes) {
            return MLCC_ERROR(
                INVALID,
                "the shard %s changed its size from %" PRIu64 " to %zu bytes while it was opened",
                shard->path, shard->size_bytes, shard->mapping.size_bytes);
        }
    }
    return NULL;
}

void mlcc_tensor_cache_unmap(mlcc_tensor_cache *cache, size_t index) {
    mlcc_file_unmap(&cache->shards[index].mapping);
    cache->shards[index].mapping = (mlcc_mapping){0};
}

typedef struct verify_work {
    const mlcc_tensor_cache *cache;
    mlcc_progress *progress;
    void *progress_user;
    uint64_t total_bytes;
    atomic_uint_fast64_t done_bytes;
    char (*found)[33]; // [n_shards]
} verify_work;

static void verify_shards(void *arg, int64_t begin, int64_t end, int32_t thread) {
    verify_work *work = arg;
    enum { STEP_BYTES = 4 << 20 };
    for (int64_t i = begin; i < end; i++) {
        const mlcc_mapping *mapping = &work->cache->shards[i].mapping;
        mlcc_md5 md5;
        mlcc_md5_init(&md5);
        for (size_t offset = 0; offset < mapping->size_bytes; offset += STEP_BYTES) {
            size_t left = mapping->size_bytes - offset;
            size_t step = left < STEP_BYTES ? left : STEP_BYTES;
            mlcc_md5_update(&md5, (const char *)mapping->data + offset, step);
            uint64_t done = atomic_fetch_add(&work->done_bytes, step) + step;
            if (thread == 0 && work->progress != NULL) {
                work->progress(work->progress_user, "verifying", done, work->total_bytes);
            }
        }
        mlcc_md5_hex(&md5, work->found[i]);
    }
}

mlcc_status *mlcc_tensor_cache_verify(
    const mlcc_tensor_cache *cache, mlcc_pool *pool, mlcc_progress *progress, void *progress_user) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    verify_work work = {.cache = cache, .progress = progress, .progress_user = progress_user};
    work.found = mlcc_arena_alloc_array(scratch, cache->n_shards + 1, sizeof *work.found);
    for (size_t i = 0; i < cache->n_shards; i++) {
        work.total_bytes += cache->shards[i].size_bytes;
        if (cache->shards[i].md5 != NULL || status != NULL) continue;
        status = MLCC_ERROR(
            INVALID, "%s gives no md5sum for %s: it cannot be verified", cache->path,
            cache->shards[i].name);
    }
    if (status == NULL) mlcc_pool_for(pool, (int64_t)cache->n_shards, 1, verify_shards, &work);
    for (size_t i = 0; i < cache->n_shards && status == NULL; i++) {
        const mlcc_tensor_shard *shard = &cache->shards[i];
        if (strcasecmp(work.found[i], shard->md5) == 0) continue;
        status = MLCC_ERROR(
            INVALID,
            "the shard %s has md5 %s, its index says %s: it is damaged; copy it or convert the "
            "weights again",
            shard->path, work.found[i], shard->md5);
    }
    mlcc_arena_free(scratch);
    return mlcc_status_note(status, "verifying the weights");
}

void mlcc_tensor_cache_close(mlcc_tensor_cache *cache) {
    if (cache == NULL) return;
    for (size_t i = 0; i < cache->n_shards; i++) mlcc_file_unmap(&cache->shards[i].mapping);
    mlcc_map_free(cache->by_name);
    mlcc_arena_free(cache->arena);
}

const mlcc_tensor_record *mlcc_tensor_cache_find(const mlcc_tensor_cache *cache, const char *name) {
    uint64_t index = 0;
    return mlcc_map_get_text(cache->by_name, name, &index) ? &cache->records[index] : NULL;
}

const void *mlcc_tensor_cache_data(
    const mlcc_tensor_cache *cache, const mlcc_tensor_record *record) {
    static const char nothing[64] = {0}; // an empty shard has no mapping
    const mlcc_mapping *mapping = &cache->shards[record->shard].mapping;
    return mapping->data == NULL ? nothing : (const char *)mapping->data + record->offset_bytes;
}

void mlcc_tensor_widen_halves(const void *halves, uint64_t n_elements, void *output) {
    const char *source = halves;
    char *target = output;
    for (uint64_t i = 0; i < n_elements; i++) {
        uint16_t half;
        memcpy(&half, source + i * sizeof half, sizeof half);
        const uint32_t word = (uint32_t)half << 16;
        memcpy(target + i * sizeof word, &word, sizeof word);
    }
}

void mlcc_tensor_cache_release(const mlcc_tensor_cache *cache, const mlcc_tensor_record *record) {
    const mlcc_mapping *mapping = &cache->shards[record->shard].mapping;
    if (mapping->data == NULL || record->size_bytes == 0) return;
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)mapping->data + record->offset_bytes;
    uintptr_t end = begin + record->size_bytes;
    begin -= begin % page_bytes;
    (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

mlcc_hash128 mlcc_tensor_cache_identity(const mlcc_tensor_cache *cache) {
    mlcc_str text = {0};
    for (size_t i = 0; i < cache->n_shards; i++) {
        const mlcc_tensor_shard *shard = &cache->shards[i];
        mlcc_str_printf(&text, "%s %" PRIu64 " ", shard->name, shard->size_bytes);
        struct stat info;
        if (shard->md5 != NULL) {
            mlcc_str_printf(&text, "%s\n", shard->md5);
        } else if (stat(shard->path, &info) == 0) {
            mlcc_str_printf(
                &text, "%jd.%09ld\n", (intmax_t)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
        }
    }
    for (size_t i = 0; i < cache->n_records; i++) {
        const mlcc_tensor_record *record = &cache->records[i];
        mlcc_str_puts(&text, record->name);
        mlcc_str_putc(&text, ' ');
        mlcc_tensor_shape_text(record->dtype, record->rank, record->dims, &text);
        mlcc_str_printf(
            &text, " %d %zu %" PRIu64 "\n", (int)record->is_bf16_halves, record->shard,
            record->offset_bytes);
    }
    mlcc_hash128 hash = mlcc_hash128_of(mlcc_str_text(&text), text.length);
    mlcc_str_free(&text);
    return hash;
}

void mlcc_tensor_shape_text(const char *dtype, uint32_t rank, const int64_t *dims, mlcc_str *out) {
    mlcc_str_printf(out, "%s [", dtype);
    for (uint32_t axis = 0; axis < rank; axis++) {
        mlcc_str_printf(out, "%s%" PRId64, axis == 0 ? "" : ", ", dims[axis]);
    }
    mlcc_str_putc(out, ']');
}
