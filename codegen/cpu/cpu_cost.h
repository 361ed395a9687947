// cpu_cost: how long a product takes on a CPU at best, by counting: bytes of weights over what a core reads, instructions over its vector pipes. It
// chooses among the kernel rows that take a group, and values for their knobs, and explains itself (`--explain-kernels`).
//
// A choice counts the time with one row of x and with 128, decode and prefill, as their product: a percent of one is worth a percent of the
// other. Only tables and the group decide (cost_cpus.def, cost_kernels.def, knobs.def), never the machine that compiles.
#ifndef MLCC_CODEGEN_CPU_CPU_COST_H
#define MLCC_CODEGEN_CPU_CPU_COST_H

#include "codegen/cpu/knobs.h"
#include "codegen/kernel.h"
#include "codegen/target.h"

typedef struct cpu_cost_machine {
    const char *name;
    int32_t mhz, l1d_kib, l2_kib, latency_ns, read_gb_s;
    int32_t pipe_bytes, pipes, multiply_pipes, tile_products;
} cpu_cost_machine;

// The CPU's row; of one that has none, as `native` may find, that of the level that its features reach.
const cpu_cost_machine *cpu_cost_machine_of(const codegen_cpu *cpu);

// The weight of a group that multiplies: rows, columns, element format.
typedef struct cpu_cost_shape {
    int64_t n, k;
    ir_dtype dtype;
} cpu_cost_shape;
// false: the group's anchor is no product.
bool cpu_cost_shape_of(const ir_function *group, cpu_cost_shape *shape);

typedef struct cpu_cost {
    double seconds;    // of one core
    const char *limit; // "memory", "products" or "instructions"
} cpu_cost;
// Of n_rows rows of x; seconds 0 where the model does not know the kernel.
cpu_cost cpu_cost_of(
    const codegen_cpu *cpu, const char *kernel, const cpu_cost_shape *shape, int64_t n_rows);

// Of the rows that take the group, in table order, the one to use: the last, unless the model sees another at least 5 % faster.
const char *cpu_cost_choose_row(
    const codegen_cpu *cpu, const char *const *kernels, size_t n_kernels, const ir_function *group);
// Values for the kernel's knobs. They stay at their fallbacks where the model cannot tell, or sees less than 2 % in it.
cpu_knobs cpu_cost_choose_knobs(
    const codegen_cpu *cpu, const char *kernel, const ir_function *group);
// Lines for --explain-kernels, indented: the times, what binds, the knobs; nothing for groups that do not multiply.
void cpu_cost_explain(
    const codegen_cpu *cpu, const char *kernel, const ir_function *group, mlcc_str *out);

#endif
