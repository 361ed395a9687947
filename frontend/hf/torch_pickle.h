// torch_pickle: the tensors that the pickle program of a torch checkpoint describes, found without executing it.
//
// torch.save writes a dictionary of tensors as a program for Python's pickle machine, which can call any function of any module. This
// interpreter knows only what such a dictionary needs: the opcodes of protocol 2 to 5 that build numbers, texts, tuples, lists and
// dictionaries, and the globals that torch_objects lists. Calling one of those builds a record here and runs nothing. Any other opcode or
// global is an error that names it and its place.
//
// Limits: 256 MiB of pickle, 4 Mi opcodes (so as many values, stack and memo slots), rank IR_MAX_RANK, names of 1024 bytes. There is no
// recursion: a structure that contains itself is as harmless as any other.
//
// Sources: Python's Lib/pickletools.py (opcodes), torch/serialization.py (persistent ids), torch/_utils.py (_rebuild_tensor_v2, _v3).
#ifndef MLCC_FRONTEND_HF_TORCH_PICKLE_H
#define MLCC_FRONTEND_HF_TORCH_PICKLE_H

#include "frontend/hf/weight_source.h"

#define HF_TORCH_MAX_PICKLE_BYTES ((size_t)256 << 20)

// A run of bytes that tensors are cut from; several tensors may share one (tied weights).
typedef struct hf_torch_storage {
    const char *key;     // entry "<prefix>/data/<key>" of the archive
    uint64_t size_bytes; // as the pickle claims
} hf_torch_storage;

// Element [i, j, …] lies at offset_bytes + (i * strides[0] + j * strides[1] + …) * element size, inside the storage.
typedef struct hf_torch_tensor {
    hf_tensor tensor; // `file` is left 0; size_bytes is that of all elements in C order
    size_t storage;   // index into storages
    uint64_t offset_bytes;
    uint64_t span_bytes;          // from its first element's first byte to its last element's last
    int64_t strides[IR_MAX_RANK]; // in elements, not negative
    bool is_contiguous;           // C order without gaps: span_bytes == size_bytes
} hf_torch_tensor;

typedef struct hf_torch_pickle {
    hf_torch_tensor *tensors; // in the order of the dictionary, names unique
    size_t n_tensors;
    hf_torch_storage *storages;
    size_t n_storages;
    size_t n_ignored;          // entries of the dictionary that are no tensors
    const char *first_ignored; // the name of one of them, NULL when there is none
} hf_torch_pickle;

// `data` is the archive's data.pkl; `what` names the file in errors. The tensors are those of the dictionary at the top, or of the one under
// its key "state_dict", "model" or "module" when the top holds none. INVALID: forbidden or malformed; UNSUPPORTED: too large for the limits.
mlcc_status *hf_torch_pickle_parse(
    const void *data, size_t size_bytes, const char *what, mlcc_arena *keep, hf_torch_pickle *out);

#endif
