// From Oniguruma's Ruby syntax (doc/RE and doc/UNICODE_PROPERTIES of kkos/oniguruma) to PCRE2's.
//
// Most of a pattern is copied. Rewritten are: \s \w \h \v and \u (other meaning or other sets), property names, option letters
// ((?m) lets the dot match newlines, PCRE2 calls that s), intervals ({,n}, {n}? and {n,m}+ mean other things), and bracket
// expressions (regex_class.c).
#include "runtime/text/regex.h"

#include <ctype.h>
#include <string.h>

enum { GROUPS_MAX = 128 };

typedef struct translation {
    const char *pattern;
    size_t length;
    size_t position;
    mlcc_bytes *out;
    size_t atom;               // where the last atom begins in out
    size_t groups[GROUPS_MAX]; // where the open groups begin in out
    size_t n_groups;
} translation;

// White_Space spelled out: PCRE2's \s has U+180E in addition, and ranges are faster than a property.
#define WHITE_SPACE \
    "\\t-\\r\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}" \
    "\\x{3000}"

const char *mlcc_regex_shorthand(char letter) {
    switch (letter) {
    case 'd': return "\\p{Nd}";
    case 's': return WHITE_SPACE;
    case 'w': return "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
    case 'h': return "0-9A-Fa-f";
    default: return NULL;
    }
}

static void puts_out(mlcc_bytes *out, const char *text) {
    mlcc_bytes_append(out, text, strlen(text));
}

// ---- properties --------------------------------------------------------------------------------------

// Long names of general categories and POSIX names, which PCRE2 does not know; compared without case, ' ', '_' and '-'.
// clang-format off
static const struct { const char *name, *short_name; } property_names[] = {
    {"letter", "L"},            {"casedletter", "L&"},        {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},  {"titlecaseletter", "Lt"},    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},      {"mark", "M"},                {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},   {"spacingmark", "Mc"},        {"enclosingmark", "Me"},
    {"number", "N"},            {"decimalnumber", "Nd"},      {"letternumber", "Nl"},
    {"othernumber", "No"},      {"punctuation", "P"},         {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},  {"openpunctuation", "Ps"},    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"}, {"finalpunctuation", "Pf"}, {"otherpunctuation", "Po"},
    {"symbol", "S"},            {"mathsymbol", "Sm"},         {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},   {"othersymbol", "So"},        {"separator", "Z"},
    {"spaceseparator", "Zs"},   {"lineseparator", "Zl"},      {"paragraphseparator", "Zp"},
    {"other", "C"},             {"control", "Cc"},            {"format", "Cf"},
    {"unassigned", "Cn"},       {"privateuse", "Co"},         {"surrogate", "Cs"},
    {"alpha", "Alphabetic"},    {"digit", "Nd"},              {"space", "White_Space"},
    {"upper", "Uppercase"},     {"lower", "Lowercase"},       {"cntrl", "Cc"},
    {"lc", "L&"},                {"punct", "P"},
};
// clang-format on

static const char *short_name_of(const char *name) {
    for (size_t i = 0; i < sizeof property_names / sizeof *property_names; i++) {
        if (strcmp(property_names[i].name, name) == 0) return property_names[i].short_name;
    }
    return NULL;
}

static char to_lower(char c) {
    return (char)tolower((unsigned char)c);
}

// The name that PCRE2 knows by another spelling, or NULL.
static const char *known_property(const char *name, size_t length) {
    char folded[64];
    size_t n = 0;
    for (size_t i = 0; i < length && n + 1 < sizeof folded; i++) {
        if (name[i] == ' ' || name[i] == '_' || name[i] == '-') continue;
        folded[n++] = to_lower(name[i]);
    }
    folded[n] = '\0';
    return short_name_of(folded);
}

mlcc_status *mlcc_regex_translate_property(
    const char *pattern, size_t length, size_t *position, bool is_negated, mlcc_bytes *out) {
    size_t at = *position;
    const char *close =
        at < length && pattern[at] == '{' ? memchr(pattern + at, '}', length - at) : NULL;
    if (close == NULL) {
        return MLCC_ERROR(
            INVALID, "regular expression has \\p without a name in braces at byte %zu", at);
    }
    size_t end = (size_t)(close - pattern);
    at++;
    if (at < end && pattern[at] == '^') {
        is_negated = !is_negated;
        at++;
    }
    const char *name = known_property(pattern + at, end - at);
    puts_out(out, is_negated ? "\\P{" : "\\p{");
    if (name != NULL) {
        puts_out(out, name);
    } else {
        // By itself, PCRE2 takes a script's name for its extensions, too (ideographic punctuation as Han).
        if (mlcc_regex_is_script(pattern + at, end - at)) puts_out(out, "sc:");
        mlcc_bytes_append(out, pattern + at, end - at);
    }
    mlcc_bytes_put(out, '}');
    *position = end + 1;
    return NULL;
}

// ---- escapes -------------------------------------------------------------------------------------------

static mlcc_status *translate_unicode_escape(translation *t) {
    size_t at = t->position;
    for (size_t i = at; i < at + 4; i++) {
        if (i >= t->length || !isxdigit((unsigned char)t->pattern[i])) {
            return MLCC_ERROR(
                INVALID, "regular expression has \\u without four hexadecimal digits at byte %zu",
                at);
        }
    }
    puts_out(t->out, "\\x{");
    mlcc_bytes_append(t->out, t->pattern + at, 4);
    mlcc_bytes_put(t->out, '}');
    t->position += 4;
    return NULL;
}

// Stands behind the backslash.
static mlcc_status *translate_escape(translation *t) {
    if (t->position == t->length) {
        return MLCC_ERROR(INVALID, "regular expression ends with a backslash");
    }
    t->atom = t->out->length;
    char c = t->pattern[t->position++];
    char small = to_lower(c);
    if (strchr("swhd", small) != NULL && c != '\0') {
        puts_out(t->out, c == small ? "[" : "[^");
        puts_out(t->out, mlcc_regex_shorthand(small));
        // Outside brackets Oniguruma asks a table of Latin-1, in which these are part of words.
        if (small == 'w') puts_out(t->out, "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}");
        mlcc_bytes_put(t->out, ']');
        return NULL;
    }
    if (small == 'p' && t->position < t->length && t->pattern[t->position] == '{') {
        return mlcc_regex_translate_property(t->pattern, t->length, &t->position, c == 'P', t->out);
    }
    if (c == 'u') return translate_unicode_escape(t);
    if (c == 'v') {
        puts_out(t->out, "\\x0B");
        return NULL;
    }
    if (c == 'O') {
        puts_out(t->out, "(?s:.)");
        return NULL;
    }
    if (isalpha((unsigned char)c) && strchr("abBeAzZGnrtfxkgKRXN", c) == NULL) {
        mlcc_bytes_put(t->out, c); // a backslash before any other letter says nothing
        return NULL;
    }
    mlcc_bytes_put(t->out, '\\');
    mlcc_bytes_put(t->out, c);
    return NULL;
}

// ---- groups --------------------------------------------------------------------------------------------

// "(?imx-imx" up to ':' or ')'; stands behind "(?".
static mlcc_status *translate_options(translation *t) {
    while (t->position < t->length) {
        char c = t->pattern[t->position];
        if (c == 'm') {
            mlcc_bytes_put(t->out, 's');
        } else if (c == 'i' || c == 'x' || c == '-') {
            mlcc_bytes_put(t->out, c);
        } else {
            return NULL; // ':' and ')' go the way of all characters, others are PCRE2's to refuse
        }
        t->position++;
    }
    return NULL;
}

static mlcc_status *open_group(translation *t) {
    if (t->n_groups == GROUPS_MAX) {
        return MLCC_ERROR(
            UNSUPPORTED, "regular expression nests deeper than %d groups", GROUPS_MAX);
    }
    t->groups[t->n_groups++] = t->out->length;
    t->atom = t->out->length;
    mlcc_bytes_put(t->out, '(');
    if (t->position == t->length) return NULL;
    if (t->pattern[t->position] == '*') {
        return MLCC_ERROR(UNSUPPORTED, "regular expression has '(*' at byte %zu", t->position - 1);
    }
    if (t->pattern[t->position] != '?' || t->position + 1 >= t->length) return NULL;
    char kind = t->pattern[t->position + 1];
    if (kind == '~' || kind == '@' || kind == '{' || kind == 'R' || kind == 'C' || kind == '&' ||
        kind == 'P' || kind == '|' || kind == '^') {
        return MLCC_ERROR(
            UNSUPPORTED, "regular expression has a group '(?%c' at byte %zu", kind,
            t->position - 1);
    }
    mlcc_bytes_put(t->out, '?');
    t->position++;
    if (strchr("imx-", kind) != NULL) return translate_options(t);
    mlcc_bytes_put(t->out, kind);
    t->position++;
    return NULL;
}

// ---- quantifiers -----------------------------------------------------------------------------------------

// Puts "(?:" before the last atom and its quantifier, and ")" behind, so that what follows counts the whole.
static void wrap_atom(translation *t) {
    mlcc_bytes *out = t->out;
    puts_out(out, "(?:)");
    if (out->failed) return;
    size_t old_length = out->length - 4;
    memmove(out->data + t->atom + 3, out->data + t->atom, old_length - t->atom);
    memcpy(out->data + t->atom, "(?:", 3);
    out->data[out->length - 1] = ')';
}

static size_t skip_digits(const translation *t, size_t at) {
    while (at < t->length && isdigit((unsigned char)t->pattern[at])) at++;
    return at;
}

// Stands behind the '{'. Ruby: {n,m}+ repeats the repetition, {n}? makes it optional, {,m} begins at zero.
static void translate_interval(translation *t) {
    size_t first_end = skip_digits(t, t->position);
    bool has_first = first_end > t->position;
    bool has_comma = first_end < t->length && t->pattern[first_end] == ',';
    size_t second = first_end + (has_comma ? 1 : 0);
    size_t second_end = has_comma ? skip_digits(t, second) : second;
    bool has_second = second_end > second;
    bool is_interval =
        second_end < t->length && t->pattern[second_end] == '}' && (has_first || has_second);
    if (!is_interval) {
        puts_out(t->out, "\\{");
        return;
    }
    mlcc_bytes_put(t->out, '{');
    if (!has_first) mlcc_bytes_put(t->out, '0');
    mlcc_bytes_append(t->out, t->pattern + t->position, second_end + 1 - t->position);
    t->position = second_end + 1;
    if (t->position == t->length) return;
    char next = t->pattern[t->position];
    if (next == '+' || (next == '?' && !has_comma)) wrap_atom(t);
}

// ---- the whole -------------------------------------------------------------------------------------------

static mlcc_status *translate_next(translation *t) {
    char c = t->pattern[t->position];
    switch (c) {
    case '\\': t->position++; return translate_escape(t);
    case '[':
        t->atom = t->out->length;
        return mlcc_regex_translate_class(t->pattern, t->length, &t->position, t->out);
    case '(': t->position++; return open_group(t);
    case '{':
        t->position++;
        translate_interval(t);
        return NULL;
    case ')':
        if (t->n_groups != 0) t->atom = t->groups[--t->n_groups];
        break;
    case '*':
    case '+':
    case '?': break;
    default:
        // A character of several bytes is one atom.
        if (((unsigned char)c & 0xC0) != 0x80) t->atom = t->out->length;
        break;
    }
    mlcc_bytes_put(t->out, c);
    t->position++;
    return NULL;
}

mlcc_status *mlcc_regex_translate(const char *pattern, size_t length, mlcc_bytes *out) {
    // As the pattern stands, every blank inside a long row of blanks starts a search to its end: quadratic. Only the first one
    // can begin a match.
    if (length == 4 && memcmp(pattern, "\\s+$", 4) == 0) {
        puts_out(out, "(?<![" WHITE_SPACE "])[" WHITE_SPACE "]+$");
        return NULL;
    }
    translation t = {.pattern = pattern, .length = length, .out = out};
    while (t.position < length) MLCC_TRY(translate_next(&t));
    return NULL;
}
