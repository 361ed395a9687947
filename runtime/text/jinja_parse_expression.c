// Expressions, from "b if a else c" down to names and constants, with jinja2's precedences (parser.py).
#include "runtime/text/jinja_builtin.h"
#include "runtime/text/jinja_tree.h"

#include <string.h>

static void operand_push(jinja_parser *p, jinja_node *compare, int operator_, jinja_node *operand) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_OPERAND);
    node->operator_ = operator_;
    node->a = operand;
    mlcc_jinja_node_push(p, &compare->list, node);
}

static jinja_node *binary(
    jinja_parser *p, jinja_node_kind kind, int operator_, jinja_node *a, jinja_node *b) {
    jinja_node *node = mlcc_jinja_node(p, kind);
    node->operator_ = operator_;
    node->a = a;
    node->b = b;
    return node;
}

// ---- arguments ---------------------------------------------------------------------------------------------------

static void parse_argument(jinja_parser *p, jinja_node *call) {
    if (mlcc_jinja_skip_operator(p, '*')) {
        call->more_arguments = mlcc_jinja_parse_expression(p, true);
        return;
    }
    if (mlcc_jinja_skip_operator(p, JINJA_POWER)) {
        call->more_named = mlcc_jinja_parse_expression(p, true);
        return;
    }
    const char *name = NULL;
    bool is_named = p->at->kind == JINJA_T_NAME && p->at[1].kind == JINJA_T_OPERATOR &&
                    p->at[1].operator_ == '=';
    if (is_named) {
        name = p->at->name;
        p->at += 2;
    } else if (call->arguments.n != 0 && call->names[call->arguments.n - 1] != NULL) {
        mlcc_jinja_unexpected(p, "a named argument, as the one before");
    }
    if (call->arguments.n == call->arguments.capacity) { // the names grow with the arguments
        size_t capacity = call->arguments.n == 0 ? 4 : call->arguments.n * 2;
        const char **names = mlcc_jinja_alloc(p->room, capacity, sizeof *names);
        if (call->arguments.n != 0) memcpy(names, call->names, call->arguments.n * sizeof *names);
        call->names = names;
    }
    call->names[call->arguments.n] = name;
    mlcc_jinja_node_push(p, &call->arguments, mlcc_jinja_parse_expression(p, true));
}

static void parse_arguments(jinja_parser *p, jinja_node *call) {
    mlcc_jinja_expect_operator(p, '(');
    while (!mlcc_jinja_is_operator(p, ')')) {
        parse_argument(p, call);
        if (!mlcc_jinja_is_operator(p, ')')) mlcc_jinja_expect_operator(p, ',');
    }
    mlcc_jinja_expect_operator(p, ')');
}

// ---- primary -----------------------------------------------------------------------------------------------------

static jinja_node *constant(jinja_parser *p, jinja_value value) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_CONST);
    node->value = value;
    return node;
}

static jinja_node *parse_name(jinja_parser *p) {
    static const struct {
        const char *name;
        jinja_kind kind;
        bool value;
    } words[] = {{"true", JINJA_BOOL, true},   {"True", JINJA_BOOL, true},
                 {"false", JINJA_BOOL, false}, {"False", JINJA_BOOL, false},
                 {"none", JINJA_NONE, false},  {"None", JINJA_NONE, false}};
    const char *name = mlcc_jinja_expect_name(p);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].name, name) == 0)
            return constant(
                p,
                words[i].kind == JINJA_BOOL ? mlcc_jinja_bool(words[i].value) : mlcc_jinja_none());
    jinja_node *node = mlcc_jinja_node(p, JINJA_NAME);
    node->name = name;
    if (p->macro != NULL) {
        p->macro->uses_caller |= strcmp(name, "caller") == 0;
        p->macro->uses_varargs |= strcmp(name, "varargs") == 0;
        p->macro->uses_kwargs |= strcmp(name, "kwargs") == 0;
    }
    return node;
}

static jinja_node *parse_constant(jinja_parser *p) {
    jinja_value value = p->at++->value;
    if (value.kind != JINJA_STRING || p->at->kind != JINJA_T_CONST ||
        p->at->value.kind != JINJA_STRING)
        return constant(p, value);
    jinja_builder b = {.room = p->room}; // "a" "b" is one string
    mlcc_jinja_put_string(&b, value.as.string);
    while (p->at->kind == JINJA_T_CONST && p->at->value.kind == JINJA_STRING)
        mlcc_jinja_put_string(&b, p->at++->value.as.string);
    return constant(p, mlcc_jinja_finish(&b));
}

static jinja_node *parse_list(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_LIST_OF);
    mlcc_jinja_expect_operator(p, '[');
    while (!mlcc_jinja_is_operator(p, ']')) {
        mlcc_jinja_node_push(p, &node->list, mlcc_jinja_parse_expression(p, true));
        if (!mlcc_jinja_is_operator(p, ']')) mlcc_jinja_expect_operator(p, ',');
    }
    mlcc_jinja_expect_operator(p, ']');
    return node;
}

static jinja_node *parse_dict(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_DICT_OF);
    mlcc_jinja_expect_operator(p, '{');
    while (!mlcc_jinja_is_operator(p, '}')) {
        mlcc_jinja_node_push(p, &node->list, mlcc_jinja_parse_expression(p, true));
        mlcc_jinja_expect_operator(p, ':');
        mlcc_jinja_node_push(p, &node->list, mlcc_jinja_parse_expression(p, true));
        if (!mlcc_jinja_is_operator(p, '}')) mlcc_jinja_expect_operator(p, ',');
    }
    mlcc_jinja_expect_operator(p, '}');
    return node;
}

static jinja_node *parse_primary(jinja_parser *p) {
    if (p->at->kind == JINJA_T_NAME) return parse_name(p);
    if (p->at->kind == JINJA_T_CONST) return parse_constant(p);
    if (mlcc_jinja_is_operator(p, '[')) return parse_list(p);
    if (mlcc_jinja_is_operator(p, '{')) return parse_dict(p);
    if (!mlcc_jinja_is_operator(p, '(')) mlcc_jinja_unexpected(p, "an expression");
    mlcc_jinja_expect_operator(p, '(');
    jinja_node *node = mlcc_jinja_parse_tuple(p, true, true);
    mlcc_jinja_expect_operator(p, ')');
    return node;
}

// ---- postfix -----------------------------------------------------------------------------------------------------

static jinja_node *parse_call(jinja_parser *p, jinja_node *of) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_CALL);
    node->a = of;
    parse_arguments(p, node);
    return node;
}

// What stands between brackets: an index, or a slice with up to three parts.
static jinja_node *parse_index(jinja_parser *p, jinja_node *of) {
    jinja_node *parts[3] = {NULL, NULL, NULL};
    size_t n = 0;
    bool is_slice = false;
    while (!mlcc_jinja_is_operator(p, ']') && !mlcc_jinja_is_operator(p, ',')) {
        if (mlcc_jinja_skip_operator(p, ':')) {
            is_slice = true;
            if (++n > 2) mlcc_jinja_unexpected(p, "']'");
        } else if (parts[n] == NULL) {
            parts[n] = mlcc_jinja_parse_expression(p, true);
        } else {
            mlcc_jinja_unexpected(p, "']'");
        }
    }
    if (!is_slice && parts[0] == NULL) mlcc_jinja_unexpected(p, "an index");
    jinja_node *node = binary(p, is_slice ? JINJA_SLICE : JINJA_ITEM, 0, of, parts[0]);
    for (size_t i = 0; is_slice && i < 3; i++) mlcc_jinja_node_push(p, &node->list, parts[i]);
    if (!is_slice && mlcc_jinja_is_operator(p, ',')) { // x[a, b]: the index is a tuple
        jinja_node *tuple = mlcc_jinja_node(p, JINJA_TUPLE_OF);
        mlcc_jinja_node_push(p, &tuple->list, parts[0]);
        while (mlcc_jinja_skip_operator(p, ','))
            mlcc_jinja_node_push(p, &tuple->list, mlcc_jinja_parse_expression(p, true));
        node->b = tuple;
    }
    return node;
}

static jinja_node *parse_subscript(jinja_parser *p, jinja_node *of) {
    if (mlcc_jinja_skip_operator(p, '[')) {
        jinja_node *node = parse_index(p, of);
        mlcc_jinja_expect_operator(p, ']');
        return node;
    }
    mlcc_jinja_expect_operator(p, '.');
    if (p->at->kind == JINJA_T_CONST && p->at->value.kind == JINJA_INT)
        return binary(p, JINJA_ITEM, 0, of, parse_constant(p));
    jinja_node *node = mlcc_jinja_node(p, JINJA_ATTRIBUTE);
    node->a = of;
    node->name = mlcc_jinja_expect_name(p);
    node->value = mlcc_jinja_text(p->room, node->name);
    return node;
}

static jinja_node *parse_postfix(jinja_parser *p, jinja_node *node) {
    for (;;) {
        if (mlcc_jinja_is_operator(p, '.') || mlcc_jinja_is_operator(p, '[')) {
            node = parse_subscript(p, node);
        } else if (mlcc_jinja_is_operator(p, '(')) {
            node = parse_call(p, node);
        } else {
            return node;
        }
    }
}

static jinja_node *parse_filter(jinja_parser *p, jinja_node *of) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_FILTER);
    node->a = of;
    node->name = mlcc_jinja_expect_name(p);
    node->builtin = mlcc_jinja_find_filter(node->name);
    if (mlcc_jinja_is_operator(p, '(')) parse_arguments(p, node);
    return node;
}

jinja_node *mlcc_jinja_parse_filters(jinja_parser *p, jinja_node *of, bool is_inline) {
    jinja_node *node = is_inline ? parse_filter(p, of) : of;
    while (mlcc_jinja_skip_operator(p, '|')) node = parse_filter(p, node);
    return node;
}

static jinja_node *parse_test(jinja_parser *p, jinja_node *of) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_TEST);
    node->a = of;
    node->is_negated = mlcc_jinja_skip_name(p, "not");
    node->name = mlcc_jinja_expect_name(p);
    node->builtin = mlcc_jinja_find_test(node->name);
    jinja_token_kind kind = p->at->kind;
    bool has_argument =
        kind == JINJA_T_CONST || mlcc_jinja_is_operator(p, '[') || mlcc_jinja_is_operator(p, '{') ||
        (kind == JINJA_T_NAME && !mlcc_jinja_is_name(p, "else") && !mlcc_jinja_is_name(p, "or") &&
         !mlcc_jinja_is_name(p, "and") && !mlcc_jinja_is_name(p, "is") &&
         !mlcc_jinja_is_name(p, "if") && !mlcc_jinja_is_name(p, "recursive"));
    if (mlcc_jinja_is_operator(p, '(')) {
        parse_arguments(p, node);
    } else if (has_argument) {
        node->names = mlcc_jinja_alloc(p->room, 1, sizeof *node->names);
        mlcc_jinja_node_push(p, &node->arguments, parse_postfix(p, parse_primary(p)));
    }
    return node;
}

jinja_node *mlcc_jinja_parse_unary(jinja_parser *p, bool with_filter) {
    mlcc_jinja_enter(p->room);
    jinja_node *node;
    if (mlcc_jinja_is_operator(p, '-') || mlcc_jinja_is_operator(p, '+')) {
        int operator_ = p->at++->operator_;
        node = mlcc_jinja_node(p, JINJA_UNARY);
        node->operator_ = operator_;
        node->a = mlcc_jinja_parse_unary(p, false);
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    while (with_filter) {
        if (mlcc_jinja_is_operator(p, '|')) {
            node = mlcc_jinja_parse_filters(p, node, false);
        } else if (mlcc_jinja_skip_name(p, "is")) {
            node = parse_test(p, node);
        } else if (mlcc_jinja_is_operator(p, '(')) {
            node = parse_call(p, node);
        } else {
            break;
        }
    }
    mlcc_jinja_leave(p->room);
    return node;
}

// ---- operators, tightest first -----------------------------------------------------------------------------------

static jinja_node *parse_power(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_parse_unary(p, true);
    while (mlcc_jinja_skip_operator(p, JINJA_POWER))
        node = binary(p, JINJA_BINARY, JINJA_POWER, node, mlcc_jinja_parse_unary(p, true));
    return node;
}

static jinja_node *parse_product(jinja_parser *p) {
    jinja_node *node = parse_power(p);
    while (mlcc_jinja_is_operator(p, '*') || mlcc_jinja_is_operator(p, '/') ||
           mlcc_jinja_is_operator(p, '%') || mlcc_jinja_is_operator(p, JINJA_FLOOR_DIV)) {
        int operator_ = p->at++->operator_;
        node = binary(p, JINJA_BINARY, operator_, node, parse_power(p));
    }
    return node;
}

static jinja_node *parse_concat(jinja_parser *p) {
    jinja_node *first = parse_product(p);
    if (!mlcc_jinja_is_operator(p, '~')) return first;
    jinja_node *node = mlcc_jinja_node(p, JINJA_CONCAT);
    mlcc_jinja_node_push(p, &node->list, first);
    while (mlcc_jinja_skip_operator(p, '~')) mlcc_jinja_node_push(p, &node->list, parse_product(p));
    return node;
}

static jinja_node *parse_sum(jinja_parser *p) {
    jinja_node *node = parse_concat(p);
    while (mlcc_jinja_is_operator(p, '+') || mlcc_jinja_is_operator(p, '-')) {
        int operator_ = p->at++->operator_;
        node = binary(p, JINJA_BINARY, operator_, node, parse_concat(p));
    }
    return node;
}

static int comparison_at(jinja_parser *p) {
    static const int operators[] = {JINJA_EQ, JINJA_NE, '<', JINJA_LE, '>', JINJA_GE};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (mlcc_jinja_skip_operator(p, operators[i])) return operators[i];
    if (mlcc_jinja_skip_name(p, "in")) return 'i';
    bool is_not_in = mlcc_jinja_is_name(p, "not") && p->at[1].kind == JINJA_T_NAME &&
                     strcmp(p->at[1].name, "in") == 0;
    if (is_not_in) p->at += 2;
    return is_not_in ? 'x' : 0;
}

static jinja_node *parse_compare(jinja_parser *p) {
    jinja_node *first = parse_sum(p);
    jinja_node *node = NULL;
    for (int operator_; (operator_ = comparison_at(p)) != 0;) {
        if (node == NULL) {
            node = mlcc_jinja_node(p, JINJA_COMPARE);
            node->a = first;
        }
        operand_push(p, node, operator_, parse_sum(p));
    }
    return node == NULL ? first : node;
}

static jinja_node *parse_not(jinja_parser *p) {
    if (!mlcc_jinja_skip_name(p, "not")) return parse_compare(p);
    mlcc_jinja_enter(p->room);
    jinja_node *node = mlcc_jinja_node(p, JINJA_UNARY);
    node->operator_ = 'n';
    node->a = parse_not(p);
    mlcc_jinja_leave(p->room);
    return node;
}

static jinja_node *parse_and(jinja_parser *p) {
    jinja_node *node = parse_not(p);
    while (mlcc_jinja_skip_name(p, "and")) node = binary(p, JINJA_AND, 0, node, parse_not(p));
    return node;
}

static jinja_node *parse_or(jinja_parser *p) {
    jinja_node *node = parse_and(p);
    while (mlcc_jinja_skip_name(p, "or")) node = binary(p, JINJA_OR, 0, node, parse_and(p));
    return node;
}

jinja_node *mlcc_jinja_parse_expression(jinja_parser *p, bool with_condition) {
    mlcc_jinja_enter(p->room);
    jinja_node *node = parse_or(p);
    while (with_condition && mlcc_jinja_skip_name(p, "if")) {
        jinja_node *choice = mlcc_jinja_node(p, JINJA_CONDITION);
        choice->b = node;
        choice->a = parse_or(p);
        if (mlcc_jinja_skip_name(p, "else")) choice->c = mlcc_jinja_parse_expression(p, true);
        node = choice;
    }
    mlcc_jinja_leave(p->room);
    return node;
}

static bool is_tuple_end(const jinja_parser *p) {
    return p->at->kind == JINJA_T_BLOCK_END || p->at->kind == JINJA_T_PRINT_END ||
           mlcc_jinja_is_operator(p, ')') || mlcc_jinja_is_name(p, "recursive");
}

jinja_node *mlcc_jinja_parse_tuple(jinja_parser *p, bool with_condition, bool in_parentheses) {
    if (is_tuple_end(p)) {
        if (!in_parentheses) mlcc_jinja_unexpected(p, "an expression");
        return mlcc_jinja_node(p, JINJA_TUPLE_OF);
    }
    jinja_node *first = mlcc_jinja_parse_expression(p, with_condition);
    if (!mlcc_jinja_is_operator(p, ',')) return first;
    jinja_node *tuple = mlcc_jinja_node(p, JINJA_TUPLE_OF);
    mlcc_jinja_node_push(p, &tuple->list, first);
    while (mlcc_jinja_skip_operator(p, ',') && !is_tuple_end(p))
        mlcc_jinja_node_push(p, &tuple->list, mlcc_jinja_parse_expression(p, with_condition));
    return tuple;
}
