// rope_frequencies: the rotation speed of every pair of a head, as data. All RoPE scalings end here, so the IR knows none of them.
#ifndef MLCC_FRONTEND_ARCH_ROPE_FREQUENCIES_H
#define MLCC_FRONTEND_ARCH_ROPE_FREQUENCIES_H

#include "frontend/hf/model_config.h"

// frequencies[i] = theta^(-2i / rotary_dim), then scaled; [rotary_dim / 2], radians per position. Computed in double, rounded once.
// *magnitude: factor of cosines and sines. Of layers with a window (is_local) theta is rope_local_theta where there is one, without scaling.
//   linear    every frequency divided by factor (Chen et al. 2023, arXiv 2306.15595)
//   llama3    with wavelength w = 2 pi / f:  w < original / high: f;  w > original / low: f / factor;  between: both mixed linearly in original / w
//             (Hugging Face transformers, _compute_llama3_parameters)
//   yarn      pairs that turn more than beta_fast times within the original context keep f, those below beta_slow turns get f / factor, between: a ramp
//             over the pair's number (Peng et al. 2023, arXiv 2309.00071)
//   longrope  every frequency divided by its own factor: of the long list where the context window is longer than the original context, else of the
//             short one (Ding et al. 2024, arXiv 2402.13753). Hugging Face's model changes lists with the length of the prompt; a cache of rotated keys
//             has one, so the window that was compiled for decides; a context without an end is long
// `frequencies` NULL: only checks.
// INVALID: a list of factors of another length; a scaling without its original context; longrope without factor and end.
mlcc_status *arch_rope_frequencies(
    const hf_model_config *config, bool is_local, float *frequencies, double *magnitude);

#endif
