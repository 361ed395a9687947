// kernel: what a CPU micro-kernel file sees. Kernels are ordinary C compiled by clang to bitcode when mlcc is built; `mlcc compile` clones the
// bitcode per group, supplies the hooks below as generated LLVM IR (constants, buffers, fused prologue and epilogue), inlines and optimises.
//
// Rules: pure functions; no libc, no allocation, no state, no static data that needs relocation; freestanding headers only.
// A file NAME.c defines, for kernel NAME:
//
//   void    kernel_NAME(const kernel_env *env, int64_t begin, int64_t end)   work items [begin, end)
//   int64_t kernel_NAME_items(const kernel_env *env)                         how many there are
//   int64_t kernel_NAME_chunk(const kernel_env *env, int64_t n_threads)      items to hand out at a time, ≥ 1
//
// It may define a second part, for what the items of a launch leave to be put together:
//
//   void    kernel_NAME_finish(const kernel_env *env, int64_t begin, int64_t end)          items [begin, end) of the second part
//   int64_t kernel_NAME_finish_items(const kernel_env *env, int64_t n_threads)             how many there are, handed out one by one
//
// It runs when all items of the first part are done. Every thread asks for the number and must get the same; 0: no second part, and nobody waits.
// One thread that runs alone takes all items of the first part at once, and no second part.
//
// Items of one launch run in any order on any thread; a launch begins after those before it that write what it reads, or touch what it writes.
//
// Hooks (declare the ones you use with the macros; operand and result numbers are those of the anchor op in ir/ops.def, so for `linear` operand 0
// is x and operand 1 is w; for a group without anchor, load 0 is the value to store):
//
//   KERNEL_DIM(i, axis)    int64_t kernel_dim_<i>_<axis>(env)          extent of operand i, a constant wherever the shape is
//   KERNEL_RESULT_DIM(r, axis)  int64_t kernel_result_dim_<r>_<axis>(env)
//   KERNEL_DTYPE(i)        int32_t kernel_dtype_<i>(env)               KERNEL_F32 … of operand i: always a constant, so `if` on it costs nothing
//   KERNEL_POINTER(i)      const void *kernel_pointer_<i>(env)         operand i in memory (in its device layout if it is a param); NULL if the optional operand is absent
//   KERNEL_RESULT_POINTER(r)    void *kernel_result_pointer_<r>(env)   result r in memory (in-place results: operand 0)
//   KERNEL_LOAD(i)         float kernel_load_<i>(env, row, col)        operand i with its fused prologue; any dtype, as float
//   KERNEL_KEEP(i)         void kernel_keep_<i>(env, row, col, value)  stores a loaded value that the group also returns; call once per element after loading; often empty
//   KERNEL_STORE(r)        void kernel_store_<r>(env, row, col, value) result r through its fused epilogue
//   KERNEL_SCRATCH         void *kernel_scratch(env)                   scratch of this thread, 64-byte aligned; size: column of cpu_kernels.def
//   KERNEL_SHARED          void *kernel_shared(env)                    memory that the threads of a launch share, 64-byte aligned, filled with anything
//   KERNEL_SHARED_BYTES    int64_t kernel_shared_bytes(env)            its size, a constant: cpu_kernel_shared_bytes, perhaps 0
//   KERNEL_ATTR_I64(name), KERNEL_ATTR_F64(name)  int64_t/double kernel_attr_<name>(env)   attribute of the anchor, a constant
//   KERNEL_KNOB(name)      int64_t kernel_knob_<name>(void)            a row of codegen/cpu/knobs.def: a constant that is chosen for the group; may change
//                                                                      how fast a kernel is, never a bit of what it computes
#ifndef MLCC_CODEGEN_CPU_KERNELS_KERNEL_H
#define MLCC_CODEGEN_CPU_KERNELS_KERNEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct kernel_env kernel_env;

// Values of kernel_dtype_<i>: the rows of ir/dtypes.def in order (emit_llvm_hooks.c does not compile when they differ).
enum kernel_dtype {
    KERNEL_F32,
    KERNEL_F16,
    KERNEL_BF16,
    KERNEL_I32,
    KERNEL_U32,
    KERNEL_I8,
    KERNEL_U8,
    KERNEL_I16,
    KERNEL_I64,
    KERNEL_F8E4M3,
    KERNEL_F8E5M2,
    KERNEL_Q4G32_F16,
    KERNEL_Q4G32_BF16,
    KERNEL_Q4G32_F32,
    KERNEL_Q4G32T_F16,
    KERNEL_Q4G32T_BF16,
    KERNEL_Q3G40_F16,
    KERNEL_Q3G40T_F16,
    KERNEL_Q8G32_F16,
    KERNEL_U4G32_F16,
    KERNEL_U4G64_F16,
    KERNEL_U4G128_F16,
    KERNEL_Q4FT_F16,
    KERNEL_E4M3_F32,
    KERNEL_E4M3B128_F32,
    KERNEL_E5M2,
    KERNEL_N_DTYPES
};

#define KERNEL_DIM(i, axis)        int64_t kernel_dim_##i##_##axis(const kernel_env *env)
#define KERNEL_RESULT_DIM(r, axis) int64_t kernel_result_dim_##r##_##axis(const kernel_env *env)
#define KERNEL_DTYPE(i)            int32_t kernel_dtype_##i(const kernel_env *env)
#define KERNEL_POINTER(i)          const void *kernel_pointer_##i(const kernel_env *env)
#define KERNEL_RESULT_POINTER(r)   void *kernel_result_pointer_##r(const kernel_env *env)
#define KERNEL_LOAD(i)             float kernel_load_##i(const kernel_env *env, int64_t row, int64_t col)
#define KERNEL_KEEP(i) \
    void kernel_keep_##i(const kernel_env *env, int64_t row, int64_t col, float value)
#define KERNEL_STORE(r) \
    void kernel_store_##r(const kernel_env *env, int64_t row, int64_t col, float value)
#define KERNEL_SCRATCH        void *kernel_scratch(const kernel_env *env)
#define KERNEL_SHARED         void *kernel_shared(const kernel_env *env)
#define KERNEL_SHARED_BYTES   int64_t kernel_shared_bytes(const kernel_env *env)
#define KERNEL_ATTR_I64(name) int64_t kernel_attr_##name(const kernel_env *env)
#define KERNEL_ATTR_F64(name) double kernel_attr_##name(const kernel_env *env)
#define KERNEL_KNOB(name)     int64_t kernel_knob_##name(void) __attribute__((const))

#define KERNEL_INLINE static inline __attribute__((always_inline))

#endif
