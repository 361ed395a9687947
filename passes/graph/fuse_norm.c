// fuse_norm: a row norm and the residual add in front of it become one group with two results.
//
//     %2 = add %0, %1
//     %3 = rms_norm %2, @gain      becomes   %2, %3 = call %0, %1, @gain {callee = "add_rms_norm"}
//     … %2 is read again …
//
// The sum is needed twice, by the norm and by the next residual add, so it is no ordinary prologue: the kernel keeps it while it reads it.
// On a tensor-parallel device the all-reduce ends right before this pair, which is why the add belongs here and not to the linear.
// Needs: graph level. Leaves: fused level. Cost: one walk.
// Source: MLC LLM's FuseAddRMSNorm.
#include "ir/walk.h"
#include "passes/graph/grouping.h"

// Of the group; NULL: no row norm.
static const char *name_of(ir_op op) {
    return op == IR_OP_RMS_NORM ? "add_rms_norm" : op == IR_OP_LAYER_NORM ? "add_layer_norm" : NULL;
}

mlcc_status *pass_fuse_norm(ir_module *module, pass_context *context) {
    for (size_t f = module->n_functions; f-- > 0;) {
        ir_function *function = module->functions[f];
        if (function->is_group) continue;
        for (ir_node *node = function->first, *next; node != NULL; node = next) {
            next = node->next;
            const char *name = name_of(node->op);
            if (name == NULL) continue;
            ir_value *x = node->operands[0];
            if (x->kind != IR_VALUE_RESULT || x->def->op != IR_OP_ADD) continue;
            grouping set = {0};
            grouping_add(&set, x->def);
            grouping_add(&set, node);
            if (!grouping_can_move(&set)) continue;
            MLCC_TRY(grouping_extract(&set, name, context->scratch));
        }
    }
    module->level = IR_LEVEL_FUSED;
    return NULL;
}
