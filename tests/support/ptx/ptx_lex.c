#include "tests/support/ptx/ptx_lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

mlcc_status *ptx_syntax(const ptx_lexer *lexer, const char *expected) {
    const ptx_token *token = &lexer->token;
    if (token->kind == PTX_TOKEN_END)
        return MLCC_ERROR(
            INVALID, "PTX line %u: the text ends, expected %s", token->line, expected);
    const size_t length = token->length < 60 ? token->length : 60;
    return MLCC_ERROR(
        INVALID, "PTX line %u: found '%.*s', expected %s", token->line, (int)length, token->text,
        expected);
}

static mlcc_status *skip_space(ptx_lexer *lexer) {
    while (lexer->at < lexer->end) {
        const char c = *lexer->at;
        const size_t left = (size_t)(lexer->end - lexer->at);
        if (c == '\n') {
            lexer->line++;
            lexer->at++;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
            lexer->at++;
        } else if (c == '/' && left > 1 && lexer->at[1] == '/') {
            while (lexer->at < lexer->end && *lexer->at != '\n') lexer->at++;
        } else if (c == '/' && left > 1 && lexer->at[1] == '*') {
            const uint32_t first_line = lexer->line;
            lexer->at += 2;
            while (lexer->end - lexer->at >= 2 && !(lexer->at[0] == '*' && lexer->at[1] == '/')) {
                if (*lexer->at == '\n') lexer->line++;
                lexer->at++;
            }
            if (lexer->end - lexer->at < 2)
                return MLCC_ERROR(INVALID, "PTX line %u: the comment has no end", first_line);
            lexer->at += 2;
        } else {
            break;
        }
    }
    return NULL;
}

// 0f and 0d literals: exactly `n_digits` hexadecimal digits.
static mlcc_status *take_float_bits(ptx_lexer *lexer, int n_digits, ptx_token_kind kind) {
    uint64_t bits = 0;
    lexer->at += 2;
    for (int i = 0; i < n_digits; i++) {
        const int digit = lexer->at < lexer->end ? hex_digit(*lexer->at) : -1;
        if (digit < 0)
            return MLCC_ERROR(
                INVALID, "PTX line %u: a float literal needs %d hexadecimal digits", lexer->line,
                n_digits);
        bits = bits << 4 | (uint64_t)digit;
        lexer->at++;
    }
    lexer->token.kind = kind;
    lexer->token.value = bits;
    return NULL;
}

static mlcc_status *take_integer(ptx_lexer *lexer, uint32_t base) {
    uint64_t value = 0;
    int n_digits = 0;
    while (lexer->at < lexer->end) {
        const int digit = hex_digit(*lexer->at);
        if (digit < 0 || digit >= (int)base) break;
        if (value > (UINT64_MAX - (uint64_t)digit) / base)
            return MLCC_ERROR(
                INVALID, "PTX line %u: an integer has more than 64 bits", lexer->line);
        value = value * base + (uint64_t)digit;
        lexer->at++;
        n_digits++;
    }
    if (n_digits == 0)
        return MLCC_ERROR(INVALID, "PTX line %u: a number without digits", lexer->line);
    if (lexer->at < lexer->end && *lexer->at == 'U') lexer->at++;
    lexer->token.kind = PTX_TOKEN_INTEGER;
    lexer->token.value = value;
    return NULL;
}

// "1.5", "1e-3", after the digits up to `at` were seen to be followed by '.' or an exponent.
static mlcc_status *take_decimal(ptx_lexer *lexer) {
    char digits[64];
    size_t length = 0;
    const char *at = lexer->token.text;
    while (at < lexer->end && length + 1 < sizeof digits) {
        const bool is_exponent = *at == 'e' || *at == 'E';
        const bool is_sign =
            (*at == '-' || *at == '+') && length > 0 && (at[-1] == 'e' || at[-1] == 'E');
        if (!is_digit(*at) && *at != '.' && !is_exponent && !is_sign) break;
        digits[length++] = *at++;
    }
    digits[length] = '\0';
    char *stop = NULL;
    const double value = strtod(digits, &stop);
    if (stop != digits + length)
        return MLCC_ERROR(INVALID, "PTX line %u: '%s' is no number", lexer->line, digits);
    lexer->at = at;
    lexer->token.kind = PTX_TOKEN_F64;
    memcpy(&lexer->token.value, &value, sizeof value);
    return NULL;
}

static mlcc_status *take_number(ptx_lexer *lexer) {
    const size_t left = (size_t)(lexer->end - lexer->at);
    const char second = left > 1 ? lexer->at[1] : ' ';
    if (*lexer->at == '0') {
        if (second == 'f' || second == 'F') return take_float_bits(lexer, 8, PTX_TOKEN_F32);
        if (second == 'd' || second == 'D') return take_float_bits(lexer, 16, PTX_TOKEN_F64);
        if (second == 'x' || second == 'X' || second == 'b' || second == 'B') {
            lexer->at += 2;
            return take_integer(lexer, second == 'x' || second == 'X' ? 16 : 2);
        }
    }
    const char *at = lexer->at;
    while (at < lexer->end && is_digit(*at)) at++;
    if (at < lexer->end && (*at == '.' || *at == 'e' || *at == 'E')) return take_decimal(lexer);
    return take_integer(lexer, *lexer->at == '0' && is_digit(second) ? 8 : 10);
}

mlcc_status *ptx_next(ptx_lexer *lexer) {
    MLCC_TRY(skip_space(lexer));
    ptx_token *token = &lexer->token;
    *token = (ptx_token){.kind = PTX_TOKEN_END, .text = lexer->at, .line = lexer->line};
    if (lexer->at == lexer->end) return NULL;
    const char c = *lexer->at;
    const char second = lexer->end - lexer->at > 1 ? lexer->at[1] : ' ';
    if (is_digit(c)) {
        MLCC_TRY(take_number(lexer));
    } else if (is_letter(c) || ((c == '.' || c == '%') && is_letter(second))) {
        token->kind = PTX_TOKEN_WORD;
        do {
            lexer->at++;
        } while (lexer->at < lexer->end && (is_letter(*lexer->at) || is_digit(*lexer->at) ||
                                            (c == '%' && *lexer->at == '.')));
    } else if (c == '"') {
        token->kind = PTX_TOKEN_STRING;
        do {
            lexer->at++;
        } while (lexer->at < lexer->end && *lexer->at != '"' && *lexer->at != '\n');
        if (lexer->at == lexer->end || *lexer->at != '"')
            return MLCC_ERROR(INVALID, "PTX line %u: the string has no end", lexer->line);
        token->text++;
        token->length = (size_t)(lexer->at - token->text);
        lexer->at++;
        return NULL;
    } else if (c > ' ' && c < 127) {
        token->kind = PTX_TOKEN_SIGN;
        lexer->at++;
    } else {
        return MLCC_ERROR(
            INVALID, "PTX line %u: byte 0x%02x is no PTX", lexer->line, (unsigned)(unsigned char)c);
    }
    token->length = (size_t)(lexer->at - token->text);
    return NULL;
}

mlcc_status *ptx_lexer_start(ptx_lexer *lexer, const char *text, size_t length) {
    // NVRTC's text ends in a NUL that its size counts.
    while (length > 0 && text[length - 1] == '\0') length--;
    *lexer = (ptx_lexer){.at = text, .end = text + length, .line = 1};
    return ptx_next(lexer);
}

bool ptx_at_sign(const ptx_lexer *lexer, char sign) {
    return lexer->token.kind == PTX_TOKEN_SIGN && lexer->token.text[0] == sign;
}

bool ptx_at_word(const ptx_lexer *lexer, const char *word) {
    const ptx_token *token = &lexer->token;
    return token->kind == PTX_TOKEN_WORD && strlen(word) == token->length &&
           memcmp(word, token->text, token->length) == 0;
}

mlcc_status *ptx_expect(ptx_lexer *lexer, char sign) {
    const char expected[] = {'\'', sign, '\'', '\0'};
    if (!ptx_at_sign(lexer, sign)) return ptx_syntax(lexer, expected);
    return ptx_next(lexer);
}

mlcc_status *ptx_expect_word(ptx_lexer *lexer, const char **text, size_t *length) {
    if (lexer->token.kind != PTX_TOKEN_WORD) return ptx_syntax(lexer, "a name");
    *text = lexer->token.text;
    *length = lexer->token.length;
    return ptx_next(lexer);
}

mlcc_status *ptx_take_opcode(ptx_lexer *lexer, const char **text, size_t *length) {
    if (lexer->token.kind != PTX_TOKEN_WORD) return ptx_syntax(lexer, "an instruction");
    *text = lexer->token.text;
    while (lexer->at < lexer->end && (is_letter(*lexer->at) || is_digit(*lexer->at) ||
                                      *lexer->at == '.' || *lexer->at == ':'))
        lexer->at++;
    *length = (size_t)(lexer->at - *text);
    return ptx_next(lexer);
}

mlcc_status *ptx_skip_statement(ptx_lexer *lexer) {
    int depth = 0;
    for (;;) {
        if (lexer->token.kind == PTX_TOKEN_END) return ptx_syntax(lexer, "';'");
        if (ptx_at_sign(lexer, '{')) depth++;
        if (ptx_at_sign(lexer, '}')) depth--;
        if (depth < 0) return ptx_syntax(lexer, "';'");
        const bool is_last = depth == 0 && ptx_at_sign(lexer, ';');
        MLCC_TRY(ptx_next(lexer));
        if (is_last) return NULL;
    }
}
