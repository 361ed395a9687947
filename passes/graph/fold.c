// fold: a node whose operands are all constants is computed now, by ir/eval, and becomes a constant.
//
// Results above a size limit stay nodes: a constant lies in lib.so, and a large one costs more to load than to compute.
// Needs: graph level. Leaves: unread constants, for prune. Cost: one walk plus the arithmetic.
#include "ir/builder.h"
#include "ir/eval.h"
#include "ir/walk.h"
#include "passes/pass.h"

#define MAX_FOLDED_ELEMENTS (1 << 20)

static ir_tensor *tensor_of(const ir_const *constant, mlcc_arena *scratch) {
    const ir_type *type = &constant->value.type;
    int64_t dims[IR_MAX_RANK];
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    ir_tensor *tensor = ir_tensor_create(scratch, type->dtype, type->rank, dims);
    int64_t n = ir_tensor_count(tensor);
    for (int64_t i = 0; i < n; i++) {
        switch (type->dtype) {
        case IR_F32: tensor->f32[i] = ((const float *)constant->data)[i]; break;
        case IR_F16: tensor->f32[i] = ir_f16_to_f32(((const uint16_t *)constant->data)[i]); break;
        case IR_BF16: tensor->f32[i] = ir_bf16_to_f32(((const uint16_t *)constant->data)[i]); break;
        default: tensor->i32[i] = ((const int32_t *)constant->data)[i]; break;
        }
    }
    return tensor;
}

static void *data_of(const ir_tensor *tensor, mlcc_arena *scratch) {
    int64_t n = ir_tensor_count(tensor);
    if (tensor->dtype == IR_F32) return tensor->f32;
    if (tensor->dtype == IR_I32) return tensor->i32;
    uint16_t *half = MLCC_NEW_ARRAY(scratch, uint16_t, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        half[i] = tensor->dtype == IR_F16 ? ir_f32_to_f16(tensor->f32[i])
                                          : ir_f32_to_bf16(tensor->f32[i]);
    }
    return half;
}

static bool is_foldable_dtype(ir_dtype dtype) {
    return dtype == IR_F32 || dtype == IR_F16 || dtype == IR_BF16 || dtype == IR_I32;
}

// A function returns results and arguments, so a returned node stays a node.
static bool is_returned(const ir_node *node) {
    const ir_function *function = node->function;
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i]->def == node) return true;
    }
    return false;
}

static bool may_fold(const ir_node *node) {
    if (node->op == IR_OP_CALL || node->op == IR_OP_LAUNCH || node->n_operands == 0) return false;
    if (is_returned(node)) return false;
    for (int32_t i = 0; i < node->n_operands; i++) {
        if (node->operands[i]->kind != IR_VALUE_CONST) return false;
        if (!is_foldable_dtype(node->operands[i]->type.dtype)) return false;
    }
    for (int32_t r = 0; r < node->n_results; r++) {
        int64_t n_elements;
        if (!is_foldable_dtype(node->results[r]->type.dtype)) return false;
        if (!ir_type_bound_elements(&node->results[r]->type, &n_elements)) return false;
        if (n_elements > MAX_FOLDED_ELEMENTS) return false;
    }
    return true;
}

static ir_const *add_const(ir_module *module, ir_type type, const void *data, mlcc_arena *scratch) {
    for (size_t number = module->n_consts;; number++) {
        const char *name = mlcc_arena_printf(scratch, "folded.%zu", number);
        ir_const *constant = ir_module_add_const(module, name, type, data);
        if (constant != NULL) return constant;
    }
}

static mlcc_status *fold_node(ir_node *node, mlcc_arena *scratch) {
    ir_tensor **operands = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)node->n_operands);
    ir_tensor **results = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)node->n_results);
    for (int32_t i = 0; i < node->n_operands; i++) {
        operands[i] = tensor_of(ir_const_of(node->operands[i]), scratch);
    }
    MLCC_TRY(ir_eval_node(node, operands, scratch, results));
    for (int32_t r = 0; r < node->n_results; r++) {
        ir_const *constant = add_const(
            node->function->module, node->results[r]->type, data_of(results[r], scratch), scratch);
        ir_value_replace(node->function, node->results[r], &constant->value);
    }
    ir_node_erase(node);
    return NULL;
}

mlcc_status *pass_fold(ir_module *module, pass_context *context) {
    for (size_t f = 0; f < module->n_functions; f++) {
        if (module->functions[f]->is_group) continue;
        for (ir_node *node = module->functions[f]->first, *next; node != NULL; node = next) {
            next = node->next;
            if (may_fold(node)) MLCC_TRY(fold_node(node, context->scratch));
        }
    }
    return NULL;
}
