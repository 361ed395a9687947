#include "runtime/device/cuda_modules.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOG_BYTES = 8192, SHARED_WITHOUT_ASKING = 48 * 1024, FIRST_WAITING_ARCH = 90 };

// 0 = does not fit; larger is better.
static uint32_t rank_of(const mlcc_abi_cuda_image *image, uint32_t arch) {
    enum { EXACT = 3000000, CUBIN = 2000000, PTX = 1000000 };
    if (image->is_arch_specific != 0) {
        if (image->arch != arch) return 0;
        return image->is_ptx != 0 ? PTX + arch + 1 : EXACT;
    }
    if (image->arch > arch) return 0;
    if (image->is_ptx != 0) return PTX + image->arch;
    return image->arch / 10 == arch / 10 ? CUBIN + image->arch : 0;
}

// The best of those whose rank is below `limit`.
static const mlcc_abi_cuda_image *choose_below(
    const mlcc_abi_cuda_module *module, uint32_t arch, uint32_t limit) {
    const mlcc_abi_cuda_image *best = NULL;
    for (uint32_t i = 0; i < module->n_images; i++) {
        const mlcc_abi_cuda_image *image = &module->images[i];
        uint32_t rank = rank_of(image, arch);
        if (rank == 0 || rank >= limit) continue;
        if (best == NULL || rank > rank_of(best, arch)) best = image;
    }
    return best;
}

const mlcc_abi_cuda_image *mlcc_cuda_choose_image(
    const mlcc_abi_cuda_module *module, uint32_t arch) {
    return choose_below(module, arch, UINT32_MAX);
}

// "sm_90a", "compute_80"
static void put_image(mlcc_str *out, const mlcc_abi_cuda_image *image) {
    mlcc_str_printf(
        out, "%s_%u%s", image->is_ptx != 0 ? "compute" : "sm", image->arch,
        image->is_arch_specific != 0 ? "a" : "");
}

static mlcc_status *no_image(const mlcc_abi_cuda_module *module, uint32_t arch) {
    mlcc_str list = {0};
    for (uint32_t i = 0; i < module->n_images; i++) {
        if (i > 0) mlcc_str_puts(&list, ", ");
        put_image(&list, &module->images[i]);
    }
    mlcc_status *status = MLCC_ERROR(
        MISMATCH,
        "module '%s' holds code for %s, but the device has compute capability %u.%u: compile the "
        "model again with --device cuda:sm_%u",
        module->name, mlcc_str_text(&list), arch / 10, arch % 10, arch);
    mlcc_str_free(&list);
    return status;
}

static mlcc_status *refused(
    const mlcc_cuda_driver *driver, const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_module *module,
    const mlcc_abi_cuda_image *image, mlcc_cu_result result, const char *log) {
    char error[160], what[200];
    mlcc_str name = {0};
    put_image(&name, image);
    snprintf(what, sizeof what, "loading module '%s' (%s)", module->name, mlcc_str_text(&name));
    mlcc_str_free(&name);
    if (result == MLCC_CU_OUT_OF_MEMORY) return mlcc_cuda_check(driver, result, what);
    mlcc_cuda_error_text(driver, result, error);
    uint32_t made_with = cuda->nvrtc_version;
    uint32_t supported =
        (uint32_t)driver->version / 1000 * 100 + (uint32_t)driver->version % 1000 / 10;
    if (made_with > supported) {
        return MLCC_ERROR(
            MISMATCH,
            "%s: %s; the library was made with NVRTC %u.%u and the driver %s supports CUDA %u.%u: "
            "update NVIDIA's driver, or compile the model with an older NVRTC (MLCC_NVRTC_PATH)",
            what, error, made_with / 100, made_with % 100, driver->file, supported / 100,
            supported % 100);
    }
    return MLCC_ERROR(DEVICE, "%s: %s%s%s", what, error, log[0] == '\0' ? "" : "; ", log);
}

// What a driver answers that does not know this form of code; another form may do.
static bool is_about_code(mlcc_cu_result result) {
    return result == MLCC_CU_INVALID_IMAGE || result == MLCC_CU_NO_BINARY_FOR_GPU ||
           result == MLCC_CU_INVALID_PTX || result == MLCC_CU_UNSUPPORTED_PTX_VERSION;
}

static mlcc_status *load_image(
    const mlcc_cuda_driver *driver, const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_module *module,
    const mlcc_abi_cuda_image *image, mlcc_cu_module **out, mlcc_cu_result *result) {
    char *log = calloc(1, LOG_BYTES);
    if (log == NULL) return MLCC_ERROR(NO_MEMORY, "memory for the driver's log cannot be had");
    // Values travel in the place of pointers.
    int options[] = {MLCC_CU_JIT_ERROR_LOG, MLCC_CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)LOG_BYTES};
    *result = driver->module_load_data_ex(out, image->data, 2, options, values);
    log[LOG_BYTES - 1] = '\0';
    mlcc_status *status = NULL;
    if (*result != MLCC_CU_SUCCESS) {
        *out = NULL;
        status = refused(driver, cuda, module, image, *result, log);
    }
    free(log);
    return status;
}

// Every image of a module that fits, best first, until the driver takes one; else what it said of the
// first.
static mlcc_status *load_module(
    mlcc_cuda_modules *self, const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_module *module,
    uint32_t arch, mlcc_cuda_module *out) {
    mlcc_status *first = NULL;
    const mlcc_abi_cuda_image *image = mlcc_cuda_choose_image(module, arch);
    while (image != NULL) {
        mlcc_cu_result result = MLCC_CU_SUCCESS;
        mlcc_status *status = load_image(self->driver, cuda, module, image, &out->loaded, &result);
        if (status == NULL) break;
        out->is_refused = is_about_code(result);
        if (first == NULL) {
            first = status;
        } else {
            mlcc_status_free(status);
        }
        image = out->is_refused ? choose_below(module, arch, rank_of(image, arch)) : NULL;
    }
    out->image = image;
    if (image == NULL || first == NULL) return first;
    mlcc_str name = {0};
    put_image(&name, image);
    mlcc_log(
        self->has_warned ? MLCC_LOG_DEBUG : MLCC_LOG_WARN, "device",
        "%s; its code for %s is used instead", mlcc_status_message(first), mlcc_str_text(&name));
    self->has_warned = true;
    mlcc_str_free(&name);
    mlcc_status_free(first);
    out->is_refused = false;
    return NULL;
}

static mlcc_status *find_entry(
    mlcc_cuda_modules *self, const mlcc_abi_cuda_module *module, mlcc_cu_module *loaded,
    const mlcc_abi_cuda_entry *entry, uint32_t max_shared_bytes, mlcc_cu_function **out) {
    const mlcc_cuda_driver *driver = self->driver;
    char what[256];
    snprintf(what, sizeof what, "function '%s' of module '%s'", entry->symbol, module->name);
    MLCC_TRY(
        mlcc_cuda_check(driver, driver->module_get_function(out, loaded, entry->symbol), what));
    if (entry->shared_bytes <= SHARED_WITHOUT_ASKING) return NULL;
    if (entry->shared_bytes > max_shared_bytes) {
        return MLCC_ERROR(
            MISMATCH,
            "%s needs %u bytes of shared memory, the device has %u for a block: compile the model "
            "again for this device",
            what, entry->shared_bytes, max_shared_bytes);
    }
    // Several launches share a function: the largest wish stands.
    int granted = 0;
    MLCC_TRY(mlcc_cuda_check(
        driver, driver->func_get_attribute(&granted, MLCC_CU_FUNCTION_MAX_DYNAMIC_SHARED, *out),
        what));
    if (granted >= (int)entry->shared_bytes) return NULL;
    return mlcc_cuda_check(
        driver,
        driver->func_set_attribute(
            *out, MLCC_CU_FUNCTION_MAX_DYNAMIC_SHARED, (int)entry->shared_bytes),
        what);
}

// What the last, most general variant has; the error names it.
static mlcc_status *no_variant(
    const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_launch *launch, uint32_t arch) {
    return no_image(&cuda->modules[launch->variants[launch->n_variants - 1].module], arch);
}

// The first variant whose module the device and the driver take; the module is loaded then.
static mlcc_status *choose_variant(
    mlcc_cuda_modules *self, const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_launch *launch,
    uint32_t arch, mlcc_cuda_chosen *chosen) {
    mlcc_status *first = NULL;
    for (uint32_t i = 0; chosen->variant == NULL && i < launch->n_variants; i++) {
        const mlcc_abi_cuda_variant *variant = &launch->variants[i];
        mlcc_cuda_module *module = &self->modules[variant->module];
        // What was refused for another launch is refused again, unless nothing else is left to name.
        if (module->is_refused && i + 1 < launch->n_variants) continue;
        if (mlcc_cuda_choose_image(&cuda->modules[variant->module], arch) == NULL) continue;
        mlcc_status *status = NULL;
        if (module->loaded == NULL) {
            status = load_module(self, cuda, &cuda->modules[variant->module], arch, module);
        }
        if (status == NULL) {
            chosen->variant = variant;
            chosen->waits = module->image->arch >= FIRST_WAITING_ARCH;
        } else if (!module->is_refused) {
            mlcc_status_free(first);
            return status;
        } else if (first == NULL) {
            first = status;
        } else {
            mlcc_status_free(status);
        }
    }
    if (chosen->variant == NULL) return first != NULL ? first : no_variant(cuda, launch, arch);
    mlcc_status_free(first);
    return NULL;
}

static mlcc_status *choose_variants(
    mlcc_cuda_modules *self, const mlcc_abi_model *abi, uint32_t arch, size_t *n_entries) {
    const mlcc_abi_cuda *cuda = abi->cuda;
    mlcc_cuda_chosen *chosen = self->launches;
    *n_entries = 0;
    for (uint32_t f = 0; f < abi->n_functions; f++) {
        const mlcc_abi_cuda_function *function = &cuda->functions[f];
        self->first_launch[f] = (size_t)(chosen - self->launches);
        for (uint32_t l = 0; l < function->n_launches; l++, chosen++) {
            MLCC_TRY(choose_variant(self, cuda, &function->launches[l], arch, chosen));
            *n_entries += chosen->variant->n_entries;
        }
    }
    return NULL;
}

static mlcc_status *find_entries(
    mlcc_cuda_modules *self, const mlcc_abi_cuda *cuda, mlcc_cuda_chosen *chosen,
    uint32_t max_shared_bytes) {
    const mlcc_abi_cuda_variant *variant = chosen->variant;
    for (uint32_t e = 0; e < variant->n_entries; e++) {
        MLCC_TRY(find_entry(
            self, &cuda->modules[variant->module], self->modules[variant->module].loaded,
            &variant->entries[e], max_shared_bytes, &chosen->entries[e]));
    }
    return NULL;
}

static size_t count_launches(const mlcc_abi_model *abi) {
    size_t n_launches = 0;
    for (uint32_t f = 0; f < abi->n_functions; f++)
        n_launches += abi->cuda->functions[f].n_launches;
    return n_launches;
}

static mlcc_status *load_all(
    mlcc_cuda_modules *self, const mlcc_abi_model *abi, uint32_t arch, uint32_t max_shared_bytes) {
    const mlcc_abi_cuda *cuda = abi->cuda;
    const size_t n_launches = count_launches(abi);
    size_t n_entries = 0;
    self->modules = calloc((size_t)cuda->n_modules + 1, sizeof *self->modules);
    self->launches = calloc(n_launches + 1, sizeof *self->launches);
    self->first_launch = calloc((size_t)abi->n_functions + 1, sizeof *self->first_launch);
    if (self->modules != NULL && self->launches != NULL && self->first_launch != NULL) {
        self->n_modules = cuda->n_modules;
        MLCC_TRY(choose_variants(self, abi, arch, &n_entries));
        self->entries = calloc(n_entries + 1, sizeof *self->entries);
    }
    if (self->entries == NULL)
        return MLCC_ERROR(NO_MEMORY, "memory for the list of modules cannot be had");
    mlcc_cu_function **next = self->entries;
    for (size_t i = 0; i < n_launches; i++) {
        self->launches[i].entries = next;
        next += self->launches[i].variant->n_entries;
        MLCC_TRY(find_entries(self, cuda, &self->launches[i], max_shared_bytes));
    }
    return NULL;
}

mlcc_status *mlcc_cuda_modules_load(
    const mlcc_cuda_driver *driver, const mlcc_abi_model *abi, uint32_t arch,
    uint32_t max_shared_bytes, mlcc_cuda_modules *out) {
    *out = (mlcc_cuda_modules){.driver = driver};
    mlcc_status *status = load_all(out, abi, arch, max_shared_bytes);
    if (status != NULL) mlcc_cuda_modules_free(out);
    return status;
}

void mlcc_cuda_modules_free(mlcc_cuda_modules *modules) {
    for (uint32_t i = 0; i < modules->n_modules; i++) {
        if (modules->modules[i].loaded != NULL)
            (void)modules->driver->module_unload(modules->modules[i].loaded);
    }
    free(modules->modules);
    free(modules->entries);
    free(modules->launches);
    free(modules->first_launch);
    *modules = (mlcc_cuda_modules){0};
}
