// parse_function: functions and nodes. Nodes go through the builder, so a module that parses has
// passed every shape rule, and the types that are written are the types that the rules give.
#include "ir/builder.h"
#include "ir/module.h"
#include "ir/parse.h"
#include "ir/shape.h"
#include "ir/tables.h"
#include "ir/text.h"

#include <string.h>

// ---- values of the function being read ---------------------------------------------------------

// Arguments and results live in one map; the first byte keeps %12 and %"12" apart.
typedef struct body {
    parser *p;
    ir_build build;
    mlcc_map *values;
} body;

static const char *value_key(const body *b, const lex_token *token) {
    return mlcc_arena_printf(
        b->p->lex.scratch, "%c%s", token->kind == LEX_NUMBERED ? '#' : '%', token->text);
}

static bool add_value(body *b, const lex_token *token, ir_value *value) {
    return mlcc_map_add_text(b->values, value_key(b, token), (uint64_t)(uintptr_t)value);
}

static bool is_value(const lexer *lex) {
    lex_kind kind = lex->token.kind;
    return kind == LEX_VALUE || kind == LEX_NUMBERED || kind == LEX_GLOBAL;
}

static mlcc_status *parse_value(body *b, ir_value **out) {
    lexer *lex = &b->p->lex;
    uint64_t address = 0;
    if (!is_value(lex)) return lex_expected(lex, "a value like %0, %name or @name");
    if (lex->token.kind == LEX_GLOBAL) {
        if (!mlcc_map_get_text(b->p->globals, lex->token.text, &address)) {
            return lex_place(
                lex, MLCC_ERROR(
                         INVALID, "'@%.64s' is neither a param nor a constant defined before",
                         lex->token.text));
        }
    } else if (!mlcc_map_get_text(b->values, value_key(b, &lex->token), &address)) {
        return lex_place(
            lex, MLCC_ERROR(
                     INVALID, "'%%%.64s' is not defined before its use in this function",
                     lex->token.text));
    }
    *out = (ir_value *)(uintptr_t)address;
    return lex_next(lex);
}

// ---- nodes -------------------------------------------------------------------------------------

// A node as written, before it is built.
typedef struct written_node {
    lex_token names[IR_MAX_OPERANDS]; // of the results
    int32_t n_names;
    lex_token op_token;
    ir_op op;
    ir_value *operands[IR_MAX_OPERANDS];
    int32_t n_operands;
    ir_attr attrs[IR_MAX_ATTRS];
    int32_t n_attrs;
    ir_type types[IR_MAX_OPERANDS];
    lex_token type_tokens[IR_MAX_OPERANDS];
    int32_t n_types;
} written_node;

static mlcc_status *parse_result_names(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    bool more = lex->token.kind == LEX_VALUE || lex->token.kind == LEX_NUMBERED;
    if (!more) return NULL;
    while (more) {
        if (lex->token.kind != LEX_VALUE && lex->token.kind != LEX_NUMBERED) {
            return lex_expected(lex, "a result like %0");
        }
        if (node->n_names == IR_MAX_OPERANDS) {
            return lex_place(
                lex, MLCC_ERROR(INVALID, "a node has at most %d results", IR_MAX_OPERANDS));
        }
        node->names[node->n_names++] = lex->token;
        MLCC_TRY(lex_next(lex));
        MLCC_TRY(lex_take_sign(lex, ",", &more));
    }
    return lex_need_sign(lex, "=");
}

static mlcc_status *parse_op(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    node->op_token = lex->token;
    if (lex->token.kind != LEX_WORD) return lex_expected(lex, "the name of an op");
    if (ir_op_parse(lex->token.text, &node->op)) return lex_next(lex);
    const char *texts[IR_N_OPS];
    for (int op = 0; op < IR_N_OPS; op++) texts[op] = ir_op_get((ir_op)op)->text;
    const char *nearest = mlcc_text_nearest(lex->token.text, texts, IR_N_OPS);
    return lex_place(
        lex, MLCC_ERROR(
                 INVALID, "'%.64s' is not an op%s%s%s", lex->token.text,
                 nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
                 nearest != NULL ? "'" : ""));
}

static mlcc_status *parse_operands(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    bool more = is_value(lex);
    while (more) {
        if (node->n_operands == IR_MAX_OPERANDS) {
            return lex_place(
                lex, MLCC_ERROR(INVALID, "a node has at most %d operands", IR_MAX_OPERANDS));
        }
        MLCC_TRY(parse_value(b, &node->operands[node->n_operands++]));
        MLCC_TRY(lex_take_sign(lex, ",", &more));
    }
    return NULL;
}

static mlcc_status *parse_attr_value(body *b, ir_attr *attr) {
    lexer *lex = &b->p->lex;
    const char *expected = ir_attr_kind_text(attr->kind);
    switch (attr->kind) {
    case IR_ATTR_I64: return lex_need_i64(lex, expected, INT64_MIN, INT64_MAX, &attr->as.i64);
    case IR_ATTR_F64: return lex_need_f64(lex, expected, &attr->as.f64);
    case IR_ATTR_TEXT: return lex_need_string(lex, expected, &attr->as.text);
    case IR_ATTR_BOOL: break;
    }
    attr->as.boolean = lex_is_word(lex, "true");
    if (!attr->as.boolean && !lex_is_word(lex, "false")) return lex_expected(lex, expected);
    return lex_next(lex);
}

static mlcc_status *parse_attr(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    const lex_token name = lex->token;
    if (name.kind != LEX_WORD) return lex_expected(lex, "the name of an attribute");
    int32_t n_rows = 0;
    const ir_attr_row *rows = ir_attr_rows(node->op, &n_rows);
    for (int32_t i = 0; i < node->n_attrs; i++) {
        if (strcmp(node->attrs[i].name, name.text) == 0) {
            return parse_error_taken(b->p, &name, "attribute");
        }
    }
    for (int32_t i = 0; i < n_rows; i++) {
        if (strcmp(rows[i].initial.name, name.text) != 0) continue;
        MLCC_TRY(lex_next(lex));
        MLCC_TRY(lex_need_sign(lex, "="));
        ir_attr *attr = &node->attrs[node->n_attrs++];
        *attr = rows[i].initial;
        return parse_attr_value(b, attr);
    }
    mlcc_str accepted = {0};
    for (int32_t i = 0; i < n_rows; i++) {
        mlcc_str_printf(&accepted, "%s%s", i == 0 ? ", accepted are " : ", ", rows[i].initial.name);
    }
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s has no attribute '%.64s'%s", ir_op_get(node->op)->text, name.text,
        mlcc_str_text(&accepted));
    mlcc_str_free(&accepted);
    return lex_place(lex, status);
}

static mlcc_status *parse_attrs(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    bool more = false;
    MLCC_TRY(lex_take_sign(lex, "{", &more));
    if (!more) return NULL;
    while (more) {
        MLCC_TRY(parse_attr(b, node));
        MLCC_TRY(lex_take_sign(lex, ",", &more));
    }
    return lex_need_sign(lex, "}");
}

static mlcc_status *parse_result_types(body *b, written_node *node) {
    lexer *lex = &b->p->lex;
    bool more = node->n_names > 0;
    if (more) MLCC_TRY(lex_need_sign(lex, ":"));
    while (more) {
        if (node->n_types == IR_MAX_OPERANDS) {
            return lex_place(
                lex, MLCC_ERROR(INVALID, "a node has at most %d results", IR_MAX_OPERANDS));
        }
        node->type_tokens[node->n_types] = lex->token;
        MLCC_TRY(parse_type(b->p, &node->types[node->n_types++]));
        MLCC_TRY(lex_take_sign(lex, ",", &more));
    }
    return NULL;
}

// The written types are the inferred ones.
static mlcc_status *check_result_types(
    const body *b, const written_node *written, const ir_node *node) {
    const char *op_text = ir_op_get(node->op)->text;
    if (written->n_names != node->n_results || written->n_types != node->n_results) {
        return lex_place_at(
            &b->p->lex, &written->op_token,
            MLCC_ERROR(
                INVALID, "%s has %d results, written are %d with %d types", op_text,
                node->n_results, written->n_names, written->n_types));
    }
    for (int32_t i = 0; i < node->n_results; i++) {
        if (ir_type_equal(&written->types[i], &node->results[i]->type)) continue;
        mlcc_str types = {0};
        ir_print_type(&node->results[i]->type, &types);
        mlcc_str_puts(&types, ", written is ");
        ir_print_type(&written->types[i], &types);
        mlcc_status *status =
            MLCC_ERROR(INVALID, "result %d of %s is %s", i, op_text, mlcc_str_text(&types));
        mlcc_str_free(&types);
        return lex_place_at(&b->p->lex, &written->type_tokens[i], status);
    }
    return NULL;
}

static mlcc_status *parse_offsets(body *b, ir_node *node) {
    lexer *lex = &b->p->lex;
    bool found = false;
    MLCC_TRY(lex_take_word(lex, "at", &found));
    for (int32_t i = 0; found && i < node->n_results; i++) {
        if (i > 0) MLCC_TRY(lex_need_sign(lex, ","));
        bool none = false;
        MLCC_TRY(lex_take_sign(lex, "-", &none));
        int64_t *offset_bytes = &node->results[i]->offset_bytes;
        if (!none) MLCC_TRY(lex_need_i64(lex, "an offset or '-'", 0, INT64_MAX, offset_bytes));
    }
    return NULL;
}

static mlcc_status *build_written(body *b, written_node *written, ir_node **out) {
    ir_dtype result_dtype = IR_N_DTYPES;
    if (ir_shape_dtype_is_free(written->op) && written->n_types > 0) {
        result_dtype = written->types[0].dtype;
    }
    *out = ir_build_node(
        &b->build, written->op, written->operands, written->n_operands, written->attrs,
        written->n_attrs, result_dtype);
    mlcc_status *status = b->build.status;
    b->build.status = NULL;
    if (status != NULL) return lex_place_at(&b->p->lex, &written->op_token, status);
    MLCC_TRY(check_result_types(b, written, *out));
    for (int32_t i = 0; i < written->n_names; i++) {
        if (!add_value(b, &written->names[i], (*out)->results[i])) {
            return parse_error_taken(b->p, &written->names[i], "value");
        }
    }
    return NULL;
}

static mlcc_status *parse_node(body *b, written_node *written) {
    if (b->p->n_nodes++ == PARSE_MAX_NODES) {
        return lex_place(&b->p->lex, MLCC_ERROR(INVALID, "more than %d nodes", PARSE_MAX_NODES));
    }
    written->n_names = written->n_operands = written->n_attrs = written->n_types = 0;
    MLCC_TRY(parse_result_names(b, written));
    MLCC_TRY(parse_op(b, written));
    MLCC_TRY(parse_operands(b, written));
    MLCC_TRY(parse_attrs(b, written));
    MLCC_TRY(parse_result_types(b, written));
    ir_node *node = NULL;
    MLCC_TRY(build_written(b, written, &node));
    return parse_offsets(b, node);
}

// ---- functions ---------------------------------------------------------------------------------

static mlcc_status *parse_args(body *b, ir_function *function) {
    lexer *lex = &b->p->lex;
    MLCC_TRY(lex_need_sign(lex, "("));
    bool more = !lex_is_sign(lex, ")");
    while (more) {
        const lex_token name = lex->token;
        if (name.kind != LEX_VALUE) return lex_expected(lex, "an argument like %ids");
        ir_type type;
        MLCC_TRY(lex_next(lex));
        MLCC_TRY(lex_need_sign(lex, ":"));
        MLCC_TRY(parse_type(b->p, &type));
        if (!add_value(b, &name, ir_function_add_arg(function, name.text, type))) {
            return parse_error_taken(b->p, &name, "argument");
        }
        MLCC_TRY(lex_take_sign(lex, ",", &more));
    }
    return lex_need_sign(lex, ")");
}

static mlcc_status *parse_returns(body *b, ir_function *function) {
    size_t n_values = 0;
    size_t capacity = 0;
    ir_value **values = NULL;
    bool more = is_value(&b->p->lex);
    while (more) {
        MLCC_ARENA_GROW(b->p->lex.scratch, values, n_values, capacity);
        MLCC_TRY(parse_value(b, &values[n_values++]));
        MLCC_TRY(lex_take_sign(&b->p->lex, ",", &more));
    }
    ir_function_set_returns(function, values, (int32_t)n_values);
    return lex_need_sign(&b->p->lex, "}");
}

static mlcc_status *parse_body(body *b, ir_function *function) {
    lexer *lex = &b->p->lex;
    MLCC_TRY(parse_args(b, function));
    bool found = false;
    MLCC_TRY(lex_take_word(lex, "workspace", &found));
    if (found) {
        MLCC_TRY(lex_need_sign(lex, "="));
        MLCC_TRY(lex_need_i64(lex, "a size in bytes", 0, INT64_MAX, &function->workspace_bytes));
    }
    MLCC_TRY(lex_need_sign(lex, "{"));
    written_node *written = MLCC_NEW(lex->scratch, written_node);
    for (;;) {
        bool done = false;
        MLCC_TRY(lex_take_word(lex, "return", &done));
        if (done) return parse_returns(b, function);
        MLCC_TRY(parse_node(b, written));
    }
}

mlcc_status *parse_function(parser *p, bool is_group) {
    const lex_token name = p->lex.token;
    if (name.kind != LEX_GLOBAL) {
        return lex_expected(&p->lex, "the name of the function like @forward");
    }
    if (!mlcc_map_add_text(p->functions, name.text, 1)) {
        return parse_error_taken(p, &name, "function");
    }
    if (p->module->n_functions == PARSE_MAX_FUNCTIONS) {
        return lex_place(
            &p->lex, MLCC_ERROR(INVALID, "more than %d functions", PARSE_MAX_FUNCTIONS));
    }
    MLCC_TRY(lex_next(&p->lex));
    ir_function *function = ir_module_append_function(p->module, name.text, is_group);
    body b = {.p = p, .build = ir_build_start(function), .values = mlcc_map_create(64)};
    mlcc_status *status = parse_body(&b, function);
    mlcc_map_free(b.values);
    return status;
}
