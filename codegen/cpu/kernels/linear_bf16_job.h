// linear_bf16_job: what every way of linear_bf16_panel16 shares: operands, work items, blocks of rows in scratch.
//
// x is bfloat16 [M, K], w bfloat16 in panel16 form, whose pairs of k are what the products of these machines take. Sums are float32.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_JOB_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_BF16_JOB_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

KERNEL_KNOB(panel_ahead);
KERNEL_KNOB(panel_chunks);

enum {
    LINEAR_BF16_UNIT = 32,                         // k that K is padded to
    LINEAR_BF16_UNIT_LINES = LINEAR_BF16_UNIT / 2, // of a panel, two k each
    LINEAR_BF16_UNIT_BYTES = LINEAR_BF16_UNIT_LINES * KERNEL_PANEL16_LINE,
};

// Sums of a set of panels: [panel][row][16].
typedef float bf16_values[KERNEL_LINEAR_BF16_ROWS][16];

typedef struct bf16_scratch {
    char shapes[64]; // of tile registers, where there are any
    bf16_values values[4];
    // Packed; what packing writes and tile registers read beyond the last row reaches no farther.
    char x[KERNEL_LINEAR_BF16_X_BYTES + 1024];
} bf16_scratch;

_Static_assert(
    sizeof(bf16_scratch) <= KERNEL_LINEAR_BF16_SCRATCH_BYTES, "scratch.h promises enough");

// Rows [first_row, + n_rows) of a launch, packed in scratch, that go over panels together.
typedef struct bf16_block {
    const linear_job *job;
    bf16_scratch *scratch;
    int64_t first_row, n_rows;
    int64_t n_units; // of a row
} bf16_block;

KERNEL_INLINE int64_t bf16_units(int64_t k) {
    return (k + LINEAR_BF16_UNIT - 1) / LINEAR_BF16_UNIT;
}

// A unit of one row of x, zeros beyond K: 16 pairs.
KERNEL_INLINE f32x16 bf16_load_unit(const linear_job *job, int64_t row, int64_t unit) {
    const int64_t k = unit * LINEAR_BF16_UNIT, left = job->k - k;
    const uint16_t *source = (const uint16_t *)(const void *)job->x + row * job->k + k;
    uint16_t part[LINEAR_BF16_UNIT] = {0};
    f32x16 pairs;
    if (left < LINEAR_BF16_UNIT) {
        for (int64_t i = 0; i < left; i++) part[i] = source[i];
        source = part;
    }
    __builtin_memcpy(&pairs, source, sizeof pairs);
    return pairs;
}

// Rows [row, + n_rows) of the block, n_panels panels from `panel` on, `stride` apart.
KERNEL_INLINE void bf16_store(
    const kernel_env *env, const bf16_block *block, int64_t row, int64_t n_rows, int64_t panel,
    int64_t stride, int64_t n_panels) {
    for (int64_t r = row; r < row + n_rows; r++) {
        for (int64_t p = 0; p < n_panels; p++)
            linear_store(
                env, block->job, block->first_row + r, panel + p * stride,
                block->scratch->values[p][r]);
    }
}

// ---- work -------------------------------------------------------------------------------------------------------------------

// Rows of a block, tiles of `tile` rows.
KERNEL_INLINE int64_t bf16_block_rows(const kernel_env *env, int64_t tile) {
    return linear_packed_rows(
        kernel_dim_0_0(env), bf16_units(kernel_dim_1_1(env)) * LINEAR_BF16_UNIT * 2,
        KERNEL_LINEAR_BF16_X_BYTES, KERNEL_LINEAR_BF16_ROWS, tile);
}

// An item is a panel of one block of rows, panels of a block side by side.
KERNEL_INLINE int64_t bf16_items(const kernel_env *env, int64_t tile) {
    const int64_t n_rows = kernel_dim_0_0(env), block_rows = bf16_block_rows(env, tile);
    return (n_rows + block_rows - 1) / block_rows * kernel_panel16_panels(kernel_dim_1_0(env));
}

// A block of rows times panels [begin, end): what a machine supplies.
typedef void bf16_run_block(
    const kernel_env *env, const bf16_block *block, int64_t begin, int64_t end);

KERNEL_INLINE void bf16_run(
    const kernel_env *env, int64_t begin, int64_t end, int64_t tile, bf16_run_block *run_block) {
    const linear_job job = linear_job_of(env);
    const int64_t block_rows = bf16_block_rows(env, tile);
    while (begin < end) {
        const int64_t panel = begin % job.n_panels, row = begin / job.n_panels * block_rows;
        const int64_t left = job.n_panels - panel, take = left < end - begin ? left : end - begin;
        const bf16_block block = {
            .job = &job,
            .scratch = (bf16_scratch *)kernel_scratch(env),
            .first_row = row,
            .n_rows = job.n_rows - row < block_rows ? job.n_rows - row : block_rows,
            .n_units = bf16_units(job.k)};
        run_block(env, &block, panel, panel + take);
        begin += take;
    }
}

#endif
