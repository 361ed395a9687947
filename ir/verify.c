// verify: names and types of the module, then every function node by node with the shape rules,
// then what the level adds: groups (FUSED) here, memory (PLAN) in verify_plan.c. Nothing is assumed
// about how the module was made, only that its pointers are valid.
#include "ir/verify.h"

#include "ir/shape.h"
#include "ir/tables.h"
#include "ir/text.h"
#include "ir/verify_plan.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct verifier {
    const ir_module *module;
    ir_level level;
    mlcc_map *functions; // name → 1 + place in the list
} verifier;

mlcc_status *ir_verify_node_error(const ir_node *node, const char *format, ...) {
    char problem[512];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    mlcc_str text = {0};
    ir_print_node(node, &text);
    mlcc_status *status =
        mlcc_status_note(MLCC_ERROR(INVALID, "%s", problem), "checking '%s'", mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

// ---- names and types ---------------------------------------------------------------------------

static mlcc_status *check_name(mlcc_map *names, const char *name, const char *what) {
    if (name == NULL || *name == '\0') return MLCC_ERROR(INVALID, "a %s has no name", what);
    if (mlcc_map_add_text(names, name, 1)) return NULL;
    return MLCC_ERROR(INVALID, "%s '%s' is defined twice", what, name);
}

static mlcc_status *check_type(const ir_module *module, const ir_type *type, const char *name) {
    if (type->rank < 0 || type->rank > IR_MAX_RANK || type->dtype >= IR_N_DTYPES) {
        return MLCC_ERROR(INVALID, "'%s' has no proper type", name);
    }
    for (int32_t i = 0; i < type->rank; i++) {
        const ir_symbol *symbol = type->dims[i].symbol;
        bool declared =
            symbol == NULL || (symbol->index >= 0 && (size_t)symbol->index < module->n_symbols &&
                               module->symbols[symbol->index] == symbol);
        if (!declared) {
            return MLCC_ERROR(
                INVALID, "'%s' uses symbol '%s', which is not the module's", name, symbol->name);
        }
        if (symbol == NULL && type->dims[i].value < 0) {
            return MLCC_ERROR(
                INVALID, "'%s' has the negative dimension %lld", name,
                (long long)type->dims[i].value);
        }
    }
    if (ir_dtype_get(type->dtype)->kind == IR_KIND_STORED) {
        return MLCC_ERROR(
            INVALID, "'%s' has dtype %s, which only tensors in files have", name,
            ir_dtype_get(type->dtype)->text);
    }
    int64_t elements = 0;
    if (!ir_type_bound_elements(type, &elements) || elements > INT64_MAX / 8) {
        return MLCC_ERROR(INVALID, "'%s' has too many elements", name);
    }
    return NULL;
}

static mlcc_status *check_symbols(const ir_module *module, mlcc_map *names) {
    for (size_t i = 0; i < module->n_symbols; i++) {
        const ir_symbol *symbol = module->symbols[i];
        MLCC_TRY(check_name(names, symbol->name, "symbol"));
        if (symbol->bound < 1 || symbol->index != (int32_t)i) {
            return MLCC_ERROR(
                INVALID,
                "symbol '%s' has bound %lld and index %d, expected a bound above 0 and index %zu",
                symbol->name, (long long)symbol->bound, symbol->index, i);
        }
    }
    return NULL;
}

static bool dims_are_constant(const ir_type *type) {
    for (int32_t i = 0; i < type->rank; i++) {
        if (type->dims[i].symbol != NULL) return false;
    }
    return true;
}

// Params and constants come from files or texts, and no weight format is plain fp8.
static mlcc_status *check_not_codes(const ir_value *value, const char *what) {
    if (ir_dtype_get(value->type.dtype)->kind != IR_KIND_FLOAT8) return NULL;
    return MLCC_ERROR(
        INVALID, "%s '%s' has dtype %s, which only codes of activations have", what, value->name,
        ir_dtype_get(value->type.dtype)->text);
}

static mlcc_status *check_param(const ir_module *module, const ir_param *param, size_t place) {
    const ir_value *value = &param->value;
    MLCC_TRY(check_type(module, &value->type, value->name));
    MLCC_TRY(check_not_codes(value, "param"));
    if (value->kind != IR_VALUE_PARAM || value->index != (int32_t)place) {
        return MLCC_ERROR(INVALID, "param '%s' is not listed properly", value->name);
    }
    if (!dims_are_constant(&value->type)) {
        return MLCC_ERROR(INVALID, "param '%s' needs constant dimensions", value->name);
    }
    bool grouped = ir_dtype_get(value->type.dtype)->kind == IR_KIND_GROUPED;
    if (grouped && value->type.rank != 2 && value->type.rank != 3) {
        return MLCC_ERROR(
            INVALID,
            "param '%s' has dtype %s and rank %d, expected a matrix [N, K] or a stack [E, N, K]",
            value->name, ir_dtype_get(value->type.dtype)->text, value->type.rank);
    }
    if (param->has_fallback &&
        (ir_dtype_get(value->type.dtype)->kind != IR_KIND_FLOAT || !isfinite(param->fallback))) {
        return MLCC_ERROR(
            INVALID,
            "param '%s' of dtype %s is %g where it has no source, expected a float dtype "
            "and a finite number",
            value->name, ir_dtype_get(value->type.dtype)->text, param->fallback);
    }
    if (module->level == IR_LEVEL_PLAN || param->layout == NULL) return NULL;
    return MLCC_ERROR(INVALID, "param '%s' has a layout, which belongs to level plan", value->name);
}

static mlcc_status *check_globals(const ir_module *module, mlcc_map *names) {
    for (size_t i = 0; i < module->n_params; i++) {
        MLCC_TRY(check_name(names, module->params[i]->value.name, "param or constant"));
        MLCC_TRY(check_param(module, module->params[i], i));
    }
    for (size_t i = 0; i < module->n_consts; i++) {
        const ir_value *value = &module->consts[i]->value;
        MLCC_TRY(check_name(names, value->name, "param or constant"));
        MLCC_TRY(check_type(module, &value->type, value->name));
        MLCC_TRY(check_not_codes(value, "constant"));
        if (value->kind != IR_VALUE_CONST || value->index != (int32_t)i) {
            return MLCC_ERROR(INVALID, "constant '%s' is not listed properly", value->name);
        }
        bool grouped = ir_dtype_get(value->type.dtype)->kind == IR_KIND_GROUPED;
        if (grouped || !dims_are_constant(&value->type)) {
            return MLCC_ERROR(
                INVALID, "constant '%s' needs a plain dtype and constant dimensions", value->name);
        }
    }
    return NULL;
}

// ---- nodes -------------------------------------------------------------------------------------

static bool is_call(const ir_node *node) {
    return node->op == IR_OP_CALL || node->op == IR_OP_LAUNCH;
}

static mlcc_status *check_op_level(
    const verifier *v, const ir_function *function, const ir_node *node) {
    const ir_op_info *info = ir_op_get(node->op);
    if (is_call(node)) {
        if (function->is_group) {
            return ir_verify_node_error(node, "%s inside group @%s", info->text, function->name);
        }
        ir_level needed = node->op == IR_OP_CALL ? IR_LEVEL_FUSED : IR_LEVEL_PLAN;
        if (v->level == needed) return NULL;
        return ir_verify_node_error(
            node, "%s belongs to level %s", info->text,
            needed == IR_LEVEL_FUSED ? "fused" : "plan");
    }
    if (v->level == IR_LEVEL_PLAN && !function->is_group) {
        return ir_verify_node_error(
            node, "%s outside of a group: at level plan entry functions hold launches only",
            info->text);
    }
    return NULL;
}

static mlcc_status *check_attrs(const ir_node *node) {
    int32_t n_rows = 0;
    const ir_attr_row *rows = ir_attr_rows(node->op, &n_rows);
    bool complete = node->n_attrs == n_rows;
    for (int32_t i = 0; complete && i < n_rows; i++) {
        const ir_attr *attr = &node->attrs[i];
        complete = strcmp(attr->name, rows[i].initial.name) == 0 &&
                   attr->kind == rows[i].initial.kind &&
                   (attr->kind != IR_ATTR_TEXT || attr->as.text != NULL);
    }
    if (complete) return NULL;
    return MLCC_ERROR(
        INVALID, "%s does not carry the attributes of attrs.def in order",
        ir_op_get(node->op)->text);
}

static mlcc_status *check_operands(
    const ir_module *module, const ir_function *function, const ir_node *node,
    const mlcc_map *defined) {
    const ir_op_info *info = ir_op_get(node->op);
    for (int32_t i = 0; i < node->n_operands; i++) {
        const ir_value *value = node->operands[i];
        size_t index = (size_t)value->index;
        bool known = false;
        switch (value->kind) {
        case IR_VALUE_PARAM:
            known = index < module->n_params && &module->params[index]->value == value;
            break;
        case IR_VALUE_CONST:
            known = index < module->n_consts && &module->consts[index]->value == value;
            break;
        case IR_VALUE_ARG:
            known = index < (size_t)function->n_args && function->args[index] == value;
            break;
        case IR_VALUE_RESULT: known = mlcc_map_get(defined, &value, sizeof value, NULL); break;
        }
        if (!known) {
            return ir_verify_node_error(
                node, "%s: operand %d is not defined before its use in @%s", info->text, i,
                function->name);
        }
    }
    return NULL;
}

static mlcc_status *check_callee(
    const verifier *v, size_t place, const ir_node *node, const ir_function **out) {
    const char *name = ir_attr_text(node, "callee");
    uint64_t callee = 0;
    bool found = mlcc_map_get_text(v->functions, name, &callee);
    if (found && callee - 1 < place && v->module->functions[callee - 1]->is_group) {
        *out = v->module->functions[callee - 1];
        return NULL;
    }
    return ir_verify_node_error(
        node, "%s: '%s' is not a group function defined before", ir_op_get(node->op)->text, name);
}

static mlcc_status *check_results(const ir_node *node, const ir_type *types, int32_t n_types) {
    if (node->n_results != n_types) {
        return ir_verify_node_error(
            node, "%s has %d results, found %d", ir_op_get(node->op)->text, n_types,
            node->n_results);
    }
    for (int32_t i = 0; i < n_types; i++) {
        const ir_value *result = node->results[i];
        if (result->kind != IR_VALUE_RESULT || result->def != node || result->index != i) {
            return ir_verify_node_error(node, "result %d is not linked to its node", i);
        }
        if (ir_type_equal(&result->type, &types[i])) continue;
        mlcc_str expected = {0};
        ir_print_type(&types[i], &expected);
        mlcc_status *status = ir_verify_node_error(
            node, "result %d of %s must be %s", i, ir_op_get(node->op)->text,
            mlcc_str_text(&expected));
        mlcc_str_free(&expected);
        return status;
    }
    return NULL;
}

static mlcc_status *check_node(
    const verifier *v, size_t place, const ir_function *function, const ir_node *node,
    const mlcc_map *defined) {
    if (node->op >= IR_N_OPS || node->function != function) {
        return MLCC_ERROR(INVALID, "a node is not linked to its function");
    }
    MLCC_TRY(check_attrs(node));
    MLCC_TRY(check_op_level(v, function, node));
    MLCC_TRY(check_operands(v->module, function, node, defined));
    ir_shape_query query = {
        .op = node->op,
        .operands = node->operands,
        .n_operands = node->n_operands,
        .attrs = node->attrs,
        .result_dtype = IR_N_DTYPES,
    };
    if (is_call(node)) MLCC_TRY(check_callee(v, place, node, &query.callee));
    if (ir_shape_dtype_is_free(node->op) && node->n_results > 0) {
        query.result_dtype = node->results[0]->type.dtype;
    }
    ir_type types[IR_MAX_OPERANDS];
    int32_t n_types = 0;
    mlcc_status *status = ir_shape_infer(&query, types, &n_types);
    if (status != NULL) {
        mlcc_str text = {0};
        ir_print_node(node, &text);
        mlcc_status_note(status, "checking '%s'", mlcc_str_text(&text));
        mlcc_str_free(&text);
        return status;
    }
    return check_results(node, types, n_types);
}

// ---- functions ---------------------------------------------------------------------------------

static mlcc_status *check_args(const ir_module *module, const ir_function *function) {
    mlcc_map *names = mlcc_map_create((size_t)function->n_args + 1);
    mlcc_status *status = NULL;
    for (int32_t i = 0; i < function->n_args; i++) {
        const ir_value *arg = function->args[i];
        MLCC_GOTO(check_name(names, arg->name, "argument"), done);
        MLCC_GOTO(check_type(module, &arg->type, arg->name), done);
        bool grouped = ir_dtype_get(arg->type.dtype)->kind == IR_KIND_GROUPED;
        if (arg->kind != IR_VALUE_ARG || arg->index != i) {
            status = MLCC_ERROR(INVALID, "argument '%s' is not listed properly", arg->name);
        } else if (grouped && !function->is_group) {
            status = MLCC_ERROR(
                INVALID, "argument '%s' of an entry function has dtype %s, which only params have",
                arg->name, ir_dtype_get(arg->type.dtype)->text);
        }
        if (status != NULL) goto done;
    }
done:
    mlcc_map_free(names);
    return status;
}

static mlcc_status *check_nodes(
    const verifier *v, size_t place, const ir_function *function, mlcc_map *defined) {
    const ir_node *prev = NULL;
    for (const ir_node *node = function->first; node != NULL; prev = node, node = node->next) {
        if (node->prev != prev) {
            return MLCC_ERROR(INVALID, "the list of nodes is broken");
        }
        MLCC_TRY(check_node(v, place, function, node, defined));
        for (int32_t i = 0; i < node->n_results; i++) {
            const ir_value *result = node->results[i];
            mlcc_map_set(defined, &result, sizeof result, 1);
            if (result->offset_bytes < 0 || v->level == IR_LEVEL_PLAN) continue;
            return ir_verify_node_error(
                node, "result %d has an offset, which belongs to level plan", i);
        }
    }
    if (function->last != prev) return MLCC_ERROR(INVALID, "the list of nodes is broken");
    for (int32_t i = 0; i < function->n_returns; i++) {
        const ir_value *value = function->returns[i];
        bool known = mlcc_map_get(defined, &value, sizeof value, NULL);
        if (value->kind == IR_VALUE_ARG) {
            known = value->index < function->n_args && function->args[value->index] == value;
        }
        if (!known) {
            return MLCC_ERROR(
                INVALID, "returned value %d is neither a result nor an argument of the function",
                i);
        }
    }
    return NULL;
}

// At most one anchor, all else element-wise, every argument used.
static mlcc_status *check_group(const verifier *v, const ir_function *function) {
    if (v->level == IR_LEVEL_GRAPH) {
        return MLCC_ERROR(INVALID, "group functions belong to levels fused and plan");
    }
    bool anchored = false;
    mlcc_map *used = mlcc_map_create((size_t)function->n_args + 1);
    mlcc_status *status = NULL;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            mlcc_map_set(used, &node->operands[i], sizeof node->operands[i], 1);
        }
        if ((ir_op_get(node->op)->flags & IR_ANCHOR) == 0) continue;
        if (anchored) {
            status =
                ir_verify_node_error(node, "a group holds at most one anchor, this is the second");
            goto done;
        }
        anchored = true;
    }
    for (int32_t i = 0; i < function->n_args; i++) {
        if (mlcc_map_get(used, &function->args[i], sizeof function->args[i], NULL)) continue;
        status = MLCC_ERROR(INVALID, "argument '%s' is not used", function->args[i]->name);
        goto done;
    }
done:
    mlcc_map_free(used);
    return status;
}

static mlcc_status *check_function(const verifier *v, size_t place) {
    const ir_function *function = v->module->functions[place];
    MLCC_TRY(check_name(v->functions, function->name, "function"));
    mlcc_map_set_text(v->functions, function->name, place + 1);
    if (function->module != v->module) return MLCC_ERROR(INVALID, "not linked to its module");
    MLCC_TRY(check_args(v->module, function));
    mlcc_map *defined = mlcc_map_create(256);
    mlcc_status *status = check_nodes(v, place, function, defined);
    mlcc_map_free(defined);
    MLCC_TRY(status);
    if (function->is_group) MLCC_TRY(check_group(v, function));
    bool planned = function->workspace_bytes >= 0;
    if (planned && (v->level != IR_LEVEL_PLAN || function->is_group)) {
        return MLCC_ERROR(
            INVALID, "only entry functions at level plan have a workspace, this one has %lld bytes",
            (long long)function->workspace_bytes);
    }
    return v->level == IR_LEVEL_PLAN ? ir_verify_plan(function) : NULL;
}

// ---- the module --------------------------------------------------------------------------------

mlcc_status *ir_verify(const ir_module *module, ir_level level) {
    static const char *const levels[] = {"graph", "fused", "plan"};
    if (module->level != level) {
        return MLCC_ERROR(
            INVALID, "module @%s is at level %s, expected level %s", module->name,
            levels[module->level], levels[level]);
    }
    verifier v = {.module = module, .level = level};
    mlcc_map *symbols = mlcc_map_create(module->n_symbols + 1);
    mlcc_map *globals = mlcc_map_create(module->n_params + module->n_consts + 1);
    v.functions = mlcc_map_create(module->n_functions + 1);
    mlcc_status *status = check_symbols(module, symbols);
    if (status == NULL) status = check_globals(module, globals);
    for (size_t i = 0; status == NULL && i < module->n_functions; i++) {
        status = mlcc_status_note(
            check_function(&v, i), "checking function @%s", module->functions[i]->name);
    }
    mlcc_map_free(symbols);
    mlcc_map_free(globals);
    mlcc_map_free(v.functions);
    return mlcc_status_note(status, "checking module @%s at level %s", module->name, levels[level]);
}
