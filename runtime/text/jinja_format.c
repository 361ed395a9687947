// "%s and %d" % values, and "{} and {name}".format(…): the parts of Python's formatting that templates use.
#include "runtime/text/jinja_run.h"

#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 200 };

typedef struct format_spec {
    bool is_left, fills_zero, has_sign, has_space, has_precision, groups;
    char align; // of braces: '<', '>', '^' or 0
    int width, precision;
    char kind;
} format_spec;

static int take_number(const char *text, size_t length, size_t *at) {
    int n = 0;
    while (*at < length && text[*at] >= '0' && text[*at] <= '9' && n <= MAX_WIDTH)
        n = n * 10 + (text[(*at)++] - '0');
    return n;
}

static void check_spec(jinja_run *r, const format_spec *spec) {
    if (spec->width > MAX_WIDTH || spec->precision > MAX_WIDTH)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "a format is wider than %d characters", MAX_WIDTH);
}

static jinja_value padded(jinja_run *r, jinja_value text, const format_spec *spec, char fallback) {
    const jinja_string *s = text.as.string;
    int missing = spec->width - (int)(s->n_chars < MAX_WIDTH ? s->n_chars : MAX_WIDTH);
    if (missing <= 0) return text;
    char align = spec->align != 0 ? spec->align : spec->is_left ? '<' : fallback;
    int left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    jinja_builder b = {.room = &r->room};
    for (int i = 0; i < left; i++) mlcc_jinja_puts(&b, " ");
    mlcc_jinja_put_string(&b, s);
    for (int i = left; i < missing; i++) mlcc_jinja_puts(&b, " ");
    return mlcc_jinja_finish(&b);
}

static void insert_groups(char *text, size_t size) {
    size_t first = strspn(text, "+- ");
    size_t n = strspn(text + first, "0123456789");
    for (size_t from_end = 3; from_end < n; from_end += 3) {
        size_t at = first + n - from_end;
        size_t length = strlen(text);
        if (length + 2 > size) return;
        memmove(text + at + 1, text + at, length - at + 1);
        text[at] = ',';
    }
}

static jinja_value format_number(jinja_run *r, jinja_value value, const format_spec *spec) {
    if (value.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, value);
    bool is_real = value.kind == JINJA_FLOAT;
    if (!is_real && value.kind != JINJA_INT && value.kind != JINJA_BOOL)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "format %%%c needs a number, not %s", spec->kind,
            mlcc_jinja_type_name(value));
    long long whole = value.kind == JINJA_INT    ? value.as.integer
                      : value.kind == JINJA_BOOL ? value.as.boolean
                                                 : 0;
    double real = is_real ? value.as.real : (double)whole;
    char text[900];
    const char *sign = spec->has_sign ? "+" : spec->has_space ? " " : "";
    int precision = spec->has_precision ? spec->precision : 6;
    bool is_negative = real < 0;
    double size = is_negative ? -real : real;
    const char *minus = is_negative ? "-" : sign;
    switch (spec->kind) {
    case 'f':
    case 'F': snprintf(text, sizeof text, "%s%.*f", minus, precision, size); break;
    case 'e': snprintf(text, sizeof text, "%s%.*e", minus, precision, size); break;
    case 'g': snprintf(text, sizeof text, "%s%.*g", minus, precision, size); break;
    case '%': snprintf(text, sizeof text, "%s%.*f%%", minus, precision, size * 100); break;
    case 'x': snprintf(text, sizeof text, "%llx", whole); break;
    case 'X': snprintf(text, sizeof text, "%llX", whole); break;
    case 'o': snprintf(text, sizeof text, "%llo", whole); break;
    default:
        if (is_real && (real >= 9.2e18 || real <= -9.2e18 || real != real))
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "an integer needs more than 64 bits, which is the limit");
        if (is_real) whole = (long long)real;
        snprintf(text, sizeof text, "%s%lld", whole < 0 ? "" : sign, whole);
    }
    if (spec->groups) insert_groups(text, sizeof text);
    jinja_builder b = {.room = &r->room};
    int missing = spec->width - (int)strlen(text);
    size_t n_sign = strspn(text, "+- ");
    if (spec->fills_zero && !spec->is_left && missing > 0) {
        mlcc_jinja_put(&b, text, n_sign, false);
        for (; missing > 0; missing--) mlcc_jinja_puts(&b, "0");
        mlcc_jinja_puts(&b, text + n_sign);
        return mlcc_jinja_finish(&b);
    }
    return padded(r, mlcc_jinja_text(&r->room, text), spec, '>');
}

static jinja_value format_text(
    jinja_run *r, jinja_value text, const format_spec *spec, char fallback) {
    const jinja_string *s = text.as.string;
    if (spec->has_precision && (uint32_t)spec->precision < s->n_chars)
        text = mlcc_jinja_sub(&r->room, s, 0, mlcc_jinja_char_to_byte(s, (size_t)spec->precision));
    return padded(r, text, spec, fallback);
}

// ---- % -----------------------------------------------------------------------------------------------------------

static size_t read_percent_spec(const jinja_string *s, size_t at, format_spec *spec) {
    for (; at < s->length && strchr("-0+ #", s->data[at]) != NULL && s->data[at] != '\0'; at++) {
        spec->is_left |= s->data[at] == '-';
        spec->fills_zero |= s->data[at] == '0';
        spec->has_sign |= s->data[at] == '+';
        spec->has_space |= s->data[at] == ' ';
    }
    spec->width = take_number(s->data, s->length, &at);
    if (at < s->length && s->data[at] == '.') {
        at++;
        spec->has_precision = true;
        spec->precision = take_number(s->data, s->length, &at);
    }
    if (at < s->length) spec->kind = s->data[at++];
    return at;
}

static jinja_value percent_value(jinja_run *r, jinja_value value, const format_spec *spec) {
    if (spec->kind == 's') return format_text(r, mlcc_jinja_str(&r->room, value), spec, '>');
    if (spec->kind == 'r' || spec->kind == 'a') {
        jinja_builder b = {.room = &r->room};
        mlcc_jinja_put_repr(&b, value);
        return format_text(r, mlcc_jinja_finish(&b), spec, '>');
    }
    if (spec->kind != '\0' && strchr("diufFegxXo", spec->kind) != NULL)
        return format_number(r, value, spec);
    mlcc_jinja_fail(&r->room, MLCC_UNSUPPORTED, "format character '%c' is not known", spec->kind);
}

// %(name)s takes from a dict; returns behind the name.
static size_t take_name(
    jinja_run *r, const jinja_string *s, size_t at, jinja_value values, jinja_value *out) {
    const char *end = memchr(s->data + at, ')', s->length - at);
    if (end == NULL || values.kind != JINJA_DICT)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "format requires a mapping");
    jinja_value name = mlcc_jinja_sub(&r->room, s, at + 1, (size_t)(end - s->data));
    const jinja_value *found = mlcc_jinja_dict_get(&r->room, values.as.dict, name);
    if (found == NULL)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "the format names a key that is not there");
    *out = *found;
    return (size_t)(end - s->data) + 1;
}

jinja_value mlcc_jinja_format_percent(jinja_run *r, const jinja_string *s, jinja_value values) {
    bool is_tuple = values.kind == JINJA_LIST && values.as.list->flavor == JINJA_TUPLE;
    size_t n = is_tuple ? values.as.list->n : 1;
    size_t used = 0;
    jinja_builder b = {.room = &r->room};
    for (size_t at = 0; at < s->length;) {
        const char *percent = memchr(s->data + at, '%', s->length - at);
        size_t stop = percent == NULL ? s->length : (size_t)(percent - s->data);
        mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, at, stop).as.string);
        at = stop + 1;
        if (percent == NULL) break;
        if (at < s->length && s->data[at] == '%') {
            mlcc_jinja_puts(&b, "%");
            at++;
            continue;
        }
        jinja_value value = {0};
        if (at < s->length && s->data[at] == '(') at = take_name(r, s, at, values, &value);
        format_spec spec = {0};
        at = read_percent_spec(s, at, &spec);
        check_spec(r, &spec);
        if (!mlcc_jinja_is_given(value)) {
            if (used == n)
                mlcc_jinja_fail(&r->room, MLCC_INVALID, "not enough arguments for format string");
            value = is_tuple ? values.as.list->items[used] : values;
            used++;
        }
        mlcc_jinja_put_string(&b, percent_value(r, value, &spec).as.string);
    }
    if (used < n && values.kind != JINJA_DICT)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "not all arguments converted during string formatting");
    return mlcc_jinja_finish(&b);
}

// ---- braces ------------------------------------------------------------------------------------------------------

static void read_brace_spec(jinja_run *r, const char *text, size_t length, format_spec *spec) {
    size_t at = 0;
    if (at < length && strchr("<>^", text[at]) != NULL && text[at] != '\0')
        spec->align = text[at++];
    if (at < length && (text[at] == '+' || text[at] == ' ' || text[at] == '-')) {
        spec->has_sign = text[at] == '+';
        spec->has_space = text[at++] == ' ';
    }
    if (at < length && text[at] == '0') spec->fills_zero = true;
    spec->width = take_number(text, length, &at);
    if (at < length && text[at] == ',') {
        spec->groups = true;
        at++;
    }
    if (at < length && text[at] == '.') {
        at++;
        spec->has_precision = true;
        spec->precision = take_number(text, length, &at);
    }
    if (at < length) spec->kind = text[at++];
    check_spec(r, spec);
    if (at != length || (spec->kind != '\0' && strchr("sdfFegxXo%", spec->kind) == NULL))
        mlcc_jinja_fail(
            &r->room, MLCC_UNSUPPORTED, "format '%.*s' is not known",
            (int)(length < 40 ? length : 40), text);
}

// The argument of "{0.name[1]}": number or name, then attributes and items.
static jinja_value brace_argument(
    jinja_run *r, const jinja_string *name, const jinja_arguments *a, size_t *next) {
    const char *text =
        mlcc_jinja_cstring(&r->room, (jinja_value){.kind = JINJA_STRING, .as.string = name});
    size_t n = strcspn(text, ".[");
    jinja_value value = {0};
    if (n == 0 || strspn(text, "0123456789") >= n) {
        size_t at = 0;
        size_t i = n == 0 ? (*next)++ : (size_t)take_number(text, n, &at);
        if (i < a->n) value = a->items[i];
    }
    for (size_t i = 0; i < a->n_named; i++)
        if (strlen(a->names[i]) == n && memcmp(a->names[i], text, n) == 0) value = a->named[i];
    if (!mlcc_jinja_is_given(value))
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "format() has no argument '%.40s'", text);
    for (text += n; *text != '\0';) {
        bool is_item = *text++ == '[';
        n = strcspn(text, is_item ? "]" : ".[");
        jinja_value key = mlcc_jinja_text_n(&r->room, text, n, false);
        size_t at = 0;
        bool is_number = is_item && n != 0 && strspn(text, "0123456789") == n;
        value = is_number ? mlcc_jinja_item(r, value, mlcc_jinja_int(take_number(text, n, &at)))
                          : mlcc_jinja_attribute(r, value, key);
        text += n;
        if (is_item && *text == ']') text++;
    }
    return value;
}

static jinja_value brace_field(
    jinja_run *r, const jinja_string *field, const jinja_arguments *a, size_t *next) {
    const char *colon = memchr(field->data, ':', field->length);
    size_t n_name = colon == NULL ? field->length : (size_t)(colon - field->data);
    size_t n_value = n_name;
    char conversion = 0;
    if (n_name >= 2 && field->data[n_name - 2] == '!') {
        conversion = field->data[n_name - 1];
        n_value = n_name - 2;
    }
    const jinja_string *name = mlcc_jinja_sub(&r->room, field, 0, n_value).as.string;
    jinja_value value = brace_argument(r, name, a, next);
    format_spec spec = {0};
    if (colon != NULL) read_brace_spec(r, colon + 1, field->length - n_name - 1, &spec);
    if (conversion == 'r') {
        jinja_builder b = {.room = &r->room};
        mlcc_jinja_put_repr(&b, value);
        value = mlcc_jinja_finish(&b);
    } else if (conversion == 's') {
        value = mlcc_jinja_str(&r->room, value);
    }
    bool is_number = value.kind == JINJA_INT || value.kind == JINJA_FLOAT;
    bool is_typed = spec.kind != '\0' && spec.kind != 's';
    if (is_typed || (value.kind == JINJA_INT && colon != NULL))
        return format_number(r, value, &spec);
    if (value.kind == JINJA_FLOAT && spec.has_precision) {
        spec.kind = 'g';
        return format_number(r, value, &spec);
    }
    return format_text(r, mlcc_jinja_str(&r->room, value), &spec, is_number ? '>' : '<');
}

jinja_value mlcc_jinja_format_braces(
    jinja_run *r, const jinja_string *s, const jinja_arguments *a) {
    jinja_builder b = {.room = &r->room};
    size_t next = 0;
    for (size_t at = 0; at < s->length;) {
        size_t stop = at;
        while (stop < s->length && s->data[stop] != '{' && s->data[stop] != '}') stop++;
        mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, at, stop).as.string);
        at = stop;
        if (at == s->length) break;
        if (at + 1 < s->length && s->data[at + 1] == s->data[at]) { // {{ or }}
            mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, at, at + 1).as.string);
            at += 2;
            continue;
        }
        const char *end = memchr(s->data + at, '}', s->length - at);
        if (s->data[at] == '}' || end == NULL)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "single '%c' encountered in format string", s->data[at]);
        mlcc_jinja_charge(&r->room, 1);
        stop = (size_t)(end - s->data);
        const jinja_string *field = mlcc_jinja_sub(&r->room, s, at + 1, stop).as.string;
        mlcc_jinja_put_string(&b, brace_field(r, field, a, &next).as.string);
        at = stop + 1;
    }
    return mlcc_jinja_finish(&b);
}
