// foreign_groups: the tensors of a checkpoint sorted by module, and which modules are quantized linears. Looks at names, dtypes and shapes
// (stored ones, as in weight_shape, included).
#ifndef MLCC_FRONTEND_HF_FOREIGN_GROUPS_H
#define MLCC_FRONTEND_HF_FOREIGN_GROUPS_H

#include "frontend/hf/quantization_config.h"
#include "frontend/hf/weight_source.h"

// A linear that readers see as one float32 tensor "<name>.weight".
typedef struct foreign_linear {
    const char *name;       // "model.layers.0.mlp.down_proj"
    hf_quantized quantized; // from shapes: no data yet; layout NULL: stored as `plain`
    const hf_tensor
        *parts[QUANT_FOREIGN_MAX_PARTS]; // of the base source, in the layout's order; NULL = absent
    const hf_tensor *plain;              // a float weight that has a divisor; NULL
    const hf_tensor *
        divisor; // AWQ's activation scales [columns]: column k is divided by element k; NULL = none
    size_t first; // index of its first tensor in the base source
} foreign_linear;

typedef struct foreign_groups {
    foreign_linear *linears; // in order of their first tensors
    size_t n_linears;
    // Per tensor of the base source: 1 + index of the linear that it belongs to, 0 = stands for itself.
    size_t *owners;
} foreign_groups;

// `config` says what to expect (may say nothing), `family` what to accept (NULL = anything). Errors by tensor name: MISMATCH for parts that fit no layout
// or another family, INVALID for a linear that is stored twice or activation scales without a linear.
mlcc_status *foreign_groups_find(
    hf_weight_source *base, const hf_quantization_config *config, const char *family,
    mlcc_arena *keep, foreign_groups *out);

#endif
