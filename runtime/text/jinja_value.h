// jinja_value: the values of a chat template: what Python's str, int, float, bool, None, list, tuple, dict and jinja2's Undefined are there.
//
// Every string knows which of its bytes came from the caller's messages ("user text", marks); concatenation, slices and filters carry the
// marks along, so that the rendered prompt says which stretches a tokenizer must never read as special tokens.
//
// Memory: everything lives in the room's arena and ends with it. Errors: the first one is kept in the room and control goes back to where the
// room was entered (setjmp); nothing outside the arena is held in between, so nothing is lost on the way.
#ifndef MLCC_RUNTIME_TEXT_JINJA_VALUE_H
#define MLCC_RUNTIME_TEXT_JINJA_VALUE_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/status.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- memory, limits, errors ----------------------------------------------------------------------------------

typedef struct jinja_room {
    mlcc_arena *arena;
    size_t used_bytes, max_bytes;
    size_t steps, max_steps;
    size_t depth, max_depth;
    const char *what; // names the template in errors
    int line;         // of the template, where the work is
    jmp_buf exit;
    mlcc_status *status;
} jinja_room;

// Leaves the room with an error that names template and line.
_Noreturn void mlcc_jinja_fail(jinja_room *room, mlcc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void *mlcc_jinja_alloc(jinja_room *room, size_t count, size_t element_bytes); // zeroed, never NULL
void mlcc_jinja_charge(
    jinja_room *room, size_t steps);     // fails when the template has used up its steps
void mlcc_jinja_enter(jinja_room *room); // one level deeper; fails at the limit
static inline void mlcc_jinja_leave(jinja_room *room) {
    room->depth--;
}

// ---- values ------------------------------------------------------------------------------------------------------

typedef enum jinja_kind {
    JINJA_ABSENT, // an argument that was not given
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST, // and tuple, range, views and generators: see jinja_flavor
    JINJA_DICT,
    JINJA_NAMESPACE, // a dict whose items can be set
    JINJA_LOOP,
    JINJA_BUILTIN, // a function, or a method with its object
    JINJA_MACRO,
} jinja_kind;

typedef enum jinja_flavor {
    JINJA_PLAIN_LIST,
    JINJA_TUPLE,
    JINJA_RANGE,
    JINJA_KEYS,
    JINJA_VALUES,
    JINJA_ITEMS,
    JINJA_GENERATOR, // no length, no index, can be walked once
} jinja_flavor;

typedef struct jinja_mark {
    uint32_t begin, end; // bytes
} jinja_mark;

typedef struct jinja_string {
    const char *data; // valid UTF-8, may hold NUL, not terminated
    uint32_t length, n_chars;
    const jinja_mark *marks; // user text: ascending, apart from each other
    uint32_t n_marks;
} jinja_string;

typedef struct jinja_list jinja_list;
typedef struct jinja_dict jinja_dict;
typedef struct jinja_undefined jinja_undefined;
typedef struct jinja_loop jinja_loop;
typedef struct jinja_bound jinja_bound;
typedef struct jinja_builtin jinja_builtin;
typedef struct jinja_closure jinja_closure;

typedef struct jinja_value {
    jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        const jinja_string *string;
        jinja_list *list;
        jinja_dict *dict;
        const jinja_undefined *undefined;
        jinja_loop *loop;
        const jinja_bound *bound;
        const jinja_closure *macro;
    } as;
} jinja_value;

struct jinja_list {
    jinja_flavor flavor;
    bool is_spent;         // a generator that has been walked
    const char *broken_by; // a generator over what cannot be walked fails when it is walked: type
    jinja_value *items;
    size_t n, capacity;
};

typedef struct jinja_entry {
    jinja_value key, value;
} jinja_entry;

struct jinja_dict {
    jinja_entry *items; // in order of insertion
    size_t n, capacity;
};

// What was looked for; the message is made only when somebody needs it.
struct jinja_undefined {
    const char *owner; // type of the object that lacks it, NULL: a variable
    const char *name;  // NUL-terminated
    bool is_element, is_unsafe, is_parameter;
    const char *hint; // the whole message, if not NULL
};

static inline jinja_value mlcc_jinja_none(void) {
    return (jinja_value){.kind = JINJA_NONE};
}
static inline jinja_value mlcc_jinja_bool(bool b) {
    return (jinja_value){.kind = JINJA_BOOL, .as.boolean = b};
}
static inline jinja_value mlcc_jinja_int(int64_t i) {
    return (jinja_value){.kind = JINJA_INT, .as.integer = i};
}
static inline jinja_value mlcc_jinja_real(double f) {
    return (jinja_value){.kind = JINJA_FLOAT, .as.real = f};
}
static inline bool mlcc_jinja_is_given(jinja_value v) {
    return v.kind != JINJA_ABSENT;
}
static inline bool mlcc_jinja_is_string(jinja_value v) {
    return v.kind == JINJA_STRING;
}

jinja_value mlcc_jinja_undefined(jinja_room *room, const char *hint);
// Fails with what jinja2 says about using this undefined value.
_Noreturn void mlcc_jinja_fail_undefined(jinja_room *room, jinja_value undefined);
const char *mlcc_jinja_type_name(jinja_value value); // Python's: "str", "list", …

// ---- strings -----------------------------------------------------------------------------------------------------

jinja_value mlcc_jinja_text(jinja_room *room, const char *text); // template's own, copied
jinja_value mlcc_jinja_text_n(jinja_room *room, const char *data, size_t length, bool is_user);
jinja_value mlcc_jinja_sub(
    jinja_room *room, const jinja_string *s, size_t begin, size_t end); // bytes
bool mlcc_jinja_string_is(jinja_value value, const char *text);
size_t mlcc_jinja_char_to_byte(const jinja_string *s, size_t character);
const char *mlcc_jinja_cstring(jinja_room *room, jinja_value string); // up to its first NUL
// Where `needle` begins in s at or behind `from`, or SIZE_MAX.
size_t mlcc_jinja_find(
    jinja_room *room, const jinja_string *s, const jinja_string *needle, size_t from);
// The next stretch of s at or behind `at` that is all user text or none of it: its end.
size_t mlcc_jinja_stretch(const jinja_string *s, size_t at, bool *is_user);

typedef struct jinja_builder {
    jinja_room *room;
    char *data;
    size_t length, capacity;
    jinja_mark *marks;
    size_t n_marks, marks_capacity;
} jinja_builder;

void mlcc_jinja_put(jinja_builder *builder, const char *data, size_t length, bool is_user);
void mlcc_jinja_puts(jinja_builder *builder, const char *text);
void mlcc_jinja_put_string(jinja_builder *builder, const jinja_string *s);
jinja_value mlcc_jinja_finish(jinja_builder *builder);

// ---- lists and dicts ---------------------------------------------------------------------------------------------

jinja_value mlcc_jinja_list(jinja_room *room, jinja_flavor flavor, size_t capacity);
void mlcc_jinja_push(jinja_room *room, jinja_value list, jinja_value item);
jinja_value mlcc_jinja_dict(jinja_room *room);
void mlcc_jinja_dict_set(jinja_room *room, jinja_dict *dict, jinja_value key, jinja_value value);
void mlcc_jinja_dict_add(
    jinja_room *room, jinja_dict *dict, jinja_value key, jinja_value value); // known to be new
jinja_value *mlcc_jinja_dict_get(
    jinja_room *room, const jinja_dict *dict, jinja_value key); // NULL: absent
jinja_value *mlcc_jinja_dict_get_text(jinja_room *room, const jinja_dict *dict, const char *key);
// What a `for` walks: items of a list, keys of a dict, characters of a string, nothing of an undefined value. Fails for the rest.
jinja_list *mlcc_jinja_iterate(jinja_room *room, jinja_value value);
// A generator over a value that cannot be walked, which shows when somebody walks it; empty for None and the like, as jinja2's map and select
// are. JINJA_ABSENT when `value` can be walked.
jinja_value mlcc_jinja_broken_generator(jinja_room *room, jinja_value value);
jinja_value mlcc_jinja_dict_view(jinja_room *room, const jinja_dict *dict, jinja_flavor flavor);

// ---- what Python does with values --------------------------------------------------------------------------------

bool mlcc_jinja_is_true(jinja_room *room, jinja_value value);
bool mlcc_jinja_equal(jinja_room *room, jinja_value a, jinja_value b);
int mlcc_jinja_order(
    jinja_room *room, jinja_value a, jinja_value b, const char *operator_text); // <0, 0, >0
bool mlcc_jinja_contains(jinja_room *room, jinja_value container, jinja_value item);
void mlcc_jinja_put_str(jinja_builder *builder, jinja_value value);  // str()
void mlcc_jinja_put_repr(jinja_builder *builder, jinja_value value); // repr()
jinja_value mlcc_jinja_str(jinja_room *room, jinja_value value);

typedef struct jinja_json_style {
    bool ascii_only, sorts_keys;
    const jinja_string *indent; // NULL: one line
    const jinja_string *item_separator, *key_separator;
} jinja_json_style;
void mlcc_jinja_put_json(
    jinja_builder *builder, jinja_value value, const jinja_json_style *style); // json.dumps
jinja_value mlcc_jinja_from_json(jinja_room *room, const mlcc_json_value *value, bool is_user);

#endif
