// eval_experts: routing, products with chosen weights, and their sum.
#include "ir/eval_ops.h"

#include <math.h>

// ---- routing -----------------------------------------------------------------------------------

// What a row is routed with.
typedef struct router {
    int64_t n_experts, k, scoring, n_groups, top_groups, group_best;
    bool renormalize;
    double scale;
    double *scores; // [n_experts]
    double *keys;   // [n_experts], what the choice is made among
    bool *is_out;   // [n_experts], of a group that takes no part, or chosen already
} router;

static double softmax_of(const float *logits, int64_t n, double *out) {
    double largest = -HUGE_VAL, sum = 0.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, (double)logits[i]);
    for (int64_t i = 0; i < n; i++) sum += out[i] = exp((double)logits[i] - largest);
    return sum;
}

// The best of [begin, end) that is not out, the first of equals; -1: there is none.
static int64_t best_of(const double *keys, const bool *is_out, int64_t begin, int64_t end) {
    int64_t best = -1;
    for (int64_t i = begin; i < end; i++) {
        if (!is_out[i] && (best < 0 || keys[i] > keys[best])) best = i;
    }
    return best;
}

static double group_score(router *r, int64_t group) {
    const int64_t members = r->n_experts / r->n_groups, first = group * members;
    double score = 0.0;
    for (int64_t i = 0; i < r->group_best; i++) {
        const int64_t best = best_of(r->keys, r->is_out, first, first + members);
        score += r->keys[best];
        r->is_out[best] = true;
    }
    return isnan(score) ? -HUGE_VAL : score;
}

// Leaves experts of the top groups only.
static void choose_groups(router *r, mlcc_arena *scratch) {
    const int64_t members = r->n_experts / r->n_groups;
    double *scores = MLCC_NEW_ARRAY(scratch, double, (size_t)r->n_groups);
    bool *is_chosen = MLCC_NEW_ARRAY(scratch, bool, (size_t)r->n_groups);
    for (int64_t g = 0; g < r->n_groups; g++) scores[g] = group_score(r, g);
    for (int64_t i = 0; i < r->top_groups; i++)
        is_chosen[best_of(scores, is_chosen, 0, r->n_groups)] = true;
    for (int64_t i = 0; i < r->n_experts; i++) r->is_out[i] = !is_chosen[i / members];
}

// Softmax and sigmoid keep the order of logits, so that without a bias or sums over a group the logits themselves decide: no
// rounding makes two experts equal that are not.
static void score_row(router *r, const float *logits, const float *bias) {
    const bool is_monotone = bias == NULL && r->group_best == 1;
    const double sum = softmax_of(logits, r->n_experts, r->scores);
    for (int64_t i = 0; i < r->n_experts; i++) {
        if (r->scoring == 0) r->scores[i] /= sum;
        if (r->scoring == 1) r->scores[i] = 1.0 / (1.0 + exp(-(double)logits[i]));
        if (r->scoring == 2) r->scores[i] = (double)logits[i];
        const double key =
            is_monotone ? (double)logits[i] : r->scores[i] + (bias ? (double)bias[i] : 0.0);
        r->keys[i] = isnan(key) ? -HUGE_VAL : key;
        r->is_out[i] = false;
    }
}

static void weigh_row(const router *r, const int32_t *experts, float *weights) {
    double chosen[IR_MAX_CHOSEN_EXPERTS], sum = 0.0;
    float logits[IR_MAX_CHOSEN_EXPERTS];
    for (int64_t j = 0; j < r->k; j++) {
        logits[j] = (float)r->scores[experts[j]];
        chosen[j] = r->scores[experts[j]];
    }
    if (r->scoring == 2) {
        const double total = softmax_of(logits, r->k, chosen);
        for (int64_t j = 0; j < r->k; j++) chosen[j] /= total;
    }
    for (int64_t j = 0; j < r->k; j++) sum += chosen[j];
    const double factor = r->renormalize ? r->scale / (sum + 1e-20) : r->scale;
    for (int64_t j = 0; j < r->k; j++) weights[j] = eval_round(IR_F32, chosen[j] * factor);
}

mlcc_status *ir_eval_route_experts(const eval_call *call) {
    const ir_tensor *logits = call->operands[0];                                     // [T, E]
    const float *bias = call->node->n_operands == 2 ? call->operands[1]->f32 : NULL; // [E]
    const ir_tensor *experts = call->results[0], *weights = call->results[1];        // [T, k]
    const ir_node *node = call->node;
    const size_t n = (size_t)logits->dims[1];
    router r = {
        .n_experts = logits->dims[1],
        .k = ir_attr_i64(node, "k"),
        .scoring = ir_attr_i64(node, "scoring"),
        .n_groups = ir_attr_i64(node, "n_groups"),
        .top_groups = ir_attr_i64(node, "top_groups"),
        .group_best = ir_attr_i64(node, "group_best"),
        .renormalize = ir_attr_bool(node, "renormalize"),
        .scale = ir_attr_f64(node, "scale"),
        .scores = MLCC_NEW_ARRAY(call->scratch, double, n),
        .keys = MLCC_NEW_ARRAY(call->scratch, double, n),
        .is_out = MLCC_NEW_ARRAY(call->scratch, bool, n),
    };
    for (int64_t row = 0; row < logits->dims[0]; row++) {
        score_row(&r, logits->f32 + row * r.n_experts, bias);
        if (r.top_groups < r.n_groups) choose_groups(&r, call->scratch);
        int32_t *chosen = experts->i32 + row * r.k;
        for (int64_t j = 0; j < r.k; j++) {
            chosen[j] = (int32_t)best_of(r.keys, r.is_out, 0, r.n_experts);
            r.is_out[chosen[j]] = true;
        }
        weigh_row(&r, chosen, weights->f32 + row * r.k);
    }
    return NULL;
}

// ---- products ----------------------------------------------------------------------------------

// What `x`, the numbers of operand 0, give with the chosen experts' weights.
static mlcc_status *multiply_chosen(const eval_call *call, const double *x, const ir_tensor *bias) {
    const int64_t n_columns = call->operands[0]->dims[1]; // K or k*K
    const ir_tensor *weight = call->operands[1];          // [E, N, K]
    const ir_tensor *experts = call->operands[2];         // [T, k]
    const ir_tensor *out = call->results[0];              // [T, k*N]
    const int64_t k = experts->dims[1], n = weight->dims[1], depth = weight->dims[2];
    const int64_t stride = n_columns == depth ? 0 : depth;
    for (int64_t slot = 0; slot < out->dims[0] * k; slot++) {
        const int64_t expert = experts->i32[slot], row = slot / k, part = slot % k;
        if (expert < 0 || expert >= weight->dims[0]) {
            return MLCC_ERROR(
                INVALID, "%s: expert %lld of row %lld is out of range, there are %lld",
                ir_op_get(call->node->op)->text, (long long)expert, (long long)row,
                (long long)weight->dims[0]);
        }
        const double *from = x + row * n_columns + part * stride;
        for (int64_t column = 0; column < n; column++) {
            const float *w = weight->f32 + (expert * n + column) * depth;
            double sum = bias != NULL ? (double)bias->f32[expert * n + column] : 0.0;
            for (int64_t i = 0; i < depth; i++) sum += from[i] * (double)w[i];
            out->f32[slot * n + column] = eval_round(out->dtype, sum);
        }
    }
    return NULL;
}

mlcc_status *ir_eval_linear_experts(const eval_call *call) {
    const ir_tensor *x = call->operands[0]; // [T, K] or [T, k*K]
    const int64_t count = ir_tensor_count(x);
    double *values = MLCC_NEW_ARRAY(call->scratch, double, (size_t)count + 1);
    for (int64_t i = 0; i < count; i++) values[i] = (double)x->f32[i];
    return multiply_chosen(call, values, call->node->n_operands == 4 ? call->operands[3] : NULL);
}

// A code times its scale is exact in double.
mlcc_status *ir_eval_linear_scaled_experts(const eval_call *call) {
    const ir_tensor *codes = call->operands[0];  // [T, K] or [T, k*K]
    const ir_tensor *scales = call->operands[3]; // [T, groups]
    const int64_t count = ir_tensor_count(codes), n_columns = codes->dims[1];
    const bool is_int = eval_is_int(codes->dtype);
    int64_t group = ir_attr_i64(call->node, "group");
    if (group == 0) group = n_columns;
    double *values = MLCC_NEW_ARRAY(call->scratch, double, (size_t)count + 1);
    for (int64_t i = 0; i < count; i++) {
        const double code = is_int ? (double)codes->i32[i] : (double)codes->f32[i];
        const int64_t at = i / n_columns * scales->dims[1] + i % n_columns / group;
        values[i] = code * (double)scales->f32[at];
    }
    return multiply_chosen(call, values, call->node->n_operands == 5 ? call->operands[4] : NULL);
}

mlcc_status *ir_eval_combine_experts(const eval_call *call) {
    const ir_tensor *y = call->operands[0];       // [T, k*D]
    const ir_tensor *weights = call->operands[1]; // [T, k]
    const ir_tensor *out = call->results[0];      // [T, D]
    const int64_t k = weights->dims[1], columns = out->dims[1];
    for (int64_t row = 0; row < out->dims[0]; row++) {
        for (int64_t column = 0; column < columns; column++) {
            double sum = 0.0;
            for (int64_t j = 0; j < k; j++) {
                sum += (double)weights->f32[row * k + j] *
                       (double)y->f32[(row * k + j) * columns + column];
            }
            out->f32[row * columns + column] = eval_round(out->dtype, sum);
        }
    }
    return NULL;
}
