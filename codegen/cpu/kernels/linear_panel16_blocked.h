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

KERNEL_INLINE void linear_pack_rows(
    linear_block *block, const linear_job *job, int64_t first_row, int64_t n_rows,
    int64_t first_k) {
    const int64_t n_k = job->k - first_k < LINEAR_BLOCK_K ? job->k - first_k : LINEAR_BLOCK_K;
    for (int64_t r = 0; r < n_rows; r++) {
        const float *source = job->x + (first_row + r) * job->k + first_k;
        if (n_k == LINEAR_BLOCK_K) {
            for (int64_t i = 0; i < LINEAR_BLOCK_K; i += 16)
                simd_store(&block->x[r][i], simd_load(source + i));
        } else {
            for (int64_t i = 0; i < LINEAR_BLOCK_K; i++)
                block->x[r][i] = i < n_k ? source[i] : 0.0f;
        }
        for (int64_t g = 0; g < LINEAR_BLOCK_GROUPS; g++) {
            block->starts[r][g] =
                job->dtype == KERNEL_Q4G32_F16 ? linear_group_start(&block->x[r][g * 32]) : 0.0f;
        }
    }
}

// One group of 32 k of one Q4G32_F16 panel.
KERNEL_INLINE void linear_unpack_group(
    const char *panel, int64_t group, float (*weights)[LINEAR_TILE_PANELS][16], float *scale) {
    const char *unit = panel + group / 2 * KERNEL_PANEL16_UNIT_BYTES;
    const char *words_at = unit + KERNEL_PANEL16_UNIT_WORDS + group % 2 * 256;
    for (int64_t w = 0; w < 4; w++) {
        const u32x16 words = simd_load_u32(words_at + w * 64);
        KERNEL_UNROLL for (int i = 0; i < 8; i++) {
            const i32x16 code = (i32x16)((words >> (uint32_t)(4 * i)) & 15u);
            simd_store(weights[w * 8 + i][0], __builtin_convertvector(code, f32x16));
        }
    }
    simd_store(scale, simd_load_f16(unit + group % 2 * 32));
}

KERNEL_INLINE void linear_unpack_plain(
    const linear_job *job, const char *panel, int64_t first_k, int64_t n_k,
    float (*weights)[LINEAR_TILE_PANELS][16]) {
    for (int64_t i = 0; i < n_k; i++)
        simd_store(weights[i][0], simd_load_as_f32(panel, job->dtype, (first_k + i) * 16));
}

// Decodes n_k k of a tile of panels; n_k is a multiple of 32 for Q4G32_F16 (the panel is padded). Panels beyond the last repeat it.
KERNEL_INLINE void linear_unpack(
    linear_block *block, const linear_job *job, int64_t first_panel, int64_t first_k, int64_t n_k) {
    for (int64_t p = 0; p < LINEAR_TILE_PANELS; p++) {
        const int64_t index = first_panel + p < job->n_panels ? first_panel + p : job->n_panels - 1;
        const char *panel = job->weights + index * job->panel_bytes;
        if (job->dtype == KERNEL_Q4G32_F16) {
            for (int64_t k = 0; k < n_k; k += 32) {
                float(*weights)[LINEAR_TILE_PANELS][16] =
                    (float(*)[LINEAR_TILE_PANELS][16])block->weights[k][p];
                linear_unpack_group(panel, (first_k + k) / 32, weights, block->scales[k / 32][p]);
            }
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
    const int64_t last = job->n_panels - 1;
    for (int64_t p = 0; p < LINEAR_TILE_PANELS; p++) {
        const int64_t index = first_panel + p < last ? first_panel + p : last;
        ahead.panel[p] = job->weights + index * job->panel_bytes + first_k * linear_k_bytes(job);
    }
    ahead.next = 0;
    ahead.lines = LINEAR_BLOCK_K * linear_k_bytes(job) / 64;
    const int64_t n_steps =
        (n_rows + LINEAR_TILE_ROWS - 1) / LINEAR_TILE_ROWS * (LINEAR_BLOCK_K / linear_group_k(job));
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

// R rows times one tile of panels over n_k k, in groups of group_k.
KERNEL_INLINE void linear_tile(
    const int R, const linear_block *block, linear_ahead *ahead, int64_t row, int64_t n_k,
    int64_t group_k, int first_block, float (*sums)[LINEAR_TILE_FLOATS]) {
    _Pragma("clang loop unroll(disable)") for (int64_t first = 0; first < n_k; first += group_k) {
        linear_request(ahead);
        f32x16 group[LINEAR_TILE_ROWS][LINEAR_TILE_PANELS];
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            KERNEL_UNROLL for (int p = 0; p < LINEAR_TILE_PANELS; p++) group[r][p] =
                simd_splat(block->starts[row + r][first / 32]);
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
            const f32x16 scale = simd_load(block->scales[first / 32][p]);
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
    const linear_block *block, linear_ahead *ahead, int64_t n_rows, int64_t n_k, int64_t group_k,
    int first_block, float (*sums)[LINEAR_TILE_FLOATS]) {
    for (int64_t row = 0, height; row < n_rows; row += height) {
        const int64_t left = n_rows - row;
        height = left >= 2 * LINEAR_TILE_ROWS ? LINEAR_TILE_ROWS
                 : left > LINEAR_TILE_ROWS    ? (left + 1) / 2
                                              : left;
        switch (height) {
        case 1: linear_tile(1, block, ahead, row, n_k, group_k, first_block, sums + row); break;
        case 2: linear_tile(2, block, ahead, row, n_k, group_k, first_block, sums + row); break;
        case 3: linear_tile(3, block, ahead, row, n_k, group_k, first_block, sums + row); break;
#if LINEAR_TILE_ROWS > 3
        case 4: linear_tile(4, block, ahead, row, n_k, group_k, first_block, sums + row); break;
        case 5: linear_tile(5, block, ahead, row, n_k, group_k, first_block, sums + row); break;
        case 6: linear_tile(6, block, ahead, row, n_k, group_k, first_block, sums + row); break;
#endif
        default: break;
        }
    }
}

// Rows [first_row, first_row + n_rows) times n_tiles tiles of panels from first_tile on.
KERNEL_INLINE void linear_blocked(
    const kernel_env *env, const linear_job *job, int64_t first_row, int64_t n_rows,
    int64_t first_tile, int64_t n_tiles) {
    linear_block *block = (linear_block *)kernel_scratch(env);
    const int64_t whole_k = job->dtype == KERNEL_Q4G32_F16 ? (job->k + 31) / 32 * 32 : job->k;
    for (int64_t k = 0; k < job->k; k += LINEAR_BLOCK_K) {
        const int64_t n_k = whole_k - k < LINEAR_BLOCK_K ? whole_k - k : LINEAR_BLOCK_K;
        linear_pack_rows(block, job, first_row, n_rows, k);
        for (int64_t t = 0; t < n_tiles; t++) {
            const int64_t panel = (first_tile + t) * LINEAR_TILE_PANELS;
            linear_unpack(block, job, panel, k, n_k);
            const int same_k = t + 1 < n_tiles;
            linear_ahead ahead = linear_ahead_of(
                job, same_k ? panel + LINEAR_TILE_PANELS : first_tile * LINEAR_TILE_PANELS,
                same_k ? k : k + LINEAR_BLOCK_K, n_rows);
            linear_tile_rows(
                block, &ahead, n_rows, n_k, linear_group_k(job), k == 0, block->sums[t]);
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
