#include "passes/analysis/cost.h"

#include "quantization/format.h"

#include <string.h>

// Of a stack, `chosen` experts a row; the rows of one token read no others.
static mlcc_status *add_linear(
    const ir_param *weight, int64_t chosen, bool rows_are_tokens, cost_step *cost) {
    const ir_type *type = &weight->value.type;
    const int64_t n_parts = type->rank == 3 ? type->dims[0].value : 1;
    int64_t flop = 2 * chosen * type->dims[type->rank - 2].value * type->dims[type->rank - 1].value;
    if (rows_are_tokens) {
        cost->flop_per_token += flop;
    } else {
        cost->flop_per_logits_row += flop;
    }
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    MLCC_TRY(quant_format_of(type->dtype)->pieces(type, pieces, &n_pieces));
    for (int32_t i = 0; i < n_pieces; i++) {
        cost->weight_bytes_per_step += (int64_t)pieces[i].size_bytes / n_parts * chosen;
    }
    return NULL;
}

static bool is_of_experts(const ir_node *node) {
    return node->op == IR_OP_LINEAR_EXPERTS || node->op == IR_OP_LINEAR_SCALED_EXPERTS;
}

mlcc_status *cost_add_launch(const ir_node *launch, cost_step *cost) {
    const ir_function *group =
        ir_module_find(launch->function->module, ir_attr_text(launch, "callee"));
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        const bool is_linear = node->op == IR_OP_LINEAR || node->op == IR_OP_LINEAR_SCALED ||
                               node->op == IR_OP_LINEAR_HEADS || is_of_experts(node);
        if (!is_linear || node->operands[1]->kind != IR_VALUE_ARG) continue;
        const ir_param *weight = ir_param_of(launch->operands[node->operands[1]->index]);
        if (weight == NULL) continue;
        const ir_symbol *rows = node->results[0]->type.dims[0].symbol;
        bool rows_are_tokens = rows != NULL && strcmp(rows->name, "n_tokens") == 0;
        const int64_t chosen = is_of_experts(node) ? node->operands[2]->type.dims[1].value
                               : node->op == IR_OP_LINEAR_HEADS ? weight->value.type.dims[0].value
                                                                : 1;
        MLCC_TRY(add_linear(weight, chosen, rows_are_tokens, cost));
    }
    return NULL;
}

mlcc_status *cost_of_step(const ir_function *function, cost_step *out) {
    *out = (cost_step){0};
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (node->op == IR_OP_LAUNCH) MLCC_TRY(cost_add_launch(node, out));
    }
    return NULL;
}
