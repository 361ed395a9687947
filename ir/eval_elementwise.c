// eval_elementwise: one result element from operand elements.
#include "ir/eval_ops.h"

#include <math.h>

typedef double unary_function(double x);

static mlcc_status *map_unary(const eval_call *call, unary_function *function) {
    const ir_tensor *x = call->operands[0];
    const ir_tensor *out = call->results[0];
    int64_t count = ir_tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        out->f32[i] = eval_round(out->dtype, function((double)x->f32[i]));
    }
    return NULL;
}

typedef double binary_function(double a, double b);

// b has a's shape, or is one row.
static mlcc_status *map_binary(const eval_call *call, binary_function *function) {
    const ir_tensor *a = call->operands[0];
    const ir_tensor *b = call->operands[1];
    const ir_tensor *out = call->results[0];
    int64_t count = ir_tensor_count(out);
    int64_t period = ir_tensor_count(b);
    for (int64_t i = 0; i < count; i++) {
        double value = function((double)a->f32[i], (double)b->f32[i % period]);
        out->f32[i] = eval_round(out->dtype, value);
    }
    return NULL;
}

static double add(double a, double b) {
    return a + b;
}

static double mul(double a, double b) {
    return a * b;
}

mlcc_status *ir_eval_add(const eval_call *call) {
    return map_binary(call, add);
}

mlcc_status *ir_eval_mul(const eval_call *call) {
    return map_binary(call, mul);
}

static double identity(double x) {
    return x;
}

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static double silu(double x) {
    return x / (1.0 + exp(-x));
}

// Phi(x) = (1 + erf(x / sqrt 2)) / 2
static double gelu(double x) {
    return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
}

// sqrt(2 / pi) = 0.797…; Hendrycks and Gimpel 2016 (arXiv 1606.08415), section 2.
static double gelu_tanh(double x) {
    return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

// NaN stays NaN.
static double relu(double x) {
    return x < 0.0 ? 0.0 : x;
}

mlcc_status *ir_eval_silu(const eval_call *call) {
    return map_unary(call, silu);
}

mlcc_status *ir_eval_gelu(const eval_call *call) {
    return map_unary(call, gelu);
}

mlcc_status *ir_eval_gelu_tanh(const eval_call *call) {
    return map_unary(call, gelu_tanh);
}

mlcc_status *ir_eval_relu(const eval_call *call) {
    return map_unary(call, relu);
}

mlcc_status *ir_eval_sigmoid(const eval_call *call) {
    return map_unary(call, sigmoid);
}

mlcc_status *ir_eval_cast(const eval_call *call) {
    return map_unary(call, identity);
}

mlcc_status *ir_eval_scale(const eval_call *call) {
    double factor = ir_attr_f64(call->node, "factor");
    const ir_tensor *x = call->operands[0];
    const ir_tensor *out = call->results[0];
    int64_t count = ir_tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        out->f32[i] = eval_round(out->dtype, (double)x->f32[i] * factor);
    }
    return NULL;
}

mlcc_status *ir_eval_softcap(const eval_call *call) {
    double cap = ir_attr_f64(call->node, "cap");
    const ir_tensor *x = call->operands[0];
    const ir_tensor *out = call->results[0];
    int64_t count = ir_tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        out->f32[i] = eval_round(out->dtype, cap * tanh((double)x->f32[i] / cap));
    }
    return NULL;
}

mlcc_status *ir_eval_clamp(const eval_call *call) {
    const double min = ir_attr_f64(call->node, "min"), max = ir_attr_f64(call->node, "max");
    const ir_tensor *x = call->operands[0];
    const ir_tensor *out = call->results[0];
    int64_t count = ir_tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        const double value = (double)x->f32[i];
        // Comparisons that NaN fails leave it as it is.
        out->f32[i] = eval_round(out->dtype, value < min ? min : value > max ? max : value);
    }
    return NULL;
}

mlcc_status *ir_eval_slice(const eval_call *call) {
    const ir_tensor *x = call->operands[0];  // [rows, columns]
    const ir_tensor *out = call->results[0]; // [rows, parts * (end - begin)]
    const int64_t begin = ir_attr_i64(call->node, "begin");
    const int64_t columns = ir_attr_i64(call->node, "end") - begin;
    const int64_t stride = x->dims[1] / ir_attr_i64(call->node, "parts");
    for (int64_t row = 0; row < out->dims[0]; row++) {
        const float *from = x->f32 + row * x->dims[1] + begin;
        float *to = out->f32 + row * out->dims[1];
        for (int64_t column = 0; column < out->dims[1]; column++) {
            const int64_t source = column / columns * stride + column % columns;
            to[column] = eval_round(out->dtype, (double)from[source]);
        }
    }
    return NULL;
}
