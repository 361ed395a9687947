// choose_layouts: every param gets the device layout that the kernels reading it want, written into param->layout.
//
// A param that several groups read (a tied table: embedding and final linear) must get the same answer from all of them; the target's
// layouts are made so that this holds, and a disagreement is our bug.
// Needs: plan level. Cost: one walk over the launches and the groups' operands.
#include "ir/walk.h"
#include "passes/pass.h"

#include <string.h>

// Asks for the layout of argument `index` of `group` at every op that reads it.
static mlcc_status *layout_in_group(
    const ir_function *group, int32_t index, const pass_target *target, ir_param *param) {
    const ir_value *arg = group->args[index];
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (node->operands[i] != arg) continue;
            const char *layout =
                target->choose_layout(target->user, node->op, i, &param->value.type);
            if (param->layout == NULL) {
                param->layout = layout;
            } else if (strcmp(param->layout, layout) != 0) {
                return MLCC_ERROR(
                    INTERNAL, "param '%s' should lie as '%s' and as '%s' (for operand %d of %s)",
                    param->value.name, param->layout, layout, i, ir_op_get(node->op)->text);
            }
        }
    }
    return NULL;
}

static mlcc_status *layout_operands(const ir_node *launch, const pass_target *target) {
    const ir_function *group =
        ir_module_find(launch->function->module, ir_attr_text(launch, "callee"));
    for (int32_t i = 0; i < launch->n_operands; i++) {
        ir_param *param = ir_param_of(launch->operands[i]);
        if (param != NULL) MLCC_TRY(layout_in_group(group, i, target, param));
    }
    return NULL;
}

mlcc_status *pass_choose_layouts(ir_module *module, pass_context *context) {
    if (context->target == NULL) {
        return MLCC_ERROR(
            INVALID, "no target is given; pass --target, for example --target native");
    }
    for (size_t i = 0; i < module->n_params; i++) module->params[i]->layout = NULL;
    for (size_t f = 0; f < module->n_functions; f++) {
        for (const ir_node *node = module->functions[f]->first; node != NULL; node = node->next) {
            if (node->op == IR_OP_LAUNCH) MLCC_TRY(layout_operands(node, context->target));
        }
    }
    for (size_t i = 0; i < module->n_params; i++) {
        const char *layout = module->params[i]->layout;
        if (layout != NULL) module->params[i]->layout = mlcc_arena_strdup(module->keep, layout);
    }
    return NULL;
}
