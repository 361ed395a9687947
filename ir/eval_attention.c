// eval_attention: rotary positions, the paged kv cache and attention over it.
#include "ir/eval_ops.h"

#include <math.h>
#include <string.h>

// ---- rotary positions: Su et al. 2021 (arXiv 2104.09864), equation 34 -------------------------------

mlcc_status *ir_eval_rope_table(const eval_call *call) {
    const ir_tensor *positions = call->operands[0];   // [T]
    const ir_tensor *frequencies = call->operands[1]; // [R/2]
    const ir_tensor *out = call->results[0];          // [T, R]: cosines, then sines
    double magnitude = ir_attr_f64(call->node, "magnitude");
    double growth = ir_attr_f64(call->node, "growth");
    double period = (double)ir_attr_i64(call->node, "period");
    int64_t half = frequencies->dims[0];
    for (int64_t token = 0; token < out->dims[0]; token++) {
        float *row = out->f32 + token * 2 * half;
        const double contexts = floor((double)positions->i32[token] / period);
        const double length = magnitude * (1 + growth * log(1 + contexts));
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)positions->i32[token] * (double)frequencies->f32[i];
            row[i] = eval_round(out->dtype, length * cos(angle));
            row[half + i] = eval_round(out->dtype, length * sin(angle));
        }
    }
    return NULL;
}

// One head: pairs (i, i + half) or (2i, 2i+1) turn; columns from 2 * half on stay.
static void rotate_head(
    ir_dtype dtype, const float *x, const float *table, int64_t half, int64_t head_dim,
    bool interleaved, float *out) {
    for (int64_t i = 2 * half; i < head_dim; i++) out[i] = eval_round(dtype, (double)x[i]);
    for (int64_t i = 0; i < half; i++) {
        int64_t first = interleaved ? 2 * i : i;
        int64_t second = interleaved ? 2 * i + 1 : i + half;
        double a = (double)x[first];
        double b = (double)x[second];
        double cosine = (double)table[i];
        double sine = (double)table[half + i];
        out[first] = eval_round(dtype, a * cosine - b * sine);
        out[second] = eval_round(dtype, b * cosine + a * sine);
    }
}

mlcc_status *ir_eval_rope(const eval_call *call) {
    const ir_tensor *x = call->operands[0];     // [T, H * head_dim]
    const ir_tensor *table = call->operands[1]; // [T, R]
    const ir_tensor *out = call->results[0];
    int64_t head_dim = ir_attr_i64(call->node, "head_dim");
    bool interleaved = ir_attr_bool(call->node, "interleaved");
    int64_t columns = out->dims[1];
    int64_t rotated = table->dims[1];
    for (int64_t token = 0; token < out->dims[0]; token++) {
        for (int64_t column = 0; column < columns; column += head_dim) {
            int64_t place = token * columns + column;
            rotate_head(
                out->dtype, x->f32 + place, table->f32 + token * rotated, rotated / 2, head_dim,
                interleaved, out->f32 + place);
        }
    }
    return NULL;
}

// ---- the paged kv cache ----------------------------------------------------------------------------

// A cache [P, 2, Hkv, page, hd] and the tables that say where a token's entry lies.
typedef struct paged_cache {
    const char *op_text;
    const ir_tensor *cache;
    const ir_tensor *page_table; // [S, n]
    const ir_tensor *seq_ids;    // [T]
    const ir_tensor *positions;  // [T]
    int64_t n_kv_heads, page_tokens, head_dim;
} paged_cache;

static paged_cache cache_of(const eval_call *call, int32_t cache, int32_t tables) {
    const ir_tensor *tensor = call->operands[cache];
    return (paged_cache){
        .op_text = ir_op_get(call->node->op)->text,
        .cache = tensor,
        .page_table = call->operands[tables],
        .seq_ids = call->operands[tables + 1],
        .positions = call->operands[tables + 2],
        .n_kv_heads = tensor->dims[2],
        .page_tokens = tensor->dims[3],
        .head_dim = tensor->dims[4],
    };
}

static mlcc_status *check_token(const paged_cache *paged, int64_t token) {
    int32_t sequence = paged->seq_ids->i32[token];
    int32_t position = paged->positions->i32[token];
    int64_t n_positions = paged->page_table->dims[1] * paged->page_tokens;
    if (sequence < 0 || sequence >= paged->page_table->dims[0]) {
        return MLCC_ERROR(
            INVALID, "%s: token %lld has sequence %d, the page table has %lld", paged->op_text,
            (long long)token, sequence, (long long)paged->page_table->dims[0]);
    }
    if (position < 0 || position >= n_positions) {
        return MLCC_ERROR(
            INVALID, "%s: token %lld has position %d, the page table holds %lld", paged->op_text,
            (long long)token, position, (long long)n_positions);
    }
    return NULL;
}

// The page that holds `position` of the token's sequence.
static mlcc_status *find_page(
    const paged_cache *paged, int64_t token, int64_t position, int64_t *page) {
    int64_t sequence = paged->seq_ids->i32[token];
    int64_t slot = position / paged->page_tokens;
    *page = paged->page_table->i32[sequence * paged->page_table->dims[1] + slot];
    if (*page >= 0 && *page < paged->cache->dims[0]) return NULL;
    return MLCC_ERROR(
        INVALID, "%s: page table entry [%lld, %lld] is %lld, the cache has %lld pages",
        paged->op_text, (long long)sequence, (long long)slot, (long long)*page,
        (long long)paged->cache->dims[0]);
}

// First element of the head_dim ones of (page, k or v, head, place in the page).
static int64_t entry_place(
    const paged_cache *paged, int64_t page, int64_t half, int64_t head, int64_t position) {
    int64_t place = (page * 2 + half) * paged->n_kv_heads + head;
    return (place * paged->page_tokens + position % paged->page_tokens) * paged->head_dim;
}

mlcc_status *ir_eval_kv_append(const eval_call *call) {
    paged_cache paged = cache_of(call, 0, 3);
    const ir_tensor *out = call->results[0];
    int64_t columns = paged.n_kv_heads * paged.head_dim;
    memcpy(out->f32, paged.cache->f32, (size_t)ir_tensor_count(out) * sizeof *out->f32);
    for (int64_t token = 0; token < paged.positions->dims[0]; token++) {
        int64_t position = paged.positions->i32[token];
        int64_t page = 0;
        MLCC_TRY(check_token(&paged, token));
        MLCC_TRY(find_page(&paged, token, position, &page));
        for (int64_t half = 0; half < 2; half++) {
            const float *from = call->operands[1 + half]->f32 + token * columns;
            for (int64_t head = 0; head < paged.n_kv_heads; head++) {
                float *to = out->f32 + entry_place(&paged, page, half, head, position);
                for (int64_t i = 0; i < paged.head_dim; i++) {
                    to[i] = eval_round(out->dtype, (double)from[head * paged.head_dim + i]);
                }
            }
        }
    }
    return NULL;
}

// ---- attention: Vaswani et al. 2017 (arXiv 1706.03762), equation 1, one query row at a time ----------

typedef struct attention {
    paged_cache paged;
    double scale, softcap;
    int64_t window;
    const ir_tensor *sinks, *slopes; // [Hq]; NULL: none
    int64_t *pages;                  // page of each slot of the current token's sequence
    double *weights;                 // one per position
    double *sums;                    // [head_dim]
} attention;

static double score(const attention *a, const float *q, const float *k) {
    double sum = 0.0;
    for (int64_t i = 0; i < a->paged.head_dim; i++) sum += (double)q[i] * (double)k[i];
    sum *= a->scale;
    return a->softcap > 0.0 ? a->softcap * tanh(sum / a->softcap) : sum;
}

// Entries of positions begin … *end-1 lie side by side: *end is that of the page, or `last`.
static const float *entries(
    const attention *a, int64_t half, int64_t head, int64_t begin, int64_t last, int64_t *end) {
    int64_t slot = begin / a->paged.page_tokens;
    int64_t page_end = (slot + 1) * a->paged.page_tokens;
    *end = page_end < last ? page_end : last;
    return a->paged.cache->f32 + entry_place(&a->paged, a->pages[slot], half, head, begin);
}

// One head of one token over positions begin … end-1. Sinks: Xiao et al. 2023 (arXiv 2309.17453), equation 2, with a learned
// score. Slopes: Press et al. 2021 (arXiv 2108.12409), section 3.
static void attend_head(
    const attention *a, ir_dtype dtype, const float *q, int64_t head, int64_t kv_head,
    int64_t begin, int64_t end, float *out) {
    int64_t head_dim = a->paged.head_dim;
    int64_t page_end = 0;
    double sink = a->sinks != NULL ? (double)a->sinks->f32[head] : -HUGE_VAL;
    double slope = a->slopes != NULL ? (double)a->slopes->f32[head] : 0.0;
    double largest = sink;
    for (int64_t position = begin; position < end;) {
        const float *k = entries(a, 0, kv_head, position, end, &page_end);
        for (; position < page_end; position++, k += head_dim) {
            a->weights[position] = score(a, q, k) + slope * (double)(position + 1 - end);
            if (!(a->weights[position] <= largest)) largest = a->weights[position];
        }
    }
    double total = exp(sink - largest);
    memset(a->sums, 0, (size_t)head_dim * sizeof *a->sums);
    for (int64_t position = begin; position < end;) {
        const float *v = entries(a, 1, kv_head, position, end, &page_end);
        for (; position < page_end; position++, v += head_dim) {
            double weight = exp(a->weights[position] - largest);
            total += weight;
            for (int64_t i = 0; i < head_dim; i++) a->sums[i] += weight * (double)v[i];
        }
    }
    for (int64_t i = 0; i < head_dim; i++) out[i] = eval_round(dtype, a->sums[i] / total);
}

static mlcc_status *attend_token(
    const attention *a, const ir_tensor *q, int64_t token, const ir_tensor *out) {
    MLCC_TRY(check_token(&a->paged, token));
    int64_t head_dim = a->paged.head_dim;
    int64_t n_heads = q->dims[1] / head_dim;
    int64_t end = (int64_t)a->paged.positions->i32[token] + 1;
    int64_t begin = a->window > 0 && end > a->window ? end - a->window : 0;
    int64_t page_tokens = a->paged.page_tokens;
    for (int64_t slot = begin / page_tokens; slot * page_tokens < end; slot++) {
        MLCC_TRY(find_page(&a->paged, token, slot * page_tokens, &a->pages[slot]));
    }
    for (int64_t head = 0; head < n_heads; head++) {
        int64_t place = (token * n_heads + head) * head_dim;
        int64_t kv_head = head / (n_heads / a->paged.n_kv_heads);
        attend_head(a, out->dtype, q->f32 + place, head, kv_head, begin, end, out->f32 + place);
    }
    return NULL;
}

mlcc_status *ir_eval_paged_attention(const eval_call *call) {
    attention a = {
        .paged = cache_of(call, 1, 2),
        .scale = ir_attr_f64(call->node, "scale"),
        .softcap = ir_attr_f64(call->node, "softcap"),
        .window = ir_attr_i64(call->node, "window"),
        .sinks = call->node->n_operands > 5 ? call->operands[5] : NULL,
        .slopes = call->node->n_operands > 6 ? call->operands[6] : NULL,
    };
    const ir_tensor *q = call->operands[0]; // [T, Hq * hd]
    int64_t longest = 0;
    for (int64_t token = 0; token < q->dims[0]; token++) {
        MLCC_TRY(check_token(&a.paged, token));
        int64_t length = (int64_t)a.paged.positions->i32[token] + 1;
        if (length > longest) longest = length;
    }
    a.pages = MLCC_NEW_ARRAY(call->scratch, int64_t, (size_t)a.paged.page_table->dims[1]);
    a.weights = MLCC_NEW_ARRAY(call->scratch, double, (size_t)longest);
    a.sums = MLCC_NEW_ARRAY(call->scratch, double, (size_t)a.paged.head_dim);
    for (int64_t token = 0; token < q->dims[0]; token++) {
        MLCC_TRY(attend_token(&a, q, token, call->results[0]));
    }
    return NULL;
}
