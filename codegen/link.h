// link: the only place that calls a linker: a child process with an argument array, never a shell.
//
// Tried in this order: `linker` (from --linker), $MLCC_LINKER, ld.lld of the LLVM that mlcc was built with, ld.lld-<N>, ld.lld, and ld when the
// object is for this machine. A linker that was named must work; of the others the first that exists is taken.
#ifndef MLCC_CODEGEN_LINK_H
#define MLCC_CODEGEN_LINK_H

#include "codegen/target.h"

typedef struct codegen_object {
    const void *data;
    size_t size_bytes;
} codegen_object;

// Makes a shared library of objects at `path`: complete or absent (temporary directory beside it, then rename). The bytes depend on the
// objects, their order and the linker only. `used` receives the linker's name. Errors: IO when no linker is found or the output cannot be written,
// INTERNAL with the linker's own words when it fails.
mlcc_status *codegen_link(
    const codegen_cpu *cpu, const char *linker, const codegen_object *objects, size_t n_objects,
    const char *path, mlcc_arena *keep, const char **used);

#endif
