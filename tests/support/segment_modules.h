// segment_modules: groups of segment_attention with its usual prologue and epilogue, and batches of sequences for them; for the kernels of every target.
#ifndef MLCC_TESTS_SUPPORT_SEGMENT_MODULES_H
#define MLCC_TESTS_SUPPORT_SEGMENT_MODULES_H

#include "tests/support/random_module.h"

#include <math.h>
#include <stdio.h>

static const struct {
    int n_heads, head_dim;
} segment_shapes[] = {{3, 32}, {2, 64}, {2, 20}, {1, 1}, {1, 130}, {4, 7}};
enum { N_SEGMENT_SHAPES = sizeof segment_shapes / sizeof segment_shapes[0] };

// Lengths of sequences side by side, many of them no multiple of a block, a step or a tile.
static const int segment_lengths[][4] = {
    {1}, {40}, {64, 64, 64}, {200}, {3, 129, 1, 77}, {65, 2, 16, 17}};
enum { N_SEGMENT_VARIANTS = sizeof segment_lengths / sizeof segment_lengths[0] };

// q, k and v cut out of one product.
static inline void segment_module(int shape, const char *dtype, char *text, size_t capacity) {
    const int columns = segment_shapes[shape].n_heads * segment_shapes[shape].head_dim;
    snprintf(
        text, capacity,
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%%qkv: %s[n_tokens, %d], %%s: i32[n_tokens, 2]) {\n"
        "  %%q = slice %%qkv {begin = 0, end = %d} : %s[n_tokens, %d]\n"
        "  %%k = slice %%qkv {begin = %d, end = %d} : %s[n_tokens, %d]\n"
        "  %%v = slice %%qkv {begin = %d, end = %d} : %s[n_tokens, %d]\n"
        "  %%0 = segment_attention %%q, %%k, %%v, %%s {head_dim = %d, scale = 0.3} : "
        "%s[n_tokens, %d]\n"
        "  %%1 = scale %%0 {factor = 2.0} : %s[n_tokens, %d]\n  return %%1\n}\n",
        dtype, 3 * columns, columns, dtype, columns, columns, 2 * columns, dtype, columns,
        2 * columns, 3 * columns, dtype, columns, segment_shapes[shape].head_dim, dtype, columns,
        dtype, columns);
}

// In variant 4 a key of the first sequence is no number, which must stay with that sequence.
static inline void segment_args(
    int shape, int variant, ir_dtype dtype, mlcc_arena *keep, ir_tensor *args[2]) {
    const int *lengths = segment_lengths[variant];
    const int columns = 3 * segment_shapes[shape].n_heads * segment_shapes[shape].head_dim;
    int64_t n_tokens = 0;
    for (int i = 0; i < 4; i++) n_tokens += lengths[i];
    args[0] = random_matrix(dtype, n_tokens, columns, 2, (uint64_t)variant, keep);
    args[1] = ir_tensor_create(keep, IR_I32, 2, (int64_t[]){n_tokens, 2});
    for (int i = 0, begin = 0, row = 0; i < 4; begin += lengths[i++])
        for (; row < begin + lengths[i]; row++) {
            args[1]->i32[2 * row] = begin;
            args[1]->i32[2 * row + 1] = begin + lengths[i];
        }
    if (variant == 4) args[0]->f32[2 * columns + columns / 3] = NAN;
}

#endif
