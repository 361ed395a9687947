// emit_llvm: the only door to LLVM. What lies behind it (emit_llvm*.c, emit_llvm_inside.h) is the only code that includes llvm-c headers,
// and keeps to what LLVM 18 to 22 share.
#ifndef MLCC_CODEGEN_CPU_EMIT_LLVM_H
#define MLCC_CODEGEN_CPU_EMIT_LLVM_H

#include "codegen/artifact.h"
#include "codegen/cpu/knobs.h"
#include "codegen/cuda/cuda_target.h"
#include "codegen/target.h"

// LLVM's name of this machine's CPU ("znver4") and its features ("+avx,-amx-tile,…").
void emit_llvm_host_cpu(mlcc_arena *keep, const char **name, const char **features);

// What a library for CUDA devices carries.
typedef struct emit_llvm_cuda {
    cuda_modules compiled;
    int32_t nvrtc_version;
} emit_llvm_cuda;

typedef struct emit_llvm_options {
    const codegen_cpu *cpu;
    const char *metadata_json;  // into the model table
    const char *layout_version; // revision of the layouts, part of layout_fingerprint
    const char *debug_dump;     // directory for linked.ll, optimised.ll, lib.s; NULL = none
    // Of a library with several CPU levels: how many, and which of them this object is; 0 and 0 otherwise. The first defines mlcc_model_query and
    // mlcc_model_levels, and needs the other objects beside it.
    size_t n_levels, level;
    // A choice per instance of the artifact; NULL: fallbacks.
    const cpu_knobs *knobs;
    // NULL: instances become host code. Otherwise only prepare functions do, and functions' `run` is NULL.
    const emit_llvm_cuda *cuda;
} emit_llvm_options;

// One relocatable object that holds the whole model, or one CPU level of it; its only global symbol is mlcc_model_query where there is one level. Same input, same bytes.
// Errors: INTERNAL when a kernel declares a hook that its group cannot provide, or LLVM refuses the module.
mlcc_status *emit_llvm_object(
    const codegen_artifact *artifact, const emit_llvm_options *options, mlcc_arena *keep,
    const void **object, size_t *object_bytes);

// One instance alone, as code in this process: what `--opt tune` times. The target's CPU must be one that this machine can run.
typedef struct emit_llvm_jit emit_llvm_jit;
// The instance's `run` (emit_llvm_inside.h). memory: its inputs, then the results that are not in place; symbols: values of the module's symbols.
// Every thread of a launch calls it with its own scratch and one counter, which begins at 0.
typedef void emit_llvm_trial(
    void *const *memory, const int64_t *symbols, void *scratch, int32_t *counter,
    int32_t n_threads);
// Errors as emit_llvm_object, and INTERNAL when LLVM cannot load the code.
mlcc_status *emit_llvm_jit_open(
    const codegen_artifact *artifact, const emit_llvm_options *options, int32_t instance,
    emit_llvm_jit **out);
emit_llvm_trial *emit_llvm_jit_function(const emit_llvm_jit *jit);
void emit_llvm_jit_close(emit_llvm_jit *jit); // the code is gone afterwards; NULL is fine

#endif
