// ptx_lex: PTX text as tokens. Words may start with '.', '%', '$' or '_'; after '%' they may contain dots ("%tid.x"). Comments are skipped.
#ifndef MLCC_TESTS_PTX_PTX_LEX_H
#define MLCC_TESTS_PTX_PTX_LEX_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ptx_token_kind {
    PTX_TOKEN_END,
    PTX_TOKEN_WORD,
    PTX_TOKEN_INTEGER, // value
    PTX_TOKEN_F32,     // value: the bits
    PTX_TOKEN_F64,
    PTX_TOKEN_STRING, // text without the quotes
    PTX_TOKEN_SIGN    // one character: text[0]
} ptx_token_kind;

typedef struct ptx_token {
    ptx_token_kind kind;
    const char *text; // in the module's text
    size_t length;
    uint64_t value;
    uint32_t line;
} ptx_token;

typedef struct ptx_lexer {
    const char *at, *end;
    uint32_t line;
    ptx_token token; // the current one
} ptx_lexer;

mlcc_status *ptx_lexer_start(ptx_lexer *lexer, const char *text, size_t length);
mlcc_status *ptx_next(ptx_lexer *lexer);
bool ptx_at_sign(const ptx_lexer *lexer, char sign);
bool ptx_at_word(const ptx_lexer *lexer, const char *word);
// Takes the sign and goes on, or INVALID that says what was found.
mlcc_status *ptx_expect(ptx_lexer *lexer, char sign);
// The current token must be a word, which is taken.
mlcc_status *ptx_expect_word(ptx_lexer *lexer, const char **text, size_t *length);
// An instruction's name, "ld.global.nc.L1::no_allocate.v4.u32": the current word and what follows it without a space.
mlcc_status *ptx_take_opcode(ptx_lexer *lexer, const char **text, size_t *length);
// Skips to behind the next ';' of this nesting of braces.
mlcc_status *ptx_skip_statement(ptx_lexer *lexer);
// INVALID, with the current line and what stands there.
mlcc_status *ptx_syntax(const ptx_lexer *lexer, const char *expected);

#endif
