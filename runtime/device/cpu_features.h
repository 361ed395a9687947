// cpu_features: which instruction sets this machine has, under the names that LLVM gives them
// ("avx512vnni", "dotprod").
//
// A feature counts only when the operating system also keeps its registers (XCR0 on x86; getauxval
// on aarch64 says both).
// Thread rule: any.
#ifndef MLCC_RUNTIME_DEVICE_CPU_FEATURES_H
#define MLCC_RUNTIME_DEVICE_CPU_FEATURES_H

#include "runtime/base/status.h"
#include "runtime/base/str.h"

#include <stdbool.h>

// "x86-64", "aarch64".
const char *mlcc_cpu_architecture(void);
// The ELF e_machine of this machine's programs.
int mlcc_cpu_elf_machine(void);
// False for a name that this runtime does not know.
bool mlcc_cpu_has(const char *feature);
// Appends those of `features` (comma separated) that are missing, as "a, b"; returns how many.
int mlcc_cpu_missing(const char *features, mlcc_str *missing);
// The best portable --target of this machine: "x86-64-v3", "aarch64".
const char *mlcc_cpu_baseline(void);
// Asks the kernel for register state that it grants on request only (AMX tiles), if `features` need it.
mlcc_status *mlcc_cpu_request(const char *features);

#endif
