// math: the functions that generated element-wise expressions call, under the names of codegen/cpu/kernels/math.h, and what single kernels need.
//
// Errors (tests/cuda/shim_device_test.c holds the bounds): exp, sigmoid, silu and tanh 4e-7 relative, gelu 6e-7 and gelu_tanh 4e-6 above -5; on a GPU
// 2 ulp of the exp2 instruction come on top.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_MATH_H
#define MLCC_CODEGEN_CUDA_KERNELS_MATH_H

// exp(x); 0 below -87.3, infinity above 88.73, NaN stays NaN.
// The exponent of the exp2 instruction is x log2 e rounded to float32; what the rounding lost is put back as a factor near 1.
DEVICE float kernel_exp(float x) {
    const float bounded = min_f32(max_f32(x, -104.0f), 89.0f);
    const float power = bounded * 1.44269502f;
    const float lost = fma_f32(bounded, 1.44269502f, -power) + bounded * 1.92596299e-8f;
    const float result = exp2_f32(power) * fma_f32(lost, 0.693147182f, 1.0f);
    return x != x ? x : result;
}

DEVICE float kernel_sigmoid(float x) {
    return 1.0f / (1.0f + kernel_exp(-x));
}

DEVICE float kernel_silu(float x) {
    return x / (1.0f + kernel_exp(-x));
}

// NaN stays NaN.
DEVICE float kernel_relu(float x) {
    return x < 0.0f ? 0.0f : x;
}

// tanh(x): an odd polynomial near zero (Cephes), from exp elsewhere.
DEVICE float kernel_tanh(float x) {
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float near_zero = p * z * x + x;
    const float magnitude = abs_f32(x);
    const float positive = 1.0f - 2.0f / (kernel_exp(2.0f * magnitude) + 1.0f);
    const float elsewhere = x < 0.0f ? -positive : positive;
    return magnitude < 0.625f ? near_zero : elsewhere;
}

// NaN stays NaN.
DEVICE float kernel_clamp(float x, float min, float max) {
    const float above = x < min ? min : x;
    return above > max ? max : above;
}

DEVICE float kernel_softcap(float x, float cap) {
    return cap * kernel_tanh(x / cap);
}

// x / 2 (1 + tanh u) = x / (1 + e^-2u): the second form does not cancel for negative x.
DEVICE float kernel_gelu_tanh(float x) {
    const float twice_u = 1.59576912f * (x + 0.044715f * (x * x * x));
    return x / (1.0f + kernel_exp(-twice_u));
}

// x Phi(x). The lower tail Phi(-|x|) = erfc(|x| / sqrt 2) / 2 has a small relative error, so that negative x keep their digits; the upper tail follows
// from it. erfc: W. H. Press et al., Numerical Recipes, "erfcc" (1.2e-7 relative).
DEVICE float kernel_gelu(float x) {
    const float magnitude = abs_f32(x);
    const float bounded = min_f32(magnitude, 16.0f);
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
    const float head = bits_float(float_bits(bounded) & 0xfffff000u);
    const float rest = -0.5f * ((bounded - head) * (bounded + head));
    const float tail = 0.5f * t * kernel_exp(-0.5f * (head * head)) * kernel_exp(rest + p);
    const float lower = magnitude > 16.0f ? 0.0f : magnitude * tail;
    return x != x ? x : x < 0.0f ? -lower : x - lower;
}

// sin and cos of `angle`, |angle| < 2^27, both within 1e-13.
// The quarter turns are taken off in three steps; the products of the first two are exact, so large positions lose nothing.
DEVICE void kernel_sincos(double angle, double *sine, double *cosine) {
    const double n = (angle * 0.63661977236758134308 + 0x1.8p52) - 0x1.8p52;
    double r = angle - n * 0x1.921fb5p+0; // pi/2 cut to 25 bits: n (27 bits) times it is exact
    r = r - n * 0x1.110b46p-26;           // the next 24 bits
    r = r - n * 0x1.1a62633145c07p-54;
    const double z = r * r;
    double s = 1.60590438368216146e-10; // Taylor to r^13: the rest is below 6e-14 for |r| <= pi/4
    s = s * z - 2.50521083854417188e-8;
    s = s * z + 2.75573192239858907e-6;
    s = s * z - 1.98412698412698413e-4;
    s = s * z + 8.33333333333333333e-3;
    s = s * z - 1.66666666666666667e-1;
    s = s * z * r + r;
    double c = -1.14707455977297247e-11;
    c = c * z + 2.08767569878680990e-9;
    c = c * z - 2.75573192239858907e-7;
    c = c * z + 2.48015873015873016e-5;
    c = c * z - 1.38888888888888889e-3;
    c = c * z + 4.16666666666666667e-2;
    c = c * z * z + (1.0 - 0.5 * z);
    const i64 quadrant = (i64)n & 3;
    const double first = (quadrant & 1) != 0 ? c : s;
    const double second = (quadrant & 1) != 0 ? s : c;
    *sine = (quadrant & 2) != 0 ? -first : first;
    *cosine = ((quadrant + 1) & 2) != 0 ? -second : second;
}

#endif
