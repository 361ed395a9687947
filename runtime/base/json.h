// json: the only door to jansson. Reads JSON with limits, gives typed access with errors that name the key, and writes JSON
// the way MLC LLM's files look (Python json.dump: indent, ASCII-escaped, floats in shortest form with ".0").
//
// A document owns all its values; mlcc_json_free ends them. Values are plain pointers into it. Reading is strict RFC 8259:
// duplicate keys, trailing text, invalid UTF-8 and nesting above the limit are errors that name line and column.
// An integer that does not fit 64 bits reads as MLCC_JSON_REAL (tokenizer_config.json files hold 10^30); mlcc_json_get_i64 refuses it.
#ifndef MLCC_RUNTIME_BASE_JSON_H
#define MLCC_RUNTIME_BASE_JSON_H

#include "runtime/base/status.h"
#include "runtime/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_json mlcc_json; // a document
// a value inside a document (jansson's own type, opaque here)
typedef struct json_t mlcc_json_value;

typedef enum mlcc_json_kind {
    MLCC_JSON_NULL,
    MLCC_JSON_BOOL,
    MLCC_JSON_INT,
    MLCC_JSON_REAL,
    MLCC_JSON_STRING,
    MLCC_JSON_ARRAY,
    MLCC_JSON_OBJECT
} mlcc_json_kind;

// `what` names the text in errors (a path, "request body"). Limits: 64 levels; `max_bytes` refused before parsing (0 = 256 MiB).
mlcc_status *mlcc_json_parse(
    const char *text, size_t length, const char *what, size_t max_bytes, mlcc_json **out);
mlcc_status *mlcc_json_read_file(const char *path, size_t max_bytes, mlcc_json **out);
void mlcc_json_free(mlcc_json *json);
const mlcc_json_value *mlcc_json_root(const mlcc_json *json);

// NULL pointer reads as MLCC_JSON_NULL
mlcc_json_kind mlcc_json_kind_of(const mlcc_json_value *value);
const char *mlcc_json_kind_text(mlcc_json_kind kind); // "a string", "an object", …

// Plain access: NULL / 0 / false when absent or of another kind.
const mlcc_json_value *mlcc_json_get(const mlcc_json_value *object, const char *key);
size_t mlcc_json_count(const mlcc_json_value *array_or_object);
const mlcc_json_value *mlcc_json_at(const mlcc_json_value *array, size_t index);
// may hold NUL bytes; length may be NULL
const char *mlcc_json_text(const mlcc_json_value *string, size_t *length);
bool mlcc_json_is_true(const mlcc_json_value *value);
int64_t mlcc_json_int(const mlcc_json_value *value);
double mlcc_json_number(const mlcc_json_value *value); // int or real

// Walks an object in file order:  for (it = first(obj); it; it = next(obj, it)) key(it), value(it)
typedef void mlcc_json_iter;
const mlcc_json_iter *mlcc_json_first(const mlcc_json_value *object);
const mlcc_json_iter *mlcc_json_next(const mlcc_json_value *object, const mlcc_json_iter *iter);
const char *mlcc_json_iter_key(const mlcc_json_iter *iter);
const mlcc_json_value *mlcc_json_iter_value(const mlcc_json_iter *iter);

// Checked access: an error names key, expected and found kind. `required` false: absent or null leaves *out untouched.
mlcc_status *mlcc_json_get_i64(
    const mlcc_json_value *object, const char *key, bool required, int64_t min, int64_t max,
    int64_t *out);
mlcc_status *mlcc_json_get_f64(
    const mlcc_json_value *object, const char *key, bool required, double *out);
mlcc_status *mlcc_json_get_bool(
    const mlcc_json_value *object, const char *key, bool required, bool *out);
mlcc_status *mlcc_json_get_text(
    const mlcc_json_value *object, const char *key, bool required, const char **out);
mlcc_status *mlcc_json_get_array(
    const mlcc_json_value *object, const char *key, bool required, const mlcc_json_value **out);
// Writing: a small streaming writer over mlcc_str, Python json.dump style. indent 0 gives one line with ", " and ": ".
mlcc_status *mlcc_json_get_object(
    const mlcc_json_value *object, const char *key, bool required, const mlcc_json_value **out);
typedef struct mlcc_json_writer {
    mlcc_str *out;
    int indent;
    bool ascii_only;
    int depth;
    bool needs_comma[128]; // room for a parsed value of 64 levels inside a few of our own
    bool is_object[128];
} mlcc_json_writer;
void mlcc_json_writer_init(mlcc_json_writer *writer, mlcc_str *out, int indent, bool ascii_only);
void mlcc_json_begin_object(mlcc_json_writer *writer);
void mlcc_json_begin_array(mlcc_json_writer *writer);
void mlcc_json_end(mlcc_json_writer *writer); // closes the innermost
void mlcc_json_key(mlcc_json_writer *writer, const char *key);
void mlcc_json_put_text(mlcc_json_writer *writer, const char *text);
void mlcc_json_put_text_n(mlcc_json_writer *writer, const char *text, size_t length);
void mlcc_json_put_i64(mlcc_json_writer *writer, int64_t value);
// inf and nan, which JSON lacks, as null
void mlcc_json_put_f64(mlcc_json_writer *writer, double value);
void mlcc_json_put_bool(mlcc_json_writer *writer, bool value);
void mlcc_json_put_null(mlcc_json_writer *writer);
void mlcc_json_put_value(
    mlcc_json_writer *writer,
    const mlcc_json_value *value); // a whole parsed value, object key order kept

#endif
