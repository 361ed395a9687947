// Statements: what stands between {% and %}, with the bodies up to their end tags (parser.py).
#include "runtime/text/jinja_tree.h"

#include <stdio.h>
#include <string.h>

// ---- shared with the expressions ---------------------------------------------------------------------------------

jinja_node *mlcc_jinja_node(jinja_parser *p, jinja_node_kind kind) {
    jinja_node *node = mlcc_jinja_alloc(p->room, 1, sizeof *node);
    node->kind = kind;
    node->line = p->at->line;
    return node;
}

void mlcc_jinja_node_push(jinja_parser *p, jinja_nodes *nodes, jinja_node *node) {
    if (nodes->n == nodes->capacity) {
        size_t capacity = nodes->capacity == 0 ? 4 : nodes->capacity * 2;
        jinja_node **items = mlcc_jinja_alloc(p->room, capacity, sizeof *items);
        if (nodes->n != 0) memcpy(items, nodes->items, nodes->n * sizeof *items);
        nodes->items = items;
        nodes->capacity = capacity;
    }
    nodes->items[nodes->n++] = node;
}

bool mlcc_jinja_is_name(const jinja_parser *p, const char *name) {
    return p->at->kind == JINJA_T_NAME && strcmp(p->at->name, name) == 0;
}

bool mlcc_jinja_is_operator(const jinja_parser *p, int operator_) {
    return p->at->kind == JINJA_T_OPERATOR && p->at->operator_ == operator_;
}

bool mlcc_jinja_skip_name(jinja_parser *p, const char *name) {
    bool is_it = mlcc_jinja_is_name(p, name);
    p->at += is_it;
    return is_it;
}

bool mlcc_jinja_skip_operator(jinja_parser *p, int operator_) {
    bool is_it = mlcc_jinja_is_operator(p, operator_);
    p->at += is_it;
    return is_it;
}

void mlcc_jinja_unexpected(jinja_parser *p, const char *expected) {
    static const char *const kinds[] = {
        [JINJA_T_END] = "the end of the template",
        [JINJA_T_DATA] = "text",
        [JINJA_T_BLOCK_BEGIN] = "'{%'",
        [JINJA_T_BLOCK_END] = "'%}'",
        [JINJA_T_PRINT_BEGIN] = "'{{'",
        [JINJA_T_PRINT_END] = "'}}'",
        [JINJA_T_NAME] = "",
        [JINJA_T_CONST] = "a constant",
        [JINJA_T_OPERATOR] = "",
    };
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    char found[100];
    const jinja_token *at = p->at;
    if (at->kind == JINJA_T_NAME) {
        snprintf(found, sizeof found, "'%.80s'", at->name);
    } else if (at->kind == JINJA_T_OPERATOR && at->operator_ >= JINJA_FLOOR_DIV) {
        snprintf(found, sizeof found, "'%s'", pairs[at->operator_ - JINJA_FLOOR_DIV]);
    } else if (at->kind == JINJA_T_OPERATOR) {
        snprintf(found, sizeof found, "'%c'", (char)at->operator_);
    } else {
        snprintf(found, sizeof found, "%s", kinds[at->kind]);
    }
    p->room->line = at->line;
    mlcc_jinja_fail(p->room, MLCC_INVALID, "found %s where %s is expected", found, expected);
}

void mlcc_jinja_expect_operator(jinja_parser *p, int operator_) {
    char text[8];
    snprintf(text, sizeof text, "'%c'", (char)operator_);
    if (!mlcc_jinja_skip_operator(p, operator_)) mlcc_jinja_unexpected(p, text);
}

const char *mlcc_jinja_expect_name(jinja_parser *p) {
    if (p->at->kind != JINJA_T_NAME) mlcc_jinja_unexpected(p, "a name");
    return p->at++->name;
}

static void expect(jinja_parser *p, jinja_token_kind kind, const char *text) {
    if (p->at->kind != kind) mlcc_jinja_unexpected(p, text);
    p->at++;
}

static void expect_block_end(jinja_parser *p) {
    expect(p, JINJA_T_BLOCK_END, "'%}'");
}

// ---- bodies ------------------------------------------------------------------------------------------------------

static void parse_statement(jinja_parser *p, jinja_nodes *out);

static bool is_one_of(const jinja_parser *p, const char *const *names) {
    for (size_t i = 0; names[i] != NULL; i++)
        if (mlcc_jinja_is_name(p, names[i])) return true;
    return false;
}

// Everything up to a tag whose first word is in `ends` (NULL-terminated; {NULL}: the end of the template). Stops at that word.
static void parse_body(jinja_parser *p, const char *const *ends, jinja_nodes *out) {
    mlcc_jinja_enter(p->room);
    for (;;) {
        jinja_token_kind kind = p->at->kind;
        if (kind == JINJA_T_END) {
            if (ends[0] == NULL) break;
            char text[100];
            snprintf(text, sizeof text, "{%% %s %%}", ends[0]);
            mlcc_jinja_unexpected(p, text);
        }
        if (kind == JINJA_T_DATA) {
            jinja_node *node = mlcc_jinja_node(p, JINJA_DATA);
            node->value = mlcc_jinja_text_n(p->room, p->at->data, p->at->length, false);
            p->at++;
            mlcc_jinja_node_push(p, out, node);
        } else if (kind == JINJA_T_PRINT_BEGIN) {
            jinja_node *node = mlcc_jinja_node(p, JINJA_PRINT);
            p->at++;
            node->a = mlcc_jinja_parse_tuple(p, true, false);
            expect(p, JINJA_T_PRINT_END, "'}}'");
            mlcc_jinja_node_push(p, out, node);
        } else {
            expect(p, JINJA_T_BLOCK_BEGIN, "'{%'");
            if (is_one_of(p, ends)) break;
            parse_statement(p, out);
        }
    }
    mlcc_jinja_leave(p->room);
}

static void parse_block(jinja_parser *p, const char *end, jinja_nodes *out) {
    parse_body(p, (const char *[]){end, NULL}, out);
    p->at++;
    expect_block_end(p);
}

// ---- targets -----------------------------------------------------------------------------------------------------

static jinja_node *parse_one_target(jinja_parser *p, bool with_namespace) {
    if (mlcc_jinja_skip_operator(p, '(')) {
        jinja_node *tuple = mlcc_jinja_node(p, JINJA_TUPLE_OF);
        while (!mlcc_jinja_is_operator(p, ')')) {
            mlcc_jinja_node_push(p, &tuple->list, parse_one_target(p, with_namespace));
            if (!mlcc_jinja_is_operator(p, ')')) mlcc_jinja_expect_operator(p, ',');
        }
        p->at++;
        return tuple;
    }
    jinja_node *node = mlcc_jinja_node(p, JINJA_NAME);
    node->name = mlcc_jinja_expect_name(p);
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None", NULL};
    for (size_t i = 0; reserved[i] != NULL; i++)
        if (strcmp(node->name, reserved[i]) == 0)
            mlcc_jinja_fail(p->room, MLCC_INVALID, "cannot assign to '%s'", node->name);
    if (with_namespace && mlcc_jinja_skip_operator(p, '.')) {
        node->kind = JINJA_TARGET_NS;
        node->value = mlcc_jinja_text(p->room, mlcc_jinja_expect_name(p));
    }
    return node;
}

static jinja_node *parse_target(jinja_parser *p, bool with_namespace) {
    p->room->line = p->at->line;
    jinja_node *first = parse_one_target(p, with_namespace);
    if (!mlcc_jinja_is_operator(p, ',')) return first;
    jinja_node *tuple = mlcc_jinja_node(p, JINJA_TUPLE_OF);
    mlcc_jinja_node_push(p, &tuple->list, first);
    while (mlcc_jinja_skip_operator(p, ',')) {
        if (mlcc_jinja_is_operator(p, '=') || mlcc_jinja_is_name(p, "in") ||
            p->at->kind == JINJA_T_BLOCK_END)
            break;
        mlcc_jinja_node_push(p, &tuple->list, parse_one_target(p, with_namespace));
    }
    return tuple;
}

// ---- statements --------------------------------------------------------------------------------------------------

static jinja_node *parse_if(jinja_parser *p) {
    jinja_node *first = mlcc_jinja_node(p, JINJA_IF);
    jinja_node *node = first;
    for (;;) {
        node->a = mlcc_jinja_parse_tuple(p, false, false);
        expect_block_end(p);
        parse_body(p, (const char *[]){"elif", "else", "endif", NULL}, &node->list);
        if (!mlcc_jinja_skip_name(p, "elif")) break;
        node = node->c = mlcc_jinja_node(p, JINJA_IF);
    }
    if (mlcc_jinja_skip_name(p, "else")) {
        expect_block_end(p);
        node->c = mlcc_jinja_node(p, JINJA_BODY);
        parse_body(p, (const char *[]){"endif", NULL}, &node->c->list);
    }
    p->at++;
    expect_block_end(p);
    return first;
}

static jinja_node *parse_for(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_FOR);
    node->a = parse_target(p, false);
    if (!mlcc_jinja_skip_name(p, "in")) mlcc_jinja_unexpected(p, "'in'");
    node->b = mlcc_jinja_parse_tuple(p, false, false);
    if (mlcc_jinja_skip_name(p, "if")) node->c = mlcc_jinja_parse_expression(p, true);
    node->is_recursive = mlcc_jinja_skip_name(p, "recursive");
    expect_block_end(p);
    p->n_loops++;
    parse_body(p, (const char *[]){"endfor", "else", NULL}, &node->list);
    p->n_loops--;
    if (mlcc_jinja_skip_name(p, "else")) {
        expect_block_end(p);
        parse_block(p, "endfor", &node->otherwise);
    } else {
        p->at++;
        expect_block_end(p);
    }
    return node;
}

static jinja_node *parse_set(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_SET);
    node->a = parse_target(p, true);
    if (mlcc_jinja_skip_operator(p, '=')) {
        node->b = mlcc_jinja_parse_tuple(p, true, false);
        expect_block_end(p);
        return node;
    }
    node->kind = JINJA_SET_BLOCK;
    node->b = mlcc_jinja_parse_filters(p, NULL, false);
    expect_block_end(p);
    parse_block(p, "endset", &node->list);
    return node;
}

static void parse_parameters(jinja_parser *p, jinja_macro *macro) {
    mlcc_jinja_expect_operator(p, '(');
    while (!mlcc_jinja_is_operator(p, ')')) {
        if (macro->parameters.n != 0) mlcc_jinja_expect_operator(p, ',');
        mlcc_jinja_node_push(p, &macro->parameters, parse_one_target(p, false));
        if (mlcc_jinja_skip_operator(p, '=')) {
            mlcc_jinja_node_push(p, &macro->defaults, mlcc_jinja_parse_expression(p, true));
        } else if (macro->defaults.n != 0) {
            mlcc_jinja_unexpected(p, "'=' (a default, as the parameter before has one)");
        }
    }
    p->at++;
}

static void parse_macro_body(jinja_parser *p, jinja_macro *macro, const char *end) {
    jinja_macro *around = p->macro;
    size_t n_loops = p->n_loops;
    p->macro = macro;
    p->n_loops = 0;
    parse_block(p, end, &macro->body);
    p->macro = around;
    p->n_loops = n_loops;
    if (around == NULL) return; // what the inner one reads may be the outer one's
    around->uses_caller |= macro->uses_caller;
    around->uses_varargs |= macro->uses_varargs;
    around->uses_kwargs |= macro->uses_kwargs;
}

static jinja_node *parse_macro(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_MACRO_DEF);
    node->macro = mlcc_jinja_alloc(p->room, 1, sizeof *node->macro);
    node->name = node->macro->name = mlcc_jinja_expect_name(p);
    parse_parameters(p, node->macro);
    expect_block_end(p);
    parse_macro_body(p, node->macro, "endmacro");
    return node;
}

static jinja_node *parse_call_block(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_CALL_BLOCK);
    node->macro = mlcc_jinja_alloc(p->room, 1, sizeof *node->macro);
    node->macro->name = "caller";
    if (mlcc_jinja_is_operator(p, '(')) parse_parameters(p, node->macro);
    node->a = mlcc_jinja_parse_expression(p, true);
    if (node->a->kind != JINJA_CALL) mlcc_jinja_unexpected(p, "a call");
    expect_block_end(p);
    parse_macro_body(p, node->macro, "endcall");
    return node;
}

static jinja_node *parse_filter_block(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_FILTER_BLOCK);
    node->a = mlcc_jinja_parse_filters(p, NULL, true);
    expect_block_end(p);
    parse_block(p, "endfilter", &node->list);
    return node;
}

static jinja_node *parse_with(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_WITH);
    while (p->at->kind != JINJA_T_BLOCK_END) {
        if (node->arguments.n != 0) mlcc_jinja_expect_operator(p, ',');
        mlcc_jinja_node_push(p, &node->arguments, parse_one_target(p, false));
        mlcc_jinja_expect_operator(p, '=');
        mlcc_jinja_node_push(p, &node->arguments, mlcc_jinja_parse_expression(p, true));
    }
    expect_block_end(p);
    parse_block(p, "endwith", &node->list);
    return node;
}

static jinja_node *parse_generation(jinja_parser *p) {
    jinja_node *node = mlcc_jinja_node(p, JINJA_SCOPE);
    size_t n_loops = p->n_loops;
    p->n_loops = 0; // the body is a function of its own for transformers
    expect_block_end(p);
    parse_block(p, "endgeneration", &node->list);
    p->n_loops = n_loops;
    return node;
}

static jinja_node *parse_jump(jinja_parser *p, jinja_node_kind kind) {
    if (p->n_loops == 0)
        mlcc_jinja_fail(p->room, MLCC_INVALID, "break or continue outside of a loop");
    expect_block_end(p);
    return mlcc_jinja_node(p, kind);
}

static jinja_node *parse_break(jinja_parser *p) {
    return parse_jump(p, JINJA_BREAK);
}
static jinja_node *parse_continue(jinja_parser *p) {
    return parse_jump(p, JINJA_CONTINUE);
}

static void parse_statement(jinja_parser *p, jinja_nodes *out) {
    static const struct {
        const char *word;
        jinja_node *(*parse)(jinja_parser *p);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"break", parse_break},     {"continue", parse_continue},
    };
    static const char *const refused[] = {"block", "extends",    "include", "import",
                                          "from",  "autoescape", "do",      "trans"};
    p->room->line = p->at->line;
    if (p->at->kind != JINJA_T_NAME) mlcc_jinja_unexpected(p, "a tag's name");
    const char *word = p->at->name;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (strcmp(word, statements[i].word) != 0) continue;
        p->at++;
        mlcc_jinja_node_push(p, out, statements[i].parse(p));
        return;
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(word, refused[i]) == 0)
            mlcc_jinja_fail(p->room, MLCC_UNSUPPORTED, "tag '%s' is not for chat templates", word);
    mlcc_jinja_fail(p->room, MLCC_INVALID, "unknown tag '%.80s'", word);
}

void mlcc_jinja_parse(jinja_room *room, const char *text, size_t length, jinja_nodes *out) {
    jinja_tokens tokens = {0};
    mlcc_jinja_lex(room, text, length, &tokens);
    jinja_parser p = {.room = room, .at = tokens.items};
    parse_body(&p, (const char *[]){NULL}, out);
}
