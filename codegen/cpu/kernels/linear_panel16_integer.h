// linear_panel16_integer: the path of 4-bit integer weights on machines that multiply bytes and add them up (AVX-512 VNNI), for
// any number of rows. Weights stay integers; x becomes integers of 24 bits: in every group of 32 k (weights may share a scale
// over more of them),
//
//   x = X * scale,  |X| <= 2^22,  scale = largest |x| of the group * 2^-22
//   X = digit[0] + 256 digit[1] + 65536 digit[2],  digits are signed bytes
//
// which keeps float32's precision relative to the largest element of the group. The sums of code * digit are exact, so the only
// roundings are those of X, of one conversion per group and of the running sum; and their order cannot matter. Then
//
//   sum = (sum of (code - zero) X) * (weight scale * scale) + sum,  groups ascending.
//
// Zero times the sum of X comes in as what the sum starts from: 15 * 32 * 2^22 fits 32 bits, and so does the whole.
//
// A weight costs 1.3 instructions against 3 of the float path: a stream is bound by memory again, and more rows by the byte
// multiplier. The includer supplies simd_dot4.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_INTEGER_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_INTEGER_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef int8_t i8x32 __attribute__((vector_size(32)));

// acc + the four products in every lane: bytes of `codes` (0 … 15) times the signed bytes of `digits`.
KERNEL_INLINE i32x16 simd_dot4(i32x16 acc, u32x16 codes, int32_t digits);

KERNEL_KNOB(panel_ahead);

enum {
    LINEAR_INTEGER_ROWS = 4,       // rows of a register tile
    LINEAR_INTEGER_MAX_PANELS = 4, // its panels
    LINEAR_INTEGER_BLOCK_ROWS = 128,
    LINEAR_INTEGER_CHUNK = 16,    // panels that share one preparation of a block of rows
    LINEAR_INTEGER_GROUPS = 1920, // groups of all rows that are prepared at a time
};

// One group of one row.
typedef struct linear_digits {
    int8_t digit
        [3]
        [32]; // of every word of eight: k = 0, 2, 4, 6, then 1, 3, 5, 7: how a word's low and high nibbles lie
    int32_t start; // minus the constant zero, or 1, times the sum of X
    float scale;
} linear_digits;

// Scratch.
typedef struct linear_integer {
    linear_digits x[LINEAR_INTEGER_GROUPS]; // row by row
    float sums[LINEAR_INTEGER_CHUNK][LINEAR_INTEGER_BLOCK_ROWS][16];
} linear_integer;

_Static_assert(sizeof(linear_integer) <= KERNEL_LINEAR_SCRATCH_BYTES, "scratch.h promises enough");

KERNEL_INLINE i8x32 linear_digit_bytes(i32x16 low, i32x16 high) {
    return __builtin_shufflevector(
        __builtin_convertvector(low, i8x16), __builtin_convertvector(high, i8x16), 0, 2, 4, 6, 1, 3,
        5, 7, 8, 10, 12, 14, 9, 11, 13, 15, 16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 28, 30, 25, 27,
        29, 31);
}

// A group of 32 elements (zeros beyond K) as digits; zero: what its sum is taken off times, negated.
KERNEL_INLINE void linear_digits_of(const float *x, int32_t zero, linear_digits *group) {
    f32x16 value[2] = {simd_load(x), simd_load(x + 16)};
    // The largest magnitude by its bits, so that a NaN is the largest and comes out in the scale.
    const i32x16 a = (i32x16)value[0] & 0x7fffffff, b = (i32x16)value[1] & 0x7fffffff;
    const float largest = kernel_bits_float((uint32_t)simd_max_of_i32(simd_max_i32(a, b)));
    // Below 1e-30 a group counts as zero; its factor would overflow.
    const float factor = largest < 1e-30f ? 0.0f : 0x1p22f / largest;
    i32x16 digit[3][2], total = {0};
    KERNEL_UNROLL for (int i = 0; i < 2; i++) {
        // Rounded to an integer in the low bits of a float between 2^23 and 2^24.
        const i32x16 whole =
            (i32x16)simd_fma(value[i], simd_splat(factor), simd_splat(12582912.0f)) - 0x4b400000;
        total += whole;
        digit[0][i] = (whole << 24) >> 24;
        const i32x16 upper = (whole - digit[0][i]) >> 8;
        digit[1][i] = (upper << 24) >> 24;
        digit[2][i] = (upper - digit[1][i]) >> 8;
    }
    KERNEL_UNROLL for (int d = 0; d < 3; d++) {
        const i8x32 bytes = linear_digit_bytes(digit[d][0], digit[d][1]);
        __builtin_memcpy(group->digit[d], &bytes, sizeof bytes);
    }
    group->start = -zero * simd_sum_i32(total);
    group->scale = largest < 1e-30f ? 0.0f : largest * 0x1p-22f;
}

// Rows [first_row, first_row + n_rows) at groups [first_group, first_group + n_groups), row by row.
KERNEL_INLINE void linear_digits_of_rows(
    const linear_job *job, linear_digits *digits, int64_t first_row, int64_t n_rows,
    int64_t first_group, int64_t n_groups) {
    const int32_t zero = job->format.zero == KERNEL_ZERO_STORED ? 1 : job->format.zero;
    for (int64_t r = 0; r < n_rows; r++) {
        const float *row = linear_row(job, first_row + r);
        for (int64_t g = 0; g < n_groups; g++) {
            const int64_t k = (first_group + g) * 32;
            float part[32];
            const float *x = row + k;
            if (job->k - k < 32) {
                for (int64_t i = 0; i < 32; i++) part[i] = k + i < job->k ? row[k + i] : 0.0f;
                x = part;
            }
            linear_digits_of(x, zero, &digits[r * n_groups + g]);
        }
    }
}

typedef struct linear_integer_sums {
    f32x16 of[LINEAR_INTEGER_ROWS][LINEAR_INTEGER_MAX_PANELS];
} linear_integer_sums;

// One group of 32 k of R rows (x_stride groups apart) and P panels (panel_stride bytes apart): its words, and the group of its
// unit whose scale and zero it has.
KERNEL_INLINE void linear_integer_group(
    const int R, const int P, kernel_panel16_format format, const linear_digits *x,
    int64_t x_stride, const char *unit, const char *words_at, int64_t unit_group,
    int64_t panel_stride, linear_integer_sums *sums) {
    i32x16 acc[LINEAR_INTEGER_ROWS][LINEAR_INTEGER_MAX_PANELS][3];
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            acc[r][p][0] = (i32x16){0} + x[r * x_stride].start;
            acc[r][p][1] = acc[r][p][2] = (i32x16){0};
        }
        if (format.zero == KERNEL_ZERO_STORED) {
            const i32x16 zeros = panel16_zeros(format, unit + p * panel_stride, unit_group);
            KERNEL_UNROLL for (int r = 0; r < R; r++) acc[r][p][0] *= zeros;
        }
    }
    KERNEL_UNROLL for (int w = 0; w < 4; w++) {
        u32x16 words[LINEAR_INTEGER_MAX_PANELS];
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            const char *at = words_at + p * panel_stride + w * 64;
            __builtin_prefetch(at + kernel_knob_panel_ahead(), 0, 3);
            words[p] = simd_load_u32(at);
        }
        // Panels innermost: a broadcast of digits is used by all of them at once and needs no register beyond that.
        KERNEL_UNROLL for (int half = 0; half < 2; half++) {
            u32x16 codes[LINEAR_INTEGER_MAX_PANELS];
            KERNEL_UNROLL for (int p = 0; p < P; p++) codes[p] =
                (words[p] >> (uint32_t)(4 * half)) & 0x0f0f0f0fu;
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                KERNEL_UNROLL for (int d = 0; d < 3; d++) {
                    int32_t digits;
                    __builtin_memcpy(
                        &digits, &x[r * x_stride].digit[d][w * 8 + half * 4], sizeof digits);
                    KERNEL_UNROLL for (int p = 0; p < P; p++) acc[r][p][d] =
                        simd_dot4(acc[r][p][d], codes[p], digits);
                }
            }
        }
    }
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        const f32x16 scale = panel16_scales(format, unit + p * panel_stride, unit_group);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            const i32x16 whole = acc[r][p][0] + (acc[r][p][1] << 8) + (acc[r][p][2] << 16);
            const f32x16 factor = scale * x[r * x_stride].scale;
            sums->of[r][p] =
                simd_fma(__builtin_convertvector(whole, f32x16), factor, sums->of[r][p]);
        }
    }
}

// R rows by P panels over n_groups groups; values[p * values_stride + r] are the sums so far, if any, and after.
KERNEL_INLINE void linear_integer_tile(
    const int R, const int P, kernel_panel16_format format, const linear_digits *x,
    int64_t x_stride, const char *panel, int64_t panel_stride, int64_t first_group,
    int64_t n_groups, float (*values)[16], int64_t values_stride) {
    const int64_t unit_groups = format.unit_k / 32; // of x
    linear_integer_sums sums;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            sums.of[r][p] =
                first_group == 0 ? simd_splat(0.0f) : simd_load(values[p * values_stride + r]);
        }
    }
    _Pragma("clang loop unroll(disable)") for (int64_t g = 0; g < n_groups; g++) {
        const int64_t group = first_group + g;
        const char *unit = panel + group / unit_groups * kernel_panel16_unit_bytes(format);
        const int64_t inside = group % unit_groups;
        const char *words_at =
            unit + kernel_panel16_lines_at(format) + inside * 4 * KERNEL_PANEL16_LINE;
        linear_integer_group(
            R, P, format, x + g, x_stride, unit, words_at, inside * 32 / format.group, panel_stride,
            &sums);
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++)
            simd_store(values[p * values_stride + r], sums.of[r][p]);
    }
}

// Panels side by side in a launch of n_rows.
KERNEL_INLINE int64_t linear_integer_side(int64_t n_rows) {
    return n_rows == 1 ? 4 : 2;
}

// n_rows rows by one set of panels. More than four rows go in tiles of four, the last ones in two of about the same height.
KERNEL_INLINE void linear_integer_set(
    int64_t n_rows, kernel_panel16_format format, const linear_digits *x, const char *panel,
    int64_t panel_stride, int64_t first_group, int64_t n_groups, float (*values)[16],
    int64_t values_stride) {
#define LINEAR_INTEGER_TILE(R, P) \
    linear_integer_tile( \
        R, P, format, x + row * n_groups, n_groups, panel, panel_stride, first_group, n_groups, \
        values + row, values_stride)
    for (int64_t row = 0, height; row < n_rows; row += height) {
        const int64_t left = n_rows - row;
        height = left >= 8 ? 4 : left > 4 ? (left + 1) / 2 : left;
        switch (height) {
        case 1: LINEAR_INTEGER_TILE(1, 4); break; // only n_rows = 1 comes here
        case 2: LINEAR_INTEGER_TILE(2, 2); break;
        case 3: LINEAR_INTEGER_TILE(3, 2); break;
        default: LINEAR_INTEGER_TILE(4, 2); break;
        }
    }
#undef LINEAR_INTEGER_TILE
}

// Panels [begin, end), at most LINEAR_INTEGER_CHUNK unless all groups are prepared at once, times rows [first_row, + n_rows).
// As in linear_stream, left-over panels go one at a time with all streams of a set on the one panel.
KERNEL_INLINE void linear_integer_panels(
    const kernel_env *env, const linear_job *job, int64_t first_row, int64_t n_rows, int64_t begin,
    int64_t end, int64_t first_group, int64_t n_groups, int64_t all_groups) {
    linear_integer *scratch = (linear_integer *)kernel_scratch(env);
    const int64_t n_side = linear_integer_side(n_rows);
    const int64_t run = (end - begin) / n_side, rest = (end - begin) % n_side;
    for (int64_t i = 0; i < run + rest; i++) {
        const int64_t first = i < run ? begin + i : begin + run * n_side + (i - run);
        const int64_t stride = i < run ? run : 0, n_valid = i < run ? n_side : 1;
        // Sums of a set of panels lie together: [panel of the set][row]. A launch in one block of groups uses the same place again.
        float(*values)[16] = scratch->sums
                                 [n_groups == all_groups ? 0
                                  : i < run              ? i * n_side
                                                         : run * n_side + (i - run)];
        linear_integer_set(
            n_rows, job->format, scratch->x, job->weights + first * job->panel_bytes,
            stride * job->panel_bytes, first_group, n_groups, values,
            i < run ? LINEAR_INTEGER_BLOCK_ROWS : 0);
        if (first_group + n_groups < all_groups) continue;
        for (int64_t p = 0; p < n_valid; p++) {
            for (int64_t r = 0; r < n_rows; r++) {
                linear_store(
                    env, job, first_row + r, first + p * stride,
                    values[p * LINEAR_INTEGER_BLOCK_ROWS + r]);
            }
        }
    }
}

// Groups of a row prepared at a time: all of them when they fit.
KERNEL_INLINE int64_t linear_integer_block(int64_t n_rows, int64_t k) {
    const int64_t all = (k + 31) / 32, fit = LINEAR_INTEGER_GROUPS / n_rows;
    return all < fit ? all : fit;
}

KERNEL_INLINE int64_t linear_integer_rows(int64_t n_rows) {
    const int64_t n_blocks = (n_rows + LINEAR_INTEGER_BLOCK_ROWS - 1) / LINEAR_INTEGER_BLOCK_ROWS;
    return n_blocks == 0 ? 0 : (n_rows + n_blocks - 1) / n_blocks;
}

// Items [begin, end): an item is a panel of one block of rows, panels of a block side by side.
KERNEL_INLINE void linear_integer_run(
    const kernel_env *env, const linear_job *job, int64_t begin, int64_t end) {
    linear_integer *scratch = (linear_integer *)kernel_scratch(env);
    const int64_t block_rows = linear_integer_rows(job->n_rows), all_groups = (job->k + 31) / 32;
    while (begin < end) {
        const int64_t panel = begin % job->n_panels, row = begin / job->n_panels * block_rows;
        const int64_t n_rows = job->n_rows - row < block_rows ? job->n_rows - row : block_rows;
        const int64_t block = linear_integer_block(n_rows, job->k);
        int64_t take = job->n_panels - panel < end - begin ? job->n_panels - panel : end - begin;
        if (block < all_groups && take > LINEAR_INTEGER_CHUNK) take = LINEAR_INTEGER_CHUNK;
        for (int64_t group = 0; group < all_groups; group += block) {
            const int64_t n_groups = all_groups - group < block ? all_groups - group : block;
            linear_digits_of_rows(job, scratch->x, row, n_rows, group, n_groups);
            linear_integer_panels(
                env, job, row, n_rows, panel, panel + take, group, n_groups, all_groups);
        }
        begin += take;
    }
}

#endif
