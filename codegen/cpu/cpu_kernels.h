// cpu_kernels: the kernel rows of the CPU (cpu_kernels.def) and the device layouts of params.
#ifndef MLCC_CODEGEN_CPU_CPU_KERNELS_H
#define MLCC_CODEGEN_CPU_CPU_KERNELS_H

#include "codegen/kernel.h"
#include "codegen/target.h"

const kernel_row *cpu_kernel_table(size_t *n_rows);
const kernel_row *cpu_kernel_find(const char *name); // NULL when unknown
// Why this CPU or this group cannot use the row, or NULL when it can. The text lives in `keep` or for ever.
const char *cpu_kernel_refusal(
    const kernel_row *row, const codegen_cpu *cpu, const ir_function *group, mlcc_arena *keep);
// Memory that the threads of a launch share (kernel_shared); 0: the kernel has none for this group. A table of its own, as one op asks for any.
int64_t cpu_kernel_shared_bytes(const kernel_row *row, const ir_function *group);
// Name of the bitcode file that a group needs of the row's kernel (codegen/cpu/bitcode.h).
const char *cpu_kernel_bitcode(const kernel_row *row, const ir_function *group, mlcc_arena *keep);

// Whether this CPU has a kernel for linear_scaled of rows in such codes (passes/pass.h) and this weight. Scratch lives in `keep`.
bool cpu_takes_codes(
    const codegen_cpu *cpu, const ir_type *weight, int64_t mantissa_bits, int64_t group,
    mlcc_arena *keep);

// Whether this CPU has a kernel for linears of this weight whose rows are of this dtype, faster than that of f32 rows. Scratch lives in `keep`.
bool cpu_takes_dtype(
    const codegen_cpu *cpu, const ir_type *weight, ir_dtype dtype, mlcc_arena *keep);

// How a param of one element format lies on the device. Layout NAME is made by portable/prepare_NAME.c:
//   void kernel_prepare_NAME(const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin, int64_t end)
typedef struct cpu_layout {
    const char *name; // "panel16"
    // Bytes (a multiple of 64) and work items of the prepared form; false when the type has none or is too large.
    bool (*measure)(const ir_type *type, int64_t *prepared_bytes, int64_t *n_items);
    const char *meaning;
} cpu_layout;

// NULL for "rows", the layout of a param that is used as it is stored, and for unknown names.
const cpu_layout *cpu_layout_find(const char *name);
// Layout of a param of this type that operand `operand` of `op` reads.
const char *cpu_layout_choose(ir_op op, int32_t operand, const ir_type *type);
// Changes whenever the bytes of any prepared param change: part of the key of prepared caches.
const char *cpu_layout_version(void);

#endif
