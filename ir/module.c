// module: making modules, params, constants and functions, and finding them by name.
#include "ir/module.h"

#include "ir/builder.h"

#include <assert.h>
#include <string.h>

ir_module *ir_module_create(mlcc_arena *keep, const char *name) {
    ir_module *module = MLCC_NEW(keep, ir_module);
    module->keep = keep;
    module->name = mlcc_arena_strdup(keep, name);
    module->level = IR_LEVEL_GRAPH;
    return module;
}

// ---- symbols -----------------------------------------------------------------------------------

ir_symbol *ir_module_append_symbol(ir_module *module, const char *name, int64_t bound) {
    ir_symbol *symbol = MLCC_NEW(module->keep, ir_symbol);
    symbol->name = mlcc_arena_strdup(module->keep, name);
    symbol->bound = bound;
    symbol->index = (int32_t)module->n_symbols;
    MLCC_ARENA_GROW(module->keep, module->symbols, module->n_symbols, module->symbols_capacity);
    module->symbols[module->n_symbols++] = symbol;
    return symbol;
}

ir_symbol *ir_module_symbol(ir_module *module, const char *name, int64_t bound) {
    for (size_t i = 0; i < module->n_symbols; i++) {
        ir_symbol *symbol = module->symbols[i];
        if (strcmp(symbol->name, name) != 0) continue;
        if (symbol->bound < bound) symbol->bound = bound;
        return symbol;
    }
    return ir_module_append_symbol(module, name, bound);
}

// ---- params and constants ----------------------------------------------------------------------

// Params and constants share one space of names: both are written @name.
static bool name_is_taken(const ir_module *module, const char *name) {
    if (ir_module_find_param(module, name) != NULL) return true;
    for (size_t i = 0; i < module->n_consts; i++) {
        if (strcmp(module->consts[i]->value.name, name) == 0) return true;
    }
    return false;
}

ir_param *ir_module_append_param(
    ir_module *module, const char *name, ir_type type, const char *const *sources,
    int32_t n_sources) {
    ir_param *param = MLCC_NEW(module->keep, ir_param);
    param->value = (ir_value){
        .kind = IR_VALUE_PARAM,
        .name = mlcc_arena_strdup(module->keep, name),
        .type = type,
        .index = (int32_t)module->n_params,
        .offset_bytes = -1,
    };
    param->sources = MLCC_NEW_ARRAY(module->keep, const char *, (size_t)n_sources);
    for (int32_t i = 0; i < n_sources; i++) {
        param->sources[i] = mlcc_arena_strdup(module->keep, sources[i]);
    }
    param->n_sources = n_sources;
    MLCC_ARENA_GROW(module->keep, module->params, module->n_params, module->params_capacity);
    module->params[module->n_params++] = param;
    return param;
}

ir_param *ir_module_add_param(
    ir_module *module, const char *name, ir_type type, const char *const *sources,
    int32_t n_sources) {
    if (name_is_taken(module, name)) return NULL;
    return ir_module_append_param(module, name, type, sources, n_sources);
}

ir_const *ir_module_append_const(ir_module *module, const char *name, ir_type type, void *data) {
    ir_const *constant = MLCC_NEW(module->keep, ir_const);
    constant->value = (ir_value){
        .kind = IR_VALUE_CONST,
        .name = mlcc_arena_strdup(module->keep, name),
        .type = type,
        .index = (int32_t)module->n_consts,
        .offset_bytes = -1,
    };
    constant->data = data;
    MLCC_ARENA_GROW(module->keep, module->consts, module->n_consts, module->consts_capacity);
    module->consts[module->n_consts++] = constant;
    return constant;
}

ir_const *ir_module_add_const(ir_module *module, const char *name, ir_type type, const void *data) {
    if (name_is_taken(module, name)) return NULL;
    int64_t size_bytes = 0;
    bool fits = ir_type_bound_bytes(&type, &size_bytes);
    assert(fits);
    if (!fits) return NULL;
    void *copy = mlcc_arena_memdup(module->keep, data, (size_t)size_bytes);
    return ir_module_append_const(module, name, type, copy);
}

ir_param *ir_module_find_param(const ir_module *module, const char *name) {
    for (size_t i = 0; i < module->n_params; i++) {
        if (strcmp(module->params[i]->value.name, name) == 0) return module->params[i];
    }
    return NULL;
}

// ---- functions ---------------------------------------------------------------------------------

ir_function *ir_module_append_function(ir_module *module, const char *name, bool is_group) {
    ir_function *function = MLCC_NEW(module->keep, ir_function);
    function->name = mlcc_arena_strdup(module->keep, name);
    function->is_group = is_group;
    function->workspace_bytes = -1;
    function->module = module;
    MLCC_ARENA_GROW(
        module->keep, module->functions, module->n_functions, module->functions_capacity);
    size_t place = module->n_functions;
    while (is_group && place > 0 && !module->functions[place - 1]->is_group) place--;
    memmove(
        module->functions + place + 1, module->functions + place,
        (module->n_functions - place) * sizeof *module->functions);
    module->functions[place] = function;
    module->n_functions++;
    return function;
}

ir_function *ir_module_add_function(ir_module *module, const char *name, bool is_group) {
    if (ir_module_find(module, name) != NULL) return NULL;
    return ir_module_append_function(module, name, is_group);
}

ir_function *ir_module_find(const ir_module *module, const char *function_name) {
    for (size_t i = 0; i < module->n_functions; i++) {
        if (strcmp(module->functions[i]->name, function_name) == 0) return module->functions[i];
    }
    return NULL;
}

const char *ir_module_fresh_name(ir_module *module, const char *prefix) {
    if (ir_module_find(module, prefix) == NULL) return mlcc_arena_strdup(module->keep, prefix);
    for (size_t i = 1;; i++) {
        const char *name = mlcc_arena_printf(module->keep, "%s.%zu", prefix, i);
        if (ir_module_find(module, name) == NULL) return name;
    }
}

ir_value *ir_function_add_arg(ir_function *function, const char *name, ir_type type) {
    mlcc_arena *keep = function->module->keep;
    ir_value *arg = MLCC_NEW(keep, ir_value);
    *arg = (ir_value){
        .kind = IR_VALUE_ARG,
        .name = mlcc_arena_strdup(keep, name),
        .type = type,
        .index = function->n_args,
        .offset_bytes = -1,
    };
    // The list has no capacity of its own: it is as large as the power of two that holds n_args.
    size_t n_args = (size_t)function->n_args;
    if ((n_args & (n_args - 1)) == 0) {
        ir_value **larger = MLCC_NEW_ARRAY(keep, ir_value *, n_args == 0 ? 1 : 2 * n_args);
        if (n_args > 0) memcpy(larger, function->args, n_args * sizeof *larger);
        function->args = larger;
    }
    function->args[function->n_args++] = arg;
    return arg;
}

void ir_function_set_returns(ir_function *function, ir_value *const *values, int32_t n_values) {
    function->returns = MLCC_NEW_ARRAY(function->module->keep, ir_value *, (size_t)n_values);
    for (int32_t i = 0; i < n_values; i++) function->returns[i] = values[i];
    function->n_returns = n_values;
}

static void link_node(ir_function *function, ir_node *node, ir_node *before) {
    node->function = function;
    node->next = before;
    node->prev = before != NULL ? before->prev : function->last;
    if (node->prev != NULL)
        node->prev->next = node;
    else
        function->first = node;
    if (before != NULL)
        before->prev = node;
    else
        function->last = node;
}

ir_node *ir_function_insert(
    ir_function *function, ir_node *before, ir_op op, ir_value *const *operands, int32_t n_operands,
    const ir_attr *attrs, int32_t n_attrs, const ir_type *types, int32_t n_results) {
    mlcc_arena *keep = function->module->keep;
    ir_node *node = MLCC_NEW(keep, ir_node);
    node->op = op;
    node->n_operands = n_operands;
    node->operands = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)n_operands);
    for (int32_t i = 0; i < n_operands; i++) node->operands[i] = operands[i];
    node->n_attrs = n_attrs;
    node->attrs = MLCC_NEW_ARRAY(keep, ir_attr, (size_t)n_attrs);
    for (int32_t i = 0; i < n_attrs; i++) {
        node->attrs[i] = attrs[i];
        if (attrs[i].kind == IR_ATTR_TEXT) {
            node->attrs[i].as.text = mlcc_arena_strdup(keep, attrs[i].as.text);
        }
    }
    node->n_results = n_results;
    node->results = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)n_results);
    for (int32_t i = 0; i < n_results; i++) {
        ir_value *result = MLCC_NEW(keep, ir_value);
        *result = (ir_value){
            .kind = IR_VALUE_RESULT,
            .type = types[i],
            .def = node,
            .index = i,
            .offset_bytes = -1,
        };
        node->results[i] = result;
    }
    link_node(function, node, before);
    return node;
}
