// Choosing the next token (runtime/mlcc.h says in which order what is applied).
//
// Probabilities are whole numbers (runtime/base/chance.h), so a device that chooses in another order
// chooses the same token. Candidates are taken from a heap in order of probability, so that a small
// top_k or top_p costs two passes over the vocabulary and a few pops instead of a sort. Work arrays
// are as large as the vocabulary and made at creation.
#include "runtime/model/sampler.h"

#include "runtime/base/chance.h"

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
    bool is_in_step;     // named by a step that is being prepared
    float *logits;       // [vocab]: after penalties
    uint32_t *distances; // [vocab]: from the best logit; NONE = no candidate
    uint64_t *weights;   // [vocab]: of candidates, else 0
    int32_t *candidates; // [vocab]: heap
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
    if (vocab < 1 || vocab > MLCC_CHANCE_MAX_VOCAB) {
        return MLCC_ERROR(
            INVALID,
            "a vocabulary of %" PRId64 " tokens is not possible; accepted are 1 … %" PRId64, vocab,
            MLCC_CHANCE_MAX_VOCAB);
    }
    mlcc_sampler *sampler = calloc(1, sizeof *sampler);
    if (sampler == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a sampler cannot be had");
    size_t n = (size_t)vocab;
    sampler->sampling = *sampling;
    sampler->vocab = vocab;
    sampler->counts = calloc(n, sizeof *sampler->counts);
    sampler->seen = calloc(n, sizeof *sampler->seen);
    sampler->logits = calloc(n, sizeof *sampler->logits);
    sampler->distances = calloc(n, sizeof *sampler->distances);
    sampler->weights = calloc(n, sizeof *sampler->weights);
    sampler->candidates = calloc(n, sizeof *sampler->candidates);
    if (sampler->counts == NULL || sampler->seen == NULL || sampler->logits == NULL ||
        sampler->distances == NULL || sampler->weights == NULL || sampler->candidates == NULL) {
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
    free(sampler->distances);
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

static bool has_penalties(const mlcc_sampling *s) {
    return s->presence_penalty != 0.0f || s->frequency_penalty != 0.0f ||
           s->repetition_penalty != 1.0f;
}

// What presence and frequency take from the logit of a token that was generated before.
static float subtracted(const mlcc_sampler *sampler, int32_t token) {
    const mlcc_sampling *s = &sampler->sampling;
    return s->presence_penalty + (float)sampler->counts[token] * s->frequency_penalty;
}

// MLC's order: presence and frequency are subtracted, then repetition divides what is positive and
// multiplies the rest.
static const float *apply_penalties(mlcc_sampler *sampler, const float *logits) {
    if (!has_penalties(&sampler->sampling) || sampler->n_seen == 0) return logits;
    memcpy(sampler->logits, logits, (size_t)sampler->vocab * sizeof *logits);
    for (int64_t i = 0; i < sampler->n_seen; i++) {
        int32_t token = sampler->seen[i];
        sampler->logits[token] = mlcc_chance_penalized(
            logits[token], subtracted(sampler, token), sampler->sampling.repetition_penalty);
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

// ---- the order of candidates: smaller distance first, the lower id among equals

static bool goes_before(const uint32_t *distances, int32_t a, int32_t b) {
    return distances[a] < distances[b] || (distances[a] == distances[b] && a < b);
}

static void sift_down(const uint32_t *distances, int32_t *heap, int64_t n, int64_t at) {
    int32_t moving = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && goes_before(distances, heap[child + 1], heap[child])) child++;
        if (!goes_before(distances, heap[child], moving)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

// Moves the first of the heap behind its end, heap[n - 1]; the heap has one less then.
static int32_t pop(const uint32_t *distances, int32_t *heap, int64_t n) {
    int32_t first = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = first;
    sift_down(distances, heap, n - 1, 0);
    return first;
}

// ---- choosing

// Fills distances, weights and candidates; gives the number of candidates.
static int64_t weigh(mlcc_sampler *sampler, const float *logits, int32_t best, uint64_t *total) {
    const float octaves = mlcc_chance_octaves(sampler->sampling.temperature);
    int64_t n = 0;
    *total = 0;
    for (int64_t i = 0; i < sampler->vocab; i++) {
        uint32_t distance = mlcc_chance_distance(logits[best], logits[i], octaves);
        sampler->distances[i] = distance;
        sampler->weights[i] = distance == MLCC_CHANCE_NONE ? 0 : mlcc_chance_weight(distance);
        *total += sampler->weights[i];
        sampler->candidates[n] = (int32_t)i;
        n += distance != MLCC_CHANCE_NONE;
    }
    return n;
}

// Drops candidates below this weight.
static int64_t drop_light(mlcc_sampler *sampler, int64_t n, uint64_t least) {
    int64_t n_kept = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t token = sampler->candidates[i];
        if (sampler->weights[token] >= least) sampler->candidates[n_kept++] = token;
    }
    return n_kept;
}

// The last candidate that top-k and top-p, over what top-k kept, leave; -1: they leave all.
static int32_t last_kept(mlcc_sampler *sampler, int64_t n, uint64_t total) {
    const mlcc_sampling *s = &sampler->sampling;
    const uint32_t *distances = sampler->distances;
    int32_t *heap = sampler->candidates;
    bool has_top_k = s->top_k > 0 && s->top_k < n;
    if (!has_top_k && s->top_p >= 1.0f) return -1;
    // All candidates below this weight together miss top-p (the cut of llama2.c's sampler), so they
    // need not enter the heap.
    uint64_t needed = mlcc_chance_part(total, s->top_p);
    if (!has_top_k) n = drop_light(sampler, n, (total - needed) / (uint64_t)n);
    for (int64_t i = n / 2; i > 0; i--) sift_down(distances, heap, n, i - 1);
    int32_t last = -1;
    if (has_top_k) {
        total = 0;
        for (int64_t i = 0; i < s->top_k; i++) {
            last = pop(distances, heap, n - i);
            total += sampler->weights[last];
        }
        if (s->top_p >= 1.0f) return last;
        needed = mlcc_chance_part(total, s->top_p);
    }
    // Of what was popped for top-k the best one lies last.
    uint64_t sum = 0;
    int64_t n_kept = 0;
    do {
        last = has_top_k ? heap[n - 1 - n_kept] : pop(distances, heap, n - n_kept);
        sum += sampler->weights[last];
        n_kept++;
    } while (sum < needed);
    return last;
}

static bool is_kept(const mlcc_sampler *sampler, int32_t token, int32_t last, uint64_t least) {
    if (sampler->weights[token] < least) return false;
    return last < 0 || token == last || goes_before(sampler->distances, token, last);
}

// In the order of the ids, which a device can follow without sorting.
static int32_t draw(const mlcc_sampler *sampler, int32_t last) {
    uint64_t least = mlcc_chance_least(sampler->sampling.min_p), sum = 0;
    if (least == 0) least = 1; // what is no candidate weighs 0
    for (int32_t i = 0; i < sampler->vocab; i++) {
        if (is_kept(sampler, i, last, least)) sum += sampler->weights[i];
    }
    uint64_t mark = mlcc_chance_mark(sum, mlcc_sampler_next_random(sampler));
    sum = 0;
    for (int32_t i = 0; i < sampler->vocab; i++) {
        if (!is_kept(sampler, i, last, least)) continue;
        sum += sampler->weights[i];
        if (sum > mark) return i;
    }
    return 0; // never: the mark is below the sum
}

static int32_t choose(mlcc_sampler *sampler, const float *logits) {
    int32_t best = largest(logits, sampler->vocab);
    if (best < 0) return 0;
    if (mlcc_sampler_is_greedy(sampler)) return best;
    uint64_t total = 0;
    int64_t n = weigh(sampler, logits, best, &total);
    return draw(sampler, last_kept(sampler, n, total));
}

int32_t mlcc_sampler_sample(mlcc_sampler *sampler, const float *logits) {
    int32_t token = choose(sampler, apply_penalties(sampler, logits));
    mlcc_sampler_accept(sampler, token);
    return token;
}

// ---- for devices that choose

const mlcc_sampling *mlcc_sampler_get_sampling(const mlcc_sampler *sampler) {
    return &sampler->sampling;
}

int64_t mlcc_sampler_vocab(const mlcc_sampler *sampler) {
    return sampler->vocab;
}

bool mlcc_sampler_is_greedy(const mlcc_sampler *sampler) {
    return sampler->sampling.temperature <= MLCC_CHANCE_GREEDY;
}

uint64_t mlcc_sampler_next_random(const mlcc_sampler *sampler) {
    uint64_t state[4];
    memcpy(state, sampler->random, sizeof state);
    return next_random(state);
}

int64_t mlcc_sampler_n_history(const mlcc_sampler *sampler) {
    return has_penalties(&sampler->sampling) ? sampler->n_seen : 0;
}

void mlcc_sampler_get_history(const mlcc_sampler *sampler, int32_t *tokens, float *subtractions) {
    for (int64_t i = 0; i < mlcc_sampler_n_history(sampler); i++) {
        tokens[i] = sampler->seen[i];
        subtractions[i] = subtracted(sampler, sampler->seen[i]);
    }
}

void mlcc_sampler_accept(mlcc_sampler *sampler, int32_t token) {
    if (!mlcc_sampler_is_greedy(sampler)) next_random(sampler->random);
    if (sampler->counts[token] == 0) sampler->seen[sampler->n_seen++] = token;
    if (sampler->counts[token] < INT32_MAX) sampler->counts[token]++;
}

bool mlcc_sampler_set_in_step(mlcc_sampler *sampler, bool is_in_step) {
    bool before = sampler->is_in_step;
    sampler->is_in_step = is_in_step;
    return before;
}

int32_t mlcc_sampler_greedy(const float *logits, int64_t vocab) {
    int32_t best = largest(logits, vocab);
    return best < 0 ? 0 : best;
}
