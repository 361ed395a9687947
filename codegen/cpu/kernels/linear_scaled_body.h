// linear_scaled_body: out[M, N] = sum over groups j of 32 k of s[m, j] * (sum over k in j of code[m, k] * w[n, k]), plus bias; codes
// int8 rows, s float32 [M, groups], w int4 or int8 in panel16 form. One body for machines that multiply bytes; the file that
// includes it names its register tiles (linear_scaled_tile.h) and includes a method, linear_scaled_dot4.h or linear_scaled_pairs.h.
//
// Sums of a group are exact, so their order cannot matter; then, groups ascending and whatever the tile,
//
//   sum = (start + sum of code * x) * (weight scale * s) + sum
//
// so a row's result depends on nothing but the row. Zero times the sum of x comes in through `start`.
//
// A file that defines LINEAR_EXPERTS and includes the machine's linear_scaled_panel16.c is linear_scaled_experts_panel16
// (linear_experts_body.h).
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_BODY_H

#include "codegen/cpu/kernels/linear_scaled_tile.h"

KERNEL_KNOB(scaled_ahead);
KERNEL_KNOB(scaled_block);
KERNEL_KNOB(scaled_chunks);

typedef struct scaled_scratch {
    scaled_values values[LINEAR_SCALED_STREAMS];
    char x[KERNEL_LINEAR_SCALED_X_BYTES]; // records
} scaled_scratch;

_Static_assert(
    sizeof(scaled_scratch) <= KERNEL_LINEAR_SCALED_SCRATCH_BYTES, "scratch.h promises enough");

// Rows [first_row, + n_rows) of a launch, packed in scratch, that go over panels together.
typedef struct scaled_block {
    const linear_job *job;
    scaled_scratch *scratch;
    int64_t first_row, n_rows;
    int64_t n_groups; // of a row
} scaled_block;

// Rows [row, + n_rows) of the block, n_panels panels from `panel` on, `stride` apart.
KERNEL_INLINE void scaled_store(
    const kernel_env *env, const scaled_block *block, int64_t row, int64_t n_rows, int64_t panel,
    int64_t stride, int64_t n_panels) {
    for (int64_t r = row; r < row + n_rows; r++) {
        for (int64_t p = 0; p < n_panels; p++)
            linear_store(
                env, block->job, block->first_row + r, panel + p * stride,
                block->scratch->values[p][r]);
    }
}

// Rows that are one tile: panels [begin, end) are cut into equal runs which are read side by side. Left-over panels go one at a
// time with all streams of a set on the one panel: it costs arithmetic for at most three panels, and saves a second copy of the
// tile.
KERNEL_INLINE void scaled_streams(
    const kernel_env *env, const scaled_block *block, int64_t begin, int64_t end) {
    const linear_job *job = block->job;
    const int64_t n_side = scaled_side(block->n_rows);
    const int64_t n_sets = (end - begin) / n_side, rest = (end - begin) % n_side;
    const int64_t requests = block->n_groups * scaled_group_requests(job->format.code);
    for (int64_t i = 0; i < n_sets + rest; i++) {
        const int64_t first = i < n_sets ? begin + i : end - rest + (i - n_sets);
        const int64_t stride = i < n_sets ? n_sets : 0;
        scaled_panels panels = {
            .format = job->format,
            .first = job->weights + first * job->panel_bytes,
            .stride = stride * job->panel_bytes,
            .step = (job->panel_bytes + requests - 1) / requests};
        panels.next = panels.first + kernel_knob_scaled_ahead();
        scaled_tile_of(
            block->n_rows, block->scratch->x, 0, block->n_groups, &panels, block->scratch->values);
        scaled_store(env, block, 0, block->n_rows, first, stride, i < n_sets ? n_side : 1);
    }
}

// More rows, by one panel: of a block of groups all tiles of rows, then the next block, which is requested meanwhile. A tile is
// stored as soon as it is complete, so that the next one's arithmetic hides it.
KERNEL_INLINE void scaled_tiles(const kernel_env *env, const scaled_block *block, int64_t panel) {
    const linear_job *job = block->job;
    const kernel_panel16_format format = job->format;
    const int64_t n_tiles = (block->n_rows + LINEAR_SCALED_ROWS - 1) / LINEAR_SCALED_ROWS;
    const int64_t block_groups = kernel_knob_scaled_block();
    const int64_t block_bytes = linear_k_bytes(format, block_groups * LINEAR_SCALED_GROUP);
    scaled_panels panels = {.format = format, .first = job->weights + panel * job->panel_bytes};
    panels.next = panels.first;
    for (int64_t group = 0; group < block->n_groups; group += block_groups) {
        const int64_t left = block->n_groups - group;
        const int64_t n_groups = left < block_groups ? left : block_groups;
        const int64_t requests = n_groups * scaled_group_requests(format.code) * n_tiles;
        panels.step = (block_bytes + requests - 1) / requests;
        panels.next = left > n_groups
                          ? panels.first +
                                linear_k_bytes(format, (group + block_groups) * LINEAR_SCALED_GROUP)
                          : panels.first + job->panel_bytes;
        const char *x = block->scratch->x;
        for (int64_t row = 0, height; row < block->n_rows; row += height) {
            height = scaled_tile_rows(block->n_rows - row);
            const int64_t group_bytes = height * scaled_record_bytes(format.code);
            scaled_tile_of(
                height, x + group * group_bytes, group, n_groups, &panels,
                (scaled_values *)(void *)block->scratch->values[0][row]);
            x += block->n_groups * group_bytes;
            if (left == n_groups) scaled_store(env, block, row, height, panel, 0, 1);
        }
    }
}

KERNEL_INLINE void scaled_run_block(
    const kernel_env *env, const scaled_block *block, const scaled_x *x, int64_t begin,
    int64_t end) {
    char *records = block->scratch->x;
    for (int64_t row = 0, height; row < block->n_rows; row += height) {
        height = scaled_tile_rows(block->n_rows - row);
        scaled_pack_tile(block->job, x, block->first_row + row, height, records);
        records += height * x->groups * scaled_record_bytes(block->job->format.code);
    }
    if (block->n_rows <= LINEAR_SCALED_ROWS) {
        scaled_streams(env, block, begin, end);
        return;
    }
    for (int64_t panel = begin; panel < end; panel++) scaled_tiles(env, block, panel);
}

// ---- work -------------------------------------------------------------------------------------------------------------------

KERNEL_INLINE int64_t scaled_block_rows(int32_t code, int64_t n_groups, int64_t n_rows) {
    return linear_packed_rows(
        n_rows, n_groups * scaled_record_bytes(code), KERNEL_LINEAR_SCALED_X_BYTES,
        KERNEL_LINEAR_SCALED_ROWS, LINEAR_SCALED_ROWS);
}

// The block of at most block_rows rows that begins at first_row, by panels [begin, end).
KERNEL_INLINE void scaled_run_rows(
    const kernel_env *env, const linear_job *job, const scaled_x *x, int64_t first_row,
    int64_t block_rows, int64_t begin, int64_t end) {
    const int64_t left = job->n_rows - first_row;
    const scaled_block block = {
        .job = job,
        .scratch = (scaled_scratch *)kernel_scratch(env),
        .first_row = first_row,
        .n_rows = left < block_rows ? left : block_rows,
        .n_groups = x->groups};
    scaled_run_block(env, &block, x, begin, end);
}

#ifdef LINEAR_EXPERTS

// All rows of one expert.
KERNEL_INLINE void scaled_run_expert(
    const kernel_env *env, const linear_job *job, const scaled_x *x, int64_t begin, int64_t end) {
    const int64_t block_rows = scaled_block_rows(job->format.code, x->groups, job->n_rows);
    for (int64_t row = 0; row < job->n_rows; row += block_rows)
        scaled_run_rows(env, job, x, row, block_rows, begin, end);
}

// A kernel that has another way beside this one names it itself (x86_amx/).
#    ifndef LINEAR_SCALED_NAME
#        define LINEAR_EXPERTS_SCALED        scaled_run_expert
#        define LINEAR_EXPERTS_PRODUCT_BYTES KERNEL_LINEAR_SCALED_SCRATCH_BYTES
#        include "codegen/cpu/kernels/linear_experts_body.h"
#    endif

#else

KERNEL_INLINE int64_t scaled_rows_of(const kernel_env *env) {
    return scaled_block_rows(
        linear_format(env).code, scaled_groups(kernel_dim_1_1(env)), kernel_dim_0_0(env));
}

// A kernel that has another way beside this one names these functions itself (x86_amx/).
#    ifndef LINEAR_SCALED_NAME
#        define LINEAR_SCALED_NAME(suffix) kernel_linear_scaled_panel16##suffix
#    endif

// An item is a panel of one block of rows, panels of a block side by side.
int64_t LINEAR_SCALED_NAME(_items)(const kernel_env *env) {
    const int64_t n_rows = kernel_dim_0_0(env), block_rows = scaled_rows_of(env);
    return (n_rows + block_rows - 1) / block_rows * kernel_panel16_panels(kernel_dim_1_0(env));
}

int64_t LINEAR_SCALED_NAME(_chunk)(const kernel_env *env, int64_t n_threads) {
    return linear_packed_chunk(
        LINEAR_SCALED_NAME(_items)(env), kernel_dim_0_0(env), n_threads,
        kernel_knob_scaled_chunks());
}

void LINEAR_SCALED_NAME()(const kernel_env *env, int64_t begin, int64_t end) {
    const linear_job job = scaled_job_of(env);
    const scaled_x x = scaled_x_of(&job, kernel_pointer_0(env), kernel_pointer_2(env));
    const int64_t block_rows = scaled_rows_of(env);
    while (begin < end) {
        const int64_t panel = begin % job.n_panels, row = begin / job.n_panels * block_rows;
        const int64_t left = job.n_panels - panel, take = left < end - begin ? left : end - begin;
        scaled_run_rows(env, &job, &x, row, block_rows, panel, panel + take);
        begin += take;
    }
}

#endif

#endif
