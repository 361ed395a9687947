// linear_panel16_stream: the path for few rows, bound by memory. Weights go from memory to registers once and are decoded in
// passing. A chunk of panels is cut into equal runs which are read side by side, each a sequential stream of addresses, because
// one stream alone leaves a third of the bandwidth unused.
// The includer names LINEAR_STREAM_ROWS, the most rows that this path takes, and LINEAR_STREAM_PANELS(R), the panels side by side
// with R rows (4 at most): R times that many sums, a few weights and masks must fit the registers.
//
// A Q4G32_F16 code is isolated with one AND where it stands in its word, as code * 16^i, and converted; x carries the factor
// 16^-i (a power of two: the product rounds as code * x would). So a weight costs three instructions: and, convert, multiply-add.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_STREAM_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_STREAM_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

enum {
    LINEAR_STREAM_MAX_PANELS = 4,
    LINEAR_PREFETCH_BYTES = 2304, // how far ahead of its use a weight is requested
};

// R rows by P panels. `const int R, P` are literals in every caller, so that all of this becomes registers.
typedef struct linear_sums {
    f32x16 of[LINEAR_STREAM_ROWS][LINEAR_STREAM_MAX_PANELS];
} linear_sums;

// x of the Q4G32_F16 stream, in scratch: rows of `stride` floats hold the scaled elements, zeros beyond K up to a whole unit,
// and behind them the start of every group.
typedef struct linear_scaled {
    float *rows;
    int64_t stride;   // floats from row to row
    int64_t padded_k; // whole units; group starts begin here
} linear_scaled;

KERNEL_INLINE linear_scaled linear_scaled_layout(const kernel_env *env, int64_t k) {
    linear_scaled scaled;
    scaled.rows = (float *)kernel_scratch(env);
    scaled.padded_k = kernel_panel16_units(k) * KERNEL_PANEL16_UNIT;
    scaled.stride = scaled.padded_k + (scaled.padded_k / 32 + 15) / 16 * 16;
    return scaled;
}

// Whether the scaled rows fit the scratch.
KERNEL_INLINE int linear_stream_fits(int32_t dtype, int64_t n_rows, int64_t k) {
    if (n_rows > LINEAR_STREAM_ROWS) return 0;
    return dtype != KERNEL_Q4G32_F16 ||
           n_rows * (k + k / 32 + 96) * 4 <= KERNEL_LINEAR_SCRATCH_BYTES;
}

KERNEL_INLINE linear_scaled linear_scale_rows(const kernel_env *env, const linear_job *job) {
    const linear_scaled scaled = linear_scaled_layout(env, job->k);
    const f32x16 factors = {1.0f, 0x1p-4f, 0x1p-8f, 0x1p-12f, 0x1p-16f, 0x1p-20f, 0x1p-24f, 1.0f,
                            1.0f, 0x1p-4f, 0x1p-8f, 0x1p-12f, 0x1p-16f, 0x1p-20f, 0x1p-24f, 1.0f};
    for (int64_t r = 0; r < job->n_rows; r++) {
        const float *x = job->x + r * job->k;
        float *row = scaled.rows + r * scaled.stride;
        for (int64_t k = 0; k < scaled.padded_k; k += 32) {
            float group[32];
            const float *source = x + k;
            if (job->k - k < 32) {
                for (int64_t i = 0; i < 32; i++) group[i] = k + i < job->k ? x[k + i] : 0.0f;
                source = group;
            }
            row[scaled.padded_k + k / 32] = linear_group_start(source);
            simd_store(row + k, simd_load(source) * factors);
            simd_store(row + k + 16, simd_load(source + 16) * factors);
        }
    }
    return scaled;
}

// One word of P panels, `panel_stride` bytes apart: eight k. x: the scaled rows at this k, `x_stride` floats apart.
KERNEL_INLINE void linear_stream_word(
    const int R, const int P, const float *x, int64_t x_stride, const char *words_at,
    int64_t panel_stride, linear_sums *group) {
    u32x16 words[LINEAR_STREAM_MAX_PANELS];
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        words[p] = simd_load_u32(words_at + p * panel_stride);
        __builtin_prefetch(words_at + p * panel_stride + LINEAR_PREFETCH_BYTES, 0, 3);
    }
    KERNEL_UNROLL for (int i = 0; i < 8; i++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            const u32x16 code = i == 7 ? words[p] >> 28 : words[p] & (15u << (4 * i));
            const f32x16 weight = __builtin_convertvector((i32x16)code, f32x16);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                group->of[r][p] =
                    simd_fma(weight, simd_splat(x[r * x_stride + i]), group->of[r][p]);
            }
        }
    }
}

// One unit (two groups) of P panels. starts: the rows' starts of the unit's first group.
KERNEL_INLINE void linear_stream_unit(
    const int R, const int P, const float *x, const float *starts, int64_t x_stride,
    const char *unit, int64_t panel_stride, linear_sums *sums) {
    const char *words_at = unit + KERNEL_PANEL16_UNIT_WORDS;
    _Pragma("clang loop unroll(disable)") for (int64_t g = 0; g < 2; g++) {
        linear_sums group;
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            KERNEL_UNROLL for (int p = 0; p < P; p++) group.of[r][p] =
                simd_splat(starts[r * x_stride + g]);
        }
        _Pragma("clang loop unroll(disable)") for (int64_t w = 0; w < 4; w++) {
            linear_stream_word(R, P, x, x_stride, words_at, panel_stride, &group);
            words_at += 64;
            x += 8;
        }
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            const f32x16 scale = simd_load_f16(unit + p * panel_stride + g * 32);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                sums->of[r][p] = simd_fma(group.of[r][p], scale, sums->of[r][p]);
            }
        }
    }
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        __builtin_prefetch(unit + p * panel_stride + LINEAR_PREFETCH_BYTES, 0, 3);
    }
}

// One group (up to 128 k) of P plain panels. x: the rows at k, k floats apart; element: the first panel at k.
KERNEL_INLINE void linear_stream_plain(
    const int R, const int P, int32_t dtype, int64_t n_k, const float *x, int64_t x_stride,
    const char *element, int64_t panel_stride, linear_sums *sums) {
    linear_sums group;
    const int64_t k_bytes = dtype == KERNEL_F32 ? 64 : 32;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) group.of[r][p] = simd_splat(0.0f);
    }
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t k = 0; k < n_k; k++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            __builtin_prefetch(element + p * panel_stride + LINEAR_PREFETCH_BYTES, 0, 3);
            const f32x16 weight = simd_load_as_f32(element + p * panel_stride, dtype, 0);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                group.of[r][p] = simd_fma(weight, simd_splat(x[r * x_stride + k]), group.of[r][p]);
            }
        }
        element += k_bytes;
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
    if (job->dtype == KERNEL_Q4G32_F16) {
        const float *x = scaled->rows, *starts = scaled->rows + scaled->padded_k;
        for (int64_t k = 0; k < scaled->padded_k; k += KERNEL_PANEL16_UNIT) {
            linear_stream_unit(R, P, x, starts, scaled->stride, panel, panel_stride, &sums);
            x += KERNEL_PANEL16_UNIT;
            starts += 2;
            panel += KERNEL_PANEL16_UNIT_BYTES;
        }
    } else {
        const int64_t group_k = linear_group_k(job);
        for (int64_t k = 0; k < job->k; k += group_k) {
            const int64_t n_k = job->k - k < group_k ? job->k - k : group_k;
            linear_stream_plain(
                R, P, job->dtype, n_k, job->x + k, job->k, panel, panel_stride, &sums);
            panel += group_k * linear_k_bytes(job);
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
    if (job->dtype == KERNEL_Q4G32_F16) scaled = linear_scale_rows(env, job);
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
