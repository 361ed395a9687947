// canonicalize: one spelling per meaning, so that later passes look for one pattern only.
//
//     scale by 1                     becomes its operand
//     cast to the operand's dtype    becomes its operand
//     slice of all columns           becomes its operand
//     slice of a slice               becomes one slice
//     scale of a scale               becomes one scale
//
// Needs: graph level. Leaves: unread inner slices and scales, for prune. Cost: one walk.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/pass.h"

// The value that `node` may be replaced by, or NULL.
static ir_value *same_as(const ir_node *node) {
    ir_value *x = node->n_operands > 0 ? node->operands[0] : NULL;
    switch (node->op) {
    case IR_OP_SCALE: return ir_attr_f64(node, "factor") == 1.0 ? x : NULL;
    case IR_OP_CAST: return node->results[0]->type.dtype == x->type.dtype ? x : NULL;
    case IR_OP_SLICE: return ir_type_equal(&node->results[0]->type, &x->type) ? x : NULL;
    default: return NULL;
    }
}

static bool is_result_of(const ir_value *value, ir_op op) {
    return value->kind == IR_VALUE_RESULT && value->def->op == op;
}

static void merge_with_operand(ir_node *node) {
    ir_value *x = node->n_operands > 0 ? node->operands[0] : NULL;
    if (node->op == IR_OP_SLICE && is_result_of(x, IR_OP_SLICE) &&
        ir_attr_i64(node, "parts") == 1 && ir_attr_i64(x->def, "parts") == 1) {
        int64_t shift = ir_attr_i64(x->def, "begin");
        ir_attr_set_i64(node, "begin", ir_attr_i64(node, "begin") + shift);
        ir_attr_set_i64(node, "end", ir_attr_i64(node, "end") + shift);
        node->operands[0] = x->def->operands[0];
    } else if (node->op == IR_OP_SCALE && is_result_of(x, IR_OP_SCALE) && x->type.dtype == IR_F32) {
        // In f16 the inner product is rounded on the way; only f32 is close enough to exact.
        ir_attr_set_f64(
            node, "factor", ir_attr_f64(node, "factor") * ir_attr_f64(x->def, "factor"));
        node->operands[0] = x->def->operands[0];
    }
}

mlcc_status *pass_canonicalize(ir_module *module, pass_context *context) {
    (void)context;
    for (size_t f = 0; f < module->n_functions; f++) {
        ir_function *function = module->functions[f];
        for (ir_node *node = function->first, *next; node != NULL; node = next) {
            next = node->next;
            merge_with_operand(node);
            ir_value *replacement = same_as(node);
            if (replacement != NULL) {
                ir_value_replace(function, node->results[0], replacement);
                ir_node_erase(node);
            }
        }
    }
    return NULL;
}
