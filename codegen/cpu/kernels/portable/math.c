// math: what generated element-wise expressions call: the functions of kernels/math.h under their own names, and the activation functions.
// Each is scalar and free of branches, so that the loops it is inlined into become vector code.
//
// Errors (tests/unit/codegen/expression_test.c): silu and sigmoid 3 ulp down to -88, where they become 0; gelu 5e-7 and gelu_tanh 3e-6 relative
// while |x| < 5, and never more than 1e-7 absolute for negative x.
#define KERNEL_MATH_API __attribute__((always_inline))
#include "codegen/cpu/kernels/math.h"

KERNEL_MATH_API float kernel_silu(float x) {
    return x / (1.0f + kernel_exp(-x));
}

KERNEL_MATH_API float kernel_relu(float x) {
    return x < 0.0f ? 0.0f : x;
}

// NaN stays NaN.
KERNEL_MATH_API float kernel_clamp(float x, float min, float max) {
    const float above = x < min ? min : x;
    return above > max ? max : above;
}

KERNEL_MATH_API float kernel_softcap(float x, float cap) {
    return cap * kernel_tanh(x / cap);
}

// x / 2 (1 + tanh u) = x / (1 + e^-2u): the second form does not cancel for negative x.
KERNEL_MATH_API float kernel_gelu_tanh(float x) {
    const float twice_u = 1.59576912f * (x + 0.044715f * (x * x * x));
    return x / (1.0f + kernel_exp(-twice_u));
}

// x Phi(x). The lower tail Phi(-|x|) = erfc(|x| / sqrt 2) / 2 is computed with small relative error, so that negative x keep their
// digits; the upper tail follows from it. erfc: W. H. Press et al., Numerical Recipes, "erfcc" (1.2e-7 relative).
KERNEL_MATH_API float kernel_gelu(float x) {
    const float magnitude = x < 0.0f ? -x : x;
    const float bounded = magnitude > 16.0f ? 16.0f : magnitude;
    const float t = 1.0f / (1.0f + 0.353553391f * bounded); // 1 / (1 + z / 2), z = |x| / sqrt 2
    float p = 0.17087277f;
    p = p * t - 0.82215223f;
    p = p * t + 1.48851587f;
    p = p * t - 1.13520398f;
    p = p * t + 0.27886807f;
    p = p * t - 0.18628806f;
    p = p * t + 0.09678418f;
    p = p * t + 0.37409196f;
    p = p * t + 1.00002368f;
    p = p * t - 1.26551223f;
    // -x^2 / 2 in two parts: the square of the leading twelve bits is exact, the rest is small.
    const float head = kernel_bits_float(kernel_float_bits(bounded) & 0xfffff000u);
    const float rest = -0.5f * ((bounded - head) * (bounded + head));
    const float tail = 0.5f * t * kernel_exp(-0.5f * (head * head)) * kernel_exp(rest + p);
    const float lower = magnitude > 16.0f ? 0.0f : magnitude * tail;
    const float upper = x - lower;
    return x < 0.0f ? -lower : upper;
}
