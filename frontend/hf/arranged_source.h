// arranged_source: a checkpoint whose tensors are turned into what the model's params hold.
//
// Hugging Face's files keep some weights in other forms than MLC LLM's: the rows of q, k and v interleaved head by head (GPT-NeoX, InternLM2), matrices
// transposed (GPT-2's Conv1D), gains without the 1 that the model adds (Gemma), stacks of experts with the rows of gate and up in turn or as mxfp4
// codes (gpt-oss). This wraps a source, keeps every name, and gives such tensors in the form that the params have (arrangement.h). One tensor may become
// several, each under a name of its own (DeepSeek's kv_b_proj). They are float and held in memory from the first read to the release; everything else
// passes through untouched.
// A quantized tensor that is to be arranged is read dequantized: its codes cannot be kept.
#ifndef MLCC_FRONTEND_HF_ARRANGED_SOURCE_H
#define MLCC_FRONTEND_HF_ARRANGED_SOURCE_H

#include "frontend/hf/arrangement.h"

// Rows for tensors that `base` lacks are fine. *out is `base` itself when there is nothing to arrange; otherwise a source that owns it.
// INVALID: a tensor's shape is not what its form needs, blocks stand without their scales, a weight is stored twice; `base` stays the caller's then.
mlcc_status *hf_arranged_source_open(
    hf_weight_source *base, const hf_arrangement *rows, size_t n_rows, mlcc_arena *keep,
    hf_weight_source **out);

#endif
