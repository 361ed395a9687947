// arranged_source: a checkpoint whose tensors are turned into what the model's params hold.
//
// Hugging Face's files keep some weights in other forms than MLC LLM's: the rows of q, k and v interleaved head by head (GPT-NeoX, InternLM2), matrices
// transposed (GPT-2's Conv1D), gains without the 1 that the model adds (Gemma). This wraps a source, keeps every name, and gives such tensors in the
// form that the params have. They are float and held in memory from the first read to the release; everything else passes through untouched.
// A quantized tensor that is to be arranged is read dequantized: its codes cannot be kept.
#ifndef MLCC_FRONTEND_HF_ARRANGED_SOURCE_H
#define MLCC_FRONTEND_HF_ARRANGED_SOURCE_H

#include "frontend/hf/weight_source.h"

typedef enum hf_arrangement_form {
    HF_AS_IT_IS,
    HF_TRANSPOSED, // [K, N] becomes [N, K]
    // Rows are n_groups groups of queries_per_group heads of q, a head of k, a head of v, each of head_dim rows; they become all of q, all of k,
    // all of v. Vectors likewise.
    HF_GROUPED_QKV,
    HF_UNIT_ROWS // every row divided by its length (or by 1e-12, if it is shorter)
} hf_arrangement_form;

typedef struct hf_arrangement {
    const char *name;
    const char *optional_prefix; // that the file's name may lack; NULL = none
    hf_arrangement_form form;
    double addend; // then added to every element
    int64_t n_groups, queries_per_group, head_dim;
} hf_arrangement;

// Rows for tensors that `base` lacks are fine. *out is `base` itself when there is nothing to arrange; otherwise a source that owns it.
// INVALID: a tensor to be transposed is no matrix, a grouped one has another number of rows; `base` stays the caller's then.
mlcc_status *hf_arranged_source_open(
    hf_weight_source *base, const hf_arrangement *rows, size_t n_rows, mlcc_arena *keep,
    hf_weight_source **out);

#endif
