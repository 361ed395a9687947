// paged_attention_whole: one whole of the stretches of a query. See paged_attention_body.h.
//
// A row is what a query has of a stretch, or of all stretches so far: maximum m, totals l lane by lane, sums o. A stretch goes into
// the whole (M, L, O), which begins with no score, as
//
//   M' = max(M, m);  a = 2^(M - M');  b = 2^(m - M');  L' = L a + l b;  O' = O a + o b
//
// One of a and b is 1. The first stretch leaves what it had, a stretch of which the query sees nothing changes nothing, and
// stretches go in from first to last whoever computed them.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_WHOLE_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_WHOLE_H

#include "codegen/cpu/kernels/paged_attention_step.h"

typedef struct attention_row {
    float *sums;    // [padded]
    float *totals;  // [16]
    float *maximum; // [1]
} attention_row;

KERNEL_INLINE attention_row
attention_row_of(const attention_job *job, attention_scratch *scratch, int64_t i) {
    return (attention_row){scratch->sums + i * job->padded, scratch->totals[i],
                           scratch->maxima + i};
}

KERNEL_INLINE attention_row
attention_whole_of(const attention_job *job, attention_scratch *scratch, int64_t i) {
    return (attention_row){scratch->whole_sums + i * job->padded, scratch->whole_totals[i],
                           scratch->whole_maxima + i};
}

// No score.
KERNEL_INLINE void attention_clear(const attention_job *job, attention_row row) {
    for (int64_t d = 0; d < job->padded; d++) row.sums[d] = 0.0f;
    simd_store(row.totals, simd_splat(0.0f));
    *row.maximum = ATTENTION_NO_SCORE;
}

KERNEL_INLINE void attention_add(
    const attention_job *job, attention_row whole, attention_row stretch, attention_row result) {
    const f32x16 before = simd_splat(*whole.maximum), own = simd_splat(*stretch.maximum);
    const f32x16 maximum = simd_max(before, own);
    const f32x16 a = simd_exp2_negative(before - maximum), b = simd_exp2_negative(own - maximum);
    simd_store(result.totals, simd_fma(simd_load(whole.totals), a, simd_load(stretch.totals) * b));
    for (int64_t d = 0; d < job->padded; d += 16)
        simd_store(
            result.sums + d,
            simd_fma(simd_load(whole.sums + d), a, simd_load(stretch.sums + d) * b));
    *result.maximum = maximum[0];
}

// The stretch that a slice has in scratch into the wholes of its queries; the last one leaves the whole in place of the stretch.
KERNEL_INLINE void attention_add_stretch(
    const attention_job *job, attention_scratch *scratch, int64_t n_queries, bool is_first,
    bool is_last) {
    for (int64_t i = 0; i < n_queries; i++) {
        const attention_row stretch = attention_row_of(job, scratch, i),
                            whole = attention_whole_of(job, scratch, i);
        if (is_first) attention_clear(job, whole);
        attention_add(job, whole, stretch, is_last ? stretch : whole);
    }
}

// Sums over totals. A sum of -0 is that of a whole too, into which another stretch went: 0.
KERNEL_INLINE void attention_store(
    const kernel_env *env, const attention_job *job, attention_row row, int64_t token,
    int64_t column) {
    const float factor = 1.0f / simd_sum(simd_load(row.totals));
    KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++)
        kernel_store_0(env, token, column + d, (row.sums[d] + 0.0f) * factor);
}

// ---- shared memory ------------------------------------------------------------------------------------

// Stretches of a slice, and where those that are not all go: rows of one token and kv head, [stretches][queries].
typedef struct attention_range {
    int64_t begin, end;
    char *rows;
} attention_range;

// sums [padded], totals [16], the maximum in [16]; cpu_kernels.c counts likewise.
KERNEL_INLINE int64_t attention_shared_row_bytes(const attention_job *job) {
    return (job->padded + 32) * (int64_t)sizeof(float);
}

KERNEL_INLINE attention_row
attention_shared_row(const attention_job *job, char *rows, int64_t stretch, int64_t query) {
    float *sums =
        (float *)(rows + (stretch * job->n_groups + query) * attention_shared_row_bytes(job));
    return (attention_row){sums, sums + job->padded, sums + job->padded + 16};
}

KERNEL_INLINE int64_t attention_first_position(const attention_job *job, int64_t last) {
    return job->window > 0 && last >= job->window ? last - job->window + 1 : 0;
}

KERNEL_INLINE int64_t attention_n_stretches(const attention_job *job, int64_t token) {
    const int64_t last = job->positions[token];
    return last / ATTENTION_STRETCH - attention_first_position(job, last) / ATTENTION_STRETCH + 1;
}

// Queries first … first + n_queries - 1 of a kv head, whose stretch is in scratch.
KERNEL_INLINE void attention_share(
    const attention_job *job, attention_scratch *scratch, const attention_range *stretches,
    int64_t first, int64_t n_queries, int64_t stretch) {
    for (int64_t i = 0; i < n_queries; i++) {
        const attention_row own = attention_row_of(job, scratch, i),
                            row = attention_shared_row(job, stretches->rows, stretch, first + i);
        for (int64_t d = 0; d < job->padded; d += 16)
            simd_store(row.sums + d, simd_load(own.sums + d));
        simd_store(row.totals, simd_load(own.totals));
        simd_store(row.maximum, simd_splat(*own.maximum));
    }
}

// The whole of all stretches of a query, to the first row of scratch.
KERNEL_INLINE void attention_gather(
    const attention_job *job, attention_scratch *scratch, char *rows, int64_t query,
    int64_t n_stretches) {
    const attention_row whole = attention_row_of(job, scratch, 0);
    attention_clear(job, whole);
    for (int64_t i = 0; i < n_stretches; i++)
        attention_add(job, whole, attention_shared_row(job, rows, i, query), whole);
}

#endif
