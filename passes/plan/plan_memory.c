// plan_memory: every intermediate gets an offset in one workspace; memory whose value is dead is used again.
//
// Sizes count every symbol at its upper bound, so that nothing is allocated while decoding. Values are placed largest first, each at the
// lowest offset where no value that is alive at the same time lies (greedy by size: Pisarchyk and Lee 2020, arXiv 2001.03288, which finds
// plans within a few percent of the lower bound for such graphs). Function results lie in memory of the caller, in-place results in their operand.
// Needs: plan level. Leaves: value->offset_bytes, function->workspace_bytes. Cost: quadratic in the intermediates of one function.
#include "passes/analysis/liveness.h"
#include "passes/pass.h"

#include "runtime/base/log.h"

#include <stdlib.h>

static int by_size_then_start(const void *a, const void *b) {
    const liveness_interval *left = *(const liveness_interval *const *)a;
    const liveness_interval *right = *(const liveness_interval *const *)b;
    if (left->size_bytes != right->size_bytes) return left->size_bytes > right->size_bytes ? -1 : 1;
    if (left->first != right->first) return left->first < right->first ? -1 : 1;
    return left->value->index < right->value->index ? -1 : 1;
}

static bool overlap(const liveness_interval *a, const liveness_interval *b) {
    return a->first <= b->last && b->first <= a->last;
}

// The lowest offset for `interval` among the placed ones, which are sorted by offset.
static int64_t lowest_offset(
    const liveness_interval *interval, liveness_interval *const *placed, int32_t n_placed) {
    int64_t offset = 0;
    for (int32_t i = 0; i < n_placed; i++) {
        if (!overlap(interval, placed[i])) continue;
        int64_t other = placed[i]->value->offset_bytes;
        if (offset + interval->size_bytes <= other) break;
        if (other + placed[i]->size_bytes > offset) offset = other + placed[i]->size_bytes;
    }
    return offset;
}

static void insert_by_offset(
    liveness_interval *interval, liveness_interval **placed, int32_t *n_placed) {
    int32_t at = (*n_placed)++;
    for (; at > 0 && placed[at - 1]->value->offset_bytes > interval->value->offset_bytes; at--) {
        placed[at] = placed[at - 1];
    }
    placed[at] = interval;
}

static mlcc_status *plan_function(ir_function *function, mlcc_arena *scratch) {
    liveness_interval *intervals;
    int32_t n_intervals, n_placed = 0;
    for (ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t r = 0; r < node->n_results; r++) node->results[r]->offset_bytes = -1;
    }
    MLCC_TRY(liveness_intervals(function, scratch, &intervals, &n_intervals));
    size_t n_slots = (size_t)n_intervals + 1;
    liveness_interval **order = MLCC_NEW_ARRAY(scratch, liveness_interval *, n_slots);
    liveness_interval **placed = MLCC_NEW_ARRAY(scratch, liveness_interval *, n_slots);
    for (int32_t i = 0; i < n_intervals; i++) order[i] = &intervals[i];
    qsort(order, (size_t)n_intervals, sizeof(liveness_interval *), by_size_then_start);
    int64_t total_bytes = 0, sum_bytes = 0;
    for (int32_t i = 0; i < n_intervals; i++) {
        liveness_interval *interval = order[i];
        int64_t offset = lowest_offset(interval, placed, n_placed);
        if (offset > INT64_MAX / 2 - interval->size_bytes) {
            return MLCC_ERROR(UNSUPPORTED, "the workspace of @%s is too large", function->name);
        }
        interval->value->offset_bytes = offset;
        insert_by_offset(interval, placed, &n_placed);
        if (offset + interval->size_bytes > total_bytes) {
            total_bytes = offset + interval->size_bytes;
        }
        sum_bytes += interval->size_bytes;
    }
    function->workspace_bytes = total_bytes;
    mlcc_log(
        MLCC_LOG_DEBUG, "passes", "@%s: %d intermediates of %lld bytes lie in a workspace of %lld",
        function->name, n_intervals, (long long)sum_bytes, (long long)total_bytes);
    return NULL;
}

mlcc_status *pass_plan_memory(ir_module *module, pass_context *context) {
    for (size_t f = 0; f < module->n_functions; f++) {
        if (module->functions[f]->is_group) continue;
        MLCC_TRY(plan_function(module->functions[f], context->scratch));
    }
    return NULL;
}
