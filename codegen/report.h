// report: what was compiled into a lib.so, as text for --debug-dump: target, linker, every group with its kernel and number of launches,
// params by layout, memory.
#ifndef MLCC_CODEGEN_REPORT_H
#define MLCC_CODEGEN_REPORT_H

#include "codegen/artifact.h"
#include "codegen/target.h"

void codegen_report(
    const codegen_artifact *artifact, const codegen_cpu *cpu, const char *linker,
    size_t object_bytes, mlcc_str *out);

#endif
