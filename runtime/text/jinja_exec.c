// Statements: they write text, assign names, and walk.
#include "runtime/text/jinja_run.h"

#include <stdio.h>
#include <string.h>

static void check_output(jinja_run *r) {
    if (r->out->length > r->max_output_bytes)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "the template writes more than %zu bytes, the limit",
            r->max_output_bytes);
}

// ---- assignments -------------------------------------------------------------------------------------------------

static void assign_target(
    jinja_run *r, jinja_scope *scope, const jinja_node *target, jinja_value value) {
    if (target->kind == JINJA_NAME) {
        mlcc_jinja_assign(r, scope, target->name, value);
        return;
    }
    if (target->kind == JINJA_TARGET_NS) {
        jinja_node name = *target;
        name.kind = JINJA_NAME;
        jinja_value space = mlcc_jinja_eval(r, scope, &name);
        if (space.kind != JINJA_NAMESPACE)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "cannot assign attribute on non-namespace object '%s'",
                target->name);
        if (target->value.as.string->data[0] == '_')
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "a namespace holds no names that begin with '_'");
        mlcc_jinja_dict_set(&r->room, space.as.dict, target->value, value);
        return;
    }
    const jinja_list *items = mlcc_jinja_iterate(&r->room, value);
    size_t n = target->list.n;
    if (items->n < n)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "not enough values to unpack (expected %zu, got %zu)", n,
            items->n);
    if (items->n > n)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "too many values to unpack (expected %zu)", n);
    for (size_t i = 0; i < n; i++) assign_target(r, scope, target->list.items[i], items->items[i]);
}

// The text that a body writes.
static jinja_value body_text(jinja_run *r, jinja_scope *scope, const jinja_nodes *body) {
    jinja_builder inside = {.room = &r->room};
    jinja_builder *outside = r->out;
    r->out = &inside;
    mlcc_jinja_exec(r, scope, body);
    r->out = outside;
    return mlcc_jinja_finish(&inside);
}

// ---- loops -------------------------------------------------------------------------------------------------------

static jinja_value filtered(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, const jinja_list *items) {
    jinja_value kept = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
    for (size_t i = 0; i < items->n; i++) {
        jinja_scope *inner = mlcc_jinja_scope(r, scope);
        assign_target(r, inner, node->a, items->items[i]);
        if (mlcc_jinja_is_true(&r->room, mlcc_jinja_eval(r, inner, node->c)))
            mlcc_jinja_push(&r->room, kept, items->items[i]);
    }
    return kept;
}

static jinja_jump run_loop(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_value of, size_t depth) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, of);
    if (node->c != NULL) items = filtered(r, scope, node, items).as.list;
    jinja_loop *loop = mlcc_jinja_alloc(&r->room, 1, sizeof *loop);
    *loop = (jinja_loop){.items = items, .depth = depth, .node = node, .scope = scope};
    jinja_value loop_value = {.kind = JINJA_LOOP, .as.loop = loop};
    jinja_jump jump = JINJA_GO_ON;
    for (; loop->at < items->n; loop->at++) {
        mlcc_jinja_charge(&r->room, 1);
        jinja_scope *inner = mlcc_jinja_scope(r, scope);
        mlcc_jinja_assign(r, inner, "loop", loop_value);
        assign_target(r, inner, node->a, items->items[loop->at]);
        jump = mlcc_jinja_exec(r, inner, &node->list);
        if (jump == JINJA_LEAVE_LOOP) break;
    }
    bool is_empty = items->n == 0;
    return is_empty ? mlcc_jinja_exec(r, mlcc_jinja_scope(r, scope), &node->otherwise)
                    : JINJA_GO_ON;
}

jinja_value mlcc_jinja_call_loop(jinja_run *r, const jinja_loop *loop, jinja_value items) {
    if (!loop->node->is_recursive)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "the loop must have the 'recursive' marker to be called");
    jinja_builder inside = {.room = &r->room};
    jinja_builder *outside = r->out;
    r->out = &inside;
    mlcc_jinja_enter(&r->room);
    run_loop(r, loop->scope, loop->node, items, loop->depth + 1);
    mlcc_jinja_leave(&r->room);
    r->out = outside;
    return mlcc_jinja_finish(&inside);
}

// ---- macros ------------------------------------------------------------------------------------------------------

static jinja_value closure(jinja_run *r, jinja_scope *scope, const jinja_macro *macro) {
    struct jinja_closure *c = mlcc_jinja_alloc(&r->room, 1, sizeof *c);
    *c = (struct jinja_closure){.macro = macro, .scope = scope};
    return (jinja_value){.kind = JINJA_MACRO, .as.macro = c};
}

static size_t find_named(const jinja_arguments *a, const char *name) {
    for (size_t i = 0; i < a->n_named; i++)
        if (strcmp(a->names[i], name) == 0) return i;
    return SIZE_MAX;
}

static jinja_value not_provided(jinja_run *r, const char *name) {
    jinja_undefined *u = mlcc_jinja_alloc(&r->room, 1, sizeof *u);
    *u = (jinja_undefined){.name = name, .is_parameter = true};
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = u};
}

// The call's own value for parameter i, JINJA_ABSENT when it gives none.
static jinja_value given(const jinja_arguments *a, const char *name, size_t i, bool *is_used) {
    if (i < a->n) return a->items[i];
    size_t place = find_named(a, name);
    if (place == SIZE_MAX) return (jinja_value){0};
    is_used[place] = true;
    return a->named[place];
}

static void bind_rest(
    jinja_run *r, jinja_scope *scope, const jinja_macro *macro, const jinja_arguments *a,
    bool *is_used) {
    size_t n = macro->parameters.n;
    size_t caller = find_named(a, "caller");
    if (macro->uses_caller && (caller == SIZE_MAX || !is_used[caller])) {
        if (caller != SIZE_MAX) is_used[caller] = true;
        mlcc_jinja_assign(
            r, scope, "caller",
            caller != SIZE_MAX ? a->named[caller]
                               : mlcc_jinja_undefined(&r->room, "No caller defined"));
    }
    jinja_value named = mlcc_jinja_dict(&r->room);
    for (size_t i = 0; i < a->n_named; i++) {
        if (is_used[i]) continue;
        if (!macro->uses_kwargs)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "macro '%s' takes no keyword argument '%.80s'", macro->name,
                a->names[i]);
        mlcc_jinja_dict_add(
            &r->room, named.as.dict, mlcc_jinja_text(&r->room, a->names[i]), a->named[i]);
    }
    if (macro->uses_kwargs) mlcc_jinja_assign(r, scope, "kwargs", named);
    if (!macro->uses_varargs && a->n > n)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "macro '%s' takes not more than %zu argument(s)", macro->name,
            n);
    if (!macro->uses_varargs) return;
    jinja_value more = mlcc_jinja_list(&r->room, JINJA_TUPLE, 0);
    for (size_t i = n; i < a->n; i++) mlcc_jinja_push(&r->room, more, a->items[i]);
    mlcc_jinja_assign(r, scope, "varargs", more);
}

jinja_value mlcc_jinja_call_macro(jinja_run *r, const jinja_closure *c, const jinja_arguments *a) {
    const jinja_macro *macro = c->macro;
    jinja_scope *scope = mlcc_jinja_scope(r, c->scope);
    bool *is_used = mlcc_jinja_alloc(&r->room, a->n_named, sizeof *is_used);
    size_t n = macro->parameters.n;
    mlcc_jinja_enter(&r->room);
    for (size_t i = 0; i < n; i++) {
        const jinja_node *parameter = macro->parameters.items[i];
        jinja_value value = given(a, parameter->name, i, is_used);
        size_t first_default = n - macro->defaults.n;
        if (!mlcc_jinja_is_given(value) && i >= first_default)
            value = mlcc_jinja_eval(r, scope, macro->defaults.items[i - first_default]);
        mlcc_jinja_assign(
            r, scope, parameter->name,
            mlcc_jinja_is_given(value) ? value : not_provided(r, parameter->name));
    }
    bind_rest(r, scope, macro, a, is_used);
    jinja_value text = body_text(r, scope, &macro->body);
    mlcc_jinja_leave(&r->room);
    return text;
}

static void exec_call_block(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value callee = mlcc_jinja_eval(r, scope, node->a->a);
    jinja_arguments arguments;
    mlcc_jinja_eval_arguments(r, scope, node->a, &arguments);
    mlcc_jinja_add_named(r, &arguments, "caller", closure(r, scope, node->macro));
    r->room.line = node->line;
    mlcc_jinja_put_str(r->out, mlcc_jinja_call(r, callee, &arguments));
}

// ---- the rest ----------------------------------------------------------------------------------------------------

static void exec_set_block(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value text = body_text(r, mlcc_jinja_scope(r, scope), &node->list);
    assign_target(r, scope, node->a, mlcc_jinja_eval_filters(r, scope, node->b, text));
}

static jinja_jump exec_with(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_scope *inner = mlcc_jinja_scope(r, scope);
    for (size_t i = 0; i + 1 < node->arguments.n; i += 2) { // values see the scope outside
        jinja_value value = mlcc_jinja_eval(r, scope, node->arguments.items[i + 1]);
        assign_target(r, inner, node->arguments.items[i], value);
    }
    return mlcc_jinja_exec(r, inner, &node->list);
}

static jinja_jump exec_if(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    for (; node != NULL; node = node->c) {
        bool is_else = node->kind == JINJA_BODY;
        if (is_else || mlcc_jinja_is_true(&r->room, mlcc_jinja_eval(r, scope, node->a)))
            return mlcc_jinja_exec(r, scope, &node->list);
    }
    return JINJA_GO_ON;
}

static jinja_jump exec_one(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    switch (node->kind) {
    case JINJA_DATA: mlcc_jinja_put_string(r->out, node->value.as.string); break;
    case JINJA_PRINT: mlcc_jinja_put_str(r->out, mlcc_jinja_eval(r, scope, node->a)); break;
    case JINJA_IF: return exec_if(r, scope, node);
    case JINJA_FOR: return run_loop(r, scope, node, mlcc_jinja_eval(r, scope, node->b), 0);
    case JINJA_SET: assign_target(r, scope, node->a, mlcc_jinja_eval(r, scope, node->b)); break;
    case JINJA_SET_BLOCK: exec_set_block(r, scope, node); break;
    case JINJA_MACRO_DEF:
        mlcc_jinja_assign(r, scope, node->name, closure(r, scope, node->macro));
        break;
    case JINJA_CALL_BLOCK: exec_call_block(r, scope, node); break;
    case JINJA_FILTER_BLOCK: {
        jinja_value text = body_text(r, mlcc_jinja_scope(r, scope), &node->list);
        mlcc_jinja_put_str(r->out, mlcc_jinja_eval_filters(r, scope, node->a, text));
        break;
    }
    case JINJA_WITH: return exec_with(r, scope, node);
    case JINJA_SCOPE: return mlcc_jinja_exec(r, mlcc_jinja_scope(r, scope), &node->list);
    case JINJA_BREAK: return JINJA_LEAVE_LOOP;
    case JINJA_CONTINUE: return JINJA_NEXT_PASS;
    default: mlcc_jinja_fail(&r->room, MLCC_INTERNAL, "a value stands where a statement is needed");
    }
    return JINJA_GO_ON;
}

jinja_jump mlcc_jinja_exec(jinja_run *r, jinja_scope *scope, const jinja_nodes *body) {
    jinja_jump jump = JINJA_GO_ON;
    mlcc_jinja_enter(&r->room);
    for (size_t i = 0; i < body->n && jump == JINJA_GO_ON; i++) {
        mlcc_jinja_charge(&r->room, 1);
        r->room.line = body->items[i]->line;
        jump = exec_one(r, scope, body->items[i]);
        check_output(r);
    }
    mlcc_jinja_leave(&r->room);
    return jump;
}
