#include "runtime/device/cuda_modules.h"

#include "runtime/base/str.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOG_BYTES = 8192, SHARED_WITHOUT_ASKING = 48 * 1024 };

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

const mlcc_abi_cuda_image *mlcc_cuda_choose_image(
    const mlcc_abi_cuda_module *module, uint32_t arch) {
    const mlcc_abi_cuda_image *best = NULL;
    for (uint32_t i = 0; i < module->n_images; i++) {
        const mlcc_abi_cuda_image *image = &module->images[i];
        uint32_t rank = rank_of(image, arch);
        if (rank > 0 && (best == NULL || rank > rank_of(best, arch))) best = image;
    }
    return best;
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

static mlcc_status *load_module(
    const mlcc_cuda_driver *driver, const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_module *module,
    uint32_t arch, mlcc_cu_module **out) {
    const mlcc_abi_cuda_image *image = mlcc_cuda_choose_image(module, arch);
    if (image == NULL) return no_image(module, arch);
    char *log = calloc(1, LOG_BYTES);
    if (log == NULL) return MLCC_ERROR(NO_MEMORY, "memory for the driver's log cannot be had");
    // Values travel in the place of pointers.
    int options[] = {MLCC_CU_JIT_ERROR_LOG, MLCC_CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)LOG_BYTES};
    mlcc_cu_result result = driver->module_load_data_ex(out, image->data, 2, options, values);
    log[LOG_BYTES - 1] = '\0';
    mlcc_status *status = NULL;
    if (result != MLCC_CU_SUCCESS) {
        *out = NULL;
        status = refused(driver, cuda, module, image, result, log);
    }
    free(log);
    return status;
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

static size_t count_entries(const mlcc_abi_model *abi) {
    size_t n_entries = 0;
    for (uint32_t f = 0; f < abi->n_functions; f++) {
        for (uint32_t l = 0; l < abi->cuda->functions[f].n_launches; l++)
            n_entries += abi->cuda->functions[f].launches[l].n_entries;
    }
    return n_entries;
}

static mlcc_status *find_entries(
    mlcc_cuda_modules *self, const mlcc_abi_model *abi, uint32_t max_shared_bytes) {
    const mlcc_abi_cuda *cuda = abi->cuda;
    size_t next = 0;
    for (uint32_t f = 0; f < abi->n_functions; f++) {
        self->first_entry[f] = next;
        for (uint32_t l = 0; l < cuda->functions[f].n_launches; l++) {
            const mlcc_abi_cuda_launch *launch = &cuda->functions[f].launches[l];
            for (uint32_t e = 0; e < launch->n_entries; e++) {
                MLCC_TRY(find_entry(
                    self, &cuda->modules[launch->module], self->modules[launch->module],
                    &launch->entries[e], max_shared_bytes, &self->entries[next++]));
            }
        }
    }
    return NULL;
}

static mlcc_status *load_all(
    mlcc_cuda_modules *self, const mlcc_abi_model *abi, uint32_t arch, uint32_t max_shared_bytes) {
    const mlcc_abi_cuda *cuda = abi->cuda;
    self->modules = calloc((size_t)cuda->n_modules + 1, sizeof *self->modules);
    self->entries = calloc(count_entries(abi) + 1, sizeof *self->entries);
    self->first_entry = calloc((size_t)abi->n_functions + 1, sizeof *self->first_entry);
    if (self->modules == NULL || self->entries == NULL || self->first_entry == NULL)
        return MLCC_ERROR(NO_MEMORY, "memory for the list of modules cannot be had");
    self->n_modules = cuda->n_modules;
    for (uint32_t i = 0; i < cuda->n_modules; i++)
        MLCC_TRY(load_module(self->driver, cuda, &cuda->modules[i], arch, &self->modules[i]));
    return find_entries(self, abi, max_shared_bytes);
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
        if (modules->modules[i] != NULL) (void)modules->driver->module_unload(modules->modules[i]);
    }
    free(modules->modules);
    free(modules->entries);
    free(modules->first_entry);
    *modules = (mlcc_cuda_modules){0};
}
