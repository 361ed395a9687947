// weight_index: the JSON file that says in which of several files each tensor lies (model.safetensors.index.json, pytorch_model.bin.index.json).
//
//   {"metadata": {…}, "weight_map": {TENSOR: FILE, …}}
//
// File names are held inside the index's own directory, and every file must be there.
#ifndef MLCC_FRONTEND_HF_WEIGHT_INDEX_H
#define MLCC_FRONTEND_HF_WEIGHT_INDEX_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stddef.h>

typedef struct hf_weight_index_entry {
    const char *tensor;
    size_t file; // index into files
} hf_weight_index_entry;

typedef struct hf_weight_index {
    hf_weight_index_entry *entries; // in the order of the JSON text
    size_t n_entries;
    const char **files; // paths, in the order in which the map first names them
    size_t n_files;
} hf_weight_index;

// At most 64 MiB of JSON.
mlcc_status *hf_weight_index_read(const char *path, mlcc_arena *keep, hf_weight_index *out);

#endif
