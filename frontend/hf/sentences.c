#include "frontend/hf/sentences.h"

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

#include <string.h>

#define MAX_FILE_BYTES ((size_t)1 << 20)

// Older files have a key per mode, newer ones the mode's name under `pooling_mode`.
typedef struct pooling_row {
    const char *key, *mode, *pooling;
} pooling_row;

// clang-format off
static const pooling_row pooling_rows[] = {
    {"pooling_mode_cls_token",            "cls",                  "cls"},
    {"pooling_mode_mean_tokens",          "mean",                 "mean"},
    {"pooling_mode_max_tokens",           "max",                  "max"},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "mean_sqrt_len"},
    {"pooling_mode_weightedmean_tokens",  "weightedmean",         "weighted_mean"},
    {"pooling_mode_lasttoken",            "lasttoken",            "last"},
};
// clang-format on
enum { N_POOLING_ROWS = sizeof pooling_rows / sizeof pooling_rows[0] };

static const char advice[] = "what mlcc does with rows is one of cls, mean, max, mean_sqrt_len, "
                             "weighted_mean and last; remove modules.json to go without it";

static const char *text_or(const mlcc_json_value *object, const char *key, const char *otherwise) {
    const char *text = mlcc_json_text(mlcc_json_get(object, key), NULL);
    return text != NULL ? text : otherwise;
}

static mlcc_status *find_mode(const mlcc_json_value *config, const char *path, hf_sentences *out) {
    const char *mode = mlcc_json_text(mlcc_json_get(config, "pooling_mode"), NULL);
    size_t n_found = 0;
    for (size_t i = 0; i < N_POOLING_ROWS; i++) {
        const pooling_row *row = &pooling_rows[i];
        const bool is_on = mode != NULL ? strcmp(mode, row->mode) == 0
                                        : mlcc_json_is_true(mlcc_json_get(config, row->key));
        if (!is_on) continue;
        out->pooling = row->pooling;
        n_found++;
    }
    if (n_found == 1) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED, "%s turns %zu ways of pooling on%s%.40s%s; expected one: %s", path, n_found,
        mode != NULL ? " (pooling_mode '" : "", mode != NULL ? mode : "", mode != NULL ? "')" : "",
        advice);
}

static mlcc_status *read_pooling(
    const char *directory, const mlcc_json_value *module, mlcc_arena *keep, hf_sentences *out) {
    const char *folder = text_or(module, "path", "1_Pooling");
    if (folder[0] == '\0' || folder[0] == '/' || strstr(folder, "..") != NULL)
        return MLCC_ERROR(
            INVALID, "the pooling module's 'path' is '%.80s'; expected a folder inside the model's",
            folder);
    const char *path = mlcc_path_join(keep, mlcc_path_join(keep, directory, folder), "config.json");
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_read_file(path, MAX_FILE_BYTES, &json));
    mlcc_status *status = find_mode(mlcc_json_root(json), path, out);
    mlcc_json_free(json);
    return status;
}

static mlcc_status *read_module(
    const char *directory, const mlcc_json_value *module, mlcc_arena *keep, hf_sentences *out) {
    const char *type = text_or(module, "type", "");
    if (mlcc_text_ends_with(type, ".Pooling")) return read_pooling(directory, module, keep, out);
    if (mlcc_text_ends_with(type, ".Normalize")) {
        out->normalizes = true;
        return NULL;
    }
    if (mlcc_text_ends_with(type, ".Transformer")) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED,
        "module of type '%.80s' is not supported; accepted: Transformer, Pooling, "
        "Normalize; %s",
        type, advice);
}

static mlcc_status *read_modules(
    const char *directory, const mlcc_json_value *modules, mlcc_arena *keep, hf_sentences *out) {
    if (mlcc_json_kind_of(modules) != MLCC_JSON_ARRAY)
        return MLCC_ERROR(
            INVALID, "the file holds %s; expected an array of modules",
            mlcc_json_kind_text(mlcc_json_kind_of(modules)));
    out->pooling = NULL;
    out->normalizes = false;
    for (size_t i = 0; i < mlcc_json_count(modules); i++)
        MLCC_TRY(read_module(directory, mlcc_json_at(modules, i), keep, out));
    return out->pooling != NULL
               ? NULL
               : MLCC_ERROR(UNSUPPORTED, "no module pools the rows of the tokens; %s", advice);
}

static mlcc_status *read_length(const mlcc_json_value *config, hf_sentences *out) {
    if (mlcc_json_kind_of(mlcc_json_get(config, "max_seq_length")) == MLCC_JSON_NULL) return NULL;
    return mlcc_json_get_i64(config, "max_seq_length", false, 1, INT32_MAX, &out->max_tokens);
}

mlcc_status *hf_sentences_read(const char *directory, mlcc_arena *keep, hf_sentences *out) {
    *out = (hf_sentences){.pooling = "cls", .normalizes = true};
    if (directory == NULL) return NULL;
    mlcc_json *json = NULL;
    const char *path = mlcc_path_join(keep, directory, "modules.json");
    if (mlcc_file_exists(path)) {
        MLCC_TRY(mlcc_json_read_file(path, MAX_FILE_BYTES, &json));
        mlcc_status *status = read_modules(directory, mlcc_json_root(json), keep, out);
        mlcc_json_free(json);
        MLCC_TRY_NOTE(status, "reading %s", path);
    }
    path = mlcc_path_join(keep, directory, "sentence_bert_config.json");
    if (!mlcc_file_exists(path)) return NULL;
    MLCC_TRY(mlcc_json_read_file(path, MAX_FILE_BYTES, &json));
    mlcc_status *status = read_length(mlcc_json_root(json), out);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading %s", path);
}
