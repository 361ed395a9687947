// abi: the contract between generated code (lib.so) and the runtime. Includes nothing of ours. The code generator writes exactly these
// structures into rodata; the runtime reads them. tests/unit/runtime/handwritten_lib.c is a tiny model written by hand in this form.
//
// lib.so exports one symbol:   const mlcc_abi_model *mlcc_model_query(void);
// It depends on nothing: memcpy/memset at most come from libc.
//
// A library that holds the model for several CPU levels exports a second one:   const mlcc_abi_model *const *mlcc_model_levels(void);
// It gives one complete model table per level, NULL behind the last. They differ in code, layouts and metadata; params and their pieces are the
// same in all. The runtime takes the last level whose features the machine has, so they stand from the most general to the most special.
// mlcc_model_query gives the first, which is all that a runtime without levels sees.
#ifndef MLCC_RUNTIME_ABI_H
#define MLCC_RUNTIME_ABI_H

#include <stddef.h>
#include <stdint.h>

#define MLCC_ABI_MAGIC              0x4343434cu // "LCCC"
#define MLCC_ABI_VERSION            3u
#define MLCC_ABI_QUERY              "mlcc_model_query"
#define MLCC_ABI_LEVELS             "mlcc_model_levels"
#define MLCC_ABI_MAX_LEVELS         8
#define MLCC_ABI_MAX_RANK           6
#define MLCC_ABI_MAX_PIECES         4
#define MLCC_PAGE_TOKENS            16 // tokens in one page of the KV cache
#define MLCC_ABI_CUDA_COUNTER_BYTES 65536

// Element types as they lie in memory or on disk.
enum mlcc_abi_dtype {
    MLCC_ABI_F32 = 1,
    MLCC_ABI_F16,
    MLCC_ABI_BF16,
    MLCC_ABI_I32,
    MLCC_ABI_U32,
    MLCC_ABI_I8,
    MLCC_ABI_U8,
    MLCC_ABI_F8E4M3, // float8_e4m3fn
    MLCC_ABI_F8E5M2
};

// One stored tensor of a param, as tensor-cache.json names it.
typedef struct mlcc_abi_piece {
    const char *name; // "model.layers.0.mlp.down_proj.q_scale"
    // enum mlcc_abi_dtype, in memory (a float32 piece may be stored as bf16; the loader widens it)
    uint32_t dtype;
    uint32_t rank;
    int64_t dims[MLCC_ABI_MAX_RANK];
    uint64_t size_bytes;
} mlcc_abi_piece;

// Rewrites stored pieces into the device layout: items [begin, end) of n_prepare_items. Pure; many threads on disjoint ranges.
typedef void mlcc_abi_prepare(
    const void *const *pieces, void *prepared, int64_t begin, int64_t end);

typedef struct mlcc_abi_param {
    const char *name;   // "model.layers.0.mlp.down_proj.weight"
    const char *format; // IR dtype text: "q4g32_f16"
    const char *layout; // "rows", "panel16"
    uint32_t n_pieces;
    uint32_t reserved;
    const mlcc_abi_piece *pieces;
    mlcc_abi_prepare *prepare; // NULL: the single piece is used as it is
    int64_t n_prepare_items;
    uint64_t prepared_bytes; // multiple of 64
} mlcc_abi_param;

// A named dimension; dims[] of a call holds their values in this order.
typedef struct mlcc_abi_symbol {
    const char *name; // "n_tokens"
    // largest value that the workspace was planned for; no limit on "n_pages" and "n_page_slots" (0)
    int64_t bound;
} mlcc_abi_symbol;

// A function input or output.
typedef struct mlcc_abi_tensor {
    const char *name; // "ids", "kv.0", "logits"
    uint32_t dtype;
    uint32_t rank;
    int64_t dims[MLCC_ABI_MAX_RANK];    // constant, or -1 where symbol[i] counts
    int32_t symbols[MLCC_ABI_MAX_RANK]; // index into the symbol table, or -1
} mlcc_abi_tensor;

// Everything a call needs. All threads get the same structure. Pointers are 64-byte aligned.
typedef struct mlcc_abi_call {
    void *const *args;         // inputs in declared order
    void *const *results;      // outputs in declared order, caller's memory
    const void *const *params; // prepared params in table order
    const int64_t *dims;       // values of the symbols, all ≥ 1
    char *workspace;           // workspace_bytes
    char *const *scratch;      // one block of scratch_bytes per thread
    uint32_t *counters;        // n_counters zeros; the runtime clears them before every call
    // All threads wait for each other. Called between launches that depend on each other, also by a thread that is alone; NULL: there is one.
    void (*barrier)(void *state);
    void *barrier_state;
    // The same between launches that only share memory, and between the two parts of one launch: whoever notes times at `barrier`, where one
    // stretch of launches ends and the next begins, does not here. NULL: barrier.
    void (*meet)(void *state);
} mlcc_abi_call;

// Runs thread `thread` of `n_threads`; 0 = done.
typedef int32_t mlcc_abi_run(const mlcc_abi_call *call, int32_t thread, int32_t n_threads);

typedef struct mlcc_abi_function {
    const char *name; // "forward", or "embed" of an encoder (runtime/model/forward.h); "sample"
    mlcc_abi_run *run;
    const mlcc_abi_tensor *args;
    const mlcc_abi_tensor *results;
    uint32_t n_args, n_results;
    uint64_t workspace_bytes;
    uint64_t scratch_bytes; // per thread; on a CUDA device once
    uint32_t n_counters;
    uint32_t reserved;
} mlcc_abi_function;

// ---- CUDA -------------------------------------------------------------------------------------------------
//
// A library compiled for CUDA devices has mlcc_abi_model.cuda, and functions whose `run` is NULL: the runtime loads the modules into the
// driver, uploads prepared params and runs the launches of mlcc_abi_cuda_function in order on one stream. Prepare functions stay host code.

// One compiled form of a module.
typedef struct mlcc_abi_cuda_image {
    uint32_t arch;   // 80, 86, 90, …
    uint32_t is_ptx; // 1: PTX text for compute_<arch>, NUL-terminated; 0: cubin for sm_<arch>
    uint32_t is_arch_specific; // 1: runs on exactly this compute capability ("sm_90a")
    uint32_t reserved;
    const void *data;
    uint64_t size_bytes;
} mlcc_abi_cuda_image;

// The kernels of one translation unit.
typedef struct mlcc_abi_cuda_module {
    const char *name; // for messages: name of the kernel row
    const mlcc_abi_cuda_image *images;
    uint32_t n_images;
    uint32_t reserved;
} mlcc_abi_cuda_module;

// ceil(value(symbol) * multiplier / divisor), at least 1; symbol -1: value 1.
typedef struct mlcc_abi_cuda_extent {
    int32_t symbol;
    uint32_t reserved;
    int64_t multiplier, divisor;
} mlcc_abi_cuda_extent;

// One entry function of a launch; the first whose max_rows is 0 or at least the launch's rows is taken.
typedef struct mlcc_abi_cuda_entry {
    const char *symbol;
    int64_t max_rows;
    mlcc_abi_cuda_extent grid[3];
    uint32_t threads;
    uint32_t shared_bytes; // dynamic
} mlcc_abi_cuda_entry;

enum mlcc_abi_cuda_place_kind {
    MLCC_ABI_CUDA_ARG = 1,   // args[index]
    MLCC_ABI_CUDA_RESULT,    // results[index]
    MLCC_ABI_CUDA_PARAM,     // prepared param [index]
    MLCC_ABI_CUDA_CONST,     // consts + offset_bytes
    MLCC_ABI_CUDA_WORKSPACE, // workspace + offset_bytes
    // the function's scratch: scratch_bytes that its launches use in turn. It begins with
    // MLCC_ABI_CUDA_COUNTER_BYTES of zeros, which every launch leaves zero.
    MLCC_ABI_CUDA_SCRATCH
};

typedef struct mlcc_abi_cuda_place {
    uint32_t kind;
    int32_t index;
    uint64_t offset_bytes;
} mlcc_abi_cuda_place;

// One way to compile a launch. What it computes and what it is given is the same in all of them.
typedef struct mlcc_abi_cuda_variant {
    uint32_t module;
    uint32_t n_entries;
    const mlcc_abi_cuda_entry *entries;
} mlcc_abi_cuda_variant;

// The kernel's only argument: the addresses of `places` in order, then the values of all symbols as int64: n_places + n_symbols words.
typedef struct mlcc_abi_cuda_launch {
    int32_t rows_symbol; // symbol whose value counts as the launch's rows; -1: rows_constant
    uint32_t n_variants;
    int64_t rows_constant;
    // A run whose rows lie outside leaves the launch out; max_rows 0: no limit.
    int64_t min_rows, max_rows;
    // the first whose module has code for the device is taken: the special ones stand first
    const mlcc_abi_cuda_variant *variants;
    const mlcc_abi_cuda_place *places;
    uint32_t n_places;
    uint32_t reserved;
} mlcc_abi_cuda_launch;

typedef struct mlcc_abi_cuda_function {
    const mlcc_abi_cuda_launch *launches;
    uint32_t n_launches;
    uint32_t reserved;
} mlcc_abi_cuda_function;

typedef struct mlcc_abi_cuda {
    const mlcc_abi_cuda_module *modules;
    const mlcc_abi_cuda_function *functions; // one per function of mlcc_abi_model, same order
    const void *consts;                      // uploaded once
    uint64_t consts_bytes;
    uint32_t n_modules;
    uint32_t nvrtc_version; // major * 100 + minor, for messages about old drivers
} mlcc_abi_cuda;

typedef struct mlcc_abi_model {
    uint32_t magic;        // MLCC_ABI_MAGIC
    uint32_t version;      // MLCC_ABI_VERSION
    uint64_t struct_bytes; // sizeof(mlcc_abi_model)
    const char *target;    // "x86-64-v4"
    // comma separated features that the machine must have ("avx512f,avx512bw,…"), "" = none
    const char *cpu_features;
    const char *metadata; // JSON: MLC's _metadata keys and mlcc's own; NUL-terminated
    // XXH3-128 of the param table (names, formats, shapes): which weights fit
    uint8_t param_fingerprint[16];
    // the same plus layouts and prepare version: which prepared cache fits
    uint8_t layout_fingerprint[16];
    const mlcc_abi_symbol *symbols;
    const mlcc_abi_param *params;
    const mlcc_abi_function *functions;
    uint32_t n_symbols, n_params, n_functions, reserved;
    const mlcc_abi_cuda *cuda; // NULL: a library for the CPU
} mlcc_abi_model;

typedef const mlcc_abi_model *mlcc_abi_query(void);
typedef const mlcc_abi_model *const *mlcc_abi_levels(void);

#endif
