// encode_activation: x as whole numbers of 8 bits, with the scale of each row and group of 32 columns beside. An item is a block of columns of
// a row, so that all threads have work where the prologue is long and rows are few. Every operation is the evaluator's in the
// evaluator's order (ir/eval_activation.c): the results are the same bits.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_KEEP(0);
KERNEL_RESULT_POINTER(0);
KERNEL_RESULT_POINTER(1);
KERNEL_ATTR_F64(floor);

typedef int8_t i8x16 __attribute__((vector_size(16)));

enum { ENCODE_GROUP = 32, ENCODE_BLOCK = 256 };

KERNEL_INLINE int64_t encode_blocks(const kernel_env *env) {
    return (kernel_dim_0_1(env) + ENCODE_BLOCK - 1) / ENCODE_BLOCK;
}

int64_t kernel_encode_activation_items(const kernel_env *env) {
    return kernel_dim_0_0(env) * encode_blocks(env);
}

int64_t kernel_encode_activation_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_encode_activation_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// The largest magnitude of a group; NaN counts as 0. Magnitudes order like their bits.
KERNEL_INLINE float encode_largest(const float x[ENCODE_GROUP]) {
    i32x16 largest = {0};
    KERNEL_UNROLL for (int i = 0; i < ENCODE_GROUP; i += 16) {
        const i32x16 magnitude = (i32x16)simd_load(x + i) & 0x7fffffff;
        largest = simd_max_i32(largest, magnitude & (magnitude <= 0x7f800000));
    }
    return kernel_bits_float((uint32_t)simd_max_of_i32(largest));
}

// 16 codes; has_nan gathers the lanes whose quotient is no number, which get code 0.
KERNEL_INLINE i8x16 encode_codes(f32x16 x, float scale, i32x16 *has_nan) {
    f32x16 quotient = x / scale;
    const i32x16 is_nan = quotient != quotient;
    *has_nan |= is_nan;
    quotient = simd_select(quotient > 127.0f, simd_splat(127.0f), quotient);
    quotient = simd_select(quotient < -127.0f, simd_splat(-127.0f), quotient);
    // A number between 2^23 and 2^24 has whole numbers only: adding it rounds halves to even.
    const i32x16 whole = (i32x16)(quotient + 12582912.0f) - 0x4b400000;
    return __builtin_convertvector(whole & ~is_nan, i8x16);
}

// A group of n columns, zeros behind them. given: its scale, if positive.
KERNEL_INLINE float encode_group(
    const float x[ENCODE_GROUP], int64_t n, float least, float given, int8_t *codes) {
    const float maximum = encode_largest(x);
    const float scale = given > 0.0f ? given : (maximum > least ? maximum : least) / 127.0f;
    i32x16 has_nan = {0};
    i8x16 found[2];
    KERNEL_UNROLL for (int i = 0; i < 2; i++) found[i] =
        encode_codes(simd_load(x + 16 * i), scale, &has_nan);
    if (n == ENCODE_GROUP) {
        __builtin_memcpy(codes, found, ENCODE_GROUP);
    } else {
        int8_t part[ENCODE_GROUP];
        __builtin_memcpy(part, found, sizeof part);
        for (int64_t i = 0; i < n; i++) codes[i] = part[i];
    }
    return simd_max_of_i32(-has_nan) != 0 ? kernel_bits_float(0x7fc00000u) : scale;
}

void kernel_encode_activation(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_dim_0_1(env), n_blocks = encode_blocks(env);
    const int64_t n_groups = (columns + ENCODE_GROUP - 1) / ENCODE_GROUP;
    const float least = (float)kernel_attr_floor(env);
    const float *given = (const float *)kernel_pointer_1(env); // [groups] or NULL
    int8_t *codes = (int8_t *)kernel_result_pointer_0(env);
    float *scales = (float *)kernel_result_pointer_1(env);
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / n_blocks, first = item % n_blocks * ENCODE_BLOCK;
        const int64_t n = columns - first < ENCODE_BLOCK ? columns - first : ENCODE_BLOCK;
        float x[ENCODE_BLOCK];
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < n; c++) {
            const float value = kernel_load_0(env, row, first + c);
            kernel_keep_0(env, row, first + c, value);
            x[c] = value;
        }
        for (int64_t c = n; c % ENCODE_GROUP != 0; c++) x[c] = 0.0f;
        for (int64_t c = 0; c < n; c += ENCODE_GROUP) {
            const int64_t group = (first + c) / ENCODE_GROUP;
            scales[row * n_groups + group] = encode_group(
                x + c, n - c < ENCODE_GROUP ? n - c : ENCODE_GROUP, least,
                given != NULL ? given[group] : 0.0f, codes + row * columns + first + c);
        }
    }
}
