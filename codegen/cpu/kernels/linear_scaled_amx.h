// linear_scaled_amx: the path of linear_scaled for many rows on machines with tile registers, Intel's AMX. A product takes up to
// 16 rows of x by a panel over one group of 32 k; its whole sums go to memory, and vectors scale them and add them up as in
// linear_scaled_body.h: the same operations in the same order, so the same bits.
//
// Scaling takes longer than multiplying: three vector operations an element, 24 cycles a product on two ports, where the products
// themselves take 16. So everything else is arranged for it to run beside them:
//
//   batch   four groups of a tile of rows by two panels. While the products of one batch run, the sums of the batch before are
//           scaled, four rows at a time, whose sums stay in registers over the four groups.
//   block   eight groups whose weights are decoded together into first-cache memory, for all tiles of rows; two of them in turn,
//           because the last batch of one is scaled during the next.
//
// Of int4 the zero is taken off while decoding: codes are signed bytes then, and nothing is left to add. Bytes of int8 lie in memory as
// products want them, unsigned; minus zero times the sum of x, `start`, is added when they are scaled.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_AMX_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_AMX_H

#include "codegen/cpu/kernels/linear_scaled_body.h"

#include <immintrin.h>

enum {
    AMX_FEW_ROWS = 8, // memory binds them: a decoded line serves them all before the next has come
    AMX_ROWS = 16,    // most rows of a tile
    AMX_PANELS = 2,   // side by side
    AMX_BATCH = 4,    // groups
    AMX_BLOCK = 8,    // groups
    AMX_FOLD = 4,     // rows scaled at a time
    AMX_WORDS = LINEAR_SCALED_GROUP / 4,
};

_Static_assert(AMX_BATCH *AMX_FOLD == AMX_ROWS, "a fold for every product of a batch");

// What LDTILECFG reads: eight tiles of at most 16 rows of 64 bytes; one that is not used has none.
typedef struct amx_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes;

// One group of a tile of rows; zeros in the rows that it lacks.
typedef struct amx_x {
    int8_t codes[AMX_ROWS][LINEAR_SCALED_GROUP]; // in the order of a line's nibbles
    float scale[AMX_ROWS];
    int32_t start[AMX_ROWS];
} amx_x;

// One group of a set of panels, decoded.
typedef struct amx_weights {
    u32x16 rows[AMX_PANELS][AMX_WORDS];
    f32x16 scale[AMX_PANELS];
} amx_weights;

// Sums of all rows of a block by one panel, each tile of rows in a place for 16.
typedef float amx_values[KERNEL_LINEAR_SCALED_ROWS][16];

// Whole sums of one group.
typedef int32_t amx_whole[AMX_PANELS][AMX_ROWS][16];

typedef struct amx_scratch {
    amx_shapes shapes;
    amx_weights weights[2][AMX_BLOCK];
    amx_whole whole[2][AMX_BATCH];
    amx_values values[AMX_PANELS];
    amx_x x[KERNEL_LINEAR_AMX_GROUPS];
} amx_scratch;

_Static_assert(sizeof(amx_scratch) <= KERNEL_LINEAR_AMX_SCRATCH_BYTES, "scratch.h promises enough");
_Static_assert(KERNEL_LINEAR_SCALED_ROWS % AMX_ROWS == 0, "values hold whole tiles");

// Rows [first_row, first_row + n_rows) in tiles of `height`; the last may lack some.
typedef struct amx_block {
    int64_t first_row, n_rows, n_tiles, height;
} amx_block;

// As even as possible: a product takes as long as it has rows.
KERNEL_INLINE amx_block amx_block_of(int64_t first_row, int64_t n_rows) {
    const int64_t n_tiles = (n_rows + AMX_ROWS - 1) / AMX_ROWS;
    return (amx_block){first_row, n_rows, n_tiles, (n_rows + n_tiles - 1) / n_tiles};
}

KERNEL_INLINE int64_t amx_tile_rows(const amx_block *block, int64_t tile) {
    const int64_t left = block->n_rows - tile * block->height;
    return left < block->height ? left : block->height;
}

// ---- operands ---------------------------------------------------------------------------------------------------------------

// Where a tile's groups from first_group on lie, the first of a block of n_groups: [block of groups][tile][group].
KERNEL_INLINE int64_t
amx_x_at(const amx_block *block, int64_t tile, int64_t first_group, int64_t n_groups) {
    return first_group * block->n_tiles + tile * n_groups;
}

KERNEL_INLINE void amx_pack(
    const linear_job *job, const scaled_x *x, const amx_block *block, amx_x *packed) {
    const int32_t code = job->format.code;
    for (int64_t first = 0; first < x->groups; first += AMX_BLOCK) {
        const int64_t left = x->groups - first, n_groups = left < AMX_BLOCK ? left : AMX_BLOCK;
        for (int64_t tile = 0; tile < block->n_tiles; tile++) {
            amx_x *to = packed + amx_x_at(block, tile, first, n_groups);
            const int64_t n_rows = amx_tile_rows(block, tile);
            if (n_rows < AMX_ROWS) {
                for (int64_t g = 0; g < n_groups; g++) to[g] = (amx_x){0};
            }
            for (int64_t r = 0; r < n_rows; r++) {
                const int64_t row = linear_x_row(job, block->first_row + tile * block->height + r);
                for (int64_t g = 0; g < n_groups; g++) {
                    const int64_t k = (first + g) * LINEAR_SCALED_GROUP;
                    char record[LINEAR_SCALED_GROUP + 8];
                    scaled_pack_group(
                        code, x->codes + row * job->k + k, job->k - k, x->zero,
                        x->scales[row * x->groups + first + g], record);
                    __builtin_memcpy(to[g].codes[r], record, LINEAR_SCALED_GROUP);
                    to[g].scale[r] = scaled_scale(code, record);
                    if (code == KERNEL_CODE_INT8)
                        to[g].start[r] = scaled_word(record, scaled_x_bytes(code));
                }
            }
        }
    }
}

// Group `group` of panel p of a set.
KERNEL_INLINE void amx_decode(
    kernel_panel16_format format, const char *panel, int64_t group, int p, amx_weights *to) {
    typedef int8_t i8x64 __attribute__((vector_size(64)));
    const int32_t code = format.code;
    const int64_t unit_groups = format.unit_k / LINEAR_SCALED_GROUP, inside = group % unit_groups,
                  unit_group = inside * LINEAR_SCALED_GROUP / format.group;
    const char *unit = panel + group / unit_groups * kernel_panel16_unit_bytes(format);
    const char *lines = unit + kernel_panel16_lines_at(format) +
                        inside * scaled_group_lines(code) * KERNEL_PANEL16_LINE;
    i8x64 zeros = {0};
    if (code == KERNEL_CODE_INT4) {
        // Zeros of 4-bit codes have 4 bits.
        const i32x16 words = format.zero == KERNEL_ZERO_STORED
                                 ? panel16_zeros(format, unit, unit_group)
                                 : (i32x16){0} + format.zero;
        zeros = (i8x64)(words * 0x01010101);
    }
    KERNEL_UNROLL for (int w = 0; w < scaled_group_lines(code); w++) {
        const u32x16 words = simd_load_u32(lines + w * KERNEL_PANEL16_LINE);
        KERNEL_UNROLL for (int i = 0; i < scaled_parts(code); i++)
            to->rows[p][w * scaled_parts(code) + i] =
            (u32x16)((i8x64)scaled_part(code, words, i) - zeros);
    }
    to->scale[p] = panel16_scales(format, unit, unit_group);
}

// ---- batches ----------------------------------------------------------------------------------------------------------------

// Weights requested while others are multiplied: all at once they would fill the miss buffers.
typedef struct amx_ahead {
    const char *next, *end;     // of the first panel of a set
    int64_t panel_bytes, lines; // to the second one; at a time
} amx_ahead;

KERNEL_INLINE void amx_request(amx_ahead *ahead) {
    for (int64_t i = 0; i < ahead->lines && ahead->next < ahead->end; i++) {
        KERNEL_UNROLL for (int p = 0; p < AMX_PANELS; p++)
            __builtin_prefetch(ahead->next + p * ahead->panel_bytes, 0, 2);
        ahead->next += KERNEL_PANEL16_LINE;
    }
}

typedef struct amx_batch {
    const amx_x *x;
    const amx_weights *weights;
    amx_whole *whole;
    amx_values *values; // of the tile's first row
    int64_t tile, n_groups;
    int is_first, is_last; // of the tile's: no sums before; nothing to come
} amx_batch;

// Group g of a batch, into registers of its own, so that products of neighbouring groups may overlap.
#define AMX_PRODUCTS(name, a, c0, c1) \
    KERNEL_INLINE void name(int32_t code, const amx_batch *batch, int64_t g) { \
        _tile_loadd(a, batch->x[g].codes, LINEAR_SCALED_GROUP); \
        _tile_loadd(2, batch->weights[g].rows[0], KERNEL_PANEL16_LINE); \
        _tile_loadd(3, batch->weights[g].rows[1], KERNEL_PANEL16_LINE); \
        _tile_zero(c0); \
        _tile_zero(c1); \
        if (code == KERNEL_CODE_INT8) { \
            _tile_dpbsud(c0, a, 2); \
            _tile_dpbsud(c1, a, 3); \
        } else { \
            _tile_dpbssd(c0, a, 2); \
            _tile_dpbssd(c1, a, 3); \
        } \
        _tile_stored(c0, batch->whole[g][0], KERNEL_PANEL16_LINE); \
        _tile_stored(c1, batch->whole[g][1], KERNEL_PANEL16_LINE); \
    }
AMX_PRODUCTS(amx_even_group, 0, 4, 5)
AMX_PRODUCTS(amx_odd_group, 1, 6, 7)
#undef AMX_PRODUCTS

// Rows [first, first + AMX_FOLD) of a batch; those that the tile lacks come to nothing that is read.
KERNEL_INLINE void amx_fold(int32_t code, const amx_batch *batch, int64_t first) {
    amx_values *values = batch->values;
    f32x16 sums[AMX_FOLD][AMX_PANELS];
    KERNEL_UNROLL for (int r = 0; r < AMX_FOLD; r++) {
        KERNEL_UNROLL for (int p = 0; p < AMX_PANELS; p++) sums[r][p] =
            batch->is_first ? simd_splat(0.0f) : simd_load(values[p][first + r]);
    }
    _Pragma("clang loop unroll(disable)") for (int64_t g = 0; g < batch->n_groups; g++) {
        const amx_x *x = &batch->x[g];
        KERNEL_UNROLL for (int r = 0; r < AMX_FOLD; r++) {
            KERNEL_UNROLL for (int p = 0; p < AMX_PANELS; p++) {
                i32x16 whole = (i32x16)simd_load_u32(batch->whole[g][p][first + r]);
                if (code == KERNEL_CODE_INT8) whole += x->start[first + r];
                sums[r][p] =
                    scaled_add(whole, batch->weights[g].scale[p], x->scale[first + r], sums[r][p]);
            }
        }
    }
    KERNEL_UNROLL for (int r = 0; r < AMX_FOLD; r++) {
        KERNEL_UNROLL for (int p = 0; p < AMX_PANELS; p++)
            simd_store(values[p][first + r], sums[r][p]);
    }
}

// The products of one batch beside the scaling of the one before; either may have no groups.
KERNEL_INLINE void amx_step(
    int32_t code, const amx_batch *batch, const amx_batch *before, int64_t n_rows,
    amx_ahead *ahead) {
    const int64_t fold_rows = before->n_groups > 0 ? n_rows : 0;
    _Pragma("clang loop unroll(disable)") for (int64_t g = 0; g < AMX_BATCH; g += 2) {
        if (g < batch->n_groups) amx_even_group(code, batch, g);
        amx_request(ahead);
        if (g * AMX_FOLD < fold_rows) amx_fold(code, before, g * AMX_FOLD);
        if (g + 1 < batch->n_groups) amx_odd_group(code, batch, g + 1);
        amx_request(ahead);
        if ((g + 1) * AMX_FOLD < fold_rows) amx_fold(code, before, (g + 1) * AMX_FOLD);
    }
}

// ---- panels -----------------------------------------------------------------------------------------------------------------

// What to request during the block of groups at `group`: the next one of the set, or the first one of the set behind.
KERNEL_INLINE amx_ahead amx_ahead_of(
    const linear_job *job, const char *panel, int64_t group, int64_t all_groups, int64_t n_tiles) {
    const int64_t bytes = linear_k_bytes(job->format, AMX_BLOCK * LINEAR_SCALED_GROUP);
    const int64_t next = group + AMX_BLOCK;
    const char *from = next < all_groups
                           ? panel + linear_k_bytes(job->format, next * LINEAR_SCALED_GROUP)
                           : panel + AMX_PANELS * job->panel_bytes;
    const int64_t per_line = KERNEL_PANEL16_LINE * AMX_BLOCK * n_tiles;
    return (amx_ahead){from, from + bytes, job->panel_bytes, (bytes + per_line - 1) / per_line};
}

// What all rows of a block, packed in scratch, go over: panels `first` and the one behind it, if there is one.
typedef struct amx_set {
    const linear_job *job;
    const amx_block *block;
    amx_scratch *scratch;
    int64_t first, n_panels;
    int64_t n_groups; // of a row
} amx_set;

KERNEL_INLINE const char *amx_panel(const amx_set *set) {
    return set->job->weights + set->first * set->job->panel_bytes;
}

// Where the next batch of a set is: blocks of groups, in each all tiles, of each the block's batches.
typedef struct amx_cursor {
    int64_t group, n_groups; // block
    int64_t tile, at;        // groups before the batch
    int half, turn;          // memory of the block, of the batch
} amx_cursor;

KERNEL_INLINE void amx_decode_block(const amx_set *set, const amx_cursor *at) {
    for (int64_t g = 0; g < at->n_groups; g++) {
        // A panel that is missing repeats the first.
        KERNEL_UNROLL for (int p = 0; p < AMX_PANELS; p++) amx_decode(
            set->job->format, amx_panel(set) + (p < set->n_panels ? p : 0) * set->job->panel_bytes,
            at->group + g, p, &set->scratch->weights[at->half][g]);
    }
}

// The batch at the cursor, which goes on.
KERNEL_INLINE amx_batch amx_next(const amx_set *set, amx_cursor *at) {
    amx_scratch *scratch = set->scratch;
    const int64_t left = at->n_groups - at->at;
    const amx_batch batch = {
        .x = scratch->x + amx_x_at(set->block, at->tile, at->group, at->n_groups) + at->at,
        .weights = scratch->weights[at->half] + at->at,
        .whole = scratch->whole[at->turn],
        .values = (amx_values *)(void *)scratch->values[0][at->tile * AMX_ROWS],
        .tile = at->tile,
        .n_groups = left < AMX_BATCH ? left : AMX_BATCH,
        .is_first = at->group + at->at == 0,
        .is_last = at->group + at->at + AMX_BATCH >= set->n_groups};
    at->turn ^= 1;
    at->at += AMX_BATCH;
    if (at->at < at->n_groups) return batch;
    at->at = 0;
    if (++at->tile < set->block->n_tiles) return batch;
    at->tile = 0;
    at->group += at->n_groups;
    at->half ^= 1;
    return batch;
}

KERNEL_INLINE void amx_store(const kernel_env *env, const amx_set *set, int64_t tile) {
    const amx_block *block = set->block;
    const int64_t first_row = block->first_row + tile * block->height,
                  n_rows = amx_tile_rows(block, tile);
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t p = 0; p < set->n_panels; p++)
            linear_store(
                env, set->job, first_row + r, set->first + p,
                set->scratch->values[p][tile * AMX_ROWS + r]);
    }
}

// A tile is stored as soon as it is complete: the products of the next one run meanwhile.
KERNEL_INLINE void amx_run_set(const kernel_env *env, const amx_set *set) {
    const amx_block *block = set->block;
    amx_cursor at = {.group = 0};
    amx_batch batch, before = {.n_groups = 0};
    amx_ahead ahead = {.lines = 0};
    do {
        batch = (amx_batch){.n_groups = 0};
        if (at.group < set->n_groups) {
            if (at.tile == 0 && at.at == 0) {
                const int64_t left = set->n_groups - at.group;
                at.n_groups = left < AMX_BLOCK ? left : AMX_BLOCK;
                amx_decode_block(set, &at);
                ahead =
                    amx_ahead_of(set->job, amx_panel(set), at.group, set->n_groups, block->n_tiles);
            }
            batch = amx_next(set, &at);
        }
        amx_step(set->job->format.code, &batch, &before, block->height, &ahead);
        if (before.is_last) amx_store(env, set, before.tile);
        before = batch;
    } while (batch.n_groups > 0);
}

KERNEL_INLINE void amx_configure(const amx_block *block, amx_shapes *shapes) {
    *shapes = (amx_shapes){.palette = 1};
    for (int i = 0; i < 8; i++) {
        const int is_weights = i == 2 || i == 3;
        shapes->rows[i] = (uint8_t)(is_weights ? AMX_WORDS : block->height);
        shapes->row_bytes[i] = i < 2 ? LINEAR_SCALED_GROUP : KERNEL_PANEL16_LINE;
    }
    _tile_loadconfig(shapes);
}

// Rows [first_row, + n_rows) times panels [begin, end).
KERNEL_INLINE void amx_run_block(
    const kernel_env *env, const linear_job *job, const scaled_x *x, int64_t first_row,
    int64_t n_rows, int64_t begin, int64_t end) {
    amx_scratch *scratch = (amx_scratch *)kernel_scratch(env);
    const amx_block block = amx_block_of(first_row, n_rows);
    amx_pack(job, x, &block, scratch->x);
    amx_configure(&block, &scratch->shapes);
    for (int64_t first = begin; first < end; first += AMX_PANELS) {
        const amx_set set = {
            job,      &block, scratch, first, end - first < AMX_PANELS ? end - first : AMX_PANELS,
            x->groups};
        amx_run_set(env, &set);
    }
    // Nothing is left behind: the system would save the tiles of this thread with every switch.
    _tile_release();
}

// ---- work -------------------------------------------------------------------------------------------------------------------

// Whether so many rows go this way: they are more than few, and at least one tile of whole rows fits the scratch.
KERNEL_INLINE int amx_takes(int64_t n_groups, int64_t n_rows) {
    return n_rows > AMX_FEW_ROWS && n_groups > 0 && n_groups <= KERNEL_LINEAR_AMX_GROUPS;
}

// Rows of a block, of n_rows: whole tiles that fit the scratch, as even as possible.
KERNEL_INLINE int64_t amx_block_rows(int64_t n_groups, int64_t n_rows) {
    int64_t fit = KERNEL_LINEAR_AMX_GROUPS / n_groups * AMX_ROWS;
    if (fit > KERNEL_LINEAR_SCALED_ROWS) fit = KERNEL_LINEAR_SCALED_ROWS;
    const int64_t n_blocks = (n_rows + fit - 1) / fit;
    return (n_rows + n_blocks - 1) / n_blocks;
}

// The block of at most block_rows rows that begins at first_row, by panels [begin, end).
KERNEL_INLINE void amx_run_rows(
    const kernel_env *env, const linear_job *job, const scaled_x *x, int64_t first_row,
    int64_t block_rows, int64_t begin, int64_t end) {
    const int64_t left = job->n_rows - first_row;
    amx_run_block(env, job, x, first_row, left < block_rows ? left : block_rows, begin, end);
}

#ifdef LINEAR_EXPERTS

// All rows of one expert.
KERNEL_INLINE void amx_run_expert(
    const kernel_env *env, const linear_job *job, const scaled_x *x, int64_t begin, int64_t end) {
    if (!amx_takes(x->groups, job->n_rows)) {
        scaled_run_expert(env, job, x, begin, end);
        return;
    }
    const int64_t block_rows = amx_block_rows(x->groups, job->n_rows);
    for (int64_t row = 0; row < job->n_rows; row += block_rows)
        amx_run_rows(env, job, x, row, block_rows, begin, end);
}

#else

KERNEL_INLINE int64_t amx_rows_of(const kernel_env *env) {
    return amx_block_rows(scaled_groups(kernel_dim_1_1(env)), kernel_dim_0_0(env));
}

// An item is a panel of one block of rows, panels of a block side by side.
KERNEL_INLINE int64_t amx_items(const kernel_env *env) {
    const int64_t n_rows = kernel_dim_0_0(env), block_rows = amx_rows_of(env);
    return (n_rows + block_rows - 1) / block_rows * kernel_panel16_panels(kernel_dim_1_0(env));
}

// Four chunks a thread, so that a slow thread costs little; but every chunk packs x, a tenth of the work of 16 panels, so fewer
// where they would be smaller than 32.
KERNEL_INLINE int64_t amx_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t n_items = amx_items(env), share = n_items / n_threads;
    int64_t chunk = share / 4;
    if (chunk < 32) chunk = share < 32 ? share : 32;
    chunk = chunk / AMX_PANELS * AMX_PANELS;
    return chunk < AMX_PANELS ? AMX_PANELS : chunk;
}

KERNEL_INLINE void amx_run(const kernel_env *env, int64_t begin, int64_t end) {
    const linear_job job = scaled_job_of(env);
    const scaled_x x = scaled_x_of(&job, kernel_pointer_0(env), kernel_pointer_2(env));
    const int64_t block_rows = amx_rows_of(env);
    while (begin < end) {
        const int64_t panel = begin % job.n_panels, row = begin / job.n_panels * block_rows;
        const int64_t left = job.n_panels - panel, take = left < end - begin ? left : end - begin;
        amx_run_rows(env, &job, &x, row, block_rows, panel, panel + take);
        begin += take;
    }
}

#endif

#endif
