// linear_bf16_amx: linear_bf16_panel16 on machines with tile registers, Intel's AMX. A product takes up to 16 rows of x by a panel over
// one unit of 32 k. A unit of a panel, 16 pairs of k by 16 outputs, lies as products want it: tiles are loaded from the weights as
// they are. Sums stay in tiles; where many rows cut K into blocks, they wait in memory as the float32 that they are.
//
// Order of summation, which is the instruction's: within a unit the even k are a chain of multiply-adds from zero and the odd k are
// another; sum = sum + (even + odd), units ascending. These are other bits than those of linear_bf16_body.h, so few rows go
// through tiles too, and a row's result depends on nothing but the row. Memory binds few rows: a unit takes a core some
// 70 ns to read, and loading and multiplying it about 20 cycles.
//
// Two tiles of rows by two panels: four loads for four products.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_AMX_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_AMX_H

#include "codegen/cpu/kernels/linear_bf16_job.h"

#include <immintrin.h>

enum {
    BF16_AMX_ROWS = 16,  // most rows of a tile
    BF16_AMX_SIDE = 2,   // tiles of rows, and panels, of a turn
    BF16_AMX_BLOCK = 16, // units of two panels that stay in the first cache, 32 KiB
    BF16_AMX_LINE = 64,  // a row of a tile
};

_Static_assert(
    KERNEL_LINEAR_BF16_ROWS % BF16_AMX_ROWS == 0, "sums of tiles that are not full have room");

// LDTILECFG's memory: palette 1, rows and bytes of a row for every tile.
typedef struct bf16_amx_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} bf16_amx_shapes;

_Static_assert(sizeof(bf16_amx_shapes) == sizeof(((bf16_scratch *)0)->shapes), "as reserved");

// Rows of a block cut into tiles of the same height; the last one may have fewer.
typedef struct bf16_amx_tiles {
    int64_t n_tiles, height;
} bf16_amx_tiles;

KERNEL_INLINE bf16_amx_tiles bf16_amx_tiles_of(int64_t n_rows) {
    const int64_t n_tiles = (n_rows + BF16_AMX_ROWS - 1) / BF16_AMX_ROWS;
    return (bf16_amx_tiles){n_tiles, (n_rows + n_tiles - 1) / n_tiles};
}

KERNEL_INLINE int64_t
bf16_amx_rows_of(const bf16_block *block, const bf16_amx_tiles *tiles, int64_t tile) {
    const int64_t left = block->n_rows - tile * tiles->height;
    return left < tiles->height ? left : tiles->height;
}

// Tile `tile` of x in scratch, as [unit][row]: a line each. A tile of fewer rows than the registers have is loaded with what lies behind it;
// the sums of such rows come to nothing that is read.
KERNEL_INLINE char *bf16_amx_x(const bf16_block *block, const bf16_amx_tiles *tiles, int64_t tile) {
    return block->scratch->x + tile * tiles->height * block->n_units * BF16_AMX_LINE;
}

KERNEL_INLINE void bf16_amx_pack(const bf16_block *block, const bf16_amx_tiles *tiles) {
    for (int64_t tile = 0; tile < tiles->n_tiles; tile++) {
        const int64_t n_rows = bf16_amx_rows_of(block, tiles, tile);
        char *to = bf16_amx_x(block, tiles, tile);
        for (int64_t r = 0; r < n_rows; r++) {
            for (int64_t unit = 0; unit < block->n_units; unit++) {
                const f32x16 pairs =
                    bf16_load_unit(block->job, block->first_row + tile * tiles->height + r, unit);
                __builtin_memcpy(to + (unit * n_rows + r) * BF16_AMX_LINE, &pairs, sizeof pairs);
            }
        }
    }
}

// One turn: T tiles of rows by two panels over n_units; the weights that are requested meanwhile, `lines` a unit and panel.
typedef struct bf16_amx_turn {
    const char *x[BF16_AMX_SIDE];
    int64_t x_unit[BF16_AMX_SIDE]; // bytes from unit to unit
    const char *weights;
    int64_t panel_stride;
    int64_t n_units;
    const char *next;
    int64_t lines;
    float *sums[BF16_AMX_SIDE][BF16_AMX_SIDE]; // [tile][panel]: 16 floats a row
    int is_first;                              // no sums before
} bf16_amx_turn;

KERNEL_INLINE void bf16_amx_run_turn(const int T, const bf16_amx_turn *turn) {
    if (turn->is_first) {
        _tile_zero(0);
        _tile_zero(1);
        if (T > 1) _tile_zero(2);
        if (T > 1) _tile_zero(3);
    } else {
        _tile_loadd(0, turn->sums[0][0], BF16_AMX_LINE);
        _tile_loadd(1, turn->sums[0][1], BF16_AMX_LINE);
        if (T > 1) _tile_loadd(2, turn->sums[1][0], BF16_AMX_LINE);
        if (T > 1) _tile_loadd(3, turn->sums[1][1], BF16_AMX_LINE);
    }
    const char *weights = turn->weights, *next = turn->next;
    const char *x0 = turn->x[0], *x1 = turn->x[1];
    _Pragma("clang loop unroll(disable)") for (int64_t unit = 0; unit < turn->n_units; unit++) {
        _tile_loadd(4, x0, BF16_AMX_LINE);
        _tile_loadd(6, weights, KERNEL_PANEL16_LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + turn->panel_stride, KERNEL_PANEL16_LINE);
        _tile_dpbf16ps(1, 4, 7);
        if (T > 1) {
            _tile_loadd(5, x1, BF16_AMX_LINE);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        for (int64_t i = 0; i < turn->lines; i++) {
            __builtin_prefetch(next, 0, 3);
            __builtin_prefetch(next + turn->panel_stride, 0, 3);
            next += KERNEL_PANEL16_LINE;
        }
        x0 += turn->x_unit[0];
        x1 += turn->x_unit[1];
        weights += LINEAR_BF16_UNIT_BYTES;
    }
    _tile_stored(0, turn->sums[0][0], BF16_AMX_LINE);
    _tile_stored(1, turn->sums[0][1], BF16_AMX_LINE);
    if (T > 1) _tile_stored(2, turn->sums[1][0], BF16_AMX_LINE);
    if (T > 1) _tile_stored(3, turn->sums[1][1], BF16_AMX_LINE);
}

// All rows by panels `panel` and the one `stride` behind it, of which n_panels count. Few rows go over all of K at once; of more, all tiles pass
// one block of units before the next, which is requested meanwhile.
KERNEL_INLINE void bf16_amx_run_set(
    const kernel_env *env, const bf16_block *block, const bf16_amx_tiles *tiles, int64_t panel,
    int64_t stride, int64_t n_panels) {
    const linear_job *job = block->job;
    const int is_stream = tiles->n_tiles <= BF16_AMX_SIDE;
    const int64_t block_units = is_stream ? block->n_units : BF16_AMX_BLOCK;
    const int64_t n_turns = (tiles->n_tiles + BF16_AMX_SIDE - 1) / BF16_AMX_SIDE;
    const char *first = job->weights + panel * job->panel_bytes;
    for (int64_t unit = 0; unit < block->n_units; unit += block_units) {
        const int64_t left = block->n_units - unit;
        bf16_amx_turn turn = {
            .weights = first + unit * LINEAR_BF16_UNIT_BYTES,
            .panel_stride = stride * job->panel_bytes,
            .n_units = left < block_units ? left : block_units,
            .is_first = unit == 0};
        turn.lines =
            is_stream ? LINEAR_BF16_UNIT_LINES : (LINEAR_BF16_UNIT_LINES + n_turns - 1) / n_turns;
        turn.next = is_stream             ? turn.weights + kernel_knob_panel_ahead()
                    : left > turn.n_units ? turn.weights + turn.n_units * LINEAR_BF16_UNIT_BYTES
                                          : first + n_panels * job->panel_bytes;
        for (int64_t tile = 0; tile < tiles->n_tiles; tile += BF16_AMX_SIDE) {
            const int is_pair = tile + 1 < tiles->n_tiles;
            int64_t n_rows = 0;
            for (int64_t t = 0; t <= is_pair; t++) {
                const int64_t height = bf16_amx_rows_of(block, tiles, tile + t);
                turn.x_unit[t] = height * BF16_AMX_LINE;
                turn.x[t] = bf16_amx_x(block, tiles, tile + t) + unit * turn.x_unit[t];
                for (int64_t p = 0; p < BF16_AMX_SIDE; p++)
                    turn.sums[t][p] = block->scratch->values[p][(tile + t) * tiles->height];
                n_rows += height;
            }
            if (is_pair)
                bf16_amx_run_turn(2, &turn);
            else
                bf16_amx_run_turn(1, &turn);
            turn.next += turn.n_units * turn.lines * KERNEL_PANEL16_LINE;
            if (left == turn.n_units)
                bf16_store(env, block, tile * tiles->height, n_rows, panel, stride, n_panels);
        }
    }
}

KERNEL_INLINE void bf16_amx_configure(const bf16_amx_tiles *tiles, bf16_amx_shapes *shapes) {
    *shapes = (bf16_amx_shapes){.palette = 1};
    for (int i = 0; i < 8; i++) {
        shapes->rows[i] = (uint8_t)(i < 6 ? tiles->height : LINEAR_BF16_UNIT_LINES);
        shapes->row_bytes[i] = 64;
    }
    _tile_loadconfig(shapes);
}

// Rows of a block times panels [begin, end). Few rows, bound by memory: two runs of panels are read side by side. A panel that is left over
// takes both places.
KERNEL_INLINE void bf16_amx_run_block(
    const kernel_env *env, const bf16_block *block, int64_t begin, int64_t end) {
    const bf16_amx_tiles tiles = bf16_amx_tiles_of(block->n_rows);
    bf16_amx_pack(block, &tiles);
    bf16_amx_configure(&tiles, (bf16_amx_shapes *)(void *)block->scratch->shapes);
    const int64_t n_sets = (end - begin) / BF16_AMX_SIDE;
    const int is_stream = tiles.n_tiles <= BF16_AMX_SIDE;
    for (int64_t i = 0; i < n_sets; i++)
        bf16_amx_run_set(
            env, block, &tiles, begin + (is_stream ? i : i * BF16_AMX_SIDE), is_stream ? n_sets : 1,
            BF16_AMX_SIDE);
    if ((end - begin) % BF16_AMX_SIDE != 0) bf16_amx_run_set(env, block, &tiles, end - 1, 0, 1);
    // Nothing is left behind: the system would save the tiles of this thread with every switch.
    _tile_release();
}

#endif
