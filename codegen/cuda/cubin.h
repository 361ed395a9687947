// cubin: what compiled GPU code tells without a disassembler: registers, stack, instruction counts, and how many instructions the inner loop spends
// on each 16-byte load or matrix instruction. A cubin is an ELF file; since Volta every instruction is 16 bytes with its opcode in bits 0-11.
// The opcodes are no published interface; those here were found by comparing counts with the source (sm_80 to sm_90a).
//
// Parsing checks every offset and size: any bytes give an answer or an error.
#ifndef MLCC_CODEGEN_CUDA_CUBIN_H
#define MLCC_CODEGEN_CUDA_CUBIN_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Instructions of a stretch of code.
typedef struct cubin_counts {
    int32_t n_instructions; // without the padding behind a kernel's end
    int32_t n_matrix;       // HMMA, IMMA, QGMMA, HGMMA, IGMMA
    int32_t n_global_loads; // LDG and cp.async
    int32_t n_wide_loads;   // those of 16 bytes
    int32_t n_local;        // loads and stores of local memory: spills, arrays that are indexed
    int32_t n_grid_waits;   // for the launch before, sm_90 and newer
} cubin_counts;

// A loop that contains no other loop.
typedef struct cubin_loop {
    int32_t first, last; // instruction numbers: target of the backward branch, and the branch
    cubin_counts counts;
} cubin_loop;

typedef struct cubin_kernel {
    const char *name;
    int32_t registers;   // -1: the cubin does not say
    int32_t frame_bytes; // stack frame of a thread
    cubin_counts counts;
    int32_t n_early_loads; // 16-byte global loads before the first wait for the launch before
    cubin_loop *loops;
    int32_t n_loops;
} cubin_kernel;

typedef struct cubin {
    int32_t arch; // 80, 90
    cubin_kernel *kernels;
    size_t n_kernels;
} cubin;

// INVALID when the bytes are no cubin, or a table in it is cut off.
mlcc_status *cubin_read(const void *data, size_t size_bytes, mlcc_arena *keep, cubin **out);
const cubin_kernel *cubin_find(const cubin *cubin, const char *name); // NULL when absent

// Instructions for each unit (16-byte load, or matrix instruction) in the inner loop that has most of them; 0 when no loop has any. Loads count in
// a loop that also multiplies, where there is one: others bring activations to shared memory.
typedef enum cubin_unit { CUBIN_WIDE_LOADS, CUBIN_MATRIX } cubin_unit;
double cubin_issue_per_unit(const cubin_kernel *kernel, cubin_unit unit);

#endif
