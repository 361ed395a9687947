// segment_attention_body: softmax(scale q k^T) v over the rows of a token's own sequence, before it and behind it. One body for every machine; the file
// that includes it names its tile:
//
//   SEGMENT_TILE_QUERIES   queries that share each load of keys and values
//   SEGMENT_TILE_VECTORS   vectors of 16 keys (scores) or of 16 columns (sums) that are summed side by side
//
// An item is a block of 64 rows and one head. Neighbouring rows that see the same rows are a run; a run goes through what it sees in steps of 64 keys:
// they come through the hooks of operands 1 and 2 to scratch once for the run, keys transposed, so that a score needs no sum across lanes, then
//
//   s = q k^T;  m' = max(m, s);  p = exp(s - m');  sums = sums exp(m - m') + p v;  total likewise
//
// (online softmax, Milakov and Gimelshein 2018, arXiv 1805.02867). Steps begin at the first row of a sequence wherever it lies, and rows that fill a
// tile or a step are zeros with a weight of zero, so a row's result depends on its own sequence only.
#ifndef MLCC_CODEGEN_CPU_KERNELS_SEGMENT_ATTENTION_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_SEGMENT_ATTENTION_BODY_H

#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_POINTER(3);
KERNEL_LOAD(0);
KERNEL_LOAD(1);
KERNEL_LOAD(2);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_I64(head_dim);
KERNEL_ATTR_F64(scale);

enum { SEGMENT_BLOCK = KERNEL_SEGMENT_ROWS, SEGMENT_STEP = KERNEL_SEGMENT_ROWS };

// Below no finite score; finite, so that a difference of two of them is 0 and not NaN.
#define SEGMENT_NO_SCORE (-0x1.fffffep127f)

typedef struct segment_job {
    const int32_t *segments; // [n_tokens, 2]
    int64_t n_tokens, n_heads, head_dim;
    int64_t padded; // head_dim rounded up to 16
    float
        scale; // of queries: scores are multiples of ln 2, as powers of 2 are cheaper than those of e
} segment_job;

// Rows of queries, sums and values have `padded` columns.
typedef struct segment_scratch {
    float queries[SEGMENT_BLOCK * KERNEL_SEGMENT_MAX_HEAD_DIM];
    float sums[SEGMENT_BLOCK * KERNEL_SEGMENT_MAX_HEAD_DIM];
    float keys[SEGMENT_STEP * KERNEL_SEGMENT_MAX_HEAD_DIM]; // [step / 16][padded][16]
    float values[SEGMENT_STEP * KERNEL_SEGMENT_MAX_HEAD_DIM];
    float rows[16 * KERNEL_SEGMENT_MAX_HEAD_DIM];        // keys as they come
    float weights[SEGMENT_BLOCK][SEGMENT_STEP];          // scores, then p of this step
    float totals[SEGMENT_BLOCK][16];                     // running sum of p, lane by lane
    float maxima[SEGMENT_BLOCK], factors[SEGMENT_BLOCK]; // exp(old maximum - new) of this step
} segment_scratch;

_Static_assert(
    sizeof(segment_scratch) <= KERNEL_SEGMENT_SCRATCH_BYTES, "scratch.h promises enough");

KERNEL_INLINE segment_job segment_job_of(const kernel_env *env) {
    segment_job job;
    job.segments = (const int32_t *)kernel_pointer_3(env);
    job.n_tokens = kernel_dim_0_0(env);
    job.head_dim = kernel_attr_head_dim(env);
    job.n_heads = kernel_dim_0_1(env) / job.head_dim;
    job.padded = (job.head_dim + 15) / 16 * 16;
    job.scale = (float)(kernel_attr_scale(env) * 1.44269504088896340736);
    return job;
}

// ---- what comes in ------------------------------------------------------------------------------------

// Scaled queries; rows that only fill the last tile are zero.
KERNEL_INLINE void segment_load_queries(
    const kernel_env *env, const segment_job *job, segment_scratch *scratch, int64_t first,
    int64_t n, int64_t n_rows, int64_t column) {
    for (int64_t i = 0; i < n_rows; i++) {
        float *query = scratch->queries + i * job->padded, *sums = scratch->sums + i * job->padded;
        for (int64_t d = 0; d < job->padded; d++) query[d] = sums[d] = 0.0f;
        simd_store(scratch->totals[i], simd_splat(0.0f));
        scratch->maxima[i] = SEGMENT_NO_SCORE;
        if (i >= n) continue;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++) query[d] =
            kernel_load_0(env, first + i, column + d) * job->scale;
    }
}

// Keys and values of rows first … first + n - 1, zeros up to a whole vector of 16 keys.
KERNEL_INLINE void segment_load_keys(
    const kernel_env *env, const segment_job *job, segment_scratch *scratch, int64_t first,
    int64_t n, int64_t column) {
    for (int64_t at = 0; at < n; at += 16) {
        for (int64_t i = 0; i < 16; i++) {
            float *row = scratch->rows + i * job->padded;
            if (job->padded != job->head_dim || at + i >= n)
                for (int64_t d = 0; d < job->padded; d++) row[d] = 0.0f;
            if (at + i >= n) continue;
            KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++) row[d] =
                kernel_load_1(env, first + at + i, column + d);
        }
        for (int64_t d = 0; d < job->padded; d += 16) {
            f32x16 keys[16];
            KERNEL_UNROLL for (int i = 0; i < 16; i++) keys[i] =
                simd_load(scratch->rows + i * job->padded + d);
            simd_transpose(keys);
            KERNEL_UNROLL for (int i = 0; i < 16; i++)
                simd_store(scratch->keys + (at / 16 * job->padded + d + i) * 16, keys[i]);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        float *row = scratch->values + i * job->padded;
        for (int64_t d = job->head_dim; d < job->padded; d++) row[d] = 0.0f;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++) row[d] =
            kernel_load_2(env, first + i, column + d);
    }
}

// ---- one step -----------------------------------------------------------------------------------------

// Scores of Q queries and V vectors of keys from key `slot` of the step on.
KERNEL_INLINE void segment_scores(
    const int Q, const int V, const segment_job *job, segment_scratch *scratch, int64_t query,
    int64_t slot) {
    f32x16 score[SEGMENT_TILE_QUERIES][SEGMENT_TILE_VECTORS];
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++) score[q][v] = simd_splat(0.0f);
    }
    const float *keys = scratch->keys + slot * job->padded;
    const float *queries = scratch->queries + query * job->padded;
    _Pragma("clang loop unroll_count(4) vectorize(disable)") for (int64_t d = 0; d < job->padded;
                                                                  d++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++) {
            const f32x16 key = simd_load(keys + (v * job->padded + d) * 16);
            KERNEL_UNROLL for (int q = 0; q < Q; q++) score[q][v] =
                simd_fma(key, simd_splat(queries[q * job->padded + d]), score[q][v]);
        }
    }
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++)
            simd_store(scratch->weights[query + q] + slot + v * 16, score[q][v]);
    }
}

// p in place of the scores of n keys, of which the last vector may have fewer than 16; new maxima, factors and totals.
KERNEL_INLINE void segment_soften(segment_scratch *scratch, int64_t n_rows, int64_t n) {
    const i32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int64_t last = (n - 1) / 16 * 16;
    for (int64_t row = 0; row < n_rows; row++) {
        float *weights = scratch->weights[row];
        simd_store(
            weights + last, simd_select(
                                lanes < (int32_t)(n - last), simd_load(weights + last),
                                simd_splat(-__builtin_inff())));
        f32x16 highest = simd_splat(scratch->maxima[row]);
        for (int64_t i = 0; i <= last; i += 16) highest = simd_max(simd_load(weights + i), highest);
        const float maximum = simd_max_of(highest);
        const f32x16 factor = simd_exp2_negative(simd_splat(scratch->maxima[row] - maximum));
        f32x16 total = simd_load(scratch->totals[row]) * factor;
        for (int64_t i = 0; i <= last; i += 16) {
            const f32x16 p = simd_exp2_negative(simd_load(weights + i) - maximum);
            simd_store(weights + i, p);
            total += p;
        }
        simd_store(scratch->totals[row], total);
        scratch->maxima[row] = maximum;
        scratch->factors[row] = factor[0];
    }
}

// sums = sums * factor + p * values of Q queries and V vectors of columns from column d on.
KERNEL_INLINE void segment_sums(
    const int Q, const int V, const segment_job *job, segment_scratch *scratch, int64_t query,
    int64_t n, int64_t d) {
    f32x16 sum[SEGMENT_TILE_QUERIES][SEGMENT_TILE_VECTORS];
    float *sums = scratch->sums + query * job->padded + d;
    const float *values = scratch->values + d, *weights = scratch->weights[query];
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++) sum[q][v] =
            simd_load(sums + q * job->padded + v * 16) * scratch->factors[query + q];
    }
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t i = 0; i < n; i++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++) {
            const f32x16 value = simd_load(values + i * job->padded + v * 16);
            KERNEL_UNROLL for (int q = 0; q < Q; q++) sum[q][v] =
                simd_fma(value, simd_splat(weights[q * SEGMENT_STEP + i]), sum[q][v]);
        }
    }
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int v = 0; v < V; v++)
            simd_store(sums + q * job->padded + v * 16, sum[q][v]);
    }
}

KERNEL_INLINE void segment_step(
    const segment_job *job, segment_scratch *scratch, int64_t n_rows, int64_t n) {
    const int64_t n_slots = (n + 15) / 16 * 16;
    for (int64_t row = 0; row < n_rows; row += SEGMENT_TILE_QUERIES) {
        int64_t slot = 0;
        for (; slot + SEGMENT_TILE_VECTORS * 16 <= n_slots; slot += SEGMENT_TILE_VECTORS * 16)
            segment_scores(SEGMENT_TILE_QUERIES, SEGMENT_TILE_VECTORS, job, scratch, row, slot);
        for (; slot < n_slots; slot += 16)
            segment_scores(SEGMENT_TILE_QUERIES, 1, job, scratch, row, slot);
    }
    segment_soften(scratch, n_rows, n);
    for (int64_t row = 0; row < n_rows; row += SEGMENT_TILE_QUERIES) {
        int64_t d = 0;
        for (; d + SEGMENT_TILE_VECTORS * 16 <= job->padded; d += SEGMENT_TILE_VECTORS * 16)
            segment_sums(SEGMENT_TILE_QUERIES, SEGMENT_TILE_VECTORS, job, scratch, row, n, d);
        for (; d < job->padded; d += 16)
            segment_sums(SEGMENT_TILE_QUERIES, 1, job, scratch, row, n, d);
    }
}

// Rows first … first + n - 1, which all see rows begin … end - 1, and one head.
KERNEL_INLINE void segment_run(
    const kernel_env *env, const segment_job *job, int64_t first, int64_t n, int64_t begin,
    int64_t end, int64_t column) {
    segment_scratch *scratch = (segment_scratch *)kernel_scratch(env);
    const int64_t n_rows =
        (n + SEGMENT_TILE_QUERIES - 1) / SEGMENT_TILE_QUERIES * SEGMENT_TILE_QUERIES;
    segment_load_queries(env, job, scratch, first, n, n_rows, column);
    for (int64_t at = begin; at < end; at += SEGMENT_STEP) {
        const int64_t n_keys = end - at < SEGMENT_STEP ? end - at : SEGMENT_STEP;
        segment_load_keys(env, job, scratch, at, n_keys, column);
        segment_step(job, scratch, n_rows, n_keys);
    }
    for (int64_t i = 0; i < n; i++) {
        const float *sums = scratch->sums + i * job->padded;
        const float factor = 1.0f / simd_sum(simd_load(scratch->totals[i]));
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++)
            kernel_store_0(env, first + i, column + d, sums[d] * factor);
    }
}

// ---- work items ---------------------------------------------------------------------------------------

int64_t kernel_segment_attention_items(const kernel_env *env) {
    const segment_job job = segment_job_of(env);
    return (job.n_tokens + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK * job.n_heads;
}

// Sequences differ in length: the last items handed out should be a small part of the work.
int64_t kernel_segment_attention_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_segment_attention_items(env) / (8 * n_threads);
    return chunk < 1 ? 1 : chunk;
}

void kernel_segment_attention(const kernel_env *env, int64_t begin, int64_t end) {
    const segment_job job = segment_job_of(env);
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item / job.n_heads * SEGMENT_BLOCK,
                      column = item % job.n_heads * job.head_dim;
        const int64_t last =
            job.n_tokens - first < SEGMENT_BLOCK ? job.n_tokens : first + SEGMENT_BLOCK;
        for (int64_t run = first; run < last;) {
            const int32_t *seen = job.segments + 2 * run;
            int64_t run_end = run + 1;
            while (run_end < last && job.segments[2 * run_end] == seen[0] &&
                   job.segments[2 * run_end + 1] == seen[1])
                run_end++;
            segment_run(env, &job, run, run_end - run, seen[0], seen[1], column);
            run = run_end;
        }
    }
}

#endif
