// The allow-list and what its entries build. What the tensors of a finished dictionary must satisfy is at the end.
#include "frontend/hf/torch_objects.h"

#include "runtime/base/str.h"

#include <string.h>

#define MAX_NAME_BYTES      1024
#define MAX_KEY_BYTES       64
#define MAX_PRINTABLE_BYTES 80

typedef enum global_role {
    ROLE_ORDERED_DICT,
    ROLE_SIZE,
    ROLE_TENSOR,       // _rebuild_tensor_v2: the storage's class tells the dtype
    ROLE_TENSOR_DTYPE, // _rebuild_tensor_v3: an argument tells it
    ROLE_PARAMETER,
    ROLE_STORAGE,
    ROLE_STORAGE_UNTYPED,
    ROLE_DTYPE,
} global_role;

struct hf_torch_global {
    const char *module, *name;
    global_role role;
    uint32_t element_bytes; // STORAGE, DTYPE
    ir_dtype dtype;         // IR_N_DTYPES: may stand in a file, but mlcc does not compute with it
    const char *dtype_text;
};

// Everything that a program may name.
// clang-format off
static const hf_torch_global globals[] = {
    {"collections",   "OrderedDict",          ROLE_ORDERED_DICT,    0,  IR_N_DTYPES, NULL},
    {"torch",         "Size",                 ROLE_SIZE,            0,  IR_N_DTYPES, NULL},
    {"torch._utils",  "_rebuild_tensor_v2",   ROLE_TENSOR,          0,  IR_N_DTYPES, NULL},
    {"torch._utils",  "_rebuild_tensor_v3",   ROLE_TENSOR_DTYPE,    0,  IR_N_DTYPES, NULL},
    {"torch._utils",  "_rebuild_parameter",   ROLE_PARAMETER,       0,  IR_N_DTYPES, NULL},
    {"torch",         "FloatStorage",         ROLE_STORAGE,         4,  IR_F32,      "torch.float32"},
    {"torch",         "HalfStorage",          ROLE_STORAGE,         2,  IR_F16,      "torch.float16"},
    {"torch",         "BFloat16Storage",      ROLE_STORAGE,         2,  IR_BF16,     "torch.bfloat16"},
    {"torch",         "LongStorage",          ROLE_STORAGE,         8,  IR_I64,      "torch.int64"},
    {"torch",         "IntStorage",           ROLE_STORAGE,         4,  IR_I32,      "torch.int32"},
    {"torch",         "ShortStorage",         ROLE_STORAGE,         2,  IR_I16,      "torch.int16"},
    {"torch",         "CharStorage",          ROLE_STORAGE,         1,  IR_I8,       "torch.int8"},
    {"torch",         "ByteStorage",          ROLE_STORAGE,         1,  IR_U8,       "torch.uint8"},
    {"torch",         "BoolStorage",          ROLE_STORAGE,         1,  IR_N_DTYPES, "torch.bool"},
    {"torch",         "DoubleStorage",        ROLE_STORAGE,         8,  IR_N_DTYPES, "torch.float64"},
    {"torch",         "ComplexFloatStorage",  ROLE_STORAGE,         8,  IR_N_DTYPES, "torch.complex64"},
    {"torch",         "ComplexDoubleStorage", ROLE_STORAGE,         16, IR_N_DTYPES, "torch.complex128"},
    {"torch.storage", "UntypedStorage",       ROLE_STORAGE_UNTYPED, 1,  IR_N_DTYPES, NULL},
    {"torch",         "UntypedStorage",       ROLE_STORAGE_UNTYPED, 1,  IR_N_DTYPES, NULL},
    {"torch",         "float32",              ROLE_DTYPE,           4,  IR_F32,      "torch.float32"},
    {"torch",         "float16",              ROLE_DTYPE,           2,  IR_F16,      "torch.float16"},
    {"torch",         "bfloat16",             ROLE_DTYPE,           2,  IR_BF16,     "torch.bfloat16"},
    {"torch",         "float8_e4m3fn",        ROLE_DTYPE,           1,  IR_F8E4M3,   "torch.float8_e4m3fn"},
    {"torch",         "float8_e5m2",          ROLE_DTYPE,           1,  IR_F8E5M2,   "torch.float8_e5m2"},
    {"torch",         "int64",                ROLE_DTYPE,           8,  IR_I64,      "torch.int64"},
    {"torch",         "int32",                ROLE_DTYPE,           4,  IR_I32,      "torch.int32"},
    {"torch",         "int16",                ROLE_DTYPE,           2,  IR_I16,      "torch.int16"},
    {"torch",         "int8",                 ROLE_DTYPE,           1,  IR_I8,       "torch.int8"},
    {"torch",         "uint8",                ROLE_DTYPE,           1,  IR_U8,       "torch.uint8"},
    {"torch",         "uint32",               ROLE_DTYPE,           4,  IR_U32,      "torch.uint32"},
    {"torch",         "uint16",               ROLE_DTYPE,           2,  IR_N_DTYPES, "torch.uint16"},
    {"torch",         "uint64",               ROLE_DTYPE,           8,  IR_N_DTYPES, "torch.uint64"},
    {"torch",         "bool",                 ROLE_DTYPE,           1,  IR_N_DTYPES, "torch.bool"},
    {"torch",         "float64",              ROLE_DTYPE,           8,  IR_N_DTYPES, "torch.float64"},
    {"torch",         "complex64",            ROLE_DTYPE,           8,  IR_N_DTYPES, "torch.complex64"},
    {"torch",         "complex128",           ROLE_DTYPE,           16, IR_N_DTYPES, "torch.complex128"},
    {"torch",         "float8_e4m3fnuz",      ROLE_DTYPE,           1,  IR_N_DTYPES, "torch.float8_e4m3fnuz"},
    {"torch",         "float8_e5m2fnuz",      ROLE_DTYPE,           1,  IR_N_DTYPES, "torch.float8_e5m2fnuz"},
    {"torch",         "float8_e8m0fnu",       ROLE_DTYPE,           1,  IR_N_DTYPES, "torch.float8_e8m0fnu"},
};
// clang-format on

// ---- values ---------------------------------------------------------------------------------------------------------------------------------

const char *hf_torch_kind_text(const hf_torch_value *value) {
    static const char *const texts[] = {
        "a mark",  "None",   "a bool",       "an integer", "a number",  "a text",
        "a tuple", "a list", "a dictionary", "a global",   "a storage", "a tensor",
    };
    return texts[value->kind];
}

hf_torch_value *hf_torch_value_new(mlcc_arena *scratch, hf_torch_kind kind) {
    hf_torch_value *value = MLCC_NEW(scratch, hf_torch_value);
    value->kind = kind;
    return value;
}

void hf_torch_items_add(mlcc_arena *scratch, hf_torch_items *items, hf_torch_value *value) {
    size_t capacity = items->capacity;
    MLCC_ARENA_GROW(scratch, items->data, items->n, capacity);
    items->capacity =
        (uint32_t)capacity; // one opcode adds an item, and there are few millions of them
    items->data[items->n++] = value;
}

const char *hf_torch_printable(mlcc_arena *scratch, hf_torch_text text) {
    const size_t length =
        text.length < MAX_PRINTABLE_BYTES ? text.length : (size_t)MAX_PRINTABLE_BYTES;
    char *copy = mlcc_arena_alloc(scratch, length + 1); // text may hold NUL bytes
    for (size_t i = 0; i < length; i++)
        copy[i] = text.bytes[i] >= ' ' && text.bytes[i] <= '~' ? text.bytes[i] : '?';
    return copy;
}

static bool text_is(const hf_torch_value *value, const char *text) {
    return value->kind == HF_TORCH_TEXT && value->as.text.length == strlen(text) &&
           memcmp(value->as.text.bytes, text, value->as.text.length) == 0;
}

static bool bytes_are(hf_torch_text text, const char *expected) {
    return text.length == strlen(expected) && memcmp(text.bytes, expected, text.length) == 0;
}

// ---- globals --------------------------------------------------------------------------------------------------------------------------------

mlcc_status *hf_torch_global_find(
    hf_torch_objects *objects, hf_torch_text module, hf_torch_text name,
    const hf_torch_global **out) {
    *out = NULL;
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++)
        if (bytes_are(module, globals[i].module) && bytes_are(name, globals[i].name)) {
            *out = &globals[i];
            return NULL;
        }
    return MLCC_ERROR(
        INVALID,
        "forbidden global '%s %s'; only tensors, their storages and dictionaries are read: save "
        "the weights as safetensors",
        hf_torch_printable(objects->scratch, module), hf_torch_printable(objects->scratch, name));
}

static mlcc_status *call_tensor(
    hf_torch_objects *objects, const hf_torch_value *callee, const hf_torch_value *arguments,
    hf_torch_value **out) {
    const bool has_dtype = callee->as.global->role == ROLE_TENSOR_DTYPE;
    const uint32_t n_expected = has_dtype ? 7 : 6; // and metadata, which may be missing
    const uint32_t n = arguments->as.items.n;
    if (n != n_expected && n != n_expected + 1)
        return MLCC_ERROR(
            INVALID, "%s has %u arguments; expected %u or %u", callee->as.global->name, n,
            n_expected, n_expected + 1);
    *out = hf_torch_value_new(objects->scratch, HF_TORCH_TENSOR);
    (*out)->has_dtype = has_dtype;
    (*out)->as.items = arguments->as.items;
    return NULL;
}

// (tensor, requires_grad, hooks): the tensor it wraps.
static mlcc_status *call_parameter(const hf_torch_value *arguments, hf_torch_value **out) {
    if (arguments->as.items.n != 3 || arguments->as.items.data[0]->kind != HF_TORCH_TENSOR)
        return MLCC_ERROR(
            INVALID, "_rebuild_parameter is not called with a tensor and two more arguments");
    *out = arguments->as.items.data[0];
    return NULL;
}

mlcc_status *hf_torch_call(
    hf_torch_objects *objects, const hf_torch_value *callee, hf_torch_value *arguments,
    hf_torch_value **out) {
    *out = NULL;
    if (callee->kind != HF_TORCH_GLOBAL || arguments->kind != HF_TORCH_TUPLE)
        return MLCC_ERROR(
            INVALID, "%s is called with %s; expected a global and a tuple",
            hf_torch_kind_text(callee), hf_torch_kind_text(arguments));
    const uint32_t n_arguments = arguments->as.items.n;
    switch (callee->as.global->role) {
    case ROLE_ORDERED_DICT:
        if (n_arguments != 0)
            return MLCC_ERROR(INVALID, "OrderedDict has %u arguments; expected none", n_arguments);
        *out = hf_torch_value_new(objects->scratch, HF_TORCH_DICT);
        return NULL;
    case ROLE_SIZE:
        if (n_arguments != 1 || arguments->as.items.data[0]->kind != HF_TORCH_TUPLE)
            return MLCC_ERROR(INVALID, "torch.Size is not called with one tuple");
        *out = arguments->as.items.data[0];
        return NULL;
    case ROLE_TENSOR:
    case ROLE_TENSOR_DTYPE: return call_tensor(objects, callee, arguments, out);
    case ROLE_PARAMETER: return call_parameter(arguments, out);
    case ROLE_STORAGE:
    case ROLE_STORAGE_UNTYPED:
    case ROLE_DTYPE: break;
    }
    return MLCC_ERROR(
        INVALID, "forbidden call of '%s %s', which is no function", callee->as.global->module,
        callee->as.global->name);
}

// ---- storages -------------------------------------------------------------------------------------------------------------------------------

// Part of an entry's name in the archive. torch writes decimal numbers.
static bool is_key(hf_torch_text key) {
    if (key.length == 0 || key.length > MAX_KEY_BYTES) return false;
    for (size_t i = 0; i < key.length; i++)
        if (key.bytes[i] <= ' ' || key.bytes[i] > '~' || key.bytes[i] == '/') return false;
    return true;
}

static mlcc_status *add_storage(
    hf_torch_objects *objects, hf_torch_text key, uint64_t size_bytes, size_t *index) {
    uint64_t found = 0;
    if (mlcc_map_get(objects->storage_of_key, key.bytes, key.length, &found)) {
        *index = (size_t)found;
        if (objects->storages[found].size_bytes == size_bytes) return NULL;
        return MLCC_ERROR(
            INVALID, "storage '%s' has %llu bytes here and %llu bytes elsewhere",
            objects->storages[found].key, (unsigned long long)size_bytes,
            (unsigned long long)objects->storages[found].size_bytes);
    }
    MLCC_ARENA_GROW(
        objects->keep, objects->storages, objects->n_storages, objects->storage_capacity);
    *index = objects->n_storages++;
    objects->storages[*index] =
        (hf_torch_storage){mlcc_arena_strndup(objects->keep, key.bytes, key.length), size_bytes};
    mlcc_map_add(objects->storage_of_key, key.bytes, key.length, *index);
    return NULL;
}

mlcc_status *hf_torch_load_storage(
    hf_torch_objects *objects, const hf_torch_value *id, hf_torch_value **out) {
    *out = NULL;
    hf_torch_value *const *parts = id->as.items.data;
    if (id->kind != HF_TORCH_TUPLE || id->as.items.n != 5 || !text_is(parts[0], "storage") ||
        parts[1]->kind != HF_TORCH_GLOBAL || parts[2]->kind != HF_TORCH_TEXT ||
        parts[3]->kind != HF_TORCH_TEXT || parts[4]->kind != HF_TORCH_INT)
        return MLCC_ERROR(
            INVALID, "a persistent id is not ('storage', class, key, location, element count)");
    const hf_torch_global *type = parts[1]->as.global;
    if (type->role != ROLE_STORAGE && type->role != ROLE_STORAGE_UNTYPED)
        return MLCC_ERROR(INVALID, "'%s %s' is no class of storages", type->module, type->name);
    const hf_torch_text key = parts[2]->as.text;
    if (!is_key(key))
        return MLCC_ERROR(
            INVALID, "storage key '%s' is not 1 to %d printable characters without '/'",
            hf_torch_printable(objects->scratch, key), MAX_KEY_BYTES);
    size_t size_bytes = 0;
    if (parts[4]->as.integer < 0 ||
        !mlcc_size_mul((size_t)parts[4]->as.integer, type->element_bytes, &size_bytes))
        return MLCC_ERROR(
            INVALID, "storage '%s' claims %lld elements", hf_torch_printable(objects->scratch, key),
            (long long)parts[4]->as.integer);
    hf_torch_value *storage = hf_torch_value_new(objects->scratch, HF_TORCH_STORAGE);
    storage->as.storage.type = type;
    MLCC_TRY(add_storage(objects, key, size_bytes, &storage->as.storage.index));
    *out = storage;
    return NULL;
}

// ---- tensors --------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *expect_kind(const hf_torch_value *value, hf_torch_kind kind, const char *what) {
    const hf_torch_value wanted = {.kind = kind};
    if (value->kind == kind) return NULL;
    return MLCC_ERROR(
        INVALID, "its %s is %s; expected %s", what, hf_torch_kind_text(value),
        hf_torch_kind_text(&wanted));
}

// A tuple of integers that are not negative.
static mlcc_status *read_counts(
    const hf_torch_value *tuple, const char *what, int64_t *counts, int32_t *n_counts) {
    MLCC_TRY(expect_kind(tuple, HF_TORCH_TUPLE, what));
    if (tuple->as.items.n > IR_MAX_RANK)
        return MLCC_ERROR(
            INVALID, "its %s has %u dimensions; at most %d are accepted", what, tuple->as.items.n,
            IR_MAX_RANK);
    for (uint32_t i = 0; i < tuple->as.items.n; i++) {
        const hf_torch_value *item = tuple->as.items.data[i];
        MLCC_TRY(expect_kind(item, HF_TORCH_INT, what));
        if (item->as.integer < 0)
            return MLCC_ERROR(
                INVALID, "its %s holds %lld; expected no negative number", what,
                (long long)item->as.integer);
        counts[i] = item->as.integer;
    }
    *n_counts = (int32_t)tuple->as.items.n;
    return NULL;
}

static mlcc_status *read_dtype(const hf_torch_value *value, const hf_torch_global **out) {
    const hf_torch_value *storage = value->as.items.data[0];
    MLCC_TRY(expect_kind(storage, HF_TORCH_STORAGE, "storage"));
    if (value->has_dtype) {
        const hf_torch_value *dtype = value->as.items.data[6];
        MLCC_TRY(expect_kind(dtype, HF_TORCH_GLOBAL, "dtype"));
        *out = dtype->as.global;
        if ((*out)->role != ROLE_DTYPE)
            return MLCC_ERROR(
                INVALID, "its dtype is '%s %s', which is none", (*out)->module, (*out)->name);
        return NULL;
    }
    *out = storage->as.storage.type;
    if ((*out)->role != ROLE_STORAGE)
        return MLCC_ERROR(INVALID, "its storage is untyped and no dtype is given");
    return NULL;
}

// Bits of lazy evaluation ("conj", "neg") would change the numbers.
static mlcc_status *check_metadata(const hf_torch_value *value) {
    const uint32_t n_plain = value->has_dtype ? 7 : 6;
    if (value->as.items.n == n_plain) return NULL;
    const hf_torch_value *metadata = value->as.items.data[n_plain];
    if (metadata->kind == HF_TORCH_NONE) return NULL;
    MLCC_TRY(expect_kind(metadata, HF_TORCH_DICT, "metadata"));
    if (metadata->as.items.n == 0) return NULL;
    return MLCC_ERROR(
        INVALID, "it carries metadata (a lazy conjugate or negative); save it as plain numbers");
}

// Sets size, span and is_contiguous, and checks that every element lies in the storage.
static mlcc_status *measure(
    hf_torch_tensor *out, int64_t first_element, size_t element_bytes,
    const hf_torch_storage *storage) {
    const hf_tensor *tensor = &out->tensor;
    size_t size_bytes = element_bytes, expected_stride = 1;
    bool fits = true;
    out->is_contiguous = true;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->dims[i] != 1 && (size_t)out->strides[i] != expected_stride)
            out->is_contiguous = false;
        fits = fits && mlcc_size_mul(size_bytes, (size_t)tensor->dims[i], &size_bytes);
        fits = fits && mlcc_size_mul(expected_stride, (size_t)tensor->dims[i], &expected_stride);
    }
    if (!fits) return MLCC_ERROR(INVALID, "its size has more bytes than 64 bits can count");
    out->tensor.size_bytes = size_bytes;
    if (size_bytes == 0) {
        out->is_contiguous = true;
        return NULL;
    }
    size_t last = 0, end_bytes = 0; // the last element, counted from the first
    for (int32_t i = 0; i < tensor->rank; i++) {
        size_t reach = 0;
        fits = fits && mlcc_size_mul((size_t)tensor->dims[i] - 1, (size_t)out->strides[i], &reach);
        fits = fits && mlcc_size_add(last, reach, &last);
    }
    fits = fits && mlcc_size_add((size_t)first_element, last, &end_bytes);
    fits = fits && mlcc_size_add(end_bytes, 1, &end_bytes);
    fits = fits && mlcc_size_mul(end_bytes, element_bytes, &end_bytes);
    if (!fits || end_bytes > storage->size_bytes)
        return MLCC_ERROR(
            INVALID,
            "it reaches beyond its storage '%s': elements of %zu bytes from %lld on, %llu bytes in "
            "all, but the storage has %llu",
            storage->key, element_bytes, (long long)first_element, (unsigned long long)size_bytes,
            (unsigned long long)storage->size_bytes);
    out->offset_bytes = (uint64_t)first_element * element_bytes;
    out->span_bytes = end_bytes - out->offset_bytes;
    return NULL;
}

static mlcc_status *read_tensor(
    const hf_torch_objects *objects, const hf_torch_value *value, hf_torch_tensor *out) {
    hf_torch_value *const *arguments = value->as.items.data;
    const hf_torch_global *dtype = NULL;
    int32_t n_strides = 0;
    MLCC_TRY(read_dtype(value, &dtype));
    MLCC_TRY(expect_kind(arguments[1], HF_TORCH_INT, "storage offset"));
    MLCC_TRY(read_counts(arguments[2], "size", out->tensor.dims, &out->tensor.rank));
    MLCC_TRY(read_counts(arguments[3], "stride", out->strides, &n_strides));
    MLCC_TRY(check_metadata(value));
    if (n_strides != out->tensor.rank)
        return MLCC_ERROR(
            INVALID, "it has %d dimensions and %d strides", out->tensor.rank, n_strides);
    if (arguments[1]->as.integer < 0)
        return MLCC_ERROR(
            INVALID, "its storage offset is %lld", (long long)arguments[1]->as.integer);
    out->storage = arguments[0]->as.storage.index;
    out->tensor.dtype = dtype->dtype;
    out->tensor.dtype_text = dtype->dtype_text;
    return measure(
        out, arguments[1]->as.integer, dtype->element_bytes, &objects->storages[out->storage]);
}

// Names go into messages and files, so they are held to what module paths are made of.
static mlcc_status *read_name(
    hf_torch_objects *objects, const hf_torch_value *key, const char **out) {
    MLCC_TRY(expect_kind(key, HF_TORCH_TEXT, "name"));
    const hf_torch_text text = key->as.text;
    if (text.length == 0 || text.length > MAX_NAME_BYTES)
        return MLCC_ERROR(
            INVALID, "its name has %zu bytes; accepted are 1 to %d", text.length, MAX_NAME_BYTES);
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] < ' ' || text.bytes[i] > '~')
            return MLCC_ERROR(
                INVALID, "its name '%s' holds the byte 0x%02x; accepted is printable ASCII",
                hf_torch_printable(objects->scratch, text), (unsigned char)text.bytes[i]);
    *out = mlcc_arena_strndup(objects->keep, text.bytes, text.length);
    return NULL;
}

static size_t count_tensors(const hf_torch_value *dict) {
    size_t n = 0;
    for (uint32_t i = 1; i < dict->as.items.n; i += 2)
        n += dict->as.items.data[i]->kind == HF_TORCH_TENSOR;
    return n;
}

// The dictionary that holds the tensors: the top one, or one that a trainer put it into.
static mlcc_status *find_state(
    const hf_torch_objects *objects, const hf_torch_value *root, const hf_torch_value **out) {
    static const char *const wrappers[] = {"state_dict", "model", "module"};
    if (root->kind != HF_TORCH_DICT)
        return MLCC_ERROR(
            INVALID, "the file holds %s; expected a dictionary of tensors",
            hf_torch_kind_text(root));
    *out = root;
    if (count_tensors(root) > 0) return NULL;
    const hf_torch_items *items = &root->as.items;
    for (size_t w = 0; w < sizeof wrappers / sizeof wrappers[0]; w++)
        for (uint32_t i = 0; i < items->n; i += 2)
            if (text_is(items->data[i], wrappers[w]) && items->data[i + 1]->kind == HF_TORCH_DICT) {
                *out = items->data[i + 1];
                if (count_tensors(*out) > 0) return NULL;
            }
    const char *first = items->n > 0 && items->data[0]->kind == HF_TORCH_TEXT
                            ? hf_torch_printable(objects->scratch, items->data[0]->as.text)
                            : NULL;
    return MLCC_ERROR(
        INVALID,
        "the dictionary has %u entries%s%s%s and none is a tensor; expected tensors by name, there "
        "or under 'state_dict', 'model' or 'module'",
        items->n / 2, first != NULL ? " ('" : "", first != NULL ? first : "",
        first != NULL ? "', …)" : "");
}

static mlcc_status *collect_one(
    hf_torch_objects *objects, const hf_torch_value *key, const hf_torch_value *value,
    mlcc_map *names, hf_torch_pickle *out) {
    if (value->kind != HF_TORCH_TENSOR) {
        if (out->n_ignored++ == 0 && key->kind == HF_TORCH_TEXT)
            out->first_ignored = mlcc_arena_strdup(
                objects->keep, hf_torch_printable(objects->scratch, key->as.text));
        return NULL;
    }
    hf_torch_tensor *tensor = &out->tensors[out->n_tensors];
    MLCC_TRY_NOTE(
        read_name(objects, key, &tensor->tensor.name), "reading tensor %zu", out->n_tensors);
    if (!mlcc_map_add_text(names, tensor->tensor.name, out->n_tensors))
        return MLCC_ERROR(INVALID, "tensor '%.200s' stands there twice", tensor->tensor.name);
    MLCC_TRY_NOTE(
        read_tensor(objects, value, tensor), "reading tensor '%.200s'", tensor->tensor.name);
    out->n_tensors++;
    return NULL;
}

mlcc_status *hf_torch_collect(
    hf_torch_objects *objects, const hf_torch_value *root, hf_torch_pickle *out) {
    const hf_torch_value *dict = NULL;
    MLCC_TRY(find_state(objects, root, &dict));
    const size_t n_tensors = count_tensors(dict);
    out->tensors = MLCC_NEW_ARRAY(objects->keep, hf_torch_tensor, n_tensors + 1);
    mlcc_map *names = mlcc_map_create(n_tensors);
    mlcc_status *status = NULL;
    for (uint32_t i = 0; i < dict->as.items.n && status == NULL; i += 2)
        status =
            collect_one(objects, dict->as.items.data[i], dict->as.items.data[i + 1], names, out);
    mlcc_map_free(names);
    return status;
}
