// encoder: the skeleton of models that read whole sequences in both directions and return what they made of every token. The same tables of weights as
// the decoder's (decoder.h); no cache, no head.
//
//   func @embed(%ids: i32[n_tokens], %positions: i32[n_tokens], %token_types: i32[n_tokens], %segments: i32[n_tokens, 2]) -> f32[n_tokens, d_model]
//
//   x = embedding_norm(embedding(ids) + position_embedding(positions) + token_type_embedding(token_types))
//   per layer:  x = attention_output_norm(x + linear(segment_attention(linear(x), linear(x), linear(x))))
//               x = mlp_output_norm(x + linear(activation(linear(x))))
//
// segments[t] = first and one-past-last row of the token's own sequence, so that a pass holds several sequences side by side, none of them padded.
// Source: Devlin et al. 2018 (arXiv 1810.04805); BertModel of Hugging Face transformers for the order of norms.
#ifndef MLCC_FRONTEND_ARCH_ENCODER_H
#define MLCC_FRONTEND_ARCH_ENCODER_H

#include "frontend/arch/decoder.h"

// A verified-by-construction module at GRAPH level, in `keep`. INVALID: the context is longer than the table of positions.
mlcc_status *arch_encoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out);

#endif
