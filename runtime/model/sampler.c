// Choosing the next token (runtime/mlcc.h says in which order what is applied).
//
// Candidates are taken from a heap in order of probability, so that a small top_k or top_p costs
// one pass over the vocabulary and a few pops instead of a sort. Work arrays are as large as the
// vocabulary and made at creation.
#include "runtime/mlcc.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mlcc_sampler {
    mlcc_sampling sampling;
    int64_t vocab;
    uint64_t random[4]; // state of xoshiro256**
    int32_t *counts;    // [vocab]: how often each token was generated
    int32_t *seen;      // [vocab]: the tokens with counts > 0
    int64_t n_seen;
    float *logits;       // [vocab]: after penalties
    double *weights;     // [vocab]: exp((logit - largest) / temperature)
    int32_t *candidates; // [vocab]: heap, then the kept tokens
};

mlcc_sampling mlcc_sampling_default(void) {
    return (mlcc_sampling){.top_p = 1.0f, .repetition_penalty = 1.0f};
}

static mlcc_status *out_of_range(const char *name, float value, const char *accepted) {
    return MLCC_ERROR(INVALID, "%s is %g; accepted are %s", name, (double)value, accepted);
}

static mlcc_status *check(const mlcc_sampling *s) {
    // Written so that NaN fails, too.
    if (!(s->temperature >= 0.0f) || isinf(s->temperature)) {
        return out_of_range("temperature", s->temperature, "0 and more (0 = greedy)");
    }
    if (!(s->top_p >= 0.0f && s->top_p <= 1.0f))
        return out_of_range("top_p", s->top_p, "0 … 1 (1 = off)");
    if (!(s->min_p >= 0.0f && s->min_p <= 1.0f))
        return out_of_range("min_p", s->min_p, "0 … 1 (0 = off)");
    if (!(s->repetition_penalty > 0.0f) || isinf(s->repetition_penalty)) {
        return out_of_range(
            "repetition_penalty", s->repetition_penalty, "numbers above 0 (1 = off)");
    }
    if (!(s->presence_penalty >= -2.0f && s->presence_penalty <= 2.0f)) {
        return out_of_range("presence_penalty", s->presence_penalty, "-2 … 2 (0 = off)");
    }
    if (!(s->frequency_penalty >= -2.0f && s->frequency_penalty <= 2.0f)) {
        return out_of_range("frequency_penalty", s->frequency_penalty, "-2 … 2 (0 = off)");
    }
    if (s->top_k < 0)
        return MLCC_ERROR(INVALID, "top_k is %d; accepted are 0 and more (0 = off)", s->top_k);
    return NULL;
}

mlcc_status *mlcc_sampler_create(const mlcc_sampling *sampling, int64_t vocab, mlcc_sampler **out) {
    *out = NULL;
    MLCC_TRY(check(sampling));
    if (vocab < 1 || vocab > INT32_MAX) {
        return MLCC_ERROR(
            INVALID, "a vocabulary of %" PRId64 " tokens is not possible; accepted are 1 … %d",
            vocab, INT32_MAX);
    }
    mlcc_sampler *sampler = calloc(1, sizeof *sampler);
    if (sampler == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a sampler cannot be had");
    size_t n = (size_t)vocab;
    sampler->sampling = *sampling;
    sampler->vocab = vocab;
    sampler->counts = calloc(n, sizeof *sampler->counts);
    sampler->seen = calloc(n, sizeof *sampler->seen);
    sampler->logits = calloc(n, sizeof *sampler->logits);
    sampler->weights = calloc(n, sizeof *sampler->weights);
    sampler->candidates = calloc(n, sizeof *sampler->candidates);
    if (sampler->counts == NULL || sampler->seen == NULL || sampler->logits == NULL ||
        sampler->weights == NULL || sampler->candidates == NULL) {
        mlcc_sampler_free(sampler);
        return MLCC_ERROR(
            NO_MEMORY, "memory for a sampler over %" PRId64 " tokens cannot be had", vocab);
    }
    mlcc_sampler_reset(sampler);
    *out = sampler;
    return NULL;
}

void mlcc_sampler_free(mlcc_sampler *sampler) {
    if (sampler == NULL) return;
    free(sampler->counts);
    free(sampler->seen);
    free(sampler->logits);
    free(sampler->weights);
    free(sampler->candidates);
    free(sampler);
}

// splitmix64 (Vigna): spreads a seed over the state, as the authors of xoshiro recommend.
static uint64_t split_mix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

// xoshiro256** 1.0 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018).
static uint64_t next_random(uint64_t s[4]) {
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

void mlcc_sampler_reset(mlcc_sampler *sampler) {
    uint64_t state = sampler->sampling.seed;
    for (int i = 0; i < 4; i++) sampler->random[i] = split_mix(&state);
    memset(sampler->counts, 0, (size_t)sampler->vocab * sizeof *sampler->counts);
    sampler->n_seen = 0;
}

// MLC's order: presence and frequency are subtracted, then repetition divides what is positive and
// multiplies the rest.
static const float *apply_penalties(mlcc_sampler *sampler, const float *logits) {
    const mlcc_sampling *s = &sampler->sampling;
    bool is_off = s->presence_penalty == 0.0f && s->frequency_penalty == 0.0f &&
                  s->repetition_penalty == 1.0f;
    if (is_off || sampler->n_seen == 0) return logits;
    memcpy(sampler->logits, logits, (size_t)sampler->vocab * sizeof *logits);
    for (int64_t i = 0; i < sampler->n_seen; i++) {
        int32_t token = sampler->seen[i];
        float value = sampler->logits[token];
        value -= s->presence_penalty + (float)sampler->counts[token] * s->frequency_penalty;
        sampler->logits[token] =
            value > 0.0f ? value / s->repetition_penalty : value * s->repetition_penalty;
    }
    return sampler->logits;
}

// The first of the largest logits; -1 when nothing is above -inf. Comparisons with NaN are false,
// so NaN never wins.
static int32_t largest(const float *logits, int64_t vocab) {
    int32_t best = -1;
    float best_value = -INFINITY;
    for (int64_t i = 0; i < vocab; i++) {
        if (logits[i] > best_value) {
            best_value = logits[i];
            best = (int32_t)i;
        }
    }
    return best;
}

// Heap order: more weight first, the lower id among equals.
static bool goes_before(const double *weights, int32_t a, int32_t b) {
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
}

static void sift_down(const double *weights, int32_t *heap, int64_t n, int64_t at) {
    int32_t moving = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && goes_before(weights, heap[child + 1], heap[child])) child++;
        if (!goes_before(weights, heap[child], moving)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

// Moves the first of the heap behind its end; the heap has one less then.
static void pop(const double *weights, int32_t *heap, int64_t n) {
    int32_t first = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = first;
    sift_down(weights, heap, n - 1, 0);
}

// The tokens that may be drawn: first[0], first[step], first[2 * step], …
typedef struct kept_range {
    const int32_t *first;
    int64_t step, n;
    double sum;
} kept_range;

// Keeps the candidates of at least `least` weight, in order of their ids.
static kept_range keep_heavy(mlcc_sampler *sampler, int64_t n, double least) {
    kept_range kept = {.first = sampler->candidates, .step = 1};
    for (int64_t i = 0; i < n; i++) {
        int32_t token = sampler->candidates[i];
        if (sampler->weights[token] < least) continue;
        sampler->candidates[kept.n++] = token;
        kept.sum += sampler->weights[token];
    }
    return kept;
}

// Top-k, top-p and min-p, each over what the one before it kept. The best weight is 1, so min_p is
// the smallest weight that stays.
static kept_range keep_best(mlcc_sampler *sampler, int64_t n, double total) {
    const mlcc_sampling *s = &sampler->sampling;
    const double *weights = sampler->weights;
    int32_t *heap = sampler->candidates;
    bool has_top_k = s->top_k > 0 && s->top_k < n;
    if (!has_top_k && s->top_p >= 1.0f) return keep_heavy(sampler, n, (double)s->min_p);
    // All candidates below this weight together miss top-p (the cut of llama2.c's sampler), so they
    // need not enter the heap.
    if (!has_top_k) n = keep_heavy(sampler, n, (1.0 - (double)s->top_p) * total / (double)n).n;
    for (int64_t i = n / 2; i > 0; i--) sift_down(weights, heap, n, i - 1);
    // What is popped lies at the end, the best one last.
    kept_range kept = {.first = heap + n - 1, .step = -1};
    int64_t limit = n;
    if (has_top_k) {
        limit = s->top_k;
        total = 0.0;
        for (int64_t i = 0; i < limit; i++) {
            pop(weights, heap, n - i);
            total += weights[kept.first[-i]];
        }
    }
    while (kept.n < limit && (kept.n == 0 || kept.sum < (double)s->top_p * total)) {
        if (!has_top_k) pop(weights, heap, n - kept.n);
        double weight = weights[kept.first[-kept.n]];
        if (weight < (double)s->min_p) break;
        kept.sum += weight;
        kept.n++;
    }
    return kept;
}

static int32_t draw(mlcc_sampler *sampler, kept_range kept) {
    double unit = (double)(next_random(sampler->random) >> 11) * 0x1p-53; // [0, 1)
    double left = unit * kept.sum;
    for (int64_t i = 0; i < kept.n - 1; i++) {
        int32_t token = kept.first[i * kept.step];
        left -= sampler->weights[token];
        if (left < 0.0) return token;
    }
    return kept.first[(kept.n - 1) * kept.step];
}

static int32_t choose(mlcc_sampler *sampler, const float *logits) {
    const mlcc_sampling *s = &sampler->sampling;
    int32_t best = largest(logits, sampler->vocab);
    if (best < 0) return 0;
    if (s->temperature <= 1e-5f) return best;
    double total = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < sampler->vocab; i++) {
        // Equality first: of infinite logits the difference is no number.
        double weight = 1.0;
        if (logits[i] != logits[best]) {
            weight = exp(((double)logits[i] - (double)logits[best]) / (double)s->temperature);
        }
        if (!(weight > 0.0)) continue; // NaN, -inf and what is too small to matter
        sampler->weights[i] = weight;
        sampler->candidates[n++] = (int32_t)i;
        total += weight;
    }
    return draw(sampler, keep_best(sampler, n, total));
}

int32_t mlcc_sampler_sample(mlcc_sampler *sampler, const float *logits) {
    int32_t token = choose(sampler, apply_penalties(sampler, logits));
    if (sampler->counts[token] == 0) sampler->seen[sampler->n_seen++] = token;
    if (sampler->counts[token] < INT32_MAX) sampler->counts[token]++;
    return token;
}
