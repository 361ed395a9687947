#include "runtime/base/json.h"

#include "runtime/base/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX_LEVELS = 64 };
static const size_t json_default_max_bytes = (size_t)256 * 1024 * 1024;

struct mlcc_json {
    json_t *root;
};

// jansson's functions take plain pointers even where they only read.
static json_t *plain(const mlcc_json_value *value) {
    return (json_t *)(uintptr_t)value;
}

enum { INT64_DIGITS = 19 };

// jansson's parser recurses up to 2048 levels deep; this pass refuses deep nesting before any
// recursion happens. It only needs to know strings; everything else about correctness is the
// parser's business. On the way it notices whether any number is long enough to leave 64 bits.
static mlcc_status *check_levels(
    const char *text, size_t length, const char *what, bool *has_long_number) {
    size_t level = 0;
    size_t line = 1;
    size_t line_start = 0;
    size_t n_digits = 0;
    bool in_string = false;
    *has_long_number = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            if (c == '"') in_string = false;
            continue;
        }
        if (c >= '0' && c <= '9') {
            if (++n_digits >= INT64_DIGITS) *has_long_number = true;
            continue;
        }
        n_digits = 0;
        switch (c) {
        case '"': in_string = true; break;
        case '\n':
            line++;
            line_start = i + 1;
            break;
        case '[':
        case '{':
            if (++level > JSON_MAX_LEVELS) {
                return MLCC_ERROR(
                    INVALID,
                    "%s, line %zu, column %zu: arrays and objects nest deeper than %d levels", what,
                    line, i - line_start + 1, JSON_MAX_LEVELS);
            }
            break;
        case ']':
        case '}':
            if (level != 0) level--;
            break;
        default: break;
        }
    }
    return NULL;
}

// ---- integers beyond 64 bits ------------------------------------------------------------------

// Many tokenizer_config.json files say "model_max_length": 1000000000000000019884624838656, which
// jansson refuses. Such an integer gets ".0" behind it and thus reads as a real number: a file that
// merely holds one is readable, and mlcc_json_get_i64 still refuses it.

static bool is_wide_integer(const char *token, size_t length) {
    bool negative = token[0] == '-';
    const char *digits = token + negative;
    size_t n_digits = length - negative;
    if (n_digits < INT64_DIGITS) return false;
    for (size_t i = 0; i < n_digits; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false; // has a point or an exponent
    }
    const char *largest = negative ? "9223372036854775808" : "9223372036854775807";
    return n_digits > INT64_DIGITS || memcmp(digits, largest, INT64_DIGITS) > 0;
}

// The end of the next integer beyond 64 bits at or after `from`, a place outside strings; SIZE_MAX
// when there is none.
static size_t next_wide_integer(const char *text, size_t length, size_t from) {
    for (size_t i = from; i < length;) {
        if (text[i] == '"') {
            for (i++; i < length && text[i] != '"'; i++) {
                if (text[i] == '\\') i++;
            }
            i++;
            continue;
        }
        size_t end = i;
        while (end < length && text[end] != '\0' && strchr("0123456789+-.eE", text[end])) end++;
        if (end == i) {
            i++;
        } else if (is_wide_integer(text + i, end - i)) {
            return end;
        } else {
            i = end;
        }
    }
    return SIZE_MAX;
}

static void widen_integers(const char *text, size_t length, mlcc_str *out) {
    size_t done = 0;
    size_t end;
    while ((end = next_wide_integer(text, length, done)) != SIZE_MAX) {
        mlcc_str_append(out, text + done, end - done);
        mlcc_str_append(out, ".0", 2);
        done = end;
    }
    mlcc_str_append(out, text + done, length - done);
}

// How many of the inserted characters stand before the error in its line.
static int inserted_before(const json_error_t *error, const char *text, size_t length) {
    if (error->position < 0) return 0;
    int n_inserted = 0;  // in the line
    size_t n_before = 0; // in the text
    size_t done = 0;
    size_t end;
    while ((end = next_wide_integer(text, length, done)) != SIZE_MAX &&
           end + n_before < (size_t)error->position) {
        if (memchr(text + done, '\n', end - done) != NULL) n_inserted = 0;
        n_inserted += 2;
        n_before += 2;
        done = end;
    }
    size_t place = (size_t)error->position - n_before;
    if (place > length) place = length;
    return place > done && memchr(text + done, '\n', place - done) != NULL ? 0 : n_inserted;
}

// ---- documents --------------------------------------------------------------------------------

static mlcc_status *parse_error(const json_error_t *error, const char *what) {
    if (json_error_code(error) == json_error_out_of_memory) {
        return MLCC_ERROR(NO_MEMORY, "%s: host memory ended while reading JSON", what);
    }
    // jansson quotes the text near the error; control bytes there must not reach a terminal.
    char reason[JSON_ERROR_TEXT_LENGTH];
    size_t n = 0;
    for (; n + 1 < sizeof reason && error->text[n] != '\0'; n++) {
        unsigned char c = (unsigned char)error->text[n];
        reason[n] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    reason[n] = '\0';
    return MLCC_ERROR(
        INVALID, "%s, line %d, column %d: %s", what, error->line > 0 ? error->line : 1,
        error->column > 0 ? error->column : 1, reason);
}

mlcc_status *mlcc_json_parse(
    const char *text, size_t length, const char *what, size_t max_bytes, mlcc_json **out) {
    *out = NULL;
    if (max_bytes == 0) max_bytes = json_default_max_bytes;
    if (length > max_bytes) {
        return MLCC_ERROR(
            INVALID, "%s: %zu bytes of JSON, at most %zu are accepted", what, length, max_bytes);
    }
    bool has_long_number;
    MLCC_TRY(check_levels(text, length, what, &has_long_number));
    json_error_t error;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_t *root;
    if (has_long_number) {
        mlcc_str widened = {0};
        widen_integers(text, length, &widened);
        root = json_loadb(widened.data, widened.length, flags, &error);
        mlcc_str_free(&widened);
        if (root == NULL) error.column -= inserted_before(&error, text, length);
    } else {
        root = json_loadb(text, length, flags, &error);
    }
    if (root == NULL) return parse_error(&error, what);
    mlcc_json *json = malloc(sizeof *json);
    if (json == NULL) {
        json_decref(root);
        return MLCC_ERROR(NO_MEMORY, "%s: host memory ended while reading JSON", what);
    }
    json->root = root;
    *out = json;
    return NULL;
}

mlcc_status *mlcc_json_read_file(const char *path, size_t max_bytes, mlcc_json **out) {
    *out = NULL;
    char *text;
    size_t length;
    MLCC_TRY(
        mlcc_file_read(path, max_bytes != 0 ? max_bytes : json_default_max_bytes, &text, &length));
    mlcc_status *status = mlcc_json_parse(text, length, path, max_bytes, out);
    free(text);
    return status;
}

void mlcc_json_free(mlcc_json *json) {
    if (json == NULL) return;
    json_decref(json->root);
    free(json);
}

const mlcc_json_value *mlcc_json_root(const mlcc_json *json) {
    return json->root;
}

mlcc_json_kind mlcc_json_kind_of(const mlcc_json_value *value) {
    if (value == NULL) return MLCC_JSON_NULL;
    switch (json_typeof(value)) {
    case JSON_OBJECT: return MLCC_JSON_OBJECT;
    case JSON_ARRAY: return MLCC_JSON_ARRAY;
    case JSON_STRING: return MLCC_JSON_STRING;
    case JSON_INTEGER: return MLCC_JSON_INT;
    case JSON_REAL: return MLCC_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return MLCC_JSON_BOOL;
    case JSON_NULL: break;
    }
    return MLCC_JSON_NULL;
}

const char *mlcc_json_kind_text(mlcc_json_kind kind) {
    switch (kind) {
    case MLCC_JSON_NULL: return "null";
    case MLCC_JSON_BOOL: return "true or false";
    case MLCC_JSON_INT: return "an integer";
    case MLCC_JSON_REAL: return "a number with a fraction";
    case MLCC_JSON_STRING: return "a string";
    case MLCC_JSON_ARRAY: return "an array";
    case MLCC_JSON_OBJECT: return "an object";
    }
    return "unknown";
}

// ---- plain access -----------------------------------------------------------------------------

const mlcc_json_value *mlcc_json_get(const mlcc_json_value *object, const char *key) {
    return json_object_get(object, key);
}

size_t mlcc_json_count(const mlcc_json_value *array_or_object) {
    if (json_is_array(array_or_object)) return json_array_size(array_or_object);
    return json_object_size(array_or_object);
}

const mlcc_json_value *mlcc_json_at(const mlcc_json_value *array, size_t index) {
    return json_array_get(array, index);
}

const char *mlcc_json_text(const mlcc_json_value *string, size_t *length) {
    if (length != NULL) *length = json_string_length(string);
    return json_string_value(string);
}

bool mlcc_json_is_true(const mlcc_json_value *value) {
    return json_is_true(value);
}

int64_t mlcc_json_int(const mlcc_json_value *value) {
    return json_integer_value(value);
}

double mlcc_json_number(const mlcc_json_value *value) {
    return json_number_value(value);
}

const mlcc_json_iter *mlcc_json_first(const mlcc_json_value *object) {
    return json_object_iter(plain(object));
}

const mlcc_json_iter *mlcc_json_next(const mlcc_json_value *object, const mlcc_json_iter *iter) {
    return json_object_iter_next(plain(object), (void *)(uintptr_t)iter);
}

const char *mlcc_json_iter_key(const mlcc_json_iter *iter) {
    return json_object_iter_key((void *)(uintptr_t)iter);
}

const mlcc_json_value *mlcc_json_iter_value(const mlcc_json_iter *iter) {
    return json_object_iter_value((void *)(uintptr_t)iter);
}

// ---- checked access ---------------------------------------------------------------------------

// The value of `key`, or NULL with *status saying why not (NULL too where absence is fine).
static const mlcc_json_value *lookup(
    const mlcc_json_value *object, const char *key, bool required, mlcc_status **status) {
    *status = NULL;
    if (object != NULL && !json_is_object(object)) {
        *status = MLCC_ERROR(
            INVALID, "key '%s' is looked up in %s, an object is expected", key,
            mlcc_json_kind_text(mlcc_json_kind_of(object)));
        return NULL;
    }
    const mlcc_json_value *value = json_object_get(object, key);
    if (value != NULL && !json_is_null(value)) return value;
    if (required) {
        *status = MLCC_ERROR(
            INVALID, "key '%s' is %s", key,
            value == NULL ? "missing" : "null, a value is required");
    }
    return NULL;
}

static mlcc_status *wrong_kind(
    const mlcc_json_value *value, const char *key, const char *expected) {
    return MLCC_ERROR(
        INVALID, "key '%s' is %s, %s is expected", key,
        mlcc_json_kind_text(mlcc_json_kind_of(value)), expected);
}

mlcc_status *mlcc_json_get_i64(
    const mlcc_json_value *object, const char *key, bool required, int64_t min, int64_t max,
    int64_t *out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    double real = json_real_value(value);
    if (real >= 0x1p63 || real <= -0x1p63) { // written as an integer or not: too large to be one
        return MLCC_ERROR(
            INVALID, "key '%s' is %g, %" PRId64 " to %" PRId64 " is accepted", key, real, min, max);
    }
    if (!json_is_integer(value)) return wrong_kind(value, key, mlcc_json_kind_text(MLCC_JSON_INT));
    int64_t number = json_integer_value(value);
    if (number < min || number > max) {
        return MLCC_ERROR(
            INVALID, "key '%s' is %" PRId64 ", %" PRId64 " to %" PRId64 " is accepted", key, number,
            min, max);
    }
    *out = number;
    return NULL;
}

mlcc_status *mlcc_json_get_f64(
    const mlcc_json_value *object, const char *key, bool required, double *out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    if (!json_is_number(value)) return wrong_kind(value, key, "a number");
    *out = json_number_value(value);
    return NULL;
}

mlcc_status *mlcc_json_get_bool(
    const mlcc_json_value *object, const char *key, bool required, bool *out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    if (!json_is_boolean(value)) return wrong_kind(value, key, mlcc_json_kind_text(MLCC_JSON_BOOL));
    *out = json_is_true(value);
    return NULL;
}

mlcc_status *mlcc_json_get_text(
    const mlcc_json_value *object, const char *key, bool required, const char **out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    if (!json_is_string(value)) {
        return wrong_kind(value, key, mlcc_json_kind_text(MLCC_JSON_STRING));
    }
    // The result is a C string: a NUL inside would silently cut it.
    if (strlen(json_string_value(value)) != json_string_length(value)) {
        return MLCC_ERROR(
            INVALID, "key '%s' is a string with a NUL character, none is accepted", key);
    }
    *out = json_string_value(value);
    return NULL;
}

mlcc_status *mlcc_json_get_array(
    const mlcc_json_value *object, const char *key, bool required, const mlcc_json_value **out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    if (!json_is_array(value)) return wrong_kind(value, key, mlcc_json_kind_text(MLCC_JSON_ARRAY));
    *out = value;
    return NULL;
}

mlcc_status *mlcc_json_get_object(
    const mlcc_json_value *object, const char *key, bool required, const mlcc_json_value **out) {
    mlcc_status *status;
    const mlcc_json_value *value = lookup(object, key, required, &status);
    if (value == NULL) return status;
    if (!json_is_object(value))
        return wrong_kind(value, key, mlcc_json_kind_text(MLCC_JSON_OBJECT));
    *out = value;
    return NULL;
}
