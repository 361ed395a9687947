// walk: uses, replacement, erasure, order, copies.
#include "ir/walk.h"

#include "ir/builder.h"
#include "ir/module.h"
#include "runtime/base/map.h"

#include <assert.h>
#include <string.h>

int32_t ir_value_count_uses(const ir_function *function, const ir_value *value) {
    int32_t uses = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) uses += node->operands[i] == value;
    }
    for (int32_t i = 0; i < function->n_returns; i++) uses += function->returns[i] == value;
    return uses;
}

// One walk in order marks what comes from the source.
bool ir_value_depends(const ir_function *function, const ir_value *value, const ir_value *source) {
    bool depends = value == source;
    for (const ir_node *node = function->first; node != NULL && !depends; node = node->next) {
        bool reads = false;
        for (int32_t i = 0; i < node->n_operands; i++) {
            const ir_value *operand = node->operands[i];
            reads = reads || operand == source ||
                    (operand->kind == IR_VALUE_RESULT && operand->user != NULL);
        }
        for (int32_t r = 0; r < node->n_results; r++) {
            ir_value *result = node->results[r];
            result->user = reads ? result : NULL;
            depends = depends || (reads && result == value);
        }
    }
    return depends;
}

void ir_value_replace(ir_function *function, ir_value *from, ir_value *to) {
    for (ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (node->operands[i] == from) node->operands[i] = to;
        }
    }
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == from) function->returns[i] = to;
    }
}

static void unlink_node(ir_node *node) {
    ir_function *function = node->function;
    if (node->prev != NULL)
        node->prev->next = node->next;
    else
        function->first = node->next;
    if (node->next != NULL)
        node->next->prev = node->prev;
    else
        function->last = node->prev;
    node->prev = node->next = NULL;
}

void ir_node_erase(ir_node *node) {
    for (int32_t i = 0; i < node->n_results; i++) {
        assert(ir_value_count_uses(node->function, node->results[i]) == 0);
    }
    unlink_node(node);
    node->function = NULL;
}

void ir_node_move_before(ir_node *node, ir_node *position) {
    assert(node->function == position->function);
    if (node == position) return;
    ir_function *function = node->function;
    unlink_node(node);
    node->prev = position->prev;
    node->next = position;
    if (node->prev != NULL)
        node->prev->next = node;
    else
        function->first = node;
    position->prev = node;
}

bool ir_node_precedes(const ir_node *a, const ir_node *b) {
    assert(a->function == b->function);
    for (const ir_node *node = a->next; node != NULL; node = node->next) {
        if (node == b) return true;
    }
    return false;
}

void ir_module_remove_function(ir_module *module, ir_function *function) {
    for (size_t i = 0; i < module->n_functions; i++) {
        if (module->functions[i] != function) continue;
        module->n_functions--;
        memmove(
            module->functions + i, module->functions + i + 1,
            (module->n_functions - i) * sizeof *module->functions);
        return;
    }
}

void ir_module_remove_param(ir_module *module, ir_param *param) {
    size_t n_left = 0;
    for (size_t i = 0; i < module->n_params; i++) {
        if (module->params[i] == param) continue;
        module->params[n_left] = module->params[i];
        module->params[n_left]->value.index = (int32_t)n_left;
        n_left++;
    }
    module->n_params = n_left;
}

void ir_module_move_param(ir_module *module, ir_param *param, size_t index) {
    size_t from = (size_t)param->value.index;
    while (from < index) {
        module->params[from] = module->params[from + 1];
        from++;
    }
    while (from > index) {
        module->params[from] = module->params[from - 1];
        from--;
    }
    module->params[index] = param;
    for (size_t i = 0; i < module->n_params; i++) module->params[i]->value.index = (int32_t)i;
}

void ir_module_move_function(ir_module *module, ir_function *function, const ir_function *before) {
    size_t n_left = 0;
    for (size_t i = 0; i < module->n_functions; i++) {
        if (module->functions[i] != function) module->functions[n_left++] = module->functions[i];
    }
    size_t at = 0;
    while (at < n_left && module->functions[at] != before) at++;
    for (size_t i = n_left; i > at; i--) module->functions[i] = module->functions[i - 1];
    module->functions[at] = function;
}

void ir_module_remove_const(ir_module *module, ir_const *constant) {
    size_t n_left = 0;
    for (size_t i = 0; i < module->n_consts; i++) {
        if (module->consts[i] == constant) continue;
        module->consts[n_left] = module->consts[i];
        module->consts[n_left]->value.index = (int32_t)n_left;
        n_left++;
    }
    module->n_consts = n_left;
}

// ---- memory ------------------------------------------------------------------------------------

static ir_value *in_place_operand(const ir_value *value) {
    const ir_node *node = value->def;
    if (value->kind != IR_VALUE_RESULT) return NULL;
    if ((ir_op_get(node->op)->flags & IR_IN_PLACE) != 0) {
        return value->index == 0 ? node->operands[0] : NULL;
    }
    if (node->op != IR_OP_CALL && node->op != IR_OP_LAUNCH) return NULL;
    const ir_function *callee =
        ir_module_find(node->function->module, ir_attr_text(node, "callee"));
    if (callee == NULL || !callee->is_group || value->index >= callee->n_returns) return NULL;
    // Groups hold no calls, so this goes one level down and no further.
    const ir_value *inner = callee->returns[value->index];
    while (inner->kind == IR_VALUE_RESULT && inner->index == 0 &&
           (ir_op_get(inner->def->op)->flags & IR_IN_PLACE) != 0) {
        inner = inner->def->operands[0];
    }
    bool is_arg = inner->kind == IR_VALUE_ARG && inner->index < node->n_operands;
    return is_arg ? node->operands[inner->index] : NULL;
}

ir_value *ir_value_memory_root(ir_value *value) {
    for (ir_value *operand; (operand = in_place_operand(value)) != NULL;) value = operand;
    return value;
}

// ---- copies ------------------------------------------------------------------------------------

// Copies nodes of one function into another one of the same or of another module.
typedef struct copier {
    const ir_module *from;
    ir_module *to;
    mlcc_map *values; // address of a source value → address of its copy
} copier;

static void copier_set(copier *copy, const ir_value *from, ir_value *to) {
    mlcc_map_set(copy->values, &from, sizeof from, (uint64_t)(uintptr_t)to);
}

static ir_value *copier_value(const copier *copy, ir_value *from) {
    if (from->kind == IR_VALUE_PARAM || from->kind == IR_VALUE_CONST) {
        if (copy->from == copy->to) return from;
        if (from->kind == IR_VALUE_PARAM) return &copy->to->params[from->index]->value;
        return &copy->to->consts[from->index]->value;
    }
    uint64_t address = 0;
    bool found = mlcc_map_get(copy->values, &from, sizeof from, &address);
    assert(found);
    return found ? (ir_value *)(uintptr_t)address : NULL;
}

static ir_type copier_type(const copier *copy, const ir_type *from) {
    ir_type type = *from;
    if (copy->from == copy->to) return type;
    for (int32_t i = 0; i < type.rank; i++) {
        const ir_symbol *symbol = type.dims[i].symbol;
        if (symbol != NULL) type.dims[i].symbol = copy->to->symbols[symbol->index];
    }
    return type;
}

static void copy_node(
    copier *copy, const ir_node *source, ir_function *target, ir_node *before, mlcc_arena *keep) {
    ir_value **operands = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)source->n_operands);
    ir_type *types = MLCC_NEW_ARRAY(keep, ir_type, (size_t)source->n_results);
    for (int32_t i = 0; i < source->n_operands; i++) {
        operands[i] = copier_value(copy, source->operands[i]);
    }
    for (int32_t i = 0; i < source->n_results; i++) {
        types[i] = copier_type(copy, &source->results[i]->type);
    }
    ir_node *node = ir_function_insert(
        target, before, source->op, operands, source->n_operands, source->attrs, source->n_attrs,
        types, source->n_results);
    for (int32_t i = 0; i < source->n_results; i++) {
        if (copy->from != copy->to) {
            node->results[i]->offset_bytes = source->results[i]->offset_bytes;
        }
        copier_set(copy, source->results[i], node->results[i]);
    }
}

void ir_function_inline(
    const ir_function *source, ir_function *target, ir_node *before, ir_value *const *map_args,
    ir_value **results) {
    assert(source->module == target->module && source != target);
    mlcc_arena *scratch = mlcc_arena_create();
    copier copy = {.from = source->module, .to = target->module, .values = mlcc_map_create(64)};
    for (int32_t i = 0; i < source->n_args; i++) copier_set(&copy, source->args[i], map_args[i]);
    for (const ir_node *node = source->first; node != NULL; node = node->next) {
        copy_node(&copy, node, target, before, scratch);
    }
    for (int32_t i = 0; i < source->n_returns; i++) {
        results[i] = copier_value(&copy, source->returns[i]);
    }
    mlcc_map_free(copy.values);
    mlcc_arena_free(scratch);
}

static void clone_function(copier *copy, const ir_function *source, mlcc_arena *scratch) {
    ir_function *function = ir_module_append_function(copy->to, source->name, source->is_group);
    function->workspace_bytes = source->workspace_bytes;
    for (int32_t i = 0; i < source->n_args; i++) {
        const ir_value *arg = source->args[i];
        copier_set(
            copy, arg, ir_function_add_arg(function, arg->name, copier_type(copy, &arg->type)));
    }
    for (const ir_node *node = source->first; node != NULL; node = node->next) {
        copy_node(copy, node, function, NULL, scratch);
    }
    mlcc_arena *keep = copy->to->keep;
    function->n_returns = source->n_returns;
    function->returns = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)source->n_returns);
    for (int32_t i = 0; i < source->n_returns; i++) {
        function->returns[i] = copier_value(copy, source->returns[i]);
    }
}

ir_module *ir_module_clone(const ir_module *module, mlcc_arena *keep) {
    ir_module *clone = MLCC_NEW(keep, ir_module);
    clone->keep = keep;
    clone->name = mlcc_arena_strdup(keep, module->name);
    clone->level = module->level;
    copier copy = {.from = module, .to = clone, .values = mlcc_map_create(64)};
    mlcc_arena *scratch = mlcc_arena_create();
    for (size_t i = 0; i < module->n_symbols; i++) {
        ir_module_append_symbol(clone, module->symbols[i]->name, module->symbols[i]->bound);
    }
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        ir_param *copied = ir_module_append_param(
            clone, param->value.name, copier_type(&copy, &param->value.type), param->sources,
            param->n_sources);
        if (param->fused_name != NULL)
            copied->fused_name = mlcc_arena_strdup(keep, param->fused_name);
        copied->has_fallback = param->has_fallback;
        copied->fallback = param->fallback;
        if (param->layout != NULL) copied->layout = mlcc_arena_strdup(keep, param->layout);
    }
    for (size_t i = 0; i < module->n_consts; i++) {
        const ir_const *constant = module->consts[i];
        int64_t size_bytes = 0;
        bool fits = ir_type_bound_bytes(&constant->value.type, &size_bytes);
        assert(fits);
        void *data = fits ? mlcc_arena_memdup(keep, constant->data, (size_t)size_bytes) : NULL;
        ir_module_append_const(
            clone, constant->value.name, copier_type(&copy, &constant->value.type), data);
    }
    // In list order: a clone of a module whose groups precede their callers is again one.
    for (size_t i = 0; i < module->n_functions; i++) {
        clone_function(&copy, module->functions[i], scratch);
    }
    mlcc_map_free(copy.values);
    mlcc_arena_free(scratch);
    return clone;
}
