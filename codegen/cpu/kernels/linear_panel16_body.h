// linear_panel16_body: out[M, N] = x[M, K] times w[N, K] transposed, plus bias; x float32 rows, w in panel16 form. One body for
// every machine; the file that includes it names its register tiles:
//
//   LINEAR_TILE_ROWS, LINEAR_TILE_PANELS      of the blocked path, in rows and panels
//   LINEAR_STREAM_ROWS, LINEAR_STREAM_PANELS  of the streaming path: its most rows; a macro that gives panels for rows
//
// Few rows go through linear_panel16_stream.h, many through linear_panel16_blocked.h. A machine that defines LINEAR_INTEGER takes
// linear_panel16_integer.h instead, whatever the number of rows, and 4-bit integer weights only. A file that defines LINEAR_EXPERTS
// and includes the machine's linear_panel16.c is linear_experts_panel16 (linear_experts_body.h).
//
// Order of summation, the same in both paths and for every M, split and thread count, so that a row's result depends on nothing
// but the row: within the format's group of k one chain of multiply-adds in ascending k, from linear_group_start (times the
// stored zero, if any); then sum = group * scale + sum (scale 1 for plain dtypes), groups ascending. The chains of plain dtypes
// and of fp8 end where blocks of K do, because folding a chain into the sums costs a load and a store.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_BODY_H

#ifdef LINEAR_EXPERTS
#    include "codegen/cpu/kernels/linear_experts_body.h"
#elif defined(LINEAR_INTEGER)
#    include "codegen/cpu/kernels/linear_panel16_integer.h"

KERNEL_KNOB(panel_chunks);

int64_t kernel_linear_panel16_items(const kernel_env *env) {
    const int64_t n_rows = kernel_dim_0_0(env),
                  n_panels = kernel_panel16_panels(kernel_dim_1_0(env));
    if (n_rows == 0) return 0;
    const int64_t block_rows = linear_integer_rows(n_rows);
    return (n_rows + block_rows - 1) / block_rows * n_panels;
}

// Every chunk prepares x again: one row gets half as many chunks a thread as more rows.
int64_t kernel_linear_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t n_rows = kernel_dim_0_0(env), n_items = kernel_linear_panel16_items(env);
    const int64_t chunks = kernel_knob_panel_chunks() / (n_rows == 1 ? 2 : 1);
    const int64_t share = n_items / (n_threads * chunks) / 4 * 4;
    const int64_t limit = n_rows == 1 ? n_items : LINEAR_INTEGER_CHUNK;
    return share < 4 ? 4 : share > limit ? limit : share;
}

void kernel_linear_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    const linear_job job = linear_job_of(env);
    linear_integer_run(env, &job, begin, end);
}

#else
#    include "codegen/cpu/kernels/linear_panel16_blocked.h"
#    include "codegen/cpu/kernels/linear_panel16_stream.h"

KERNEL_KNOB(panel_chunks);

KERNEL_INLINE int64_t linear_tiles(int64_t n_panels) {
    return (n_panels + LINEAR_TILE_PANELS - 1) / LINEAR_TILE_PANELS;
}

KERNEL_INLINE int linear_streams(const kernel_env *env) {
    return linear_stream_fits(linear_format(env), kernel_dim_0_0(env), kernel_dim_1_1(env));
}

// Streaming: an item is a panel. Blocked: an item is a tile of panels for one block of rows, tiles of a row block side by side.
int64_t kernel_linear_panel16_items(const kernel_env *env) {
    const int64_t n_rows = kernel_dim_0_0(env),
                  n_panels = kernel_panel16_panels(kernel_dim_1_0(env));
    if (n_rows == 0) return 0;
    if (linear_streams(env)) return n_panels;
    const int64_t block_rows = linear_block_rows(n_rows);
    return (n_rows + block_rows - 1) / block_rows * linear_tiles(n_panels);
}

// Several chunks a thread, so that a slow thread costs little; streams get runs of equal length.
int64_t kernel_linear_panel16_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t share =
        kernel_linear_panel16_items(env) / (n_threads * kernel_knob_panel_chunks());
    if (linear_streams(env)) {
        const int64_t runs = share / LINEAR_STREAM_MAX_PANELS;
        return (runs < 1 ? 1 : runs > 16 ? 16 : runs) * LINEAR_STREAM_MAX_PANELS;
    }
    return share < 1 ? 1 : share > LINEAR_BLOCK_TILES ? LINEAR_BLOCK_TILES : share;
}

void kernel_linear_panel16(const kernel_env *env, int64_t begin, int64_t end) {
    const linear_job job = linear_job_of(env);
    if (linear_streams(env)) {
        linear_stream(env, &job, begin, end);
        return;
    }
    const int64_t n_tiles = linear_tiles(job.n_panels), block_rows = linear_block_rows(job.n_rows);
    while (begin < end) {
        const int64_t first_tile = begin % n_tiles, first_row = begin / n_tiles * block_rows;
        int64_t take = n_tiles - first_tile;
        if (take > end - begin) take = end - begin;
        if (take > LINEAR_BLOCK_TILES) take = LINEAR_BLOCK_TILES;
        const int64_t left = job.n_rows - first_row;
        linear_blocked(
            env, &job, first_row, left < block_rows ? left : block_rows, first_tile, take);
        begin += take;
    }
}

#endif

#endif
