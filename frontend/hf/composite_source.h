// composite_source: the language model of a checkpoint that holds a model of images beside it.
//
// LLaVA, Mistral 3, Gemma 3 and their like put `language_model.` (or `model.language_model.`) before the names of the language model's tensors. This wraps
// a source and gives those the names that the language model has by itself; tensors of the other parts are not there.
#ifndef MLCC_FRONTEND_HF_COMPOSITE_SOURCE_H
#define MLCC_FRONTEND_HF_COMPOSITE_SOURCE_H

#include "frontend/hf/weight_source.h"

// *out is `base` itself when no name tells of several models; otherwise a source that owns it. INVALID: two tensors would have one name; `base` stays
// the caller's then.
mlcc_status *hf_composite_source_open(
    hf_weight_source *base, mlcc_arena *keep, hf_weight_source **out);

#endif
