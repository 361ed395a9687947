#include "frontend/hf/weight_index.h"

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/map.h"

#define MAX_INDEX_BYTES ((size_t)64 << 20)

static mlcc_status *add_file(
    hf_weight_index *out, const char *dir, const char *name, const char *tensor, mlcc_arena *keep) {
    char *path = NULL;
    MLCC_TRY_NOTE(
        mlcc_path_join_checked(keep, dir, name, &path), "looking for the file of tensor '%.200s'",
        tensor);
    if (!mlcc_file_exists(path))
        return MLCC_ERROR(
            INVALID,
            "the index names shard '%s' (for tensor '%.200s' and others), but %s does not exist; "
            "fetch the missing file",
            name, tensor, path);
    out->files[out->n_files++] = path;
    return NULL;
}

static mlcc_status *read_map(
    const mlcc_json_value *weight_map, const char *dir, mlcc_map *file_of_name, mlcc_arena *keep,
    hf_weight_index *out) {
    out->entries = MLCC_NEW_ARRAY(keep, hf_weight_index_entry, mlcc_json_count(weight_map) + 1);
    out->files = MLCC_NEW_ARRAY(keep, const char *, mlcc_json_count(weight_map) + 1);
    for (const mlcc_json_iter *it = mlcc_json_first(weight_map); it != NULL;
         it = mlcc_json_next(weight_map, it)) {
        const char *tensor = mlcc_json_iter_key(it);
        const char *name = mlcc_json_text(mlcc_json_iter_value(it), NULL);
        if (name == NULL)
            return MLCC_ERROR(
                INVALID, "weight_map entry '%.200s' is %s; expected the name of a file", tensor,
                mlcc_json_kind_text(mlcc_json_kind_of(mlcc_json_iter_value(it))));
        uint64_t file = out->n_files;
        if (mlcc_map_add_text(file_of_name, name, file))
            MLCC_TRY(add_file(out, dir, name, tensor, keep));
        mlcc_map_get_text(file_of_name, name, &file);
        out->entries[out->n_entries++] =
            (hf_weight_index_entry){mlcc_arena_strdup(keep, tensor), (size_t)file};
    }
    return NULL;
}

mlcc_status *hf_weight_index_read(const char *path, mlcc_arena *keep, hf_weight_index *out) {
    *out = (hf_weight_index){0};
    mlcc_json *json = NULL;
    mlcc_map *file_of_name = mlcc_map_create(16);
    const mlcc_json_value *weight_map = NULL;
    mlcc_status *status = NULL;
    MLCC_GOTO(mlcc_json_read_file(path, MAX_INDEX_BYTES, &json), done);
    MLCC_GOTO(mlcc_json_get_object(mlcc_json_root(json), "weight_map", true, &weight_map), done);
    status = read_map(weight_map, mlcc_path_dir(keep, path), file_of_name, keep, out);
done:
    mlcc_map_free(file_of_name);
    mlcc_json_free(json);
    return status;
}
