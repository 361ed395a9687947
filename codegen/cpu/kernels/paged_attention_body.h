// paged_attention_body: softmax(scale q k^T) v over the paged cache [P, 2, Hkv, 16, head_dim] (F32, F16 or BF16). One body for
// every machine; the file that includes it names its tile:
//
//   ATTENTION_TILE_QUERIES  queries (4, 2 or 1) that share each load of keys and values
//   ATTENTION_TILE_CHUNKS   vectors of 16 head columns in one tile of sums (4, 2 or 1)
//
// An item is a block of consecutive tokens and one kv head. Neighbouring tokens of one sequence, and all query heads of the kv
// head, form one list of queries, cut into slices that fit the scratch; a slice reads every key and value once. The keys of a
// step (32, two pages) are transposed, so that a score needs no sum across lanes, then
//
//   s = q k^T, masked;  m' = max(m, s);  p = exp(s - m');  sums = sums exp(m - m') + p v;  total likewise
//
// (online softmax). Steps begin at multiples of 32 whatever the block, the batch and the window are, and a masked key adds an
// exact zero, so the result of a query does not depend on the queries beside it.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_BODY_H

#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DIM(1, 2);
KERNEL_DIM(2, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_POINTER(2);
KERNEL_POINTER(3);
KERNEL_POINTER(4);
KERNEL_LOAD(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_ATTR_I64(head_dim);
KERNEL_ATTR_F64(scale);
KERNEL_ATTR_I64(window);
KERNEL_ATTR_F64(softcap);

enum {
    ATTENTION_STEP = KERNEL_ATTENTION_STEP,
    ATTENTION_PAGE = KERNEL_ATTENTION_PAGE,
    ATTENTION_BLOCK_TOKENS = 16
};

// Below every finite score; finite, so that a difference of two of them is 0 and not NaN.
#define ATTENTION_NO_SCORE -1e30f

typedef struct attention_job {
    const char *cache;
    const int32_t *page_table; // [n_seqs, n_slots]
    const int32_t *seq_ids, *positions;
    int64_t n_tokens, n_kv_heads, n_groups, head_dim, n_slots,
        window;         // n_groups: query heads of a kv head
    int64_t padded;     // head_dim rounded up to 16
    int64_t head_bytes; // one head of one page
    int32_t dtype;
    float scale, softcap;
} attention_job;

// Scratch. Queries and sums have `padded` columns, a slice has as many queries as fit.
typedef struct attention_scratch {
    float queries[KERNEL_ATTENTION_QUERY_FLOATS];
    float sums[KERNEL_ATTENTION_QUERY_FLOATS];
    float keys[KERNEL_ATTENTION_MAX_HEAD_DIM * ATTENTION_STEP];   // [head_dim][32]
    float values[ATTENTION_STEP * KERNEL_ATTENTION_MAX_HEAD_DIM]; // [32][padded]
    float weights[KERNEL_ATTENTION_MAX_QUERIES][ATTENTION_STEP];  // p of this step
    float totals[KERNEL_ATTENTION_MAX_QUERIES][16];               // running sum of p, lane by lane
    float maxima[KERNEL_ATTENTION_MAX_QUERIES];
    int32_t first[KERNEL_ATTENTION_MAX_QUERIES]; // positions that the query sees: first … last
    int32_t last[KERNEL_ATTENTION_MAX_QUERIES];
} attention_scratch;

_Static_assert(
    sizeof(attention_scratch) <= KERNEL_ATTENTION_SCRATCH_BYTES, "scratch.h promises enough");

KERNEL_INLINE attention_job attention_job_of(const kernel_env *env) {
    attention_job job;
    job.cache = (const char *)kernel_pointer_1(env);
    job.page_table = (const int32_t *)kernel_pointer_2(env);
    job.seq_ids = (const int32_t *)kernel_pointer_3(env);
    job.positions = (const int32_t *)kernel_pointer_4(env);
    job.n_tokens = kernel_dim_0_0(env);
    job.n_kv_heads = kernel_dim_1_2(env);
    job.head_dim = kernel_attr_head_dim(env);
    job.n_groups = kernel_dim_0_1(env) / job.head_dim / job.n_kv_heads;
    job.n_slots = kernel_dim_2_1(env);
    job.window = kernel_attr_window(env);
    job.padded = (job.head_dim + 15) / 16 * 16;
    job.dtype = kernel_dtype_1(env);
    job.head_bytes = ATTENTION_PAGE * job.head_dim * (job.dtype == KERNEL_F32 ? 4 : 2);
    job.scale = (float)kernel_attr_scale(env);
    job.softcap = (float)kernel_attr_softcap(env);
    return job;
}

// Keys of one head of the page that holds `position`; the values lie n_kv_heads heads behind them.
KERNEL_INLINE const char *attention_page(
    const attention_job *job, int64_t seq, int64_t head, int64_t position) {
    const int64_t page = job->page_table[seq * job->n_slots + position / ATTENTION_PAGE];
    return job->cache + (page * 2 * job->n_kv_heads + head) * job->head_bytes;
}

// Up to 16 elements of row `row` from column `column`, zeros beyond the head.
KERNEL_INLINE f32x16
attention_load(const attention_job *job, const char *rows, int64_t row, int64_t column) {
    const int64_t index = row * job->head_dim + column;
    if (job->head_dim - column >= 16) return simd_load_as_f32(rows, job->dtype, index);
    float part[16] = {0};
    for (int64_t i = 0; i < job->head_dim - column; i++)
        part[i] = kernel_load_as_f32(rows, job->dtype, index + i);
    return simd_load(part);
}

// Keys and values of the next step, requested bit by bit while this one is computed: all at once they would fill the miss buffers.
typedef struct attention_ahead {
    const char *region[4]; // keys and values of two pages, head_bytes each
    int64_t next, end;     // lines, counted through all regions
    int64_t step;          // lines for every 16 head columns of a tile of queries
} attention_ahead;

KERNEL_INLINE attention_ahead attention_ahead_of(
    const attention_job *job, int64_t seq, int64_t head, int64_t base, int64_t highest,
    int64_t n_queries) {
    attention_ahead ahead = {.next = 0, .end = 0};
    const int64_t lines = job->head_bytes / 64;
    for (int64_t slot = 0; slot < 2; slot++) {
        const int64_t position = base + ATTENTION_STEP + slot * ATTENTION_PAGE;
        if (position > highest) break;
        ahead.region[slot * 2] = attention_page(job, seq, head, position);
        ahead.region[slot * 2 + 1] = ahead.region[slot * 2] + job->n_kv_heads * job->head_bytes;
        ahead.end += lines * 2;
    }
    const int64_t n_tiles = (n_queries + ATTENTION_TILE_QUERIES - 1) / ATTENTION_TILE_QUERIES;
    const int64_t n_steps = n_tiles * (job->padded / 16);
    ahead.step = (ahead.end + n_steps - 1) / n_steps;
    return ahead;
}

KERNEL_INLINE void attention_request(const attention_job *job, attention_ahead *ahead) {
    const int64_t lines = job->head_bytes / 64;
    for (int64_t i = 0; i < ahead->step && ahead->next < ahead->end; i++, ahead->next++) {
        __builtin_prefetch(ahead->region[ahead->next / lines] + ahead->next % lines * 64, 0, 3);
    }
}

// Brings rows [first_row, end_row) of one page into scratch as rows `slot` … of the step, keys transposed; other rows are zero.
KERNEL_INLINE void attention_load_page(
    const attention_job *job, attention_scratch *scratch, const char *keys, int64_t slot,
    int64_t first_row, int64_t end_row) {
    const int64_t to_values = job->n_kv_heads * job->head_bytes;
    const f32x16 zero = simd_splat(0.0f);
    for (int64_t d = 0; d < job->padded; d += 16) {
        f32x16 rows[16];
        if (first_row == 0 && end_row == 16) {
            KERNEL_UNROLL for (int64_t i = 0; i < 16; i++) rows[i] =
                attention_load(job, keys, i, d);
        } else {
            for (int64_t i = 0; i < 16; i++)
                rows[i] = i >= first_row && i < end_row ? attention_load(job, keys, i, d) : zero;
        }
        simd_transpose(rows);
        KERNEL_UNROLL for (int64_t i = 0; i < 16; i++)
            simd_store(scratch->keys + (d + i) * ATTENTION_STEP + slot, rows[i]);
        for (int64_t i = 0; i < 16; i++) {
            const f32x16 value =
                i >= first_row && i < end_row ? attention_load(job, keys + to_values, i, d) : zero;
            simd_store(scratch->values + (slot + i) * job->padded + d, value);
        }
    }
}

// Keys and values at positions [base, base + 32) that lie in [lowest, highest].
KERNEL_INLINE void attention_load_step(
    const attention_job *job, attention_scratch *scratch, int64_t seq, int64_t head, int64_t base,
    int64_t lowest, int64_t highest) {
    for (int64_t slot = 0; slot < ATTENTION_STEP; slot += ATTENTION_PAGE) {
        int64_t first_row = lowest - base - slot, end_row = highest + 1 - base - slot;
        first_row = first_row < 0 ? 0 : first_row;
        end_row = end_row > ATTENTION_PAGE ? ATTENTION_PAGE : end_row;
        const char *keys =
            first_row < end_row ? attention_page(job, seq, head, base + slot) : job->cache;
        attention_load_page(job, scratch, keys, slot, first_row, end_row);
    }
}

// Scores of Q queries, then their new maxima, weights and totals; leaves exp(old maximum - new) in `factors`.
KERNEL_INLINE void attention_scores(
    const int Q, const attention_job *job, attention_scratch *scratch, attention_ahead *ahead,
    int64_t query, int64_t base, float *factors) {
    f32x16 score[ATTENTION_TILE_QUERIES][2];
    KERNEL_UNROLL for (int q = 0; q < Q; q++) score[q][0] = score[q][1] = simd_splat(0.0f);
    const float *queries = scratch->queries + query * job->padded;
    _Pragma("clang loop unroll(disable)") for (int64_t first = 0; first < job->padded;
                                               first += 16) {
        attention_request(job, ahead);
        const float *keys = scratch->keys + first * ATTENTION_STEP;
        _Pragma("clang loop unroll_count(4) vectorize(disable)") for (int64_t d = 0; d < 16; d++) {
            const f32x16 low = simd_load(keys + d * ATTENTION_STEP),
                         high = simd_load(keys + d * ATTENTION_STEP + 16);
            KERNEL_UNROLL for (int q = 0; q < Q; q++) {
                const f32x16 factor = simd_splat(queries[q * job->padded + first + d]);
                score[q][0] = simd_fma(low, factor, score[q][0]);
                score[q][1] = simd_fma(high, factor, score[q][1]);
            }
        }
    }
    const i32x16 count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int half = 0; half < 2; half++) {
            const i32x16 position = count + (int32_t)(base + half * 16);
            const i32x16 seen =
                (position >= scratch->first[query + q]) & (position <= scratch->last[query + q]);
            f32x16 value = score[q][half];
            if (job->softcap > 0.0f)
                value = job->softcap * simd_tanh(value * (1.0f / job->softcap));
            score[q][half] = simd_select(seen, value, simd_splat(-__builtin_inff()));
        }
        const float before = scratch->maxima[query + q];
        const float highest = simd_max_of(simd_max(score[q][0], score[q][1]));
        const float maximum = highest > before ? highest : before;
        const f32x16 low = simd_exp_negative(score[q][0] - maximum),
                     high = simd_exp_negative(score[q][1] - maximum);
        const float factor = kernel_exp(before - maximum);
        simd_store(scratch->weights[query + q], low);
        simd_store(scratch->weights[query + q] + 16, high);
        simd_store(
            scratch->totals[query + q],
            simd_load(scratch->totals[query + q]) * factor + (low + high));
        scratch->maxima[query + q] = maximum;
        factors[q] = factor;
    }
}

// sums = sums * factor + weights * values, for Q queries and C vectors of head columns from column d on.
KERNEL_INLINE void attention_sums(
    const int Q, const int C, const attention_job *job, attention_scratch *scratch, int64_t query,
    int64_t d, const float *factors) {
    f32x16 sum[ATTENTION_TILE_QUERIES][ATTENTION_TILE_CHUNKS];
    float *sums = scratch->sums + query * job->padded + d;
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++) sum[q][c] =
            simd_load(sums + q * job->padded + c * 16) * factors[q];
    }
    const float *values = scratch->values + d;
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t i = 0; i < ATTENTION_STEP;
                                                                  i++) {
        f32x16 value[ATTENTION_TILE_CHUNKS];
        KERNEL_UNROLL for (int c = 0; c < C; c++) value[c] =
            simd_load(values + i * job->padded + c * 16);
        KERNEL_UNROLL for (int q = 0; q < Q; q++) {
            const f32x16 weight = simd_splat(scratch->weights[query + q][i]);
            KERNEL_UNROLL for (int c = 0; c < C; c++) sum[q][c] =
                simd_fma(value[c], weight, sum[q][c]);
        }
    }
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++)
            simd_store(sums + q * job->padded + c * 16, sum[q][c]);
    }
}

KERNEL_INLINE void attention_tile(
    const int Q, const attention_job *job, attention_scratch *scratch, attention_ahead *ahead,
    int64_t query, int64_t base) {
    float factors[ATTENTION_TILE_QUERIES];
    attention_scores(Q, job, scratch, ahead, query, base, factors);
    int64_t d = 0;
    for (; d + ATTENTION_TILE_CHUNKS * 16 <= job->padded; d += ATTENTION_TILE_CHUNKS * 16) {
        attention_sums(Q, ATTENTION_TILE_CHUNKS, job, scratch, query, d, factors);
    }
    for (; d < job->padded; d += 16) attention_sums(Q, 1, job, scratch, query, d, factors);
}

// n_queries queries from number `first_query` of the run that starts at token `run`. Query i of a run belongs to token
// run + i / n_groups and to head i % n_groups of the kv head's group.
KERNEL_INLINE void attention_slice(
    const kernel_env *env, const attention_job *job, attention_scratch *scratch, int64_t head,
    int64_t run, int64_t first_query, int64_t n_queries) {
    int64_t lowest = INT64_MAX, highest = 0;
    for (int64_t i = 0; i < n_queries; i++) {
        const int64_t token = run + (first_query + i) / job->n_groups;
        const int64_t column =
            (head * job->n_groups + (first_query + i) % job->n_groups) * job->head_dim;
        float *query = scratch->queries + i * job->padded, *sums = scratch->sums + i * job->padded;
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++) query[d] =
            kernel_load_0(env, token, column + d) * job->scale;
        for (int64_t d = job->head_dim; d < job->padded; d++) query[d] = 0.0f;
        for (int64_t d = 0; d < job->padded; d++) sums[d] = 0.0f;
        simd_store(scratch->totals[i], simd_splat(0.0f));
        scratch->maxima[i] = ATTENTION_NO_SCORE;
        const int64_t last = job->positions[token];
        const int64_t first = job->window > 0 && last >= job->window ? last - job->window + 1 : 0;
        scratch->first[i] = (int32_t)first;
        scratch->last[i] = (int32_t)last;
        lowest = first < lowest ? first : lowest;
        highest = last > highest ? last : highest;
    }
    const int64_t seq = job->seq_ids[run];
    for (int64_t base = lowest / ATTENTION_STEP * ATTENTION_STEP; base <= highest;
         base += ATTENTION_STEP) {
        attention_load_step(job, scratch, seq, head, base, lowest, highest);
        attention_ahead ahead = attention_ahead_of(job, seq, head, base, highest, n_queries);
        int64_t i = 0;
        for (; i + ATTENTION_TILE_QUERIES <= n_queries; i += ATTENTION_TILE_QUERIES) {
            attention_tile(ATTENTION_TILE_QUERIES, job, scratch, &ahead, i, base);
        }
#if ATTENTION_TILE_QUERIES > 2
        if (i + 2 <= n_queries) {
            attention_tile(2, job, scratch, &ahead, i, base);
            i += 2;
        }
#endif
#if ATTENTION_TILE_QUERIES > 1
        if (i < n_queries) attention_tile(1, job, scratch, &ahead, i, base);
#endif
    }
    for (int64_t i = 0; i < n_queries; i++) {
        const int64_t token = run + (first_query + i) / job->n_groups;
        const int64_t column =
            (head * job->n_groups + (first_query + i) % job->n_groups) * job->head_dim;
        const float *sums = scratch->sums + i * job->padded;
        const float factor = 1.0f / simd_sum(simd_load(scratch->totals[i]));
        KERNEL_VECTOR_LOOP for (int64_t d = 0; d < job->head_dim; d++)
            kernel_store_0(env, token, column + d, sums[d] * factor);
    }
}

// Few tokens: one a block, for the most items. Many: blocks, so that neighbours share their keys.
KERNEL_INLINE int64_t attention_block_tokens(int64_t n_tokens) {
    return n_tokens < 2 * ATTENTION_BLOCK_TOKENS ? 1 : ATTENTION_BLOCK_TOKENS;
}

int64_t kernel_paged_attention_items(const kernel_env *env) {
    const int64_t n_tokens = kernel_dim_0_0(env), block = attention_block_tokens(n_tokens);
    return (n_tokens + block - 1) / block * kernel_dim_1_2(env);
}

int64_t kernel_paged_attention_chunk(const kernel_env *env, int64_t n_threads) {
    (void)env;
    (void)n_threads;
    return 1;
}

void kernel_paged_attention(const kernel_env *env, int64_t begin, int64_t end) {
    const attention_job job = attention_job_of(env);
    attention_scratch *scratch = (attention_scratch *)kernel_scratch(env);
    const int64_t block = attention_block_tokens(job.n_tokens);
    const int64_t n_blocks = (job.n_tokens + block - 1) / block;
    int64_t slice = KERNEL_ATTENTION_QUERY_FLOATS / job.padded;
    slice = slice > KERNEL_ATTENTION_MAX_QUERIES ? KERNEL_ATTENTION_MAX_QUERIES : slice;
    for (int64_t item = begin; item < end; item++) {
        // Late tokens see the most keys: they go first, so that the last items handed out are short.
        const int64_t head = item % job.n_kv_heads,
                      first = (n_blocks - 1 - item / job.n_kv_heads) * block;
        const int64_t last = job.n_tokens - first < block ? job.n_tokens : first + block;
        for (int64_t run = first; run < last;) {
            int64_t run_end = run + 1;
            while (run_end < last && job.seq_ids[run_end] == job.seq_ids[run]) run_end++;
            const int64_t n_queries = (run_end - run) * job.n_groups;
            for (int64_t q = 0; q < n_queries; q += slice) {
                attention_slice(
                    env, &job, scratch, head, run, q,
                    n_queries - q < slice ? n_queries - q : slice);
            }
            run = run_end;
        }
    }
}

#endif
