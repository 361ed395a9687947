#include "codegen/cuda/cuda_target.h"

#include "codegen/cuda/cubin.h"
#include "codegen/cuda/emit_cuda.h"
#include "runtime/base/file.h"

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

// A launch is one kernel for all architectures, so a row must fit every one of them.
const char *cuda_kernel_refusal(
    const cuda_target *target, const cuda_kernel_row *row, const ir_function *group) {
    for (size_t i = 0; i < target->n_archs; i++) {
        const cuda_arch *arch = &target->archs[i];
        if (arch->number < row->min_arch || (row->needs_arch_specific && !arch->is_specific)) {
            return mlcc_arena_printf(
                target->keep, "needs sm_%d%s and newer, not %s", row->min_arch,
                row->needs_arch_specific ? "a" : "", arch->text);
        }
    }
    return row->refuses != NULL ? row->refuses(group) : NULL;
}

// ---- compiling ----------------------------------------------------------------------------------------

static mlcc_status *dump_text(
    const char *folder, const char *stem, const char *ending, const char *text,
    mlcc_arena *scratch) {
    const char *name = mlcc_arena_printf(scratch, "%s.%s", stem, ending);
    return mlcc_file_write_atomic(mlcc_path_join(scratch, folder, name), text, strlen(text));
}

static const char *dump_stem(const cuda_module *module, int32_t index, mlcc_arena *scratch) {
    return mlcc_arena_printf(scratch, "%02d_%s", index, module->row->name);
}

static mlcc_status *dump_images(
    const cuda_target *target, const cuda_module *modules, int32_t n_modules, const char *folder,
    mlcc_arena *scratch) {
    for (int32_t m = 0; m < n_modules; m++) {
        const char *stem = dump_stem(&modules[m], m, scratch);
        for (size_t a = 0; a < target->n_archs; a++) {
            const cuda_image *image = &modules[m].unit.images[a];
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
    cuda_module *modules) {
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        cuda_module *module = &modules[i];
        module->row = cuda_kernel_find(instance->kernel);
        if (module->row == NULL) {
            return MLCC_ERROR(INTERNAL, "kernel '%s' is none of CUDA's", instance->kernel);
        }
        mlcc_str source = {0};
        mlcc_status *status = emit_cuda_source(instance, module->row, &source);
        module->unit.name = module->row->name;
        module->unit.source = mlcc_arena_strdup(keep, mlcc_str_text(&source));
        mlcc_str_free(&source);
        if (debug_dump != NULL) {
            MLCC_TRY(
                dump_text(debug_dump, dump_stem(module, i, keep), "cu", module->unit.source, keep));
        }
        if (status != NULL) return status;
    }
    return NULL;
}

mlcc_status *cuda_target_compile(
    const cuda_target *target, const codegen_artifact *artifact, const char *debug_dump,
    mlcc_arena *keep, cuda_module **out) {
    const size_t n = (size_t)artifact->n_instances;
    cuda_module *modules = MLCC_NEW_ARRAY(keep, cuda_module, n + 1);
    cuda_unit *units = MLCC_NEW_ARRAY(keep, cuda_unit, n + 1);
    *out = NULL;
    MLCC_TRY(write_sources(artifact, debug_dump, keep, modules));
    for (size_t i = 0; i < n; i++) units[i] = modules[i].unit;
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(keep)};
    MLCC_TRY(cuda_compile(target->nvrtc, &options, target->archs, target->n_archs, units, n, keep));
    for (size_t i = 0; i < n; i++) modules[i].unit = units[i];
    if (debug_dump != NULL) {
        MLCC_TRY(dump_images(target, modules, artifact->n_instances, debug_dump, keep));
    }
    *out = modules;
    return NULL;
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
    const cuda_target *target, const codegen_artifact *artifact, const cuda_module *modules,
    mlcc_str *out) {
    int major = 0, minor = 0;
    nvrtc_version(target->nvrtc, &major, &minor);
    mlcc_str_printf(
        out, "\nNVRTC %d.%d; spills in bytes; instructions of the inner loop\n", major, minor);
    for (int32_t m = 0; m < artifact->n_instances; m++) {
        mlcc_str_printf(
            out, "\nmodule %d: %s for %s\n", m, modules[m].row->name,
            artifact->instances[m].group->name);
        mlcc_str_puts(
            out,
            "  arch        registers  stack  spills  per 16 B load  per matrix op  instructions"
            "  entry\n");
        for (size_t a = 0; a < target->n_archs; a++) {
            report_image(modules[m].row, &modules[m].unit.images[a], out);
        }
    }
}
