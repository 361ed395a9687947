// paged_attention_job: operands, thread scratch and memory access of paged attention. See paged_attention_body.h.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_JOB_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_JOB_H

#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

#include <stdbool.h>

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DIM(1, 2);
KERNEL_DIM(2, 1);
KERNEL_DTYPE(1);
KERNEL_DTYPE(5);
KERNEL_DTYPE(6);
KERNEL_POINTER(1);
KERNEL_POINTER(2);
KERNEL_POINTER(3);
KERNEL_POINTER(4);
KERNEL_POINTER(5);
KERNEL_POINTER(6);
KERNEL_LOAD(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;
KERNEL_SHARED;
KERNEL_SHARED_BYTES;
KERNEL_ATTR_I64(head_dim);
KERNEL_ATTR_F64(scale);
KERNEL_ATTR_I64(window);
KERNEL_ATTR_F64(softcap);

enum {
    ATTENTION_PAGE = KERNEL_ATTENTION_PAGE,
    ATTENTION_STEP = KERNEL_ATTENTION_STEP,
    ATTENTION_STRETCH = KERNEL_ATTENTION_STRETCH,
    ATTENTION_PAGES = KERNEL_ATTENTION_STEP / KERNEL_ATTENTION_PAGE
};

// Below no finite score; finite, so that a difference of two of them is 0 and not NaN.
#define ATTENTION_NO_SCORE (-0x1.fffffep127f)

// Scores are multiples of ln 2, as powers of 2 are cheaper than those of e.
#define ATTENTION_LOG2_E 1.44269504088896340736

typedef struct attention_job {
    const char *cache;
    const int32_t *page_table; // [n_seqs, n_slots]
    const int32_t *seq_ids, *positions;
    int64_t n_tokens, n_kv_heads, head_dim, n_slots, window;
    int64_t n_groups;    // query heads of a kv head
    int64_t padded;      // head_dim rounded up to 16
    int64_t head_bytes;  // one head of one page
    int64_t value_bytes; // from the keys of a head to its values
    int32_t dtype;
    float scale;                // of queries
    float softcap;              // bound of scores, 0: none
    float bound;                // the same in the unit that scores have from then on
    const void *sinks, *slopes; // [query heads]; NULL, a constant: none
    int32_t sinks_dtype, slopes_dtype;
} attention_job;

// Scratch. A slice has as many queries as fit; rows of queries and sums have `padded` columns. Columns of queries and keys
// are in the order of attention_key_slot.
typedef struct attention_scratch {
    float queries[KERNEL_ATTENTION_QUERY_FLOATS];
    float sums[KERNEL_ATTENTION_QUERY_FLOATS];
    float keys[KERNEL_ATTENTION_MAX_HEAD_DIM * ATTENTION_STEP];   // [pages][padded to 32][16]
    float values[ATTENTION_STEP * KERNEL_ATTENTION_MAX_HEAD_DIM]; // [step][padded]
    float weights[KERNEL_ATTENTION_MAX_QUERIES][ATTENTION_STEP];  // scores, then p of this step
    float totals[KERNEL_ATTENTION_MAX_QUERIES][16];               // running sum of p, lane by lane
    float query[KERNEL_ATTENTION_MAX_HEAD_DIM];                   // one, columns in their own order
    float maxima[KERNEL_ATTENTION_MAX_QUERIES];
    float factors[KERNEL_ATTENTION_MAX_QUERIES]; // exp(old maximum - new) of this step
    int32_t first[KERNEL_ATTENTION_MAX_QUERIES]; // positions that the query sees: first … last
    int32_t last[KERNEL_ATTENTION_MAX_QUERIES];
    float slopes[KERNEL_ATTENTION_MAX_QUERIES]; // in the unit of scores
    // Sums, totals and maxima of the stretches so far, where a slice has several.
    float whole_sums[KERNEL_ATTENTION_QUERY_FLOATS];
    float whole_totals[KERNEL_ATTENTION_MAX_QUERIES][16];
    float whole_maxima[KERNEL_ATTENTION_MAX_QUERIES];
} attention_scratch;

_Static_assert(ATTENTION_STRETCH % ATTENTION_STEP == 0, "a step belongs to one stretch");
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
    job.value_bytes = job.n_kv_heads * job.head_bytes;
    const double softcap = kernel_attr_softcap(env);
    job.scale = (float)(kernel_attr_scale(env) * (softcap > 0.0 ? 1.0 : ATTENTION_LOG2_E));
    job.softcap = (float)softcap;
    job.bound = (float)(softcap * ATTENTION_LOG2_E);
    job.sinks = kernel_pointer_5(env);
    job.sinks_dtype = kernel_dtype_5(env);
    job.slopes = kernel_pointer_6(env);
    job.slopes_dtype = kernel_dtype_6(env);
    return job;
}

// Keys of one head of the page that holds `position`.
KERNEL_INLINE const char *attention_page(
    const attention_job *job, int64_t seq, int64_t head, int64_t position) {
    const int64_t page = job->page_table[seq * job->n_slots + position / ATTENTION_PAGE];
    return job->cache + (page * 2 * job->n_kv_heads + head) * job->head_bytes;
}

// Pages of the step at positions [base, base + step), of which [lowest, highest] are read, and where the next step's lie, if any up
// to `last` are read.
typedef struct attention_span {
    int64_t base;
    const char *keys[ATTENTION_PAGES];
    const char *ahead[ATTENTION_PAGES]; // asked for while this step is computed
    int64_t first[ATTENTION_PAGES],
        end[ATTENTION_PAGES]; // rows of the page that are read, perhaps none
} attention_span;

KERNEL_INLINE attention_span attention_span_of(
    const attention_job *job, int64_t seq, int64_t head, int64_t base, int64_t lowest,
    int64_t highest, int64_t last) {
    attention_span span = {.base = base};
    KERNEL_UNROLL for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
        const int64_t at = base + page * ATTENTION_PAGE, next = at + ATTENTION_STEP;
        span.first[page] = lowest > at ? lowest - at : 0;
        span.end[page] = highest + 1 - at < ATTENTION_PAGE ? highest + 1 - at : ATTENTION_PAGE;
        span.keys[page] =
            span.first[page] < span.end[page] ? attention_page(job, seq, head, at) : job->cache;
        span.ahead[page] = next <= last ? attention_page(job, seq, head, next) : span.keys[page];
    }
    return span;
}

#endif
