// report: what was compiled into a lib.so, as text for --debug-dump: target, linker, every group with its kernel, number of launches
// and whose code it shares, params by layout, memory.
#ifndef MLCC_CODEGEN_REPORT_H
#define MLCC_CODEGEN_REPORT_H

#include "codegen/artifact.h"
#include "codegen/cpu/share.h"
#include "codegen/target.h"

// shares: per instance, NULL where the device is no CPU.
void codegen_report(
    const codegen_artifact *artifact, const cpu_share *shares, const codegen_cpu *cpu,
    const char *linker, size_t object_bytes, mlcc_str *out);

#endif
