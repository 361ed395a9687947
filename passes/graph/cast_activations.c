// cast_activations: the rows that linears with bfloat16 weights read are rounded to bfloat16, where the target multiplies pairs of it.
//
//     %1 = linear %0, @w     becomes     %1 = cast %0 : bf16[n_tokens, 64]
//                                        %2 = linear %1, @w
//
// Products of two bfloat16 are exact in float32, so the cast is all that is lost beside the order of sums; the kernel of what made the rows stores
// them so. Linears of the same rows share the cast. `--opt exact` leaves rows as they are, and so do targets that multiply floats only.
// Needs: graph level, after quantize (it looks at dtypes) and the passes that round activations otherwise. Cost: one walk; a linear searches
// the nodes since its rows were made.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/pass.h"

static bool is_wanted(const pass_target *target, const ir_node *node) {
    return node->op == IR_OP_LINEAR && node->operands[0]->type.dtype == IR_F32 &&
           node->operands[1]->kind == IR_VALUE_PARAM &&
           target->takes_dtype(target->user, &node->operands[1]->type, IR_BF16);
}

// The rows that `linear` reads, rounded: by a node before it, or by a new one.
static ir_value *rounded_rows(ir_build *b, const ir_node *linear) {
    ir_value *x = linear->operands[0];
    const ir_node *node = x->kind == IR_VALUE_RESULT ? x->def->next : linear->function->first;
    for (; node != linear; node = node->next) {
        if (node->op == IR_OP_CAST && node->operands[0] == x &&
            node->results[0]->type.dtype == IR_BF16)
            return node->results[0];
    }
    return ir_cast(b, x, IR_BF16);
}

mlcc_status *pass_cast_activations(ir_module *module, pass_context *context) {
    const pass_target *target = context->target;
    if (context->exact || target == NULL || target->takes_dtype == NULL) return NULL;
    for (size_t f = 0; f < module->n_functions; f++) {
        for (ir_node *node = module->functions[f]->first; node != NULL; node = node->next) {
            if (!is_wanted(target, node)) continue;
            ir_build b = ir_build_start(node->function);
            b.before = node;
            ir_value *rounded = rounded_rows(&b, node);
            MLCC_TRY(b.status);
            node->operands[0] = rounded;
        }
    }
    return NULL;
}
