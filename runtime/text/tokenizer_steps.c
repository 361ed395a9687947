// What the readers of steps share (tokenizer_steps.h).
#include "runtime/text/tokenizer_steps.h"

#include "runtime/text/unicode.h"

#include <string.h>

static mlcc_status *unknown_type(
    const mlcc_tokenizer_reader *reader, const mlcc_step_kind *kind, const char *place,
    const char *type) {
    char *known = mlcc_arena_strdup(reader->arena, "Sequence");
    for (size_t i = 0; i < kind->n_types; i++) {
        known = mlcc_arena_printf(reader->arena, "%s, %s", known, kind->types[i].name);
    }
    return MLCC_ERROR(
        UNSUPPORTED, "'%s': %s.type is '%s', accepted are %s", reader->file, place, type, known);
}

mlcc_status *mlcc_steps_read(
    const mlcc_tokenizer_reader *reader, const mlcc_step_kind *kind, const mlcc_json_value *value,
    const char *place) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "'%s': %s is %s, an object is expected", reader->file, place,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    const char *type;
    MLCC_TRY(mlcc_tokenizer_note(reader, place, mlcc_json_get_text(value, "type", true, &type)));
    if (strcmp(type, "Sequence") == 0) {
        const mlcc_json_value *list;
        MLCC_TRY(mlcc_tokenizer_note(
            reader, place, mlcc_json_get_array(value, kind->list_key, true, &list)));
        for (size_t i = 0; i < mlcc_json_count(list); i++) {
            const char *inner =
                mlcc_arena_printf(reader->arena, "%s.%s[%zu]", place, kind->list_key, i);
            MLCC_TRY(mlcc_steps_read(reader, kind, mlcc_json_at(list, i), inner));
        }
        return NULL;
    }
    for (size_t i = 0; i < kind->n_types; i++) {
        if (strcmp(kind->types[i].name, type) != 0) continue;
        return mlcc_tokenizer_note(reader, place, kind->types[i].read(reader, value, place));
    }
    return unknown_type(reader, kind, place, type);
}

mlcc_status *mlcc_steps_read_copy(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length) {
    MLCC_TRY(mlcc_tokenizer_read_string(reader, value, place, key, text, length));
    *text = mlcc_bytes_keep(reader->arena, *text, *length);
    return NULL;
}

// A string of exactly one character.
mlcc_status *mlcc_steps_read_character(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length) {
    MLCC_TRY(mlcc_steps_read_copy(reader, value, place, key, text, length));
    uint32_t code;
    if (*length != 0 && mlcc_utf8_decode(*text, &code) == *length) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s.%s is '%s', one character is expected", reader->file, place, key, *text);
}

// {"String": …} or {"Regex": …}.
mlcc_status *mlcc_steps_read_pattern(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_pattern *out) {
    const mlcc_json_value *pattern;
    MLCC_TRY(mlcc_json_get_object(value, "pattern", true, &pattern));
    const char *inner = mlcc_arena_printf(reader->arena, "%s.pattern", place);
    bool has_string = mlcc_json_get(pattern, "String") != NULL;
    bool has_regex = mlcc_json_get(pattern, "Regex") != NULL;
    if (has_string == has_regex) {
        return MLCC_ERROR(
            INVALID, "'%s': %s needs either 'String' or 'Regex'", reader->file, inner);
    }
    const char *text;
    size_t length;
    MLCC_TRY(mlcc_tokenizer_read_string(
        reader, pattern, inner, has_string ? "String" : "Regex", &text, &length));
    if (has_string) return mlcc_pattern_of_literal(text, length, reader->arena, out);
    return mlcc_pattern_of_regex(text, length, out);
}

// Files from before 2023 have add_prefix_space only.
mlcc_status *mlcc_steps_read_scheme(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_prepend_scheme *out) {
    bool adds_space = true;
    const char *name = NULL;
    MLCC_TRY(mlcc_json_get_bool(value, "add_prefix_space", false, &adds_space));
    MLCC_TRY(mlcc_json_get_text(value, "prepend_scheme", false, &name));
    if (name == NULL) name = adds_space ? "always" : "never";
    if (strcmp(name, "always") == 0) {
        *out = MLCC_PREPEND_ALWAYS;
    } else if (strcmp(name, "first") == 0) {
        *out = MLCC_PREPEND_FIRST;
    } else if (strcmp(name, "never") == 0) {
        *out = MLCC_PREPEND_NEVER;
    } else {
        return MLCC_ERROR(
            INVALID, "'%s': %s.prepend_scheme is '%s', accepted are always, first, never",
            reader->file, place, name);
    }
    if (adds_space || *out == MLCC_PREPEND_NEVER) return NULL;
    return MLCC_ERROR(
        INVALID,
        "'%s': %s.add_prefix_space is false, but prepend_scheme is '%s'; 'never' would agree",
        reader->file, place, name);
}
