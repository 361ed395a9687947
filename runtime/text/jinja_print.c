// Values as text: str(), repr(), json.dumps, and JSON documents as values.
#include "runtime/base/str.h"
#include "runtime/text/jinja_value.h"
#include "runtime/text/unicode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_integer(jinja_builder *b, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    mlcc_jinja_puts(b, text);
}

static void put_real(jinja_builder *b, double value) {
    mlcc_str text = {0};
    mlcc_str_put_f64(&text, value);
    char copy[64];
    snprintf(copy, sizeof copy, "%s", mlcc_str_text(&text));
    mlcc_str_free(&text); // before the builder, which may leave
    mlcc_jinja_puts(b, copy);
}

// Whether repr() shows the character as it is (str.isprintable, by blocks).
static bool is_printable(uint32_t code) {
    static const uint32_t hidden[][2] = {
        {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},       {0x600, 0x605},   {0x61C, 0x61C},
        {0x6DD, 0x6DD},   {0x70F, 0x70F},   {0x1680, 0x1680},   {0x180E, 0x180E}, {0x2000, 0x200F},
        {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},   {0xD800, 0xF8FF}, {0xFEFF, 0xFEFF},
        {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i][0] && code <= hidden[i][1]) return false;
    return true;
}

static void put_quoted(jinja_builder *b, const jinja_string *s) {
    bool has_single = memchr(s->data, '\'', s->length) != NULL;
    bool has_double = memchr(s->data, '"', s->length) != NULL;
    char quote = has_single && !has_double ? '"' : '\'';
    mlcc_jinja_put(b, &quote, 1, false);
    for (size_t at = 0; at < s->length;) {
        bool is_user;
        size_t end = mlcc_jinja_stretch(s, at, &is_user);
        while (at < end) {
            uint32_t code;
            size_t n = mlcc_utf8_decode(s->data + at, &code);
            char text[16] = {0};
            if (code == '\\' || code == (unsigned char)quote) {
                snprintf(text, sizeof text, "\\%c", (char)code);
            } else if (code == '\n' || code == '\r' || code == '\t') {
                snprintf(text, sizeof text, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
            } else if (!is_printable(code)) {
                bool is_byte = code < 0x100;
                bool is_short = code < 0x10000;
                snprintf(
                    text, sizeof text, "\\%c%0*x",
                    is_byte    ? 'x'
                    : is_short ? 'u'
                               : 'U',
                    is_byte    ? 2
                    : is_short ? 4
                               : 8,
                    (unsigned)code);
            } else {
                memcpy(text, s->data + at, n);
            }
            mlcc_jinja_put(b, text, strlen(text), is_user);
            at += n;
        }
    }
    mlcc_jinja_put(b, &quote, 1, false);
}

static void put_list(jinja_builder *b, const jinja_list *list) {
    static const char *const opening[] = {
        [JINJA_PLAIN_LIST] = "[",          [JINJA_TUPLE] = "(",
        [JINJA_RANGE] = "range(",          [JINJA_KEYS] = "dict_keys([",
        [JINJA_VALUES] = "dict_values([",  [JINJA_ITEMS] = "dict_items([",
        [JINJA_GENERATOR] = "<generator>",
    };
    static const char *const closing[] = {
        [JINJA_PLAIN_LIST] = "]", [JINJA_TUPLE] = ")",  [JINJA_RANGE] = ")",    [JINJA_KEYS] = "])",
        [JINJA_VALUES] = "])",    [JINJA_ITEMS] = "])", [JINJA_GENERATOR] = "",
    };
    mlcc_jinja_puts(b, opening[list->flavor]);
    if (list->flavor == JINJA_RANGE) { // only its ends are shown
        int64_t step = list->n > 1 ? list->items[1].as.integer - list->items[0].as.integer : 1;
        int64_t first = list->n > 0 ? list->items[0].as.integer : 0;
        put_integer(b, first);
        mlcc_jinja_puts(b, ", ");
        put_integer(b, first + (int64_t)list->n * step);
        if (step != 1) {
            mlcc_jinja_puts(b, ", ");
            put_integer(b, step);
        }
    } else if (list->flavor != JINJA_GENERATOR) {
        for (size_t i = 0; i < list->n; i++) {
            if (i != 0) mlcc_jinja_puts(b, ", ");
            mlcc_jinja_put_repr(b, list->items[i]);
        }
        if (list->flavor == JINJA_TUPLE && list->n == 1) mlcc_jinja_puts(b, ",");
    }
    mlcc_jinja_puts(b, closing[list->flavor]);
}

static void put_dict(jinja_builder *b, const jinja_dict *dict) {
    mlcc_jinja_puts(b, "{");
    for (size_t i = 0; i < dict->n; i++) {
        if (i != 0) mlcc_jinja_puts(b, ", ");
        mlcc_jinja_put_repr(b, dict->items[i].key);
        mlcc_jinja_puts(b, ": ");
        mlcc_jinja_put_repr(b, dict->items[i].value);
    }
    mlcc_jinja_puts(b, "}");
}

void mlcc_jinja_put_repr(jinja_builder *b, jinja_value value) {
    mlcc_jinja_enter(b->room);
    mlcc_jinja_charge(b->room, 1);
    switch (value.kind) {
    case JINJA_UNDEFINED: mlcc_jinja_puts(b, "Undefined"); break;
    case JINJA_NONE: mlcc_jinja_puts(b, "None"); break;
    case JINJA_BOOL: mlcc_jinja_puts(b, value.as.boolean ? "True" : "False"); break;
    case JINJA_INT: put_integer(b, value.as.integer); break;
    case JINJA_FLOAT: put_real(b, value.as.real); break;
    case JINJA_STRING: put_quoted(b, value.as.string); break;
    case JINJA_LIST: put_list(b, value.as.list); break;
    case JINJA_DICT: put_dict(b, value.as.dict); break;
    case JINJA_NAMESPACE:
        mlcc_jinja_puts(b, "<Namespace ");
        put_dict(b, value.as.dict);
        mlcc_jinja_puts(b, ">");
        break;
    default:
        mlcc_jinja_puts(b, "<");
        mlcc_jinja_puts(b, mlcc_jinja_type_name(value));
        mlcc_jinja_puts(b, ">");
    }
    mlcc_jinja_leave(b->room);
}

void mlcc_jinja_put_str(jinja_builder *b, jinja_value value) {
    if (value.kind == JINJA_STRING) {
        mlcc_jinja_put_string(b, value.as.string);
    } else if (value.kind == JINJA_UNDEFINED) {
        if (value.as.undefined->is_unsafe) mlcc_jinja_fail_undefined(b->room, value);
    } else {
        mlcc_jinja_put_repr(b, value);
    }
}

jinja_value mlcc_jinja_str(jinja_room *room, jinja_value value) {
    if (value.kind == JINJA_STRING) return value;
    jinja_builder b = {.room = room};
    mlcc_jinja_put_str(&b, value);
    return mlcc_jinja_finish(&b);
}

// ---- JSON --------------------------------------------------------------------------------------------------------

static void put_json_char(jinja_builder *b, uint32_t code, bool ascii_only, bool is_user) {
    static const char short_names[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    char text[16];
    const char *name = code < 0x80 && code != 0 ? strchr(short_names, (int)code) : NULL;
    bool is_short = false;
    for (size_t i = 0; name != NULL && i + 1 < sizeof short_names; i += 2)
        if ((unsigned char)short_names[i] == code) {
            snprintf(text, sizeof text, "\\%c", short_names[i + 1]);
            is_short = true;
        }
    if (!is_short && code >= 0x10000 && ascii_only) {
        unsigned high = 0xD800 + (unsigned)((code - 0x10000) >> 10);
        unsigned low = 0xDC00 + (unsigned)((code - 0x10000) & 0x3FF);
        snprintf(text, sizeof text, "\\u%04x\\u%04x", high, low);
    } else if (!is_short && (code < 0x20 || (code >= 0x7F && ascii_only && code != 0x7F))) {
        snprintf(text, sizeof text, "\\u%04x", (unsigned)code);
    } else if (!is_short) {
        text[mlcc_utf8_encode(code, text)] = '\0';
    }
    mlcc_jinja_put(b, text, strlen(text), is_user);
}

static void put_json_text(jinja_builder *b, const jinja_string *s, bool ascii_only) {
    mlcc_jinja_puts(b, "\"");
    for (size_t at = 0; at < s->length;) {
        bool is_user;
        size_t end = mlcc_jinja_stretch(s, at, &is_user);
        while (at < end) {
            size_t plain = at; // most text needs no escapes
            while (plain < end && (unsigned char)s->data[plain] >= 0x20 && s->data[plain] != '"' &&
                   s->data[plain] != '\\' && (!ascii_only || (unsigned char)s->data[plain] < 0x80))
                plain++;
            mlcc_jinja_put(b, s->data + at, plain - at, is_user);
            at = plain;
            if (at == end) break;
            uint32_t code;
            at += mlcc_utf8_decode(s->data + at, &code);
            put_json_char(b, code, ascii_only, is_user);
        }
    }
    mlcc_jinja_puts(b, "\"");
}

static void put_json(
    jinja_builder *b, jinja_value value, const jinja_json_style *style, size_t depth);

static void put_line(jinja_builder *b, const jinja_json_style *style, size_t depth) {
    if (style->indent == NULL) return;
    mlcc_jinja_puts(b, "\n");
    for (size_t i = 0; i < depth; i++) mlcc_jinja_put_string(b, style->indent);
}

static void put_separator(jinja_builder *b, const jinja_json_style *style) {
    if (style->item_separator != NULL) {
        mlcc_jinja_put_string(b, style->item_separator);
    } else {
        mlcc_jinja_puts(b, style->indent != NULL ? "," : ", ");
    }
}

static void put_json_list(
    jinja_builder *b, const jinja_list *list, const jinja_json_style *style, size_t depth) {
    mlcc_jinja_puts(b, "[");
    for (size_t i = 0; i < list->n; i++) {
        if (i != 0) put_separator(b, style);
        put_line(b, style, depth + 1);
        put_json(b, list->items[i], style, depth + 1);
    }
    if (list->n != 0) put_line(b, style, depth);
    mlcc_jinja_puts(b, "]");
}

static void put_json_key(jinja_builder *b, jinja_value key, const jinja_json_style *style) {
    if (key.kind == JINJA_STRING) {
        put_json_text(b, key.as.string, style->ascii_only);
        return;
    }
    if (key.kind != JINJA_NONE && key.kind != JINJA_BOOL && key.kind != JINJA_INT &&
        key.kind != JINJA_FLOAT)
        mlcc_jinja_fail(
            b->room, MLCC_INVALID, "keys must be str, int, float, bool or None, not %s",
            mlcc_jinja_type_name(key));
    mlcc_jinja_puts(b, "\"");
    put_json(b, key, style, 0);
    mlcc_jinja_puts(b, "\"");
}

static void put_json_dict(
    jinja_builder *b, const jinja_dict *dict, const jinja_json_style *style, size_t depth) {
    jinja_room *room = b->room;
    const jinja_entry **order = mlcc_jinja_alloc(room, dict->n, sizeof *order);
    for (size_t i = 0; i < dict->n; i++) {
        order[i] = &dict->items[i];
        mlcc_jinja_charge(room, style->sorts_keys ? i : 0);
        for (size_t k = i; style->sorts_keys && k > 0 &&
                           mlcc_jinja_order(room, order[k]->key, order[k - 1]->key, "<") < 0;
             k--) {
            const jinja_entry *swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    }
    mlcc_jinja_puts(b, "{");
    for (size_t i = 0; i < dict->n; i++) {
        if (i != 0) put_separator(b, style);
        put_line(b, style, depth + 1);
        put_json_key(b, order[i]->key, style);
        if (style->key_separator != NULL) {
            mlcc_jinja_put_string(b, style->key_separator);
        } else {
            mlcc_jinja_puts(b, ": ");
        }
        put_json(b, order[i]->value, style, depth + 1);
    }
    if (dict->n != 0) put_line(b, style, depth);
    mlcc_jinja_puts(b, "}");
}

static void put_json(
    jinja_builder *b, jinja_value value, const jinja_json_style *style, size_t depth) {
    mlcc_jinja_enter(b->room);
    mlcc_jinja_charge(b->room, 1);
    bool is_list = value.kind == JINJA_LIST && value.as.list->flavor <= JINJA_TUPLE;
    if (value.kind == JINJA_NONE) {
        mlcc_jinja_puts(b, "null");
    } else if (value.kind == JINJA_BOOL) {
        mlcc_jinja_puts(b, value.as.boolean ? "true" : "false");
    } else if (value.kind == JINJA_FLOAT && !isfinite(value.as.real)) {
        mlcc_jinja_puts(
            b, isnan(value.as.real) ? "NaN"
               : value.as.real > 0  ? "Infinity"
                                    : "-Infinity");
    } else if (value.kind == JINJA_INT || value.kind == JINJA_FLOAT) {
        mlcc_jinja_put_repr(b, value);
    } else if (value.kind == JINJA_STRING) {
        put_json_text(b, value.as.string, style->ascii_only);
    } else if (is_list) {
        put_json_list(b, value.as.list, style, depth);
    } else if (value.kind == JINJA_DICT) {
        put_json_dict(b, value.as.dict, style, depth);
    } else {
        mlcc_jinja_fail(
            b->room, MLCC_INVALID, "Object of type %s is not JSON serializable",
            mlcc_jinja_type_name(value));
    }
    mlcc_jinja_leave(b->room);
}

void mlcc_jinja_put_json(jinja_builder *b, jinja_value value, const jinja_json_style *style) {
    put_json(b, value, style, 0);
}

jinja_value mlcc_jinja_from_json(jinja_room *room, const mlcc_json_value *value, bool is_user) {
    size_t length;
    switch (mlcc_json_kind_of(value)) {
    case MLCC_JSON_BOOL: return mlcc_jinja_bool(mlcc_json_is_true(value));
    case MLCC_JSON_INT: return mlcc_jinja_int(mlcc_json_int(value));
    case MLCC_JSON_REAL: return mlcc_jinja_real(mlcc_json_number(value));
    case MLCC_JSON_STRING: {
        const char *text = mlcc_json_text(value, &length);
        return mlcc_jinja_text_n(room, text, length, is_user);
    }
    case MLCC_JSON_ARRAY: {
        size_t n = mlcc_json_count(value);
        jinja_value list = mlcc_jinja_list(room, JINJA_PLAIN_LIST, n);
        for (size_t i = 0; i < n; i++)
            mlcc_jinja_push(
                room, list, mlcc_jinja_from_json(room, mlcc_json_at(value, i), is_user));
        return list;
    }
    case MLCC_JSON_OBJECT: {
        jinja_value dict = mlcc_jinja_dict(room);
        const mlcc_json_iter *it;
        for (it = mlcc_json_first(value); it != NULL; it = mlcc_json_next(value, it)) {
            const char *key = mlcc_json_iter_key(it);
            jinja_value name = mlcc_jinja_text_n(room, key, strlen(key), is_user);
            jinja_value item = mlcc_jinja_from_json(room, mlcc_json_iter_value(it), is_user);
            mlcc_jinja_dict_add(room, dict.as.dict, name, item);
        }
        return dict;
    }
    default: return mlcc_jinja_none();
    }
}
