// paged_attention_body: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] (F32, F16 or BF16). One body for
// every machine; the file that includes it names its tile:
//
//   ATTENTION_TILE_QUERIES    queries (8, 4, 2 or 1) that share each load of keys and values
//   ATTENTION_TILE_PAGES      pages (2 or 1) whose scores are summed side by side
//   ATTENTION_SUM_VECTORS     vectors of 16 sums in registers: queries times vectors of head columns
//   ATTENTION_DIRECT_QUERIES  queries of a slice up to which keys and values are widened again for every tile that uses them
//
// An item is a block of consecutive tokens and one kv head. Neighbouring tokens of one sequence, and all query heads of the kv
// head, form one list of queries, cut into slices that fit the scratch; a slice reads every key and value once. The keys of a
// step (32, two pages) are transposed, so that a score needs no sum across lanes, then
//
//   s = q k^T, masked;  m' = max(m, s);  p = exp(s - m');  sums = sums exp(m - m') + p v;  total likewise
//
// (online softmax). A query whose head has a sink begins with m = sink, total = 1. After any stretch of steps maxima, totals and
// sums of a slice are a partial result; attention_close makes the result of it. Few queries, which is what decode has, multiply
// values as they are read; many share a copy as float32 in scratch. Steps begin at multiples of 32 whatever the block, the batch
// and the window are, and a masked key adds an exact zero, so the result of a query does not depend on the queries beside it.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H

#include "codegen/cpu/kernels/paged_attention_step.h"

enum { ATTENTION_LEAST_BLOCK = 16 };

// A stretch of the list of queries, and what they have in common.
typedef struct attention_slice {
    int64_t seq, head;
    int64_t run;                    // its first token
    int64_t first_query, n_queries; // query i belongs to token run + (first_query + i) / n_groups
    int64_t lowest, highest;        // positions that any of them sees
    int64_t all_from, all_to;       // positions that all of them see
} attention_slice;

// Row and first column of query i in q and in the result.
KERNEL_INLINE int64_t
attention_token(const attention_job *job, const attention_slice *slice, int64_t i) {
    return slice->run + (slice->first_query + i) / job->n_groups;
}

KERNEL_INLINE int64_t
attention_column(const attention_job *job, const attention_slice *slice, int64_t i) {
    const int64_t group = (slice->first_query + i) % job->n_groups;
    return (slice->head * job->n_groups + group) * job->head_dim;
}

// Maximum and total of query i before any key: those of the sink. A sink of -inf, or none, is no score.
KERNEL_INLINE void attention_begin(
    const attention_job *job, attention_scratch *scratch, int64_t i, int64_t head) {
    if (job->slopes != NULL) {
        const float slope = kernel_load_as_f32(job->slopes, job->slopes_dtype, head);
        scratch->slopes[i] = slope * (float)ATTENTION_LOG2_E;
    }
    if (job->sinks == NULL) return;
    const float sink =
        kernel_load_as_f32(job->sinks, job->sinks_dtype, head) * (float)ATTENTION_LOG2_E;
    if (sink <= ATTENTION_NO_SCORE) return;
    scratch->maxima[i] = sink;
    scratch->totals[i][0] = 1.0f;
}

// Queries to scratch, scaled; and what they see. Rows that only fill the last tile see nothing.
KERNEL_INLINE void attention_open(
    const kernel_env *env, const attention_job *job, attention_scratch *scratch,
    attention_slice *slice) {
    slice->lowest = slice->all_to = INT64_MAX;
    slice->highest = slice->all_from = 0;
    const int64_t n_rows = (slice->n_queries + ATTENTION_TILE_QUERIES - 1) /
                           ATTENTION_TILE_QUERIES * ATTENTION_TILE_QUERIES;
    for (int64_t i = 0; i < n_rows; i++) {
        float *query = scratch->queries + i * job->padded, *sums = scratch->sums + i * job->padded;
        for (int64_t d = 0; d < job->padded; d++) query[d] = sums[d] = 0.0f;
        simd_store(scratch->totals[i], simd_splat(0.0f));
        scratch->maxima[i] = ATTENTION_NO_SCORE;
        scratch->first[i] = 1;
        scratch->last[i] = 0;
        if (i >= slice->n_queries) continue;
        const int64_t token = attention_token(job, slice, i);
        const int64_t column = attention_column(job, slice, i);
        attention_begin(job, scratch, i, column / job->head_dim);
        // Half by half: a fused rotation treats a half's columns alike, which makes each loop plain vector code.
        KERNEL_UNROLL for (int64_t half = 0; half < 2; half++) {
            const int64_t begin = half * (job->head_dim / 2),
                          end = half == 0 ? job->head_dim / 2 : job->head_dim;
            KERNEL_VECTOR_LOOP for (int64_t d = begin; d < end; d++) scratch->query[d] =
                kernel_load_0(env, token, column + d) * job->scale;
        }
        for (int64_t d = 0; d < job->head_dim; d++)
            query[attention_key_slot(job, d)] = scratch->query[d];
        const int64_t last = job->positions[token];
        const int64_t first = job->window > 0 && last >= job->window ? last - job->window + 1 : 0;
        scratch->first[i] = (int32_t)first;
        scratch->last[i] = (int32_t)last;
        slice->lowest = first < slice->lowest ? first : slice->lowest;
        slice->highest = last > slice->highest ? last : slice->highest;
        slice->all_from = first > slice->all_from ? first : slice->all_from;
        slice->all_to = last < slice->all_to ? last : slice->all_to;
    }
}

// Whether any query of a tile sees a key of the step. The others' scores are all masked: p is zero and no maximum moves.
KERNEL_INLINE bool attention_tile_sees(
    const attention_scratch *scratch, const attention_span *span, int64_t row, int64_t n_rows) {
    bool sees = false;
    for (int64_t i = row; i < row + n_rows; i++) {
        sees |=
            (scratch->first[i] < span->base + ATTENTION_STEP) & (scratch->last[i] >= span->base);
    }
    return sees;
}

// Scores, and sums, of all queries in tiles. A tile that would be empty by a quarter at most is taken whole, the rest one step
// smaller: rows that only fill a tile cost less than code for every number.
enum { ATTENTION_TILE_FULL = (ATTENTION_TILE_QUERIES * 3 + 3) / 4 };

typedef enum attention_pass { ATTENTION_SCORES, ATTENTION_SUMS } attention_pass;

KERNEL_INLINE void attention_tile(
    const attention_pass pass, const int Q, const attention_job *job, attention_scratch *scratch,
    const attention_span *span, const bool direct, int64_t row) {
    if (!direct && !attention_tile_sees(scratch, span, row, Q)) return;
    if (pass == ATTENTION_SUMS) {
        attention_sums(Q, job, scratch, span, direct, row);
        return;
    }
    for (int64_t slot = 0; slot < ATTENTION_STEP; slot += ATTENTION_TILE_PAGES * ATTENTION_PAGE)
        attention_scores(Q, ATTENTION_TILE_PAGES, job, scratch, span, direct, row, slot);
}

KERNEL_INLINE void attention_all_tiles(
    const attention_pass pass, const attention_job *job, attention_scratch *scratch,
    const attention_span *span, const bool direct, int64_t n_rows) {
    int64_t row = 0;
    for (; n_rows - row >= ATTENTION_TILE_FULL; row += ATTENTION_TILE_QUERIES)
        attention_tile(pass, ATTENTION_TILE_QUERIES, job, scratch, span, direct, row);
#if ATTENTION_TILE_QUERIES > 4
    for (; n_rows - row > 1; row += 4) attention_tile(pass, 4, job, scratch, span, direct, row);
#endif
#if ATTENTION_TILE_QUERIES > 1
    for (; row < n_rows; row++) attention_tile(pass, 1, job, scratch, span, direct, row);
#endif
}

// A weight of zero hides no NaN and no infinity. Where a key that some queries do not see has such a value, each query sums
// the rows that it sees.
KERNEL_INLINE void attention_sums_apart(
    const attention_job *job, attention_scratch *scratch, const attention_span *span,
    int64_t n_rows) {
    for (int64_t row = 0; row < n_rows; row++) {
        attention_span own = *span;
        for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
            const int64_t at = span->base + page * ATTENTION_PAGE, first = scratch->first[row] - at,
                          end = scratch->last[row] + 1 - at;
            own.first[page] = first > span->first[page] ? first : span->first[page];
            own.end[page] = end < span->end[page] ? end : span->end[page];
        }
        attention_sums(1, job, scratch, &own, false, row);
    }
}

// One step for a slice. `direct`: few queries of one token use what is read from the cache, so it is not kept as float32.
KERNEL_INLINE void attention_step(
    const attention_job *job, attention_scratch *scratch, const attention_slice *slice,
    const bool direct, int64_t base) {
    const attention_span span =
        attention_span_of(job, slice->seq, slice->head, base, slice->lowest, slice->highest);
    for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
        if (span.first[page] < span.end[page])
            attention_load_keys(job, scratch, span.keys[page], page, !direct);
    }
    if (!direct) attention_load_values(job, scratch, &span);
    attention_all_tiles(ATTENTION_SCORES, job, scratch, &span, direct, slice->n_queries);
    if (job->softcap > 0.0f) attention_cap(job, scratch, slice->n_queries);
    if (job->slopes != NULL) attention_slant(scratch, slice->n_queries, base);
    const bool masks = base < slice->all_from || base + ATTENTION_STEP - 1 > slice->all_to;
    if (masks) attention_mask(scratch, slice->n_queries, base);
    attention_soften(scratch, slice->n_queries);
    if (!direct && masks && !attention_values_finite(job, scratch, &span))
        attention_sums_apart(job, scratch, &span, slice->n_queries);
    else
        attention_all_tiles(ATTENTION_SUMS, job, scratch, &span, direct, slice->n_queries);
}

// Sums over totals: the result of every query.
KERNEL_INLINE void attention_close(
    const kernel_env *env, const attention_job *job, const attention_scratch *scratch,
    const attention_slice *slice) {
    for (int64_t i = 0; i < slice->n_queries; i++) {
        const int64_t token = attention_token(job, slice, i);
        const int64_t column = attention_column(job, slice, i);
        const float *sums = scratch->sums + i * job->padded;
        const float factor = 1.0f / simd_sum(simd_load(scratch->totals[i]));
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++)
            kernel_store_0(env, token, column + d, sums[d] * factor);
    }
}

KERNEL_INLINE void attention_run_slice(
    const kernel_env *env, const attention_job *job, attention_scratch *scratch,
    attention_slice *slice) {
    attention_open(env, job, scratch, slice);
    int64_t base = slice->lowest / ATTENTION_STEP * ATTENTION_STEP;
    const bool alike = slice->lowest == slice->all_from && slice->highest == slice->all_to;
    if (slice->n_queries <= ATTENTION_DIRECT_QUERIES && alike) {
        for (; base <= slice->highest; base += ATTENTION_STEP)
            attention_step(job, scratch, slice, true, base);
    } else {
        for (; base <= slice->highest; base += ATTENTION_STEP)
            attention_step(job, scratch, slice, false, base);
    }
    attention_close(env, job, scratch, slice);
}

// ---- work items ---------------------------------------------------------------------------------------

// Items are blocks of tokens × kv heads × parts of a head's queries.
typedef struct attention_work {
    int64_t block, n_blocks; // tokens of a block
    int64_t part, n_parts;   // queries of a part; of a block of one token
} attention_work;

// Few tokens: one a block and one query a part, for the most items. Many: blocks whose queries fill a slice, so that
// neighbours share their keys.
KERNEL_INLINE attention_work attention_work_of(const attention_job *job) {
    attention_work work = {.block = 1, .part = 1};
    if (job->n_tokens >= 2 * ATTENTION_LEAST_BLOCK) work.block = ATTENTION_LEAST_BLOCK;
    while (work.block > 1 && work.block * 2 * job->n_groups <= KERNEL_ATTENTION_MAX_QUERIES &&
           work.block * 4 <= job->n_tokens)
        work.block *= 2;
    if (work.block > 1) work.part = work.block * job->n_groups;
    work.n_blocks = (job->n_tokens + work.block - 1) / work.block;
    work.n_parts = (work.block * job->n_groups + work.part - 1) / work.part;
    return work;
}

int64_t kernel_paged_attention_items(const kernel_env *env) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(&job);
    return work.n_blocks * job.n_kv_heads * work.n_parts;
}

// What reading and transposing a head's keys costs, in queries that use them.
enum { ATTENTION_HEAD_COST = 3 };

// All parts of a head go together, as they read the same keys and values, unless shares of a head (equal ones: no chunk holds
// ends of two heads) are done sooner because more threads have work.
int64_t kernel_paged_attention_chunk(const kernel_env *env, int64_t n_threads) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(&job);
    const int64_t n_items = kernel_paged_attention_items(env);
    int64_t best = work.n_parts, least = INT64_MAX;
    for (int64_t chunk = work.n_parts; chunk >= 1; chunk--) {
        if (work.n_parts % chunk != 0) continue;
        const int64_t rounds = (n_items / chunk + n_threads - 1) / n_threads;
        const int64_t cost = rounds * (chunk + ATTENTION_HEAD_COST);
        if (cost < least) best = chunk;
        least = cost < least ? cost : least;
    }
    return best;
}

// Queries [first, end) of a kv head and the tokens [run, run_end) of one sequence, slice by slice.
KERNEL_INLINE void attention_run(
    const kernel_env *env, const attention_job *job, int64_t head, int64_t run, int64_t first,
    int64_t end) {
    attention_scratch *scratch = (attention_scratch *)kernel_scratch(env);
    // Whole tiles, so that there is room for the rows that fill the last one.
    int64_t most = KERNEL_ATTENTION_QUERY_FLOATS / job->padded / ATTENTION_TILE_QUERIES *
                   ATTENTION_TILE_QUERIES;
    most = most > KERNEL_ATTENTION_MAX_QUERIES ? KERNEL_ATTENTION_MAX_QUERIES : most;
    for (int64_t query = first; query < end; query += most) {
        attention_slice slice = {
            .seq = job->seq_ids[run],
            .head = head,
            .run = run,
            .first_query = query,
            .n_queries = end - query < most ? end - query : most};
        attention_run_slice(env, job, scratch, &slice);
    }
}

void kernel_paged_attention(const kernel_env *env, int64_t begin, int64_t end) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(&job);
    for (int64_t item = begin; item < end;) {
        const int64_t part = item % work.n_parts, pair = item / work.n_parts;
        const int64_t n_parts = end - item < work.n_parts - part ? end - item : work.n_parts - part;
        // Late tokens see the most keys: they go first, so that the last items handed out are short.
        const int64_t head = pair % job.n_kv_heads,
                      first = (work.n_blocks - 1 - pair / job.n_kv_heads) * work.block;
        const int64_t last = job.n_tokens - first < work.block ? job.n_tokens : first + work.block;
        for (int64_t run = first; run < last;) {
            int64_t run_end = run + 1;
            while (run_end < last && job.seq_ids[run_end] == job.seq_ids[run]) run_end++;
            const int64_t n_queries = (run_end - run) * job.n_groups;
            const int64_t query_end = (part + n_parts) * work.part;
            attention_run(
                env, &job, head, run, part * work.part,
                query_end < n_queries ? query_end : n_queries);
            run = run_end;
        }
        item += n_parts;
    }
}

#endif
