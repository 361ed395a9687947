// A template as tokens: data between tags, and what is inside the tags. Whitespace around tags goes as jinja2's lexer.py takes it away.
#include "runtime/text/jinja_tree.h"
#include "runtime/text/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    jinja_room *room;
    const char *text; // line ends are "\n"
    size_t length, at;
    int line;
    bool at_line_start; // what came before ended a line
    jinja_tokens *out;
} lexer;

static jinja_token *push(lexer *l, jinja_token_kind kind) {
    jinja_tokens *t = l->out;
    if (t->n == t->capacity) {
        size_t capacity = t->capacity == 0 ? 64 : t->capacity * 2;
        jinja_token *items = mlcc_jinja_alloc(l->room, capacity, sizeof *items);
        if (t->n != 0) memcpy(items, t->items, t->n * sizeof *items);
        t->items = items;
        t->capacity = capacity;
    }
    jinja_token *token = &t->items[t->n++];
    *token = (jinja_token){.kind = kind, .line = l->line};
    return token;
}

static _Noreturn void fail(lexer *l, const char *message) {
    l->room->line = l->line;
    mlcc_jinja_fail(l->room, MLCC_INVALID, "%s", message);
}

static bool looks_at(const lexer *l, size_t at, const char *text) {
    size_t n = strlen(text);
    return n <= l->length - at && memcmp(l->text + at, text, n) == 0;
}

// Bytes of the whitespace character at `at`, 0 when it is none (Python's \s).
static size_t space_at(const char *text, size_t length, size_t at) {
    if (at >= length) return 0;
    unsigned char c = (unsigned char)text[at];
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
    uint32_t code;
    size_t n = mlcc_utf8_decode(text + at, &code);
    return mlcc_is_whitespace(code) ? n : 0;
}

static void advance(lexer *l, size_t to) {
    for (; l->at < to; l->at++) l->line += l->text[l->at] == '\n';
    if (to > 0) l->at_line_start = l->text[to - 1] == '\n';
}

static void skip_spaces(lexer *l) {
    size_t to = l->at;
    for (size_t n; (n = space_at(l->text, l->length, to)) != 0;) to += n;
    advance(l, to);
}

static size_t trimmed_end(const lexer *l, size_t begin, size_t end) {
    while (end > begin) {
        size_t last = begin + mlcc_utf8_last(l->text + begin, end - begin);
        if (space_at(l->text, end, last) == 0) break;
        end = last;
    }
    return end;
}

// Data up to a tag. `sign`: '-', '+' or 0, what follows the tag's opening; `is_print`: {{, which keeps the space before it.
static void push_data(lexer *l, size_t begin, size_t end, char sign, bool is_print) {
    size_t keep = end;
    if (sign == '-') {
        keep = trimmed_end(l, begin, end);
    } else if (sign != '+' && !is_print) {
        size_t line = end;
        while (line > begin && l->text[line - 1] != '\n') line--;
        if ((line > begin || l->at_line_start) && trimmed_end(l, line, end) == line) keep = line;
    }
    if (keep == begin) return;
    jinja_token *token = push(l, JINJA_T_DATA);
    token->data = l->text + begin;
    token->length = keep - begin;
}

// Behind a block, a comment or endraw: "-%}" takes all space, "%}" one line end, "+%}" nothing.
static void end_tag(lexer *l, char sign, bool trims_line) {
    advance(l, l->at + 2 + (sign != 0));
    if (sign == '-') {
        skip_spaces(l);
    } else if (sign == 0 && trims_line && l->at < l->length && l->text[l->at] == '\n') {
        advance(l, l->at + 1);
    }
}

// Whether the tag's end stands here: its sign, or -1.
static int end_sign(const lexer *l, size_t at, const char *end, bool with_plus) {
    if (looks_at(l, at, end)) return 0;
    char c = at < l->length ? l->text[at] : 0;
    bool is_signed = (c == '-' || (c == '+' && with_plus)) && looks_at(l, at + 1, end);
    return is_signed ? c : -1;
}

// ---- inside a tag ------------------------------------------------------------------------------------------------

static void put_escape(lexer *l, jinja_builder *b, const char *text, size_t length, size_t *at) {
    static const char letters[] = "n\nt\tr\rb\bf\fv\va\a\\\\''\"\"";
    char c = text[*at];
    if (c == '\n') {
        ++*at;
        return;
    }
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if (letters[i] == c) {
            mlcc_jinja_put(b, &letters[i + 1], 1, false);
            ++*at;
            return;
        }
    size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    bool is_octal = n_digits == 3;
    size_t first = is_octal ? *at : *at + 1;
    uint32_t code = 0;
    size_t i = 0;
    for (; i < n_digits && first + i < length; i++) {
        char d = text[first + i];
        int digit = d >= '0' && d <= (is_octal ? '7' : '9')           ? d - '0'
                    : !is_octal && (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10
                                                                      : -1;
        if (digit < 0) break;
        code = code * (is_octal ? 8 : 16) + (uint32_t)digit;
    }
    if (n_digits == 0) { // not an escape: both characters stay
        mlcc_jinja_put(b, "\\", 1, false);
        return;
    }
    bool is_character = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    if ((!is_octal && i < n_digits) || !is_character)
        fail(l, "a string has a broken \\x, \\u or \\U escape");
    char utf8[MLCC_UTF8_MAX_BYTES];
    mlcc_jinja_put(b, utf8, mlcc_utf8_encode(code, utf8), false);
    *at = first + i;
}

static void lex_string(lexer *l) {
    char quote = l->text[l->at];
    size_t begin = l->at + 1;
    size_t end = begin;
    while (end < l->length && l->text[end] != quote) end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->length) fail(l, "a string does not end");
    jinja_token *token = push(l, JINJA_T_CONST);
    jinja_builder b = {.room = l->room};
    const char *text = l->text + begin;
    size_t length = end - begin;
    for (size_t i = 0; i < length;) {
        size_t plain = i;
        while (plain < length && text[plain] != '\\') plain++;
        mlcc_jinja_put(&b, text + i, plain - i, false);
        i = plain + 1;
        if (plain < length) put_escape(l, &b, text, length, &i);
    }
    token->value = mlcc_jinja_finish(&b);
    advance(l, end + 1);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Digits, '_' between them left out; returns where they end.
static size_t take_digits(const lexer *l, size_t at, char *out, size_t *n, size_t max) {
    while (at < l->length && (is_digit(l->text[at]) || (l->text[at] == '_' && at + 1 < l->length &&
                                                        is_digit(l->text[at + 1])))) {
        if (l->text[at] != '_' && *n < max) out[(*n)++] = l->text[at];
        at++;
    }
    return at;
}

static void lex_number(lexer *l) {
    char digits[400];
    size_t n = 0;
    size_t max = sizeof digits - 40;
    int base = 10;
    size_t at = l->at;
    bool is_real = false;
    bool is_index = at > 0 && l->text[at - 1] == '.'; // x.0.1: two indices, no fraction
    char second = at + 1 < l->length ? (char)(l->text[at + 1] | 32) : 0;
    if (l->text[at] == '0' && (second == 'x' || second == 'o' || second == 'b')) {
        base = second == 'x' ? 16 : second == 'o' ? 8 : 2;
        for (at += 2; at < l->length && n < max; at++) {
            char c = l->text[at];
            if (c == '_') continue;
            if (!is_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f')) break;
            digits[n++] = c;
        }
    } else {
        at = take_digits(l, at, digits, &n, max);
        if (!is_index && at + 1 < l->length && l->text[at] == '.' && is_digit(l->text[at + 1])) {
            is_real = true;
            digits[n++] = '.';
            at = take_digits(l, at + 1, digits, &n, max + 1);
        }
        size_t power = at + 1;
        if (power < l->length && (l->text[power] == '-' || l->text[power] == '+')) power++;
        bool is_power =
            !is_index && power < l->length && (l->text[at] | 32) == 'e' && is_digit(l->text[power]);
        if (is_power) {
            is_real = true;
            digits[n++] = 'e';
            if (power > at + 1) digits[n++] = l->text[at + 1];
            at = take_digits(l, power, digits, &n, max + 20);
        }
    }
    digits[n] = '\0';
    jinja_token *token = push(l, JINJA_T_CONST);
    char *end = digits;
    errno = 0;
    if (is_real) {
        token->value = mlcc_jinja_real(strtod(digits, &end));
    } else {
        token->value = mlcc_jinja_int(strtoll(digits, &end, base));
        if (errno == ERANGE) fail(l, "an integer needs more than 64 bits, which is the limit");
    }
    if (*end != '\0' || n == 0 || n >= max) fail(l, "a number is malformed");
    advance(l, at);
}

static bool is_name_byte(char c) {
    unsigned char u = (unsigned char)c;
    return u >= 0x80 || u == '_' || is_digit(c) || ((u | 32) >= 'a' && (u | 32) <= 'z');
}

static void lex_name(lexer *l) {
    size_t end = l->at;
    while (end < l->length && is_name_byte(l->text[end])) end++;
    char *name = mlcc_jinja_alloc(l->room, end - l->at + 1, 1);
    memcpy(name, l->text + l->at, end - l->at);
    push(l, JINJA_T_NAME)->name = name;
    advance(l, end);
}

static void lex_operator(lexer *l, char *open, size_t *n_open) {
    enum { MAX_OPEN = 200 };
    static const struct {
        char text[3];
        int operator_;
    } pairs[] = {{"//", JINJA_FLOOR_DIV}, {"**", JINJA_POWER}, {"==", JINJA_EQ},
                 {"!=", JINJA_NE},        {">=", JINJA_GE},    {"<=", JINJA_LE}};
    char c = l->text[l->at];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (looks_at(l, l->at, pairs[i].text)) {
            push(l, JINJA_T_OPERATOR)->operator_ = pairs[i].operator_;
            advance(l, l->at + 2);
            return;
        }
    if (c == '\0' || strchr("+-/*%~[](){}=<>.:|,;", c) == NULL) {
        l->room->line = l->line;
        mlcc_jinja_fail(
            l->room, MLCC_INVALID, "unexpected character 0x%02x", (unsigned)(unsigned char)c);
    }
    if (c == '(' || c == '[' || c == '{') {
        if (*n_open == MAX_OPEN) fail(l, "more than 200 brackets are open at a time");
        open[(*n_open)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (*n_open == 0 || open[--*n_open] != c) fail(l, "a bracket closes that was not opened");
    }
    push(l, JINJA_T_OPERATOR)->operator_ = c;
    advance(l, l->at + 1);
}

static void lex_tag(lexer *l, bool is_print) {
    const char *closing = is_print ? "}}" : "%}";
    char open[200];
    size_t n_open = 0;
    for (;;) {
        skip_spaces(l);
        if (l->at >= l->length) fail(l, "a tag does not end");
        int sign = n_open == 0 ? end_sign(l, l->at, closing, !is_print) : -1;
        char c = l->text[l->at];
        if (sign >= 0) {
            push(l, is_print ? JINJA_T_PRINT_END : JINJA_T_BLOCK_END);
            end_tag(l, (char)sign, !is_print);
            return;
        }
        if (is_digit(c)) {
            lex_number(l);
        } else if (is_name_byte(c)) {
            lex_name(l);
        } else if (c == '"' || c == '\'') {
            lex_string(l);
        } else {
            lex_operator(l, open, &n_open);
        }
    }
}

// ---- outside the tags --------------------------------------------------------------------------------------------

static void lex_comment(lexer *l) {
    for (size_t at = l->at; at < l->length; at++) {
        int sign = end_sign(l, at, "#}", true);
        if (sign < 0) continue;
        advance(l, at);
        end_tag(l, (char)sign, true);
        return;
    }
    fail(l, "a comment does not end");
}

// Behind "{%", whether "raw %}" or the like follows; its end's position and sign.
static bool is_word_tag(
    const lexer *l, size_t at, const char *word, bool with_plus, size_t *end, char *sign) {
    for (size_t n; (n = space_at(l->text, l->length, at)) != 0;) at += n;
    if (!looks_at(l, at, word)) return false;
    at += strlen(word);
    for (size_t n; (n = space_at(l->text, l->length, at)) != 0;) at += n;
    int found = end_sign(l, at, "%}", with_plus);
    *end = at;
    *sign = (char)found;
    return found >= 0;
}

static char opening_sign(const lexer *l, size_t at) {
    char c = at < l->length ? l->text[at] : 0;
    return c == '-' || c == '+' ? c : 0;
}

static void lex_raw(lexer *l, size_t tag_end, char tag_sign) {
    advance(l, tag_end);
    end_tag(l, tag_sign, false);
    size_t begin = l->at;
    for (size_t at = begin; at < l->length; at++) {
        if (!looks_at(l, at, "{%")) continue;
        char sign = opening_sign(l, at + 2);
        size_t end;
        char closing;
        if (!is_word_tag(l, at + 2 + (sign != 0), "endraw", true, &end, &closing)) continue;
        push_data(l, begin, at, sign, false);
        advance(l, end);
        end_tag(l, closing, true);
        return;
    }
    fail(l, "a raw block does not end");
}

static void lex_data(lexer *l) {
    size_t begin = l->at;
    size_t at = begin;
    while (at < l->length && !(l->text[at] == '{' && at + 1 < l->length &&
                               strchr("{%#", l->text[at + 1]) != NULL && l->text[at + 1] != '\0'))
        at++;
    if (at == l->length) {
        if (at > begin) {
            jinja_token *token = push(l, JINJA_T_DATA);
            token->data = l->text + begin;
            token->length = at - begin;
        }
        advance(l, at);
        return;
    }
    char kind = l->text[at + 1];
    char sign = opening_sign(l, at + 2);
    push_data(l, begin, at, sign, kind == '{');
    advance(l, at + 2 + (sign != 0));
    size_t end;
    char closing;
    if (kind == '#') {
        lex_comment(l);
    } else if (kind == '%' && is_word_tag(l, l->at, "raw", false, &end, &closing)) {
        lex_raw(l, end, closing);
    } else {
        push(l, kind == '{' ? JINJA_T_PRINT_BEGIN : JINJA_T_BLOCK_BEGIN);
        lex_tag(l, kind == '{');
    }
}

void mlcc_jinja_lex(jinja_room *room, const char *text, size_t length, jinja_tokens *out) {
    char *copy = mlcc_jinja_alloc(room, length + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) { // "\r\n" and "\r" are line ends, too
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') continue;
        copy[n++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (n != 0 && copy[n - 1] == '\n') n--; // keep_trailing_newline is off
    lexer l = {
        .room = room, .text = copy, .length = n, .line = 1, .at_line_start = true, .out = out};
    while (l.at < l.length) lex_data(&l);
    push(&l, JINJA_T_END);
}
