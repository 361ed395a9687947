// jinja_tree: a template as tokens, then as a tree. Made once, never changed afterwards, read by any number of renderings.
//
// The grammar is jinja2 3.1's (lexer.py, parser.py) with the settings of transformers: trim_blocks, lstrip_blocks, loopcontrols, and
// {% generation %}. Template inheritance, imports and extensions other than these are refused by name: a chat template stands alone.
#ifndef MLCC_RUNTIME_TEXT_JINJA_TREE_H
#define MLCC_RUNTIME_TEXT_JINJA_TREE_H

#include "runtime/text/jinja_value.h"

// ---- tokens ------------------------------------------------------------------------------------------------------

typedef enum jinja_token_kind {
    JINJA_T_END, // of the template
    JINJA_T_DATA,
    JINJA_T_BLOCK_BEGIN,
    JINJA_T_BLOCK_END,
    JINJA_T_PRINT_BEGIN,
    JINJA_T_PRINT_END,
    JINJA_T_NAME,
    JINJA_T_CONST, // string, integer or float
    JINJA_T_OPERATOR,
} jinja_token_kind;

// Operators of one character are that character.
enum { JINJA_FLOOR_DIV = 128, JINJA_POWER, JINJA_EQ, JINJA_NE, JINJA_GE, JINJA_LE };

typedef struct jinja_token {
    jinja_token_kind kind;
    int operator_;
    int line;
    const char *name; // NUL-terminated
    jinja_value value;
    const char *data;
    size_t length;
} jinja_token;

typedef struct jinja_tokens {
    jinja_token *items; // the last is JINJA_T_END
    size_t n, capacity;
} jinja_tokens;

void mlcc_jinja_lex(jinja_room *room, const char *text, size_t length, jinja_tokens *out);

// ---- tree --------------------------------------------------------------------------------------------------------

typedef enum jinja_node_kind {
    // statements                 a, b, c; list
    JINJA_DATA,         //        value
    JINJA_PRINT,        //        a
    JINJA_IF,           //        a ? list : c (a statement list, or NULL)
    JINJA_FOR,          //        target a, iterable b, filter c; body list; otherwise; is_recursive
    JINJA_SET,          //        target a, value b
    JINJA_SET_BLOCK,    //        target a, filters b over the body (or NULL); list
    JINJA_MACRO_DEF,    //        macro
    JINJA_CALL_BLOCK,   //        call a, macro
    JINJA_FILTER_BLOCK, //        filters a; list
    JINJA_WITH,         //        pairs: targets and values in turns; list
    JINJA_SCOPE,        //        list, in a scope of its own ({% generation %})
    JINJA_BREAK,
    JINJA_CONTINUE,
    JINJA_BODY, //                list
    // expressions
    JINJA_CONST,
    JINJA_NAME,      // name
    JINJA_TARGET_NS, // name.attribute as a target: name, value holds the attribute
    JINJA_LIST_OF,   // list
    JINJA_TUPLE_OF,  // list
    JINJA_DICT_OF,   // list: keys and values in turns
    JINJA_UNARY,     // operator 'n' (not), '-', '+'; a
    JINJA_BINARY,    // operator; a, b
    JINJA_AND,
    JINJA_OR,
    JINJA_CONCAT,    // list
    JINJA_COMPARE,   // a; list of JINJA_OPERAND
    JINJA_OPERAND,   // operator ('i' in, 'x' not in, '<', …); a
    JINJA_ATTRIBUTE, // a, name
    JINJA_ITEM,      // a, b
    JINJA_SLICE,     // of a: list[3], entries may be NULL
    JINJA_CALL,      // a; arguments
    JINJA_FILTER,    // a (NULL: the body of a block), name, builtin; arguments
    JINJA_TEST,      // a, name, builtin; arguments; is_negated
    JINJA_CONDITION, // b if a else c (or NULL)
} jinja_node_kind;

typedef struct jinja_node jinja_node;

typedef struct jinja_nodes {
    jinja_node **items;
    size_t n, capacity;
} jinja_nodes;

typedef struct jinja_macro {
    const char *name;
    jinja_nodes parameters, defaults; // of the last n parameters
    jinja_nodes body;
    bool uses_caller, uses_varargs, uses_kwargs;
} jinja_macro;

struct jinja_node {
    jinja_node_kind kind;
    int operator_;
    int line;
    bool is_recursive, is_negated;
    const char *name;
    jinja_value value;
    jinja_node *a, *b, *c;
    jinja_nodes list;
    jinja_nodes otherwise; // for … else
    jinja_nodes arguments; // positional, then named ones: names[i] is NULL for positional
    const char **names;
    jinja_node *more_arguments, *more_named; // *args, **kwargs
    const jinja_builtin *builtin;            // NULL: no such filter or test
    jinja_macro *macro;
};

// ---- parser ------------------------------------------------------------------------------------------------------

typedef struct jinja_parser {
    jinja_room *room;
    jinja_token *at;
    jinja_macro *macro; // the innermost macro around, or NULL
    size_t n_loops;     // loops around, inside the macro
} jinja_parser;

void mlcc_jinja_parse(jinja_room *room, const char *text, size_t length, jinja_nodes *out);

// Shared by the two halves of the parser.
jinja_node *mlcc_jinja_node(jinja_parser *parser, jinja_node_kind kind);
void mlcc_jinja_node_push(jinja_parser *parser, jinja_nodes *nodes, jinja_node *node);
bool mlcc_jinja_is_name(const jinja_parser *parser, const char *name);
bool mlcc_jinja_is_operator(const jinja_parser *parser, int operator_);
bool mlcc_jinja_skip_name(jinja_parser *parser, const char *name);
bool mlcc_jinja_skip_operator(jinja_parser *parser, int operator_);
void mlcc_jinja_expect_operator(jinja_parser *parser, int operator_);
const char *mlcc_jinja_expect_name(jinja_parser *parser);
_Noreturn void mlcc_jinja_unexpected(jinja_parser *parser, const char *expected);
jinja_node *mlcc_jinja_parse_expression(jinja_parser *parser, bool with_condition);
// Expressions with commas between them are a tuple.
jinja_node *mlcc_jinja_parse_tuple(jinja_parser *parser, bool with_condition, bool in_parentheses);
jinja_node *mlcc_jinja_parse_unary(jinja_parser *parser, bool with_filter);
jinja_node *mlcc_jinja_parse_filters(jinja_parser *parser, jinja_node *of, bool is_inline);

#endif
