// emit_llvm_inside: what the emit_llvm*.c files share. Nobody else includes it.
//
// Way of a model through them:
//   context  opens LLVM for the target; the module starts as the bitcode of portable/math.c
//   group    per instance: parses the kernel's bitcode, defines its hooks, wraps it in a `run` function, links it in
//   host     per function of the ABI: launches in order
//   tables   the structures of runtime/abi.h as constants, and mlcc_model_query
//   object   attributes, optimisation, object code
//   kept     object code of earlier runs, where it was asked for
//   jit      one instance alone, loaded into this process
#ifndef MLCC_CODEGEN_CPU_EMIT_LLVM_INSIDE_H
#define MLCC_CODEGEN_CPU_EMIT_LLVM_INSIDE_H

#include "codegen/cpu/emit_llvm.h"
#include "codegen/cpu/share.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#define EMIT_FUNCTION_INDEX ((LLVMAttributeIndex)LLVMAttributeFunctionIndex)

typedef struct emit {
    const codegen_artifact *artifact;
    const emit_llvm_options *options;
    mlcc_arena *keep;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    LLVMTargetDataRef data;
    LLVMBuilderRef builder;
    LLVMTypeRef pointer, void_type, i8, i16, i32, i64, f16, f32, f64;
    mlcc_str diagnostics;    // what LLVM said while it worked
    const cpu_share *shares; // per instance
    LLVMValueRef *runs;      // per instance, that of its owner
    LLVMValueRef *finishes;  // per instance: the second part of its kernel, NULL where it has none
    const cpu_prepare_share *prepare_shares; // per prepare
    LLVMValueRef *prepare_bodies;            // per owner among them
    LLVMValueRef *prepares;                  // per prepare
    LLVMValueRef *functions;                 // per function of the ABI
    int32_t *n_counters;                     // likewise
    LLVMValueRef wait;                       // void (ptr call)
    LLVMValueRef meet;     // the same with mlcc_abi_call.meet; NULL where nothing calls it
    LLVMValueRef exported; // a function that the object shows beside the query; NULL = none
} emit;

// ---- context
mlcc_status *emit_open(
    emit *e, const codegen_artifact *artifact, const emit_llvm_options *options, mlcc_arena *keep);
void emit_close(emit *e);
// A copy of an embedded kernel file in this context. INTERNAL when it is absent or broken.
mlcc_status *emit_parse_bitcode(emit *e, const char *name, LLVMModuleRef *out);
// Moves all of `source` into the model's module; `source` is gone afterwards.
mlcc_status *emit_link(emit *e, LLVMModuleRef source, const char *what);
// INTERNAL with LLVM's message and `what` when the module is malformed.
mlcc_status *emit_verify(LLVMModuleRef module, const char *what);
LLVMTypeRef emit_function_type(LLVMTypeRef result, LLVMTypeRef *params, unsigned n_params);
void emit_add_attribute(
    emit *e, LLVMValueRef function, unsigned index, const char *name, uint64_t value);
void emit_add_text_attribute(emit *e, LLVMValueRef function, const char *name, const char *value);
LLVMValueRef emit_i64(const emit *e, int64_t value);
LLVMValueRef emit_i32(const emit *e, int64_t value);
// An anonymous constant of the model.
LLVMValueRef emit_constant(emit *e, LLVMValueRef value, unsigned alignment);
// base + index * sizeof(type)
LLVMValueRef emit_element(emit *e, LLVMTypeRef type, LLVMValueRef base, int64_t index);

// ---- group: one kernel instance, or one prepare function, while it is being built
typedef struct emit_memo {
    const ir_value *value;
    LLVMValueRef row, column, result;
} emit_memo;

typedef struct emit_group {
    emit *e;
    const char *kernel; // row of the kernel table, or name of the layout, for messages
    const codegen_instance *instance; // NULL: prepare function
    const cpu_extent *extents;        // of the instance; their symbols follow those of the module
    int32_t n_extents;
    const ir_node *anchor;   // NULL: element-wise group
    const ir_type *prepared; // prepare function: type of the param
    bool has_scratch;
    int64_t shared_bytes; // 0: no shared memory, and neither parameter nor field for it
    cpu_knobs knobs;
    LLVMModuleRef module; // the kernel's bitcode
    LLVMTypeRef env_type; // { inputs…, results…, scratch, shared, symbols… }
    bool *stored;         // per return: some hook writes it
    // The hook being written.
    LLVMValueRef env;
    const ir_value *pushed; // the value that the kernel has handed over at this place, or NULL
    LLVMValueRef pushed_row, pushed_column, pushed_value;
    emit_memo *memo; // elements already computed in this hook
    size_t n_memo, memo_capacity;
} emit_group;

// Fields of the environment: a pointer per input, a pointer per return (in-place ones repeat the input), scratch, shared memory if there is
// any, every symbol's value, every extent's. That of a prepare function holds its extents alone.
unsigned emit_env_input(const emit_group *g, int32_t input);
unsigned emit_env_result(const emit_group *g, int32_t index);
unsigned emit_env_scratch(const emit_group *g);
unsigned emit_env_shared(const emit_group *g);
LLVMValueRef emit_env_load(emit_group *g, unsigned field, LLVMTypeRef type);
// A dimension as i64: a constant, or the symbol's value from the environment.
LLVMValueRef emit_dim(emit_group *g, ir_dim dim);

// The argument for an extent that is a constant of this instance: how many units, or the dimension where it has none.
LLVMValueRef emit_extent_count(const emit *e, const cpu_extent *extent);

// Builds the instance's `run` function in the model's module, or finds that of its owner (share.h), and notes it in e->runs:
//   void run(ptr input…, ptr result…, ptr scratch, ptr shared, i64 symbol…, i32 extent…, ptr counter, i32 n_threads)     without the in-place results
// shared only where the kernel has such memory for the group; an extent is a count of its units, or i64 where it has none. Of a kernel with a
// second part `run` is i64, its number of items, and e->finishes holds a function with the same parameters that does them.
mlcc_status *emit_instance(emit *e, int32_t index);
// The same for e->prepares: a function of type mlcc_abi_prepare.
mlcc_status *emit_prepare(emit *e, int32_t index);

// ---- hooks: defines every hook that the bitcode declares, and checks that every return of the group is written by one of them
mlcc_status *emit_hooks(emit_group *g);

// ---- expression
// The element of `value` at (row, column) as float, not yet rounded to its dtype. NULL and *status set when it cannot be computed there.
LLVMValueRef emit_expression(
    emit_group *g, const ir_value *value, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status);
// The same as an op or a kernel reads it: rounded.
LLVMValueRef emit_operand(
    emit_group *g, const ir_value *value, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status);
// Stores a float as that element of a tensor, rounded to nearest even.
mlcc_status *emit_store(
    emit_group *g, const ir_type *type, LLVMValueRef memory, LLVMValueRef row, LLVMValueRef column,
    LLVMValueRef value);

// ---- host, tables, object
// One function of type mlcc_abi_run, noted in e->functions.
mlcc_status *emit_host_function(emit *e, int32_t index);
// mlcc_abi_cuda, or a null pointer where the library is for the CPU.
mlcc_status *emit_cuda_tables(emit *e, LLVMValueRef *out);
// The structures of runtime/abi.h and mlcc_model_query.
mlcc_status *emit_tables(emit *e);
// Optimises the module and emits it.
mlcc_status *emit_object(emit *e, const void **object, size_t *object_bytes);
// Writes the module as text into the debug dump, if there is one.
mlcc_status *emit_dump(emit *e, const char *name);

#endif
