// Expressions become values.
#include "runtime/text/jinja_run.h"

#include <string.h>

// ---- scopes ------------------------------------------------------------------------------------------------------

jinja_scope *mlcc_jinja_scope(jinja_run *r, jinja_scope *parent) {
    jinja_scope *scope = mlcc_jinja_alloc(&r->room, 1, sizeof *scope);
    scope->parent = parent;
    return scope;
}

void mlcc_jinja_assign(jinja_run *r, jinja_scope *scope, const char *name, jinja_value value) {
    for (jinja_variable *v = scope->variables; v != NULL; v = v->next) {
        mlcc_jinja_charge(&r->room, 1);
        if (strcmp(v->name, name) != 0) continue;
        v->value = value;
        return;
    }
    jinja_variable *variable = mlcc_jinja_alloc(&r->room, 1, sizeof *variable);
    *variable = (jinja_variable){.next = scope->variables, .name = name, .value = value};
    scope->variables = variable;
}

static jinja_value look_up(jinja_run *r, const jinja_scope *scope, const char *name) {
    for (; scope != NULL; scope = scope->parent) {
        for (const jinja_variable *v = scope->variables; v != NULL; v = v->next) {
            mlcc_jinja_charge(&r->room, 1);
            if (strcmp(v->name, name) == 0) return v->value;
        }
    }
    const jinja_builtin *global = mlcc_jinja_find_global(name);
    if (global != NULL) {
        jinja_bound *bound = mlcc_jinja_alloc(&r->room, 1, sizeof *bound);
        bound->builtin = global;
        return (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
    }
    jinja_undefined *u = mlcc_jinja_alloc(&r->room, 1, sizeof *u);
    u->name = name;
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = u};
}

// ---- calls -------------------------------------------------------------------------------------------------------

void mlcc_jinja_add_named(jinja_run *r, jinja_arguments *a, const char *name, jinja_value value) {
    for (size_t i = 0; i < a->n_named; i++)
        if (strcmp(a->names[i], name) == 0)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "got multiple values for keyword argument '%.80s'", name);
    const char **names = mlcc_jinja_alloc(&r->room, a->n_named + 1, sizeof *names);
    jinja_value *named = mlcc_jinja_alloc(&r->room, a->n_named + 1, sizeof *named);
    for (size_t i = 0; i < a->n_named; i++) {
        names[i] = a->names[i];
        named[i] = a->named[i];
    }
    names[a->n_named] = name;
    named[a->n_named++] = value;
    a->names = names;
    a->named = named;
}

void mlcc_jinja_eval_arguments(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_arguments *a) {
    *a = (jinja_arguments){0};
    jinja_value more = {0};
    if (node->more_arguments != NULL) more = mlcc_jinja_eval(r, scope, node->more_arguments);
    const jinja_list *rest = mlcc_jinja_is_given(more) ? mlcc_jinja_iterate(&r->room, more) : NULL;
    a->items = mlcc_jinja_alloc(
        &r->room, node->arguments.n + (rest == NULL ? 0 : rest->n), sizeof *a->items);
    for (size_t i = 0; i < node->arguments.n; i++) {
        jinja_value value = mlcc_jinja_eval(r, scope, node->arguments.items[i]);
        if (node->names[i] == NULL) {
            a->items[a->n++] = value;
        } else {
            mlcc_jinja_add_named(r, a, node->names[i], value);
        }
    }
    for (size_t i = 0; rest != NULL && i < rest->n; i++) a->items[a->n++] = rest->items[i];
    if (node->more_named == NULL) return;
    jinja_value named = mlcc_jinja_eval(r, scope, node->more_named);
    if (named.kind != JINJA_DICT)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "argument after ** must be a mapping, not %s",
            mlcc_jinja_type_name(named));
    for (size_t i = 0; i < named.as.dict->n; i++) {
        const jinja_entry *entry = &named.as.dict->items[i];
        if (!mlcc_jinja_is_string(entry->key))
            mlcc_jinja_fail(&r->room, MLCC_INVALID, "keywords must be strings");
        mlcc_jinja_add_named(r, a, mlcc_jinja_cstring(&r->room, entry->key), entry->value);
    }
}

// The parameter's place among the builtin's, SIZE_MAX when it has none of this name.
static size_t find_parameter(
    const jinja_builtin *builtin, const char *name, size_t *n, bool *takes_any) {
    size_t found = SIZE_MAX;
    *n = 0;
    *takes_any = false;
    for (const char *at = builtin->parameters; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (at[0] == '*') {
            *takes_any = true;
        } else {
            if (name != NULL && strlen(name) == length && memcmp(name, at, length) == 0) found = *n;
            ++*n;
        }
        at += length;
        at += *at == ' ';
    }
    return found;
}

jinja_value mlcc_jinja_call_builtin(
    jinja_run *r, const jinja_builtin *builtin, jinja_value self, const jinja_arguments *a) {
    jinja_call call = {.name = builtin->name, .self = self, .arguments = a};
    size_t n_parameters;
    bool takes_any;
    find_parameter(builtin, NULL, &n_parameters, &takes_any);
    if (a->n > n_parameters && !takes_any)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "%s() takes at most %zu arguments, %zu were given",
            builtin->name, n_parameters, a->n);
    for (size_t i = 0; i < a->n && i < n_parameters; i++) call.at[i] = a->items[i];
    for (size_t i = 0; i < a->n_named; i++) {
        size_t place = find_parameter(builtin, a->names[i], &n_parameters, &takes_any);
        if (place == SIZE_MAX && takes_any) continue;
        if (place == SIZE_MAX)
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "%s() got an unexpected keyword argument '%.80s'",
                builtin->name, a->names[i]);
        if (mlcc_jinja_is_given(call.at[place]))
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "%s() got multiple values for argument '%s'", builtin->name,
                a->names[i]);
        call.at[place] = a->named[i];
    }
    for (size_t i = 0; i < builtin->n_required; i++)
        if (!mlcc_jinja_is_given(call.at[i]))
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "%s() misses an argument; it takes: %s", builtin->name,
                builtin->parameters);
    mlcc_jinja_enter(&r->room);
    jinja_value result = builtin->run(r, &call);
    mlcc_jinja_leave(&r->room);
    return result;
}

jinja_value mlcc_jinja_call(jinja_run *r, jinja_value callee, const jinja_arguments *a) {
    switch (callee.kind) {
    case JINJA_UNDEFINED: mlcc_jinja_fail_undefined(&r->room, callee);
    case JINJA_BUILTIN:
        return mlcc_jinja_call_builtin(r, callee.as.bound->builtin, callee.as.bound->self, a);
    case JINJA_MACRO: return mlcc_jinja_call_macro(r, callee.as.macro, a);
    case JINJA_LOOP:
        if (a->n != 1 || a->n_named != 0)
            mlcc_jinja_fail(&r->room, MLCC_INVALID, "loop() takes one argument, what to walk");
        return mlcc_jinja_call_loop(r, callee.as.loop, a->items[0]);
    default:
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "'%s' object is not callable", mlcc_jinja_type_name(callee));
    }
}

// ---- expressions -------------------------------------------------------------------------------------------------

static jinja_value eval_items(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_flavor flavor) {
    jinja_value list = mlcc_jinja_list(&r->room, flavor, node->list.n);
    for (size_t i = 0; i < node->list.n; i++)
        mlcc_jinja_push(&r->room, list, mlcc_jinja_eval(r, scope, node->list.items[i]));
    return list;
}

static jinja_value eval_dict(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value dict = mlcc_jinja_dict(&r->room);
    for (size_t i = 0; i + 1 < node->list.n; i += 2) {
        jinja_value key = mlcc_jinja_eval(r, scope, node->list.items[i]);
        mlcc_jinja_dict_set(
            &r->room, dict.as.dict, key, mlcc_jinja_eval(r, scope, node->list.items[i + 1]));
    }
    return dict;
}

static jinja_value eval_unary(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value a = mlcc_jinja_eval(r, scope, node->a);
    if (node->operator_ == 'n') return mlcc_jinja_bool(!mlcc_jinja_is_true(&r->room, a));
    jinja_value negative = mlcc_jinja_negate(r, a);
    return node->operator_ == '-' ? negative : mlcc_jinja_negate(r, negative);
}

static jinja_value eval_concat(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_builder b = {.room = &r->room};
    for (size_t i = 0; i < node->list.n; i++)
        mlcc_jinja_put_str(&b, mlcc_jinja_eval(r, scope, node->list.items[i]));
    return mlcc_jinja_finish(&b);
}

static bool compare(jinja_run *r, int operator_, jinja_value a, jinja_value b) {
    switch (operator_) {
    case JINJA_EQ: return mlcc_jinja_equal(&r->room, a, b);
    case JINJA_NE: return !mlcc_jinja_equal(&r->room, a, b);
    case '<': return mlcc_jinja_order(&r->room, a, b, "<") < 0;
    case '>': return mlcc_jinja_order(&r->room, a, b, ">") > 0;
    case JINJA_LE: return mlcc_jinja_order(&r->room, a, b, "<=") <= 0;
    case JINJA_GE: return mlcc_jinja_order(&r->room, a, b, ">=") >= 0;
    case 'i': return mlcc_jinja_contains(&r->room, b, a);
    default: return !mlcc_jinja_contains(&r->room, b, a);
    }
}

// a < b < c: every neighbour, up to the first that fails.
static jinja_value eval_compare(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value left = mlcc_jinja_eval(r, scope, node->a);
    for (size_t i = 0; i < node->list.n; i++) {
        const jinja_node *operand = node->list.items[i];
        jinja_value right = mlcc_jinja_eval(r, scope, operand->a);
        if (!compare(r, operand->operator_, left, right)) return mlcc_jinja_bool(false);
        left = right;
    }
    return mlcc_jinja_bool(true);
}

static jinja_value eval_slice(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value of = mlcc_jinja_eval(r, scope, node->a);
    jinja_value parts[3] = {{0}, {0}, {0}};
    for (size_t i = 0; i < 3; i++)
        if (node->list.items[i] != NULL) parts[i] = mlcc_jinja_eval(r, scope, node->list.items[i]);
    return mlcc_jinja_slice(r, of, parts);
}

static jinja_value eval_call(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value callee = mlcc_jinja_eval(r, scope, node->a);
    jinja_arguments arguments;
    mlcc_jinja_eval_arguments(r, scope, node, &arguments);
    r->room.line = node->line;
    return mlcc_jinja_call(r, callee, &arguments);
}

jinja_value mlcc_jinja_eval_filters(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_value body) {
    if (node == NULL) return body;
    if (node->kind != JINJA_FILTER) return mlcc_jinja_eval(r, scope, node);
    mlcc_jinja_enter(&r->room);
    jinja_value self = mlcc_jinja_eval_filters(r, scope, node->a, body);
    r->room.line = node->line;
    if (node->builtin == NULL)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "no filter named '%.80s'", node->name);
    jinja_arguments arguments;
    mlcc_jinja_eval_arguments(r, scope, node, &arguments);
    jinja_value result = mlcc_jinja_call_builtin(r, node->builtin, self, &arguments);
    mlcc_jinja_leave(&r->room);
    return result;
}

static jinja_value eval_test(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value self = mlcc_jinja_eval(r, scope, node->a);
    r->room.line = node->line;
    if (node->builtin == NULL)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "no test named '%.80s'", node->name);
    jinja_arguments arguments;
    mlcc_jinja_eval_arguments(r, scope, node, &arguments);
    bool holds =
        mlcc_jinja_is_true(&r->room, mlcc_jinja_call_builtin(r, node->builtin, self, &arguments));
    return mlcc_jinja_bool(holds != node->is_negated);
}

static jinja_value eval_condition(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    if (mlcc_jinja_is_true(&r->room, mlcc_jinja_eval(r, scope, node->a)))
        return mlcc_jinja_eval(r, scope, node->b);
    if (node->c != NULL) return mlcc_jinja_eval(r, scope, node->c);
    return mlcc_jinja_undefined(
        &r->room, "the inline if-expression evaluated to false and has no else");
}

static jinja_value eval_kind(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    jinja_value a;
    switch (node->kind) {
    case JINJA_CONST: return node->value;
    case JINJA_NAME: return look_up(r, scope, node->name);
    case JINJA_LIST_OF: return eval_items(r, scope, node, JINJA_PLAIN_LIST);
    case JINJA_TUPLE_OF: return eval_items(r, scope, node, JINJA_TUPLE);
    case JINJA_DICT_OF: return eval_dict(r, scope, node);
    case JINJA_UNARY: return eval_unary(r, scope, node);
    case JINJA_BINARY:
        a = mlcc_jinja_eval(r, scope, node->a);
        return mlcc_jinja_operate(r, node->operator_, a, mlcc_jinja_eval(r, scope, node->b));
    case JINJA_AND:
    case JINJA_OR:
        a = mlcc_jinja_eval(r, scope, node->a);
        return mlcc_jinja_is_true(&r->room, a) == (node->kind == JINJA_AND)
                   ? mlcc_jinja_eval(r, scope, node->b)
                   : a;
    case JINJA_CONCAT: return eval_concat(r, scope, node);
    case JINJA_COMPARE: return eval_compare(r, scope, node);
    case JINJA_ATTRIBUTE:
        return mlcc_jinja_attribute(r, mlcc_jinja_eval(r, scope, node->a), node->value);
    case JINJA_ITEM:
        a = mlcc_jinja_eval(r, scope, node->a);
        return mlcc_jinja_item(r, a, mlcc_jinja_eval(r, scope, node->b));
    case JINJA_SLICE: return eval_slice(r, scope, node);
    case JINJA_CALL: return eval_call(r, scope, node);
    case JINJA_FILTER: return mlcc_jinja_eval_filters(r, scope, node, mlcc_jinja_none());
    case JINJA_TEST: return eval_test(r, scope, node);
    case JINJA_CONDITION: return eval_condition(r, scope, node);
    default: mlcc_jinja_fail(&r->room, MLCC_INTERNAL, "a statement stands where a value is needed");
    }
}

jinja_value mlcc_jinja_eval(jinja_run *r, jinja_scope *scope, const jinja_node *node) {
    mlcc_jinja_enter(&r->room);
    mlcc_jinja_charge(&r->room, 1);
    r->room.line = node->line;
    jinja_value value = eval_kind(r, scope, node);
    mlcc_jinja_leave(&r->room);
    return value;
}
