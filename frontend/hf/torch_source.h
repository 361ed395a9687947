// torch_source: pytorch_model.bin (with its index) and .pt/.pth/.bin files as a weight source.
//
// Such a file is a zip archive of one pickle program and the raw storages it names. The pickle is never executed: torch_pickle interprets an
// allow-list of opcodes and globals that build dictionaries of tensors and refuses everything else by name. The archive is read through libzip;
// sizes it claims are checked against what is there, and limits bound everything (entries, names, pickle size, memo, stack, tensor rank).
#ifndef MLCC_FRONTEND_HF_TORCH_SOURCE_H
#define MLCC_FRONTEND_HF_TORCH_SOURCE_H

#include "frontend/hf/weight_source.h"

// A directory (pytorch_model.bin.index.json, else pytorch_model.bin, else the only *.pt), one such file, or its index. bf16 stays bf16.
mlcc_status *hf_torch_open(const char *path, mlcc_arena *keep, hf_weight_source **out);
// Whether a file is a zip archive, by its first bytes.
bool hf_torch_is_archive(const char *path);

#endif
