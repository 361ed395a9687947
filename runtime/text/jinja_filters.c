// Filters of text, numbers and single values (jinja2's filters.py; tojson is transformers').
#include "runtime/text/jinja_run.h"
#include "runtime/text/unicode.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) table, sizeof(table) / sizeof *(table)

static jinja_value self_text(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_str(&r->room, call->self);
}

// ---- text --------------------------------------------------------------------------------------------------------

static jinja_value run_trim(jinja_run *r, const jinja_call *call) {
    bool has_set = mlcc_jinja_is_given(call->at[0]) && call->at[0].kind != JINJA_NONE;
    const jinja_string *set = has_set ? mlcc_jinja_arg_string(r, call, 0) : NULL;
    return mlcc_jinja_strip(&r->room, self_text(r, call).as.string, set, JINJA_BOTH);
}

static jinja_value change_case(jinja_run *r, const jinja_call *call, jinja_case to) {
    return mlcc_jinja_change_case(&r->room, self_text(r, call).as.string, to);
}
static jinja_value run_upper(jinja_run *r, const jinja_call *call) {
    return change_case(r, call, JINJA_UPPER);
}
static jinja_value run_lower(jinja_run *r, const jinja_call *call) {
    return change_case(r, call, JINJA_LOWER);
}
static jinja_value run_capitalize(jinja_run *r, const jinja_call *call) {
    return change_case(r, call, JINJA_CAPITALIZE);
}

// Words begin behind spaces, '-' and opening brackets here, unlike in str.title.
static jinja_value run_title(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_text(r, call).as.string;
    jinja_builder b = {.room = &r->room};
    size_t begin = 0;
    for (size_t at = 0; at <= s->length; at++) {
        bool ends = at == s->length || strchr("-({[<", s->data[at]) != NULL ||
                    (s->data[at] >= 9 && s->data[at] <= 13) || s->data[at] == ' ';
        if (at < s->length && s->data[at] == '\0') ends = false;
        if (!ends) continue;
        const jinja_string *word = mlcc_jinja_sub(&r->room, s, begin, at).as.string;
        mlcc_jinja_put_string(
            &b, mlcc_jinja_change_case(&r->room, word, JINJA_CAPITALIZE).as.string);
        if (at < s->length)
            mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, at, at + 1).as.string);
        begin = at + 1;
    }
    return mlcc_jinja_finish(&b);
}

static jinja_value run_replace(jinja_run *r, const jinja_call *call) {
    bool has_count = call->at[2].kind != JINJA_NONE;
    jinja_value old = mlcc_jinja_str(&r->room, call->at[0]);
    jinja_value new_ = mlcc_jinja_str(&r->room, call->at[1]);
    return mlcc_jinja_replace(
        &r->room, self_text(r, call).as.string, old.as.string, new_.as.string,
        has_count ? mlcc_jinja_arg_int(r, call, 2, -1) : -1);
}

static jinja_value run_string(jinja_run *r, const jinja_call *call) {
    return self_text(r, call);
}
static jinja_value run_same(jinja_run *r, const jinja_call *call) {
    (void)r;
    return call->self;
}

static jinja_value run_escape(jinja_run *r, const jinja_call *call) {
    static const char *const pairs[][2] = {
        {"&", "&amp;"}, {">", "&gt;"}, {"<", "&lt;"}, {"'", "&#39;"}, {"\"", "&#34;"}};
    jinja_value text = self_text(r, call);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        text = mlcc_jinja_replace(
            &r->room, text.as.string, mlcc_jinja_text(&r->room, pairs[i][0]).as.string,
            mlcc_jinja_text(&r->room, pairs[i][1]).as.string, -1);
    return text;
}

static jinja_value run_indent(jinja_run *r, const jinja_call *call) {
    jinja_value text = self_text(r, call);
    bool indents_first = mlcc_jinja_arg_true(r, call, 1, false);
    bool indents_blank = mlcc_jinja_arg_true(r, call, 2, false);
    jinja_value unit = call->at[0];
    if (unit.kind != JINJA_STRING)
        unit = mlcc_jinja_operate(
            r, '*', mlcc_jinja_text(&r->room, " "),
            mlcc_jinja_int(mlcc_jinja_arg_int(r, call, 0, 4)));
    jinja_builder b = {.room = &r->room};
    const jinja_list *lines = mlcc_jinja_split_lines(&r->room, text.as.string, false).as.list;
    const jinja_string *s = text.as.string;
    for (size_t i = 0; i < lines->n; i++) {
        const jinja_string *line = lines->items[i].as.string;
        if (i != 0) mlcc_jinja_puts(&b, "\n");
        if (i == 0 ? indents_first : indents_blank || line->length != 0)
            mlcc_jinja_put_string(&b, unit.as.string);
        mlcc_jinja_put_string(&b, line);
    }
    // Python adds a line end before splitting, so that a last, empty line counts
    bool ends_open = s->length != 0 && s->data[s->length - 1] == '\n';
    if (ends_open) {
        mlcc_jinja_puts(&b, "\n");
        if (indents_blank) mlcc_jinja_put_string(&b, unit.as.string);
    }
    if (lines->n == 0 && indents_first) mlcc_jinja_put_string(&b, unit.as.string);
    return mlcc_jinja_finish(&b);
}

static jinja_value run_format(jinja_run *r, const jinja_call *call) {
    const jinja_arguments *a = call->arguments;
    jinja_value values = mlcc_jinja_list(&r->room, JINJA_TUPLE, a->n);
    for (size_t i = 0; i < a->n; i++) mlcc_jinja_push(&r->room, values, a->items[i]);
    if (a->n_named != 0) {
        values = mlcc_jinja_dict(&r->room);
        for (size_t i = 0; i < a->n_named; i++)
            mlcc_jinja_dict_set(
                &r->room, values.as.dict, mlcc_jinja_text(&r->room, a->names[i]), a->named[i]);
    }
    return mlcc_jinja_format_percent(r, self_text(r, call).as.string, values);
}

static jinja_value run_wordcount(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_text(r, call).as.string;
    int64_t n = 0;
    bool in_word = false;
    for (size_t at = 0; at < s->length;) {
        uint32_t code;
        at += mlcc_utf8_decode(s->data + at, &code);
        bool is_symbol = (code >= 0x2000 && code < 0x2C00) || (code >= 0x1F000 && code < 0x20000);
        bool is_word = code < 0x80 ? code == '_' || (code >= '0' && code <= '9') ||
                                         ((code | 32) >= 'a' && (code | 32) <= 'z')
                                   : !is_symbol && !mlcc_is_whitespace(code) &&
                                         !mlcc_is_punctuation(code) && !mlcc_is_mark(code);
        n += is_word && !in_word;
        in_word = is_word;
    }
    return mlcc_jinja_int(n);
}

// ---- numbers -----------------------------------------------------------------------------------------------------

static jinja_value run_int(jinja_run *r, const jinja_call *call) {
    jinja_value v = call->self;
    jinja_value fallback = mlcc_jinja_is_given(call->at[0]) ? call->at[0] : mlcc_jinja_int(0);
    if (v.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, v);
    if (v.kind == JINJA_INT) return v;
    if (v.kind == JINJA_BOOL) return mlcc_jinja_int(v.as.boolean);
    double real = v.kind == JINJA_FLOAT ? v.as.real : (double)NAN;
    if (v.kind == JINJA_STRING) {
        const char *text =
            mlcc_jinja_cstring(&r->room, mlcc_jinja_strip(&r->room, v.as.string, NULL, JINJA_BOTH));
        char *end;
        errno = 0;
        int base = (int)(mlcc_jinja_arg_int(r, call, 1, 10) & 63);
        long long whole = strtoll(text, &end, base <= 36 && base != 1 ? base : 10);
        if (*text != '\0' && *end == '\0' && errno == 0) return mlcc_jinja_int(whole);
        if (*text != '\0' && *end == '\0')
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "an integer needs more than 64 bits, which is the limit");
        real = strtod(text, &end);
        if (*text == '\0' || *end != '\0' || strchr(text, 'x') != NULL) return fallback;
    }
    if (!isfinite(real)) return fallback;
    if (fabs(real) >= 9.2e18)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "an integer needs more than 64 bits, which is the limit");
    return mlcc_jinja_int((int64_t)real);
}

static jinja_value run_float(jinja_run *r, const jinja_call *call) {
    jinja_value v = call->self;
    jinja_value fallback = mlcc_jinja_is_given(call->at[0]) ? call->at[0] : mlcc_jinja_real(0);
    if (v.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, v);
    if (v.kind == JINJA_INT) return mlcc_jinja_real((double)v.as.integer);
    if (v.kind == JINJA_BOOL) return mlcc_jinja_real(v.as.boolean);
    if (v.kind == JINJA_FLOAT) return v;
    if (v.kind != JINJA_STRING) return fallback;
    const char *text =
        mlcc_jinja_cstring(&r->room, mlcc_jinja_strip(&r->room, v.as.string, NULL, JINJA_BOTH));
    char *end;
    double real = strtod(text, &end);
    return *text == '\0' || *end != '\0' || strpbrk(text, "xX") != NULL ? fallback
                                                                        : mlcc_jinja_real(real);
}

static jinja_value run_abs(jinja_run *r, const jinja_call *call) {
    jinja_value v = call->self;
    bool is_negative =
        v.kind == JINJA_FLOAT ? v.as.real < 0 : v.kind == JINJA_INT && v.as.integer < 0;
    if (is_negative) return mlcc_jinja_negate(r, v);
    return v.kind == JINJA_BOOL ? mlcc_jinja_int(v.as.boolean)
                                : mlcc_jinja_negate(r, mlcc_jinja_negate(r, v));
}

static jinja_value run_round(jinja_run *r, const jinja_call *call) {
    jinja_value v = call->self;
    int64_t digits = mlcc_jinja_arg_int(r, call, 0, 0);
    bool is_common =
        !mlcc_jinja_is_given(call->at[1]) || mlcc_jinja_string_is(call->at[1], "common");
    bool is_up = mlcc_jinja_string_is(call->at[1], "ceil");
    if (!is_common && !is_up && !mlcc_jinja_string_is(call->at[1], "floor"))
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "method must be common, ceil or floor");
    if (v.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, v);
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL && v.kind != JINJA_FLOAT)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "round() needs a number, not %s", mlcc_jinja_type_name(v));
    if (v.kind != JINJA_FLOAT && digits >= 0 && is_common)
        return mlcc_jinja_int(v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer);
    double x = v.kind == JINJA_FLOAT  ? v.as.real
               : v.kind == JINJA_BOOL ? v.as.boolean
                                      : (double)v.as.integer;
    if (digits < -300 || digits > 300 || !isfinite(x)) return mlcc_jinja_real(x);
    double scale = pow(10, (double)digits);
    if (!is_common) return mlcc_jinja_real((is_up ? ceil(x * scale) : floor(x * scale)) / scale);
    if (digits < 0) return mlcc_jinja_real(nearbyint(x * scale) / scale);
    char text[700]; // decimal digits are exact, as Python's round is
    snprintf(text, sizeof text, "%.*f", (int)digits, x);
    return mlcc_jinja_real(strtod(text, NULL));
}

// ---- single values -----------------------------------------------------------------------------------------------

static jinja_value run_default(jinja_run *r, const jinja_call *call) {
    bool is_missing =
        call->self.kind == JINJA_UNDEFINED ||
        (mlcc_jinja_arg_true(r, call, 1, false) && !mlcc_jinja_is_true(&r->room, call->self));
    if (!is_missing) return call->self;
    return mlcc_jinja_is_given(call->at[0]) ? call->at[0] : mlcc_jinja_text(&r->room, "");
}

static jinja_value run_attr(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_attribute(r, call->self, mlcc_jinja_str(&r->room, call->at[0]));
}

static jinja_value run_tojson(jinja_run *r, const jinja_call *call) {
    jinja_json_style style = {
        .ascii_only = mlcc_jinja_arg_true(r, call, 0, false),
        .sorts_keys = mlcc_jinja_arg_true(r, call, 3, false)};
    jinja_value indent = call->at[1];
    if (indent.kind == JINJA_STRING) {
        style.indent = indent.as.string;
    } else if (mlcc_jinja_is_given(indent) && indent.kind != JINJA_NONE) {
        jinja_value n = mlcc_jinja_int(mlcc_jinja_arg_int(r, call, 1, 0));
        style.indent = mlcc_jinja_operate(r, '*', mlcc_jinja_text(&r->room, " "), n).as.string;
    }
    jinja_value separators = call->at[2];
    if (mlcc_jinja_is_given(separators) && separators.kind != JINJA_NONE) {
        const jinja_list *pair = mlcc_jinja_iterate(&r->room, separators);
        if (pair->n != 2 || !mlcc_jinja_is_string(pair->items[0]) ||
            !mlcc_jinja_is_string(pair->items[1]))
            mlcc_jinja_fail(&r->room, MLCC_INVALID, "tojson() needs two separators, both str");
        style.item_separator = pair->items[0].as.string;
        style.key_separator = pair->items[1].as.string;
    }
    jinja_builder b = {.room = &r->room};
    mlcc_jinja_put_json(&b, call->self, &style);
    return mlcc_jinja_finish(&b);
}

static jinja_value run_length(jinja_run *r, const jinja_call *call) {
    jinja_value v = call->self;
    bool has_length = v.kind != JINJA_LIST || v.as.list->flavor != JINJA_GENERATOR;
    if (v.kind == JINJA_UNDEFINED && !v.as.undefined->is_unsafe) return mlcc_jinja_int(0);
    if (v.kind == JINJA_STRING) return mlcc_jinja_int(v.as.string->n_chars);
    if (v.kind == JINJA_DICT) return mlcc_jinja_int((int64_t)v.as.dict->n);
    if (v.kind == JINJA_LIST && has_length) return mlcc_jinja_int((int64_t)v.as.list->n);
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "object of type '%s' has no len()", mlcc_jinja_type_name(v));
}

// clang-format off
static const jinja_builtin filters[] = {
    {"trim", 0, "chars", run_trim}, {"upper", 0, "", run_upper}, {"lower", 0, "", run_lower},
    {"capitalize", 0, "", run_capitalize}, {"title", 0, "", run_title}, {"replace", 2, "old new count", run_replace},
    {"string", 0, "", run_string}, {"safe", 0, "", run_same}, {"escape", 0, "", run_escape}, {"e", 0, "", run_escape},
    {"forceescape", 0, "", run_escape}, {"indent", 0, "width first blank", run_indent}, {"format", 0, "*", run_format},
    {"wordcount", 0, "", run_wordcount}, {"int", 0, "default base", run_int}, {"float", 0, "default", run_float},
    {"abs", 0, "", run_abs}, {"round", 0, "precision method", run_round},
    {"default", 0, "default_value boolean", run_default}, {"d", 0, "default_value boolean", run_default},
    {"attr", 1, "name", run_attr}, {"tojson", 0, "ensure_ascii indent separators sort_keys", run_tojson},
    {"length", 0, "", run_length}, {"count", 0, "", run_length},
};
// clang-format on

const jinja_builtin *mlcc_jinja_find_filter(const char *name) {
    const jinja_builtin *found = mlcc_jinja_find_row(ROWS(filters), name);
    return found != NULL ? found : mlcc_jinja_find_list_filter(name);
}
