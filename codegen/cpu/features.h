// features: what a target name means: LLVM triple, scheduling model, and the exact features that generated code may use.
//
// "native" is the machine that mlcc runs on: LLVM's name for it and those of the known features that it has. Every other name is a row of
// cpus.def. LLVM itself is only told the baseline plus this list, so that lib.so uses nothing that it does not demand when it is loaded.
#ifndef MLCC_CODEGEN_CPU_FEATURES_H
#define MLCC_CODEGEN_CPU_FEATURES_H

#include "codegen/target.h"

// UNSUPPORTED with the nearest and all accepted names.
mlcc_status *codegen_cpu_resolve(const char *target, mlcc_arena *keep, codegen_cpu *out);
bool codegen_cpu_is_x86(const codegen_cpu *cpu);
bool codegen_cpu_has(const codegen_cpu *cpu, const char *feature);
// The first of the comma separated `needs` that the CPU lacks, copied into `keep`; NULL when it has all.
const char *codegen_cpu_lacks(const codegen_cpu *cpu, const char *needs, mlcc_arena *keep);
// Name for LLVM's scheduling models ("tune-cpu"): that of the CPU, or of its level where this LLVM is older than the CPU.
const char *codegen_cpu_tune(const codegen_cpu *cpu);

#endif
