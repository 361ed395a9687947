// Values: memory and errors, strings with their marks, lists, dicts.
#include "runtime/text/jinja_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- memory, limits, errors ----------------------------------------------------------------------------------

void mlcc_jinja_fail(jinja_room *room, mlcc_code code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    room->status =
        mlcc_status_make(code, __FILE__, __LINE__, "%s, line %d: %s", room->what, room->line, text);
    longjmp(room->exit, 1);
}

void *mlcc_jinja_alloc(jinja_room *room, size_t count, size_t element_bytes) {
    size_t bytes;
    bool fits =
        mlcc_size_mul(count, element_bytes, &bytes) && bytes <= room->max_bytes - room->used_bytes;
    if (!fits) {
        mlcc_jinja_fail(
            room, MLCC_INVALID,
            "the template makes values of more than %zu bytes, the limit; make it build less",
            room->max_bytes);
    }
    room->used_bytes += bytes;
    void *data = mlcc_arena_try_alloc(room->arena, bytes + 1);
    if (data == NULL) mlcc_jinja_fail(room, MLCC_NO_MEMORY, "host memory ended");
    return data;
}

void mlcc_jinja_charge(jinja_room *room, size_t steps) {
    if (steps <= room->max_steps - room->steps) {
        room->steps += steps;
        return;
    }
    mlcc_jinja_fail(
        room, MLCC_INVALID,
        "the template takes more than %zu steps, the limit; a loop may be too long",
        room->max_steps);
}

void mlcc_jinja_enter(jinja_room *room) {
    if (room->depth++ < room->max_depth) return;
    mlcc_jinja_fail(
        room, MLCC_INVALID,
        "nested deeper than %zu levels, the limit; a macro or a value may contain itself",
        room->max_depth);
}

// ---- undefined ---------------------------------------------------------------------------------------------------

jinja_value mlcc_jinja_undefined(jinja_room *room, const char *hint) {
    jinja_undefined *u = mlcc_jinja_alloc(room, 1, sizeof *u);
    u->hint = hint;
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = u};
}

void mlcc_jinja_fail_undefined(jinja_room *room, jinja_value value) {
    const jinja_undefined *u = value.as.undefined;
    if (u->hint != NULL) mlcc_jinja_fail(room, MLCC_INVALID, "%s", u->hint);
    if (u->is_unsafe)
        mlcc_jinja_fail(
            room, MLCC_INVALID, "access to attribute '%.80s' of '%s' is not allowed in a template",
            u->name, u->owner);
    if (u->is_parameter)
        mlcc_jinja_fail(room, MLCC_INVALID, "parameter '%.80s' was not provided", u->name);
    if (u->owner == NULL) mlcc_jinja_fail(room, MLCC_INVALID, "'%.80s' is undefined", u->name);
    if (u->is_element)
        mlcc_jinja_fail(room, MLCC_INVALID, "'%s' object has no element %.80s", u->owner, u->name);
    mlcc_jinja_fail(room, MLCC_INVALID, "'%s' object has no attribute '%.80s'", u->owner, u->name);
}

const char *mlcc_jinja_type_name(jinja_value value) {
    static const char *const names[] = {
        [JINJA_ABSENT] = "absent",    [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",    [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",          [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",       [JINJA_LIST] = "list",
        [JINJA_DICT] = "dict",        [JINJA_NAMESPACE] = "Namespace",
        [JINJA_LOOP] = "LoopContext", [JINJA_BUILTIN] = "function",
        [JINJA_MACRO] = "Macro",
    };
    static const char *const flavors[] = {
        [JINJA_PLAIN_LIST] = "list",     [JINJA_TUPLE] = "tuple",
        [JINJA_RANGE] = "range",         [JINJA_KEYS] = "dict_keys",
        [JINJA_VALUES] = "dict_values",  [JINJA_ITEMS] = "dict_items",
        [JINJA_GENERATOR] = "generator",
    };
    return value.kind == JINJA_LIST ? flavors[value.as.list->flavor] : names[value.kind];
}

// ---- strings -----------------------------------------------------------------------------------------------------

static uint32_t count_chars(const char *data, size_t length) {
    uint32_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)data[i] & 0xC0) != 0x80;
    return n;
}

static jinja_value make_string(
    jinja_room *room, const char *data, size_t length, const jinja_mark *marks, size_t n_marks) {
    jinja_string *s = mlcc_jinja_alloc(room, 1, sizeof *s);
    *s = (jinja_string){.data = data,
                        .length = (uint32_t)length,
                        .n_chars = count_chars(data, length),
                        .marks = marks,
                        .n_marks = (uint32_t)n_marks};
    return (jinja_value){.kind = JINJA_STRING, .as.string = s};
}

jinja_value mlcc_jinja_text_n(jinja_room *room, const char *data, size_t length, bool is_user) {
    jinja_builder b = {.room = room};
    mlcc_jinja_put(&b, data, length, is_user);
    return mlcc_jinja_finish(&b);
}

jinja_value mlcc_jinja_text(jinja_room *room, const char *text) {
    return mlcc_jinja_text_n(room, text, strlen(text), false);
}

jinja_value mlcc_jinja_sub(jinja_room *room, const jinja_string *s, size_t begin, size_t end) {
    size_t first = 0;
    while (first < s->n_marks && s->marks[first].end <= begin) first++;
    size_t last = first;
    while (last < s->n_marks && s->marks[last].begin < end) last++;
    size_t n = last - first;
    jinja_mark *marks = n == 0 ? NULL : mlcc_jinja_alloc(room, n, sizeof *marks);
    for (size_t i = 0; i < n; i++) {
        jinja_mark from = s->marks[first + i];
        marks[i].begin = from.begin <= begin ? 0 : (uint32_t)(from.begin - begin);
        marks[i].end = (uint32_t)((from.end < end ? from.end : end) - begin);
    }
    return make_string(room, s->data + begin, end - begin, marks, n);
}

bool mlcc_jinja_string_is(jinja_value value, const char *text) {
    return value.kind == JINJA_STRING && value.as.string->length == strlen(text) &&
           memcmp(value.as.string->data, text, value.as.string->length) == 0;
}

size_t mlcc_jinja_char_to_byte(const jinja_string *s, size_t character) {
    if (s->n_chars == s->length) return character < s->length ? character : s->length;
    size_t at = 0;
    for (size_t seen = 0; at < s->length; at++) {
        if (((unsigned char)s->data[at] & 0xC0) == 0x80) continue;
        if (seen++ == character) break;
    }
    return at;
}

const char *mlcc_jinja_cstring(jinja_room *room, jinja_value string) {
    const jinja_string *s = string.as.string;
    char *text = mlcc_jinja_alloc(room, s->length + (size_t)1, 1);
    memcpy(text, s->data, s->length);
    return text;
}

size_t mlcc_jinja_find(
    jinja_room *room, const jinja_string *s, const jinja_string *needle, size_t from) {
    if (from > s->length) return SIZE_MAX;
    mlcc_jinja_charge(room, (s->length - from) / 256);
    if (needle->length == 0) return from;
    const char *at = memmem(s->data + from, s->length - from, needle->data, needle->length);
    return at == NULL ? SIZE_MAX : (size_t)(at - s->data);
}

size_t mlcc_jinja_stretch(const jinja_string *s, size_t at, bool *is_user) {
    size_t low = 0;
    size_t high = s->n_marks;
    while (low < high) { // the first mark that ends behind `at`
        size_t middle = (low + high) / 2;
        if (s->marks[middle].end <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *is_user = low < s->n_marks && s->marks[low].begin <= at;
    if (*is_user) return s->marks[low].end;
    return low < s->n_marks ? s->marks[low].begin : s->length;
}

static void put_mark(jinja_builder *b, size_t begin, size_t end) {
    if (b->n_marks != 0 && b->marks[b->n_marks - 1].end == begin) {
        b->marks[b->n_marks - 1].end = (uint32_t)end;
        return;
    }
    if (b->n_marks == b->marks_capacity) {
        size_t capacity = b->marks_capacity == 0 ? 4 : b->marks_capacity * 2;
        jinja_mark *marks = mlcc_jinja_alloc(b->room, capacity, sizeof *marks);
        if (b->n_marks != 0) memcpy(marks, b->marks, b->n_marks * sizeof *marks);
        b->marks = marks;
        b->marks_capacity = capacity;
    }
    b->marks[b->n_marks++] = (jinja_mark){(uint32_t)begin, (uint32_t)end};
}

void mlcc_jinja_put(jinja_builder *b, const char *data, size_t length, bool is_user) {
    if (length == 0) return;
    if (length > b->capacity - b->length) {
        size_t capacity =
            b->capacity * 2 > b->length + length ? b->capacity * 2 : b->length + length;
        char *grown = mlcc_jinja_alloc(b->room, capacity, 1);
        if (b->length != 0) memcpy(grown, b->data, b->length);
        b->data = grown;
        b->capacity = capacity;
    }
    memcpy(b->data + b->length, data, length);
    if (is_user) put_mark(b, b->length, b->length + length);
    b->length += length;
}

void mlcc_jinja_puts(jinja_builder *b, const char *text) {
    mlcc_jinja_put(b, text, strlen(text), false);
}

void mlcc_jinja_put_string(jinja_builder *b, const jinja_string *s) {
    size_t start = b->length;
    mlcc_jinja_put(b, s->data, s->length, false);
    for (size_t i = 0; i < s->n_marks; i++)
        put_mark(b, start + s->marks[i].begin, start + s->marks[i].end);
}

jinja_value mlcc_jinja_finish(jinja_builder *b) {
    return make_string(b->room, b->length == 0 ? "" : b->data, b->length, b->marks, b->n_marks);
}

// ---- lists and dicts ---------------------------------------------------------------------------------------------

jinja_value mlcc_jinja_list(jinja_room *room, jinja_flavor flavor, size_t capacity) {
    jinja_list *list = mlcc_jinja_alloc(room, 1, sizeof *list);
    list->flavor = flavor;
    list->capacity = capacity;
    if (capacity != 0) list->items = mlcc_jinja_alloc(room, capacity, sizeof *list->items);
    return (jinja_value){.kind = JINJA_LIST, .as.list = list};
}

void mlcc_jinja_push(jinja_room *room, jinja_value value, jinja_value item) {
    jinja_list *list = value.as.list;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        jinja_value *items = mlcc_jinja_alloc(room, capacity, sizeof *items);
        if (list->n != 0) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = item;
}

jinja_value mlcc_jinja_dict(jinja_room *room) {
    return (jinja_value){.kind = JINJA_DICT,
                         .as.dict = mlcc_jinja_alloc(room, 1, sizeof(jinja_dict))};
}

jinja_value *mlcc_jinja_dict_get(jinja_room *room, const jinja_dict *dict, jinja_value key) {
    mlcc_jinja_charge(room, dict->n / 8);
    for (size_t i = 0; i < dict->n; i++)
        if (mlcc_jinja_equal(room, dict->items[i].key, key)) return &dict->items[i].value;
    return NULL;
}

jinja_value *mlcc_jinja_dict_get_text(jinja_room *room, const jinja_dict *dict, const char *key) {
    mlcc_jinja_charge(room, dict->n / 8);
    for (size_t i = 0; i < dict->n; i++)
        if (mlcc_jinja_string_is(dict->items[i].key, key)) return &dict->items[i].value;
    return NULL;
}

void mlcc_jinja_dict_add(jinja_room *room, jinja_dict *dict, jinja_value key, jinja_value value) {
    if (dict->n == dict->capacity) {
        size_t capacity = dict->capacity == 0 ? 4 : dict->capacity * 2;
        jinja_entry *items = mlcc_jinja_alloc(room, capacity, sizeof *items);
        if (dict->n != 0) memcpy(items, dict->items, dict->n * sizeof *items);
        dict->items = items;
        dict->capacity = capacity;
    }
    dict->items[dict->n++] = (jinja_entry){key, value};
}

void mlcc_jinja_dict_set(jinja_room *room, jinja_dict *dict, jinja_value key, jinja_value value) {
    bool has_hash = key.kind != JINJA_DICT &&
                    !(key.kind == JINJA_LIST && key.as.list->flavor == JINJA_PLAIN_LIST);
    if (!has_hash)
        mlcc_jinja_fail(room, MLCC_INVALID, "unhashable type: '%s'", mlcc_jinja_type_name(key));
    jinja_value *slot = mlcc_jinja_dict_get(room, dict, key);
    if (slot != NULL) {
        *slot = value;
    } else {
        mlcc_jinja_dict_add(room, dict, key, value);
    }
}

jinja_value mlcc_jinja_dict_view(jinja_room *room, const jinja_dict *dict, jinja_flavor flavor) {
    jinja_value list = mlcc_jinja_list(room, flavor, dict->n);
    for (size_t i = 0; i < dict->n; i++) {
        const jinja_entry *entry = &dict->items[i];
        if (flavor == JINJA_ITEMS) {
            jinja_value pair = mlcc_jinja_list(room, JINJA_TUPLE, 2);
            mlcc_jinja_push(room, pair, entry->key);
            mlcc_jinja_push(room, pair, entry->value);
            mlcc_jinja_push(room, list, pair);
        } else {
            mlcc_jinja_push(room, list, flavor == JINJA_VALUES ? entry->value : entry->key);
        }
    }
    return list;
}

static jinja_list *characters(jinja_room *room, const jinja_string *s) {
    jinja_value list = mlcc_jinja_list(room, JINJA_PLAIN_LIST, s->n_chars);
    for (size_t begin = 0; begin < s->length;) {
        size_t end = begin + 1;
        while (end < s->length && ((unsigned char)s->data[end] & 0xC0) == 0x80) end++;
        mlcc_jinja_push(room, list, mlcc_jinja_sub(room, s, begin, end));
        begin = end;
    }
    return list.as.list;
}

jinja_value mlcc_jinja_broken_generator(jinja_room *room, jinja_value value) {
    bool can_be_walked = value.kind == JINJA_UNDEFINED || value.kind == JINJA_STRING ||
                         value.kind == JINJA_LIST || value.kind == JINJA_DICT;
    if (can_be_walked) return (jinja_value){0};
    jinja_value generator = mlcc_jinja_list(room, JINJA_GENERATOR, 0);
    // jinja2 asks for truth first: None and 0 are empty
    if (mlcc_jinja_is_true(room, value)) generator.as.list->broken_by = mlcc_jinja_type_name(value);
    return generator;
}

jinja_list *mlcc_jinja_iterate(jinja_room *room, jinja_value value) {
    static jinja_list nothing;
    switch (value.kind) {
    case JINJA_UNDEFINED:
        if (value.as.undefined->is_unsafe) mlcc_jinja_fail_undefined(room, value);
        return &nothing;
    case JINJA_STRING: return characters(room, value.as.string);
    case JINJA_DICT: return mlcc_jinja_dict_view(room, value.as.dict, JINJA_PLAIN_LIST).as.list;
    case JINJA_LIST:
        if (value.as.list->flavor != JINJA_GENERATOR) return value.as.list;
        if (value.as.list->broken_by != NULL)
            mlcc_jinja_fail(
                room, MLCC_INVALID, "'%s' object is not iterable", value.as.list->broken_by);
        if (value.as.list->is_spent) return &nothing;
        value.as.list->is_spent = true;
        return value.as.list;
    default:
        mlcc_jinja_fail(
            room, MLCC_INVALID, "'%s' object is not iterable", mlcc_jinja_type_name(value));
    }
}
