// linear_scaled_tile: register tiles of linear_scaled: R rows by P panels over a block of groups. Weights go from memory to registers and
// are decoded in passing, by every tile of rows anew: that takes other units than the products do.
//
// The includer names LINEAR_SCALED_ROWS, the most rows of a tile, and LINEAR_SCALED_STREAMS (4 at most), the panels that a single
// row reads side by side, each a stream of addresses. More rows take one panel at a time.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_TILE_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_TILE_H

#include "codegen/cpu/kernels/linear_scaled_x.h"

// Sums of a set of panels, in scratch: [panel][row][16].
typedef float scaled_values[KERNEL_LINEAR_SCALED_ROWS][16];

// One vector for every row and panel of a tile.
typedef struct scaled_floats {
    f32x16 of[LINEAR_SCALED_ROWS][LINEAR_SCALED_STREAMS];
} scaled_floats;

typedef struct scaled_integers {
    i32x16 of[LINEAR_SCALED_ROWS][LINEAR_SCALED_STREAMS];
} scaled_integers;

// A set of panels, panel_stride bytes apart, and the weights that are requested while they are used: `next` of the first panel,
// and bytes from one request to the next. Requests that come all at once would fill the miss buffers; one that is repeated
// costs little.
typedef struct scaled_panels {
    kernel_panel16_format format;
    const char *first;
    int64_t stride;
    const char *next;
    int64_t step;
} scaled_panels;

KERNEL_INLINE void scaled_request(const int P, scaled_panels *panels) {
    KERNEL_UNROLL for (int p = 0; p < P; p++)
        __builtin_prefetch(panels->next + p * panels->stride, 0, 3);
    panels->next += panels->step;
}

// Requests for one group.
KERNEL_INLINE int64_t scaled_group_requests(int32_t code) {
    return scaled_group_lines(code) + 1;
}

// The lines of one group. The loop stays one: unrolled, the compiler gathers the loads of all lines and has no registers for them.
KERNEL_INLINE void scaled_lines(
    const int R, const int P, const char *x, const char *lines, scaled_panels *panels,
    scaled_integers *acc) {
    const int32_t code = panels->format.code;
    const int64_t record_bytes = scaled_record_bytes(code);
    _Pragma("clang loop unroll(disable)") for (int64_t w = 0; w < scaled_group_lines(code); w++) {
        u32x16 words[LINEAR_SCALED_STREAMS];
        KERNEL_UNROLL for (int p = 0; p < P; p++) words[p] =
            simd_load_u32(lines + p * panels->stride);
        scaled_request(P, panels);
        KERNEL_UNROLL for (int part = 0; part < scaled_parts(code); part++) {
            u32x16 codes[LINEAR_SCALED_STREAMS];
            KERNEL_UNROLL for (int p = 0; p < P; p++) codes[p] = scaled_part(code, words[p], part);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                const int32_t four = scaled_word(x + r * record_bytes, part * 4);
                KERNEL_UNROLL for (int p = 0; p < P; p++) acc->of[r][p] =
                    scaled_dot(code, acc->of[r][p], codes[p], four);
            }
        }
        lines += KERNEL_PANEL16_LINE;
        x += scaled_parts(code) * 4;
    }
}

// One group: its unit, its lines in the unit, and the group of the unit whose scale and zero it has.
KERNEL_INLINE void scaled_group(
    const int R, const int P, const char *x, const char *unit, const char *lines,
    int64_t unit_group, scaled_panels *panels, scaled_floats *sums) {
    const kernel_panel16_format format = panels->format;
    const int64_t record_bytes = scaled_record_bytes(format.code);
    scaled_integers start, acc;
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        i32x16 zeros = {0};
        if (format.zero == KERNEL_ZERO_STORED)
            zeros = panel16_zeros(format, unit + p * panels->stride, unit_group);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            start.of[r][p] = scaled_start(format, x + r * record_bytes, zeros);
            acc.of[r][p] = scaled_begin(format.code, start.of[r][p]);
        }
    }
    scaled_lines(R, P, x, lines, panels, &acc);
    scaled_request(P, panels);
    KERNEL_UNROLL for (int p = 0; p < P; p++) {
        const f32x16 scale = panel16_scales(format, unit + p * panels->stride, unit_group);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            const i32x16 whole = scaled_end(format.code, acc.of[r][p], start.of[r][p]);
            sums->of[r][p] = scaled_add(
                whole, scale, scaled_scale(format.code, x + r * record_bytes), sums->of[r][p]);
        }
    }
}

// R rows, packed at x, by P panels over groups [first_group, + n_groups); values[p][r] are the sums so far, if any, and after.
KERNEL_INLINE void scaled_tile(
    const int R, const int P, const char *x, int64_t first_group, int64_t n_groups,
    scaled_panels *panels, scaled_values *values) {
    const kernel_panel16_format format = panels->format;
    const int64_t unit_groups = format.unit_k / LINEAR_SCALED_GROUP; // of x
    const int64_t group_bytes = scaled_group_lines(format.code) * KERNEL_PANEL16_LINE;
    scaled_floats sums;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) sums.of[r][p] =
            first_group == 0 ? simd_splat(0.0f) : simd_load(values[p][r]);
    }
    _Pragma("clang loop unroll(disable)") for (int64_t g = first_group; g < first_group + n_groups;
                                               g++) {
        const char *unit = panels->first + g / unit_groups * kernel_panel16_unit_bytes(format);
        const int64_t inside = g % unit_groups;
        const char *lines = unit + kernel_panel16_lines_at(format) + inside * group_bytes;
        scaled_group(
            R, P, x, unit, lines, inside * LINEAR_SCALED_GROUP / format.group, panels, &sums);
        x += R * scaled_record_bytes(format.code);
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) simd_store(values[p][r], sums.of[r][p]);
    }
}

// ---- heights ----------------------------------------------------------------------------------------------------------------

KERNEL_INLINE int64_t scaled_side(int64_t n_rows) {
    return n_rows == 1 ? LINEAR_SCALED_STREAMS : 1;
}

// Of n_rows the rows of the first tile: the last ones go in two of about the same height.
KERNEL_INLINE int64_t scaled_tile_rows(int64_t n_rows) {
    return n_rows >= 2 * LINEAR_SCALED_ROWS ? LINEAR_SCALED_ROWS
           : n_rows > LINEAR_SCALED_ROWS    ? (n_rows + 1) / 2
                                            : n_rows;
}

// A tile of n_rows.
KERNEL_INLINE void scaled_tile_of(
    int64_t n_rows, const char *x, int64_t first_group, int64_t n_groups, scaled_panels *panels,
    scaled_values *values) {
#define SCALED_TILE(R, P) \
case R: scaled_tile(R, P, x, first_group, n_groups, panels, values); break
    switch (n_rows) {
        SCALED_TILE(1, LINEAR_SCALED_STREAMS);
        SCALED_TILE(2, 1);
        SCALED_TILE(3, 1);
#if LINEAR_SCALED_ROWS > 3
        SCALED_TILE(4, 1);
        SCALED_TILE(5, 1);
#endif
#if LINEAR_SCALED_ROWS > 5
        SCALED_TILE(6, 1);
#endif
#if LINEAR_SCALED_ROWS > 6
        SCALED_TILE(7, 1);
        SCALED_TILE(8, 1);
#endif
    default: break;
    }
#undef SCALED_TILE
}

#endif
