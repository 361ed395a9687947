// target: what code is generated for: a CPU, or CUDA devices beside a CPU that drives them.
#ifndef MLCC_CODEGEN_TARGET_H
#define MLCC_CODEGEN_TARGET_H

#include "codegen/kernel.h"

typedef struct codegen_target codegen_target;

// What a target name means on a machine.
typedef struct codegen_cpu {
    // as given or resolved: "x86-64-v4", "native" is resolved to the CPU's LLVM name
    const char *name;
    const char *triple;   // "x86_64-unknown-linux-gnu"
    const char *llvm_cpu; // "x86-64-v4", "znver4"
    const char *features; // comma separated features in force, sorted: "avx,avx2,avx512f,…"
} codegen_cpu;

// Knobs of kernels by timing on this machine, beside the cost model (cpu/tune.h).
typedef struct codegen_tuning {
    const char *cache_dir; // where results are kept; NULL = mlcc_path_cache
    double budget_s;       // no product is begun after so many seconds
    // As the work goes on, by what is counted in `total`; NULL = silent.
    void (*progress)(void *user, const char *phase, uint64_t done, uint64_t total);
    void *user;
    mlcc_str *explain; // receives a paragraph per product; NULL = none
} codegen_tuning;

typedef struct codegen_options {
    // "cpu" (or NULL), "cuda", or "cuda:" and a list of architectures (codegen/cuda/cuda_archs.h)
    const char *device;
    // "native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", or an LLVM CPU name
    const char *target;
    const char *debug_dump;    // directory, or NULL
    const char *linker;        // --linker, or NULL (MLCC_LINKER, ld.lld-19, ld.lld, ld)
    const char *metadata_json; // goes into lib.so as it is
    // NULL: none. For a CPU that this machine can run only, which the caller has made sure of; must outlive the target.
    const codegen_tuning *tuning;
} codegen_options;

// The names of a list of CPU levels for one library, "x86-64-v3,x86-64-v4,znver4"; one name is a list of one. The runtime takes the last level that
// its machine can run. Errors: UNSUPPORTED for unknown names and levels of different machine families, INVALID for an empty name, a name that
// stands twice, a level that could never be taken because a later one needs nothing more, and more than MLCC_ABI_MAX_LEVELS.
mlcc_status *codegen_split_levels(
    const char *targets, mlcc_arena *keep, const char ***names, size_t *n_names);

// Opens the target: resolves the names, builds the kernel list that the device may use. UNSUPPORTED with the accepted names otherwise, and for CUDA
// when NVRTC is not there.
mlcc_status *codegen_open(const codegen_options *options, mlcc_arena *keep, codegen_target **out);
const codegen_cpu *codegen_cpu_of(const codegen_target *target);
// Architectures of a CUDA target as text, "sm_80,sm_90a,compute_80"; NULL for a CPU. Lives in `keep` of codegen_open.
const char *codegen_cuda_archs_of(const codegen_target *target);
// The questions of passes/pass.h, with the target as `user`.
mlcc_status *codegen_choose_kernel(
    void *target, const ir_function *group, const char **kernel, mlcc_str *why);
const char *codegen_choose_layout(void *target, ir_op op, int32_t operand, const ir_type *type);
const char *codegen_choose_chain(void *target, const ir_function *chain, int64_t *max_rows);
bool codegen_takes_codes(void *target, const ir_type *weight, int64_t mantissa_bits, int64_t group);
bool codegen_takes_dtype(void *target, const ir_type *weight, ir_dtype dtype);
// PLAN-level module → lib.so at `path` (atomic). Same module, options and tool versions give the same bytes.
mlcc_status *codegen_generate(codegen_target *target, const ir_module *module, const char *path);
// One model planned for several CPU levels, in the order of codegen_split_levels → one lib.so. The modules have the same params; every target has its
// own metadata and debug dump.
typedef struct codegen_level {
    const codegen_target *target; // a CPU
    const ir_module *module;
} codegen_level;
mlcc_status *codegen_generate_levels(
    const codegen_level *levels, size_t n_levels, const char *path);
void codegen_close(codegen_target *target);

// The kernel table, for `inspect --kernels` and the kernel tests.
const kernel_row *codegen_kernel_table(size_t *n_rows);

#endif
