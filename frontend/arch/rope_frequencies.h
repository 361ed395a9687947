// rope_frequencies: the rotation speed of every pair of a head, as data. All RoPE scalings end here, so the IR knows none of them.
#ifndef MLCC_FRONTEND_ARCH_ROPE_FREQUENCIES_H
#define MLCC_FRONTEND_ARCH_ROPE_FREQUENCIES_H

#include "frontend/hf/model_config.h"

// frequencies[i] = theta^(-2i / head_dim), then scaled; [head_dim / 2], radians per position. Computed in double, rounded once.
//   linear  every frequency divided by factor (Chen et al. 2023, arXiv 2306.15595)
//   llama3  with wavelength w = 2 pi / f:  w < original / high: f;  w > original / low: f / factor;  between: both mixed linearly in original / w
//           (Hugging Face transformers, _compute_llama3_parameters)
void arch_rope_frequencies(const hf_model_config *config, float *frequencies);

#endif
