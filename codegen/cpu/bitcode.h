// bitcode: the kernel files of codegen/cpu/kernels as LLVM bitcode, compiled by clang when mlcc is built and embedded in it.
#ifndef MLCC_CODEGEN_CPU_BITCODE_H
#define MLCC_CODEGEN_CPU_BITCODE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct codegen_bitcode {
    const char *name; // "x86_avx512/linear_panel16"; NULL ends the table
    const char *begin;
    const char *end;
} codegen_bitcode;

// Written by kernels.cmake, in the order of the build.
extern const codegen_bitcode codegen_bitcode_table[];

// `name` as in cpu_kernels.def: "portable/…" stands for the variant of the machine family. NULL when mlcc has no such file.
const codegen_bitcode *codegen_bitcode_find(const char *name, bool is_x86);

#endif
