// observe_max: maximum f32[1] becomes max(maximum, max |x|), x through its prologue; NaN counts as 0. An item is a block of
// columns of one row. Threads meet in the maximum's bits by compare and swap; maxima do not depend on the order.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

#include <stdbool.h>

KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_LOAD(1);
KERNEL_RESULT_POINTER(0);

enum { OBSERVE_MAX_BLOCK = 2048 };

KERNEL_INLINE int64_t observe_max_blocks(const kernel_env *env) {
    return (kernel_dim_1_1(env) + OBSERVE_MAX_BLOCK - 1) / OBSERVE_MAX_BLOCK;
}

int64_t kernel_observe_max_items(const kernel_env *env) {
    return kernel_dim_1_0(env) * observe_max_blocks(env);
}

int64_t kernel_observe_max_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_observe_max_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

void kernel_observe_max(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t columns = kernel_dim_1_1(env), n_blocks = observe_max_blocks(env);
    int32_t largest = 0; // magnitudes order like their bits
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / n_blocks, first = item % n_blocks * OBSERVE_MAX_BLOCK;
        const int64_t last =
            columns - first < OBSERVE_MAX_BLOCK ? columns : first + OBSERVE_MAX_BLOCK;
        _Pragma("clang loop vectorize(enable)") for (int64_t c = first; c < last; c++) {
            const int32_t bits =
                (int32_t)(kernel_float_bits(kernel_load_1(env, row, c)) & 0x7fffffffu);
            const int32_t magnitude = bits > 0x7f800000 ? 0 : bits;
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    const uint32_t found = (uint32_t)largest;
    uint32_t *maximum = (uint32_t *)kernel_result_pointer_0(env);
    uint32_t before = __atomic_load_n(maximum, __ATOMIC_RELAXED);
    while (kernel_bits_float(found) > kernel_bits_float(before)) {
        if (__atomic_compare_exchange_n(
                maximum, &before, found, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            break;
    }
}
