// Values against each other: truth, equality, order, membership, as Python has them.
#include "runtime/text/jinja_value.h"

#include <string.h>

static bool is_number(jinja_value v) {
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

static int64_t integer_of(jinja_value v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

static int order_numbers(jinja_value a, jinja_value b) {
    if (a.kind == JINJA_FLOAT || b.kind == JINJA_FLOAT) {
        double x = a.kind == JINJA_FLOAT ? a.as.real : (double)integer_of(a);
        double y = b.kind == JINJA_FLOAT ? b.as.real : (double)integer_of(b);
        return (x > y) - (x < y);
    }
    int64_t x = integer_of(a);
    int64_t y = integer_of(b);
    return (x > y) - (x < y);
}

// UTF-8 keeps the order of code points.
static int order_strings(const jinja_string *a, const jinja_string *b) {
    size_t n = a->length < b->length ? a->length : b->length;
    int order = n == 0 ? 0 : memcmp(a->data, b->data, n);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

bool mlcc_jinja_is_true(jinja_room *room, jinja_value value) {
    switch (value.kind) {
    case JINJA_UNDEFINED:
        if (value.as.undefined->is_unsafe) mlcc_jinja_fail_undefined(room, value);
        return false;
    case JINJA_ABSENT:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return value.as.boolean;
    case JINJA_INT: return value.as.integer != 0;
    case JINJA_FLOAT: return value.as.real != 0;
    case JINJA_STRING: return value.as.string->length != 0;
    case JINJA_LIST: return value.as.list->flavor == JINJA_GENERATOR || value.as.list->n != 0;
    case JINJA_DICT: return value.as.dict->n != 0;
    default: return true;
    }
}

static bool equal_lists(jinja_room *room, const jinja_list *a, const jinja_list *b) {
    if (a->flavor != b->flavor || a->n != b->n) return false;
    if (a->flavor == JINJA_GENERATOR) return a == b;
    for (size_t i = 0; i < a->n; i++)
        if (!mlcc_jinja_equal(room, a->items[i], b->items[i])) return false;
    return true;
}

static bool equal_dicts(jinja_room *room, const jinja_dict *a, const jinja_dict *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const jinja_value *other = mlcc_jinja_dict_get(room, b, a->items[i].key);
        if (other == NULL || !mlcc_jinja_equal(room, a->items[i].value, *other)) return false;
    }
    return true;
}

bool mlcc_jinja_equal(jinja_room *room, jinja_value a, jinja_value b) {
    if (is_number(a) && is_number(b)) {
        bool is_nan = (a.kind == JINJA_FLOAT && a.as.real != a.as.real) ||
                      (b.kind == JINJA_FLOAT && b.as.real != b.as.real);
        return !is_nan && order_numbers(a, b) == 0;
    }
    if (a.kind != b.kind) return false;
    bool is_equal = true;
    mlcc_jinja_enter(room);
    mlcc_jinja_charge(room, 1);
    switch (a.kind) {
    case JINJA_UNDEFINED:
        if (a.as.undefined->is_unsafe) mlcc_jinja_fail_undefined(room, a);
        break;
    case JINJA_STRING:
        is_equal = a.as.string->length == b.as.string->length &&
                   memcmp(a.as.string->data, b.as.string->data, a.as.string->length) == 0;
        mlcc_jinja_charge(room, is_equal ? a.as.string->length / 256 : 0);
        break;
    case JINJA_LIST: is_equal = equal_lists(room, a.as.list, b.as.list); break;
    case JINJA_DICT: is_equal = equal_dicts(room, a.as.dict, b.as.dict); break;
    case JINJA_NAMESPACE: is_equal = a.as.dict == b.as.dict; break;
    case JINJA_LOOP: is_equal = a.as.loop == b.as.loop; break;
    case JINJA_BUILTIN: is_equal = a.as.bound == b.as.bound; break;
    case JINJA_MACRO: is_equal = a.as.macro == b.as.macro; break;
    default: break;
    }
    mlcc_jinja_leave(room);
    return is_equal;
}

int mlcc_jinja_order(jinja_room *room, jinja_value a, jinja_value b, const char *operator_text) {
    if (a.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(room, a);
    if (b.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(room, b);
    mlcc_jinja_charge(room, 1);
    if (is_number(a) && is_number(b)) return order_numbers(a, b);
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING)
        return order_strings(a.as.string, b.as.string);
    bool are_lists = a.kind == JINJA_LIST && b.kind == JINJA_LIST &&
                     a.as.list->flavor == b.as.list->flavor && a.as.list->flavor <= JINJA_TUPLE;
    if (!are_lists)
        mlcc_jinja_fail(
            room, MLCC_INVALID, "'%s' not supported between instances of '%s' and '%s'",
            operator_text, mlcc_jinja_type_name(a), mlcc_jinja_type_name(b));
    const jinja_list *x = a.as.list;
    const jinja_list *y = b.as.list;
    mlcc_jinja_enter(room);
    size_t i = 0;
    while (i < x->n && i < y->n && mlcc_jinja_equal(room, x->items[i], y->items[i])) i++;
    int order = i < x->n && i < y->n
                    ? mlcc_jinja_order(room, x->items[i], y->items[i], operator_text)
                    : (x->n > y->n) - (x->n < y->n);
    mlcc_jinja_leave(room);
    return order;
}

bool mlcc_jinja_contains(jinja_room *room, jinja_value container, jinja_value item) {
    if (container.kind == JINJA_STRING) {
        if (item.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(room, item);
        if (item.kind != JINJA_STRING)
            mlcc_jinja_fail(
                room, MLCC_INVALID, "'in <string>' requires string as left operand, not %s",
                mlcc_jinja_type_name(item));
        return mlcc_jinja_find(room, container.as.string, item.as.string, 0) != SIZE_MAX;
    }
    if (container.kind == JINJA_DICT)
        return mlcc_jinja_dict_get(room, container.as.dict, item) != NULL;
    if (container.kind != JINJA_LIST && container.kind != JINJA_UNDEFINED)
        mlcc_jinja_fail(
            room, MLCC_INVALID, "argument of type '%s' is not iterable",
            mlcc_jinja_type_name(container));
    const jinja_list *list = mlcc_jinja_iterate(room, container);
    for (size_t i = 0; i < list->n; i++)
        if (mlcc_jinja_equal(room, list->items[i], item)) return true;
    return false;
}
