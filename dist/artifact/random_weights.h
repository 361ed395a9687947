// random_weights: a weight source without files: numbers in the shape of a config, so that any
// model's speed can be measured without its weights.
//
// Every number follows from the tensor's name and its index, so any part can be made at any time
// and two runs make the same model. Weights and biases are normal with deviation 0.02 (quantiles of
// 4096 equal steps), norm gains lie around 1. Elements are float16.
#ifndef MLCC_DIST_ARTIFACT_RANDOM_WEIGHTS_H
#define MLCC_DIST_ARTIFACT_RANDOM_WEIGHTS_H

#include "frontend/hf/weight_source.h"

// The sources of a module's params, which must be at GRAPH level with one source each (before
// fusion). In the order of their names, as in a Hugging Face index. `description` names the source
// in messages. Everything lives in `keep`; close is still to be called.
mlcc_status *artifact_random_weights_open(
    const ir_module *module, const char *description, mlcc_arena *keep, hf_weight_source **out);

#endif
