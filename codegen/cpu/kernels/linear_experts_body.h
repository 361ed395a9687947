// linear_experts_body: out[t, j*N … j*N+N-1] = x times w[e] of [E, N, K] transposed, plus bias[e], e = experts[t, j], on the paths of
// linear_panel16_body.h: the tokens of one expert are the rows of one product, so that its weights are read once for all of them, and
// weights that nobody has chosen are not read at all. linear_scaled_experts is the same on the way of linear_scaled_body.h, which names
// LINEAR_EXPERTS_SCALED, the function that multiplies all rows of one expert; operands 3 and 4 are then the scales and the bias.
//
// A stack lies as one weight [E*N, K]. Where N is no multiple of 16 an expert begins inside a panel that it shares; the
// neighbour's outputs are computed and not stored.
//
// Slot t*k + j is one chosen expert. An item is four panels of a group of slots with the same expert. Of few slots each may be a
// group, and the first with its expert is; of many every expert is one. Whoever takes items looks for their slots: reading all
// numbers of experts costs less than a launch that sorts them.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_EXPERTS_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_EXPERTS_BODY_H

#ifdef LINEAR_EXPERTS_SCALED
#    define EXPERTS_NAME(suffix)      kernel_linear_scaled_experts_panel16##suffix
#    define EXPERTS_BIAS_POINTER(env) kernel_pointer_4(env)
#    define EXPERTS_BIAS_DTYPE(env)   kernel_dtype_4(env)
KERNEL_DTYPE(4);
KERNEL_POINTER(4);
#else
#    ifdef LINEAR_INTEGER
#        include "codegen/cpu/kernels/linear_panel16_integer.h"
#    else
#        include "codegen/cpu/kernels/linear_panel16_blocked.h"
#        include "codegen/cpu/kernels/linear_panel16_stream.h"
#    endif
#    define LINEAR_EXPERTS_PRODUCT_BYTES KERNEL_LINEAR_SCRATCH_BYTES
#    define EXPERTS_NAME(suffix)         kernel_linear_experts_panel16##suffix
#    define EXPERTS_BIAS_POINTER(env)    kernel_pointer_3(env)
#    define EXPERTS_BIAS_DTYPE(env)      kernel_dtype_3(env)
#endif

KERNEL_DIM(0, 1);
KERNEL_DIM(1, 2);
KERNEL_DIM(2, 0);
KERNEL_DIM(2, 1);
KERNEL_DTYPE(3);
KERNEL_POINTER(3);

enum {
    EXPERTS_UNIT = 4,       // panels of an item: what streams read side by side
    EXPERTS_CHUNK_UNITS = 8 // of a chunk where slots are many: x is packed once for 32 panels
};

_Static_assert(
    LINEAR_EXPERTS_PRODUCT_BYTES % 64 == 0, "slots stand behind the scratch of a product");

KERNEL_INLINE int64_t experts_slots(const kernel_env *env) {
    return kernel_dim_2_0(env) * kernel_dim_2_1(env);
}

// Items of a group.
KERNEL_INLINE int64_t experts_units(const kernel_env *env) {
    const int64_t n = kernel_dim_1_1(env);
    const int64_t n_panels = kernel_panel16_panels(n % 16 == 0 ? n : n + 15);
    return (n_panels + EXPERTS_UNIT - 1) / EXPERTS_UNIT;
}

int64_t EXPERTS_NAME(_items)(const kernel_env *env) {
    const int64_t n_slots = experts_slots(env), n_experts = kernel_dim_1_0(env);
    return (n_slots < n_experts ? n_slots : n_experts) * experts_units(env);
}

// Four chunks a thread, each of one group or less. Of many slots some experts have far more than others, and nobody knows which:
// chunks are small then.
int64_t EXPERTS_NAME(_chunk)(const kernel_env *env, int64_t n_threads) {
    const int64_t share = EXPERTS_NAME(_items)(env) / (n_threads * 4);
    const int is_many = experts_slots(env) >= kernel_dim_1_0(env);
    int64_t most = experts_units(env);
    if (is_many && most > EXPERTS_CHUNK_UNITS) {
        const int64_t n_chunks = (most + EXPERTS_CHUNK_UNITS - 1) / EXPERTS_CHUNK_UNITS;
        most = (most + n_chunks - 1) / n_chunks;
    }
    return share < 1 ? 1 : share > most ? most : share;
}

// The slots of a group, behind the product's scratch. 0: the group is empty, or belongs to an earlier slot.
KERNEL_INLINE int64_t experts_find(const kernel_env *env, int64_t group, int64_t *expert) {
    const int32_t *experts = (const int32_t *)kernel_pointer_2(env);
    int32_t *slots = (int32_t *)((char *)kernel_scratch(env) + LINEAR_EXPERTS_PRODUCT_BYTES);
    const int64_t n_slots = experts_slots(env), n_experts = kernel_dim_1_0(env);
    const int is_slot = n_slots < n_experts;
    *expert = is_slot ? experts[group] : group;
    if (*expert < 0 || *expert >= n_experts) return 0;
    int64_t n_found = 0;
    for (int64_t slot = 0; slot < n_slots; slot++) {
        slots[n_found] = (int32_t)slot;
        n_found += experts[slot] == *expert;
    }
    return is_slot && slots[0] != group ? 0 : n_found;
}

KERNEL_INLINE linear_job experts_job(const kernel_env *env, int64_t expert, int64_t n_rows) {
    linear_job job = {0};
    const int64_t n = kernel_dim_1_1(env), first = expert * n;
    job.format = linear_format(env);
    job.k = kernel_dim_1_2(env);
    job.panel_bytes = kernel_panel16_panel_bytes(job.format, job.k);
    job.skip = first % 16;
    job.n = job.skip + n;
    job.n_panels = kernel_panel16_panels(job.n);
    job.x = (const float *)kernel_pointer_0(env);
    job.weights = (const char *)kernel_pointer_1(env) + first / 16 * job.panel_bytes;
    job.bias = EXPERTS_BIAS_POINTER(env);
    job.bias_dtype = EXPERTS_BIAS_DTYPE(env);
    job.bias_at = first - job.skip;
    job.n_rows = n_rows;
    job.slots = (const int32_t *)((const char *)kernel_scratch(env) + LINEAR_EXPERTS_PRODUCT_BYTES);
    job.n_chosen = kernel_dim_2_1(env);
    job.slots_per_x = kernel_dim_0_1(env) == job.k ? job.n_chosen : 1;
    job.slot_columns = n;
    return job;
}

#if defined(LINEAR_EXPERTS_SCALED)

KERNEL_INLINE void experts_panels(
    const kernel_env *env, linear_job *job, int64_t begin, int64_t end) {
    const scaled_x x = scaled_x_of(job, kernel_pointer_0(env), kernel_pointer_3(env));
    LINEAR_EXPERTS_SCALED(env, job, &x, begin, end);
}

#elif defined(LINEAR_INTEGER)

KERNEL_INLINE void experts_panels(
    const kernel_env *env, linear_job *job, int64_t begin, int64_t end) {
    const int64_t block_rows = linear_integer_rows(job->n_rows);
    for (int64_t row = 0, first = 0; row < job->n_rows; row += block_rows, first += job->n_panels)
        linear_integer_run(env, job, first + begin, first + end);
}

#else

// Streams of plain weights read their rows one behind the other. 0: they do not fit the scratch.
KERNEL_INLINE int experts_gather(const kernel_env *env, linear_job *job) {
    if (job->format.code != KERNEL_CODE_PLAIN) return 1;
    if (job->n_rows == 1) {
        job->x = linear_row(job, 0);
    } else {
        if (job->n_rows * job->k * 4 > KERNEL_LINEAR_SCRATCH_BYTES) return 0;
        float *rows = (float *)kernel_scratch(env);
        for (int64_t r = 0; r < job->n_rows; r++) {
            const float *x = linear_row(job, r);
            KERNEL_VECTOR_LOOP for (int64_t k = 0; k < job->k; k++) rows[r * job->k + k] = x[k];
        }
        job->x = rows;
    }
    job->slots_per_x = 0;
    return 1;
}

KERNEL_INLINE void experts_panels(
    const kernel_env *env, linear_job *job, int64_t begin, int64_t end) {
    if (linear_stream_fits(job->format, job->n_rows, job->k) && experts_gather(env, job)) {
        linear_stream(env, job, begin, end);
        return;
    }
    const int64_t block_rows = linear_block_rows(job->n_rows);
    const int64_t last_tile = (end + LINEAR_TILE_PANELS - 1) / LINEAR_TILE_PANELS;
    for (int64_t row = 0; row < job->n_rows; row += block_rows) {
        const int64_t left = job->n_rows - row, n_rows = left < block_rows ? left : block_rows;
        for (int64_t tile = begin / LINEAR_TILE_PANELS; tile < last_tile;
             tile += LINEAR_BLOCK_TILES) {
            const int64_t n_tiles =
                last_tile - tile < LINEAR_BLOCK_TILES ? last_tile - tile : LINEAR_BLOCK_TILES;
            linear_blocked(env, job, row, n_rows, tile, n_tiles);
        }
    }
}

#endif

void EXPERTS_NAME()(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t n_units = experts_units(env);
    while (begin < end) {
        const int64_t first = begin % n_units;
        const int64_t take = n_units - first < end - begin ? n_units - first : end - begin;
        int64_t expert = 0;
        const int64_t n_rows = experts_find(env, begin / n_units, &expert);
        begin += take;
        if (n_rows == 0) continue;
        linear_job job = experts_job(env, expert, n_rows);
        const int64_t panels = (first + take) * EXPERTS_UNIT;
        const int64_t last = panels < job.n_panels ? panels : job.n_panels;
        if (first * EXPERTS_UNIT < last) experts_panels(env, &job, first * EXPERTS_UNIT, last);
    }
}

#endif
