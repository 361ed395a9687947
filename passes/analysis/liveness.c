#include "passes/analysis/liveness.h"

#include "ir/chain.h"
#include "ir/walk.h"

static bool is_returned(const ir_function *function, const ir_value *value) {
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return true;
    }
    return false;
}

// Interval numbers are kept in value->user (number + 1; NULL = has none).
mlcc_status *liveness_intervals(
    const ir_function *function, mlcc_arena *scratch, liveness_interval **out, int32_t *n_out) {
    int32_t n_results = 0, n_intervals = 0, number = 0;
    int64_t n_left = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        n_results += node->n_results;
        for (int32_t r = 0; r < node->n_results; r++) node->results[r]->user = NULL;
    }
    for (int32_t i = 0; i < function->n_args; i++) function->args[i]->user = NULL;
    liveness_interval *intervals =
        MLCC_NEW_ARRAY(scratch, liveness_interval, (size_t)n_results + 1);
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (!ir_chain_continues(node, &n_left)) number++;
        for (int32_t i = 0; i < node->n_operands; i++) {
            ir_value *operand = node->operands[i];
            if (operand->kind != IR_VALUE_RESULT || operand->user == NULL) continue;
            intervals[(intptr_t)operand->user - 1].last = number;
        }
        for (int32_t r = 0; r < node->n_results; r++) {
            ir_value *result = node->results[r];
            ir_value *root = ir_value_memory_root(result);
            if (root != result) {
                result->user = root->kind == IR_VALUE_RESULT ? root->user : NULL;
                continue;
            }
            if (is_returned(function, result)) continue;
            int64_t size_bytes;
            if (!ir_type_bound_bytes(&result->type, &size_bytes) || size_bytes > INT64_MAX - 64) {
                return MLCC_ERROR(
                    UNSUPPORTED, "an intermediate of %s is larger than 2^63 bytes at its bound",
                    ir_op_get(node->op)->text);
            }
            intervals[n_intervals] = (liveness_interval){.value = result,
                                                         .first = number,
                                                         .last = number,
                                                         .size_bytes = (size_bytes + 63) / 64 * 64};
            result->user = (void *)(intptr_t)++n_intervals;
        }
    }
    *out = intervals;
    *n_out = n_intervals;
    return NULL;
}
