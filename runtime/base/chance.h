// chance: the arithmetic of sampling, in whole numbers, so that every machine draws the same token from the same logits.
//
// Probabilities of a softmax are fixed-point weights: a sum of them is exact and does not depend on its order, which is another one on every device. The
// sampler of the host (runtime/model/sampler.c), the op `sample` (ir/ops.def, ir/eval_sample.c) and its kernel (codegen/cuda/kernels/sample.cu, which
// spells the same out in its own words) are all defined by what stands here.
//
//   distance  of a logit from the best: (best - logit) / temperature in octaves (powers of two), 26 bits of fraction; none from 40 octaves on
//   weight    2^-distance with 40 bits of fraction: 2^40 for the best, at least 1; never larger for a larger distance
//   order     of candidates: smaller distance first, then the lower token
#ifndef MLCC_RUNTIME_BASE_CHANCE_H
#define MLCC_RUNTIME_BASE_CHANCE_H

#include <stdint.h>

#define MLCC_CHANCE_NONE      UINT32_MAX          // the distance of what cannot be drawn
#define MLCC_CHANCE_ONE       ((uint64_t)1 << 40) // the weight of the best
#define MLCC_CHANCE_MAX_VOCAB ((int64_t)1 << 23)  // so many weights have a sum below 2^63
#define MLCC_CHANCE_GREEDY    1e-5f               // temperatures up to this one take the best

// A logit of a token that was generated before: `subtracted` and `repetition` are its penalties.
static inline float mlcc_chance_penalized(float logit, float subtracted, float repetition) {
    const float value = logit - subtracted;
    return value > 0.0f ? value / repetition : value * repetition;
}

// Octaves for each unit of difference between logits. temperature > MLCC_CHANCE_GREEDY.
static inline float mlcc_chance_octaves(float temperature) {
    return 1.44269504f / temperature;
}

// best: the largest logit, above -inf. NaN and -inf have no distance.
static inline uint32_t mlcc_chance_distance(float best, float logit, float octaves) {
    // Equality first: of infinite logits the difference is no number.
    const float distance = logit == best ? 0.0f : (best - logit) * octaves;
    return distance < 40.0f ? (uint32_t)(distance * 0x1p26f) : MLCC_CHANCE_NONE;
}

// distance: not NONE. 2^-f = 1 - f (c1 - f (c2 - f (… c6))) for the fraction f, each product cut to 32 bits: within 6e-9, and falling with every step of f.
static inline uint64_t mlcc_chance_weight(uint32_t distance) {
    const uint32_t f = distance << 6;
    uint64_t p = 493577u;
    p = 5547538u - (p * f >> 32);
    p = 41218952u - (p * f >> 32);
    p = 238367376u - (p * f >> 32);
    p = 1031763206u - (p * f >> 32);
    p = 2977044447u - (p * f >> 32);
    p = ((uint64_t)1 << 32) - (p * f >> 32);
    return p << 8 >> (distance >> 26);
}

// floor(sum * part), 0 <= part <= 1, sum < 2^63: what top-p must reach.
static inline uint64_t mlcc_chance_part(uint64_t sum, float part) {
    const uint64_t factor = (uint64_t)(part * 0x1p32f);
    return (sum >> 32) * factor + ((sum & UINT32_MAX) * factor >> 32);
}

// floor(sum * random / 2^64): drawn is the first token, in the order of the ids, at which the sum of the weights so far is larger.
static inline uint64_t mlcc_chance_mark(uint64_t sum, uint64_t random) {
    const uint64_t low = random & UINT32_MAX, high = random >> 32;
    const uint64_t sum_low = sum & UINT32_MAX, sum_high = sum >> 32;
    const uint64_t first = high * sum_low + (low * sum_low >> 32);
    const uint64_t second = low * sum_high + (first & UINT32_MAX);
    return high * sum_high + (first >> 32) + (second >> 32);
}

// The smallest weight that stays, as min_p says it of the best.
static inline uint64_t mlcc_chance_least(float min_p) {
    return (uint64_t)(min_p * 0x1p40f);
}

#endif
