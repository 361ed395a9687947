// torch_objects: the values of torch_pickle's machine, the globals it may name, and what calling them builds.
//
// The allow-list is one table (torch_objects.c). A class of storage or a dtype is only a name here; "calling" _rebuild_tensor_v2 keeps its
// arguments; calling OrderedDict gives an empty dictionary. Arguments are judged when the finished dictionary is walked, because only then
// the tensor has a name that an error can tell.
#ifndef MLCC_FRONTEND_HF_TORCH_OBJECTS_H
#define MLCC_FRONTEND_HF_TORCH_OBJECTS_H

#include "frontend/hf/torch_pickle.h"

typedef enum hf_torch_kind {
    HF_TORCH_MARK, // pickle's own: where the arguments of an opcode begin
    HF_TORCH_NONE,
    HF_TORCH_BOOL,
    HF_TORCH_INT,
    HF_TORCH_REAL, // its number is of no use here and is not kept
    HF_TORCH_TEXT,
    HF_TORCH_TUPLE,
    HF_TORCH_LIST,
    HF_TORCH_DICT,
    HF_TORCH_GLOBAL,
    HF_TORCH_STORAGE,
    HF_TORCH_TENSOR,
} hf_torch_kind;

typedef struct hf_torch_global hf_torch_global;
typedef struct hf_torch_value hf_torch_value;

typedef struct hf_torch_items {
    hf_torch_value *
        *data; // DICT: key, value, key, value, …; TENSOR: the arguments of its rebuild function
    uint32_t n, capacity;
} hf_torch_items;

typedef struct hf_torch_text {
    const char *bytes; // inside the pickle, no NUL after it
    size_t length;
} hf_torch_text;

struct hf_torch_value {
    hf_torch_kind kind;
    bool has_dtype; // TENSOR: rebuilt by _rebuild_tensor_v3, whose seventh argument is the dtype
    union {
        int64_t integer; // BOOL, INT
        hf_torch_text text;
        hf_torch_items items; // TUPLE, LIST, DICT, TENSOR
        const hf_torch_global *global;
        struct {
            const hf_torch_global *type; // its class
            size_t index;                // into hf_torch_objects.storages
        } storage;
    } as;
};

// What a program has built so far.
typedef struct hf_torch_objects {
    mlcc_arena *scratch; // values
    mlcc_arena *keep;    // storages
    hf_torch_storage *storages;
    size_t n_storages, storage_capacity;
    mlcc_map *storage_of_key;
} hf_torch_objects;

const char *hf_torch_kind_text(const hf_torch_value *value); // "a dictionary", "an integer", …
hf_torch_value *hf_torch_value_new(mlcc_arena *scratch, hf_torch_kind kind);
void hf_torch_items_add(mlcc_arena *scratch, hf_torch_items *items, hf_torch_value *value);
// Text of a file for an error message: cut after 80 bytes, unprintable bytes as '?'.
const char *hf_torch_printable(mlcc_arena *scratch, hf_torch_text text);

// INVALID "forbidden global 'MODULE NAME'" when the table lacks it.
mlcc_status *hf_torch_global_find(
    hf_torch_objects *objects, hf_torch_text module, hf_torch_text name,
    const hf_torch_global **out);
// The result of calling `callee` with the tuple `arguments`.
mlcc_status *hf_torch_call(
    hf_torch_objects *objects, const hf_torch_value *callee, hf_torch_value *arguments,
    hf_torch_value **out);
// The storage behind a persistent id: ('storage', class, key, location, number of elements).
mlcc_status *hf_torch_load_storage(
    hf_torch_objects *objects, const hf_torch_value *id, hf_torch_value **out);
// Walks the finished dictionary and checks every tensor in it.
mlcc_status *hf_torch_collect(
    hf_torch_objects *objects, const hf_torch_value *root, hf_torch_pickle *out);

#endif
