// pooling: rows of tokens become one vector (mlcc_pooling in runtime/mlcc.h).
// Source: sentence_transformers.models.Pooling and Normalize.
#ifndef MLCC_RUNTIME_MODEL_POOLING_H
#define MLCC_RUNTIME_MODEL_POOLING_H

#include "runtime/mlcc.h"

// rows [n_rows, width], n_rows ≥ 1; out [width]. Sums in double. Not for MLCC_POOLING_DEFAULT.
void mlcc_pooling_apply(
    mlcc_pooling pooling, const float *rows, int64_t n_rows, int64_t width, float *out);
// Length 1, unless it is below 1e-12.
void mlcc_pooling_normalize(float *vector, int64_t width);

#endif
