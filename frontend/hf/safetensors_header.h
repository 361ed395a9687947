// safetensors_header: the table of tensors at the head of one .safetensors file, checked before anybody believes it.
//
//   file:    u64 n (little endian) | n bytes of JSON, padded with spaces | data
//   JSON:    {"__metadata__": {text: text, …}, NAME: {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, end]}, …}
//
// Offsets count from the first data byte. Source: the format description in the README of huggingface/safetensors.
#ifndef MLCC_FRONTEND_HF_SAFETENSORS_HEADER_H
#define MLCC_FRONTEND_HF_SAFETENSORS_HEADER_H

#include "frontend/hf/weight_source.h"

#define HF_SAFETENSORS_MAX_HEADER_BYTES ((size_t)100 << 20)

typedef struct hf_safetensors_entry {
    hf_tensor tensor;      // `file` is left 0
    uint64_t offset_bytes; // of its first byte in the file; offset_bytes + size_bytes ≤ file size
} hf_safetensors_entry;

typedef struct hf_safetensors_header {
    hf_safetensors_entry *entries; // in the order of the JSON text
    size_t n_entries;
    uint64_t unclaimed_bytes; // data bytes that belong to no tensor
} hf_safetensors_header;

// `data` is the whole file; `what` names it in errors. A git-LFS pointer in its place is recognised and named.
mlcc_status *hf_safetensors_header_parse(
    const void *data, size_t size_bytes, const char *what, mlcc_arena *keep,
    hf_safetensors_header *out);

#endif
