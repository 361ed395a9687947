// latent_attention: softmax(scale * (q c^T + rotated d^T)) c over a paged cache of latents [P, 16, width] (F32, F16 or BF16), whose rows are keys and
// values of all heads. An item is one head of one token; both parts of q come through load hooks and are scaled there, so that the softmax counts in
// powers of two.
//
// Heads of a token, and tokens of a sequence, read the same rows: a block of up to 32 items brings every row into scratch once, as float32 and, sixteen
// rows at a time, transposed for the scores. Tiles of LATENT_TILE_ROWS items share each of its vectors.
//
// Order of summation: steps of 32 positions from position 0 on; scores column by column, sums position by position. It depends on nothing but the
// token's position, so neither do results on the batch, the block or the thread. Rows behind a token's position are never multiplied into its sums.
//
// Bound by arithmetic: 512 + 64 columns, 2048 positions of float16, one Zen 4 thread: 91 GFLOP/s with 16 heads, 97 with 128 (AVX2 82 and 90), 76 where a
// thread has eight heads and bringing the rows in counts.
//
// Tile sizes of the machine: LATENT_TILE_ROWS items times LATENT_TILE_VECTORS vectors of columns or pages of keys (1 or 2).
#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DIM(2, 2);
KERNEL_DIM(3, 1);
KERNEL_DTYPE(2);
KERNEL_POINTER(2);
KERNEL_POINTER(3);
KERNEL_POINTER(4);
KERNEL_POINTER(5);
KERNEL_LOAD(0);
KERNEL_LOAD(1);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_I64(rank);
KERNEL_ATTR_F64(scale);

enum { LATENT_STEP = KERNEL_LATENT_STEP, LATENT_PAGE = 16 };

typedef struct latent_job {
    const char *cache;
    const int32_t *page_table, *seq_ids, *positions;
    int64_t n_slots, n_heads, rank, width;
    int64_t padded_rank, padded; // of rank and width: multiples of 16
    int32_t dtype;
    float scale;
} latent_job;

// What one block of items keeps; extents in kernels/scratch.h.
typedef struct latent_scratch {
    float *queries; // [KERNEL_LATENT_ROWS, padded]
    float *sums;    // [KERNEL_LATENT_ROWS, padded_rank]
    float *rows;    // [LATENT_STEP, padded], zero beyond width and behind the block's last position
    float *keys;    // [LATENT_STEP / 16, padded, 16]
    float (*weights)[LATENT_STEP];
    float (*totals)[16];
    float *maxima, *factors;
} latent_scratch;

KERNEL_INLINE latent_job latent_job_of(const kernel_env *env) {
    latent_job job = {
        .cache = (const char *)kernel_pointer_2(env),
        .page_table = (const int32_t *)kernel_pointer_3(env),
        .seq_ids = (const int32_t *)kernel_pointer_4(env),
        .positions = (const int32_t *)kernel_pointer_5(env),
        .n_slots = kernel_dim_3_1(env),
        .rank = kernel_attr_rank(env),
        .width = kernel_dim_2_2(env),
        .dtype = kernel_dtype_2(env),
        .scale = (float)(kernel_attr_scale(env) * 1.4426950408889634),
    };
    job.n_heads = kernel_dim_0_1(env) / job.rank;
    job.padded_rank = (job.rank + 15) / 16 * 16;
    job.padded = (job.width + 15) / 16 * 16;
    return job;
}

KERNEL_INLINE latent_scratch latent_scratch_of(const kernel_env *env, const latent_job *job) {
    latent_scratch scratch;
    float *next = (float *)kernel_scratch(env);
    scratch.queries = next, next += KERNEL_LATENT_ROWS * job->padded;
    scratch.sums = next, next += KERNEL_LATENT_ROWS * job->padded_rank;
    scratch.rows = next, next += LATENT_STEP * job->padded;
    scratch.keys = next, next += LATENT_STEP * job->padded;
    scratch.weights = (float(*)[LATENT_STEP])next, next += KERNEL_LATENT_ROWS * LATENT_STEP;
    scratch.totals = (float(*)[16])next, next += KERNEL_LATENT_ROWS * 16;
    scratch.maxima = next, next += KERNEL_LATENT_ROWS;
    scratch.factors = next;
    return scratch;
}

// ---- a step's rows ------------------------------------------------------------------------------------

KERNEL_INLINE void latent_load_row(const latent_job *job, int64_t place, float *to) {
    const int64_t whole = job->width / 16 * 16;
    for (int64_t d = 0; d < whole; d += 16)
        simd_store(to + d, simd_load_as_f32(job->cache, job->dtype, place + d));
    if (whole == job->padded) return;
    simd_store(to + whole, simd_splat(0.0f));
    for (int64_t d = whole; d < job->width; d++)
        to[d] = kernel_load_as_f32(job->cache, job->dtype, place + d);
}

// Positions base … base + 31 of the sequence, as far as `last`.
KERNEL_INLINE void latent_load_step(
    const latent_job *job, const latent_scratch *scratch, int64_t sequence, int64_t base,
    int64_t last) {
    for (int64_t i = 0; i < LATENT_STEP; i++) {
        float *row = scratch->rows + i * job->padded;
        if (base + i > last) {
            for (int64_t d = 0; d < job->padded; d += 16) simd_store(row + d, simd_splat(0.0f));
            continue;
        }
        const int64_t slot = (base + i) / LATENT_PAGE;
        const int64_t page = job->page_table[sequence * job->n_slots + slot];
        latent_load_row(job, (page * LATENT_PAGE + i % LATENT_PAGE) * job->width, row);
    }
    for (int64_t first = 0; first < LATENT_STEP; first += 16) {
        for (int64_t d = 0; d < job->padded; d += 16) {
            f32x16 tile[16];
            KERNEL_UNROLL for (int i = 0; i < 16; i++) tile[i] =
                simd_load(scratch->rows + (first + i) * job->padded + d);
            simd_transpose(tile);
            float *to = scratch->keys + first * job->padded + d * 16;
            KERNEL_UNROLL for (int i = 0; i < 16; i++) simd_store(to + i * 16, tile[i]);
        }
    }
}

// ---- scores, softmax, sums ----------------------------------------------------------------------------

// Scores of R items and P pages from position `first` of the step on.
KERNEL_INLINE void latent_scores_tile(
    const int R, const int P, const latent_job *job, const latent_scratch *scratch, int64_t row,
    int64_t first) {
    f32x16 score[LATENT_TILE_ROWS][LATENT_TILE_VECTORS];
    const float *queries = scratch->queries + row * job->padded;
    const float *keys = scratch->keys + first * job->padded;
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) score[r][p] = simd_splat(0.0f);
    }
    _Pragma("clang loop unroll_count(4) vectorize(disable)") for (int64_t d = 0; d < job->padded;
                                                                  d++) {
        f32x16 key[LATENT_TILE_VECTORS];
        KERNEL_UNROLL for (int p = 0; p < P; p++) key[p] =
            simd_load(keys + (p * job->padded + d) * 16);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            KERNEL_UNROLL for (int p = 0; p < P; p++) score[r][p] =
                simd_fma(key[p], simd_splat(queries[r * job->padded + d]), score[r][p]);
        }
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++)
            simd_store(scratch->weights[row + r] + first + p * 16, score[r][p]);
    }
}

KERNEL_INLINE void latent_scores(
    const int R, const latent_job *job, const latent_scratch *scratch, int64_t row) {
    for (int64_t first = 0; first < LATENT_STEP; first += 16 * LATENT_TILE_VECTORS)
        latent_scores_tile(R, LATENT_TILE_VECTORS, job, scratch, row, first);
}

// p in place of the scores of one item that sees `n_seen` positions of the step; its maximum, factor and total.
KERNEL_INLINE void latent_soften(const latent_scratch *scratch, int64_t row, int64_t n_seen) {
    const i32x16 count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float *weights = scratch->weights[row];
    f32x16 score[LATENT_STEP / 16], high = simd_splat(scratch->maxima[row]);
    KERNEL_UNROLL for (int i = 0; i < LATENT_STEP / 16; i++) {
        score[i] = simd_select(
            count + i * 16 < (int32_t)n_seen, simd_load(weights + i * 16),
            simd_splat(-__builtin_inff()));
        high = simd_max(score[i], high);
    }
    const float maximum = simd_max_of(high);
    const f32x16 factor = simd_exp2_negative(simd_splat(scratch->maxima[row] - maximum));
    f32x16 total = simd_load(scratch->totals[row]) * factor;
    KERNEL_UNROLL for (int i = 0; i < LATENT_STEP / 16; i++) {
        const f32x16 p = simd_exp2_negative(score[i] - maximum);
        simd_store(weights + i * 16, p);
        total += p;
    }
    simd_store(scratch->totals[row], total);
    scratch->maxima[row] = maximum;
    scratch->factors[row] = factor[0];
}

// sums = sums * factor + p * rows, of R items and C vectors of columns from d on.
KERNEL_INLINE void latent_sums_tile(
    const int R, const int C, const latent_job *job, const latent_scratch *scratch, int64_t row,
    int64_t d, int64_t n_seen) {
    f32x16 sum[LATENT_TILE_ROWS][LATENT_TILE_VECTORS];
    float *sums = scratch->sums + row * job->padded_rank + d;
    const float *weights = scratch->weights[row];
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++) sum[r][c] =
            simd_load(sums + r * job->padded_rank + c * 16) * scratch->factors[row + r];
    }
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t i = 0; i < n_seen; i++) {
        f32x16 value[LATENT_TILE_VECTORS];
        KERNEL_UNROLL for (int c = 0; c < C; c++) value[c] =
            simd_load(scratch->rows + i * job->padded + d + c * 16);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            KERNEL_UNROLL for (int c = 0; c < C; c++) sum[r][c] =
                simd_fma(value[c], simd_splat(weights[r * LATENT_STEP + i]), sum[r][c]);
        }
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++)
            simd_store(sums + r * job->padded_rank + c * 16, sum[r][c]);
    }
}

KERNEL_INLINE void latent_tile(
    const int R, const latent_job *job, const latent_scratch *scratch, int64_t row,
    int64_t n_seen) {
    latent_scores(R, job, scratch, row);
    for (int r = 0; r < R; r++) latent_soften(scratch, row + r, n_seen);
    int64_t d = 0;
    for (; d + 16 * LATENT_TILE_VECTORS <= job->padded_rank; d += 16 * LATENT_TILE_VECTORS)
        latent_sums_tile(R, LATENT_TILE_VECTORS, job, scratch, row, d, n_seen);
    for (; d < job->padded_rank; d += 16) latent_sums_tile(R, 1, job, scratch, row, d, n_seen);
}

// ---- blocks of items ----------------------------------------------------------------------------------

KERNEL_INLINE void latent_load_queries(
    const kernel_env *env, const latent_job *job, const latent_scratch *scratch, int64_t first,
    int64_t n_rows) {
    const int64_t n_rotated = job->width - job->rank;
    for (int64_t row = 0; row < n_rows; row++) {
        const int64_t token = (first + row) / job->n_heads, head = (first + row) % job->n_heads;
        float *query = scratch->queries + row * job->padded;
        simd_store(query + job->padded - 16, simd_splat(0.0f));
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->rank; d++) query[d] =
            kernel_load_0(env, token, head * job->rank + d) * job->scale;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < n_rotated; d++) query[job->rank + d] =
            kernel_load_1(env, token, head * n_rotated + d) * job->scale;
        float *sums = scratch->sums + row * job->padded_rank;
        for (int64_t d = 0; d < job->padded_rank; d += 16) simd_store(sums + d, simd_splat(0.0f));
        simd_store(scratch->totals[row], simd_splat(0.0f));
        scratch->maxima[row] = -3.0e38f; // below every score that counts, and finite
    }
}

KERNEL_INLINE void latent_store(
    const kernel_env *env, const latent_job *job, const latent_scratch *scratch, int64_t first,
    int64_t n_rows) {
    for (int64_t row = 0; row < n_rows; row++) {
        const int64_t token = (first + row) / job->n_heads, head = (first + row) % job->n_heads;
        const float total = simd_sum(simd_load(scratch->totals[row]));
        const float *sums = scratch->sums + row * job->padded_rank;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->rank; d++)
            kernel_store_0(env, token, head * job->rank + d, sums[d] / total);
    }
}

// One step of the items [first, first + n_rows), token by token.
KERNEL_INLINE void latent_step(
    const latent_job *job, const latent_scratch *scratch, int64_t first, int64_t n_rows,
    int64_t base) {
    for (int64_t row = 0; row < n_rows;) {
        const int64_t token = (first + row) / job->n_heads;
        const int64_t token_end = (token + 1) * job->n_heads - first;
        const int64_t end = token_end < n_rows ? token_end : n_rows;
        const int64_t ahead = job->positions[token] - base + 1;
        const int64_t n_seen = ahead < LATENT_STEP ? ahead : LATENT_STEP;
        if (n_seen < 1) {
            row = end;
            continue;
        }
        for (; row + LATENT_TILE_ROWS <= end; row += LATENT_TILE_ROWS)
            latent_tile(LATENT_TILE_ROWS, job, scratch, row, n_seen);
        for (; row < end; row++) latent_tile(1, job, scratch, row, n_seen);
    }
}

int64_t kernel_latent_attention_items(const kernel_env *env) {
    return kernel_dim_0_0(env) * (kernel_dim_0_1(env) / kernel_attr_rank(env));
}

// Whole blocks where there are enough, else tiles of eight for everybody.
int64_t kernel_latent_attention_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t share = kernel_latent_attention_items(env) / n_threads;
    const int64_t chunk = (share + 7) / 8 * 8;
    return chunk < 8 ? 8 : chunk > KERNEL_LATENT_ROWS ? KERNEL_LATENT_ROWS : chunk;
}

void kernel_latent_attention(const kernel_env *env, int64_t begin, int64_t end) {
    const latent_job job = latent_job_of(env);
    const latent_scratch scratch = latent_scratch_of(env, &job);
    for (int64_t first = begin, n_rows; first < end; first += n_rows) {
        const int64_t sequence = job.seq_ids[first / job.n_heads];
        int64_t last = 0;
        for (n_rows = 0; first + n_rows < end && n_rows < KERNEL_LATENT_ROWS; n_rows++) {
            const int64_t token = (first + n_rows) / job.n_heads;
            if (job.seq_ids[token] != sequence) break;
            if (job.positions[token] > last) last = job.positions[token];
        }
        latent_load_queries(env, &job, &scratch, first, n_rows);
        for (int64_t base = 0; base <= last; base += LATENT_STEP) {
            latent_load_step(&job, &scratch, sequence, base, last);
            latent_step(&job, &scratch, first, n_rows, base);
        }
        latent_store(env, &job, &scratch, first, n_rows);
    }
}
