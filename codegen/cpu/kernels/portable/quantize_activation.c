// quantize_activation: x rounded to fp8 and back, with the scale of its row and group of columns. An item is a row; x passes its
// prologue once and waits in scratch. Every operation is the evaluator's in the evaluator's order (ir/eval_activation.c), because
// rounding to three bits makes small differences visible: the results are the same bits.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_I64(mantissa_bits);
KERNEL_ATTR_I64(group);
KERNEL_ATTR_F64(floor);

int64_t kernel_quantize_activation_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_quantize_activation_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// The largest magnitude; NaN counts as 0. Magnitudes order like their bits.
KERNEL_INLINE float quantize_largest(const float *x, int64_t n) {
    int32_t largest = 0;
    _Pragma("clang loop vectorize(enable)") for (int64_t i = 0; i < n; i++) {
        const int32_t bits = (int32_t)(kernel_float_bits(x[i]) & 0x7fffffffu);
        const int32_t magnitude = bits > 0x7f800000 ? 0 : bits;
        largest = magnitude > largest ? magnitude : largest;
    }
    return kernel_bits_float((uint32_t)largest);
}

// The fp8 number nearest to v, ties to even; magnitudes beyond `largest` become it, NaN stays.
//
// 1.5 * 2^(e + 23 - mantissa_bits), e the exponent of v but at least that of the smallest normal number, is a float whose last
// place is fp8's at v: adding it rounds as fp8 does, and taking it off again is exact. What is left is the sign of a zero.
KERNEL_INLINE float quantize_round(float v, int32_t mantissa_bits, float largest) {
    const uint32_t sign = kernel_float_bits(v) & 0x80000000u;
    v = v > largest ? largest : v < -largest ? -largest : v;
    const int32_t least = (mantissa_bits == 3 ? 127 - 6 : 127 - 14) << 23;
    int32_t exponent = (int32_t)(kernel_float_bits(v) & 0x7f800000u);
    exponent = exponent < least ? least : exponent;
    const uint32_t magic =
        ((uint32_t)exponent + ((uint32_t)(23 - mantissa_bits) << 23)) | 0x400000u;
    const float rounded = (v + kernel_bits_float(magic)) - kernel_bits_float(magic);
    return kernel_bits_float(kernel_float_bits(rounded) | sign);
}

void kernel_quantize_activation(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_dim_0_1(env);
    const int32_t mantissa_bits = (int32_t)kernel_attr_mantissa_bits(env);
    const float largest = mantissa_bits == 3 ? 448.0f : 57344.0f;
    const float least = (float)kernel_attr_floor(env);
    const int64_t group = kernel_attr_group(env) == 0 ? columns : kernel_attr_group(env);
    const float *scales = (const float *)kernel_pointer_1(env); // [groups] or NULL
    float *row = (float *)kernel_scratch(env);
    for (int64_t r = begin; r < end; r++) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < columns; c++) row[c] = kernel_load_0(env, r, c);
        for (int64_t first = 0; first < columns; first += group) {
            const int64_t n = columns - first < group ? columns - first : group;
            float scale = scales != NULL ? scales[first / group] : 0.0f;
            if (!(scale > 0.0f)) {
                const float maximum = quantize_largest(row + first, n);
                scale = (maximum > least ? maximum : least) / largest;
            }
            KERNEL_VECTOR_LOOP for (int64_t c = first; c < first + n; c++) {
                const float rounded = quantize_round(row[c] / scale, mantissa_bits, largest);
                kernel_store_0(env, r, c, rounded * scale);
            }
        }
    }
}
