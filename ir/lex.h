// lex: .mlcir text as tokens, with places for messages. One token of look-ahead is all the grammar
// needs; newlines are space.
#ifndef MLCC_IR_LEX_H
#define MLCC_IR_LEX_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lex_kind {
    LEX_END,
    LEX_WORD,     // name of an op, dtype, keyword, symbol, attribute: [A-Za-z_][A-Za-z0-9_./-]*
    LEX_VALUE,    // %name or %"name"
    LEX_NUMBERED, // %12, a result
    LEX_GLOBAL,   // @name or @"name"
    LEX_STRING,   // "text"
    LEX_NUMBER,   // 12, -3, 1.5e-05, -inf, 0x7fc00001; `text` is as written
    LEX_SIGN,     // one of = : , [ ] ( ) { } < - and "<=", in `text`
} lex_kind;

typedef struct lex_token {
    lex_kind kind;
    // Without sigil and quotes, escapes resolved; NUL-terminated, lives in `scratch`. A number's
    // text is there until the next number.
    const char *text;
    bool quoted; // written in quotes
    int32_t line, column;
} lex_token;

typedef struct lexer {
    const char *text, *end, *at, *line_start;
    int32_t line;
    const char *what; // names the text in messages
    mlcc_arena *scratch;
    lex_token token; // the current one
    char number[64];
} lexer;

// Stands on the first token afterwards.
mlcc_status *lex_start(
    lexer *lex, const char *text, size_t length, const char *what, mlcc_arena *scratch);
mlcc_status *lex_next(lexer *lex);
// Adds "while reading what:line:column" to a status (made in the caller's words) for the current
// token.
mlcc_status *lex_place(const lexer *lex, mlcc_status *status);
mlcc_status *lex_place_at(const lexer *lex, const lex_token *token, mlcc_status *status);
// "expected EXPECTED, found 'x'", with its place.
mlcc_status *lex_expected(const lexer *lex, const char *expected);

bool lex_is_sign(const lexer *lex, const char *sign);
bool lex_is_word(const lexer *lex, const char *word);
// Moves on if the current token is that sign or word; an error otherwise.
mlcc_status *lex_need_sign(lexer *lex, const char *sign);
mlcc_status *lex_need_word(lexer *lex, const char *word);
// Moves on and sets *found if the current token is that sign or word.
mlcc_status *lex_take_sign(lexer *lex, const char *sign, bool *found);
mlcc_status *lex_take_word(lexer *lex, const char *word, bool *found);
mlcc_status *lex_need_i64(lexer *lex, const char *expected, int64_t min, int64_t max, int64_t *out);
mlcc_status *lex_need_f64(lexer *lex, const char *expected, double *out);
mlcc_status *lex_need_string(lexer *lex, const char *expected, const char **out);

// Whether a name may stand after its sigil without quotes.
bool lex_is_plain_name(const char *name);

#endif
