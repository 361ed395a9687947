// parse: what the two halves of the parser share: parse.c reads modules, parse_function.c functions
// and nodes.
#ifndef MLCC_IR_PARSE_H
#define MLCC_IR_PARSE_H

#include "ir/ir.h"
#include "ir/lex.h"
#include "runtime/base/map.h"

enum {
    PARSE_MAX_TEXT_BYTES = 64 << 20,
    PARSE_MAX_NODES = 1000000,
    PARSE_MAX_CONST_ELEMENTS = 4000000,
    PARSE_MAX_FUNCTIONS = 4096,
};

typedef struct parser {
    lexer lex;
    ir_module *module;
    mlcc_map *symbols;   // name → address
    mlcc_map *globals;   // params and constants: name → address of the value
    mlcc_map *functions; // name → 1
    int64_t n_nodes;
    int64_t n_const_elements;
} parser;

mlcc_status *parse_type(parser *p, ir_type *out);
// "is defined twice", at the place of `token`.
mlcc_status *parse_error_taken(const parser *p, const lex_token *token, const char *what);
// One function, from the token after `func` or `group`.
mlcc_status *parse_function(parser *p, bool is_group);

#endif
