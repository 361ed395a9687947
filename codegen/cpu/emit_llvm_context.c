#include "codegen/cpu/bitcode.h"
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/cpu/features.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>

#include <pthread.h>
#include <string.h>

static void initialize_targets(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

static pthread_once_t initialized = PTHREAD_ONCE_INIT;

void emit_llvm_host_cpu(mlcc_arena *keep, const char **name, const char **features) {
    char *text = LLVMGetHostCPUName();
    *name = mlcc_arena_strdup(keep, text);
    LLVMDisposeMessage(text);
    text = LLVMGetHostCPUFeatures();
    *features = mlcc_arena_strdup(keep, text);
    LLVMDisposeMessage(text);
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError) return;
    emit *e = user;
    char *text = LLVMGetDiagInfoDescription(info);
    mlcc_str_printf(&e->diagnostics, "%s%s", e->diagnostics.length > 0 ? "; " : "", text);
    LLVMDisposeMessage(text);
}

// "+avx,+avx2": the exact features, on top of the family's baseline.
static const char *llvm_features(mlcc_arena *keep, const char *list) {
    mlcc_str text = {0};
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, ",");
        mlcc_str_puts(&text, text.length > 0 ? ",+" : "+");
        mlcc_str_append(&text, p, n);
        p += n;
        if (*p == ',') p++;
    }
    const char *result = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return result;
}

static mlcc_status *open_machine(emit *e) {
    const codegen_cpu *cpu = e->options->cpu;
    LLVMTargetRef target = NULL;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(cpu->triple, &target, &message)) {
        mlcc_status *status = MLCC_ERROR(
            UNSUPPORTED, "this LLVM has no code generator for '%s': %s", cpu->triple, message);
        LLVMDisposeMessage(message);
        return status;
    }
    const char *baseline = codegen_cpu_is_x86(cpu) ? "x86-64" : "generic";
    e->machine = LLVMCreateTargetMachine(
        target, cpu->triple, baseline, llvm_features(e->keep, cpu->features),
        LLVMCodeGenLevelAggressive, LLVMRelocPIC, LLVMCodeModelDefault);
    e->data = LLVMCreateTargetDataLayout(e->machine);
    return NULL;
}

mlcc_status *emit_open(
    emit *e, const codegen_artifact *artifact, const emit_llvm_options *options, mlcc_arena *keep) {
    pthread_once(&initialized, initialize_targets);
    *e = (emit){.artifact = artifact, .options = options, .keep = keep};
    e->context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(e->context, on_diagnostic, e);
    e->builder = LLVMCreateBuilderInContext(e->context);
    e->pointer = LLVMPointerTypeInContext(e->context, 0);
    e->void_type = LLVMVoidTypeInContext(e->context);
    e->i8 = LLVMInt8TypeInContext(e->context);
    e->i16 = LLVMInt16TypeInContext(e->context);
    e->i32 = LLVMInt32TypeInContext(e->context);
    e->i64 = LLVMInt64TypeInContext(e->context);
    e->f16 = LLVMHalfTypeInContext(e->context);
    e->f32 = LLVMFloatTypeInContext(e->context);
    e->f64 = LLVMDoubleTypeInContext(e->context);
    e->runs = MLCC_NEW_ARRAY(keep, LLVMValueRef, (size_t)artifact->n_instances + 1);
    e->finishes = MLCC_NEW_ARRAY(keep, LLVMValueRef, (size_t)artifact->n_instances + 1);
    e->prepares = MLCC_NEW_ARRAY(keep, LLVMValueRef, (size_t)artifact->n_prepares + 1);
    e->prepare_bodies = MLCC_NEW_ARRAY(keep, LLVMValueRef, (size_t)artifact->n_prepares + 1);
    e->functions = MLCC_NEW_ARRAY(keep, LLVMValueRef, (size_t)artifact->n_functions + 1);
    e->n_counters = MLCC_NEW_ARRAY(keep, int32_t, (size_t)artifact->n_functions + 1);
    MLCC_TRY(open_machine(e));
    // The mathematical functions come first; every group module is linked to them.
    MLCC_TRY(emit_parse_bitcode(e, "portable/math", &e->module));
    LLVMSetModuleIdentifier(e->module, "mlcc", strlen("mlcc"));
    LLVMSetSourceFileName(e->module, "mlcc", strlen("mlcc"));
    return NULL;
}

void emit_close(emit *e) {
    if (e->module != NULL) LLVMDisposeModule(e->module);
    if (e->builder != NULL) LLVMDisposeBuilder(e->builder);
    if (e->data != NULL) LLVMDisposeTargetData(e->data);
    if (e->machine != NULL) LLVMDisposeTargetMachine(e->machine);
    if (e->context != NULL) LLVMContextDispose(e->context);
    mlcc_str_free(&e->diagnostics);
}

mlcc_status *emit_parse_bitcode(emit *e, const char *name, LLVMModuleRef *out) {
    *out = NULL;
    const codegen_bitcode *bitcode =
        codegen_bitcode_find(name, codegen_cpu_is_x86(e->options->cpu));
    if (bitcode == NULL) {
        return MLCC_ERROR(INTERNAL, "kernel file '%s' is not part of this build of mlcc", name);
    }
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRange(
        bitcode->begin, (size_t)(bitcode->end - bitcode->begin), name, 0);
    LLVMBool failed = LLVMParseBitcodeInContext2(e->context, buffer, out);
    LLVMDisposeMemoryBuffer(buffer);
    if (failed) {
        *out = NULL;
        return MLCC_ERROR(
            INTERNAL, "kernel file '%s' cannot be read by this LLVM: %s", name,
            mlcc_str_text(&e->diagnostics));
    }
    LLVMSetTarget(*out, e->options->cpu->triple);
    LLVMSetModuleDataLayout(*out, e->data);
    return NULL;
}

mlcc_status *emit_link(emit *e, LLVMModuleRef source, const char *what) {
    if (!LLVMLinkModules2(e->module, source)) return NULL;
    return MLCC_ERROR(
        INTERNAL, "cannot link %s into the model: %s", what, mlcc_str_text(&e->diagnostics));
}

mlcc_status *emit_verify(LLVMModuleRef module, const char *what) {
    char *message = NULL;
    mlcc_status *status = NULL;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
        status = MLCC_ERROR(INTERNAL, "%s is malformed: %s", what, message);
    }
    LLVMDisposeMessage(message);
    return status;
}

LLVMTypeRef emit_function_type(LLVMTypeRef result, LLVMTypeRef *params, unsigned n_params) {
    return LLVMFunctionType(result, params, n_params, 0);
}

void emit_add_attribute(
    emit *e, LLVMValueRef function, unsigned index, const char *name, uint64_t value) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(e->context, kind, value));
}

void emit_add_text_attribute(emit *e, LLVMValueRef function, const char *name, const char *value) {
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(
        e->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, EMIT_FUNCTION_INDEX, attribute);
}

LLVMValueRef emit_i64(const emit *e, int64_t value) {
    return LLVMConstInt(e->i64, (unsigned long long)value, 1);
}

LLVMValueRef emit_i32(const emit *e, int64_t value) {
    return LLVMConstInt(e->i32, (unsigned long long)value, 1);
}

LLVMValueRef emit_constant(emit *e, LLVMValueRef value, unsigned alignment) {
    LLVMValueRef global = LLVMAddGlobal(e->module, LLVMTypeOf(value), "");
    LLVMSetInitializer(global, value);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(global, alignment);
    return global;
}

LLVMValueRef emit_element(emit *e, LLVMTypeRef type, LLVMValueRef base, int64_t index) {
    LLVMValueRef at = emit_i64(e, index);
    return LLVMBuildInBoundsGEP2(e->builder, type, base, &at, 1, "");
}
