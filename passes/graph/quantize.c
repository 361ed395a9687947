// quantize: every param gets the element format that the mode gives to its use.
//
//     weight of a linear      mode.linear;  `lm_head.weight` and its like: mode.head;  mode.fallback where the shape does not fit
//                             mode.model when one of its sources is a module that the checkpoint keeps in float
//     stack of experts       mode.linear, or what of mode.fallback and mode.embedding is stored row by row
//     table of an embedding   mode.embedding (a tied table is one param and keeps this format in both uses)
//     bias of the choice of experts   f32: scores lie close together
//     everything else         mode.model (norm gains, biases, the linear `gate` that chooses experts, stacks of linear_heads)
//
// The graph keeps saying `linear`; what the weight looks like is its dtype. The values themselves are encoded by convert_weight.
// Needs: graph level, after fuse_projections: a joined weight is quantized as one tensor. Cost: one walk over the nodes.
// Source: MLC LLM's quantization registry (reference: which modules a mode covers).
#include "ir/walk.h"
#include "passes/pass.h"
#include "quantization/format.h"
#include "runtime/base/str.h"

#include <string.h>

// MLC's rule for the final projection: by exact path.
static bool is_head(const char *param_name) {
    static const char *const heads[] = {
        "head.weight", "lm_head.weight", "lm_head.linear.weight", "embed_out.weight"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        if (strcmp(param_name, heads[i]) == 0) return true;
    }
    return false;
}

typedef enum param_use {
    USE_OTHER,
    USE_LINEAR,
    USE_EMBEDDING,
    USE_EXPERTS,
    USE_GATE,
    USE_CHOICE
} param_use;

// MLC leaves the linear that chooses experts as it is: by its path, and up to 256 experts.
static bool is_gate(const ir_value *weight) {
    return mlcc_text_ends_with(weight->name, "gate.weight") && weight->type.dims[0].value <= 256;
}

static void note_uses(const ir_function *function, param_use *uses) {
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        ir_value *weight = node->n_operands > 1 ? node->operands[1] : NULL;
        if (weight == NULL || weight->kind != IR_VALUE_PARAM) continue;
        if (node->op == IR_OP_EMBEDDING) uses[weight->index] = USE_EMBEDDING;
        if (node->op == IR_OP_LINEAR && uses[weight->index] == USE_OTHER) {
            uses[weight->index] = is_gate(weight) ? USE_GATE : USE_LINEAR;
        }
        if (node->op == IR_OP_LINEAR_EXPERTS) uses[weight->index] = USE_EXPERTS;
        if (node->op == IR_OP_ROUTE_EXPERTS) uses[weight->index] = USE_CHOICE;
    }
}

static ir_dtype format_of_linear(const quant_mode *mode, const ir_param *param) {
    for (int32_t i = 0; i < param->n_sources; i++) {
        if (quant_mode_keeps_float(mode, param->sources[i])) return mode->model;
    }
    if (is_head(param->value.name)) return mode->head;
    ir_type type = param->value.type;
    type.dtype = mode->linear;
    return quant_format_accepts(quant_format_of(mode->linear), &type) ? mode->linear
                                                                      : mode->fallback;
}

// Stacks are stored row by row; where the mode's linears are not, they take the next format that is.
static ir_dtype format_of_experts(const quant_mode *mode, const ir_param *param) {
    const ir_dtype formats[] = {mode->linear, mode->fallback, mode->embedding};
    for (int32_t i = 0; i < param->n_sources; i++) {
        if (quant_mode_keeps_float(mode, param->sources[i])) return mode->model;
    }
    ir_type type = param->value.type;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        type.dtype = formats[i];
        if (quant_format_accepts(quant_format_of(formats[i]), &type)) return formats[i];
    }
    return mode->model;
}

mlcc_status *pass_quantize(ir_module *module, pass_context *context) {
    const quant_mode *mode = context->mode;
    if (mode == NULL) return NULL;
    param_use *uses = MLCC_NEW_ARRAY(context->scratch, param_use, module->n_params + 1);
    for (size_t f = 0; f < module->n_functions; f++) note_uses(module->functions[f], uses);
    for (size_t i = 0; i < module->n_params; i++) {
        ir_value *value = &module->params[i]->value;
        // A param that already has an element format of its own (a foreign checkpoint) keeps it.
        if (ir_dtype_get(value->type.dtype)->kind != IR_KIND_FLOAT) continue;
        switch (uses[i]) {
        case USE_EMBEDDING: value->type.dtype = mode->embedding; break;
        case USE_LINEAR: value->type.dtype = format_of_linear(mode, module->params[i]); break;
        case USE_EXPERTS: value->type.dtype = format_of_experts(mode, module->params[i]); break;
        case USE_CHOICE: value->type.dtype = IR_F32; break;
        case USE_GATE:
        case USE_OTHER: value->type.dtype = mode->model; break;
        }
    }
    return NULL;
}
