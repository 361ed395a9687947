#include "runtime/model/library.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"
#include "runtime/device/cpu_features.h"

#include <dlfcn.h>
#include <elf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    size_t size_bytes;
} abi_dtypes[] = {
    [MLCC_ABI_F32] = {"float32", 4},        [MLCC_ABI_F16] = {"float16", 2},
    [MLCC_ABI_BF16] = {"bfloat16", 2},      [MLCC_ABI_I32] = {"int32", 4},
    [MLCC_ABI_U32] = {"uint32", 4},         [MLCC_ABI_I8] = {"int8", 1},
    [MLCC_ABI_U8] = {"uint8", 1},           [MLCC_ABI_F8E4M3] = {"float8_e4m3fn", 1},
    [MLCC_ABI_F8E5M2] = {"float8_e5m2", 1},
};
enum { N_ABI_DTYPES = sizeof abi_dtypes / sizeof abi_dtypes[0] };

size_t mlcc_abi_dtype_bytes(uint32_t dtype) {
    return dtype < N_ABI_DTYPES ? abi_dtypes[dtype].size_bytes : 0;
}

const char *mlcc_abi_dtype_text(uint32_t dtype) {
    bool is_known = dtype < N_ABI_DTYPES && abi_dtypes[dtype].text != NULL;
    return is_known ? abi_dtypes[dtype].text : "unknown";
}

static mlcc_status *wrong_machine(int machine) {
    const char *found = "another machine";
    switch (machine) {
    case EM_X86_64: found = "x86-64"; break;
    case EM_AARCH64: found = "aarch64"; break;
    case EM_386: found = "x86 (32 bits)"; break;
    case EM_ARM: found = "arm (32 bits)"; break;
    case EM_RISCV: found = "riscv64"; break;
    }
    return MLCC_ERROR(
        MISMATCH,
        "the library is for %s (ELF machine %d), this machine is %s: compile the model again with "
        "--target native",
        found, machine, mlcc_cpu_architecture());
}

// What the dynamic loader takes on trust: a file that ends inside a segment would crash this
// process later.
static mlcc_status *check_elf(const mlcc_mapping *file) {
    Elf64_Ehdr header;
    if (file->size_bytes < sizeof header || memcmp(file->data, ELFMAG, SELFMAG) != 0) {
        return MLCC_ERROR(INVALID, "not a shared library (no ELF header)");
    }
    memcpy(&header, file->data, sizeof header);
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
        return MLCC_ERROR(
            MISMATCH,
            "the library is not for a 64-bit little-endian machine, this machine is %s: "
            "compile the model again with --target native",
            mlcc_cpu_architecture());
    }
    if (header.e_machine != mlcc_cpu_elf_machine()) return wrong_machine(header.e_machine);
    if (header.e_type != ET_DYN) {
        return MLCC_ERROR(INVALID, "not a shared library (ELF type %d)", (int)header.e_type);
    }
    size_t table_bytes = (size_t)header.e_phnum * sizeof(Elf64_Phdr);
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > file->size_bytes ||
        table_bytes > file->size_bytes - header.e_phoff) {
        return MLCC_ERROR(
            INVALID, "the library is damaged: its segment table lies outside the file");
    }
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        const char *table = (const char *)file->data + header.e_phoff;
        memcpy(&segment, table + i * sizeof segment, sizeof segment);
        if (segment.p_offset > file->size_bytes ||
            segment.p_filesz > file->size_bytes - segment.p_offset) {
            return MLCC_ERROR(
                INVALID,
                "the library is truncated: segment %zu needs %" PRIu64 " bytes at %" PRIu64
                ", the file has %zu: copy or compile it again",
                i, segment.p_filesz, segment.p_offset, file->size_bytes);
        }
    }
    return NULL;
}

static mlcc_status *check_version(const mlcc_abi_model *abi) {
    if (abi == NULL || abi->magic != MLCC_ABI_MAGIC) {
        return MLCC_ERROR(
            INVALID,
            "'" MLCC_ABI_QUERY "' does not give a model table: this is no library of mlcc");
    }
    if (abi->version != MLCC_ABI_VERSION) {
        return MLCC_ERROR(
            MISMATCH,
            "the library has ABI version %u, this runtime has version %u: compile the model "
            "again with the mlcc that belongs to this runtime",
            abi->version, MLCC_ABI_VERSION);
    }
    if (abi->struct_bytes != sizeof(mlcc_abi_model)) {
        return MLCC_ERROR(
            MISMATCH,
            "the library's model table has %" PRIu64 " bytes, this runtime expects %zu: compile "
            "the model again with the mlcc that belongs to this runtime",
            abi->struct_bytes, sizeof(mlcc_abi_model));
    }
    return NULL;
}

static bool piece_is_sound(const mlcc_abi_piece *piece) {
    size_t size_bytes = mlcc_abi_dtype_bytes(piece->dtype);
    if (piece->name == NULL || size_bytes == 0 || piece->rank > MLCC_ABI_MAX_RANK) return false;
    for (uint32_t axis = 0; axis < piece->rank; axis++) {
        if (piece->dims[axis] < 0) return false;
        if (!mlcc_size_mul(size_bytes, (size_t)piece->dims[axis], &size_bytes)) return false;
    }
    return size_bytes == piece->size_bytes;
}

static bool param_is_sound(const mlcc_abi_param *param) {
    if (param->name == NULL || param->n_pieces < 1 || param->n_pieces > MLCC_ABI_MAX_PIECES ||
        param->pieces == NULL || param->prepared_bytes % 64 != 0 || param->n_prepare_items < 0) {
        return false;
    }
    for (uint32_t i = 0; i < param->n_pieces; i++) {
        if (!piece_is_sound(&param->pieces[i])) return false;
    }
    // A piece that is used as it lies is the whole prepared param, rounded up.
    return param->prepare != NULL ||
           (param->n_pieces == 1 && param->prepared_bytes >= param->pieces[0].size_bytes);
}

static bool tensors_are_sound(
    const mlcc_abi_tensor *tensors, uint32_t n_tensors, uint32_t n_symbols) {
    if (n_tensors > 0 && tensors == NULL) return false;
    for (uint32_t i = 0; i < n_tensors; i++) {
        if (tensors[i].name == NULL || mlcc_abi_dtype_bytes(tensors[i].dtype) == 0 ||
            tensors[i].rank > MLCC_ABI_MAX_RANK) {
            return false;
        }
        for (uint32_t axis = 0; axis < tensors[i].rank; axis++) {
            int32_t symbol = tensors[i].symbols[axis];
            bool is_constant = symbol == -1 && tensors[i].dims[axis] >= 0;
            bool is_symbol =
                symbol >= 0 && (uint32_t)symbol < n_symbols && tensors[i].dims[axis] == -1;
            if (!is_constant && !is_symbol) return false;
        }
    }
    return true;
}

mlcc_status *mlcc_library_check_tables(const mlcc_abi_model *abi) {
    MLCC_TRY(check_version(abi));
    const char *where = NULL;
    if (abi->target == NULL || abi->cpu_features == NULL || abi->metadata == NULL) where = "texts";
    if ((abi->n_symbols > 0 && abi->symbols == NULL) ||
        (abi->n_params > 0 && abi->params == NULL) ||
        (abi->n_functions > 0 && abi->functions == NULL)) {
        where = "tables";
    }
    if (where != NULL) {
        return MLCC_ERROR(INVALID, "the library's model table is damaged: %s are missing", where);
    }
    for (uint32_t i = 0; i < abi->n_symbols; i++) {
        if (abi->symbols[i].name == NULL || abi->symbols[i].bound < 0) {
            return MLCC_ERROR(INVALID, "the library's model table is damaged: symbol %u", i);
        }
    }
    for (uint32_t i = 0; i < abi->n_params; i++) {
        if (!param_is_sound(&abi->params[i])) {
            return MLCC_ERROR(INVALID, "the library's model table is damaged: param %u", i);
        }
    }
    for (uint32_t i = 0; i < abi->n_functions; i++) {
        const mlcc_abi_function *function = &abi->functions[i];
        if (function->name == NULL || (function->run == NULL) != (abi->cuda != NULL) ||
            !tensors_are_sound(function->args, function->n_args, abi->n_symbols) ||
            !tensors_are_sound(function->results, function->n_results, abi->n_symbols)) {
            return MLCC_ERROR(INVALID, "the library's model table is damaged: function %u", i);
        }
    }
    return abi->cuda == NULL ? NULL : mlcc_library_check_cuda(abi);
}

// dlopen searches the system's folders for a bare name; a path with a separator means the file
// itself.
static void *load(const char *path) {
    mlcc_str with_folder = {0};
    if (strchr(path, '/') == NULL) mlcc_str_puts(&with_folder, "./");
    mlcc_str_puts(&with_folder, path);
    void *handle = dlopen(mlcc_str_text(&with_folder), RTLD_NOW | RTLD_LOCAL);
    mlcc_str_free(&with_folder);
    return handle;
}

static mlcc_status *open_library(const char *path, mlcc_library *out) {
    mlcc_mapping file = {0};
    MLCC_TRY(mlcc_file_map(path, &file));
    mlcc_status *status = check_elf(&file);
    mlcc_file_unmap(&file);
    if (status != NULL) return status;
    out->handle = load(path);
    if (out->handle == NULL) {
        return MLCC_ERROR(INVALID, "the dynamic loader refuses the library: %s", dlerror());
    }
    void *symbol = dlsym(out->handle, MLCC_ABI_QUERY);
    if (symbol == NULL) {
        return MLCC_ERROR(
            INVALID,
            "the library does not export '" MLCC_ABI_QUERY "': this is no library of mlcc");
    }
    mlcc_abi_query *query = NULL;
    memcpy(&query, &symbol, sizeof query); // ISO C has no cast from an object to a function
    const mlcc_abi_model *abi = query();
    MLCC_TRY(mlcc_library_check_tables(abi));
    out->abi = abi;
    return mlcc_library_read_levels(out);
}

mlcc_status *mlcc_library_open(const char *path, mlcc_library *out) {
    *out = (mlcc_library){0};
    mlcc_status *status = open_library(path, out);
    if (status != NULL) mlcc_library_close(out);
    return mlcc_status_note(status, "opening the model library %s", path);
}

void mlcc_library_close(mlcc_library *library) {
    if (library->handle != NULL) dlclose(library->handle);
    *library = (mlcc_library){0};
}
