// artifact: a PLAN-level module resolved into what lib.so will hold: which group is compiled with which kernel, where every operand of every
// launch lies, which launches must wait for each other, how every param is stored and prepared. Knows no instruction set; the emitters of
// codegen/cpu read it and write the structures of runtime/abi.h.
//
// Everything lives in the arena given to codegen_artifact_build and refers to the module, which must outlive it.
#ifndef MLCC_CODEGEN_ARTIFACT_H
#define MLCC_CODEGEN_ARTIFACT_H

#include "ir/ir.h"
#include "quantization/format.h"
#include "runtime/base/hash.h"

// Where a value of an entry function lies while lib.so runs.
typedef enum codegen_place_kind {
    CODEGEN_PLACE_ARG,       // mlcc_abi_call.args[index]
    CODEGEN_PLACE_RESULT,    // mlcc_abi_call.results[index]
    CODEGEN_PLACE_PARAM,     // mlcc_abi_call.params[index]
    CODEGEN_PLACE_CONST,     // rodata, module->consts[index]
    CODEGEN_PLACE_WORKSPACE, // mlcc_abi_call.workspace + offset_bytes
} codegen_place_kind;

typedef struct codegen_place {
    codegen_place_kind kind;
    int32_t index;
    int64_t offset_bytes, size_bytes; // WORKSPACE: the range, with every symbol at its bound
} codegen_place;

// A group function compiled with one kernel. Equal launches share it. A chain of launches (ir/chain.h) is an instance too: its group is the joined
// function, its launch stands before theirs.
typedef struct codegen_instance {
    const ir_function *group;
    bool is_chain;
    const char *kernel; // name of the kernel row
    const ir_value *
        *inputs; // the group's arguments, then params and consts that its body names directly
    int32_t n_inputs;
    int32_t *in_place; // per return of the group: the input whose memory it is, or -1
} codegen_instance;

typedef struct codegen_launch {
    int32_t instance;
    codegen_place *inputs;  // one per input of the instance
    codegen_place *results; // one per return of the group
    // A run with fewer or more rows than these leaves the launch out; max_rows 0: no limit. Only CUDA devices have such launches.
    int64_t min_rows, max_rows;
    const ir_dim *rows; // what counts as rows; NULL: the first dimension of the anchor's operand 0
    bool waits;         // reads or overwrites what launches since the last wait write or read
} codegen_launch;

typedef struct codegen_function {
    const ir_function *function;
    codegen_launch *launches;
    int32_t n_launches;
    int32_t *
        results; // per result of the ABI: index into function->returns; values in an argument's memory are none
    int32_t n_results;
    int64_t scratch_bytes; // per thread; filled by the target
    int64_t
        shared_bytes; // behind the workspace, for all threads; filled by the target, 0 on CUDA devices
} codegen_function;

// Rewriting of stored pieces into one device layout for one element format and shape.
typedef struct codegen_prepare {
    const char *layout;
    ir_type type; // a stack's is that of a matrix (ir_type_flat)
} codegen_prepare;

typedef struct codegen_param {
    const ir_param *param;
    const char *piece_names[QUANT_MAX_PIECES];
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces;
    int32_t prepare;         // index into prepares, or -1: the single piece is used as it is
    int64_t prepared_bytes;  // multiple of 64; filled by the target
    int64_t n_prepare_items; // filled by the target
} codegen_param;

typedef struct codegen_artifact {
    const ir_module *module;
    codegen_instance *instances;
    int32_t n_instances;
    codegen_function *functions;
    int32_t n_functions;
    codegen_param *params;
    int32_t n_params;
    codegen_prepare *prepares;
    int32_t n_prepares;
} codegen_artifact;

// Errors: INTERNAL when the module is not a finished plan (no kernel, no offset, a param without a layout, a launch that overwrites its own
// input); UNSUPPORTED when a function returns a constant, a param, or one value twice.
mlcc_status *codegen_artifact_build(
    const ir_module *module, mlcc_arena *keep, codegen_artifact **out);

// Where the memory begins that the threads of a launch share, from the workspace on, and the bytes of both: what the runtime allocates.
int64_t codegen_shared_offset(const codegen_function *f);
int64_t codegen_workspace_bytes(const codegen_function *f);

// The anchor of a group, or NULL when it holds only element-wise ops. Of a chain, which holds several, the linear, or else the first.
const ir_node *codegen_group_anchor(const ir_function *group);

// XXH3-128 of names, formats and shapes of all params in order: which weights fit.
mlcc_hash128 codegen_param_fingerprint(const ir_module *module);
// The same with layouts and `version`, which names the revision of the layouts' definition: which prepared cache fits.
mlcc_hash128 codegen_layout_fingerprint(const ir_module *module, const char *version);

#endif
