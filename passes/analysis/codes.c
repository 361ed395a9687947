#include "passes/analysis/codes.h"

// Experts' parts of `x`, if it has any, begin where groups do.
static bool parts_are_whole(const ir_node *experts, int64_t group) {
    const ir_dim depth = experts->operands[1]->type.dims[2];
    if (ir_dim_equal(experts->operands[0]->type.dims[1], depth)) return true;
    return group != 0 && depth.value % group == 0;
}

bool codes_are_wanted(
    const pass_target *target, const ir_node *node, int64_t mantissa_bits, int64_t group) {
    if (node->op != IR_OP_LINEAR && node->op != IR_OP_LINEAR_EXPERTS) return false;
    if (node->op == IR_OP_LINEAR_EXPERTS && !parts_are_whole(node, group)) return false;
    return target->takes_codes(target->user, &node->operands[1]->type, mantissa_bits, group);
}
