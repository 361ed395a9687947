// linear_panel16_stream: the path for few rows, bound by memory. Weights go from memory to registers once and are decoded in
// passing. A chunk of panels is cut into equal runs which are read side by side, each a sequential stream of addresses, because
// one stream alone leaves a third of the bandwidth unused.
// The includer names LINEAR_STREAM_ROWS, the most rows that this path takes, and LINEAR_STREAM_PANELS(R), the panels side by side
// with R rows (4 at most): R times that many sums, a few weights and masks must fit the registers.
//
// An integer code is isolated with one AND where it stands in its word, as code * 2^(bits i), and converted; x carries the factor
// 2^-(bits i) (a power of two: the product rounds as code * x would). So a weight costs three instructions: and, convert,
// multiply-add. An fp8 weight costs four to five (linear_float8_line).
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_STREAM_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_STREAM_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

KERNEL_KNOB(panel_ahead);

enum { LINEAR_STREAM_MAX_PANELS = 4 };

// R rows by P panels. `const int R, P` are literals in every caller, so that all of this becomes registers.
typedef struct linear_sums {
    f32x16 of[LINEAR_STREAM_ROWS][LINEAR_STREAM_MAX_PANELS];
} linear_sums;

// x of a stream of units, in scratch: rows of `stride` floats hold the scaled elements, zeros beyond K up to a whole unit, and
// behind them the start of every group.
typedef struct linear_scaled {
    float *rows;
    int64_t stride;   // floats from row to row
    int64_t padded_k; // whole units; group starts begin here
} linear_scaled;

KERNEL_INLINE linear_scaled
linear_scaled_layout(const kernel_env *env, kernel_panel16_format format, int64_t k) {
    linear_scaled scaled;
    scaled.rows = (float *)kernel_scratch(env);
    scaled.padded_k = kernel_panel16_units(format, k) * format.unit_k;
    scaled.stride = scaled.padded_k + (scaled.padded_k / format.group + 15) / 16 * 16;
    return scaled;
}

// Whether the scaled rows fit the scratch. A unit has at most 128 k, a group at least 32.
KERNEL_INLINE int linear_stream_fits(kernel_panel16_format format, int64_t n_rows, int64_t k) {
    if (n_rows > LINEAR_STREAM_ROWS) return 0;
    return format.code == KERNEL_CODE_PLAIN ||
           n_rows * (k + k / 32 + 160) * 4 <= KERNEL_LINEAR_SCRATCH_BYTES;
}

// 2^-(bits i) for every i of a word, over and over: 80 k are whole words of every kind and whole vectors. The code at the top of
// a word, whose sign bit it would touch, is shifted down instead.
enum { LINEAR_FACTORS = 80 };

KERNEL_INLINE void linear_factors_of(int32_t code, float factors[LINEAR_FACTORS]) {
    const int32_t bits = kernel_code_is_int(code) ? kernel_code_bits(code) : 0;
    for (int32_t i = 0; i < LINEAR_FACTORS; i++) {
        const int32_t shift = bits * (i % kernel_code_per_line(code));
        factors[i] = kernel_bits_float((uint32_t)(127 - (shift + bits == 32 ? 0 : shift)) << 23);
    }
}

KERNEL_INLINE linear_scaled linear_scale_rows(const kernel_env *env, const linear_job *job) {
    const kernel_panel16_format format = job->format;
    const linear_scaled scaled = linear_scaled_layout(env, format, job->k);
    float factors[LINEAR_FACTORS];
    linear_factors_of(format.code, factors);
    for (int64_t r = 0; r < job->n_rows; r++) {
        const float *x = linear_row(job, r);
        float *row = scaled.rows + r * scaled.stride;
        int64_t phase = 0;
        for (int64_t k = 0; k < scaled.padded_k; k += 16) {
            const int64_t left = job->k - k;
            simd_store(
                row + k, left >= 16 ? simd_load(x + k)
                         : left > 0 ? simd_load_part(x + k, left)
                                    : simd_splat(0.0f));
        }
        float *start = row + scaled.padded_k;
        for (int64_t k = 0; k < scaled.padded_k; k += format.group)
            *start++ = linear_group_start(format, row + k);
        for (int64_t k = 0; k < scaled.padded_k; k += 16) {
            simd_store(row + k, simd_load(row + k) * simd_load(factors + phase));
            phase = phase + 16 < LINEAR_FACTORS ? phase + 16 : 0;
        }
    }
    return scaled;
}

// One line of P panels, `panel_stride` bytes apart. x: the scaled rows at this k, `x_stride` floats apart.
KERNEL_INLINE void linear_stream_line(
    const int R, const int P, int32_t code, const float *x, int64_t x_stride, const char *line,
    int64_t panel_stride, linear_sums *group) {
    KERNEL_UNROLL for (int p = 0; p < P; p++)
        __builtin_prefetch(line + p * panel_stride + kernel_knob_panel_ahead(), 0, 3);
    if (!kernel_code_is_int(code)) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            f32x16 weights[4];
            linear_float8_line(code, line + p * panel_stride, weights);
            KERNEL_UNROLL for (int i = 0; i < 4; i++) {
                KERNEL_UNROLL for (int r = 0; r < R; r++) group->of[r][p] =
                    simd_fma(weights[i], simd_splat(x[r * x_stride + i]), group->of[r][p]);
            }
        }
        return;
    }
    const int bits = kernel_code_bits(code);
    u32x16 words[LINEAR_STREAM_MAX_PANELS];
    KERNEL_UNROLL for (int p = 0; p < P; p++) words[p] = simd_load_u32(line + p * panel_stride);
    KERNEL_UNROLL for (int i = 0; i < kernel_code_per_line(code); i++) {
        const int shift = bits * i;
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            const u32x16 found = shift + bits == 32 ? words[p] >> (uint32_t)shift
                                                    : words[p] & (((1u << bits) - 1u) << shift);
            const f32x16 weight = __builtin_convertvector((i32x16)found, f32x16);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                group->of[r][p] =
                    simd_fma(weight, simd_splat(x[r * x_stride + i]), group->of[r][p]);
            }
        }
    }
}

// One unit of P panels. starts: the rows' starts of the unit's first group.
KERNEL_INLINE void linear_stream_unit(
    const int R, const int P, kernel_panel16_format format, const float *x, const float *starts,
    int64_t x_stride, const char *unit, int64_t panel_stride, linear_sums *sums) {
    const char *line = unit + kernel_panel16_lines_at(format);
    _Pragma("clang loop unroll(disable)") for (int64_t g = 0;
                                               g < kernel_panel16_unit_groups(format); g++) {
        linear_sums group;
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            KERNEL_UNROLL for (int r = 0; r < R; r++) group.of[r][p] =
                simd_splat(starts[r * x_stride + g]);
            if (format.zero == KERNEL_ZERO_STORED) {
                const f32x16 zeros = linear_zeros(format, unit + p * panel_stride, g);
                KERNEL_UNROLL for (int r = 0; r < R; r++) group.of[r][p] *= zeros;
            }
        }
        _Pragma("clang loop unroll(disable)") for (int64_t w = 0;
                                                   w < kernel_panel16_group_lines(format); w++) {
            linear_stream_line(R, P, format.code, x, x_stride, line, panel_stride, &group);
            line += KERNEL_PANEL16_LINE;
            x += kernel_code_per_line(format.code);
        }
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            const f32x16 scale = panel16_scales(format, unit + p * panel_stride, g);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                sums->of[r][p] = simd_fma(group.of[r][p], scale, sums->of[r][p]);
            }
        }
    }
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        __builtin_prefetch(unit + p * panel_stride + kernel_knob_panel_ahead(), 0, 3);
    }
}

// The first n_k k (2 at most) of one line of P plain panels.
KERNEL_INLINE void linear_stream_plain_line(
    const int R, const int P, const int n_k, int32_t dtype, const float *x, int64_t x_stride,
    const char *line, int64_t panel_stride, linear_sums *group) {
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        __builtin_prefetch(line + p * panel_stride + kernel_knob_panel_ahead(), 0, 3);
        f32x16 weights[2];
        panel16_plain_line(dtype, line + p * panel_stride, weights);
        KERNEL_UNROLL for (int i = 0; i < n_k; i++) {
            KERNEL_UNROLL for (int r = 0; r < R; r++) group->of[r][p] =
                simd_fma(weights[i], simd_splat(x[r * x_stride + i]), group->of[r][p]);
        }
    }
}

// One group (up to 128 k) of P plain panels. x: the rows at k, k floats apart; line: the first panel at k.
KERNEL_INLINE void linear_stream_plain(
    const int R, const int P, int32_t dtype, int64_t n_k, const float *x, int64_t x_stride,
    const char *line, int64_t panel_stride, linear_sums *sums) {
    linear_sums group;
    const int64_t line_bytes = dtype == KERNEL_F16 ? 32 : 64;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) group.of[r][p] = simd_splat(0.0f);
    }
    if (dtype == KERNEL_BF16) {
        int64_t k = 0;
        _Pragma("clang loop unroll(disable) vectorize(disable)") for (; k + 2 <= n_k; k += 2) {
            linear_stream_plain_line(R, P, 2, dtype, x + k, x_stride, line, panel_stride, &group);
            line += line_bytes;
        }
        if (k < n_k)
            linear_stream_plain_line(R, P, 1, dtype, x + k, x_stride, line, panel_stride, &group);
    } else {
        _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t k = 0; k < n_k; k++) {
            linear_stream_plain_line(R, P, 1, dtype, x + k, x_stride, line, panel_stride, &group);
            line += line_bytes;
        }
    }
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        KERNEL_UNROLL for (int r = 0; r < R; r++) sums->of[r][p] = group.of[r][p] + sums->of[r][p];
    }
}

// R rows times P panels, `stride` panels apart, from panel `first` on; values[r][p] receives 16 outputs each.
KERNEL_INLINE void linear_stream_panels(
    const int R, const int P, const linear_job *job, const linear_scaled *scaled, int64_t first,
    int64_t stride, float (*values)[LINEAR_STREAM_MAX_PANELS][16]) {
    const char *panel = job->weights + first * job->panel_bytes;
    const int64_t panel_stride = stride * job->panel_bytes;
    linear_sums sums;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) sums.of[r][p] = simd_splat(0.0f);
    }
    if (job->format.code != KERNEL_CODE_PLAIN) {
        const float *x = scaled->rows, *starts = scaled->rows + scaled->padded_k;
        for (int64_t k = 0; k < scaled->padded_k; k += job->format.unit_k) {
            linear_stream_unit(
                R, P, job->format, x, starts, scaled->stride, panel, panel_stride, &sums);
            x += job->format.unit_k;
            starts += kernel_panel16_unit_groups(job->format);
            panel += kernel_panel16_unit_bytes(job->format);
        }
    } else {
        const int64_t group_k = job->format.group;
        for (int64_t k = 0; k < job->k; k += group_k) {
            const int64_t n_k = job->k - k < group_k ? job->k - k : group_k;
            linear_stream_plain(
                R, P, job->format.scale, n_k, job->x + k, job->k, panel, panel_stride, &sums);
            panel += linear_k_bytes(job->format, group_k);
        }
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) simd_store(values[r][p], sums.of[r][p]);
    }
}

// All rows times one set of panels.
KERNEL_INLINE void linear_stream_set(
    const linear_job *job, const linear_scaled *scaled, int64_t first, int64_t stride,
    float (*values)[LINEAR_STREAM_MAX_PANELS][16]) {
    switch (job->n_rows) {
    case 1:
        linear_stream_panels(1, LINEAR_STREAM_PANELS(1), job, scaled, first, stride, values);
        break;
    case 2:
        linear_stream_panels(2, LINEAR_STREAM_PANELS(2), job, scaled, first, stride, values);
        break;
    case 3:
        linear_stream_panels(3, LINEAR_STREAM_PANELS(3), job, scaled, first, stride, values);
        break;
#if LINEAR_STREAM_ROWS >= 4
    case 4:
        linear_stream_panels(4, LINEAR_STREAM_PANELS(4), job, scaled, first, stride, values);
        break;
#endif
#if LINEAR_STREAM_ROWS >= 5
    case 5:
        linear_stream_panels(5, LINEAR_STREAM_PANELS(5), job, scaled, first, stride, values);
        break;
#endif
#if LINEAR_STREAM_ROWS >= 6
    case 6:
        linear_stream_panels(6, LINEAR_STREAM_PANELS(6), job, scaled, first, stride, values);
        break;
#endif
#if LINEAR_STREAM_ROWS >= 7
    case 7:
        linear_stream_panels(7, LINEAR_STREAM_PANELS(7), job, scaled, first, stride, values);
        break;
#endif
#if LINEAR_STREAM_ROWS >= 8
    case 8:
        linear_stream_panels(8, LINEAR_STREAM_PANELS(8), job, scaled, first, stride, values);
        break;
#endif
    default: break;
    }
}

// Panels [begin, end): sets of side-by-side panels first. What is left goes one panel at a time through the same code, all streams
// of a set on the one panel: it costs arithmetic for at most three panels, and saves a second copy of everything above.
KERNEL_INLINE void linear_stream(
    const kernel_env *env, const linear_job *job, int64_t begin, int64_t end) {
    float values[LINEAR_STREAM_ROWS][LINEAR_STREAM_MAX_PANELS][16];
    linear_scaled scaled = {0};
    if (job->format.code != KERNEL_CODE_PLAIN) scaled = linear_scale_rows(env, job);
    const int64_t n_side = LINEAR_STREAM_PANELS(job->n_rows);
    const int64_t run = (end - begin) / n_side, rest = (end - begin) % n_side;
    for (int64_t i = 0; i < run + rest; i++) {
        const int64_t first = i < run ? begin + i : begin + run * n_side + (i - run);
        const int64_t stride = i < run ? run : 0, n_valid = i < run ? n_side : 1;
        linear_stream_set(job, &scaled, first, stride, values);
        for (int64_t r = 0; r < job->n_rows; r++) {
            for (int64_t p = 0; p < n_valid; p++)
                linear_store(env, job, r, first + p * stride, values[r][p]);
        }
    }
}

#endif
