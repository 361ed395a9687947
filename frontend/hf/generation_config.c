#include "frontend/hf/generation_config.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"

#include <string.h>

#define FILE_NAME      "generation_config.json"
#define MAX_FILE_BYTES ((size_t)4 << 20)

typedef enum value_kind { VALUE_REAL, VALUE_ID, VALUE_ID_OR_LIST } value_kind;

typedef struct key_row {
    const char *name;
    value_kind kind;
    double min, max;
    double fallback;
    const char *accepted;
} key_row;

// clang-format off
static const key_row key_rows[HF_N_GENERATION_KEYS] = {
    [HF_TEMPERATURE]        = {"temperature",        VALUE_REAL,       0,  1e6,       1.0, "a number from 0"},
    [HF_PRESENCE_PENALTY]   = {"presence_penalty",   VALUE_REAL,       -2, 2,         0.0, "a number from -2 to 2"},
    [HF_FREQUENCY_PENALTY]  = {"frequency_penalty",  VALUE_REAL,       -2, 2,         0.0, "a number from -2 to 2"},
    [HF_REPETITION_PENALTY] = {"repetition_penalty", VALUE_REAL,       0,  1e6,       1.0, "a number from 0"},
    [HF_TOP_P]              = {"top_p",              VALUE_REAL,       0,  1,         1.0, "a number from 0 to 1"},
    [HF_PAD_TOKEN_ID]       = {"pad_token_id",       VALUE_ID,         -1, INT32_MAX, 0,   "a token id"},
    [HF_BOS_TOKEN_ID]       = {"bos_token_id",       VALUE_ID,         -1, INT32_MAX, 1,   "a token id"},
    [HF_EOS_TOKEN_ID]       = {"eos_token_id",       VALUE_ID_OR_LIST, -1, INT32_MAX, 2,   "a token id or a list of them"},
};
// clang-format on

static bool is_in_range(const key_row *row, const mlcc_json_value *value) {
    double number = mlcc_json_number(value);
    return number >= row->min && number <= row->max;
}

static bool is_accepted(const key_row *row, const mlcc_json_value *value) {
    mlcc_json_kind kind = mlcc_json_kind_of(value);
    if (row->kind == VALUE_REAL)
        return (kind == MLCC_JSON_INT || kind == MLCC_JSON_REAL) && is_in_range(row, value);
    if (kind == MLCC_JSON_INT) return is_in_range(row, value);
    if (row->kind != VALUE_ID_OR_LIST || kind != MLCC_JSON_ARRAY || mlcc_json_count(value) == 0)
        return false;
    for (size_t i = 0; i < mlcc_json_count(value); i++) {
        const mlcc_json_value *id = mlcc_json_at(value, i);
        if (mlcc_json_kind_of(id) != MLCC_JSON_INT || !is_in_range(row, id)) return false;
    }
    return true;
}

// Takes what is still missing from one object.
static mlcc_status *fill(
    const mlcc_json_value *object, const char *what, hf_generation_config *out) {
    for (size_t key = 0; key < HF_N_GENERATION_KEYS; key++) {
        const key_row *row = &key_rows[key];
        const mlcc_json_value *value = mlcc_json_get(object, row->name);
        if (out->values[key] != NULL || mlcc_json_kind_of(value) == MLCC_JSON_NULL) continue;
        if (!is_accepted(row, value)) {
            mlcc_str text = {0};
            mlcc_json_writer writer;
            mlcc_json_writer_init(&writer, &text, 0, true);
            mlcc_json_put_value(&writer, value);
            mlcc_status *status = MLCC_ERROR(
                INVALID, "%s: key '%s' is %.80s; expected %s", what, row->name,
                mlcc_str_text(&text), row->accepted);
            mlcc_str_free(&text);
            return status;
        }
        out->values[key] = value;
    }
    return NULL;
}

// Says which keys of the file stay behind; they are ordinary, so this is no warning.
static void report_rest(const mlcc_json_value *object, const char *what) {
    mlcc_str names = {0};
    for (const mlcc_json_iter *it = mlcc_json_first(object); it != NULL;
         it = mlcc_json_next(object, it)) {
        size_t key = 0;
        while (key < HF_N_GENERATION_KEYS &&
               strcmp(key_rows[key].name, mlcc_json_iter_key(it)) != 0)
            key++;
        if (key == HF_N_GENERATION_KEYS)
            mlcc_str_printf(
                &names, "%s%.60s", names.length > 0 ? ", " : "", mlcc_json_iter_key(it));
    }
    if (names.length > 0)
        mlcc_log(
            MLCC_LOG_INFO, "config", "%s: keys without a place in mlc-chat-config.json: %s", what,
            names.data);
    mlcc_str_free(&names);
}

mlcc_status *hf_generation_config_read(
    const char *directory, const mlcc_json_value *model_config, mlcc_arena *keep,
    hf_generation_config *out) {
    *out = (hf_generation_config){0};
    const char *path = directory != NULL ? mlcc_path_join(keep, directory, FILE_NAME) : NULL;
    mlcc_status *status = NULL;
    if (path != NULL && mlcc_file_exists(path)) {
        MLCC_TRY(mlcc_json_read_file(path, MAX_FILE_BYTES, &out->document));
        const mlcc_json_value *root = mlcc_json_root(out->document);
        if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT)
            status = MLCC_ERROR(
                INVALID, "%s holds %s; expected an object", path,
                mlcc_json_kind_text(mlcc_json_kind_of(root)));
        if (status == NULL) status = fill(root, path, out);
        if (status == NULL) report_rest(root, path);
    }
    if (status == NULL) status = fill(model_config, "config.json", out);
    if (status != NULL) hf_generation_config_free(out);
    return status;
}

void hf_generation_config_write(
    const hf_generation_config *config, hf_generation_key first, hf_generation_key last,
    mlcc_json_writer *writer) {
    for (hf_generation_key key = first; key <= last; key++) {
        const key_row *row = &key_rows[key];
        mlcc_json_key(writer, row->name);
        if (config->values[key] != NULL)
            mlcc_json_put_value(writer, config->values[key]);
        else if (row->kind == VALUE_REAL)
            mlcc_json_put_f64(writer, row->fallback);
        else
            mlcc_json_put_i64(writer, (int64_t)row->fallback);
    }
}

void hf_generation_config_free(hf_generation_config *config) {
    mlcc_json_free(config->document);
    *config = (hf_generation_config){0};
}
