// The CUDA tables of a library: everything that runtime/device follows later is inside its bounds.
#include "runtime/model/library.h"

#include <stdbool.h>

enum { MAX_BLOCK_THREADS = 1024, MAX_ARGUMENT_WORDS = 4096 / 8 };

static bool module_is_sound(const mlcc_abi_cuda_module *module) {
    if (module->name == NULL || module->images == NULL || module->n_images < 1) return false;
    for (uint32_t i = 0; i < module->n_images; i++) {
        const mlcc_abi_cuda_image *image = &module->images[i];
        if (image->data == NULL || image->size_bytes < 1 || image->arch < 10) return false;
        // The driver reads PTX up to its NUL.
        const char *text = image->data;
        if (image->is_ptx != 0 && text[image->size_bytes - 1] != '\0') return false;
    }
    return true;
}

static bool extent_is_sound(const mlcc_abi_cuda_extent *extent, const mlcc_abi_model *abi) {
    return extent->divisor >= 1 && extent->multiplier >= 1 && extent->symbol >= -1 &&
           extent->symbol < (int64_t)abi->n_symbols;
}

static bool entry_is_sound(
    const mlcc_abi_cuda_entry *entry, bool is_last, const mlcc_abi_model *abi) {
    if (entry->symbol == NULL || entry->threads < 1 || entry->threads > MAX_BLOCK_THREADS)
        return false;
    for (int axis = 0; axis < 3; axis++) {
        if (!extent_is_sound(&entry->grid[axis], abi)) return false;
    }
    return is_last ? entry->max_rows == 0 : entry->max_rows > 0;
}

static bool place_is_sound(
    const mlcc_abi_cuda_place *place, const mlcc_abi_function *function,
    const mlcc_abi_model *abi) {
    const struct {
        uint32_t n_indices;
        uint64_t n_bytes;
    } bounds[] = {
        [MLCC_ABI_CUDA_ARG] = {function->n_args, 0},
        [MLCC_ABI_CUDA_RESULT] = {function->n_results, 0},
        [MLCC_ABI_CUDA_PARAM] = {abi->n_params, 0},
        [MLCC_ABI_CUDA_CONST] = {0, abi->cuda->consts_bytes},
        [MLCC_ABI_CUDA_WORKSPACE] = {0, function->workspace_bytes},
        [MLCC_ABI_CUDA_SCRATCH] = {1, 0},
    };
    if (place->kind < 1 || place->kind >= sizeof bounds / sizeof bounds[0]) return false;
    if (bounds[place->kind].n_bytes > 0) return place->offset_bytes < bounds[place->kind].n_bytes;
    return place->index >= 0 && (uint32_t)place->index < bounds[place->kind].n_indices;
}

static bool variant_is_sound(const mlcc_abi_cuda_variant *variant, const mlcc_abi_model *abi) {
    if (variant->module >= abi->cuda->n_modules || variant->entries == NULL ||
        variant->n_entries < 1) {
        return false;
    }
    for (uint32_t i = 0; i < variant->n_entries; i++) {
        if (!entry_is_sound(&variant->entries[i], i + 1 == variant->n_entries, abi)) return false;
    }
    return true;
}

static bool launch_is_sound(
    const mlcc_abi_cuda_launch *launch, const mlcc_abi_function *function,
    const mlcc_abi_model *abi) {
    if (launch->variants == NULL || launch->n_variants < 1 ||
        (launch->n_places > 0 && launch->places == NULL) ||
        (uint64_t)launch->n_places + abi->n_symbols > MAX_ARGUMENT_WORDS ||
        launch->rows_symbol < -1 || launch->rows_symbol >= (int64_t)abi->n_symbols ||
        launch->min_rows < 0 || launch->max_rows < 0) {
        return false;
    }
    for (uint32_t i = 0; i < launch->n_variants; i++) {
        if (!variant_is_sound(&launch->variants[i], abi)) return false;
    }
    for (uint32_t i = 0; i < launch->n_places; i++) {
        if (!place_is_sound(&launch->places[i], function, abi)) return false;
    }
    return true;
}

mlcc_status *mlcc_library_check_cuda(const mlcc_abi_model *abi) {
    const mlcc_abi_cuda *cuda = abi->cuda;
    if ((cuda->n_modules > 0 && cuda->modules == NULL) ||
        (abi->n_functions > 0 && cuda->functions == NULL) ||
        (cuda->consts_bytes > 0 && cuda->consts == NULL)) {
        return MLCC_ERROR(INVALID, "the library's CUDA tables are damaged: tables are missing");
    }
    for (uint32_t i = 0; i < cuda->n_modules; i++) {
        if (!module_is_sound(&cuda->modules[i]))
            return MLCC_ERROR(INVALID, "the library's CUDA tables are damaged: module %u", i);
    }
    for (uint32_t f = 0; f < abi->n_functions; f++) {
        const mlcc_abi_cuda_function *function = &cuda->functions[f];
        if (function->n_launches > 0 && function->launches == NULL) {
            return MLCC_ERROR(
                INVALID,
                "the library's CUDA tables are damaged: the launches of function %u are missing",
                f);
        }
        for (uint32_t l = 0; l < function->n_launches; l++) {
            if (launch_is_sound(&function->launches[l], &abi->functions[f], abi)) continue;
            return MLCC_ERROR(
                INVALID, "the library's CUDA tables are damaged: launch %u of function %u", l, f);
        }
    }
    return NULL;
}
