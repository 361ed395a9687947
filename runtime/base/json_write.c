#include "runtime/base/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mlcc_json_writer_init(mlcc_json_writer *writer, mlcc_str *out, int indent, bool ascii_only) {
    *writer = (mlcc_json_writer){.out = out, .indent = indent, .ascii_only = ascii_only};
}

static void new_line(mlcc_json_writer *writer) {
    mlcc_str_putc(writer->out, '\n');
    for (int i = 0; i < writer->depth * writer->indent; i++) mlcc_str_putc(writer->out, ' ');
}

// What goes before an array element or a key: the comma and the line break.
static void separate(mlcc_json_writer *writer) {
    bool *needs_comma = &writer->needs_comma[writer->depth - 1];
    if (*needs_comma) mlcc_str_puts(writer->out, writer->indent > 0 ? "," : ", ");
    if (writer->indent > 0) new_line(writer);
    *needs_comma = true;
}

static void before_value(mlcc_json_writer *writer) {
    if (writer->depth > 0 && !writer->is_object[writer->depth - 1]) separate(writer);
}

static void begin(mlcc_json_writer *writer, bool is_object) {
    before_value(writer);
    if ((size_t)writer->depth >= sizeof writer->is_object / sizeof writer->is_object[0]) {
        // Parsed values nest at most 64 levels and our own files a few: only a loop in the caller
        // gets here.
        fputs("internal error: JSON is written deeper than the writer's levels\n", stderr);
        abort();
    }
    writer->is_object[writer->depth] = is_object;
    writer->needs_comma[writer->depth] = false;
    writer->depth++;
    mlcc_str_putc(writer->out, is_object ? '{' : '[');
}

void mlcc_json_begin_object(mlcc_json_writer *writer) {
    begin(writer, true);
}

void mlcc_json_begin_array(mlcc_json_writer *writer) {
    begin(writer, false);
}

void mlcc_json_end(mlcc_json_writer *writer) {
    writer->depth--;
    if (writer->needs_comma[writer->depth] && writer->indent > 0) new_line(writer);
    mlcc_str_putc(writer->out, writer->is_object[writer->depth] ? '}' : ']');
}

void mlcc_json_key(mlcc_json_writer *writer, const char *key) {
    separate(writer);
    mlcc_str_put_json(writer->out, key, strlen(key), writer->ascii_only);
    mlcc_str_puts(writer->out, ": ");
}

void mlcc_json_put_text(mlcc_json_writer *writer, const char *text) {
    mlcc_json_put_text_n(writer, text, strlen(text));
}

void mlcc_json_put_text_n(mlcc_json_writer *writer, const char *text, size_t length) {
    before_value(writer);
    mlcc_str_put_json(writer->out, text, length, writer->ascii_only);
}

void mlcc_json_put_i64(mlcc_json_writer *writer, int64_t value) {
    before_value(writer);
    mlcc_str_printf(writer->out, "%" PRId64, value);
}

void mlcc_json_put_f64(mlcc_json_writer *writer, double value) {
    if (!isfinite(value)) { // JSON has no word for these
        mlcc_json_put_null(writer);
        return;
    }
    before_value(writer);
    mlcc_str_put_f64(writer->out, value);
}

void mlcc_json_put_bool(mlcc_json_writer *writer, bool value) {
    before_value(writer);
    mlcc_str_puts(writer->out, value ? "true" : "false");
}

void mlcc_json_put_null(mlcc_json_writer *writer) {
    before_value(writer);
    mlcc_str_puts(writer->out, "null");
}

void mlcc_json_put_value(mlcc_json_writer *writer, const mlcc_json_value *value) {
    switch (mlcc_json_kind_of(value)) {
    case MLCC_JSON_NULL: mlcc_json_put_null(writer); return;
    case MLCC_JSON_BOOL: mlcc_json_put_bool(writer, mlcc_json_is_true(value)); return;
    case MLCC_JSON_INT: mlcc_json_put_i64(writer, mlcc_json_int(value)); return;
    case MLCC_JSON_REAL: mlcc_json_put_f64(writer, mlcc_json_number(value)); return;
    case MLCC_JSON_STRING: {
        size_t length;
        const char *text = mlcc_json_text(value, &length);
        mlcc_json_put_text_n(writer, text, length);
        return;
    }
    case MLCC_JSON_ARRAY:
        mlcc_json_begin_array(writer);
        for (size_t i = 0; i < mlcc_json_count(value); i++) {
            mlcc_json_put_value(writer, mlcc_json_at(value, i));
        }
        mlcc_json_end(writer);
        return;
    case MLCC_JSON_OBJECT:
        mlcc_json_begin_object(writer);
        for (const mlcc_json_iter *it = mlcc_json_first(value); it != NULL;
             it = mlcc_json_next(value, it)) {
            mlcc_json_key(writer, mlcc_json_iter_key(it));
            mlcc_json_put_value(writer, mlcc_json_iter_value(it));
        }
        mlcc_json_end(writer);
        return;
    }
}
