// eval_segment_attention: attention in both directions over the rows of a token's own sequence (Devlin et al. 2018, arXiv 1810.04805: a
// bidirectional Transformer), one query row at a time.
#include "ir/eval_ops.h"

#include <math.h>

typedef struct segment_attention {
    const ir_tensor *q, *k, *v, *segments, *out;
    int64_t columns, head_dim;
    double scale;
    double *weights; // [T]: of the rows of one segment
} segment_attention;

// One head of one token: head_dim elements at `column` of row `token`.
static void attend(
    const segment_attention *a, int64_t token, int64_t column, int64_t begin, int64_t end) {
    const float *q = a->q->f32 + token * a->columns + column;
    double largest = -HUGE_VAL, total = 0.0;
    for (int64_t row = begin; row < end; row++) {
        const float *k = a->k->f32 + row * a->columns + column;
        double sum = 0.0;
        for (int64_t i = 0; i < a->head_dim; i++) sum += (double)q[i] * (double)k[i];
        a->weights[row] = sum * a->scale;
        if (!(a->weights[row] <= largest)) largest = a->weights[row];
    }
    for (int64_t row = begin; row < end; row++) {
        a->weights[row] = exp(a->weights[row] - largest);
        total += a->weights[row];
    }
    for (int64_t i = 0; i < a->head_dim; i++) {
        double sum = 0.0;
        for (int64_t row = begin; row < end; row++)
            sum += a->weights[row] * (double)a->v->f32[row * a->columns + column + i];
        a->out->f32[token * a->columns + column + i] = eval_round(a->out->dtype, sum / total);
    }
}

mlcc_status *ir_eval_segment_attention(const eval_call *call) {
    const int64_t n_tokens = call->operands[0]->dims[0];
    const segment_attention a = {
        .q = call->operands[0],
        .k = call->operands[1],
        .v = call->operands[2],
        .segments = call->operands[3],
        .out = call->results[0],
        .columns = call->operands[0]->dims[1],
        .head_dim = ir_attr_i64(call->node, "head_dim"),
        .scale = ir_attr_f64(call->node, "scale"),
        .weights = MLCC_NEW_ARRAY(call->scratch, double, (size_t)n_tokens + 1),
    };
    for (int64_t token = 0; token < n_tokens; token++) {
        const int64_t begin = a.segments->i32[2 * token], end = a.segments->i32[2 * token + 1];
        if (begin < 0 || begin >= end || end > n_tokens)
            return MLCC_ERROR(
                INVALID,
                "segment_attention: token %lld has rows %lld to %lld, the tensor has %lld; "
                "accepted are 0 <= first < end",
                (long long)token, (long long)begin, (long long)end, (long long)n_tokens);
        for (int64_t column = 0; column < a.columns; column += a.head_dim)
            attend(&a, token, column, begin, end);
    }
    return NULL;
}
