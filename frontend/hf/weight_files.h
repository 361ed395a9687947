// weight_files: finds the weights of a model and opens them, whatever their format: the one entry for converters.
#ifndef MLCC_FRONTEND_HF_WEIGHT_FILES_H
#define MLCC_FRONTEND_HF_WEIGHT_FILES_H

#include "frontend/hf/quantization_config.h"
#include "frontend/hf/weight_source.h"

// `path`: a directory, a weight file or an index. `format`: NULL or "auto"; "huggingface-safetensor" or "huggingface-torch" (only that container, and
// quantized tensors are an error); "awq", "gptq", "compressed-tensors", "fp8" (any container, and the tensors must be of that family).
// auto: in a directory safetensors before torch files; quantized tensors are found by themselves. `quantization` may be NULL.
// A Git LFS pointer in the place of weights is recognised and named.
mlcc_status *hf_weight_files_open(
    const char *path, const char *format, const hf_quantization_config *quantization,
    mlcc_arena *keep, hf_weight_source **out);
// The tensors as they are stored, whoever quantized them, and what holds them: "safetensors" or "torch".
mlcc_status *hf_weight_container_open(
    const char *path, mlcc_arena *keep, const char **container, hf_weight_source **out);
// Whether a file is weights, or an index of them, by how its name ends.
bool hf_weight_files_has_name(const char *path);
// Names for --help and errors: "auto, huggingface-safetensor, …".
const char *hf_weight_formats(void);

#endif
