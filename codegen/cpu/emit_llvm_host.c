// Host functions: the launches of one entry function in order, run by every thread of the pool.
//
//   int32_t forward(const mlcc_abi_call *call, int32_t thread, int32_t n_threads) {
//       run_embedding(call->args[0], call->params[0], call->workspace + 0, scratch, dims…, &call->counters[0], n_threads);
//       wait(call);
//       run_rms_norm(…);
//       …
//       return 0;
//   }
//
// A wait stands only before a launch that touches what the launches since the last wait write. Threads also meet, without a new stretch
// (mlcc_abi_call.meet), before a launch whose shared memory one since the last wait may still use, and before the second part of a launch that has
// one (kernels/kernel.h), whose counter lies behind those of the launches:
//
//   if (run_paged_attention(…) > 0) { meet(call); finish_paged_attention(…); }
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/emit_llvm_inside.h"
#include "runtime/abi.h"

#include <stddef.h>

typedef struct host {
    emit *e;
    const codegen_function *f;
    LLVMValueRef function;
    LLVMValueRef call; // const mlcc_abi_call *
    LLVMValueRef n_threads;
    LLVMValueRef scratch; // this thread's
    LLVMValueRef workspace;
    LLVMValueRef counters;
    int32_t n_counters;
    LLVMValueRef *symbols; // i64 values
    LLVMValueRef *consts;  // globals, made on first use
    bool is_shared;        // a launch since the last wait may still use the shared memory
} host;

// A pointer field of mlcc_abi_call.
static LLVMValueRef load_field(emit *e, LLVMValueRef call, size_t offset) {
    LLVMValueRef address = emit_element(e, e->i8, call, (int64_t)offset);
    return LLVMBuildLoad2(e->builder, e->pointer, address, "");
}

static LLVMValueRef load_from_list(emit *e, LLVMValueRef list, int64_t index) {
    return LLVMBuildLoad2(e->builder, e->pointer, emit_element(e, e->pointer, list, index), "");
}

// void wait(const mlcc_abi_call *call), or meet
static LLVMValueRef build_wait(emit *e, const char *name, bool is_meet) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef type = emit_function_type(e->void_type, &e->pointer, 1);
    LLVMValueRef wait = LLVMAddFunction(e->module, name, type);
    LLVMSetLinkage(wait, LLVMInternalLinkage);
    emit_add_attribute(e, wait, (unsigned)EMIT_FUNCTION_INDEX, "noinline", 0);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, wait, "entry");
    LLVMBasicBlockRef meet = LLVMAppendBasicBlockInContext(e->context, wait, "meet");
    LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(e->context, wait, "done");
    LLVMPositionBuilderAtEnd(b, entry);
    LLVMValueRef call = LLVMGetParam(wait, 0);
    LLVMValueRef barrier = load_field(e, call, offsetof(mlcc_abi_call, barrier));
    if (is_meet) {
        LLVMValueRef own = load_field(e, call, offsetof(mlcc_abi_call, meet));
        barrier = LLVMBuildSelect(b, LLVMBuildIsNull(b, own, ""), barrier, own, "");
    }
    LLVMBuildCondBr(b, LLVMBuildIsNull(b, barrier, ""), done, meet);
    LLVMPositionBuilderAtEnd(b, meet);
    LLVMValueRef state = load_field(e, call, offsetof(mlcc_abi_call, barrier_state));
    LLVMBuildCall2(b, emit_function_type(e->void_type, &e->pointer, 1), barrier, &state, 1, "");
    LLVMBuildBr(b, done);
    LLVMPositionBuilderAtEnd(b, done);
    LLVMBuildRetVoid(b);
    return wait;
}

static LLVMValueRef const_memory(host *h, int32_t index) {
    emit *e = h->e;
    if (h->consts[index] != NULL) return h->consts[index];
    const ir_const *constant = e->artifact->module->consts[index];
    int64_t size_bytes = 0;
    if (!ir_type_bound_bytes(&constant->value.type, &size_bytes) || size_bytes > INT32_MAX) {
        return NULL;
    }
    LLVMValueRef bytes =
        LLVMConstStringInContext(e->context, constant->data, (unsigned)size_bytes, 1);
    h->consts[index] = emit_constant(e, bytes, 64);
    return h->consts[index];
}

static LLVMValueRef place_memory(host *h, const codegen_place *place) {
    emit *e = h->e;
    switch (place->kind) {
    case CODEGEN_PLACE_ARG:
        return load_from_list(
            e, load_field(e, h->call, offsetof(mlcc_abi_call, args)), place->index);
    case CODEGEN_PLACE_RESULT:
        return load_from_list(
            e, load_field(e, h->call, offsetof(mlcc_abi_call, results)), place->index);
    case CODEGEN_PLACE_PARAM:
        return load_from_list(
            e, load_field(e, h->call, offsetof(mlcc_abi_call, params)), place->index);
    case CODEGEN_PLACE_CONST: return const_memory(h, place->index);
    case CODEGEN_PLACE_WORKSPACE: break;
    }
    return emit_element(e, e->i8, h->workspace, place->offset_bytes);
}

static void emit_wait(host *h) {
    emit *e = h->e;
    h->is_shared = false;
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(e->wait), e->wait, &h->call, 1, "");
}

static void emit_meet(host *h) {
    emit *e = h->e;
    if (e->meet == NULL) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
        e->meet = build_wait(e, "meet", true);
        LLVMPositionBuilderAtEnd(e->builder, here);
    }
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(e->meet), e->meet, &h->call, 1, "");
}

// if (n_items > 0) { meet; finish(args…, counter of its own, n_threads) }
static void emit_finish(
    host *h, LLVMValueRef finish, LLVMValueRef n_items, LLVMValueRef *args, unsigned n_args) {
    emit *e = h->e;
    LLVMBasicBlockRef second = LLVMAppendBasicBlockInContext(e->context, h->function, "finish");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(e->context, h->function, "next");
    LLVMValueRef has_items = LLVMBuildICmp(e->builder, LLVMIntSGT, n_items, emit_i64(e, 0), "");
    LLVMBuildCondBr(e->builder, has_items, second, next);
    LLVMPositionBuilderAtEnd(e->builder, second);
    emit_meet(h);
    args[n_args - 2] = emit_element(e, e->i32, h->counters, h->n_counters++);
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(finish), finish, args, n_args, "");
    LLVMBuildBr(e->builder, next);
    LLVMPositionBuilderAtEnd(e->builder, next);
}

// What the shared function of an instance is told about one of its dimensions.
static LLVMValueRef extent_arg(const host *h, const cpu_extent *extent) {
    const ir_symbol *symbol = extent->dim.symbol;
    return symbol != NULL ? h->symbols[symbol->index] : emit_extent_count(h->e, extent);
}

static mlcc_status *emit_launch(host *h, const codegen_launch *launch, int32_t index) {
    emit *e = h->e;
    const codegen_instance *instance = &e->artifact->instances[launch->instance];
    const size_t n_symbols = e->artifact->module->n_symbols;
    const int32_t n_returns = instance->group->n_returns;
    const cpu_share *share = &e->shares[launch->instance];
    LLVMValueRef *args = MLCC_NEW_ARRAY(
        e->keep, LLVMValueRef,
        (size_t)instance->n_inputs + (size_t)n_returns + n_symbols + (size_t)share->n_extents + 4);
    unsigned n = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        args[n++] = place_memory(h, &launch->inputs[i]);
        if (args[n - 1] == NULL) {
            return MLCC_ERROR(
                UNSUPPORTED, "constant '@%s' is larger than 2 GiB; make it a param",
                e->artifact->module->consts[launch->inputs[i].index]->value.name);
        }
    }
    for (int32_t r = 0; r < n_returns; r++) {
        if (instance->in_place[r] < 0) args[n++] = place_memory(h, &launch->results[r]);
    }
    args[n++] = h->scratch;
    if (cpu_kernel_shared_bytes(cpu_kernel_find(instance->kernel), instance->group) > 0) {
        if (h->is_shared) emit_meet(h);
        h->is_shared = true;
        args[n++] = emit_element(e, e->i8, h->workspace, codegen_shared_offset(h->f));
    }
    for (size_t i = 0; i < n_symbols; i++) args[n++] = h->symbols[i];
    for (int32_t i = 0; i < share->n_extents; i++) args[n++] = extent_arg(h, &share->extents[i]);
    args[n++] = emit_element(e, e->i32, h->counters, index);
    args[n++] = h->n_threads;
    LLVMValueRef run = e->runs[launch->instance];
    LLVMValueRef n_items =
        LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(run), run, args, n, "");
    LLVMValueRef finish = e->finishes[launch->instance];
    if (finish != NULL) emit_finish(h, finish, n_items, args, n);
    return NULL;
}

static void open_host(host *h, LLVMValueRef function) {
    emit *e = h->e;
    const ir_module *module = e->artifact->module;
    LLVMBuilderRef b = e->builder;
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(e->context, function, "entry"));
    h->call = LLVMGetParam(function, 0);
    h->n_threads = LLVMGetParam(function, 2);
    h->workspace = load_field(e, h->call, offsetof(mlcc_abi_call, workspace));
    h->counters = load_field(e, h->call, offsetof(mlcc_abi_call, counters));
    LLVMValueRef list = load_field(e, h->call, offsetof(mlcc_abi_call, scratch));
    LLVMValueRef thread = LLVMBuildSExt(b, LLVMGetParam(function, 1), e->i64, "");
    LLVMValueRef own = LLVMBuildInBoundsGEP2(b, e->pointer, list, &thread, 1, "");
    h->scratch = LLVMBuildLoad2(b, e->pointer, own, "scratch");
    h->symbols = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, module->n_symbols + 1);
    h->consts = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, module->n_consts + 1);
    LLVMValueRef dims = load_field(e, h->call, offsetof(mlcc_abi_call, dims));
    for (size_t i = 0; i < module->n_symbols; i++) {
        h->symbols[i] = LLVMBuildLoad2(
            b, e->i64, emit_element(e, e->i64, dims, (int64_t)i), module->symbols[i]->name);
    }
}

mlcc_status *emit_host_function(emit *e, int32_t index) {
    const codegen_function *f = &e->artifact->functions[index];
    if (e->wait == NULL) e->wait = build_wait(e, "wait", false);
    LLVMTypeRef params[] = {e->pointer, e->i32, e->i32};
    const char *name = mlcc_arena_printf(e->keep, "model.%s", f->function->name);
    LLVMValueRef function = LLVMAddFunction(e->module, name, emit_function_type(e->i32, params, 3));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    host h = {.e = e, .f = f, .function = function, .n_counters = f->n_launches};
    open_host(&h, function);
    for (int32_t i = 0; i < f->n_launches; i++) {
        if (f->launches[i].waits) emit_wait(&h);
        MLCC_TRY_NOTE(
            emit_launch(&h, &f->launches[i], i), "emitting launch %d of function '%s'", i,
            f->function->name);
    }
    LLVMBuildRet(e->builder, emit_i32(e, 0));
    e->functions[index] = function;
    e->n_counters[index] = h.n_counters;
    return NULL;
}
