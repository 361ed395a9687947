// lex: characters become tokens.
#include "ir/lex.h"

#include "runtime/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_char(char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '-' || c == '/';
}

bool lex_is_plain_name(const char *name) {
    for (const char *c = name; *c != '\0'; c++) {
        if (!is_name_char(*c)) return false;
    }
    return *name != '\0';
}

// ---- places and messages -----------------------------------------------------------------------

mlcc_status *lex_place_at(const lexer *lex, const lex_token *token, mlcc_status *status) {
    return mlcc_status_note(status, "reading %s:%d:%d", lex->what, token->line, token->column);
}

mlcc_status *lex_place(const lexer *lex, mlcc_status *status) {
    return lex_place_at(lex, &lex->token, status);
}

static const char *sigil_of(lex_kind kind) {
    return kind == LEX_VALUE || kind == LEX_NUMBERED ? "%" : kind == LEX_GLOBAL ? "@" : "";
}

mlcc_status *lex_expected(const lexer *lex, const char *expected) {
    const lex_token *token = &lex->token;
    mlcc_status *status = NULL;
    if (token->kind == LEX_END) {
        status = MLCC_ERROR(INVALID, "expected %s, found the end of the text", expected);
    } else {
        const char *quote = token->quoted ? "\"" : "";
        status = MLCC_ERROR(
            INVALID, "expected %s, found '%s%s%.64s%s'", expected, sigil_of(token->kind), quote,
            token->text, quote);
    }
    return lex_place(lex, status);
}

// ---- scanning ----------------------------------------------------------------------------------

static void skip_space(lexer *lex) {
    for (; lex->at < lex->end; lex->at++) {
        char c = *lex->at;
        if (c == '\n') {
            lex->line++;
            lex->line_start = lex->at + 1;
        } else if (c == '#') {
            while (lex->at + 1 < lex->end && lex->at[1] != '\n') lex->at++;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// One escape after the backslash: \" \\ \n \t \xHH. -1 if it is none of them.
static int scan_escape(lexer *lex) {
    if (lex->at >= lex->end) return -1;
    switch (*lex->at++) {
    case '"': return '"';
    case '\\': return '\\';
    case 'n': return '\n';
    case 't': return '\t';
    case 'x': {
        if (lex->end - lex->at < 2) return -1;
        int high = hex_digit(lex->at[0]);
        int low = hex_digit(lex->at[1]);
        lex->at += 2;
        return high < 0 || low < 0 ? -1 : high * 16 + low;
    }
    default: return -1;
    }
}

// Text in quotes; `at` stands behind the opening one.
static mlcc_status *scan_string(lexer *lex) {
    const char *close = lex->at;
    while (close < lex->end && *close != '"' && *close != '\n') close += *close == '\\' ? 2 : 1;
    if (close >= lex->end || *close != '"') {
        return lex_place(lex, MLCC_ERROR(INVALID, "text in quotes does not end on its line"));
    }
    char *text = mlcc_arena_alloc(lex->scratch, (size_t)(close - lex->at) + 1);
    size_t length = 0;
    while (lex->at < close) {
        unsigned char c = (unsigned char)*lex->at++;
        int value = c == '\\' ? scan_escape(lex) : c;
        if (value <= 0 || (c != '\\' && c < 0x20)) {
            return lex_place(
                lex,
                MLCC_ERROR(
                    INVALID,
                    "bad character or escape in quoted text, accepted are \\\" \\\\ \\n \\t and "
                    "\\x01 … \\xff"));
        }
        text[length++] = (char)value;
    }
    lex->at = close + 1;
    text[length] = '\0';
    lex->token.text = text;
    lex->token.quoted = true;
    return NULL;
}

static void scan_run(lexer *lex, const char *start) {
    while (lex->at < lex->end && is_name_char(*lex->at)) lex->at++;
    lex->token.text = mlcc_arena_strndup(lex->scratch, start, (size_t)(lex->at - start));
}

// %name, @name and their quoted forms; `at` stands on the sigil.
static mlcc_status *scan_name(lexer *lex, lex_kind kind) {
    lex->token.kind = kind;
    lex->at++;
    if (lex->at < lex->end && *lex->at == '"') {
        lex->at++;
        MLCC_TRY(scan_string(lex));
    } else {
        scan_run(lex, lex->at);
    }
    if (*lex->token.text == '\0') {
        return lex_place(lex, MLCC_ERROR(INVALID, "expected a name after '%s'", sigil_of(kind)));
    }
    if (kind == LEX_VALUE && !lex->token.quoted &&
        strspn(lex->token.text, "0123456789") == strlen(lex->token.text)) {
        lex->token.kind = LEX_NUMBERED;
    }
    return NULL;
}

// Digits with everything that may follow in a number; what it means is decided where it is needed.
static mlcc_status *scan_number(lexer *lex) {
    const char *start = lex->at;
    lex->token.kind = LEX_NUMBER;
    lex->at++;
    while (lex->at < lex->end) {
        bool exponent_sign =
            (*lex->at == '-' || *lex->at == '+') && (lex->at[-1] == 'e' || lex->at[-1] == 'E');
        if (!is_letter(*lex->at) && !is_digit(*lex->at) && *lex->at != '.' && !exponent_sign) break;
        lex->at++;
    }
    size_t length = (size_t)(lex->at - start);
    if (length >= sizeof lex->number) {
        return lex_place(
            lex, MLCC_ERROR(
                     INVALID, "number of %zu characters, at most %zu are accepted", length,
                     sizeof lex->number - 1));
    }
    memcpy(lex->number, start, length);
    lex->number[length] = '\0';
    lex->token.text = lex->number;
    return NULL;
}

static bool starts_number(const lexer *lex) {
    if (is_digit(*lex->at)) return true;
    if (*lex->at != '-' || lex->end - lex->at < 2) return false;
    return is_digit(lex->at[1]) || lex->at[1] == 'i';
}

static mlcc_status *scan_sign(lexer *lex) {
    lex->token.kind = LEX_SIGN;
    if (lex->end - lex->at >= 2 && lex->at[0] == '<' && lex->at[1] == '=') {
        lex->token.text = "<=";
        lex->at += 2;
        return NULL;
    }
    static const char *const signs[] = {"=", ":", ",", "[", "]", "(", ")", "{", "}", "-"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (*signs[i] != *lex->at) continue;
        lex->token.text = signs[i];
        lex->at++;
        return NULL;
    }
    unsigned char c = (unsigned char)*lex->at;
    if (c >= 0x20 && c < 0x7f) {
        return lex_place(lex, MLCC_ERROR(INVALID, "unexpected character '%c'", c));
    }
    return lex_place(lex, MLCC_ERROR(INVALID, "unexpected byte 0x%02x", c));
}

mlcc_status *lex_next(lexer *lex) {
    skip_space(lex);
    lex->token = (lex_token){
        .kind = LEX_END,
        .text = "",
        .line = lex->line,
        .column = (int32_t)(lex->at - lex->line_start) + 1,
    };
    if (lex->at >= lex->end) return NULL;
    char c = *lex->at;
    if (c == '%') return scan_name(lex, LEX_VALUE);
    if (c == '@') return scan_name(lex, LEX_GLOBAL);
    if (c == '"') {
        lex->at++;
        lex->token.kind = LEX_STRING;
        return scan_string(lex);
    }
    if (is_letter(c)) {
        lex->token.kind = LEX_WORD;
        scan_run(lex, lex->at);
        return NULL;
    }
    if (starts_number(lex)) return scan_number(lex);
    return scan_sign(lex);
}

mlcc_status *lex_start(
    lexer *lex, const char *text, size_t length, const char *what, mlcc_arena *scratch) {
    *lex = (lexer){
        .text = text,
        .end = text + length,
        .at = text,
        .line_start = text,
        .line = 1,
        .what = what,
        .scratch = scratch,
    };
    return lex_next(lex);
}

// ---- wanting a token ---------------------------------------------------------------------------

bool lex_is_sign(const lexer *lex, const char *sign) {
    return lex->token.kind == LEX_SIGN && strcmp(lex->token.text, sign) == 0;
}

bool lex_is_word(const lexer *lex, const char *word) {
    return lex->token.kind == LEX_WORD && strcmp(lex->token.text, word) == 0;
}

mlcc_status *lex_need_sign(lexer *lex, const char *sign) {
    if (lex_is_sign(lex, sign)) return lex_next(lex);
    char expected[16] = "'";
    strncat(expected, sign, 8);
    strcat(expected, "'");
    return lex_expected(lex, expected);
}

mlcc_status *lex_need_word(lexer *lex, const char *word) {
    if (lex_is_word(lex, word)) return lex_next(lex);
    char expected[48] = "'";
    strncat(expected, word, 40);
    strcat(expected, "'");
    return lex_expected(lex, expected);
}

mlcc_status *lex_take_sign(lexer *lex, const char *sign, bool *found) {
    *found = lex_is_sign(lex, sign);
    return *found ? lex_next(lex) : NULL;
}

mlcc_status *lex_take_word(lexer *lex, const char *word, bool *found) {
    *found = lex_is_word(lex, word);
    return *found ? lex_next(lex) : NULL;
}

mlcc_status *lex_need_i64(
    lexer *lex, const char *expected, int64_t min, int64_t max, int64_t *out) {
    if (lex->token.kind != LEX_NUMBER) return lex_expected(lex, expected);
    char *end = NULL;
    errno = 0;
    long long value = strtoll(lex->token.text, &end, 10);
    if (*end != '\0') return lex_expected(lex, expected);
    if (errno == ERANGE || value < min || value > max) {
        return lex_place(
            lex, MLCC_ERROR(
                     INVALID, "%s is out of range, accepted are %lld … %lld", lex->token.text,
                     (long long)min, (long long)max));
    }
    *out = value;
    return lex_next(lex);
}

mlcc_status *lex_need_f64(lexer *lex, const char *expected, double *out) {
    bool word = lex_is_word(lex, "inf") || lex_is_word(lex, "nan");
    if (lex->token.kind != LEX_NUMBER && !word) return lex_expected(lex, expected);
    char *end = NULL;
    double value = strtod(lex->token.text, &end);
    if (*end != '\0' || strpbrk(lex->token.text, "xX") != NULL) return lex_expected(lex, expected);
    *out = value;
    return lex_next(lex);
}

mlcc_status *lex_need_string(lexer *lex, const char *expected, const char **out) {
    if (lex->token.kind != LEX_STRING) return lex_expected(lex, expected);
    *out = lex->token.text;
    return lex_next(lex);
}
