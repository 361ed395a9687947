// prune: what nobody reads is dropped: nodes, then groups, params and constants.
//
// All ops are values of their operands (an in-place op matters only through its result), so an unread result is a dead node.
// Needs: graph level or above. Cost: one walk backwards, uses counted once and kept up to date.
#include "ir/walk.h"
#include "passes/pass.h"

// Uses of every value, kept in value->user while the pass runs.
static void set_uses(ir_value *value, intptr_t n_uses) {
    value->user = (void *)n_uses;
}
static intptr_t get_uses(const ir_value *value) {
    return (intptr_t)value->user;
}

static void clear_uses(ir_module *module) {
    for (size_t i = 0; i < module->n_params; i++) set_uses(&module->params[i]->value, 0);
    for (size_t i = 0; i < module->n_consts; i++) set_uses(&module->consts[i]->value, 0);
    for (size_t f = 0; f < module->n_functions; f++) {
        ir_function *function = module->functions[f];
        for (int32_t i = 0; i < function->n_args; i++) set_uses(function->args[i], 0);
        for (ir_node *node = function->first; node != NULL; node = node->next) {
            for (int32_t r = 0; r < node->n_results; r++) set_uses(node->results[r], 0);
        }
    }
}

static void count_uses(ir_function *function) {
    for (ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            set_uses(node->operands[i], get_uses(node->operands[i]) + 1);
        }
    }
    for (int32_t i = 0; i < function->n_returns; i++) {
        set_uses(function->returns[i], get_uses(function->returns[i]) + 1);
    }
}

static void prune_nodes(ir_function *function) {
    for (ir_node *node = function->last, *previous; node != NULL; node = previous) {
        previous = node->prev;
        bool is_read = false;
        for (int32_t r = 0; r < node->n_results; r++) is_read |= get_uses(node->results[r]) > 0;
        if (is_read) continue;
        for (int32_t i = 0; i < node->n_operands; i++) {
            set_uses(node->operands[i], get_uses(node->operands[i]) - 1);
        }
        ir_node_erase(node);
    }
}

static bool is_called(const ir_module *module, const ir_function *group) {
    for (size_t f = 0; f < module->n_functions; f++) {
        for (ir_node *node = module->functions[f]->first; node != NULL; node = node->next) {
            if ((node->op == IR_OP_CALL || node->op == IR_OP_LAUNCH) &&
                ir_module_find(module, ir_attr_text(node, "callee")) == group) {
                return true;
            }
        }
    }
    return false;
}

mlcc_status *pass_prune(ir_module *module, pass_context *context) {
    (void)context;
    clear_uses(module);
    for (size_t f = 0; f < module->n_functions; f++) count_uses(module->functions[f]);
    for (size_t f = module->n_functions; f-- > 0;) prune_nodes(module->functions[f]);
    for (size_t f = module->n_functions; f-- > 0;) {
        ir_function *function = module->functions[f];
        if (function->is_group && !is_called(module, function)) {
            ir_module_remove_function(module, function);
        }
    }
    for (size_t i = module->n_params; i-- > 0;) {
        if (get_uses(&module->params[i]->value) == 0) {
            ir_module_remove_param(module, module->params[i]);
        }
    }
    for (size_t i = module->n_consts; i-- > 0;) {
        if (get_uses(&module->consts[i]->value) == 0) {
            ir_module_remove_const(module, module->consts[i]);
        }
    }
    return NULL;
}
