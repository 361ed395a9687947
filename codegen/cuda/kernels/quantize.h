// quantize: rounding of activations to fp8. Every operation is the evaluator's in the evaluator's order (ir/eval_activation.c), because rounding to three
// bits makes small differences visible: the results are the same bits. `mantissa_bits`: 3 = e4m3, 2 = e5m2.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_QUANTIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_QUANTIZE_H

DEVICE float quantize_largest(i32 mantissa_bits) {
    return mantissa_bits == 3 ? 448.0f : 57344.0f;
}

// The fp8 number nearest to v, ties to even; magnitudes beyond the largest become it, NaN stays.
//
// 1.5 * 2^(e + 23 - mantissa_bits), e the exponent of v but at least that of the smallest normal number, is a float whose last place is fp8's at v: adding it
// rounds as fp8 does, and taking it off again is exact. What is left is the sign of a zero.
DEVICE float quantize_round(i32 mantissa_bits, float v) {
    const float largest = quantize_largest(mantissa_bits);
    const u32 sign = float_bits(v) & 0x80000000u;
    v = v > largest ? largest : v < -largest ? -largest : v;
    const u32 least = (u32)(mantissa_bits == 3 ? 127 - 6 : 127 - 14) << 23;
    const u32 exponent = max_u32(float_bits(v) & 0x7f800000u, least);
    const u32 magic = (exponent + ((u32)(23 - mantissa_bits) << 23)) | 0x400000u;
    const float rounded = (v + bits_float(magic)) - bits_float(magic);
    return bits_float(float_bits(rounded) | sign);
}

// The given scale where it is positive, else that of the largest magnitude.
DEVICE float quantize_scale(i32 mantissa_bits, float given, u32 largest_bits, float least) {
    const float maximum = bits_float(largest_bits);
    return given > 0.0f ? given
                        : (maximum > least ? maximum : least) / quantize_largest(mantissa_bits);
}

// The byte of an fp8 number, or of NaN: e5m2 is the high byte of an f16, and e4m3's exponent and fraction are those of the f16 of a 256th.
DEVICE u32 quantize_code(i32 mantissa_bits, float rounded) {
    if (mantissa_bits == 2) return (u32)f32_to_f16(rounded) >> 8;
    const u32 half = f32_to_f16(rounded * 0.00390625f);
    return (half >> 8 & 0x80u) | (half >> 7 & 0x7fu);
}

#endif
