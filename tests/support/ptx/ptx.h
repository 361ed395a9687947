// ptx: runs the PTX text that NVRTC writes, on the host, with checks that a GPU does not make.
//
// A module is parsed and decoded once; a launch runs its blocks one after another, the warps of a block in turns, 32 lanes at a time. Device memory
// is host memory: a global address is a host pointer, and every access must lie in a range that the embedder registered (ptx_memory). What a
// launch reports, as MLCC_DEVICE with kernel, line, instruction, block and lanes:
//   an access outside the registered ranges, the block's shared bytes or a thread's local bytes; a misaligned access;
//   a register or a shared byte that is read before it is written; a cp.async's bytes read before they were waited for;
//   two threads that touch the same shared word without a barrier between, at least one writing (another value);
//   a barrier, shuffle or mma.sync that some of its threads never reach; a launch that does not end;
//   misuse of mbarriers, bulk copies and wgmma: missing fences, registers and bytes touched while one is under way, warps that differ;
//   memory of earlier launches touched too early (ptx_history).
// Instructions that the interpreter lacks (tcgen05, clusters, textures) are UNSUPPORTED when the module is loaded, by name and line; their kernels
// are found by ptx_module_function with that error, the module's other kernels work.
//
// Numbers: f32, f64, integer and packed half arithmetic is IEEE as PTX defines it, with .ftz and .sat; approx instructions (ex2, lg2, rcp, rsqrt, sin,
// cos, tanh) are correctly rounded or nearly so, i.e. better than the hardware's; mma accumulates in f32 in order of k. Compare with a tolerance.
// Thread rule: a module and its functions are read-only after loading, except for its variables; launches of one memory one at a time.
#ifndef MLCC_TESTS_PTX_PTX_H
#define MLCC_TESTS_PTX_PTX_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- module ------------------------------------------------------------------------------------------------------------------------------------

typedef struct ptx_module ptx_module;
typedef struct ptx_function ptx_function;

// `text` need not end in NUL (a trailing NUL is fine) and is not used after the call. INVALID with the line when it is not PTX. No text may crash it.
mlcc_status *ptx_module_load(const char *text, size_t length, ptx_module **out);
void ptx_module_free(ptx_module *module); // NULL is fine

// INVALID when the module has no kernel of this name, UNSUPPORTED when the kernel uses what the interpreter lacks.
mlcc_status *ptx_module_function(
    const ptx_module *module, const char *name, const ptx_function **out);
// Kernels in order of the text.
size_t ptx_module_n_functions(const ptx_module *module);
const char *ptx_module_function_name(const ptx_module *module, size_t index);

typedef struct ptx_function_info {
    const char *name;
    uint32_t n_params;
    uint32_t param_bytes; // of all params with their padding
    uint32_t static_shared_bytes;
    uint32_t local_bytes;  // of one thread
    uint32_t max_threads;  // .maxntid or .reqntid, product; 1024 when not stated
    uint32_t n_registers;  // virtual registers in use
    uint32_t target;       // 80, 90, … of .target
    bool is_arch_specific; // "sm_90a"
} ptx_function_info;

void ptx_function_describe(const ptx_function *function, ptx_function_info *out);
// Place of param `index` within the param bytes; false when there is none.
bool ptx_function_param(
    const ptx_function *function, uint32_t index, uint32_t *offset_bytes, uint32_t *size_bytes);

// ---- memory ------------------------------------------------------------------------------------------------------------------------------------

// The host memory that kernels may touch. Ranges must not overlap.
typedef struct ptx_memory ptx_memory;

ptx_memory *ptx_memory_create(void); // stops the program when memory ends
void ptx_memory_free(ptx_memory *memory);
// `name` (copied) stands in messages: "weights".
void ptx_memory_add(ptx_memory *memory, const void *start, size_t size_bytes, const char *name);
// False when no range starts there.
bool ptx_memory_remove(ptx_memory *memory, const void *start);

// What launches read and wrote. A launch made with the attribute "programmatic stream serialization" may begin before the launches before it have
// ended: until a thread of it has executed griddepcontrol.wait it may not touch what they write, nor write what they read.
typedef struct ptx_history ptx_history;

ptx_history *ptx_history_create(void);
void ptx_history_clear(ptx_history *history); // all launches so far have ended
void ptx_history_free(ptx_history *history);  // NULL is fine

// What stands for the 128 opaque bytes of a driver's tensor map (cuTensorMapEncodeTiled) here: two dimensions, tiles. In memory or in a param, at a
// multiple of 64.
#define PTX_TENSOR_MARK "ptx map"
typedef struct ptx_tensor_map {
    char mark[8];                   // PTX_TENSOR_MARK
    uint64_t address;               // of element (0, 0)
    uint64_t row_bytes;             // from row to row
    uint32_t columns, rows;         // elements; a column is the next element in memory
    uint32_t box_columns, box_rows; // of one copy
    uint32_t element_bytes;
    uint32_t swizzle_bytes; // 0, 32, 64, 128
    uint8_t unused[80];
} ptx_tensor_map;

// ---- launch ------------------------------------------------------------------------------------------------------------------------------------

enum ptx_check {
    PTX_CHECK_REGISTERS = 1,     // registers read before they are written
    PTX_CHECK_SHARED_BYTES = 2,  // shared bytes read before they are written
    PTX_CHECK_RACES = 4,         // shared memory races
    PTX_CHECK_PARTIAL_EXITS = 8, // a barrier counts threads that have returned as missing
    PTX_CHECK_ALL = 15
};

typedef struct ptx_shape {
    uint32_t grid[3];  // blocks: x, y, z; all at least 1
    uint32_t block[3]; // threads
    uint32_t dynamic_shared_bytes;
} ptx_shape;

// What a launch did; added to, never cleared.
typedef struct ptx_counters {
    uint64_t launches, blocks;
    uint64_t warp_instructions, lane_instructions;
    uint64_t matrix_instructions; // mma.sync, of warps
    uint64_t barriers;            // of blocks
    uint64_t global_requests;     // loads, stores, atomics and cp.async of warps
    uint64_t global_sectors;      // 32-byte sectors they touch
    uint64_t global_bytes;
    uint64_t shared_requests;
    uint64_t shared_wavefronts; // at least one per request; more by bank conflicts
} ptx_counters;

typedef struct ptx_options {
    uint32_t checks; // of enum ptx_check; switch off what a kernel breaks knowingly
    uint64_t
        max_block_instructions; // of warps, per block; 0 = 2^32: more means that the block does not end
    ptx_counters *counters;     // NULL: not wanted
    ptx_history *history;       // NULL: not kept. What this launch touches is added
    bool
        is_dependent; // launched with the attribute: checked against the history; otherwise the history is cleared first
} ptx_options;

// Runs all blocks before it returns. `params`: the raw bytes of the kernel's params, ptx_function_info.param_bytes of them. `options` NULL: all
// checks. INVALID when the shape or the params do not fit the function, DEVICE for what the kernel does wrong; memory written until then stays.
mlcc_status *ptx_launch(
    const ptx_function *function, const ptx_shape *shape, const void *params, size_t params_bytes,
    const ptx_memory *memory, const ptx_options *options);

#endif
