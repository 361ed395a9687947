// Bracket expressions: Oniguruma has sets inside sets ("[a[bc]]", "[a&&[^b]]") and PCRE2 10.42 has not.
//
// A set is read into flat items, which PCRE2 can hold in one bracket, and alternatives, which it cannot (a negated set or an
// intersection inside). Everything is written so that it matches exactly one character:
//   flat only              [items]            [^items]
//   with alternatives      (?:[items]|a|b)    (?:(?!(?:[items]|a|b))(?s:.))
//   a && b                 (?:(?=a)b)
#include "runtime/text/regex.h"
#include "runtime/text/unicode.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16 };

typedef struct set {
    mlcc_bytes items;        // flat items
    mlcc_bytes alternatives; // "|a|b"
} set;

typedef struct reader {
    const char *pattern;
    size_t length;
    size_t position;
    int depth;
} reader;

static mlcc_status *read_set(reader *r, set *out, bool *is_flat);

static void puts_out(mlcc_bytes *out, const char *text) {
    mlcc_bytes_append(out, text, strlen(text));
}

static void put_code(mlcc_bytes *out, uint32_t code) {
    char text[16];
    snprintf(text, sizeof text, "\\x{%X}", (unsigned)code);
    puts_out(out, text);
}

static void set_free(set *s) {
    mlcc_bytes_free(&s->items);
    mlcc_bytes_free(&s->alternatives);
}

static void put_alternative(set *s, const char *before, const mlcc_bytes *text, const char *after) {
    mlcc_bytes_put(&s->alternatives, '|');
    puts_out(&s->alternatives, before);
    if (text != NULL) mlcc_bytes_append(&s->alternatives, text->data, text->length);
    puts_out(&s->alternatives, after);
}

// Writes an expression that matches one character of the set, or one outside it.
static void write_set(const set *s, bool is_negated, mlcc_bytes *out) {
    bool has_items = s->items.length != 0;
    if (s->alternatives.length == 0 && has_items) {
        puts_out(out, is_negated ? "[^" : "[");
        mlcc_bytes_append(out, s->items.data, s->items.length);
        mlcc_bytes_put(out, ']');
        return;
    }
    if (is_negated) puts_out(out, "(?:(?!");
    puts_out(out, "(?:");
    if (has_items) {
        mlcc_bytes_put(out, '[');
        mlcc_bytes_append(out, s->items.data, s->items.length);
        mlcc_bytes_put(out, ']');
        mlcc_bytes_append(out, s->alternatives.data, s->alternatives.length);
    } else if (s->alternatives.length != 0) {
        mlcc_bytes_append(out, s->alternatives.data + 1, s->alternatives.length - 1);
    } else {
        puts_out(out, "(?!)");
    }
    puts_out(out, is_negated ? "))(?s:.))" : ")");
}

static mlcc_status *bad(const reader *r, const char *what) {
    return MLCC_ERROR(
        INVALID, "regular expression has %s in a bracket expression at byte %zu", what,
        r->position);
}

// ---- members ---------------------------------------------------------------------------------------------

// "[:name:]" and "[:^name:]"; leaves the position where it is when this is something else.
static mlcc_status *read_posix(reader *r, set *out, bool *was_posix) {
    // clang-format off
    static const struct { const char *name, *items; } names[] = {
        {"alnum", "\\p{Alphabetic}\\p{Nd}"}, {"alpha", "\\p{Alphabetic}"}, {"blank", "\\t\\p{Zs}"},
        {"cntrl", "\\p{Cc}"},                {"digit", "\\p{Nd}"},         {"lower", "\\p{Lowercase}"},
        {"punct", "\\p{P}\\p{S}"},           {"space", NULL},              {"upper", "\\p{Uppercase}"},
        {"word", NULL},                      {"xdigit", "0-9A-Fa-f"},
    };
    // clang-format on
    *was_posix = false;
    size_t at = r->position + 2;
    bool is_negated = at < r->length && r->pattern[at] == '^';
    if (is_negated) at++;
    size_t end = at;
    while (end < r->length && isalpha((unsigned char)r->pattern[end])) end++;
    if (end + 1 >= r->length || r->pattern[end] != ':' || r->pattern[end + 1] != ']') return NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) != end - at ||
            memcmp(names[i].name, r->pattern + at, end - at) != 0) {
            continue;
        }
        const char *items = names[i].items;
        if (items == NULL) items = mlcc_regex_shorthand(names[i].name[0]);
        if (is_negated) {
            put_alternative(out, "[^", NULL, items);
            mlcc_bytes_put(&out->alternatives, ']');
        } else {
            puts_out(&out->items, items);
        }
        *was_posix = true;
        r->position = end + 2;
        return NULL;
    }
    return MLCC_ERROR(
        UNSUPPORTED, "regular expression has the class '[:%.*s:]'", (int)(end - at),
        r->pattern + at);
}

static mlcc_status *read_hex(reader *r, size_t max_digits, uint32_t *code) {
    char digits[9] = {0};
    size_t n = 0;
    while (n < max_digits && r->position < r->length &&
           isxdigit((unsigned char)r->pattern[r->position])) {
        digits[n++] = r->pattern[r->position++];
    }
    if (n == 0) return bad(r, "an escape without hexadecimal digits");
    *code = (uint32_t)strtoul(digits, NULL, 16);
    return *code > 0x10FFFF ? bad(r, "a code point above 10FFFF") : NULL;
}

// Stands behind the backslash. *is_class: a class was added to `out`; otherwise *code is a character.
static mlcc_status *read_escape(reader *r, set *out, bool *is_class, uint32_t *code) {
    *is_class = false;
    if (r->position == r->length) return bad(r, "a backslash at the end");
    char c = r->pattern[r->position];
    char small = (char)tolower((unsigned char)c);
    if (c != '\0' && strchr("swhd", small) != NULL) {
        *is_class = true;
        r->position++;
        const char *items = mlcc_regex_shorthand(small);
        if (c == small) {
            puts_out(&out->items, items);
        } else if (c == 'S') {
            puts_out(&out->items, "\\P{White_Space}");
        } else if (c == 'D') {
            puts_out(&out->items, "\\P{Nd}");
        } else {
            put_alternative(out, "[^", NULL, items);
            mlcc_bytes_put(&out->alternatives, ']');
        }
        return NULL;
    }
    if (small == 'p') {
        *is_class = true;
        r->position++;
        return mlcc_regex_translate_property(
            r->pattern, r->length, &r->position, c == 'P', &out->items);
    }
    if (c == 'x' || c == 'u') {
        r->position++;
        if (c == 'u') {
            size_t begin = r->position;
            MLCC_TRY(read_hex(r, 4, code));
            return r->position - begin == 4 ? NULL : bad(r, "\\u without four digits");
        }
        bool has_brace = r->position < r->length && r->pattern[r->position] == '{';
        if (has_brace) r->position++;
        MLCC_TRY(read_hex(r, has_brace ? 8 : 2, code));
        if (!has_brace) return NULL;
        if (r->position == r->length || r->pattern[r->position] != '}') {
            return bad(r, "\\x{ without }");
        }
        r->position++;
        return NULL;
    }
    static const char letters[] = "abefnrtv";
    static const char values[] = "\a\b\x1B\f\n\r\t\v";
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    if (letter != NULL) {
        *code = (unsigned char)values[letter - letters];
        r->position++;
        return NULL;
    }
    r->position += mlcc_utf8_decode(r->pattern + r->position, code);
    return NULL;
}

// One character or one class. *is_class as above.
static mlcc_status *read_member(reader *r, set *out, bool *is_class, uint32_t *code) {
    if (r->pattern[r->position] == '\\') {
        r->position++;
        return read_escape(r, out, is_class, code);
    }
    *is_class = false;
    if (r->pattern[r->position] == '[') {
        *is_class = true;
        if (r->position + 1 < r->length && r->pattern[r->position + 1] == ':') {
            bool was_posix;
            MLCC_TRY(read_posix(r, out, &was_posix));
            if (was_posix) return NULL;
        }
        set inner = {0};
        bool is_flat = false;
        mlcc_status *status = read_set(r, &inner, &is_flat);
        if (status == NULL && is_flat) {
            mlcc_bytes_append(&out->items, inner.items.data, inner.items.length);
        } else if (status == NULL) {
            put_alternative(out, "", &inner.alternatives, "");
        }
        if (inner.items.failed || inner.alternatives.failed) out->items.failed = true;
        set_free(&inner);
        return status;
    }
    r->position += mlcc_utf8_decode(r->pattern + r->position, code);
    return NULL;
}

// A '-' between two characters makes a range; anywhere else it stands for itself.
static mlcc_status *read_member_or_range(reader *r, set *out) {
    bool is_class;
    uint32_t first = 0;
    MLCC_TRY(read_member(r, out, &is_class, &first));
    if (is_class) return NULL;
    bool has_dash = r->position + 1 < r->length && r->pattern[r->position] == '-' &&
                    r->pattern[r->position + 1] != ']';
    if (!has_dash) {
        put_code(&out->items, first);
        return NULL;
    }
    size_t dash = r->position;
    r->position++;
    if (r->pattern[r->position] == '[') {
        r->position = dash;
        put_code(&out->items, first);
        return NULL;
    }
    uint32_t last = 0;
    set unused = {0};
    mlcc_status *status = read_member(r, &unused, &is_class, &last);
    set_free(&unused);
    MLCC_TRY(status);
    put_code(&out->items, first);
    if (is_class) {
        r->position = dash; // "a-\s": the dash is read again as a character
        return NULL;
    }
    if (last < first) return bad(r, "a range that runs backwards");
    mlcc_bytes_put(&out->items, '-');
    put_code(&out->items, last);
    return NULL;
}

// ---- sets --------------------------------------------------------------------------------------------------

// Members up to ']' or "&&".
static mlcc_status *read_members(reader *r, set *out, bool is_first) {
    while (r->position < r->length) {
        char c = r->pattern[r->position];
        if (c == ']' && !is_first) return NULL;
        if (c == '&' && r->position + 1 < r->length && r->pattern[r->position + 1] == '&')
            return NULL;
        is_first = false;
        MLCC_TRY(read_member_or_range(r, out));
    }
    return MLCC_ERROR(INVALID, "regular expression has '[' without ']'");
}

// The operands of "&&", each but the last as a lookahead.
static mlcc_status *read_intersection(reader *r, const set *first, mlcc_bytes *out) {
    puts_out(out, "(?:(?=");
    write_set(first, false, out);
    while (r->pattern[r->position] == '&') {
        r->position += 2;
        set next = {0};
        mlcc_status *status = read_members(r, &next, false);
        if (status == NULL) {
            puts_out(out, r->pattern[r->position] == '&' ? ")(?=" : ")");
            write_set(&next, false, out);
        }
        set_free(&next);
        MLCC_TRY(status);
    }
    mlcc_bytes_put(out, ')');
    return NULL;
}

// Reads "[…]". *is_flat: `out` holds plain items; otherwise its alternatives hold one expression without the leading '|'.
static mlcc_status *read_set_inside(reader *r, set *out, bool *is_flat) {
    bool is_negated = r->position < r->length && r->pattern[r->position] == '^';
    if (is_negated) r->position++;
    set members = {0};
    set whole = {0};
    mlcc_status *status = read_members(r, &members, true);
    if (status == NULL && r->pattern[r->position] == '&') {
        mlcc_bytes_put(&whole.alternatives, '|');
        status = read_intersection(r, &members, &whole.alternatives);
        set_free(&members);
        members = whole;
        whole = (set){0};
    }
    if (status == NULL) {
        r->position++;
        *is_flat = !is_negated && members.alternatives.length == 0;
        if (*is_flat) {
            mlcc_bytes_append(&out->items, members.items.data, members.items.length);
        } else {
            write_set(&members, is_negated, &out->alternatives);
        }
        if (members.items.failed || members.alternatives.failed) out->items.failed = true;
    }
    set_free(&members);
    set_free(&whole);
    return status;
}

// Stands on the '['.
static mlcc_status *read_set(reader *r, set *out, bool *is_flat) {
    if (r->depth == DEPTH_MAX) {
        return MLCC_ERROR(
            UNSUPPORTED, "regular expression nests brackets deeper than %d levels", DEPTH_MAX);
    }
    r->depth++;
    r->position++;
    mlcc_status *status = read_set_inside(r, out, is_flat);
    r->depth--;
    return status;
}

mlcc_status *mlcc_regex_translate_class(
    const char *pattern, size_t length, size_t *position, mlcc_bytes *out) {
    reader r = {.pattern = pattern, .length = length, .position = *position};
    set whole = {0};
    bool is_flat = false;
    mlcc_status *status = read_set(&r, &whole, &is_flat);
    if (status == NULL && is_flat) {
        write_set(&whole, false, out);
    } else if (status == NULL) {
        mlcc_bytes_append(out, whole.alternatives.data, whole.alternatives.length);
    }
    if (whole.items.failed || whole.alternatives.failed) out->failed = true;
    set_free(&whole);
    *position = r.position;
    return status;
}
