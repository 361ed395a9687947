// Operators, attributes, items and slices.
#include "runtime/text/jinja_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_integer(jinja_value v) {
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}
static bool is_number(jinja_value v) {
    return is_integer(v) || v.kind == JINJA_FLOAT;
}
static int64_t integer_of(jinja_value v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}
static double real_of(jinja_value v) {
    return v.kind == JINJA_FLOAT ? v.as.real : (double)integer_of(v);
}

static _Noreturn void fail_overflow(jinja_run *r) {
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "an integer needs more than 64 bits, which is the limit");
}

static int64_t floor_div(jinja_run *r, int64_t a, int64_t b) {
    if (a == INT64_MIN && b == -1) fail_overflow(r);
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t power(jinja_run *r, int64_t base, int64_t exponent) {
    int64_t result = 1;
    for (; exponent > 0; exponent >>= 1) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) fail_overflow(r);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) fail_overflow(r);
    }
    return result;
}

static jinja_value operate_integers(jinja_run *r, int operator_, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflows = false;
    switch (operator_) {
    case '+': overflows = __builtin_add_overflow(a, b, &result); break;
    case '-': overflows = __builtin_sub_overflow(a, b, &result); break;
    case '*': overflows = __builtin_mul_overflow(a, b, &result); break;
    case '/': return mlcc_jinja_real((double)a / (double)b);
    case JINJA_FLOOR_DIV: result = floor_div(r, a, b); break;
    case '%': result = b == -1 ? 0 : a - floor_div(r, a, b) * b; break;
    default:
        if (b < 0) return mlcc_jinja_real(pow((double)a, (double)b));
        result = power(r, a, b);
    }
    if (overflows) fail_overflow(r);
    return mlcc_jinja_int(result);
}

static double operate_reals(int operator_, double a, double b) {
    switch (operator_) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    case '/': return a / b;
    case JINJA_FLOOR_DIV: return floor(a / b);
    case '%': {
        double rest = fmod(a, b);
        return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    default: return pow(a, b);
    }
}

static jinja_value repeat(jinja_run *r, jinja_value value, int64_t times) {
    if (value.kind == JINJA_STRING) {
        jinja_builder b = {.room = &r->room};
        for (int64_t i = 0; i < times && value.as.string->length != 0; i++) {
            mlcc_jinja_charge(&r->room, 1);
            mlcc_jinja_put_string(&b, value.as.string);
        }
        return mlcc_jinja_finish(&b);
    }
    const jinja_list *list = value.as.list;
    jinja_value out = mlcc_jinja_list(&r->room, list->flavor, 0);
    for (int64_t i = 0; i < times && list->n != 0; i++)
        for (size_t k = 0; k < list->n; k++) mlcc_jinja_push(&r->room, out, list->items[k]);
    return out;
}

static jinja_value join_lists(jinja_run *r, const jinja_list *a, const jinja_list *b) {
    jinja_value out = mlcc_jinja_list(&r->room, a->flavor, a->n + b->n);
    for (size_t i = 0; i < a->n; i++) mlcc_jinja_push(&r->room, out, a->items[i]);
    for (size_t i = 0; i < b->n; i++) mlcc_jinja_push(&r->room, out, b->items[i]);
    return out;
}

static bool is_sequence(jinja_value v) {
    return v.kind == JINJA_STRING || (v.kind == JINJA_LIST && v.as.list->flavor <= JINJA_TUPLE);
}

jinja_value mlcc_jinja_operate(jinja_run *r, int operator_, jinja_value a, jinja_value b) {
    static const char *const names[] = {"//", "**"};
    if (a.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, a);
    if (operator_ == '%' && a.kind == JINJA_STRING)
        return mlcc_jinja_format_percent(r, a.as.string, b);
    if (b.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, b);
    if (is_number(a) && is_number(b)) {
        bool divides = operator_ == '/' || operator_ == '%' || operator_ == JINJA_FLOOR_DIV;
        if (divides && real_of(b) == 0) mlcc_jinja_fail(&r->room, MLCC_INVALID, "division by zero");
        if (is_integer(a) && is_integer(b))
            return operate_integers(r, operator_, integer_of(a), integer_of(b));
        return mlcc_jinja_real(operate_reals(operator_, real_of(a), real_of(b)));
    }
    if (operator_ == '+' && a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        jinja_builder out = {.room = &r->room};
        mlcc_jinja_put_string(&out, a.as.string);
        mlcc_jinja_put_string(&out, b.as.string);
        return mlcc_jinja_finish(&out);
    }
    bool are_lists = a.kind == JINJA_LIST && b.kind == JINJA_LIST &&
                     a.as.list->flavor == b.as.list->flavor && is_sequence(a);
    if (operator_ == '+' && are_lists) return join_lists(r, a.as.list, b.as.list);
    if (operator_ == '*' && is_sequence(a) && is_integer(b)) return repeat(r, a, integer_of(b));
    if (operator_ == '*' && is_integer(a) && is_sequence(b)) return repeat(r, b, integer_of(a));
    if (operator_ == '+' && a.kind == JINJA_STRING)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "can only concatenate str (not \"%s\") to str; use ~",
            mlcc_jinja_type_name(b));
    char text[4] = {(char)operator_};
    if (operator_ >= JINJA_FLOOR_DIV) memcpy(text, names[operator_ - JINJA_FLOOR_DIV], 3);
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "unsupported operand type(s) for %s: '%s' and '%s'", text,
        mlcc_jinja_type_name(a), mlcc_jinja_type_name(b));
}

jinja_value mlcc_jinja_negate(jinja_run *r, jinja_value a) {
    if (a.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, a);
    if (a.kind == JINJA_FLOAT) return mlcc_jinja_real(-a.as.real);
    if (!is_integer(a))
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "bad operand type for unary -: '%s'", mlcc_jinja_type_name(a));
    if (integer_of(a) == INT64_MIN) fail_overflow(r);
    return mlcc_jinja_int(-integer_of(a));
}

// ---- attributes and items ----------------------------------------------------------------------------------------

static jinja_value lacks(jinja_run *r, jinja_value of, jinja_value name) {
    jinja_undefined *u = mlcc_jinja_alloc(&r->room, 1, sizeof *u);
    u->is_element = name.kind != JINJA_STRING;
    u->name = mlcc_jinja_cstring(&r->room, mlcc_jinja_str(&r->room, name));
    u->owner = mlcc_jinja_type_name(of);
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = u};
}

// A method, or what the sandbox says about it; JINJA_ABSENT when the object has none of this name.
static jinja_value method(jinja_run *r, jinja_value of, jinja_value name) {
    static const char *const changing[] = {"append",  "clear",      "extend",  "insert",
                                           "pop",     "remove",     "reverse", "sort",
                                           "popitem", "setdefault", "update",  "__setitem__"};
    if (name.kind != JINJA_STRING) return (jinja_value){0};
    const char *text = mlcc_jinja_cstring(&r->room, name);
    const jinja_builtin *builtin = mlcc_jinja_find_method(of, text);
    if (builtin != NULL) {
        jinja_bound *bound = mlcc_jinja_alloc(&r->room, 1, sizeof *bound);
        *bound = (jinja_bound){.builtin = builtin, .self = of};
        return (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
    }
    bool is_unsafe = false;
    bool is_changeable =
        of.kind == JINJA_DICT || (of.kind == JINJA_LIST && of.as.list->flavor == JINJA_PLAIN_LIST);
    for (size_t i = 0; is_changeable && i < sizeof changing / sizeof *changing; i++)
        is_unsafe = is_unsafe || strcmp(changing[i], text) == 0;
    if (!is_unsafe) return (jinja_value){0};
    jinja_value undefined = lacks(r, of, name);
    jinja_undefined *u = mlcc_jinja_alloc(&r->room, 1, sizeof *u);
    *u = *undefined.as.undefined;
    u->is_unsafe = true;
    undefined.as.undefined = u;
    return undefined;
}

// obj[index] without the fallback to attributes; JINJA_ABSENT when it is not there.
static jinja_value subscript(jinja_run *r, jinja_value of, jinja_value index) {
    const jinja_value absent = {0};
    if (of.kind == JINJA_DICT || of.kind == JINJA_NAMESPACE) {
        bool has_name = index.kind == JINJA_STRING || of.kind == JINJA_DICT;
        const jinja_value *found =
            has_name ? mlcc_jinja_dict_get(&r->room, of.as.dict, index) : NULL;
        return found == NULL ? absent : *found;
    }
    bool is_list = of.kind == JINJA_LIST && of.as.list->flavor <= JINJA_RANGE;
    if ((!is_list && of.kind != JINJA_STRING) || !is_integer(index)) return absent;
    int64_t n = is_list ? (int64_t)of.as.list->n : (int64_t)of.as.string->n_chars;
    int64_t i = integer_of(index);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return absent;
    if (is_list) return of.as.list->items[i];
    mlcc_jinja_charge(&r->room, of.as.string->length / 256);
    size_t begin = mlcc_jinja_char_to_byte(of.as.string, (size_t)i);
    size_t end = begin + 1;
    while (end < of.as.string->length && ((unsigned char)of.as.string->data[end] & 0xC0) == 0x80)
        end++;
    return mlcc_jinja_sub(&r->room, of.as.string, begin, end);
}

jinja_value mlcc_jinja_attribute(jinja_run *r, jinja_value of, jinja_value name) {
    if (of.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, of);
    if (of.kind == JINJA_LOOP) return mlcc_jinja_loop_attribute(r, of, name);
    if (of.kind != JINJA_NAMESPACE) {
        jinja_value found = method(r, of, name);
        if (mlcc_jinja_is_given(found)) return found;
    }
    jinja_value found = subscript(r, of, name);
    return mlcc_jinja_is_given(found) ? found : lacks(r, of, name);
}

jinja_value mlcc_jinja_item(jinja_run *r, jinja_value of, jinja_value index) {
    if (of.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, of);
    if (of.kind == JINJA_LOOP) return mlcc_jinja_loop_attribute(r, of, index);
    jinja_value found = subscript(r, of, index);
    if (!mlcc_jinja_is_given(found)) found = method(r, of, index);
    return mlcc_jinja_is_given(found) ? found : lacks(r, of, index);
}

// ---- slices ------------------------------------------------------------------------------------------------------

static bool is_given(jinja_value part) {
    return mlcc_jinja_is_given(part) && part.kind != JINJA_NONE;
}

static int64_t slice_integer(jinja_run *r, jinja_value part) {
    if (part.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, part);
    if (!is_integer(part))
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "slice indices must be integers or None");
    return integer_of(part);
}

// A bound of a slice, brought into low … high as Python's slice.indices does.
static int64_t slice_bound(
    jinja_run *r, jinja_value part, int64_t n, int64_t fallback, int64_t low, int64_t high) {
    if (!is_given(part)) return fallback;
    int64_t i = slice_integer(r, part);
    if (i < 0) i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

jinja_value mlcc_jinja_slice(jinja_run *r, jinja_value of, const jinja_value parts[3]) {
    if (of.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, of);
    bool is_list = of.kind == JINJA_LIST && of.as.list->flavor <= JINJA_RANGE;
    if (!is_list && of.kind != JINJA_STRING)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "'%s' object cannot be sliced", mlcc_jinja_type_name(of));
    int64_t n = is_list ? (int64_t)of.as.list->n : (int64_t)of.as.string->n_chars;
    int64_t step = is_given(parts[2]) ? slice_integer(r, parts[2]) : 1;
    if (step == 0) mlcc_jinja_fail(&r->room, MLCC_INVALID, "slice step cannot be zero");
    bool is_up = step > 0;
    int64_t low = is_up ? 0 : -1;
    int64_t high = is_up ? n : n - 1;
    int64_t begin = slice_bound(r, parts[0], n, is_up ? low : high, low, high);
    int64_t end = slice_bound(r, parts[1], n, is_up ? high : low, low, high);
    if (!is_list && step == 1) {
        mlcc_jinja_charge(&r->room, of.as.string->length / 256);
        if (begin > end) end = begin;
        return mlcc_jinja_sub(
            &r->room, of.as.string, mlcc_jinja_char_to_byte(of.as.string, (size_t)begin),
            mlcc_jinja_char_to_byte(of.as.string, (size_t)end));
    }
    const jinja_list *items = is_list ? of.as.list : mlcc_jinja_iterate(&r->room, of);
    jinja_value list = mlcc_jinja_list(&r->room, is_list ? items->flavor : JINJA_PLAIN_LIST, 0);
    jinja_builder text = {.room = &r->room};
    for (int64_t i = begin; is_up ? i < end : i > end;) {
        if (is_list) {
            mlcc_jinja_push(&r->room, list, items->items[i]);
        } else {
            mlcc_jinja_put_string(&text, items->items[i].as.string);
        }
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return is_list ? list : mlcc_jinja_finish(&text);
}
