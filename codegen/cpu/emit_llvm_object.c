// From the linked module to object code: one target for every function, the standard -O3 pipeline, ELF bytes.
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/cpu/emit_llvm_kept.h"
#include "codegen/cpu/features.h"
#include "runtime/abi.h"
#include "runtime/base/file.h"

#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <string.h>

static void remove_text_attribute(LLVMValueRef function, const char *name) {
    LLVMRemoveStringAttributeAtIndex(function, EMIT_FUNCTION_INDEX, name, (unsigned)strlen(name));
}

static void remove_attribute(LLVMValueRef function, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMRemoveEnumAttributeAtIndex(function, EMIT_FUNCTION_INDEX, kind);
}

// Kernel bitcode carries the attributes of the machine that it was written for; the model has one machine.
static void set_target(emit *e, LLVMValueRef function) {
    const codegen_cpu *cpu = e->options->cpu;
    static const char *const of_clang[] = {
        "target-cpu", "target-features", "tune-cpu", "min-legal-vector-width",
        "prefer-vector-width"};
    for (size_t i = 0; i < sizeof of_clang / sizeof of_clang[0]; i++) {
        remove_text_attribute(function, of_clang[i]);
    }
    remove_attribute(function, "uwtable");
    emit_add_attribute(e, function, (unsigned)EMIT_FUNCTION_INDEX, "nounwind", 0);
    char *text = LLVMGetTargetMachineCPU(e->machine);
    emit_add_text_attribute(e, function, "target-cpu", text);
    LLVMDisposeMessage(text);
    text = LLVMGetTargetMachineFeatureString(e->machine);
    emit_add_text_attribute(e, function, "target-features", text);
    LLVMDisposeMessage(text);
    emit_add_text_attribute(e, function, "tune-cpu", codegen_cpu_tune(cpu));
    if (codegen_cpu_has(cpu, "avx512f")) {
        emit_add_text_attribute(e, function, "prefer-vector-width", "512");
    }
    // Loops must not become calls of memset and memcpy: lib.so has no C library of its own.
    emit_add_text_attribute(e, function, "no-builtins", "");
}

static void close_module(emit *e) {
    for (LLVMValueRef f = LLVMGetFirstFunction(e->module); f != NULL; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f)) continue;
        size_t length = 0;
        const char *name = LLVMGetValueName2(f, &length);
        bool is_query = strcmp(name, MLCC_ABI_QUERY) == 0 || strcmp(name, MLCC_ABI_LEVELS) == 0;
        const bool is_shown = is_query || f == e->exported;
        LLVMSetLinkage(f, is_shown ? LLVMExternalLinkage : LLVMInternalLinkage);
        set_target(e, f);
    }
}

static mlcc_status *optimise(emit *e) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(options, 1);
    LLVMPassBuilderOptionsSetLoopInterleaving(options, 1);
    LLVMPassBuilderOptionsSetLoopUnrolling(options, 1);
    LLVMPassBuilderOptionsSetSLPVectorization(options, 1);
    LLVMErrorRef error = LLVMRunPasses(e->module, "default<O3>", e->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error == NULL) return NULL;
    char *message = LLVMGetErrorMessage(error);
    mlcc_status *status = MLCC_ERROR(INTERNAL, "LLVM cannot optimise the model: %s", message);
    LLVMDisposeErrorMessage(message);
    return status;
}

static mlcc_status *emit_file(
    emit *e, LLVMModuleRef module, LLVMCodeGenFileType type, const void **data,
    size_t *size_bytes) {
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(e->machine, module, type, &message, &buffer)) {
        mlcc_status *status = MLCC_ERROR(INTERNAL, "LLVM cannot emit the model: %s", message);
        LLVMDisposeMessage(message);
        return status;
    }
    *size_bytes = LLVMGetBufferSize(buffer);
    *data = mlcc_arena_memdup(e->keep, LLVMGetBufferStart(buffer), *size_bytes);
    LLVMDisposeMemoryBuffer(buffer);
    if (e->diagnostics.length == 0) return NULL;
    return MLCC_ERROR(INTERNAL, "LLVM cannot emit the model: %s", mlcc_str_text(&e->diagnostics));
}

mlcc_status *emit_dump(emit *e, const char *name) {
    if (e->options->debug_dump == NULL) return NULL;
    char *text = LLVMPrintModuleToString(e->module);
    const char *path = mlcc_path_join(e->keep, e->options->debug_dump, name);
    mlcc_status *status = mlcc_file_write_atomic(path, text, strlen(text));
    LLVMDisposeMessage(text);
    return status;
}

static mlcc_status *dump_assembly(emit *e) {
    if (e->options->debug_dump == NULL) return NULL;
    // Emission consumes the module, so the text comes from a copy.
    LLVMModuleRef copy = LLVMCloneModule(e->module);
    const void *data = NULL;
    size_t size_bytes = 0;
    mlcc_status *status = emit_file(e, copy, LLVMAssemblyFile, &data, &size_bytes);
    LLVMDisposeModule(copy);
    if (status != NULL) return status;
    return mlcc_file_write_atomic(
        mlcc_path_join(e->keep, e->options->debug_dump, "lib.s"), data, size_bytes);
}

mlcc_status *emit_object(emit *e, const void **object, size_t *object_bytes) {
    close_module(e);
    MLCC_TRY(emit_verify(e->module, "the linked model"));
    MLCC_TRY(emit_dump(e, "linked.ll"));
    const kept_object kept = kept_object_of(e->module, e->machine, e->keep);
    const bool dumps = e->options->debug_dump != NULL; // what lies between module and object
    if (!dumps && kept_object_take(&kept, e->keep, object, object_bytes)) return NULL;
    MLCC_TRY(optimise(e));
    MLCC_TRY(emit_dump(e, "optimised.ll"));
    MLCC_TRY(dump_assembly(e));
    MLCC_TRY(emit_file(e, e->module, LLVMObjectFile, object, object_bytes));
    return kept_object_put(&kept, *object, *object_bytes);
}

// Instances and the functions that run them become host code where the CPU is the device.
static mlcc_status *emit_all(emit *e, const void **object, size_t *object_bytes) {
    const codegen_artifact *artifact = e->artifact;
    const bool is_cpu = e->options->cuda == NULL;
    e->prepare_shares = cpu_share_prepares(artifact, e->keep);
    if (is_cpu) e->shares = cpu_share_instances(artifact, e->options->knobs, e->keep);
    for (int32_t i = 0; is_cpu && i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        MLCC_TRY_NOTE(
            emit_instance(e, i), "specialising kernel '%s' for group '%s'", instance->kernel,
            instance->group->name);
    }
    for (int32_t i = 0; i < artifact->n_prepares; i++) MLCC_TRY(emit_prepare(e, i));
    for (int32_t i = 0; is_cpu && i < artifact->n_functions; i++) {
        MLCC_TRY(emit_host_function(e, i));
    }
    MLCC_TRY(emit_tables(e));
    return emit_object(e, object, object_bytes);
}

mlcc_status *emit_llvm_object(
    const codegen_artifact *artifact, const emit_llvm_options *options, mlcc_arena *keep,
    const void **object, size_t *object_bytes) {
    *object = NULL;
    *object_bytes = 0;
    emit e;
    mlcc_status *status = emit_open(&e, artifact, options, keep);
    if (status == NULL) status = emit_all(&e, object, object_bytes);
    emit_close(&e);
    return status;
}
