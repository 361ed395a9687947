// Methods of str that a template may call; jinja_methods_data.c has those of list and dict.
#include "runtime/text/jinja_run.h"
#include "runtime/text/unicode.h"

#include <string.h>

#define ROWS(table) table, sizeof(table) / sizeof *(table)

static const jinja_string *self_of(const jinja_call *call) {
    return call->self.as.string;
}

// None and nothing at all mean the same for many parameters.
static const jinja_string *optional(jinja_run *r, const jinja_call *call, size_t i) {
    bool is_given = mlcc_jinja_is_given(call->at[i]) && call->at[i].kind != JINJA_NONE;
    return is_given ? mlcc_jinja_arg_string(r, call, i) : NULL;
}

// ---- strip, split ------------------------------------------------------------------------------------------------

static jinja_value run_strip(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_strip(&r->room, self_of(call), optional(r, call, 0), JINJA_BOTH);
}
static jinja_value run_lstrip(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_strip(&r->room, self_of(call), optional(r, call, 0), JINJA_LEFT);
}
static jinja_value run_rstrip(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_strip(&r->room, self_of(call), optional(r, call, 0), JINJA_RIGHT);
}

static size_t rfind(
    jinja_room *room, const jinja_string *s, const jinja_string *needle, size_t end) {
    mlcc_jinja_charge(room, end / 64);
    if (needle->length > end) return SIZE_MAX;
    for (size_t at = end - needle->length + 1; at-- > 0;)
        if (memcmp(s->data + at, needle->data, needle->length) == 0) return at;
    return SIZE_MAX;
}

// Words between runs of whitespace.
static jinja_value split_words(jinja_room *room, const jinja_string *s, int64_t max) {
    jinja_value list = mlcc_jinja_list(room, JINJA_PLAIN_LIST, 0);
    jinja_value rest = mlcc_jinja_strip(room, s, NULL, JINJA_LEFT);
    for (; rest.as.string->length != 0; max--) {
        s = rest.as.string;
        if (max == 0) {
            mlcc_jinja_push(room, list, rest);
            break;
        }
        size_t end = 0;
        while (end < s->length) {
            uint32_t code;
            size_t n = mlcc_utf8_decode(s->data + end, &code);
            if (mlcc_is_whitespace(code) || (code >= 0x1C && code <= 0x1F)) break;
            end += n;
        }
        mlcc_jinja_push(room, list, mlcc_jinja_sub(room, s, 0, end));
        jinja_value behind = mlcc_jinja_sub(room, s, end, s->length);
        rest = mlcc_jinja_strip(room, behind.as.string, NULL, JINJA_LEFT);
    }
    return list;
}

static const jinja_string *separator_of(jinja_run *r, const jinja_call *call) {
    const jinja_string *separator = optional(r, call, 0);
    if (separator != NULL && separator->length == 0)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "empty separator");
    return separator;
}

static jinja_value run_split(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    const jinja_string *separator = separator_of(r, call);
    int64_t max = mlcc_jinja_arg_int(r, call, 1, -1);
    if (separator == NULL) return split_words(&r->room, s, max);
    jinja_value list = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
    size_t begin = 0;
    for (; max != 0; max--) {
        size_t found = mlcc_jinja_find(&r->room, s, separator, begin);
        if (found == SIZE_MAX) break;
        mlcc_jinja_push(&r->room, list, mlcc_jinja_sub(&r->room, s, begin, found));
        begin = found + separator->length;
    }
    mlcc_jinja_push(&r->room, list, mlcc_jinja_sub(&r->room, s, begin, s->length));
    return list;
}

static jinja_value run_rsplit(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    const jinja_string *separator = separator_of(r, call);
    int64_t max = mlcc_jinja_arg_int(r, call, 1, -1);
    if (separator == NULL && max < 0) return split_words(&r->room, s, max);
    if (separator == NULL)
        mlcc_jinja_fail(&r->room, MLCC_UNSUPPORTED, "rsplit() with a count needs a separator here");
    jinja_value backwards = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
    size_t end = s->length;
    for (; max != 0; max--) {
        size_t found = rfind(&r->room, s, separator, end);
        if (found == SIZE_MAX) break;
        mlcc_jinja_push(
            &r->room, backwards, mlcc_jinja_sub(&r->room, s, found + separator->length, end));
        end = found;
    }
    mlcc_jinja_push(&r->room, backwards, mlcc_jinja_sub(&r->room, s, 0, end));
    const jinja_list *items = backwards.as.list;
    jinja_value list = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, items->n);
    for (size_t i = items->n; i-- > 0;) mlcc_jinja_push(&r->room, list, items->items[i]);
    return list;
}

static jinja_value run_splitlines(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_split_lines(&r->room, self_of(call), mlcc_jinja_arg_true(r, call, 0, false));
}

static jinja_value three_parts(
    jinja_run *r, const jinja_call *call, size_t found, bool from_right) {
    const jinja_string *s = self_of(call);
    jinja_value parts = mlcc_jinja_list(&r->room, JINJA_TUPLE, 3);
    jinja_value empty = mlcc_jinja_text(&r->room, "");
    if (found == SIZE_MAX) {
        for (size_t i = 0; i < 3; i++)
            mlcc_jinja_push(&r->room, parts, i == (from_right ? 2u : 0u) ? call->self : empty);
        return parts;
    }
    mlcc_jinja_push(&r->room, parts, mlcc_jinja_sub(&r->room, s, 0, found));
    mlcc_jinja_push(&r->room, parts, call->at[0]);
    mlcc_jinja_push(
        &r->room, parts,
        mlcc_jinja_sub(&r->room, s, found + call->at[0].as.string->length, s->length));
    return parts;
}

static jinja_value run_partition(jinja_run *r, const jinja_call *call) {
    const jinja_string *separator = separator_of(r, call);
    return three_parts(r, call, mlcc_jinja_find(&r->room, self_of(call), separator, 0), false);
}
static jinja_value run_rpartition(jinja_run *r, const jinja_call *call) {
    const jinja_string *separator = separator_of(r, call);
    return three_parts(
        r, call, rfind(&r->room, self_of(call), separator, self_of(call)->length), true);
}

// ---- searching ---------------------------------------------------------------------------------------------------

static bool has_affix(const jinja_string *s, const jinja_string *affix, bool at_end) {
    return affix->length <= s->length &&
           memcmp(s->data + (at_end ? s->length - affix->length : 0), affix->data, affix->length) ==
               0;
}

static jinja_value affix(jinja_run *r, const jinja_call *call, bool at_end) {
    const jinja_string *s = self_of(call);
    if (mlcc_jinja_is_given(call->at[1])) { // from a character on
        int64_t from = mlcc_jinja_arg_int(r, call, 1, 0);
        if (from < 0) from = from + s->n_chars < 0 ? 0 : from + s->n_chars;
        if (from > s->n_chars) return mlcc_jinja_bool(false);
        s = mlcc_jinja_sub(&r->room, s, mlcc_jinja_char_to_byte(s, (size_t)from), s->length)
                .as.string;
    }
    if (call->at[0].kind != JINJA_LIST)
        return mlcc_jinja_bool(has_affix(s, mlcc_jinja_arg_string(r, call, 0), at_end));
    const jinja_list *any = call->at[0].as.list; // a tuple of alternatives
    for (size_t i = 0; i < any->n; i++)
        if (mlcc_jinja_is_string(any->items[i]) && has_affix(s, any->items[i].as.string, at_end))
            return mlcc_jinja_bool(true);
    return mlcc_jinja_bool(false);
}

static jinja_value run_startswith(jinja_run *r, const jinja_call *call) {
    return affix(r, call, false);
}
static jinja_value run_endswith(jinja_run *r, const jinja_call *call) {
    return affix(r, call, true);
}

static jinja_value run_removeprefix(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    const jinja_string *prefix = mlcc_jinja_arg_string(r, call, 0);
    return has_affix(s, prefix, false) ? mlcc_jinja_sub(&r->room, s, prefix->length, s->length)
                                       : call->self;
}
static jinja_value run_removesuffix(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    const jinja_string *suffix = mlcc_jinja_arg_string(r, call, 0);
    return has_affix(s, suffix, true) ? mlcc_jinja_sub(&r->room, s, 0, s->length - suffix->length)
                                      : call->self;
}

// In characters; start and end as in a slice.
static int64_t search(jinja_run *r, const jinja_call *call, bool from_right) {
    const jinja_string *s = self_of(call);
    const jinja_string *needle = mlcc_jinja_arg_string(r, call, 0);
    int64_t bounds[2] = {0, s->n_chars};
    for (size_t i = 0; i < 2; i++) {
        if (call->at[i + 1].kind == JINJA_NONE) continue;
        int64_t at = mlcc_jinja_arg_int(r, call, i + 1, bounds[i]);
        if (at < 0) at = at + s->n_chars < 0 ? 0 : at + s->n_chars;
        bounds[i] = at;
    }
    if (bounds[0] > s->n_chars) return -1;
    size_t begin = mlcc_jinja_char_to_byte(s, (size_t)bounds[0]);
    size_t end = mlcc_jinja_char_to_byte(s, (size_t)bounds[1]);
    if (end < begin) return -1;
    const jinja_string *part = mlcc_jinja_sub(&r->room, s, begin, end).as.string;
    size_t found = from_right ? rfind(&r->room, part, needle, part->length)
                              : mlcc_jinja_find(&r->room, part, needle, 0);
    if (found == SIZE_MAX) return -1;
    return bounds[0] + mlcc_jinja_sub(&r->room, part, 0, found).as.string->n_chars;
}

static jinja_value run_find(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_int(search(r, call, false));
}
static jinja_value run_rfind(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_int(search(r, call, true));
}
static jinja_value must_find(jinja_run *r, const jinja_call *call, bool from_right) {
    int64_t found = search(r, call, from_right);
    if (found < 0) mlcc_jinja_fail(&r->room, MLCC_INVALID, "substring not found");
    return mlcc_jinja_int(found);
}
static jinja_value run_index(jinja_run *r, const jinja_call *call) {
    return must_find(r, call, false);
}
static jinja_value run_rindex(jinja_run *r, const jinja_call *call) {
    return must_find(r, call, true);
}

static jinja_value run_count(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    const jinja_string *needle = mlcc_jinja_arg_string(r, call, 0);
    if (needle->length == 0) return mlcc_jinja_int((int64_t)s->n_chars + 1);
    int64_t n = 0;
    for (size_t at = 0; (at = mlcc_jinja_find(&r->room, s, needle, at)) != SIZE_MAX;
         at += needle->length)
        n++;
    return mlcc_jinja_int(n);
}

static jinja_value run_replace(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_replace(
        &r->room, self_of(call), mlcc_jinja_arg_string(r, call, 0),
        mlcc_jinja_arg_string(r, call, 1), mlcc_jinja_arg_int(r, call, 2, -1));
}

// ---- making text -------------------------------------------------------------------------------------------------

static jinja_value run_join(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->at[0]);
    jinja_builder b = {.room = &r->room};
    for (size_t i = 0; i < items->n; i++) {
        if (items->items[i].kind != JINJA_STRING)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "sequence item %zu: expected str instance, %s found", i,
                mlcc_jinja_type_name(items->items[i]));
        if (i != 0) mlcc_jinja_put_string(&b, self_of(call));
        mlcc_jinja_put_string(&b, items->items[i].as.string);
    }
    return mlcc_jinja_finish(&b);
}

static jinja_value run_format(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_format_braces(r, self_of(call), call->arguments);
}

static jinja_value pad(jinja_run *r, const jinja_call *call, jinja_side where) {
    const jinja_string *s = self_of(call);
    int64_t width = mlcc_jinja_arg_int(r, call, 0, 0);
    int64_t missing = width > s->n_chars ? width - s->n_chars : 0;
    int64_t left = where == JINJA_BOTH   ? missing / 2 + (missing & width & 1)
                   : where == JINJA_LEFT ? missing
                                         : 0;
    jinja_value blank = mlcc_jinja_text(&r->room, " ");
    const jinja_string *fill =
        mlcc_jinja_is_given(call->at[1]) ? mlcc_jinja_arg_string(r, call, 1) : blank.as.string;
    if (fill->n_chars != 1)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "the fill character must be exactly one character long");
    jinja_builder b = {.room = &r->room};
    for (int64_t i = 0; i < missing; i++) {
        if (i == left) mlcc_jinja_put_string(&b, s);
        mlcc_jinja_charge(&r->room, 1);
        mlcc_jinja_put_string(&b, fill);
    }
    if (left == missing) mlcc_jinja_put_string(&b, s);
    return mlcc_jinja_finish(&b);
}

static jinja_value run_ljust(jinja_run *r, const jinja_call *call) {
    return pad(r, call, JINJA_RIGHT);
}
static jinja_value run_rjust(jinja_run *r, const jinja_call *call) {
    return pad(r, call, JINJA_LEFT);
}
static jinja_value run_center(jinja_run *r, const jinja_call *call) {
    return pad(r, call, JINJA_BOTH);
}

static jinja_value run_zfill(jinja_run *r, const jinja_call *call) {
    const jinja_string *s = self_of(call);
    int64_t missing = mlcc_jinja_arg_int(r, call, 0, 0) - s->n_chars;
    size_t sign = s->length != 0 && (s->data[0] == '-' || s->data[0] == '+');
    jinja_builder b = {.room = &r->room};
    mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, 0, sign).as.string);
    for (; missing > 0; missing--) {
        mlcc_jinja_charge(&r->room, 1);
        mlcc_jinja_puts(&b, "0");
    }
    mlcc_jinja_put_string(&b, mlcc_jinja_sub(&r->room, s, sign, s->length).as.string);
    return mlcc_jinja_finish(&b);
}

static jinja_value run_upper(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_change_case(&r->room, self_of(call), JINJA_UPPER);
}
static jinja_value run_lower(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_change_case(&r->room, self_of(call), JINJA_LOWER);
}
static jinja_value run_title(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_change_case(&r->room, self_of(call), JINJA_TITLE);
}
static jinja_value run_capitalize(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_change_case(&r->room, self_of(call), JINJA_CAPITALIZE);
}
static jinja_value run_swapcase(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_change_case(&r->room, self_of(call), JINJA_SWAP);
}

// ---- kinds of characters -----------------------------------------------------------------------------------------

static bool is_letter(uint32_t code) {
    if (code < 0x80) return (code | 32) >= 'a' && (code | 32) <= 'z';
    return !mlcc_is_whitespace(code) && !mlcc_is_numeric(code) && !mlcc_is_punctuation(code) &&
           !mlcc_is_mark(code);
}
static bool is_space(uint32_t code) {
    return mlcc_is_whitespace(code) || (code >= 0x1C && code <= 0x1F);
}
static bool is_either(uint32_t code) {
    return is_letter(code) || mlcc_is_numeric(code);
}
static bool is_ascii(uint32_t code) {
    return code < 0x80;
}

static jinja_value all_are(const jinja_call *call, bool (*is)(uint32_t), bool if_empty) {
    const jinja_string *s = self_of(call);
    bool are = s->length != 0 || if_empty;
    for (size_t at = 0; are && at < s->length;) {
        uint32_t code;
        at += mlcc_utf8_decode(s->data + at, &code);
        are = is(code);
    }
    return mlcc_jinja_bool(are);
}

static jinja_value run_isalpha(jinja_run *r, const jinja_call *call) {
    (void)r;
    return all_are(call, is_letter, false);
}
static jinja_value run_isdigit(jinja_run *r, const jinja_call *call) {
    (void)r;
    return all_are(call, mlcc_is_numeric, false);
}
static jinja_value run_isalnum(jinja_run *r, const jinja_call *call) {
    (void)r;
    return all_are(call, is_either, false);
}
static jinja_value run_isspace(jinja_run *r, const jinja_call *call) {
    (void)r;
    return all_are(call, is_space, false);
}
static jinja_value run_isascii(jinja_run *r, const jinja_call *call) {
    (void)r;
    return all_are(call, is_ascii, true);
}

// Whether the text has letters with case and none of the other case.
static jinja_value has_case(jinja_run *r, const jinja_call *call, jinja_case to) {
    jinja_value same = mlcc_jinja_change_case(&r->room, self_of(call), to);
    jinja_value other = mlcc_jinja_change_case(
        &r->room, self_of(call), to == JINJA_UPPER ? JINJA_LOWER : JINJA_UPPER);
    return mlcc_jinja_bool(
        mlcc_jinja_equal(&r->room, same, call->self) &&
        !mlcc_jinja_equal(&r->room, other, call->self));
}
static jinja_value run_isupper(jinja_run *r, const jinja_call *call) {
    return has_case(r, call, JINJA_UPPER);
}
static jinja_value run_islower(jinja_run *r, const jinja_call *call) {
    return has_case(r, call, JINJA_LOWER);
}

// clang-format off
static const jinja_builtin methods[] = {
    {"strip", 0, "chars", run_strip}, {"lstrip", 0, "chars", run_lstrip}, {"rstrip", 0, "chars", run_rstrip},
    {"split", 0, "sep maxsplit", run_split}, {"rsplit", 0, "sep maxsplit", run_rsplit}, {"splitlines", 0, "keepends", run_splitlines},
    {"partition", 1, "sep", run_partition}, {"rpartition", 1, "sep", run_rpartition},
    {"startswith", 1, "prefix start", run_startswith}, {"endswith", 1, "suffix start", run_endswith},
    {"removeprefix", 1, "prefix", run_removeprefix}, {"removesuffix", 1, "suffix", run_removesuffix},
    {"find", 1, "sub start end", run_find}, {"rfind", 1, "sub start end", run_rfind},
    {"index", 1, "sub start end", run_index}, {"rindex", 1, "sub start end", run_rindex},
    {"count", 1, "sub", run_count}, {"replace", 2, "old new count", run_replace},
    {"join", 1, "iterable", run_join}, {"format", 0, "*", run_format},
    {"ljust", 1, "width fillchar", run_ljust}, {"rjust", 1, "width fillchar", run_rjust},
    {"center", 1, "width fillchar", run_center}, {"zfill", 1, "width", run_zfill},
    {"upper", 0, "", run_upper}, {"lower", 0, "", run_lower}, {"casefold", 0, "", run_lower}, {"title", 0, "", run_title},
    {"capitalize", 0, "", run_capitalize}, {"swapcase", 0, "", run_swapcase},
    {"isalpha", 0, "", run_isalpha}, {"isdigit", 0, "", run_isdigit}, {"isnumeric", 0, "", run_isdigit},
    {"isdecimal", 0, "", run_isdigit}, {"isalnum", 0, "", run_isalnum}, {"isspace", 0, "", run_isspace},
    {"isascii", 0, "", run_isascii}, {"isupper", 0, "", run_isupper}, {"islower", 0, "", run_islower},
};
// clang-format on

const jinja_builtin *mlcc_jinja_find_string_method(const char *name) {
    return mlcc_jinja_find_row(ROWS(methods), name);
}
