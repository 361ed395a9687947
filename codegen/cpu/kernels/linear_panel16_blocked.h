// linear_panel16_blocked: the path for many rows, bound by arithmetic. For every block of K the rows are packed (so that rows a
// power of two apart do not fight for the same cache sets), a few panels decoded to float32, and register tiles run over both;
// accumulators wait in scratch. The includer names the register tile, LINEAR_TILE_ROWS (3 or 6) by LINEAR_TILE_PANELS.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_BLOCKED_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_BLOCKED_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

enum {
    LINEAR_BLOCK_ROWS = KERNEL_LINEAR_BLOCK_ROWS,
    LINEAR_BLOCK_K = KERNEL_LINEAR_BLOCK_K,
    LINEAR_BLOCK_GROUPS = LINEAR_BLOCK_K / 32,
    LINEAR_BLOCK_TILES =
        KERNEL_LINEAR_BLOCK_PANELS / LINEAR_TILE_PANELS, // tiles of panels that share packed rows
    LINEAR_TILE_FLOATS = LINEAR_TILE_PANELS * 16,
};

// Scratch.
typedef struct linear_block {
    float x[LINEAR_BLOCK_ROWS][LINEAR_BLOCK_K]; // packed rows, zeros beyond K
    float weights[LINEAR_BLOCK_K][LINEAR_TILE_PANELS]
                 [16]; // codes 0 … 15, or plain elements; panels side by side: one stream
    float scales[LINEAR_BLOCK_GROUPS][LINEAR_TILE_PANELS][16];
    float zeros[LINEAR_BLOCK_GROUPS][LINEAR_TILE_PANELS][16]; // where they are stored
    float starts[LINEAR_BLOCK_ROWS][LINEAR_BLOCK_GROUPS]; // what the chain of a group starts from
    float sums[LINEAR_BLOCK_TILES][LINEAR_BLOCK_ROWS][LINEAR_TILE_FLOATS];
} linear_block;

_Static_assert(sizeof(linear_block) <= KERNEL_LINEAR_SCRATCH_BYTES, "scratch.h promises enough");

// Weights of the next block, requested bit by bit while this one is multiplied: all at once they would fill the miss buffers.
typedef struct linear_ahead {
    const char *panel[LINEAR_TILE_PANELS];
    int64_t next, lines; // line numbers within each panel's block
    int64_t step;        // lines to request per group of a row tile
} linear_ahead;

// Rows of a row block: as even as possible, a multiple of the tile.
KERNEL_INLINE int64_t linear_block_rows(int64_t n_rows) {
    const int64_t limit = LINEAR_BLOCK_ROWS / LINEAR_TILE_ROWS * LINEAR_TILE_ROWS;
    const int64_t n_blocks = (n_rows + limit - 1) / limit;
    const int64_t rows = n_blocks == 0 ? 0 : (n_rows + n_blocks - 1) / n_blocks;
    return (rows + LINEAR_TILE_ROWS - 1) / LINEAR_TILE_ROWS * LINEAR_TILE_ROWS;
}

// k of a block: whole groups.
KERNEL_INLINE int64_t linear_block_k(kernel_panel16_format format) {
    return LINEAR_BLOCK_K / format.group * format.group;
}

KERNEL_INLINE void linear_pack_rows(
    linear_block *block, const linear_job *job, int64_t first_row, int64_t n_rows,
    int64_t first_k) {
    const kernel_panel16_format format = job->format;
    const int64_t block_k = linear_block_k(format);
    const int64_t n_k = job->k - first_k < block_k ? job->k - first_k : block_k;
    for (int64_t r = 0; r < n_rows; r++) {
        const float *source = linear_row(job, first_row + r) + first_k;
        for (int64_t i = 0; i < LINEAR_BLOCK_K; i += 16) {
            const int64_t left = n_k - i;
            simd_store(
                &block->x[r][i], left >= 16 ? simd_load(source + i)
                                 : left > 0 ? simd_load_part(source + i, left)
                                            : simd_splat(0.0f));
        }
        for (int64_t g = 0; g < block_k / format.group; g++)
            block->starts[r][g] = linear_group_start(format, &block->x[r][g * format.group]);
    }
}

// One line of one panel.
KERNEL_INLINE void linear_unpack_line(
    int32_t code, const char *line, float (*weights)[LINEAR_TILE_PANELS][16]) {
    if (!kernel_code_is_int(code)) {
        f32x16 found[4];
        linear_float8_line(code, line, found);
        KERNEL_UNROLL for (int i = 0; i < 4; i++) simd_store(weights[i][0], found[i]);
        return;
    }
    const int bits = kernel_code_bits(code);
    const u32x16 words = simd_load_u32(line);
    KERNEL_UNROLL for (int i = 0; i < kernel_code_per_line(code); i++) {
        const i32x16 found = (i32x16)((words >> (uint32_t)(bits * i)) & ((1u << bits) - 1u));
        simd_store(weights[i][0], __builtin_convertvector(found, f32x16));
    }
}

// Group `group` of panel `p` of the tile into group `to` of the block.
KERNEL_INLINE void linear_unpack_group(
    linear_block *block, kernel_panel16_format format, const char *panel, int64_t group, int64_t to,
    int64_t p) {
    const int64_t unit_groups = kernel_panel16_unit_groups(format),
                  lines = kernel_panel16_group_lines(format);
    const char *unit = panel + group / unit_groups * kernel_panel16_unit_bytes(format);
    const int64_t inside = group % unit_groups;
    const char *line =
        unit + kernel_panel16_lines_at(format) + inside * lines * KERNEL_PANEL16_LINE;
    for (int64_t w = 0; w < lines; w++) {
        const int64_t k = to * format.group + w * kernel_code_per_line(format.code);
        linear_unpack_line(
            format.code, line + w * KERNEL_PANEL16_LINE,
            (float(*)[LINEAR_TILE_PANELS][16])block->weights[k][p]);
    }
    simd_store(block->scales[to][p], panel16_scales(format, unit, inside));
    if (format.zero == KERNEL_ZERO_STORED)
        simd_store(block->zeros[to][p], linear_zeros(format, unit, inside));
}

// first_k is even. Of pairs the last may reach beyond n_k, not beyond the block.
KERNEL_INLINE void linear_unpack_plain(
    const linear_job *job, const char *panel, int64_t first_k, int64_t n_k,
    float (*weights)[LINEAR_TILE_PANELS][16]) {
    const int32_t dtype = job->format.scale;
    const int64_t step = panel16_plain_step(dtype);
    panel += linear_k_bytes(job->format, first_k);
    for (int64_t i = 0; i < n_k; i += step) {
        f32x16 found[2];
        panel16_plain_line(dtype, panel + linear_k_bytes(job->format, i), found);
        simd_store(weights[i][0], found[0]);
        if (step == 2) simd_store(weights[i + 1][0], found[1]);
    }
}

// Decodes n_k k of a tile of panels, whole groups where the format has any (the panel is padded). Panels beyond the last repeat it.
KERNEL_INLINE void linear_unpack(
    linear_block *block, const linear_job *job, int64_t first_panel, int64_t first_k, int64_t n_k) {
    for (int64_t p = 0; p < LINEAR_TILE_PANELS; p++) {
        const int64_t index = first_panel + p < job->n_panels ? first_panel + p : job->n_panels - 1;
        const char *panel = job->weights + index * job->panel_bytes;
        if (job->format.code != KERNEL_CODE_PLAIN) {
            const int64_t first_group = first_k / job->format.group;
            for (int64_t g = 0; g < n_k / job->format.group; g++)
                linear_unpack_group(block, job->format, panel, first_group + g, g, p);
        } else {
            linear_unpack_plain(
                job, panel, first_k, n_k, (float(*)[LINEAR_TILE_PANELS][16])block->weights[0][p]);
            simd_store(block->scales[0][p], simd_splat(1.0f));
        }
    }
}

// The block to be requested after block (first_panel, first_k): the same panels at the next k of a chunk with one tile, else
// the next tile's.
KERNEL_INLINE linear_ahead
linear_ahead_of(const linear_job *job, int64_t first_panel, int64_t first_k, int64_t n_rows) {
    linear_ahead ahead;
    const kernel_panel16_format format = job->format;
    const int64_t last = job->n_panels - 1, block_k = linear_block_k(format);
    for (int64_t p = 0; p < LINEAR_TILE_PANELS; p++) {
        const int64_t index = first_panel + p < last ? first_panel + p : last;
        ahead.panel[p] = job->weights + index * job->panel_bytes + linear_k_bytes(format, first_k);
    }
    ahead.next = 0;
    ahead.lines = linear_k_bytes(format, block_k) / 64;
    const int64_t n_steps =
        (n_rows + LINEAR_TILE_ROWS - 1) / LINEAR_TILE_ROWS * (block_k / format.group);
    ahead.step = (ahead.lines + n_steps - 1) / n_steps;
    return ahead;
}

KERNEL_INLINE void linear_request(linear_ahead *ahead) {
    for (int64_t i = 0; i < ahead->step && ahead->next < ahead->lines; i++, ahead->next++) {
        KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) {
            __builtin_prefetch(ahead->panel[p] + ahead->next * 64, 0, 2);
        }
    }
}

// R rows times one tile of panels over n_k k.
KERNEL_INLINE void linear_tile(
    const int R, const linear_block *block, kernel_panel16_format format, linear_ahead *ahead,
    int64_t row, int64_t n_k, int first_block, float (*sums)[LINEAR_TILE_FLOATS]) {
    const int64_t group_k = format.group;
    int64_t g = 0; // of the block
    _Pragma("clang loop unroll(disable)") for (int64_t first = 0; first < n_k;
                                               first += group_k, g++) {
        linear_request(ahead);
        f32x16 group[LINEAR_TILE_ROWS][LINEAR_TILE_PANELS];
        KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) {
            KERNEL_UNROLL for (int r = 0; r < R; r++) group[r][p] =
                simd_splat(block->starts[row + r][g]);
            if (format.zero == KERNEL_ZERO_STORED) {
                const f32x16 zeros = simd_load(block->zeros[g][p]);
                KERNEL_UNROLL for (int r = 0; r < R; r++) group[r][p] *= zeros;
            }
        }
        const float *x = &block->x[row][first];
        const float *weights = &block->weights[first][0][0];
        const int64_t end = n_k - first < group_k ? n_k - first : group_k;
        _Pragma("clang loop unroll_count(4) vectorize(disable)") for (int64_t k = 0; k < end; k++) {
            f32x16 weight[LINEAR_TILE_PANELS];
            KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) {
                weight[p] = simd_load(weights + (k * LINEAR_TILE_PANELS + p) * 16);
            }
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                const f32x16 factor = simd_splat(x[r * LINEAR_BLOCK_K + k]);
                KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) {
                    group[r][p] = simd_fma(weight[p], factor, group[r][p]);
                }
            }
        }
        KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) {
            const f32x16 scale = simd_load(block->scales[g][p]);
            KERNEL_UNROLL for (int r = 0; r < R; r++) {
                float *sum = &sums[r][p * 16];
                const f32x16 before = first_block && first == 0 ? simd_splat(0.0f) : simd_load(sum);
                simd_store(sum, simd_fma(group[r][p], scale, before));
            }
        }
    }
}

// All rows of the block times one tile of panels; the last rows in two tiles of about the same height.
KERNEL_INLINE void linear_tile_rows(
    const linear_block *block, kernel_panel16_format format, linear_ahead *ahead, int64_t n_rows,
    int64_t n_k, int first_block, float (*sums)[LINEAR_TILE_FLOATS]) {
#define LINEAR_TILE(R) linear_tile(R, block, format, ahead, row, n_k, first_block, sums + row)
    for (int64_t row = 0, height; row < n_rows; row += height) {
        const int64_t left = n_rows - row;
        height = left >= 2 * LINEAR_TILE_ROWS ? LINEAR_TILE_ROWS
                 : left > LINEAR_TILE_ROWS    ? (left + 1) / 2
                                              : left;
        switch (height) {
        case 1: LINEAR_TILE(1); break;
        case 2: LINEAR_TILE(2); break;
        case 3: LINEAR_TILE(3); break;
#if LINEAR_TILE_ROWS > 3
        case 4: LINEAR_TILE(4); break;
        case 5: LINEAR_TILE(5); break;
        case 6: LINEAR_TILE(6); break;
#endif
        default: break;
        }
    }
#undef LINEAR_TILE
}

// Rows [first_row, first_row + n_rows) times n_tiles tiles of panels from first_tile on.
KERNEL_INLINE void linear_blocked(
    const kernel_env *env, const linear_job *job, int64_t first_row, int64_t n_rows,
    int64_t first_tile, int64_t n_tiles) {
    linear_block *block = (linear_block *)kernel_scratch(env);
    const int64_t block_k = linear_block_k(job->format), group_k = job->format.group;
    const int64_t whole_k =
        job->format.code != KERNEL_CODE_PLAIN ? (job->k + group_k - 1) / group_k * group_k : job->k;
    for (int64_t k = 0; k < job->k; k += block_k) {
        const int64_t n_k = whole_k - k < block_k ? whole_k - k : block_k;
        linear_pack_rows(block, job, first_row, n_rows, k);
        for (int64_t t = 0; t < n_tiles; t++) {
            const int64_t panel = (first_tile + t) * LINEAR_TILE_PANELS;
            linear_unpack(block, job, panel, k, n_k);
            const int same_k = t + 1 < n_tiles;
            linear_ahead ahead = linear_ahead_of(
                job, same_k ? panel + LINEAR_TILE_PANELS : first_tile * LINEAR_TILE_PANELS,
                same_k ? k : k + block_k, n_rows);
            linear_tile_rows(block, job->format, &ahead, n_rows, n_k, k == 0, block->sums[t]);
        }
    }
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t t = 0; t < n_tiles; t++) {
            for (int64_t p = 0; p < LINEAR_TILE_PANELS; p++) {
                const int64_t panel = (first_tile + t) * LINEAR_TILE_PANELS + p;
                if (panel < job->n_panels)
                    linear_store(env, job, first_row + r, panel, &block->sums[t][r][p * 16]);
            }
        }
    }
}

#endif
