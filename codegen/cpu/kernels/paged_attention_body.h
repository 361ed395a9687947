// paged_attention_body: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] (F32, F16 or BF16). One body for
// every machine; the file that includes it names its tile:
//
//   ATTENTION_TILE_QUERIES    queries (8, 4, 2 or 1) that share each load of keys and values
//   ATTENTION_TILE_PAGES      pages (2 or 1) whose scores are summed side by side
//   ATTENTION_SUM_VECTORS     vectors of 16 sums in registers: queries times vectors of head columns
//   ATTENTION_DIRECT_QUERIES  queries of a slice up to which keys and values are widened again for every tile that uses them
//
// Neighbouring tokens of one sequence, and all query heads of a kv head, form one list of queries, cut into slices that fit the
// scratch; a slice reads every key and value once. The keys of a step (32, two pages) are transposed, so that a score needs no sum
// across lanes, then
//
//   s = q k^T, masked;  m' = max(m, s);  p = exp(s - m');  sums = sums exp(m - m') + p v;  total likewise
//
// (online softmax). Every stretch of 512 positions, counted from position 0, has a softmax of its own, which begins with m = no
// score, total = 0, sums = 0, or with m = sink, total = 1 in the first stretch that a query whose head has a sink sees. One stretch
// after the other then goes into the whole (paged_attention_whole.h). So stretches of one head may be computed by several threads
// (flash-decoding: Dao et al. 2023), and the bits of a result say nothing about who computed what. Few queries, which is what
// decode has, multiply values as they are read; many share a copy as float32 in scratch. Steps begin at multiples of 32 whatever
// the block, the batch and the window are, and a masked key adds an exact zero, so the result of a query does not depend on the
// queries beside it.
//
// An item is a block of consecutive tokens, a kv head, a stretch of positions (or all, where heads are not divided) and a part of
// the queries. A thread that has all stretches of a query stores its result; of others the stretches go to shared memory, and the
// second part of the launch puts them together.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H

#include "codegen/cpu/kernels/paged_attention_whole.h"

enum { ATTENTION_LEAST_BLOCK = 16 };

// A stretch of the list of queries, and what they have in common.
typedef struct attention_slice {
    int64_t seq, head;
    int64_t run;                    // its first token
    int64_t first_query, n_queries; // query i belongs to token run + (first_query + i) / n_groups
    int64_t lowest, highest;        // positions that any of them sees
    int64_t all_from, all_to;       // positions that all of them see
    int64_t next;                   // the last position of this and the following stretches
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

// Rows of a slice in scratch: whole tiles.
KERNEL_INLINE int64_t attention_rows_in_tiles(const attention_slice *slice) {
    return (slice->n_queries + ATTENTION_TILE_QUERIES - 1) / ATTENTION_TILE_QUERIES *
           ATTENTION_TILE_QUERIES;
}

// Queries to scratch, scaled; and what they see. Rows that only fill the last tile see nothing.
KERNEL_INLINE void attention_open(
    const kernel_env *env, const attention_job *job, attention_scratch *scratch,
    attention_slice *slice) {
    slice->lowest = slice->all_to = INT64_MAX;
    slice->highest = slice->all_from = 0;
    const int64_t n_rows = attention_rows_in_tiles(slice);
    for (int64_t i = 0; i < n_rows; i++) {
        float *query = scratch->queries + i * job->padded;
        for (int64_t d = 0; d < job->padded; d++) query[d] = 0.0f;
        scratch->first[i] = 1;
        scratch->last[i] = 0;
        if (i >= slice->n_queries) continue;
        const int64_t token = attention_token(job, slice, i);
        const int64_t column = attention_column(job, slice, i);
        if (job->slopes != NULL) {
            const float slope =
                kernel_load_as_f32(job->slopes, job->slopes_dtype, column / job->head_dim);
            scratch->slopes[i] = slope * (float)ATTENTION_LOG2_E;
        }
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
        const int64_t first = attention_first_position(job, last);
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
    const attention_span span = attention_span_of(
        job, slice->seq, slice->head, base, slice->lowest, slice->highest, slice->next);
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
    const kernel_env *env, const attention_job *job, attention_scratch *scratch,
    const attention_slice *slice) {
    for (int64_t i = 0; i < slice->n_queries; i++)
        attention_store(
            env, job, attention_row_of(job, scratch, i), attention_token(job, slice, i),
            attention_column(job, slice, i));
}

// Every query before a stretch. The stretch of the first position that it sees begins with the sink; a sink of -inf, or none,
// is no score.
KERNEL_INLINE void attention_begin_stretch(
    const attention_job *job, attention_scratch *scratch, const attention_slice *slice,
    int64_t stretch) {
    const int64_t n_rows = attention_rows_in_tiles(slice);
    for (int64_t i = 0; i < n_rows; i++) attention_clear(job, attention_row_of(job, scratch, i));
    if (job->sinks == NULL) return;
    for (int64_t i = 0; i < slice->n_queries; i++) {
        const int64_t head = attention_column(job, slice, i) / job->head_dim;
        const float sink =
            kernel_load_as_f32(job->sinks, job->sinks_dtype, head) * (float)ATTENTION_LOG2_E;
        if (scratch->first[i] / ATTENTION_STRETCH != stretch || sink <= ATTENTION_NO_SCORE)
            continue;
        scratch->maxima[i] = sink;
        scratch->totals[i][0] = 1.0f;
    }
}

KERNEL_INLINE void attention_run_stretch(
    const attention_job *job, attention_scratch *scratch, const attention_slice *slice,
    int64_t stretch) {
    const bool alike = slice->lowest == slice->all_from && slice->highest == slice->all_to;
    const int64_t from = stretch * ATTENTION_STRETCH, to = from + ATTENTION_STRETCH - 1;
    attention_slice part = *slice;
    part.lowest = slice->lowest > from ? slice->lowest : from;
    part.highest = slice->highest < to ? slice->highest : to;
    attention_begin_stretch(job, scratch, slice, stretch);
    int64_t base = part.lowest / ATTENTION_STEP * ATTENTION_STEP;
    if (slice->n_queries <= ATTENTION_DIRECT_QUERIES && alike) {
        for (; base <= part.highest; base += ATTENTION_STEP)
            attention_step(job, scratch, &part, true, base);
    } else {
        for (; base <= part.highest; base += ATTENTION_STEP)
            attention_step(job, scratch, &part, false, base);
    }
}

// Stretches [stretches.begin, stretches.end), counted from the first that the slice sees: all, or some of those of one token, whose
// results go to shared memory.
KERNEL_INLINE void attention_run_slice(
    const kernel_env *env, const attention_job *job, attention_scratch *scratch,
    attention_slice *slice, const attention_range *stretches) {
    attention_open(env, job, scratch, slice);
    const int64_t first = slice->lowest / ATTENTION_STRETCH;
    const int64_t n_stretches = slice->highest / ATTENTION_STRETCH - first + 1;
    const int64_t end = stretches->end < n_stretches ? stretches->end : n_stretches;
    const bool is_whole = stretches->begin == 0 && end == n_stretches;
    const int64_t next = (first + end) * ATTENTION_STRETCH - 1;
    slice->next = next < slice->highest ? next : slice->highest;
    for (int64_t i = stretches->begin; i < end; i++) {
        attention_run_stretch(job, scratch, slice, first + i);
        if (!is_whole) {
            attention_share(job, scratch, stretches, slice->first_query, slice->n_queries, i);
        } else if (n_stretches > 1) {
            attention_add_stretch(job, scratch, slice->n_queries, i == 0, i == end - 1);
        }
    }
    if (is_whole) attention_close(env, job, scratch, slice);
}

// ---- work items ---------------------------------------------------------------------------------------

// Items are blocks of tokens × kv heads × stretches × parts of a head's queries.
typedef struct attention_work {
    int64_t block, n_blocks; // tokens of a block
    int64_t part, n_parts;   // queries of a part; of a block of one token
    int64_t n_stretches;     // of the token that sees the most; 1: heads are not divided
    int64_t all_stretches;   // those of all tokens
} attention_work;

// Few tokens: one a block and one query a part, for the most items. Many: blocks whose queries fill a slice, so that
// neighbours share their keys.
KERNEL_INLINE attention_work attention_work_of(const kernel_env *env, const attention_job *job) {
    attention_work work = {.block = 1, .part = 1, .n_stretches = 1};
    if (job->n_tokens >= 2 * ATTENTION_LEAST_BLOCK) work.block = ATTENTION_LEAST_BLOCK;
    while (work.block > 1 && work.block * 2 * job->n_groups <= KERNEL_ATTENTION_MAX_QUERIES &&
           work.block * 4 <= job->n_tokens)
        work.block *= 2;
    if (work.block > 1) work.part = work.block * job->n_groups;
    work.n_blocks = (job->n_tokens + work.block - 1) / work.block;
    work.n_parts = (work.block * job->n_groups + work.part - 1) / work.part;
    work.all_stretches = work.n_blocks;
    if (job->n_tokens > KERNEL_ATTENTION_SHARED_TOKENS) return work;
    int64_t most = 1, all = 0;
    for (int64_t token = 0; token < job->n_tokens; token++) {
        const int64_t n = attention_n_stretches(job, token);
        most = n > most ? n : most;
        all += n;
    }
    const int64_t n_rows = job->n_tokens * job->n_kv_heads * most * job->n_groups;
    if (n_rows > kernel_shared_bytes(env) / attention_shared_row_bytes(job)) return work;
    work.n_stretches = most;
    work.all_stretches = all;
    return work;
}

// Items of one block of tokens and one kv head.
KERNEL_INLINE int64_t attention_pair_items(const attention_work *work) {
    return work->n_stretches * work->n_parts;
}

KERNEL_INLINE int64_t attention_items(const attention_job *job, const attention_work *work) {
    return work->n_blocks * job->n_kv_heads * attention_pair_items(work);
}

int64_t kernel_paged_attention_items(const kernel_env *env) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(env, &job);
    return attention_items(&job, &work);
}

// What reading and transposing a head's keys costs, in queries that use them, and what the second part of a launch costs, in
// queries of one stretch.
enum { ATTENTION_HEAD_COST = 3, ATTENTION_FINISH_COST = 4 };

// Heads go to threads as a whole, so that nothing is left to be put together, unless stretches of them are done sooner because
// more threads have work. All parts of a stretch go together, as they read the same keys and values, unless shares of them
// (equal ones: no chunk holds ends of two) are done sooner.
KERNEL_INLINE int64_t
attention_chunk(const attention_job *job, const attention_work *work, int64_t n_threads) {
    const int64_t n_pairs = work->n_blocks * job->n_kv_heads;
    const int64_t n_cells = work->all_stretches * job->n_kv_heads;
    // Of whole heads: as if all saw as much as the longest, or as if threads that are through took the next until the last of
    // them is, whichever is less.
    const int64_t alike = (n_pairs + n_threads - 1) / n_threads * work->n_stretches;
    const int64_t mixed = (n_cells + n_threads - 1) / n_threads + work->n_stretches;
    int64_t best = attention_pair_items(work);
    int64_t least = (alike < mixed ? alike : mixed) * (work->n_parts + ATTENTION_HEAD_COST);
    for (int64_t chunk = work->n_parts; chunk >= 1; chunk--) {
        if (work->n_parts % chunk != 0) continue;
        const int64_t rounds = (n_cells * (work->n_parts / chunk) + n_threads - 1) / n_threads;
        const int64_t cost = rounds * (chunk + ATTENTION_HEAD_COST) +
                             (work->n_stretches > 1 ? ATTENTION_FINISH_COST : 0);
        if (cost < least) best = chunk;
        least = cost < least ? cost : least;
    }
    return best;
}

int64_t kernel_paged_attention_chunk(const kernel_env *env, int64_t n_threads) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(env, &job);
    return attention_chunk(&job, &work, n_threads);
}

// Queries [first, end) of a kv head and the tokens [run, run_end) of one sequence, slice by slice.
KERNEL_INLINE void attention_run(
    const kernel_env *env, const attention_job *job, int64_t head, int64_t run, int64_t first,
    int64_t end, const attention_range *stretches) {
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
        attention_run_slice(env, job, scratch, &slice, stretches);
    }
}

// The items from `item` on, before `end`, that one call of attention_run computes: parts of one stretch, or stretches of a head with all
// their parts.
KERNEL_INLINE int64_t
attention_items_together(const attention_work *work, int64_t item, int64_t end) {
    const int64_t part = item % work->n_parts, in_pair = item % attention_pair_items(work);
    const int64_t n_left = end - item;
    if (part > 0 || n_left < work->n_parts) {
        const int64_t n_parts = work->n_parts - part;
        return n_left < n_parts ? n_left : n_parts;
    }
    const int64_t n_items = attention_pair_items(work) - in_pair;
    return n_left < n_items ? n_left / work->n_parts * work->n_parts : n_items;
}

void kernel_paged_attention(const kernel_env *env, int64_t begin, int64_t end) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(env, &job);
    for (int64_t item = begin, n_items = 0; item < end; item += n_items) {
        n_items = attention_items_together(&work, item, end);
        const int64_t part = item % work.n_parts, pair = item / attention_pair_items(&work);
        const int64_t n_parts = n_items < work.n_parts ? n_items : work.n_parts;
        const int64_t stretch = item / work.n_parts % work.n_stretches;
        // Late tokens see the most keys: they go first, so that the last items handed out are short.
        const int64_t head = pair % job.n_kv_heads,
                      first = (work.n_blocks - 1 - pair / job.n_kv_heads) * work.block;
        const int64_t last = job.n_tokens - first < work.block ? job.n_tokens : first + work.block;
        attention_range stretches = {.begin = 0, .end = INT64_MAX};
        if (work.n_stretches > 1) {
            stretches.begin = stretch;
            stretches.end = stretch + (n_items + work.n_parts - 1) / work.n_parts;
            if (stretch >= attention_n_stretches(&job, first)) continue;
            stretches.rows = (char *)kernel_shared(env) + (first * job.n_kv_heads + head) *
                                                              work.n_stretches * job.n_groups *
                                                              attention_shared_row_bytes(&job);
        }
        for (int64_t run = first; run < last;) {
            int64_t run_end = run + 1;
            while (run_end < last && job.seq_ids[run_end] == job.seq_ids[run]) run_end++;
            const int64_t n_queries = (run_end - run) * job.n_groups;
            const int64_t query_end = (part + n_parts) * work.part;
            attention_run(
                env, &job, head, run, part * work.part,
                query_end < n_queries ? query_end : n_queries, &stretches);
            run = run_end;
        }
    }
}

// ---- second part --------------------------------------------------------------------------------------

// Queries of all tokens, where heads were divided; those of tokens with one stretch are done.
int64_t kernel_paged_attention_finish_items(const kernel_env *env, int64_t n_threads) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(env, &job);
    const bool is_divided = work.n_stretches > 1 &&
                            attention_chunk(&job, &work, n_threads) < attention_pair_items(&work);
    return is_divided ? job.n_tokens * job.n_kv_heads * job.n_groups : 0;
}

void kernel_paged_attention_finish(const kernel_env *env, int64_t begin, int64_t end) {
    const attention_job job = attention_job_of(env);
    const attention_work work = attention_work_of(env, &job);
    attention_scratch *scratch = (attention_scratch *)kernel_scratch(env);
    for (int64_t item = begin; item < end; item++) {
        const int64_t query = item % job.n_groups, pair = item / job.n_groups;
        const int64_t token = pair / job.n_kv_heads;
        const int64_t n_stretches = attention_n_stretches(&job, token);
        if (n_stretches == 1) continue;
        char *rows = (char *)kernel_shared(env) +
                     pair * work.n_stretches * job.n_groups * attention_shared_row_bytes(&job);
        attention_gather(&job, scratch, rows, query, n_stretches);
        attention_store(
            env, &job, attention_row_of(&job, scratch, 0), token,
            item % (job.n_kv_heads * job.n_groups) * job.head_dim);
    }
}

#endif
