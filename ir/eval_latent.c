// eval_latent: attention over a cache of latents: keys and values of all heads are one row a token (multi-head latent attention with its projections
// absorbed: DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix C).
#include "ir/eval_ops.h"

#include <math.h>
#include <string.h>

// A cache [P, page, width] and the tables that say where a token's row lies.
typedef struct latent_cache {
    const char *op_text;
    const ir_tensor *cache;
    const ir_tensor *page_table; // [S, n]
    const ir_tensor *seq_ids;    // [T]
    const ir_tensor *positions;  // [T]
    int64_t page_tokens, width;
} latent_cache;

static latent_cache cache_of(const eval_call *call, int32_t cache) {
    const ir_tensor *tensor = call->operands[cache];
    return (latent_cache){
        .op_text = ir_op_get(call->node->op)->text,
        .cache = tensor,
        .page_table = call->operands[3],
        .seq_ids = call->operands[4],
        .positions = call->operands[5],
        .page_tokens = tensor->dims[1],
        .width = tensor->dims[2],
    };
}

// First element of the row at `position` of the token's sequence.
static mlcc_status *find_row(
    const latent_cache *latents, int64_t token, int64_t position, int64_t *place) {
    const int64_t n_seqs = latents->page_table->dims[0], n_slots = latents->page_table->dims[1];
    const int64_t sequence = latents->seq_ids->i32[token];
    const int64_t slot = position / latents->page_tokens;
    if (sequence < 0 || sequence >= n_seqs || position < 0 || slot >= n_slots)
        return MLCC_ERROR(
            INVALID,
            "%s: token %lld is at position %lld of sequence %lld; the page table has %lld "
            "sequences of %lld positions",
            latents->op_text, (long long)token, (long long)position, (long long)sequence,
            (long long)n_seqs, (long long)(n_slots * latents->page_tokens));
    const int64_t page = latents->page_table->i32[sequence * n_slots + slot];
    if (page < 0 || page >= latents->cache->dims[0])
        return MLCC_ERROR(
            INVALID, "%s: page table entry [%lld, %lld] is %lld, the cache has %lld pages",
            latents->op_text, (long long)sequence, (long long)slot, (long long)page,
            (long long)latents->cache->dims[0]);
    *place = (page * latents->page_tokens + position % latents->page_tokens) * latents->width;
    return NULL;
}

mlcc_status *ir_eval_latent_append(const eval_call *call) {
    const latent_cache latents = cache_of(call, 0);
    const ir_tensor *latent = call->operands[1];  // [T, rank]
    const ir_tensor *rotated = call->operands[2]; // [T, width - rank]
    const ir_tensor *out = call->results[0];
    const int64_t rank = latent->dims[1];
    memcpy(out->f32, latents.cache->f32, (size_t)ir_tensor_count(out) * sizeof *out->f32);
    for (int64_t token = 0; token < latent->dims[0]; token++) {
        int64_t place = 0;
        MLCC_TRY(find_row(&latents, token, latents.positions->i32[token], &place));
        for (int64_t i = 0; i < latents.width; i++) {
            const float value = i < rank ? latent->f32[token * rank + i]
                                         : rotated->f32[token * rotated->dims[1] + i - rank];
            out->f32[place + i] = eval_round(out->dtype, (double)value);
        }
    }
    return NULL;
}

typedef struct latent_job {
    latent_cache latents;
    int64_t rank;
    double scale;
    const float **rows; // cached row of each position of the current token's sequence
    double *weights;    // one per position
    double *sums;       // [rank]
} latent_job;

// One head of one token over positions 0 … end-1.
static void attend_head(
    const latent_job *job, ir_dtype dtype, const float *q, const float *rotated, int64_t end,
    float *out) {
    const int64_t rank = job->rank;
    double largest = -HUGE_VAL, total = 0.0;
    for (int64_t position = 0; position < end; position++) {
        double sum = 0.0;
        for (int64_t i = 0; i < job->latents.width; i++)
            sum += (double)(i < rank ? q[i] : rotated[i - rank]) * (double)job->rows[position][i];
        job->weights[position] = sum * job->scale;
        if (!(job->weights[position] <= largest)) largest = job->weights[position];
    }
    memset(job->sums, 0, (size_t)rank * sizeof *job->sums);
    for (int64_t position = 0; position < end; position++) {
        const double weight = exp(job->weights[position] - largest);
        total += weight;
        for (int64_t i = 0; i < rank; i++) job->sums[i] += weight * (double)job->rows[position][i];
    }
    for (int64_t i = 0; i < rank; i++) out[i] = eval_round(dtype, job->sums[i] / total);
}

mlcc_status *ir_eval_latent_attention(const eval_call *call) {
    const ir_tensor *q = call->operands[0];       // [T, H * rank]
    const ir_tensor *rotated = call->operands[1]; // [T, H * (width - rank)]
    const ir_tensor *out = call->results[0];
    latent_job job = {
        .latents = cache_of(call, 2),
        .rank = ir_attr_i64(call->node, "rank"),
        .scale = ir_attr_f64(call->node, "scale")};
    const int64_t n_heads = q->dims[1] / job.rank, n_rotated = job.latents.width - job.rank;
    const int64_t longest = job.latents.page_table->dims[1] * job.latents.page_tokens;
    job.rows = MLCC_NEW_ARRAY(call->scratch, const float *, (size_t)longest);
    job.weights = MLCC_NEW_ARRAY(call->scratch, double, (size_t)longest);
    job.sums = MLCC_NEW_ARRAY(call->scratch, double, (size_t)job.rank);
    for (int64_t token = 0; token < q->dims[0]; token++) {
        int64_t end = (int64_t)job.latents.positions->i32[token] + 1, place = 0;
        MLCC_TRY(find_row(&job.latents, token, end - 1, &place));
        for (int64_t position = 0; position < end; position++) {
            MLCC_TRY(find_row(&job.latents, token, position, &place));
            job.rows[position] = job.latents.cache->f32 + place;
        }
        for (int64_t head = token * n_heads; head < (token + 1) * n_heads; head++)
            attend_head(
                &job, out->dtype, q->f32 + head * job.rank, rotated->f32 + head * n_rotated, end,
                out->f32 + head * job.rank);
    }
    return NULL;
}

mlcc_status *ir_eval_linear_heads(const eval_call *call) {
    const ir_tensor *x = call->operands[0];      // [T, H * K]
    const ir_tensor *weight = call->operands[1]; // [H, N, K]
    const ir_tensor *out = call->results[0];     // [T, H * N]
    const int64_t n_heads = weight->dims[0], n = weight->dims[1], depth = weight->dims[2];
    for (int64_t slot = 0; slot < out->dims[0] * n_heads; slot++) {
        const float *from = x->f32 + slot * depth;
        for (int64_t column = 0; column < n; column++) {
            const float *w = weight->f32 + (slot % n_heads * n + column) * depth;
            double sum = 0.0;
            for (int64_t i = 0; i < depth; i++) sum += (double)from[i] * (double)w[i];
            out->f32[slot * n + column] = eval_round(out->dtype, sum);
        }
    }
    return NULL;
}
