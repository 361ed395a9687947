// cuda_kernels: the kernel rows of CUDA devices (cuda_kernels.def) and the device layouts of params.
#ifndef MLCC_CODEGEN_CUDA_CUDA_KERNELS_H
#define MLCC_CODEGEN_CUDA_CUDA_KERNELS_H

#include "ir/ir.h"
#include "runtime/base/arena.h"

// Extent of one grid dimension: ceil(rows * multiplier / divisor), at least 1, where rows is the value of a symbol, or 1.
typedef struct cuda_extent {
    const ir_symbol *symbol; // NULL: a constant
    int64_t multiplier, divisor;
} cuda_extent;

// One way to run a kernel row: which is taken depends on the number of tokens at run time.
typedef struct cuda_entry {
    const char *symbol; // function of the file: "linear_few"
    // Taken while the rows of operand 0 are at most this; 0 = any number. Entries stand in rising order, the last has 0.
    int64_t max_rows;
    int32_t threads;    // of a block, a multiple of 32
    int32_t min_blocks; // blocks that should fit one multiprocessor (launch bounds); 0 = not stated
    // Grid and dynamic shared bytes of a launch of this group.
    void (*grid)(const ir_function *group, cuda_extent grid[3]);
    int64_t (*shared_bytes)(const ir_function *group); // NULL: 0
    // Bytes of device memory behind the counters of kernel_scratch; NULL: none, and kernel_scratch is not used.
    int64_t (*scratch_bytes)(const ir_function *group);
    // Gates on the compiled code, per architecture: registers of a thread; instructions of the inner loop per 16-byte load where max_rows is at most
    // CUDA_FEW_ROWS (bound by bytes), else per matrix instruction (0 = not gated).
    int32_t max_registers;
    int32_t max_issue_per_unit;
} cuda_entry;

#define CUDA_MAX_ENTRIES 4
#define CUDA_FEW_ROWS    16

// Stands for the anchor in the rows of chains (ir/chain.h).
#define CUDA_CHAIN_OP ((ir_op)(IR_N_OPS + 1))

typedef struct cuda_kernel_row {
    const char *name; // "linear_tile16__sm80"
    ir_op op;         // anchor; IR_N_OPS = element-wise group without an anchor; CUDA_CHAIN_OP
    const char *file; // kernels/<file>.cu, embedded as text; several with commas between
    const char *
        headers; // comma separated headers of kernels/ that stand between kernel.h and the file; "" = none
    int32_t min_arch;         // 80, 89, 90, 120
    bool needs_arch_specific; // only on the "a" variant (sm_90a)
    int32_t min_nvrtc;        // 1204: needs the instructions of NVRTC 12.4
    cuda_entry entries[CUDA_MAX_ENTRIES];
    int32_t n_entries;
    const char *(*refuses)(const ir_function *group); // a reason, or NULL; may be NULL itself
    const char *meaning;
} cuda_kernel_row;

// General first, special last; the last row that fits wins.
const cuda_kernel_row *cuda_kernel_table(size_t *n_rows);
const cuda_kernel_row *cuda_kernel_find(const char *name);

// Embedded text of kernels/<name>: "device.h", "rms_norm.cu"; NULL when unknown.
const char *cuda_source_find(const char *name);

// Device layout of a param that operand `operand` of `op` reads: "rows" (as stored) or one of the layouts of cuda_layouts.c ("tile16").
const char *cuda_layout_choose(ir_op op, int32_t operand, const ir_type *type);
// Whether there are kernels for linear_scaled with this weight, codes of so many mantissa bits, and a scale for `group` columns (0: for all).
bool cuda_takes_codes(const ir_type *weight, int64_t mantissa_bits, int64_t group);
// Bytes (a multiple of 256) and work items of a prepared param; false when the layout cannot hold the type. Prepare functions are CPU
// bitcode below codegen/cpu/kernels/portable (prepare_<layout>.c): lib.so carries them, the runtime runs them on the host and uploads.
bool cuda_layout_measure(
    const char *layout, const ir_type *type, int64_t *prepared_bytes, int64_t *n_items);
// Changes whenever the bytes of any prepared param change: part of the key of prepared caches.
const char *cuda_layout_version(void);

#endif
