// fuse_elementwise: every anchor takes the element-wise ops around it; what is left becomes element-wise groups.
//
//     %1 = slice %0 …                                      prologue: operands that the anchor's kernels read through a load expression
//     %2 = rope %1, %t           becomes                   (mask in ops.def), as far back as every intermediate is read here only
//     %3 = paged_attention %2 …    %3 = call %0, %t …      epilogue: point-wise ops on the anchor's only result, of the same shape
//
// Epilogues exclude slice, rope and combine_experts: they move columns, and a kernel stores an element when it has computed that element.
// Anchors come first, so that silu(gate) * up, read by a linear without a prologue, ends as one group of its own.
// Needs: fused level. Leaves: calls only. Cost: quadratic in the nodes of one function at worst (uses are searched).
#include "ir/walk.h"
#include "passes/graph/grouping.h"

static bool is_elementwise(const ir_node *node) {
    return (ir_op_get(node->op)->flags & IR_ELEMENTWISE) != 0;
}
static bool is_anchor(const ir_node *node) {
    return (ir_op_get(node->op)->flags & IR_ANCHOR) != 0;
}
static bool moves_columns(const ir_node *node) {
    return node->op == IR_OP_SLICE || node->op == IR_OP_ROPE || node->op == IR_OP_COMBINE_EXPERTS;
}

// Adds the element-wise producers of `value`, as far back as only the set reads them.
static void take_producers(grouping *set, const ir_value *value) {
    if (value->kind != IR_VALUE_RESULT || !is_elementwise(value->def)) return;
    if (grouping_contains(set, value->def) || !grouping_owns_uses(set, value->def)) return;
    if (!grouping_add(set, value->def)) return;
    if (!grouping_can_move(set)) {
        set->n_nodes--;
        return;
    }
    for (int32_t i = 0; i < value->def->n_operands; i++) {
        take_producers(set, value->def->operands[i]);
    }
}

// The only reader of `value`, or NULL when there are none, several, or the function returns it.
static ir_node *only_reader(const ir_value *value) {
    const ir_function *function = value->def->function;
    ir_node *reader = NULL;
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return NULL;
    }
    for (ir_node *node = value->def->next; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (node->operands[i] != value) continue;
            if (reader != NULL && reader != node) return NULL;
            reader = node;
        }
    }
    return reader;
}

static void take_epilogue(grouping *set, ir_node *anchor) {
    if (ir_op_get(anchor->op)->flags & IR_IN_PLACE || anchor->n_results != 1) return;
    for (ir_value *value = anchor->results[0];;) {
        ir_node *reader = only_reader(value);
        if (reader == NULL || !is_elementwise(reader) || moves_columns(reader)) return;
        const ir_type *before = &value->type, *after = &reader->results[0]->type;
        if (after->rank != 2 || !ir_dim_equal(before->dims[0], after->dims[0]) ||
            !ir_dim_equal(before->dims[1], after->dims[1])) {
            return;
        }
        // The value must be the one that gives the result its rows: in add(row, value) it would be broadcast the wrong way.
        if (reader->operands[0] != value && reader->operands[0]->type.rank != 2) return;
        if (!grouping_add(set, reader)) return;
        if (!grouping_can_move(set)) {
            set->n_nodes--;
            return;
        }
        value = reader->results[0];
    }
}

static mlcc_status *group_anchors(ir_function *function, mlcc_arena *scratch) {
    for (ir_node *node = function->first, *next; node != NULL; node = next) {
        next = node->next;
        if (!is_anchor(node)) continue;
        grouping set = {0};
        grouping_add(&set, node);
        uint32_t prologue = ir_op_get(node->op)->prologue;
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (prologue >> i & 1u) take_producers(&set, node->operands[i]);
        }
        take_epilogue(&set, node);
        // The epilogue's nodes vanish with the group: go on behind the last of them.
        while (next != NULL && grouping_contains(&set, next)) next = next->next;
        MLCC_TRY(grouping_extract(&set, ir_op_get(node->op)->text, scratch));
    }
    return NULL;
}

// Backwards, so that the last reader of a chain is its root.
static mlcc_status *group_rest(ir_function *function, mlcc_arena *scratch) {
    for (ir_node *node = function->last, *previous; node != NULL; node = previous) {
        previous = node->prev;
        if (!is_elementwise(node)) continue;
        grouping set = {0};
        grouping_add(&set, node);
        for (int32_t i = 0; i < node->n_operands; i++) take_producers(&set, node->operands[i]);
        while (previous != NULL && grouping_contains(&set, previous)) previous = previous->prev;
        MLCC_TRY(grouping_extract(&set, "elementwise", scratch));
    }
    return NULL;
}

mlcc_status *pass_fuse_elementwise(ir_module *module, pass_context *context) {
    for (size_t f = module->n_functions; f-- > 0;) {
        ir_function *function = module->functions[f];
        if (function->is_group) continue;
        MLCC_TRY(group_anchors(function, context->scratch));
        MLCC_TRY(group_rest(function, context->scratch));
    }
    return NULL;
}
