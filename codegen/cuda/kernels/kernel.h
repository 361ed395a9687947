// kernel: what a CUDA kernel file sees. A kernel file is C over the device layer (device.h): no C++, no toolkit header, no inline assembly of its
// own. One translation unit is made per kernel instance, in this order:
//
//   device.h          the device layer: under NVRTC inline PTX, on the host plain C with fibers (tests)
//   kernel.h          this file
//   math.h, …         functions of element-wise ops; shared headers the row names
//   generated text    dtypes, extents and attributes of the group as constants, and the hooks below
//   NAME.cu           the kernel
//
// Hooks; operand and result numbers are those of the anchor op in ir/ops.def (for `linear`: 0 = x, 1 = w, 2 = bias; a group without anchor: load 0 is
// the value to store). Everything that is constant in the group is a constant here.
//
//   KERNEL_DTYPE_<i>                      KERNEL_F32 … of operand i (a macro)
//   KERNEL_HAS_<i>                        1 when operand i is there
//   KERNEL_MEMORY_<i>                     1 when operand i lies in memory as it is (no fused prologue), so that kernel_pointer_<i> exists
//   KERNEL_RESULT_MEMORY_<r>              the same of result r and its epilogue
//   KERNEL_RESULT_DTYPE_<r>               KERNEL_F32 … of result r
//   KERNEL_DIM_<i>_<axis>                 extent as a plain number, defined where it is constant;  KERNEL_RESULT_DIM_<r>_<axis>
//   KERNEL_THREADS_<entry>, KERNEL_BLOCKS_<entry>  threads of a block and blocks of a multiprocessor, from the row's entries: for BOUNDS
//   kernel_dim_<i>_<axis>(env)            i64 extent of operand i;  kernel_result_dim_<r>_<axis>(env)
//   kernel_pointer_<i>(env)               const void * in global memory, operand i in its device layout; NULL if absent
//   kernel_result_pointer_<r>(env)        void *; in-place results: operand 0
//   kernel_load_<i>(env, row, col)        float: operand i through its fused prologue
//   kernel_load2_<i>(env, row, col)       two neighbouring columns (col even) as `f32x2`: one 4-byte load where the operand lies as f16/bf16 in memory
//   kernel_keep_<i>(env, row, col, value) stores a loaded value that the group also returns; often empty
//   kernel_store_<r>(env, row, col, value) result r through its fused epilogue
//   kernel_keep2_<i>, kernel_store2_<r>   the same for two neighbouring columns (col even), value an `f32x2`: one store of both where they lie side by side
//   KERNEL_ATTR_<name>                    attribute of the anchor, a literal
//   kernel_scratch(env)                   u8 *, 256-byte aligned: KERNEL_COUNTER_BYTES of zeros that the kernel leaves zero, then the bytes that the
//                                         row's entry asks for, holding anything. Launches use it in turn.
//
// The entry function is  KERNEL void NAME(const kernel_env env)  with  kernel_env { const void *in[]; void *out[]; u8 *scratch; i64 dims[]; }  by value;
// hooks take `const kernel_env *env`. Grid, block size and shared bytes come from the row (cuda_kernels.def), never from the kernel.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_KERNEL_H
#define MLCC_CODEGEN_CUDA_KERNELS_KERNEL_H

// Values of KERNEL_DTYPE_<i>: the rows of ir/dtypes.def in order (cuda_kernels.c checks that they agree).
#define KERNEL_F32          0
#define KERNEL_F16          1
#define KERNEL_BF16         2
#define KERNEL_I32          3
#define KERNEL_U32          4
#define KERNEL_I8           5
#define KERNEL_U8           6
#define KERNEL_I16          7
#define KERNEL_I64          8
#define KERNEL_F8E4M3       9
#define KERNEL_F8E5M2       10
#define KERNEL_Q4G32_F16    11
#define KERNEL_Q4G32_BF16   12
#define KERNEL_Q4G32_F32    13
#define KERNEL_Q4G32T_F16   14
#define KERNEL_Q4G32T_BF16  15
#define KERNEL_Q3G40_F16    16
#define KERNEL_Q3G40T_F16   17
#define KERNEL_Q8G32_F16    18
#define KERNEL_U4G32_F16    19
#define KERNEL_U4G64_F16    20
#define KERNEL_U4G128_F16   21
#define KERNEL_Q4FT_F16     22
#define KERNEL_E4M3_F32     23
#define KERNEL_E4M3B128_F32 24
#define KERNEL_E5M2         25
#define KERNEL_N_DTYPES     26

#define KERNEL_COUNTER_BYTES 65536

#endif
