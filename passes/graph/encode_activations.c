// encode_activations: rounded activations go to linears as fp8 codes with their scales, where the target multiplies codes.
//
//     %1 = quantize_activation %0 {group = 128}   becomes   %1, %2 = encode_activation %0 {group = 128}
//     %3 = linear %1, @w, @bias                             %3 = linear_scaled %1, @w, %2, @bias {group = 128}
//
// Codes are a byte each, matrix units of newer GPUs multiply them as they are, and the scales meet sums in f32; the product of both, rounded to
// f16 or bf16, is what a linear would read otherwise. A rounding is left alone when anything but a linear that wants codes reads it.
// Needs: graph level, after quantize_activations. Leaves: unread roundings, for prune. Cost: one walk; the readers of a rounding are searched.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/pass.h"

static bool is_returned(const ir_value *value) {
    const ir_function *function = value->def->function;
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return true;
    }
    return false;
}

static bool reads(const ir_node *node, const ir_value *value) {
    for (int32_t i = 0; i < node->n_operands; i++) {
        if (node->operands[i] == value) return true;
    }
    return false;
}

// Whether `node`, which reads the rows that `rounding` makes, is a linear that wants them as codes.
static bool wants_codes(const pass_target *target, const ir_node *node, const ir_node *rounding) {
    const ir_value *rows = rounding->results[0];
    if (node->op != IR_OP_LINEAR || node->operands[0] != rows || node->operands[1] == rows ||
        (node->n_operands > 2 && node->operands[2] == rows)) {
        return false;
    }
    return target->takes_codes(
        target->user, &node->operands[1]->type, ir_attr_i64(rounding, "mantissa_bits"),
        ir_attr_i64(rounding, "group"));
}

// Every reader wants codes, and there is one.
static bool is_wanted(const pass_target *target, const ir_node *rounding) {
    const ir_value *rows = rounding->results[0];
    bool has_reader = false;
    if (is_returned(rows)) return false;
    for (const ir_node *node = rounding->next; node != NULL; node = node->next) {
        if (!reads(node, rows)) continue;
        if (!wants_codes(target, node, rounding)) return false;
        has_reader = true;
    }
    return has_reader;
}

// `encoded` stands for the rounding: its results are what the new linear reads.
static mlcc_status *rewrite_linear(ir_node *linear, const ir_node *encoded) {
    ir_build b = ir_build_start(linear->function);
    b.before = linear;
    ir_value *bias = linear->n_operands > 2 ? linear->operands[2] : NULL;
    ir_value *out = ir_linear_scaled(
        &b, encoded->results[0], linear->operands[1], encoded->results[1], bias,
        ir_attr_i64(encoded, "group"), linear->results[0]->type.dtype);
    MLCC_TRY(b.status);
    ir_value_replace(linear->function, linear->results[0], out);
    ir_node_erase(linear);
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
        if (reads(node, rounding->results[0])) MLCC_TRY(rewrite_linear(node, encoded));
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
