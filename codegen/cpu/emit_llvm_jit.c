// One instance as code in this process, through ORC: the same object code that lib.so would hold, and a function around it that takes its
// operands from arrays.
//
//   void trial(ptr memory, ptr symbols, ptr scratch, ptr counter, i32 n_threads) {
//       run(memory[0], …, scratch, symbols[0], …, counter, n_threads);
//   }
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/emit_llvm_inside.h"

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>

#include <stdlib.h>

static const char trial_name[] = "mlcc_trial";

struct emit_llvm_jit {
    LLVMOrcLLJITRef lljit;
    emit_llvm_trial *function;
};

static mlcc_status *jit_error(LLVMErrorRef error, const char *what) {
    if (error == NULL) return NULL;
    char *message = LLVMGetErrorMessage(error);
    mlcc_status *status = MLCC_ERROR(INTERNAL, "LLVM cannot %s: %s", what, message);
    LLVMDisposeErrorMessage(message);
    return status;
}

static LLVMValueRef load_from(emit *e, LLVMTypeRef type, LLVMValueRef list, unsigned index) {
    return LLVMBuildLoad2(e->builder, type, emit_element(e, type, list, index), "");
}

static void build_trial(emit *e, int32_t index) {
    LLVMTypeRef params[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i32};
    LLVMTypeRef type = emit_function_type(e->void_type, params, 5);
    LLVMValueRef trial = LLVMAddFunction(e->module, trial_name, type);
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, trial, "entry"));
    LLVMValueRef run = e->runs[index];
    const unsigned n_symbols = (unsigned)e->artifact->module->n_symbols;
    const unsigned n_params = LLVMCountParams(run), n_memory = n_params - n_symbols - 3;
    LLVMValueRef *args = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n_params);
    unsigned n = 0;
    for (unsigned i = 0; i < n_memory; i++)
        args[n++] = load_from(e, e->pointer, LLVMGetParam(trial, 0), i);
    args[n++] = LLVMGetParam(trial, 2);
    for (unsigned i = 0; i < n_symbols; i++)
        args[n++] = load_from(e, e->i64, LLVMGetParam(trial, 1), i);
    args[n++] = LLVMGetParam(trial, 3);
    args[n++] = LLVMGetParam(trial, 4);
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(run), run, args, n, "");
    LLVMBuildRetVoid(e->builder);
    e->exported = trial;
}

static mlcc_status *compile(emit *e, int32_t index, const void **object, size_t *object_bytes) {
    const codegen_instance *instance = &e->artifact->instances[index];
    if (cpu_kernel_shared_bytes(cpu_kernel_find(instance->kernel), instance->group) > 0) {
        return MLCC_ERROR(
            INTERNAL, "kernel '%s' shares memory and cannot run alone", instance->kernel);
    }
    e->shares = cpu_share_nothing(e->artifact, e->keep);
    MLCC_TRY(emit_instance(e, index));
    build_trial(e, index);
    return emit_object(e, object, object_bytes);
}

// memcpy and its like, which the object may call, are those of this process.
static mlcc_status *load(emit_llvm_jit *jit, const void *object, size_t object_bytes) {
    MLCC_TRY(jit_error(LLVMOrcCreateLLJIT(&jit->lljit, NULL), "start its JIT"));
    LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit->lljit);
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(object, object_bytes, "trial");
    MLCC_TRY(jit_error(LLVMOrcLLJITAddObjectFile(jit->lljit, dylib, buffer), "load a kernel"));
    LLVMOrcExecutorAddress address = 0;
    MLCC_TRY(jit_error(LLVMOrcLLJITLookup(jit->lljit, &address, trial_name), "link a kernel"));
    jit->function = (emit_llvm_trial *)(uintptr_t)address;
    return NULL;
}

mlcc_status *emit_llvm_jit_open(
    const codegen_artifact *artifact, const emit_llvm_options *options, int32_t instance,
    emit_llvm_jit **out) {
    *out = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    const void *object = NULL;
    size_t object_bytes = 0;
    emit e;
    mlcc_status *status = emit_open(&e, artifact, options, scratch);
    if (status == NULL) status = compile(&e, instance, &object, &object_bytes);
    emit_close(&e);
    emit_llvm_jit *jit = calloc(1, sizeof *jit);
    if (status == NULL && jit == NULL) status = MLCC_ERROR(NO_MEMORY, "no memory for a kernel");
    if (status == NULL) status = load(jit, object, object_bytes);
    if (status == NULL) {
        *out = jit;
    } else {
        emit_llvm_jit_close(jit);
    }
    mlcc_arena_free(scratch);
    return status;
}

emit_llvm_trial *emit_llvm_jit_function(const emit_llvm_jit *jit) {
    return jit->function;
}

void emit_llvm_jit_close(emit_llvm_jit *jit) {
    if (jit == NULL) return;
    if (jit->lljit != NULL) LLVMConsumeError(LLVMOrcDisposeLLJIT(jit->lljit));
    free(jit);
}
