// emit_llvm_kept: object code of earlier runs, found by the module that LLVM made it of. LLVM takes most of the time of `mlcc compile`; whoever
// compiles the same models again and again, as the tests under the sanitizers do, need not wait for it.
//
//   MLCC_OBJECTS_KEEP=DIR    every object is also written into DIR
//   MLCC_OBJECTS_REUSE=DIR   an object that lies there is taken instead of running LLVM's passes; others are made as ever
//
// Two variables, so that a run that tests LLVM's part keeps without reusing. Without them nothing is read or written. An object is checked against the
// sum that stands in front of it, but whoever can write into DIR decides what libraries do: it is for folders of one's own.
#ifndef MLCC_CODEGEN_CPU_EMIT_LLVM_KEPT_H
#define MLCC_CODEGEN_CPU_EMIT_LLVM_KEPT_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <llvm-c/TargetMachine.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct kept_object {
    const char *keep_path, *reuse_path; // NULL: not asked for
} kept_object;

// Names the object of this module, which is ready for LLVM's passes, for this machine.
kept_object kept_object_of(LLVMModuleRef module, LLVMTargetMachineRef machine, mlcc_arena *keep);
// False where there is none or its sum is wrong. The bytes live in `keep`.
bool kept_object_take(
    const kept_object *kept, mlcc_arena *keep, const void **object, size_t *object_bytes);
// IO: the folder cannot be written to.
mlcc_status *kept_object_put(const kept_object *kept, const void *object, size_t object_bytes);

#endif
