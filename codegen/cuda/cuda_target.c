#include "codegen/cuda/cuda_target.h"

#include "codegen/cuda/cubin.h"
#include "codegen/cuda/emit_cuda.h"
#include "codegen/cuda/kernels/kernel.h"
#include "runtime/base/file.h"

#include <stdlib.h>
#include <string.h>

// ---- opening and choosing -----------------------------------------------------------------------------

mlcc_status *cuda_target_open(const char *device, mlcc_arena *keep, cuda_target **out) {
    *out = NULL;
    cuda_target *target = MLCC_NEW(keep, cuda_target);
    target->keep = keep;
    MLCC_TRY(cuda_device_check(device));
    MLCC_TRY(nvrtc_open(&target->nvrtc));
    mlcc_status *status =
        cuda_archs_parse(device, target->nvrtc, keep, &target->archs, &target->n_archs);
    if (status != NULL) {
        cuda_target_close(target);
        return status;
    }
    *out = target;
    return NULL;
}

void cuda_target_close(cuda_target *target) {
    if (target == NULL) return;
    nvrtc_close(target->nvrtc);
    target->nvrtc = NULL;
}

const char *cuda_row_refusal(
    const nvrtc_library *nvrtc, const cuda_kernel_row *row, const cuda_arch *arch,
    mlcc_arena *keep) {
    int major = 0, minor = 0;
    nvrtc_version(nvrtc, &major, &minor);
    if (arch->number < row->min_arch || (row->needs_arch_specific && !arch->is_specific)) {
        return mlcc_arena_printf(
            keep, "needs sm_%d%s, not %s", row->min_arch,
            row->needs_arch_specific ? "a" : " and newer", arch->text);
    }
    if (major * 100 + minor >= row->min_nvrtc) return NULL;
    return mlcc_arena_printf(
        keep, "needs NVRTC %d.%d, not %d.%d", row->min_nvrtc / 100, row->min_nvrtc % 100, major,
        minor);
}

static const char *arch_refusal(
    const cuda_target *target, const cuda_kernel_row *row, const cuda_arch *arch) {
    return cuda_row_refusal(target->nvrtc, row, arch, target->keep);
}

// The plan's row must do for every architecture: variants only improve on it.
const char *cuda_kernel_refusal(
    const cuda_target *target, const cuda_kernel_row *row, const ir_function *group) {
    for (size_t i = 0; i < target->n_archs; i++) {
        const char *reason = arch_refusal(target, row, &target->archs[i]);
        if (reason != NULL) return reason;
    }
    return row->refuses != NULL ? row->refuses(group) : NULL;
}

// ---- variants -----------------------------------------------------------------------------------------

// The last row that does for the architecture: the plan's, or one that stands behind it.
static const cuda_kernel_row *row_for(
    const cuda_target *target, const codegen_instance *instance, const cuda_arch *arch) {
    size_t n_rows = 0;
    const cuda_kernel_row *planned = cuda_kernel_find(instance->kernel);
    const cuda_kernel_row *table = cuda_kernel_table(&n_rows), *best = planned;
    for (const cuda_kernel_row *row = planned + 1; row < table + n_rows; row++) {
        if (row->op != planned->op || arch_refusal(target, row, arch) != NULL) continue;
        if (row->refuses == NULL || row->refuses(instance->group) == NULL) best = row;
    }
    return best;
}

static cuda_module *module_of(
    cuda_modules *modules, int32_t instance, const cuda_kernel_row *row, size_t n_archs,
    mlcc_arena *keep) {
    for (int32_t m = modules->first[instance]; m < modules->n_modules; m++) {
        if (modules->modules[m].row == row) return &modules->modules[m];
    }
    cuda_module *module = &modules->modules[modules->n_modules++];
    *module = (cuda_module){.instance = instance, .row = row};
    module->unit.name = row->name;
    module->unit.archs = MLCC_NEW_ARRAY(keep, const cuda_arch *, n_archs + 1);
    return module;
}

static int compare_modules(const void *left, const void *right) {
    const cuda_module *a = left, *b = right;
    if (a->instance != b->instance) return a->instance < b->instance ? -1 : 1;
    return (a->row < b->row) - (a->row > b->row);
}

static mlcc_status *choose_rows(
    const cuda_target *target, const codegen_artifact *artifact, mlcc_arena *keep,
    cuda_modules *out) {
    const size_t n = (size_t)artifact->n_instances;
    out->modules = MLCC_NEW_ARRAY(keep, cuda_module, n * target->n_archs + 1);
    out->first = MLCC_NEW_ARRAY(keep, int32_t, n + 1);
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        if (cuda_kernel_find(instance->kernel) == NULL) {
            return MLCC_ERROR(INTERNAL, "kernel '%s' is none of CUDA's", instance->kernel);
        }
        out->first[i] = out->n_modules;
        for (size_t a = 0; a < target->n_archs; a++) {
            const cuda_arch *arch = &target->archs[a];
            cuda_module *module =
                module_of(out, i, row_for(target, instance, arch), target->n_archs, keep);
            module->unit.archs[module->unit.n_archs++] = arch;
        }
    }
    out->first[n] = out->n_modules;
    qsort(out->modules, (size_t)out->n_modules, sizeof *out->modules, compare_modules);
    return NULL;
}

int64_t cuda_target_scratch_bytes(const cuda_target *target, const codegen_instance *instance) {
    int64_t largest = 0;
    if (cuda_kernel_find(instance->kernel) == NULL) return 0;
    for (size_t a = 0; a < target->n_archs; a++) {
        const cuda_kernel_row *row = row_for(target, instance, &target->archs[a]);
        for (int32_t e = 0; e < row->n_entries; e++) {
            if (row->entries[e].scratch_bytes == NULL) continue;
            const int64_t size_bytes =
                KERNEL_COUNTER_BYTES + row->entries[e].scratch_bytes(instance->group);
            if (size_bytes > largest) largest = size_bytes;
        }
    }
    return largest;
}

// ---- compiling ----------------------------------------------------------------------------------------

static mlcc_status *dump_text(
    const char *folder, const char *stem, const char *ending, const char *text,
    mlcc_arena *scratch) {
    const char *name = mlcc_arena_printf(scratch, "%s.%s", stem, ending);
    return mlcc_file_write_atomic(mlcc_path_join(scratch, folder, name), text, strlen(text));
}

static const char *dump_stem(const cuda_module *module, mlcc_arena *scratch) {
    return mlcc_arena_printf(scratch, "%02d_%s", module->instance, module->row->name);
}

static mlcc_status *dump_images(
    const cuda_modules *modules, const char *folder, mlcc_arena *scratch) {
    for (int32_t m = 0; m < modules->n_modules; m++) {
        const cuda_unit *unit = &modules->modules[m].unit;
        const char *stem = dump_stem(&modules->modules[m], scratch);
        for (size_t a = 0; a < unit->n_archs; a++) {
            const cuda_image *image = &unit->images[a];
            const char *arch = image->arch->text;
            MLCC_TRY(dump_text(
                folder, stem, mlcc_arena_printf(scratch, "%s.ptx", arch), image->ptx, scratch));
            MLCC_TRY(dump_text(
                folder, stem, mlcc_arena_printf(scratch, "%s.log", arch), image->log, scratch));
        }
    }
    return NULL;
}

static mlcc_status *write_sources(
    const codegen_artifact *artifact, const char *debug_dump, mlcc_arena *keep,
    cuda_modules *modules) {
    for (int32_t m = 0; m < modules->n_modules; m++) {
        cuda_module *module = &modules->modules[m];
        mlcc_str source = {0};
        mlcc_status *status =
            emit_cuda_source(&artifact->instances[module->instance], module->row, &source);
        module->unit.source = mlcc_arena_strdup(keep, mlcc_str_text(&source));
        mlcc_str_free(&source);
        if (debug_dump != NULL) {
            MLCC_TRY(
                dump_text(debug_dump, dump_stem(module, keep), "cu", module->unit.source, keep));
        }
        if (status != NULL) return status;
    }
    return NULL;
}

mlcc_status *cuda_target_compile(
    const cuda_target *target, const codegen_artifact *artifact, const char *debug_dump,
    mlcc_arena *keep, cuda_modules *out) {
    *out = (cuda_modules){0};
    MLCC_TRY(choose_rows(target, artifact, keep, out));
    MLCC_TRY(write_sources(artifact, debug_dump, keep, out));
    const size_t n = (size_t)out->n_modules;
    cuda_unit *units = MLCC_NEW_ARRAY(keep, cuda_unit, n + 1);
    for (size_t i = 0; i < n; i++) units[i] = out->modules[i].unit;
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(keep)};
    MLCC_TRY(cuda_compile(target->nvrtc, &options, units, n, keep));
    for (size_t i = 0; i < n; i++) out->modules[i].unit = units[i];
    return debug_dump != NULL ? dump_images(out, debug_dump, keep) : NULL;
}

// ---- report -------------------------------------------------------------------------------------------

static void put_ratio(double ratio, mlcc_str *out) {
    if (ratio > 0.0) {
        mlcc_str_printf(out, "  %14.1f", ratio);
    } else {
        mlcc_str_printf(out, "  %14s", "-");
    }
}

static void report_entry(
    const cuda_image *image, const cubin *code, const char *entry, mlcc_str *out) {
    cuda_usage usage;
    const cubin_kernel *kernel = code != NULL ? cubin_find(code, entry) : NULL;
    if (kernel == NULL || !cuda_log_usage(image->log, entry, &usage)) return;
    mlcc_str_printf(
        out, "  %-10s  %9d  %5d  %6d", image->arch->text, usage.registers, usage.stack_bytes,
        usage.spill_store_bytes + usage.spill_load_bytes);
    put_ratio(cubin_issue_per_unit(kernel, CUBIN_WIDE_LOADS), out);
    put_ratio(cubin_issue_per_unit(kernel, CUBIN_MATRIX), out);
    mlcc_str_printf(out, "  %12d  %s\n", kernel->counts.n_instructions, entry);
}

static void report_image(const cuda_kernel_row *row, const cuda_image *image, mlcc_str *out) {
    if (image->arch->is_ptx) return; // no registers yet
    mlcc_arena *scratch = mlcc_arena_create();
    cubin *code = NULL;
    mlcc_status_free(cubin_read(image->data, image->size_bytes, scratch, &code));
    for (int32_t i = 0; i < row->n_entries; i++) {
        const char *entry = row->entries[i].symbol;
        // One function may stand twice, with two grids.
        if (i > 0 && strcmp(entry, row->entries[i - 1].symbol) == 0) continue;
        report_entry(image, code, entry, out);
    }
    mlcc_arena_free(scratch);
}

void cuda_target_report(
    const cuda_target *target, const codegen_artifact *artifact, const cuda_modules *modules,
    mlcc_str *out) {
    int major = 0, minor = 0;
    nvrtc_version(target->nvrtc, &major, &minor);
    mlcc_str_printf(
        out, "\nNVRTC %d.%d; spills in bytes; instructions of the inner loop\n", major, minor);
    for (int32_t m = 0; m < modules->n_modules; m++) {
        const cuda_module *module = &modules->modules[m];
        mlcc_str_printf(
            out, "\nmodule %d: %s for %s\n", m, module->row->name,
            artifact->instances[module->instance].group->name);
        mlcc_str_puts(
            out,
            "  arch        registers  stack  spills  per 16 B load  per matrix op  instructions"
            "  entry\n");
        for (size_t a = 0; a < module->unit.n_archs; a++) {
            report_image(module->row, &module->unit.images[a], out);
        }
    }
}
