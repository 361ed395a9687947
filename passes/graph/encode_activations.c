// encode_activations: rounded activations go to linears as fp8 or i8 codes with their scales, where the target multiplies codes.
//
//     %1 = quantize_activation %0 {group = 128}   becomes   %1, %2 = encode_activation %0 {group = 128}
//     %3 = linear %1, @w, @bias                             %3 = linear_scaled %1, @w, %2, @bias {group = 128}
//     %4 = linear_experts %1, @v, %e, @bias                 %4 = linear_scaled_experts %1, @v, %e, %2, @bias {group = 128}
//
// Codes are a byte each, matrix units of newer GPUs and vector units of CPUs multiply them as they are, and the scales meet sums in f32; the product of both, rounded to
// f16 or bf16, is what a linear would read otherwise. A rounding is left alone when anything but a linear that wants codes reads it.
// Needs: graph level, after quantize_activations. Leaves: unread roundings, for prune. Cost: one walk; the readers of a rounding are searched.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/analysis/codes.h"

// Whether `node` multiplies the rows that `rounding` makes and wants them as codes.
static bool wants_codes(const pass_target *target, const ir_node *node, const ir_node *rounding) {
    return node->n_operands >= 2 && node->operands[0] == rounding->results[0] &&
           codes_are_wanted(
               target, node, ir_attr_i64(rounding, "mantissa_bits"),
               ir_attr_i64(rounding, "group"));
}

// Every use is a product's that wants codes, and there is one.
static bool is_wanted(const pass_target *target, const ir_node *rounding) {
    int32_t n_wanted = 0;
    for (const ir_node *node = rounding->next; node != NULL; node = node->next)
        n_wanted += wants_codes(target, node, rounding);
    return n_wanted > 0 &&
           n_wanted == ir_value_count_uses(rounding->function, rounding->results[0]);
}

// The product of codes that stands for `node`; `encoded` stands for the rounding.
static ir_value *product_of_codes(ir_build *b, const ir_node *node, const ir_node *encoded) {
    ir_value *codes = encoded->results[0], *scales = encoded->results[1];
    ir_value *const *operands = node->operands;
    const int64_t group = ir_attr_i64(encoded, "group");
    const ir_dtype dtype = node->results[0]->type.dtype;
    if (node->op == IR_OP_LINEAR_EXPERTS) {
        ir_value *bias = node->n_operands > 3 ? operands[3] : NULL;
        return ir_linear_scaled_experts(
            b, codes, operands[1], operands[2], scales, bias, group, dtype);
    }
    ir_value *bias = node->n_operands > 2 ? operands[2] : NULL;
    return ir_linear_scaled(b, codes, operands[1], scales, bias, group, dtype);
}

static mlcc_status *rewrite_product(ir_node *node, const ir_node *encoded) {
    ir_build b = ir_build_start(node->function);
    b.before = node;
    ir_value *out = product_of_codes(&b, node, encoded);
    MLCC_TRY(b.status);
    ir_value_replace(node->function, node->results[0], out);
    ir_node_erase(node);
    return NULL;
}

static mlcc_status *rewrite_rounding(ir_node *rounding) {
    ir_build b = ir_build_start(rounding->function);
    b.before = rounding;
    ir_value *scale = rounding->n_operands > 1 ? rounding->operands[1] : NULL;
    const ir_node *encoded = ir_encode_activation(
        &b, rounding->operands[0], scale, ir_attr_i64(rounding, "mantissa_bits"),
        ir_attr_i64(rounding, "group"), ir_attr_f64(rounding, "floor"));
    MLCC_TRY(b.status);
    for (ir_node *node = rounding->next, *next; node != NULL; node = next) {
        next = node->next;
        if (node->n_operands > 0 && node->operands[0] == rounding->results[0])
            MLCC_TRY(rewrite_product(node, encoded));
    }
    return NULL;
}

mlcc_status *pass_encode_activations(ir_module *module, pass_context *context) {
    const pass_target *target = context->target;
    if (target == NULL || target->takes_codes == NULL) return NULL;
    for (size_t f = 0; f < module->n_functions; f++) {
        for (ir_node *node = module->functions[f]->first; node != NULL; node = node->next) {
            if (node->op == IR_OP_QUANTIZE_ACTIVATION && is_wanted(target, node)) {
                MLCC_TRY(rewrite_rounding(node));
            }
        }
    }
    return NULL;
}
