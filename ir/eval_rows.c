// eval_rows: products, norms and row look-ups.
#include "ir/eval_ops.h"

#include <math.h>

// Row `index` of a matrix, rounded to the result's dtype.
static void copy_row(const ir_tensor *from, int64_t index, const ir_tensor *to, int64_t row) {
    int64_t columns = to->dims[1];
    for (int64_t i = 0; i < columns; i++) {
        to->f32[row * columns + i] = eval_round(to->dtype, (double)from->f32[index * columns + i]);
    }
}

// out[i, :] = table[index[i], :]
static mlcc_status *gather_rows(
    const ir_tensor *table, const ir_tensor *index, const ir_tensor *out, const char *what) {
    for (int64_t i = 0; i < out->dims[0]; i++) {
        if (index->i32[i] < 0 || index->i32[i] >= table->dims[0]) {
            return MLCC_ERROR(
                INVALID, "%s %d at place %lld is out of range, there are %lld rows", what,
                index->i32[i], (long long)i, (long long)table->dims[0]);
        }
        copy_row(table, index->i32[i], out, i);
    }
    return NULL;
}

mlcc_status *ir_eval_embedding(const eval_call *call) {
    return gather_rows(call->operands[1], call->operands[0], call->results[0], "embedding: id");
}

mlcc_status *ir_eval_take_rows(const eval_call *call) {
    return gather_rows(call->operands[0], call->operands[1], call->results[0], "take_rows: row");
}

// Products of float32 are exact in double. Eight sums side by side, so that the compiler can use
// vectors.
static double dot(const float *a, const float *b, int64_t n) {
    double sums[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int64_t lane = 0; lane < 8; lane++) {
            sums[lane] += (double)a[i + lane] * (double)b[i + lane];
        }
    }
    double sum = 0.0;
    for (int lane = 0; lane < 8; lane++) sum += sums[lane];
    for (; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

mlcc_status *ir_eval_linear(const eval_call *call) {
    const ir_tensor *x = call->operands[0];                                         // [M, K]
    const ir_tensor *weight = call->operands[1];                                    // [N, K]
    const ir_tensor *bias = call->node->n_operands == 3 ? call->operands[2] : NULL; // [N]
    const ir_tensor *out = call->results[0];                                        // [M, N]
    int64_t n_columns = out->dims[1];
    int64_t depth = x->dims[1];
    for (int64_t row = 0; row < out->dims[0]; row++) {
        for (int64_t column = 0; column < n_columns; column++) {
            double sum = dot(x->f32 + row * depth, weight->f32 + column * depth, depth);
            if (bias != NULL) sum += (double)bias->f32[column];
            out->f32[row * n_columns + column] = eval_round(out->dtype, sum);
        }
    }
    return NULL;
}

// The values of a matrix of codes.
static const float *code_values(const eval_call *call, const ir_tensor *codes) {
    if (!eval_is_int(codes->dtype)) return codes->f32;
    const int64_t count = ir_tensor_count(codes);
    float *values = MLCC_NEW_ARRAY(call->scratch, float, (size_t)count + 1);
    for (int64_t i = 0; i < count; i++) values[i] = (float)codes->i32[i];
    return values;
}

// Every group of columns has a sum of its own, which its scale then multiplies.
mlcc_status *ir_eval_linear_scaled(const eval_call *call) {
    const ir_tensor *x = call->operands[0];                                         // [M, K]
    const ir_tensor *weight = call->operands[1];                                    // [N, K]
    const ir_tensor *scales = call->operands[2];                                    // [M, groups]
    const ir_tensor *bias = call->node->n_operands == 4 ? call->operands[3] : NULL; // [N]
    const ir_tensor *out = call->results[0];                                        // [M, N]
    const int64_t depth = x->dims[1], n_groups = scales->dims[1];
    const float *codes = code_values(call, x);
    int64_t group = ir_attr_i64(call->node, "group");
    if (group == 0) group = depth;
    for (int64_t row = 0; row < out->dims[0]; row++) {
        for (int64_t column = 0; column < out->dims[1]; column++) {
            double sum = bias != NULL ? (double)bias->f32[column] : 0.0;
            for (int64_t j = 0; j < n_groups; j++) {
                const int64_t first = j * group;
                const int64_t n = depth - first < group ? depth - first : group;
                const float *from = weight->f32 + column * depth + first;
                sum += (double)scales->f32[row * n_groups + j] *
                       dot(codes + row * depth + first, from, n);
            }
            out->f32[row * out->dims[1] + column] = eval_round(out->dtype, sum);
        }
    }
    return NULL;
}

// Zhang and Sennrich 2019 (arXiv 1910.07467), equation 4.
mlcc_status *ir_eval_rms_norm(const eval_call *call) {
    const ir_tensor *x = call->operands[0];    // [rows, D]
    const ir_tensor *gain = call->operands[1]; // [D] or [group]
    const ir_tensor *out = call->results[0];
    double eps = ir_attr_f64(call->node, "eps");
    int64_t columns = ir_attr_i64(call->node, "group");
    if (columns == 0) columns = out->dims[1];
    int64_t count = ir_tensor_count(out);
    for (int64_t first = 0; first < count; first += columns) {
        const float *from = x->f32 + first;
        double root = sqrt(dot(from, from, columns) / (double)columns + eps);
        for (int64_t i = 0; i < columns; i++) {
            out->f32[first + i] =
                eval_round(out->dtype, (double)from[i] * (double)gain->f32[i] / root);
        }
    }
    return NULL;
}

// Ba, Kiros and Hinton 2016 (arXiv 1607.06450), equation 4.
mlcc_status *ir_eval_layer_norm(const eval_call *call) {
    const ir_tensor *x = call->operands[0];                                        // [rows, D]
    const ir_tensor *gain = call->node->n_operands > 1 ? call->operands[1] : NULL; // [D] or [group]
    const ir_tensor *bias = call->node->n_operands > 2 ? call->operands[2] : NULL; // the same
    const ir_tensor *out = call->results[0];
    double eps = ir_attr_f64(call->node, "eps");
    int64_t columns = ir_attr_i64(call->node, "group");
    if (columns == 0) columns = out->dims[1];
    int64_t count = ir_tensor_count(out);
    for (int64_t first = 0; first < count; first += columns) {
        const float *from = x->f32 + first;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < columns; i++) mean += (double)from[i] / (double)columns;
        for (int64_t i = 0; i < columns; i++)
            square += ((double)from[i] - mean) * ((double)from[i] - mean) / (double)columns;
        double root = sqrt(square + eps);
        for (int64_t i = 0; i < columns; i++) {
            double value = ((double)from[i] - mean) / root;
            if (gain != NULL) value *= (double)gain->f32[(first + i) % gain->dims[0]];
            if (bias != NULL) value += (double)bias->f32[(first + i) % bias->dims[0]];
            out->f32[first + i] = eval_round(out->dtype, value);
        }
    }
    return NULL;
}
