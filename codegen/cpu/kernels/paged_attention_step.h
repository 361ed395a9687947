// paged_attention_step: what one step of keys and values does to the queries of a slice. See paged_attention_body.h.
//
//   attention_load_keys    keys of a page, transposed, to scratch
//   attention_scores       q k^T of a tile of queries
//   attention_cap, _slant, _mask   bounds scores; ALiBi; takes away those of keys that a query does not see
//   attention_soften       new maxima, p = exp(score - maximum), totals
//   attention_sums         sums = sums exp(old maximum - new) + p v of a tile of queries
#ifndef MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_STEP_H
#define MLCC_CODEGEN_CPU_KERNELS_PAGED_ATTENTION_STEP_H

#include "codegen/cpu/kernels/paged_attention_job.h"

typedef uint64_t u64x8 __attribute__((vector_size(64)));

// The same address, but the compiler cannot know. Scalars that multiply two vectors are loaded through two such addresses, or
// it would load them once into a register: a multiply-add that takes its scalar from memory leaves more of the decoder and the
// vector units to others (Zen 4: a tenth of the time of a step).
KERNEL_INLINE const float *attention_again(const float *address) {
#if defined(__AVX512F__)
    __asm__ volatile("" : "+r"(address));
#endif
    return address;
}

// ---- keys ---------------------------------------------------------------------------------------------

// 16 rows of 32 halves become rows[2c + h]: columns 16h + c and 16h + 8 + c. Three steps inside 128-bit lanes, one that
// moves lanes: half the shuffles that the same elements would cost as float32.
KERNEL_INLINE void attention_transpose_halves(u16x32 rows[16]) {
    u16x32 t[16];
    KERNEL_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = KERNEL_SHUFFLE(
            rows[i], rows[i + 1], 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10, 42, 11, 43, 16, 48,
            17, 49, 18, 50, 19, 51, 24, 56, 25, 57, 26, 58, 27, 59);
        t[i + 1] = KERNEL_SHUFFLE(
            rows[i], rows[i + 1], 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14, 46, 15, 47, 20,
            52, 21, 53, 22, 54, 23, 55, 28, 60, 29, 61, 30, 62, 31, 63);
    }
    // t[2r + h]: rows 2r and 2r + 1 of columns 4h … 4h+3 of a lane.
    u64x8 w[16];
    KERNEL_UNROLL for (int i = 0; i < 16; i += 4) {
        KERNEL_UNROLL for (int h = 0; h < 2; h++) {
            const u32x16 a = (u32x16)t[i + h], b = (u32x16)t[i + 2 + h];
            w[i + 2 * h] = (u64x8)KERNEL_SHUFFLE(
                a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
            w[i + 2 * h + 1] = (u64x8)KERNEL_SHUFFLE(
                a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
        }
    }
    // w[4r + p]: rows 4r … 4r+3 of columns 2p and 2p + 1 of a lane.
    KERNEL_UNROLL for (int p = 0; p < 4; p++) {
        KERNEL_UNROLL for (int odd = 0; odd < 2; odd++) {
            const u64x8 top = odd ? KERNEL_SHUFFLE(w[p], w[4 + p], 1, 9, 3, 11, 5, 13, 7, 15)
                                  : KERNEL_SHUFFLE(w[p], w[4 + p], 0, 8, 2, 10, 4, 12, 6, 14);
            const u64x8 low = odd ? KERNEL_SHUFFLE(w[8 + p], w[12 + p], 1, 9, 3, 11, 5, 13, 7, 15)
                                  : KERNEL_SHUFFLE(w[8 + p], w[12 + p], 0, 8, 2, 10, 4, 12, 6, 14);
            rows[4 * p + 2 * odd] = (u16x32)KERNEL_SHUFFLE(top, low, 0, 1, 8, 9, 2, 3, 10, 11);
            rows[4 * p + 2 * odd + 1] =
                (u16x32)KERNEL_SHUFFLE(top, low, 4, 5, 12, 13, 6, 7, 14, 15);
        }
    }
}

KERNEL_INLINE f32x16 attention_widen(int32_t dtype, u16x16 half) {
    if (dtype == KERNEL_F16) return simd_f16_to_f32(half);
    return (f32x16)(__builtin_convertvector(half, u32x16) << 16);
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

// Columns of a transposed page in scratch: whole blocks of 32.
KERNEL_INLINE int64_t attention_key_columns(const attention_job *job) {
    return (job->padded + 31) / 32 * 32;
}

// Where column d of the keys lies in scratch, and that of the queries likewise. Whole blocks of 32 halves keep the order in
// which the transposition leaves them, as it costs nothing to multiply them in that order.
KERNEL_INLINE int64_t attention_key_slot(const attention_job *job, int64_t d) {
    if (job->dtype == KERNEL_F32 || d / 32 * 32 + 32 > job->head_dim) return d;
    return d / 32 * 32 + d % 8 * 4 + d % 32 / 16 * 2 + d % 16 / 8;
}

KERNEL_INLINE void attention_store_key(
    const attention_job *job, attention_scratch *scratch, int64_t at, u16x16 key,
    const bool widen) {
    if (widen)
        simd_store(scratch->keys + at, attention_widen(job->dtype, key));
    else
        __builtin_memcpy((uint16_t *)scratch->keys + at, &key, sizeof key);
}

// Columns d … d + 31 of one page, transposed, to pages[page][slot][16]: as float32 where `widen`, else as in the cache.
KERNEL_INLINE void attention_load_halves(
    const attention_job *job, attention_scratch *scratch, const char *keys, int64_t page, int64_t d,
    const bool widen) {
    const int64_t start = page * attention_key_columns(job) * 16;
    const uint16_t *source = (const uint16_t *)keys + d;
    const int64_t n_columns = job->head_dim - d;
    u16x32 rows[16];
    if (n_columns >= 32) {
        KERNEL_UNROLL for (int64_t i = 0; i < 16; i++)
            __builtin_memcpy(&rows[i], source + i * job->head_dim, sizeof rows[i]);
    } else {
        for (int64_t i = 0; i < 16; i++) {
            uint16_t part[32] = {0};
            for (int64_t c = 0; c < n_columns; c++) part[c] = source[i * job->head_dim + c];
            __builtin_memcpy(&rows[i], part, sizeof rows[i]);
        }
    }
    attention_transpose_halves(rows);
    KERNEL_UNROLL for (int64_t i = 0; i < 16; i++) {
        if (n_columns >= 32 && !widen) {
            __builtin_memcpy(
                (uint16_t *)scratch->keys + start + (d + 2 * i) * 16, &rows[i], sizeof rows[i]);
            continue;
        }
        const int64_t low = n_columns >= 32 ? 2 * i : i % 2 * 16 + i / 2,
                      high = n_columns >= 32 ? low + 1 : low + 8;
        attention_store_key(job, scratch, start + (d + low) * 16, simd_low(rows[i]), widen);
        attention_store_key(job, scratch, start + (d + high) * 16, simd_high(rows[i]), widen);
    }
}

// Columns d … d + 15 of a page of float32.
KERNEL_INLINE void attention_load_floats(
    const attention_job *job, attention_scratch *scratch, const char *keys, int64_t page,
    int64_t d) {
    float *target = scratch->keys + (page * attention_key_columns(job) + d) * 16;
    f32x16 rows[16];
    if (job->head_dim - d >= 16) {
        KERNEL_UNROLL for (int64_t i = 0; i < 16; i++) rows[i] =
            simd_load((const float *)keys + i * job->head_dim + d);
    } else {
        for (int64_t i = 0; i < 16; i++) rows[i] = attention_load(job, keys, i, d);
    }
    simd_transpose(rows);
    KERNEL_UNROLL for (int64_t i = 0; i < 16; i++) simd_store(target + i * 16, rows[i]);
}

KERNEL_INLINE void attention_load_keys(
    const attention_job *job, attention_scratch *scratch, const char *keys, int64_t page,
    const bool widen) {
    if (job->dtype == KERNEL_F32) {
        for (int64_t d = 0; d < job->padded; d += 16)
            attention_load_floats(job, scratch, keys, page, d);
    } else {
        for (int64_t d = 0; d < job->padded; d += 32)
            attention_load_halves(job, scratch, keys, page, d, widen);
    }
}

// ---- prefetch -----------------------------------------------------------------------------------------

// Pages are asked for line by line, as all at once would fill the miss buffers. The first level has no room for two steps: the
// pages of a head often lie a multiple of its ways apart. So what is far goes to the second level and comes nearer just in
// time; for a single query that time is too short to pay.

// While scores are made: the next step's keys from afar, this step's values nearer.
KERNEL_INLINE void attention_ask_keys(
    const bool nearer, const attention_job *job, const attention_span *span, int64_t page,
    int64_t offset_bytes) {
    __builtin_prefetch(span->ahead[page] + offset_bytes, 0, 2);
    if (nearer) __builtin_prefetch(span->keys[page] + job->value_bytes + offset_bytes, 0, 3);
}

// While values are summed: the next step's values from afar, its keys nearer.
KERNEL_INLINE void attention_ask_values(
    const bool nearer, const attention_job *job, const char *ahead, int64_t offset_bytes) {
    __builtin_prefetch(ahead + job->value_bytes + offset_bytes, 0, 2);
    if (nearer) __builtin_prefetch(ahead + offset_bytes, 0, 3);
}

// ---- values -------------------------------------------------------------------------------------------

// Rows of values: those of a page, or of the step in scratch, which several tiles of queries share.
typedef struct attention_rows {
    const char *data;
    const char *ahead; // the next step's page, asked for line by line; NULL: nothing is
    int32_t dtype;
    int64_t stride; // elements
} attention_rows;

KERNEL_INLINE attention_rows attention_rows_of(
    const attention_job *job, const attention_scratch *scratch, const attention_span *span,
    const bool direct, int64_t page) {
    if (direct) {
        return (attention_rows){.data = span->keys[page] + job->value_bytes,
                                .ahead = span->ahead[page],
                                .dtype = job->dtype,
                                .stride = job->head_dim};
    }
    return (attention_rows){
        .data = (const char *)(scratch->values + page * ATTENTION_PAGE * job->padded),
        .ahead = NULL,
        .dtype = KERNEL_F32,
        .stride = job->padded};
}

KERNEL_INLINE f32x16
attention_load_value(const attention_job *job, const attention_rows *rows, int64_t row, int64_t d) {
    if (rows->stride == job->padded)
        return simd_load_as_f32(rows->data, rows->dtype, row * rows->stride + d);
    return attention_load(job, rows->data, row, d);
}

KERNEL_INLINE void attention_load_values(
    const attention_job *job, attention_scratch *scratch, const attention_span *span) {
    const int64_t element = job->dtype == KERNEL_F32 ? 4 : 2;
    for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
        const char *values = span->keys[page] + job->value_bytes;
        float *target = scratch->values + page * ATTENTION_PAGE * job->padded;
        for (int64_t i = span->first[page]; i < span->end[page]; i++) {
            for (int64_t d = 0; d < job->padded; d += 16) {
                simd_store(target + i * job->padded + d, attention_load(job, values, i, d));
                attention_ask_values(
                    true, job, span->ahead[page], (i * job->head_dim + d) * element);
            }
        }
    }
}

// Whether the values of the step, which are in scratch, are numbers.
KERNEL_INLINE bool attention_values_finite(
    const attention_job *job, const attention_scratch *scratch, const attention_span *span) {
    f32x16 nothing = simd_splat(0.0f); // times a number: nothing
    for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
        const float *rows = scratch->values + page * ATTENTION_PAGE * job->padded;
        const int64_t end = span->end[page] * job->padded;
        for (int64_t i = span->first[page] * job->padded; i < end; i += 16)
            nothing = simd_fma(simd_load(rows + i), simd_splat(0.0f), nothing);
    }
    return simd_sum(nothing) == 0.0f;
}

// ---- scores -------------------------------------------------------------------------------------------

// Scores of Q queries and P pages in scratch, which are keys `slot` … of the step.
KERNEL_INLINE void attention_scores(
    const int Q, const int P, const attention_job *job, attention_scratch *scratch,
    const attention_span *span, const bool direct, int64_t query, int64_t slot) {
    f32x16 score[ATTENTION_TILE_QUERIES][2];
    KERNEL_UNROLL for (int q = 0; q < Q; q++) score[q][0] = score[q][1] = simd_splat(0.0f);
    const float *queries[2];
    KERNEL_UNROLL for (int p = 0; p < P; p++) queries[p] =
        attention_again(scratch->queries + query * job->padded);
    const int32_t dtype = direct ? job->dtype : KERNEL_F32;
    const int64_t line_bytes =
        job->dtype == KERNEL_F32 ? 64 : 32; // of a page, for each of its columns
    _Pragma("clang loop unroll_count(4) vectorize(disable)") for (int64_t d = 0; d < job->padded;
                                                                  d++) {
        f32x16 key[2];
        KERNEL_UNROLL for (int p = 0; p < P; p++) key[p] = simd_load_as_f32(
            scratch->keys, dtype, ((slot / 16 + p) * attention_key_columns(job) + d) * 16);
        KERNEL_UNROLL for (int q = 0; q < Q; q++) {
            KERNEL_UNROLL for (int p = 0; p < P; p++) score[q][p] =
                simd_fma(key[p], simd_splat(queries[p][q * job->padded + d]), score[q][p]);
        }
        if (direct && d * line_bytes % 64 == 0) {
            KERNEL_UNROLL for (int p = 0; p < P; p++)
                attention_ask_keys(Q > 1, job, span, slot / ATTENTION_PAGE + p, d * line_bytes);
        }
    }
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++)
            simd_store(scratch->weights[query + q] + slot + p * 16, score[q][p]);
    }
}

KERNEL_INLINE void attention_cap(
    const attention_job *job, attention_scratch *scratch, int64_t n_rows) {
    const float inverse = 1.0f / job->softcap;
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t slot = 0; slot < ATTENTION_STEP; slot += 16) {
            float *score = scratch->weights[row] + slot;
            simd_store(score, job->bound * simd_tanh(simd_load(score) * inverse));
        }
    }
}

// Scores fall with the distance from the query: Press et al. 2021 (arXiv 2108.12409), section 3.
KERNEL_INLINE void attention_slant(attention_scratch *scratch, int64_t n_rows, int64_t base) {
    const i32x16 count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int64_t row = 0; row < n_rows; row++) {
        const f32x16 slope = simd_splat(scratch->slopes[row]);
        for (int64_t slot = 0; slot < ATTENTION_STEP; slot += 16) {
            const i32x16 distance = count + (int32_t)(base + slot - scratch->last[row]);
            float *score = scratch->weights[row] + slot;
            const f32x16 away = __builtin_convertvector(distance, f32x16);
            simd_store(score, simd_fma(slope, away, simd_load(score)));
        }
    }
}

// Keys that a query does not see lose their scores, whatever these were.
KERNEL_INLINE void attention_mask(attention_scratch *scratch, int64_t n_rows, int64_t base) {
    const i32x16 count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t slot = 0; slot < ATTENTION_STEP; slot += 16) {
            const i32x16 position = count + (int32_t)(base + slot);
            const i32x16 seen =
                (position >= scratch->first[row]) & (position <= scratch->last[row]);
            float *score = scratch->weights[row] + slot;
            simd_store(score, simd_select(seen, simd_load(score), simd_splat(-__builtin_inff())));
        }
    }
}

// ---- softmax ------------------------------------------------------------------------------------------

// New maxima and factors of 16 queries in one vector, as a power costs the same for one and for sixteen.
KERNEL_INLINE void attention_raise(attention_scratch *scratch, int64_t row, int64_t n_rows) {
    const i32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    f32x16 highest = simd_splat(ATTENTION_NO_SCORE);
    for (int64_t q = 0; q < n_rows; q++) {
        const float *scores = scratch->weights[row + q];
        f32x16 high = simd_load(scores);
        KERNEL_UNROLL for (int i = 16; i < ATTENTION_STEP; i += 16) high =
            simd_max(high, simd_load(scores + i));
        highest = simd_select(lanes == (int32_t)q, simd_splat(simd_max_of(high)), highest);
    }
    const f32x16 before = simd_load(scratch->maxima + row);
    const f32x16 maximum = simd_max(highest, before);
    simd_store(scratch->maxima + row, maximum);
    simd_store(scratch->factors + row, simd_exp2_negative(before - maximum));
}

// p in place of the scores, and the totals.
KERNEL_INLINE void attention_soften(attention_scratch *scratch, int64_t n_rows) {
    for (int64_t row = 0; row < n_rows; row += 16)
        attention_raise(scratch, row, n_rows - row < 16 ? n_rows - row : 16);
    for (int64_t row = 0; row < n_rows; row++) {
        float *weights = scratch->weights[row];
        f32x16 total = simd_load(scratch->totals[row]) * scratch->factors[row];
        KERNEL_UNROLL for (int i = 0; i < ATTENTION_STEP; i += 16) {
            const f32x16 p = simd_exp2_negative(simd_load(weights + i) - scratch->maxima[row]);
            simd_store(weights + i, p);
            total += p;
        }
        simd_store(scratch->totals[row], total);
    }
}

// ---- sums ---------------------------------------------------------------------------------------------

KERNEL_INLINE void attention_sums_page(
    const int Q, const int C, const attention_job *job, const float *all_weights,
    const attention_rows *rows, int64_t first, int64_t end, int64_t d,
    f32x16 sum[ATTENTION_TILE_QUERIES][ATTENTION_SUM_VECTORS]) {
    const int64_t element = rows->dtype == KERNEL_F32 ? 4 : 2;
    const float *weights[ATTENTION_SUM_VECTORS];
    KERNEL_UNROLL for (int c = 0; c < C; c++) weights[c] = attention_again(all_weights);
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t i = first; i < end; i++) {
        f32x16 value[ATTENTION_SUM_VECTORS];
        KERNEL_UNROLL for (int c = 0; c < C; c++) {
            value[c] = attention_load_value(job, rows, i, d + c * 16);
            if (rows->ahead != NULL && c * 16 * element % 64 == 0)
                attention_ask_values(
                    Q > 1, job, rows->ahead, (i * rows->stride + d + c * 16) * element);
        }
        KERNEL_UNROLL for (int q = 0; q < Q; q++) {
            KERNEL_UNROLL for (int c = 0; c < C; c++) sum[q][c] =
                simd_fma(value[c], simd_splat(weights[c][q * ATTENTION_STEP + i]), sum[q][c]);
        }
    }
}

// Q queries and C vectors of head columns from column d on.
KERNEL_INLINE void attention_sums_chunk(
    const int Q, const int C, const attention_job *job, attention_scratch *scratch,
    const attention_span *span, const bool direct, int64_t query, int64_t d) {
    f32x16 sum[ATTENTION_TILE_QUERIES][ATTENTION_SUM_VECTORS];
    float *sums = scratch->sums + query * job->padded + d;
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++) sum[q][c] =
            simd_load(sums + q * job->padded + c * 16) * scratch->factors[query + q];
    }
    for (int64_t page = 0; page < ATTENTION_PAGES; page++) {
        const attention_rows rows = attention_rows_of(job, scratch, span, direct, page);
        attention_sums_page(
            Q, C, job, scratch->weights[query] + page * ATTENTION_PAGE, &rows, span->first[page],
            span->end[page], d, sum);
    }
    KERNEL_UNROLL for (int q = 0; q < Q; q++) {
        KERNEL_UNROLL for (int c = 0; c < C; c++)
            simd_store(sums + q * job->padded + c * 16, sum[q][c]);
    }
}

// sums = sums * factor + p * values for Q queries; few queries leave registers for more columns.
KERNEL_INLINE void attention_sums(
    const int Q, const attention_job *job, attention_scratch *scratch, const attention_span *span,
    const bool direct, int64_t query) {
    int64_t d = 0;
    if (Q * 8 <= ATTENTION_SUM_VECTORS) {
        for (; d + 128 <= job->padded; d += 128)
            attention_sums_chunk(Q, 8, job, scratch, span, direct, query, d);
    }
    if (Q * 4 <= ATTENTION_SUM_VECTORS) {
        for (; d + 64 <= job->padded; d += 64)
            attention_sums_chunk(Q, 4, job, scratch, span, direct, query, d);
    } else if (Q * 2 <= ATTENTION_SUM_VECTORS) {
        for (; d + 32 <= job->padded; d += 32)
            attention_sums_chunk(Q, 2, job, scratch, span, direct, query, d);
    }
    for (; d < job->padded; d += 16)
        attention_sums_chunk(Q, 1, job, scratch, span, direct, query, d);
}

#endif
