// Which container a path is: by its name first, by its first bytes where the name says nothing.
#include "frontend/hf/weight_files.h"

#include "frontend/hf/composite_source.h"
#include "frontend/hf/foreign_source.h"
#include "frontend/hf/lfs_pointer.h"
#include "frontend/hf/torch_source.h"
#include "frontend/hf/weight_index.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <string.h>

typedef enum weight_container {
    CONTAINER_UNKNOWN,
    CONTAINER_SAFETENSORS,
    CONTAINER_TORCH
} weight_container;

typedef struct weight_format {
    const char *name;
    weight_container container; // UNKNOWN: any
    const char *family; // of quantized tensors; NULL: any, or none where the container is fixed
} weight_format;

static const weight_format formats[] = {
    {"auto", CONTAINER_UNKNOWN, NULL},
    {"huggingface-safetensor", CONTAINER_SAFETENSORS, NULL},
    {"huggingface-torch", CONTAINER_TORCH, NULL},
    {"awq", CONTAINER_UNKNOWN, "awq"},
    {"gptq", CONTAINER_UNKNOWN, "gptq"},
    {"compressed-tensors", CONTAINER_UNKNOWN, "compressed-tensors"},
    {"fp8", CONTAINER_UNKNOWN, "fp8"},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const char *hf_weight_formats(void) {
    return "auto, huggingface-safetensor, huggingface-torch, awq, gptq, compressed-tensors, fp8";
}

static mlcc_status *find_format(const char *name, const weight_format **out) {
    const char *names[N_FORMATS];
    for (size_t i = 0; i < N_FORMATS; i++) {
        names[i] = formats[i].name;
        if (name != NULL && strcmp(name, names[i]) != 0) continue;
        *out = &formats[i]; // the first row where nothing is asked for
        return NULL;
    }
    const char *nearest = mlcc_text_nearest(name, names, N_FORMATS);
    return MLCC_ERROR(
        UNSUPPORTED, "unknown source format '%.80s'%s%s%s; accepted are %s", name,
        nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "'" : "", hf_weight_formats());
}

// ---- where the weights are -----------------------------------------------------------------------------------

static weight_container container_of_name(const char *name) {
    static const struct {
        const char *ending;
        weight_container container;
    } rows[] = {
        {".safetensors", CONTAINER_SAFETENSORS},
        {".safetensors.index.json", CONTAINER_SAFETENSORS},
        {".bin", CONTAINER_TORCH},
        {".bin.index.json", CONTAINER_TORCH},
        {".pt", CONTAINER_TORCH},
        {".pth", CONTAINER_TORCH},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (mlcc_text_ends_with(name, rows[i].ending)) return rows[i].container;
    return CONTAINER_UNKNOWN;
}

bool hf_weight_files_has_name(const char *path) {
    return container_of_name(path) != CONTAINER_UNKNOWN;
}

// safetensors before torch.
static mlcc_status *container_of_directory(
    const char *path, mlcc_arena *keep, weight_container *out) {
    char **names = NULL;
    size_t n_names = 0;
    MLCC_TRY(mlcc_dir_list(path, keep, &names, &n_names));
    for (size_t i = 0; i < n_names && *out != CONTAINER_SAFETENSORS; i++) {
        weight_container container = container_of_name(names[i]);
        // training_args.bin and the like lie in many folders; the torch reader looks for the right name.
        if (container != CONTAINER_UNKNOWN) *out = container;
    }
    if (*out != CONTAINER_UNKNOWN) return NULL;
    return MLCC_ERROR(
        INVALID,
        "%s holds no weights; expected model.safetensors or pytorch_model.bin, or an index of "
        "either",
        path);
}

// An index of any name, by the files that it lists.
static mlcc_status *container_of_index(const char *path, mlcc_arena *keep, weight_container *out) {
    hf_weight_index index;
    MLCC_TRY_NOTE(hf_weight_index_read(path, keep, &index), "reading the index %s", path);
    if (index.n_files > 0) *out = container_of_name(index.files[0]);
    if (*out != CONTAINER_UNKNOWN) return NULL;
    return MLCC_ERROR(
        INVALID,
        "%s is no index of weights; expected a 'weight_map' that names .safetensors or .bin files",
        path);
}

static mlcc_status *check_pointer(const char *path) {
    char head[64];
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL; // whoever reads it says why
    size_t n_head = fread(head, 1, sizeof head, file);
    fclose(file);
    if (!hf_is_lfs_pointer(head, n_head)) return NULL;
    return mlcc_status_note(hf_lfs_pointer_error(), "reading %s", path);
}

static mlcc_status *find_container(const char *path, mlcc_arena *keep, weight_container *out) {
    *out = CONTAINER_UNKNOWN;
    if (mlcc_dir_exists(path)) return container_of_directory(path, keep, out);
    if (!mlcc_file_exists(path))
        return MLCC_ERROR(
            INVALID, "'%s' does not exist; expected a model directory, a weight file or an index",
            path);
    MLCC_TRY(check_pointer(path));
    *out = container_of_name(path);
    if (*out != CONTAINER_UNKNOWN) return NULL;
    if (mlcc_text_ends_with(path, ".json")) return container_of_index(path, keep, out);
    *out = hf_torch_is_archive(path) ? CONTAINER_TORCH : CONTAINER_SAFETENSORS;
    return NULL;
}

// ---- opening -----------------------------------------------------------------------------------------------

// Containers named by the user hold float weights, as in MLC LLM; anything else is a mistake worth a word.
static mlcc_status *refuse_quantized(
    const weight_format *format, const hf_weight_source *source, mlcc_arena *keep) {
    const char *summary = hf_foreign_source_summary(source, keep);
    return MLCC_ERROR(
        MISMATCH,
        "%s holds quantized linears (%s), which the source format %s does not allow; use auto, or "
        "name the family",
        source->description, summary, format->name);
}

static mlcc_status *open_container(
    weight_container container, const char *path, mlcc_arena *keep, hf_weight_source **out) {
    return container == CONTAINER_TORCH ? hf_torch_open(path, keep, out)
                                        : hf_safetensors_open(path, keep, out);
}

mlcc_status *hf_weight_container_open(
    const char *path, mlcc_arena *keep, const char **container, hf_weight_source **out) {
    weight_container found = CONTAINER_UNKNOWN;
    *out = NULL;
    MLCC_TRY(find_container(path, keep, &found));
    *container = found == CONTAINER_TORCH ? "torch" : "safetensors";
    return open_container(found, path, keep, out);
}

mlcc_status *hf_weight_files_open(
    const char *path, const char *format, const hf_quantization_config *quantization,
    mlcc_arena *keep, hf_weight_source **out) {
    const weight_format *row = NULL;
    weight_container container = CONTAINER_UNKNOWN;
    hf_weight_source *base = NULL;
    *out = NULL;
    if (format != NULL && format[0] == '\0') format = NULL;
    MLCC_TRY(find_format(format, &row));
    container = row->container;
    if (container == CONTAINER_UNKNOWN) MLCC_TRY(find_container(path, keep, &container));
    MLCC_TRY(open_container(container, path, keep, &base));
    mlcc_status *status = hf_composite_source_open(base, keep, &base);
    if (status == NULL) status = hf_foreign_source_open(base, quantization, row->family, keep, out);
    if (status == NULL && row->container != CONTAINER_UNKNOWN && *out != base) {
        status = refuse_quantized(row, *out, keep);
        base = *out; // which owns the other
    }
    if (status != NULL) {
        base->close(base);
        *out = NULL;
    }
    return status;
}
