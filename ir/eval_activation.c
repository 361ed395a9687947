// eval_activation: activations rounded to fp8 or whole numbers and back, and the maxima that calibration records.
//
// Scales and quotients are float32, operation by operation, because rounding makes small differences visible: a kernel that does
// the same operations gives the same bits.
#include "ir/eval_ops.h"

#include <math.h>

// The largest magnitude; NaN counts as 0.
static float largest_magnitude(const float *x, int64_t n) {
    float largest = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        const float magnitude = fabsf(x[i]);
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}

static float round_e4m3(float value) {
    return ir_f8e4m3_to_f32(ir_f32_to_f8e4m3(value));
}

static float round_e5m2(float value) {
    return ir_f8e5m2_to_f32(ir_f32_to_f8e5m2(value));
}

// Halves to even; -128 is no code, so that every code has its negative.
static float round_i8(float value) {
    const float whole = rintf(value);
    return whole > 127.0f ? 127.0f : whole < -127.0f ? -127.0f : whole;
}

// What codes there are, by attribute mantissa_bits.
typedef struct code_kind {
    float largest;
    float (*round)(float value); // NaN stays NaN
} code_kind;

static const code_kind code_kinds[] = {
    [2] = {57344.0f, round_e5m2}, [3] = {448.0f, round_e4m3}, [7] = {127.0f, round_i8}};

// The attributes of quantize_activation and encode_activation.
typedef struct rounding {
    code_kind codes;
    int64_t group;
    float least;
} rounding;

static rounding rounding_of(const ir_node *node, int64_t columns) {
    rounding r = {
        .codes = code_kinds[ir_attr_i64(node, "mantissa_bits")],
        .group = ir_attr_i64(node, "group"),
        .least = (float)ir_attr_f64(node, "floor"),
    };
    if (r.group == 0) r.group = columns;
    return r;
}

// The scale of n columns: the given one where it is positive.
static float scale_of(const rounding *r, float given, const float *x, int64_t n) {
    if (given > 0.0f) return given;
    const float maximum = largest_magnitude(x, n);
    return (maximum > r->least ? maximum : r->least) / r->codes.largest;
}

static float given_scale(const eval_call *call, int64_t group) {
    return call->node->n_operands == 2 ? call->operands[1]->f32[group] : 0.0f;
}

mlcc_status *ir_eval_quantize_activation(const eval_call *call) {
    const ir_tensor *x = call->operands[0]; // [T, K]
    const ir_tensor *out = call->results[0];
    const int64_t columns = x->dims[1];
    const rounding r = rounding_of(call->node, columns);
    for (int64_t row = 0; row < x->dims[0]; row++) {
        for (int64_t first = 0; first < columns; first += r.group) {
            const int64_t n = columns - first < r.group ? columns - first : r.group;
            const float *from = x->f32 + row * columns + first;
            float *to = out->f32 + row * columns + first;
            const float scale = scale_of(&r, given_scale(call, first / r.group), from, n);
            for (int64_t i = 0; i < n; i++) {
                const float rounded = r.codes.round(from[i] / scale) * scale;
                to[i] = eval_round(out->dtype, (double)rounded);
            }
        }
    }
    return NULL;
}

// A tensor of fp8 codes holds their values, one of i8 codes the codes; these have no NaN, so it shows in the scale alone.
mlcc_status *ir_eval_encode_activation(const eval_call *call) {
    const ir_tensor *x = call->operands[0];     // [T, K]
    const ir_tensor *codes = call->results[0];  // [T, K]
    const ir_tensor *scales = call->results[1]; // [T, groups]
    const int64_t columns = x->dims[1];
    const rounding r = rounding_of(call->node, columns);
    for (int64_t row = 0; row < x->dims[0]; row++) {
        for (int64_t first = 0; first < columns; first += r.group) {
            const int64_t n = columns - first < r.group ? columns - first : r.group;
            const int64_t j = first / r.group;
            const float *from = x->f32 + row * columns + first;
            const float scale = scale_of(&r, given_scale(call, j), from, n);
            float *stored = &scales->f32[row * scales->dims[1] + j];
            *stored = scale;
            for (int64_t i = 0; i < n; i++) {
                const float code = r.codes.round(from[i] / scale);
                const int64_t at = row * columns + first + i;
                if (isnan(code)) *stored = NAN;
                if (eval_is_int(codes->dtype))
                    codes->i32[at] = isnan(code) ? 0 : (int32_t)code;
                else
                    codes->f32[at] = code;
            }
        }
    }
    return NULL;
}

mlcc_status *ir_eval_observe_max(const eval_call *call) {
    const float before = call->operands[0]->f32[0];
    const float found =
        largest_magnitude(call->operands[1]->f32, ir_tensor_count(call->operands[1]));
    call->results[0]->f32[0] = found > before ? found : before;
    return NULL;
}
