// Instances: a kernel's bitcode, cloned for one group, its hooks defined, wrapped in a `run` function that hands out work items.
//
// The environment that hooks receive is a struct on the stack of `run`, filled from its parameters. After inlining it dissolves, and what the
// optimiser sees are the parameters: pointers that do not alias, and dimensions.
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/emit_llvm_inside.h"

#include <string.h>

// ---- environment --------------------------------------------------------------------------------------

static const ir_module *module_of(const emit_group *g) {
    return g->e->artifact->module;
}

unsigned emit_env_input(const emit_group *g, int32_t input) {
    (void)g;
    return (unsigned)input;
}

unsigned emit_env_result(const emit_group *g, int32_t index) {
    return (unsigned)(g->instance->n_inputs + index);
}

unsigned emit_env_scratch(const emit_group *g) {
    return (unsigned)(g->instance->n_inputs + g->instance->group->n_returns);
}

unsigned emit_env_shared(const emit_group *g) {
    return emit_env_scratch(g) + 1u;
}

// The first field behind the pointers.
static unsigned env_symbols(const emit_group *g) {
    if (g->instance == NULL) return 0;
    return emit_env_shared(g) + (g->shared_bytes > 0 ? 1u : 0u);
}

// The symbols of the module that it holds.
static size_t env_n_symbols(const emit_group *g) {
    return g->instance != NULL ? module_of(g)->n_symbols : 0;
}

static unsigned env_symbol(const emit_group *g, int32_t symbol) {
    return env_symbols(g) + (unsigned)symbol;
}

static void make_env_type(emit_group *g) {
    emit *e = g->e;
    unsigned n_pointers = env_symbols(g);
    unsigned n_fields = n_pointers + (unsigned)env_n_symbols(g) + (unsigned)g->n_extents;
    LLVMTypeRef *fields = MLCC_NEW_ARRAY(e->keep, LLVMTypeRef, n_fields);
    for (unsigned i = 0; i < n_fields; i++) fields[i] = i < n_pointers ? e->pointer : e->i64;
    g->env_type = LLVMStructTypeInContext(e->context, fields, n_fields, 0);
}

LLVMValueRef emit_env_load(emit_group *g, unsigned field, LLVMTypeRef type) {
    LLVMBuilderRef b = g->e->builder;
    LLVMValueRef address = LLVMBuildStructGEP2(b, g->env_type, g->env, field, "");
    return LLVMBuildLoad2(b, type, address, "");
}

static void env_store(emit_group *g, LLVMValueRef env, unsigned field, LLVMValueRef value) {
    LLVMBuilderRef b = g->e->builder;
    LLVMBuildStore(b, value, LLVMBuildStructGEP2(b, g->env_type, env, field, ""));
}

LLVMValueRef emit_dim(emit_group *g, ir_dim dim) {
    if (dim.symbol == NULL) return emit_i64(g->e, dim.value);
    return emit_env_load(g, env_symbol(g, dim.symbol->index), g->e->i64);
}

// ---- the kernel's module ------------------------------------------------------------------------------

// Everything the bitcode defines becomes private to the model.
static void make_private(LLVMModuleRef module) {
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f != NULL; f = LLVMGetNextFunction(f)) {
        if (!LLVMIsDeclaration(f)) LLVMSetLinkage(f, LLVMInternalLinkage);
    }
    for (LLVMValueRef v = LLVMGetFirstGlobal(module); v != NULL; v = LLVMGetNextGlobal(v)) {
        if (!LLVMIsDeclaration(v)) LLVMSetLinkage(v, LLVMInternalLinkage);
    }
}

typedef struct kernel_functions {
    LLVMValueRef body, items, chunk;
    LLVMValueRef finish, finish_items; // NULL: no second part
} kernel_functions;

static mlcc_status *find_function(
    const emit_group *g, const char *symbol, const char *suffix, LLVMTypeRef type,
    LLVMValueRef *out) {
    const char *name = mlcc_arena_printf(g->e->keep, "%s%s", symbol, suffix);
    *out = LLVMGetNamedFunction(g->module, name);
    if (*out == NULL || LLVMIsDeclaration(*out)) {
        return MLCC_ERROR(INTERNAL, "the bitcode of '%s' defines no '%s'", g->kernel, name);
    }
    if (LLVMGlobalGetValueType(*out) != type) {
        return MLCC_ERROR(
            INTERNAL, "'%s' of '%s' has another signature than kernel.h says", name, g->kernel);
    }
    return NULL;
}

static LLVMTypeRef body_type(const emit *e) {
    LLVMTypeRef params[] = {e->pointer, e->i64, e->i64};
    return emit_function_type(e->void_type, params, 3);
}

static LLVMTypeRef items_type(const emit *e) {
    LLVMTypeRef params[] = {e->pointer};
    return emit_function_type(e->i64, params, 1);
}

// Also that of _finish_items.
static LLVMTypeRef chunk_type(const emit *e) {
    LLVMTypeRef params[] = {e->pointer, e->i64};
    return emit_function_type(e->i64, params, 2);
}

static mlcc_status *find_functions(
    const emit_group *g, const char *symbol, kernel_functions *kernel) {
    MLCC_TRY(find_function(g, symbol, "", body_type(g->e), &kernel->body));
    MLCC_TRY(find_function(g, symbol, "_items", items_type(g->e), &kernel->items));
    MLCC_TRY(find_function(g, symbol, "_chunk", chunk_type(g->e), &kernel->chunk));
    const char *finish = mlcc_arena_printf(g->e->keep, "%s_finish", symbol);
    if (LLVMGetNamedFunction(g->module, finish) == NULL) return NULL;
    MLCC_TRY(find_function(g, symbol, "_finish", body_type(g->e), &kernel->finish));
    return find_function(g, symbol, "_finish_items", chunk_type(g->e), &kernel->finish_items);
}

// ---- run ----------------------------------------------------------------------------------------------

static bool writes_input(const codegen_instance *instance, int32_t input) {
    for (int32_t r = 0; r < instance->group->n_returns; r++) {
        if (instance->in_place[r] == input) return true;
    }
    return false;
}

static unsigned add_extent_types(const emit_group *g, LLVMTypeRef *params, unsigned n) {
    for (int32_t i = 0; i < g->n_extents; i++)
        params[n++] = g->extents[i].unit > 0 ? g->e->i32 : g->e->i64;
    return n;
}

static LLVMValueRef declare_run(emit_group *g, const char *name, LLVMTypeRef result) {
    emit *e = g->e;
    const codegen_instance *instance = g->instance;
    size_t n_symbols = module_of(g)->n_symbols;
    size_t capacity = (size_t)instance->n_inputs + (size_t)instance->group->n_returns + n_symbols +
                      (size_t)g->n_extents + 4;
    LLVMTypeRef *params = MLCC_NEW_ARRAY(e->keep, LLVMTypeRef, capacity);
    unsigned n = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++) params[n++] = e->pointer;
    for (int32_t r = 0; r < instance->group->n_returns; r++) {
        if (instance->in_place[r] < 0) params[n++] = e->pointer;
    }
    params[n++] = e->pointer; // scratch
    if (g->shared_bytes > 0) params[n++] = e->pointer;
    unsigned n_memory = n;
    for (size_t i = 0; i < n_symbols; i++) params[n++] = e->i64;
    n = add_extent_types(g, params, n);
    params[n++] = e->pointer; // counter
    params[n++] = e->i32;     // n_threads
    LLVMValueRef run = LLVMAddFunction(g->module, name, emit_function_type(result, params, n));
    emit_add_attribute(e, run, (unsigned)EMIT_FUNCTION_INDEX, "noinline", 0);
    for (unsigned i = 0; i < n_memory; i++) {
        emit_add_attribute(e, run, i + 1, "noalias", 0);
        emit_add_attribute(e, run, i + 1, "align", 64);
        if (i < (unsigned)instance->n_inputs && !writes_input(instance, (int32_t)i)) {
            emit_add_attribute(e, run, i + 1, "readonly", 0);
        }
    }
    return run;
}

LLVMValueRef emit_extent_count(const emit *e, const cpu_extent *extent) {
    const int64_t value = extent->dim.value;
    return extent->unit > 0 ? emit_i32(e, value / extent->unit) : emit_i64(e, value);
}

// A dimension from its count of units: never negative, and visibly a multiple.
static LLVMValueRef extent_value(emit_group *g, const cpu_extent *extent, LLVMValueRef param) {
    emit *e = g->e;
    if (extent->unit == 0) return param;
    LLVMValueRef count = LLVMBuildZExt(e->builder, param, e->i64, "");
    LLVMValueRef value = LLVMBuildMul(e->builder, count, emit_i64(e, extent->unit), "extent");
    if (LLVMIsAInstruction(value) == NULL) return value;
    LLVMSetNSW(value, 1);
    LLVMSetNUW(value, 1);
    return value;
}

// Returns the index of the first parameter after the extents.
static unsigned fill_extents(
    emit_group *g, LLVMValueRef function, LLVMValueRef env, unsigned first) {
    for (int32_t i = 0; i < g->n_extents; i++) {
        LLVMValueRef value = extent_value(g, &g->extents[i], LLVMGetParam(function, first++));
        env_store(g, env, env_symbol(g, (int32_t)env_n_symbols(g) + i), value);
    }
    return first;
}

// Fills the environment from run's parameters; returns the index of the first parameter after them.
static unsigned fill_env(emit_group *g, LLVMValueRef run, LLVMValueRef env) {
    const codegen_instance *instance = g->instance;
    unsigned n = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        env_store(g, env, emit_env_input(g, i), LLVMGetParam(run, n++));
    }
    for (int32_t r = 0; r < instance->group->n_returns; r++) {
        int32_t input = instance->in_place[r];
        LLVMValueRef memory = LLVMGetParam(run, input >= 0 ? (unsigned)input : n++);
        env_store(g, env, emit_env_result(g, r), memory);
    }
    env_store(g, env, emit_env_scratch(g), LLVMGetParam(run, n++));
    if (g->shared_bytes > 0) env_store(g, env, emit_env_shared(g), LLVMGetParam(run, n++));
    for (size_t i = 0; i < module_of(g)->n_symbols; i++) {
        env_store(g, env, env_symbol(g, (int32_t)i), LLVMGetParam(run, n++));
    }
    return fill_extents(g, run, env, n);
}

static LLVMValueRef minimum(LLVMBuilderRef b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, x, y, ""), x, y, "");
}

// One of the functions that threads run: its parameters in an environment, and the blocks of its loop.
typedef struct run_frame {
    LLVMValueRef function, env, counter, n_threads;
    LLVMBasicBlockRef take, work, done;
} run_frame;

static run_frame open_run(emit_group *g, LLVMValueRef function) {
    emit *e = g->e;
    run_frame f = {.function = function};
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, function, "entry");
    f.take = LLVMAppendBasicBlockInContext(e->context, function, "take");
    f.work = LLVMAppendBasicBlockInContext(e->context, function, "work");
    f.done = LLVMAppendBasicBlockInContext(e->context, function, "done");
    LLVMPositionBuilderAtEnd(e->builder, entry);
    f.env = LLVMBuildAlloca(e->builder, g->env_type, "env");
    unsigned n = fill_env(g, function, f.env);
    f.counter = LLVMGetParam(function, n);
    f.n_threads = LLVMGetParam(function, n + 1);
    return f;
}

// while ((begin = counter++ * chunk) < items) body(env, begin, min(begin + chunk, items))
static void emit_loop(
    emit *e, const run_frame *f, LLVMValueRef items, LLVMValueRef chunk, LLVMValueRef body) {
    LLVMBuilderRef b = e->builder;
    LLVMBuildBr(b, f->take);

    LLVMPositionBuilderAtEnd(b, f->take);
    LLVMValueRef ticket = LLVMBuildAtomicRMW(
        b, LLVMAtomicRMWBinOpAdd, f->counter, emit_i32(e, 1), LLVMAtomicOrderingMonotonic, 0);
    LLVMValueRef begin = LLVMBuildNSWMul(b, LLVMBuildZExt(b, ticket, e->i64, ""), chunk, "begin");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, begin, items, ""), f->work, f->done);

    LLVMPositionBuilderAtEnd(b, f->work);
    LLVMValueRef rest = LLVMBuildNSWSub(b, items, begin, "");
    LLVMValueRef end = LLVMBuildNSWAdd(b, begin, minimum(b, chunk, rest), "end");
    LLVMValueRef body_args[] = {f->env, begin, end};
    LLVMBuildCall2(b, body_type(e), body, body_args, 3, "");
    LLVMBuildBr(b, f->take);
    LLVMPositionBuilderAtEnd(b, f->done);
}

static LLVMValueRef call_chunk(emit *e, const run_frame *f, LLVMValueRef function) {
    LLVMValueRef args[] = {f->env, LLVMBuildSExt(e->builder, f->n_threads, e->i64, "")};
    return LLVMBuildCall2(e->builder, chunk_type(e), function, args, 2, "");
}

// Threads take chunks from the launch's counter until the items are used up. One thread takes all at once.
//
//   items = kernel_items(env); chunk = n_threads == 1 ? items : max(1, kernel_chunk(env, n_threads))
//   while ((begin = counter++ * chunk) < items) kernel(env, begin, min(begin + chunk, items))
//   return n_threads == 1 ? 0 : kernel_finish_items(env, n_threads)       where the kernel has a second part
static void emit_run_body(emit_group *g, LLVMValueRef run, const kernel_functions *kernel) {
    emit *e = g->e;
    LLVMBuilderRef b = e->builder;
    const run_frame f = open_run(g, run);
    LLVMValueRef env = f.env;
    LLVMValueRef items = LLVMBuildCall2(b, items_type(e), kernel->items, &env, 1, "items");
    LLVMValueRef asked = call_chunk(e, &f, kernel->chunk);
    LLVMValueRef one = emit_i64(e, 1);
    LLVMValueRef positive = LLVMBuildICmp(b, LLVMIntSGT, asked, one, "");
    LLVMValueRef single = LLVMBuildICmp(b, LLVMIntEQ, f.n_threads, emit_i32(e, 1), "");
    LLVMValueRef chunk = LLVMBuildSelect(b, positive, asked, one, "");
    chunk = LLVMBuildSelect(b, single, items, chunk, "chunk");
    emit_loop(e, &f, items, chunk, kernel->body);
    if (kernel->finish == NULL) {
        LLVMBuildRetVoid(b);
        return;
    }
    LLVMValueRef left = call_chunk(e, &f, kernel->finish_items);
    LLVMBuildRet(b, LLVMBuildSelect(b, single, emit_i64(e, 0), left, ""));
}

// The second part: kernel_finish of one item after the other.
static void emit_finish_body(emit_group *g, LLVMValueRef finish, const kernel_functions *kernel) {
    emit *e = g->e;
    const run_frame f = open_run(g, finish);
    emit_loop(e, &f, call_chunk(e, &f, kernel->finish_items), emit_i64(e, 1), kernel->finish);
    LLVMBuildRetVoid(e->builder);
}

static const char *finish_name(const emit *e, const char *name) {
    return mlcc_arena_printf(e->keep, "%s.finish", name);
}

static mlcc_status *build_run(emit_group *g, const kernel_row *row, const char *name) {
    kernel_functions kernel = {0};
    MLCC_TRY(find_functions(g, row->symbol, &kernel));
    make_env_type(g);
    g->stored = MLCC_NEW_ARRAY(g->e->keep, bool, (size_t)g->instance->group->n_returns + 1);
    MLCC_TRY(emit_hooks(g));
    make_private(g->module);
    LLVMValueRef inlined[] = {
        kernel.body, kernel.items, kernel.chunk, kernel.finish, kernel.finish_items};
    for (size_t i = 0; i < (kernel.finish != NULL ? 5 : 3); i++) {
        emit_add_attribute(g->e, inlined[i], (unsigned)EMIT_FUNCTION_INDEX, "alwaysinline", 0);
    }
    LLVMTypeRef result = kernel.finish != NULL ? g->e->i64 : g->e->void_type;
    emit_run_body(g, declare_run(g, name, result), &kernel);
    if (kernel.finish != NULL)
        emit_finish_body(g, declare_run(g, finish_name(g->e, name), g->e->void_type), &kernel);
    return emit_verify(g->module, name);
}

mlcc_status *emit_instance(emit *e, int32_t index) {
    const cpu_share *share = &e->shares[index];
    if (share->owner != index) { // earlier in the list
        e->runs[index] = e->runs[share->owner];
        e->finishes[index] = e->finishes[share->owner];
        return NULL;
    }
    const codegen_instance *instance = share->instance;
    const kernel_row *row = cpu_kernel_find(instance->kernel);
    if (row == NULL) {
        return MLCC_ERROR(
            INTERNAL, "group '%s' is to run kernel '%s', which is no row of cpu_kernels.def",
            instance->group->name, instance->kernel);
    }
    const ir_node *anchor = codegen_group_anchor(instance->group);
    if (row->op != (anchor != NULL ? anchor->op : IR_N_OPS)) {
        return MLCC_ERROR(
            INTERNAL, "group '%s' is to run kernel '%s', which is for another op",
            instance->group->name, instance->kernel);
    }
    emit_group g = {
        .e = e,
        .kernel = row->name,
        .instance = instance,
        .extents = share->extents,
        .n_extents = share->n_extents,
        .anchor = anchor,
        .has_scratch = row->scratch_bytes != NULL,
        .shared_bytes = cpu_kernel_shared_bytes(row, instance->group),
        .knobs = e->options->knobs != NULL ? e->options->knobs[index] : cpu_knobs_fallback()};
    const char *bitcode = cpu_kernel_bitcode(row, instance->group, e->keep);
    MLCC_TRY(emit_parse_bitcode(e, bitcode, &g.module));
    const char *name = mlcc_arena_printf(e->keep, "%s.%s", row->name, instance->group->name);
    mlcc_status *status = build_run(&g, row, name);
    if (status != NULL) {
        LLVMDisposeModule(g.module);
        return status;
    }
    MLCC_TRY(emit_link(e, g.module, name));
    e->runs[index] = LLVMGetNamedFunction(e->module, name);
    LLVMSetLinkage(e->runs[index], LLVMInternalLinkage);
    e->finishes[index] = LLVMGetNamedFunction(e->module, finish_name(e, name));
    if (e->finishes[index] != NULL) LLVMSetLinkage(e->finishes[index], LLVMInternalLinkage);
    return NULL;
}

// ---- prepare ------------------------------------------------------------------------------------------

enum { N_PREPARE_PARAMS = 4 };

static void prepare_params(const emit *e, LLVMTypeRef params[N_PREPARE_PARAMS]) {
    params[0] = params[1] = e->pointer; // pieces, prepared
    params[2] = params[3] = e->i64;     // begin, end
}

// void body(ptr pieces, ptr prepared, i64 begin, i64 end, i32 extent…): the kernel's function with an environment of the extents
static mlcc_status *build_prepare_body(emit_group *g, const char *layout, const char *name) {
    emit *e = g->e;
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef *params =
        MLCC_NEW_ARRAY(e->keep, LLVMTypeRef, (size_t)g->n_extents + N_PREPARE_PARAMS + 1);
    params[0] = e->pointer; // env
    prepare_params(e, params + 1);
    LLVMTypeRef type = emit_function_type(e->void_type, params, 1 + N_PREPARE_PARAMS);
    LLVMValueRef kernel = NULL;
    MLCC_TRY(find_function(g, "kernel_prepare_", layout, type, &kernel));
    make_env_type(g);
    MLCC_TRY(emit_hooks(g));
    make_private(g->module);
    emit_add_attribute(e, kernel, (unsigned)EMIT_FUNCTION_INDEX, "alwaysinline", 0);

    prepare_params(e, params);
    const unsigned n = add_extent_types(g, params, N_PREPARE_PARAMS);
    LLVMValueRef body =
        LLVMAddFunction(g->module, name, emit_function_type(e->void_type, params, n));
    emit_add_attribute(e, body, (unsigned)EMIT_FUNCTION_INDEX, "noinline", 0);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(e->context, body, "entry"));
    LLVMValueRef args[1 + N_PREPARE_PARAMS] = {LLVMBuildAlloca(b, g->env_type, "env")};
    fill_extents(g, body, args[0], N_PREPARE_PARAMS);
    for (unsigned i = 0; i < N_PREPARE_PARAMS; i++) args[1 + i] = LLVMGetParam(body, i);
    LLVMBuildCall2(b, type, kernel, args, 1 + N_PREPARE_PARAMS, "");
    LLVMBuildRetVoid(b);
    return emit_verify(g->module, name);
}

static mlcc_status *emit_prepare_body(emit *e, int32_t index) {
    const cpu_prepare_share *share = &e->prepare_shares[index];
    const char *layout = e->artifact->prepares[index].layout;
    const char *bitcode = mlcc_arena_printf(e->keep, "portable/prepare_%s", layout);
    emit_group g = {
        .e = e,
        .kernel = layout,
        .prepared = &share->type,
        .extents = share->extents,
        .n_extents = share->n_extents};
    MLCC_TRY(emit_parse_bitcode(e, bitcode, &g.module));
    const char *name =
        mlcc_arena_printf(e->keep, "prepare.%s.%s", layout, ir_dtype_get(share->type.dtype)->text);
    mlcc_status *status = build_prepare_body(&g, layout, name);
    if (status != NULL) {
        LLVMDisposeModule(g.module);
        return status;
    }
    MLCC_TRY(emit_link(e, g.module, name));
    e->prepare_bodies[index] = LLVMGetNamedFunction(e->module, name);
    LLVMSetLinkage(e->prepare_bodies[index], LLVMInternalLinkage);
    return NULL;
}

mlcc_status *emit_prepare(emit *e, int32_t index) {
    LLVMBuilderRef b = e->builder;
    const cpu_prepare_share *share = &e->prepare_shares[index];
    if (share->owner == index) MLCC_TRY(emit_prepare_body(e, index));
    LLVMTypeRef params[N_PREPARE_PARAMS];
    prepare_params(e, params);
    const char *name =
        mlcc_arena_printf(e->keep, "prepare.%d.%s", index, e->artifact->prepares[index].layout);
    LLVMValueRef function = LLVMAddFunction(
        e->module, name, emit_function_type(e->void_type, params, N_PREPARE_PARAMS));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(e->context, function, "entry"));
    LLVMValueRef *args =
        MLCC_NEW_ARRAY(e->keep, LLVMValueRef, (size_t)share->n_extents + N_PREPARE_PARAMS);
    unsigned n = 0;
    for (; n < N_PREPARE_PARAMS; n++) args[n] = LLVMGetParam(function, n);
    for (int32_t i = 0; i < share->n_extents; i++)
        args[n++] = emit_extent_count(e, &share->extents[i]);
    LLVMValueRef body = e->prepare_bodies[share->owner];
    LLVMBuildCall2(b, LLVMGlobalGetValueType(body), body, args, n, "");
    LLVMBuildRetVoid(b);
    e->prepares[index] = function;
    return NULL;
}
