// eval_sample: the op `sample` by its definition: candidates sorted, then counted off. The arithmetic is runtime/base/chance.h's.
#include "ir/eval_ops.h"
#include "runtime/base/chance.h"

#include <math.h>
#include <stdlib.h>

typedef struct candidate {
    uint32_t distance;
    int32_t token;
    bool is_kept;
} candidate;

static int by_order(const void *a, const void *b) {
    const candidate *left = a, *right = b;
    if (left->distance != right->distance) return left->distance < right->distance ? -1 : 1;
    return left->token < right->token ? -1 : left->token > right->token;
}

static int by_token(const void *a, const void *b) {
    const candidate *left = a, *right = b;
    return left->token < right->token ? -1 : left->token > right->token;
}

// A row of logits with the penalties of the tokens in its part of the history.
static mlcc_status *penalize(const eval_call *call, int64_t row, float *logits) {
    const ir_tensor *from = call->operands[0];
    const int64_t vocab = from->dims[1], n_history = call->operands[4]->dims[0];
    const float repetition = call->operands[1]->f32[row * 5 + 4];
    const int32_t *range = call->operands[3]->i32 + row * 2;
    for (int64_t i = 0; i < vocab; i++) logits[i] = from->f32[row * vocab + i];
    if (range[0] < 0 || range[1] < range[0] || range[1] > n_history) {
        return MLCC_ERROR(
            INVALID, "sample: row %lld has history %d … %d of %lld", (long long)row, range[0],
            range[1], (long long)n_history);
    }
    for (int32_t i = range[0]; i < range[1]; i++) {
        const int32_t token = call->operands[4]->i32[i];
        if (token < 0 || token >= vocab)
            return MLCC_ERROR(INVALID, "sample: history holds token %d", token);
        logits[token] = mlcc_chance_penalized(logits[token], call->operands[5]->f32[i], repetition);
    }
    return NULL;
}

static int64_t first_of_largest(const float *logits, int64_t vocab) {
    int64_t best = -1;
    for (int64_t i = 0; i < vocab; i++) {
        if (logits[i] > (best < 0 ? -INFINITY : logits[best])) best = i;
    }
    return best;
}

// Marks what top-k, top-p over what top-k left, and min-p keep. Candidates are in order.
static void keep(candidate *candidates, int64_t n, const float *settings) {
    const float top_p = settings[1], top_k = settings[2];
    const int64_t limit = top_k > 0.0f && top_k < (float)n ? (int64_t)top_k : n;
    uint64_t total = 0, sum = 0;
    for (int64_t i = 0; i < limit; i++) total += mlcc_chance_weight(candidates[i].distance);
    const uint64_t needed = top_p < 1.0f ? mlcc_chance_part(total, top_p) : total;
    for (int64_t i = 0; i < limit && (i == 0 || sum < needed); i++) {
        const uint64_t weight = mlcc_chance_weight(candidates[i].distance);
        candidates[i].is_kept = weight >= mlcc_chance_least(settings[3]);
        sum += weight;
    }
}

// The first token, in the order of the ids, at which the sum of the kept weights is above the mark.
static int32_t draw(candidate *candidates, int64_t n, uint64_t random) {
    uint64_t sum = 0;
    qsort(candidates, (size_t)n, sizeof *candidates, by_token);
    for (int64_t i = 0; i < n; i++)
        sum += candidates[i].is_kept ? mlcc_chance_weight(candidates[i].distance) : 0;
    const uint64_t mark = mlcc_chance_mark(sum, random);
    sum = 0;
    int64_t at = -1;
    do {
        at++;
        sum += candidates[at].is_kept ? mlcc_chance_weight(candidates[at].distance) : 0;
    } while (sum <= mark);
    return candidates[at].token;
}

static int32_t sample_row(
    const eval_call *call, int64_t row, const float *logits, candidate *candidates) {
    const int64_t vocab = call->operands[0]->dims[1];
    const float *settings = call->operands[1]->f32 + row * 5;
    const int32_t *words = call->operands[2]->i32 + row * 2;
    const int64_t best = first_of_largest(logits, vocab);
    if (best < 0) return 0;
    if (settings[0] <= MLCC_CHANCE_GREEDY) return (int32_t)best;
    const float octaves = mlcc_chance_octaves(settings[0]);
    int64_t n = 0;
    for (int64_t i = 0; i < vocab; i++) {
        const uint32_t distance = mlcc_chance_distance(logits[best], logits[i], octaves);
        if (distance != MLCC_CHANCE_NONE)
            candidates[n++] = (candidate){.distance = distance, .token = (int32_t)i};
    }
    qsort(candidates, (size_t)n, sizeof *candidates, by_order);
    keep(candidates, n, settings);
    return draw(candidates, n, (uint64_t)(uint32_t)words[1] << 32 | (uint32_t)words[0]);
}

mlcc_status *ir_eval_sample(const eval_call *call) {
    const int64_t vocab = call->operands[0]->dims[1];
    float *logits = MLCC_NEW_ARRAY(call->scratch, float, (size_t)vocab);
    candidate *candidates = MLCC_NEW_ARRAY(call->scratch, candidate, (size_t)vocab);
    for (int64_t row = 0; row < call->results[0]->dims[0]; row++) {
        MLCC_TRY(penalize(call, row, logits));
        call->results[0]->i32[row] = sample_row(call, row, logits, candidates);
    }
    return NULL;
}
