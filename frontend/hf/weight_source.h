// weight_source: where source tensors come from, whatever holds them: safetensors, torch files, checkpoints that somebody else quantized, made-up
// weights for benches. Tensors are views where the format allows.
//
// Thread rule: one reader at a time.
#ifndef MLCC_FRONTEND_HF_WEIGHT_SOURCE_H
#define MLCC_FRONTEND_HF_WEIGHT_SOURCE_H

#include "ir/ir.h"
#include "quantization/foreign/foreign.h"
#include "runtime/base/map.h"

typedef struct hf_tensor {
    const char *name;
    ir_dtype
        dtype; // F32, F16, BF16, …; IR_N_DTYPES: an element format that only its name is known of (see hf_weight_source_require)
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
    uint64_t size_bytes;
    int32_t file; // index of the file it lies in: tensors of one file are converted together
    const char
        *dtype_text; // as the file spells it: "BF16", "I64"; NULL: the IR dtype's text says it all
} hf_tensor;

// A quantized linear: layout->unpack(&weight, &hints, &canon, rows) gives any of its rows, from any number of threads.
typedef struct hf_quantized {
    quant_foreign_weight weight;
    quant_foreign_hints hints;
    quant_canon canon;
} hf_quantized;

typedef struct hf_weight_source hf_weight_source;
struct hf_weight_source {
    const hf_tensor *tensors; // in file order (for an index: order of its weight_map)
    size_t n_tensors;
    const char *description; // path for messages
    // Bytes [offset, offset+size) of a tensor's data, C order, written to `buffer`; or, when `view` is not NULL, *view is set to point at them and
    // buffer stays unused (buffer may then be NULL). Where a view would take a copy of the tensor and there is a buffer, the bytes go there and *view
    // is NULL: who gives both never makes a source hold a tensor. A view of whole elements is aligned to the element size and holds until the tensor
    // is released or the source closed, however many other tensors are read.
    mlcc_status *(*read)(
        hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
        void *buffer, const void **view);
    // The quantized weight behind a tensor that `read` dequantizes, with all parts viewed and checked; *out = NULL when the tensor is stored as it is.
    // Holds until the tensor is released. A NULL function: nothing here is quantized.
    mlcc_status *(*quantized)(
        hf_weight_source *source, const hf_tensor *tensor, const hf_quantized **out);
    // The bytes will not be needed again soon (lets the kernel drop pages; keeps peak memory low). May be NULL.
    void (*release)(hf_weight_source *source, const hf_tensor *tensor);
    void (*close)(hf_weight_source *source);
    const mlcc_map *by_name; // name -> index into tensors; NULL: names are compared one by one
};

// The element formats that can be read, for messages.
#define HF_READABLE_DTYPES "F32, F16, BF16, I64, I32, I16, I8, U32, U8, F8_E4M3 and F8_E5M2"

const hf_tensor *hf_weight_source_find(
    const hf_weight_source *source, const char *name); // NULL when absent
// The same for a tensor that must be there and be readable: INVALID names the nearest tensor, UNSUPPORTED an element format that mlcc cannot use.
mlcc_status *hf_weight_source_require(
    const hf_weight_source *source, const char *name, const hf_tensor **out);

// A Hugging Face directory (model.safetensors.index.json, else model.safetensors), or one .safetensors or index file. Every header is checked:
// length within file and at most 100 MiB, offsets in range and not overlapping, dtype known, shape × size = bytes, names unique, shards present.
// Every dtype of the safetensors format may stand in a file (real files hold I64 position tables that nobody reads); only a tensor that is required
// must be one that ir/dtypes.def has (F32, F16, BF16, I64, I32, I16, I8, U32, U8, F8_E4M3, F8_E5M2). Bytes that no tensor claims are reported as a warning.
mlcc_status *hf_safetensors_open(const char *path, mlcc_arena *keep, hf_weight_source **out);

#endif
