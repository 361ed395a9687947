// sampler: what the engine asks of a sampler in order to let a device choose the token (runtime/mlcc.h tells the rest).
//
// A step that fails must leave samplers as they were, so looking and accepting are two calls: what a device gets is read first, and
// mlcc_sampler_accept is called when its tokens have arrived.
#ifndef MLCC_RUNTIME_MODEL_SAMPLER_H
#define MLCC_RUNTIME_MODEL_SAMPLER_H

#include "runtime/mlcc.h"

const mlcc_sampling *mlcc_sampler_get_sampling(const mlcc_sampler *sampler);
int64_t mlcc_sampler_vocab(const mlcc_sampler *sampler);
bool mlcc_sampler_is_greedy(const mlcc_sampler *sampler);
// The random number that the next token is drawn with; it stays the next one.
uint64_t mlcc_sampler_next_random(const mlcc_sampler *sampler);
// Tokens that penalties change, each once; 0 where penalties are off.
int64_t mlcc_sampler_n_history(const mlcc_sampler *sampler);
// tokens, subtracted: [n_history]; what presence and frequency subtract from the logit of each.
void mlcc_sampler_get_history(const mlcc_sampler *sampler, int32_t *tokens, float *subtracted);
// Goes on to the next random number, unless greedy, and counts the token. 0 <= token < vocab.
void mlcc_sampler_accept(mlcc_sampler *sampler, int32_t token);
// Notes whether a step that is being prepared names the sampler; gives what was noted before.
bool mlcc_sampler_set_in_step(mlcc_sampler *sampler, bool is_in_step);
// The first of the largest logits [vocab]; 0 when nothing is above -inf.
int32_t mlcc_sampler_greedy(const float *logits, int64_t vocab);

#endif
