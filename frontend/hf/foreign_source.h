// foreign_source: a checkpoint that somebody else quantized, seen as a source of float weights.
//
// Wraps a source whose linears are stored as quantized parts ("X.qweight", "X.scales", …). It lists for each of them the tensor "X.weight" of
// shape [N, K] and dtype F32, whose rows `read` dequantizes, and everything else unchanged ("X.bias" too). So every architecture loads every layout,
// and every mode can be made from it; a converter that can keep the codes asks for them (`quantized` of weight_source.h).
// Activation scales of AWQ ("mlp.act.scales") are folded: `act(x) / s` equals dividing column k of the next linear by s[k]; where that is not
// possible the checkpoint is refused by name. Static activation scales ("X.input_scale", "X.activation_scale") are passed on under their names.
#ifndef MLCC_FRONTEND_HF_FOREIGN_SOURCE_H
#define MLCC_FRONTEND_HF_FOREIGN_SOURCE_H

#include "frontend/hf/quantization_config.h"
#include "frontend/hf/weight_source.h"

// Looks for quantized linears among the tensors of `base`. `family`: NULL or "auto" = whatever is found; else one of "awq", "gptq",
// "compressed-tensors", "fp8": MISMATCH when the tensors are of another. *out is `base` itself when nothing is quantized (and family is auto);
// otherwise a source that owns `base`. Errors: parts missing, shapes that contradict each other or the config, by tensor name with expected and found.
mlcc_status *hf_foreign_source_open(
    hf_weight_source *base, const hf_quantization_config *config, const char *family,
    mlcc_arena *keep, hf_weight_source **out);

// What was found, for messages and for gen_config: layout names and how many linears each has, e.g. "awq-gemm x 28".
const char *hf_foreign_source_summary(const hf_weight_source *source, mlcc_arena *keep);

#endif
