// linear_bf16_body: out[M, N] = x[M, K] times w[N, K] transposed, plus bias, on machines that add two products of bfloat16 to every
// float32 lane. One body; the file that includes it supplies simd_dot2 and names its register tiles:
//
//   LINEAR_BF16_ROWS     most rows of a tile
//   LINEAR_BF16_PANELS   panels of a tile of many rows
//   LINEAR_BF16_SIDE(R)  panels that R rows, if they are all, read side by side, each a stream of addresses; 4 at most
//
// Order of summation: an output is one chain, sum = dot2(sum, w[n, k .. k+1], x[m, k .. k+1]), k ascending to the end of the last
// unit, so a row's result depends on nothing but the row. How dot2 rounds is the machine's: tests/bench/kernel_bf16.c has it in C.
//
// x of a tile lies in scratch as [pair of k][row]: one stream of addresses, however many rows.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_BODY_H

#include "codegen/cpu/kernels/linear_bf16_job.h"

// Units of k that all tiles of rows pass before the next: so many weights of two panels, 16 KiB, stay in the first cache.
enum { LINEAR_BF16_BLOCK = 8 };

// sum + the products of both halves of `weights` with those of the pair `x`, in every lane.
KERNEL_INLINE f32x16 simd_dot2(f32x16 sum, u32x16 weights, uint32_t x);

// A set of panels, stride bytes apart, and the weights that are requested while they are used: `next` of the first panel, and
// bytes from one request to the next. Requests that come all at once would fill the miss buffers; one that is repeated costs little.
typedef struct bf16_panels {
    const char *lines;
    int64_t stride;
    const char *next;
    int64_t step;
} bf16_panels;

// ---- packed x ---------------------------------------------------------------------------------------------------------------

KERNEL_INLINE int64_t bf16_tile_bytes(const bf16_block *block, int64_t n_rows) {
    return block->n_units * LINEAR_BF16_UNIT * 2 * n_rows;
}

// Rows [row, + n_rows) of the block as one tile. A column of 16 pairs is stored whole; the next one overwrites what is too much.
KERNEL_INLINE void bf16_pack_tile(
    const bf16_block *block, int64_t row, int64_t n_rows, char *target) {
    for (int64_t unit = 0; unit < block->n_units; unit++) {
        f32x16 pairs[16];
        for (int64_t r = 0; r < 16; r++)
            pairs[r] = r < n_rows ? bf16_load_unit(block->job, block->first_row + row + r, unit)
                                  : simd_splat(0.0f);
        if (n_rows > 1) simd_transpose(pairs);
        for (int64_t i = 0; i < (n_rows > 1 ? LINEAR_BF16_UNIT_LINES : 1); i++)
            __builtin_memcpy(target + i * n_rows * 4, &pairs[i], sizeof pairs[i]);
        target += LINEAR_BF16_UNIT * 2 * n_rows;
    }
}

// ---- tiles ------------------------------------------------------------------------------------------------------------------

// R rows, packed at x, by P panels over n_lines; values[p][r] are the sums so far, unless these lines are the first, and after. The
// loop stays one: unrolled, the compiler gathers the loads of all lines and has no registers for them.
KERNEL_INLINE void bf16_tile(
    const int R, const int P, const char *x, int64_t n_lines, int is_first, bf16_panels *panels,
    bf16_values *values) {
    f32x16 sums[LINEAR_BF16_ROWS][4];
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) sums[r][p] =
            is_first ? simd_splat(0.0f) : simd_load(values[p][r]);
    }
    const char *line = panels->lines;
    _Pragma("clang loop unroll(disable)") for (int64_t i = 0; i < n_lines; i++) {
        u32x16 weights[4];
        KERNEL_UNROLL for (int p = 0; p < P; p++) {
            weights[p] = simd_load_u32(line + p * panels->stride);
            __builtin_prefetch(panels->next + p * panels->stride, 0, 3);
        }
        panels->next += panels->step;
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            uint32_t pair;
            __builtin_memcpy(&pair, x + r * 4, sizeof pair);
            KERNEL_UNROLL for (int p = 0; p < P; p++) sums[r][p] =
                simd_dot2(sums[r][p], weights[p], pair);
        }
        x += R * 4;
        line += KERNEL_PANEL16_LINE;
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) simd_store(values[p][r], sums[r][p]);
    }
}

// Of n_rows the rows of the first tile: the last ones go in two of about the same height.
KERNEL_INLINE int64_t bf16_tile_rows(int64_t n_rows) {
    return n_rows >= 2 * LINEAR_BF16_ROWS ? LINEAR_BF16_ROWS
           : n_rows > LINEAR_BF16_ROWS    ? (n_rows + 1) / 2
                                          : n_rows;
}

_Static_assert(LINEAR_BF16_ROWS == 12, "the heights below are all that there are");

// A tile of n_rows, which are all: as many panels as lie side by side.
KERNEL_INLINE void bf16_few(
    int64_t n_rows, const char *x, int64_t n_lines, bf16_panels *panels, bf16_values *values) {
#define BF16_TILE(R) \
case R: bf16_tile(R, LINEAR_BF16_SIDE(R), x, n_lines, 1, panels, values); break
    switch (n_rows) {
        BF16_TILE(1);
        BF16_TILE(2);
        BF16_TILE(3);
        BF16_TILE(4);
        BF16_TILE(5);
        BF16_TILE(6);
        BF16_TILE(7);
        BF16_TILE(8);
        BF16_TILE(9);
        BF16_TILE(10);
        BF16_TILE(11);
        BF16_TILE(12);
    default: break;
    }
#undef BF16_TILE
}

// A tile of more rows: half of the most at least (bf16_tile_rows).
KERNEL_INLINE void bf16_many(
    int64_t n_rows, const char *x, int64_t n_lines, int is_first, bf16_panels *panels,
    bf16_values *values) {
#define BF16_TILE(R) \
case R: bf16_tile(R, LINEAR_BF16_PANELS, x, n_lines, is_first, panels, values); break
    switch (n_rows) {
        BF16_TILE(6);
        BF16_TILE(7);
        BF16_TILE(8);
        BF16_TILE(9);
        BF16_TILE(10);
        BF16_TILE(11);
        BF16_TILE(12);
    default: break;
    }
#undef BF16_TILE
}

// ---- panels -----------------------------------------------------------------------------------------------------------------

// Rows that are one tile, bound by memory: panels [begin, end) are cut into equal runs which are read side by side. Left-over panels go
// one at a time with all streams of a set on the one panel: it costs arithmetic for at most three panels, and saves a second copy
// of the tile.
KERNEL_INLINE void bf16_streams(
    const kernel_env *env, const bf16_block *block, int64_t begin, int64_t end) {
    const linear_job *job = block->job;
    const int64_t n_side = LINEAR_BF16_SIDE(block->n_rows);
    const int64_t n_sets = (end - begin) / n_side, rest = (end - begin) % n_side;
    for (int64_t i = 0; i < n_sets + rest; i++) {
        const int64_t first = i < n_sets ? begin + i : end - rest + (i - n_sets);
        const int64_t stride = i < n_sets ? n_sets : 0;
        bf16_panels panels = {
            .lines = job->weights + first * job->panel_bytes,
            .stride = stride * job->panel_bytes,
            .step = KERNEL_PANEL16_LINE};
        panels.next = panels.lines + kernel_knob_panel_ahead();
        bf16_few(
            block->n_rows, block->scratch->x, block->n_units * LINEAR_BF16_UNIT_LINES, &panels,
            block->scratch->values);
        bf16_store(env, block, 0, block->n_rows, first, stride, i < n_sets ? n_side : 1);
    }
}

// More rows, by n_panels panels side by side: of a block of units all tiles of rows, then the next block, which is requested
// meanwhile. A tile is stored as soon as it is complete, so that the next one's arithmetic hides it.
KERNEL_INLINE void bf16_tiles(
    const kernel_env *env, const bf16_block *block, int64_t panel, int64_t n_panels) {
    const linear_job *job = block->job;
    const int64_t n_tiles = (block->n_rows + LINEAR_BF16_ROWS - 1) / LINEAR_BF16_ROWS;
    const char *first = job->weights + panel * job->panel_bytes;
    bf16_panels panels = {.stride = n_panels > 1 ? job->panel_bytes : 0};
    for (int64_t unit = 0; unit < block->n_units; unit += LINEAR_BF16_BLOCK) {
        const int64_t left = block->n_units - unit;
        const int64_t n_units = left < LINEAR_BF16_BLOCK ? left : LINEAR_BF16_BLOCK;
        const char *lines = first + unit * LINEAR_BF16_UNIT_BYTES;
        panels.next = left > n_units ? lines + n_units * LINEAR_BF16_UNIT_BYTES
                                     : first + n_panels * job->panel_bytes;
        panels.step =
            (LINEAR_BF16_BLOCK * KERNEL_PANEL16_LINE + n_units * n_tiles - 1) / (n_units * n_tiles);
        const char *x = block->scratch->x;
        for (int64_t row = 0, height; row < block->n_rows; row += height) {
            height = bf16_tile_rows(block->n_rows - row);
            panels.lines = lines;
            bf16_many(
                height, x + unit * LINEAR_BF16_UNIT * 2 * height, n_units * LINEAR_BF16_UNIT_LINES,
                unit == 0, &panels, (bf16_values *)(void *)block->scratch->values[0][row]);
            x += bf16_tile_bytes(block, height);
            if (left == n_units) bf16_store(env, block, row, height, panel, 1, n_panels);
        }
    }
}

KERNEL_INLINE void bf16_run_rows(
    const kernel_env *env, const bf16_block *block, int64_t begin, int64_t end) {
    char *x = block->scratch->x;
    for (int64_t row = 0, height; row < block->n_rows; row += height) {
        height = bf16_tile_rows(block->n_rows - row);
        bf16_pack_tile(block, row, height, x);
        x += bf16_tile_bytes(block, height);
    }
    if (block->n_rows <= LINEAR_BF16_ROWS) {
        bf16_streams(env, block, begin, end);
        return;
    }
    for (int64_t panel = begin, n_panels; panel < end; panel += n_panels) {
        n_panels = end - panel < LINEAR_BF16_PANELS ? 1 : LINEAR_BF16_PANELS;
        bf16_tiles(env, block, panel, n_panels);
    }
}

// ---- work -------------------------------------------------------------------------------------------------------------------

int64_t kernel_linear_bf16_panel16_items(const kernel_env *env) {
    return bf16_items(env, LINEAR_BF16_ROWS);
}

int64_t kernel_linear_bf16_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    return linear_packed_chunk(
        bf16_items(env, LINEAR_BF16_ROWS), kernel_dim_0_0(env), n_threads,
        kernel_knob_panel_chunks());
}

void kernel_linear_bf16_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    bf16_run(env, begin, end, LINEAR_BF16_ROWS, bf16_run_rows);
}

#endif
