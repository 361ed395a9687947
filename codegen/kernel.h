// kernel: what a kernel row is, and how one is chosen. One table per target (cpu/cpu_kernels.def); general rows first, special last, the last row
// whose needs and condition hold wins, unless the CPU's cost model (cpu/cpu_cost.h) sees another one clearly faster. The portable row always matches. Names: <op>_<method>__<machine>.
#ifndef MLCC_CODEGEN_KERNEL_H
#define MLCC_CODEGEN_KERNEL_H

#include "ir/ir.h"
#include "runtime/base/str.h"

typedef struct kernel_row {
    const char *name;    // "linear_panel16__x86_avx512"
    ir_op op;            // anchor; IR_N_OPS = element-wise group without an anchor
    const char *symbol;  // function in the bitcode: "kernel_linear_panel16"
    const char *bitcode; // which embedded bitcode file: "x86_avx512/linear_panel16"
    // Suffix of the file for this group, where it is compiled in several variants: ".int4". NULL: there is one.
    const char *(*variant)(const ir_function *group);
    const char *needs; // CPU features, comma separated; "" = none
    // Refuses a group with a reason, or returns NULL when it fits. May be NULL itself: always fits.
    const char *(*refuses)(const ir_function *group);
    // Scratch of one thread that the kernel needs for this group; NULL: none, and the kernel may not ask for it.
    int64_t (*scratch_bytes)(const ir_function *group);
    const char *meaning;
} kernel_row;

#endif
