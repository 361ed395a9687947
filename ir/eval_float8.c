// eval_float8: activations rounded to fp8 and back, and the maxima that calibration records.
//
// Scales and quotients are float32, operation by operation, because rounding to fp8 makes small differences visible: a kernel that
// does the same operations gives the same bits.
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

static float round_float8(int64_t mantissa_bits, float value) {
    return mantissa_bits == 3 ? ir_f8e4m3_to_f32(ir_f32_to_f8e4m3(value))
                              : ir_f8e5m2_to_f32(ir_f32_to_f8e5m2(value));
}

mlcc_status *ir_eval_quantize_activation(const eval_call *call) {
    const ir_tensor *x = call->operands[0];                                           // [T, K]
    const ir_tensor *scales = call->node->n_operands == 2 ? call->operands[1] : NULL; // [groups]
    const ir_tensor *out = call->results[0];
    const int64_t mantissa_bits = ir_attr_i64(call->node, "mantissa_bits");
    const float largest = mantissa_bits == 3 ? 448.0f : 57344.0f;
    const float least = (float)ir_attr_f64(call->node, "floor");
    const int64_t columns = x->dims[1];
    int64_t group = ir_attr_i64(call->node, "group");
    if (group == 0) group = columns;
    for (int64_t row = 0; row < x->dims[0]; row++) {
        for (int64_t first = 0; first < columns; first += group) {
            const int64_t n = columns - first < group ? columns - first : group;
            const float *from = x->f32 + row * columns + first;
            float *to = out->f32 + row * columns + first;
            float scale = scales != NULL ? scales->f32[first / group] : 0.0f;
            if (!(scale > 0.0f)) {
                const float maximum = largest_magnitude(from, n);
                scale = (maximum > least ? maximum : least) / largest;
            }
            for (int64_t i = 0; i < n; i++) {
                const float rounded = round_float8(mantissa_bits, from[i] / scale) * scale;
                to[i] = eval_round(out->dtype, (double)rounded);
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
