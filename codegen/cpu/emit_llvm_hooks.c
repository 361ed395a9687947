// The hooks of kernels/kernel.h: for every function that a kernel's bitcode declares and does not define, the body that this group gives it.
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/cpu/kernels/kernel.h"
#include "ir/walk.h"

#include <stdio.h>
#include <string.h>

// clang-format off
#define DTYPE(id, text, kind, bits, group, scale, meaning) \
    _Static_assert((int)KERNEL_##id == (int)IR_##id, "kernel_dtype and ir_dtype differ at " #id);
#include "ir/dtypes.def"
// clang-format on
_Static_assert((int)KERNEL_N_DTYPES == (int)IR_N_DTYPES, "kernel_dtype lacks a row of dtypes.def");

// A declared hook: its function and the numbers in its name.
typedef struct hook {
    const char *name;
    LLVMValueRef function;
    int32_t index; // operand or result
    int32_t axis;
    const char *word; // name of the attribute
} hook;

static mlcc_status *hook_error(const emit_group *g, const hook *h, const char *why) {
    return MLCC_ERROR(
        INTERNAL, "kernel '%s' uses hook '%s', which %s '%s' cannot provide: %s", g->kernel,
        h->name, g->instance != NULL ? "group" : "layout",
        g->instance != NULL ? g->instance->group->name : g->kernel, why);
}

// ---- what the numbers mean ----------------------------------------------------------------------------

// Operand `index` of the anchor; NULL when the optional operand is absent. For a group without anchor operand 0 is the value to store.
static mlcc_status *operand_of(const emit_group *g, const hook *h, const ir_value **out) {
    *out = NULL;
    const ir_node *anchor = g->anchor;
    if (anchor == NULL) {
        if (h->index != 0) return hook_error(g, h, "a group without anchor has only operand 0");
        *out = g->instance->group->returns[0];
        return NULL;
    }
    if (h->index >= ir_op_get(anchor->op)->max_operands) {
        return hook_error(g, h, "the op has no such operand");
    }
    if (h->index < anchor->n_operands) *out = anchor->operands[h->index];
    return NULL;
}

static mlcc_status *result_of(const emit_group *g, const hook *h, const ir_value **out) {
    const ir_node *anchor = g->anchor;
    if (anchor == NULL) {
        if (h->index != 0) return hook_error(g, h, "a group without anchor has only result 0");
        *out = g->instance->group->returns[0];
        return NULL;
    }
    if (h->index >= anchor->n_results) return hook_error(g, h, "the op has no such result");
    *out = anchor->results[h->index];
    return NULL;
}

static int32_t input_of(const emit_group *g, const ir_value *value) {
    for (int32_t i = 0; i < g->instance->n_inputs; i++) {
        if (g->instance->inputs[i] == value) return i;
    }
    return -1;
}

static int32_t return_of(const emit_group *g, const ir_value *value) {
    for (int32_t i = 0; i < g->instance->group->n_returns; i++) {
        if (g->instance->group->returns[i] == value) return i;
    }
    return -1;
}

// ---- numbers ------------------------------------------------------------------------------------------

static mlcc_status *return_dim(emit_group *g, const hook *h, const ir_type *type) {
    emit *e = g->e;
    LLVMValueRef extent;
    // Element-wise groups see a vector as one row.
    if (g->anchor == NULL && g->prepared == NULL && type != NULL && type->rank == 1 &&
        h->axis < 2) {
        extent = h->axis == 0 ? emit_i64(e, 1) : emit_dim(g, type->dims[0]);
    } else if (type == NULL) {
        extent = emit_i64(e, 0);
    } else if (h->axis < type->rank) {
        extent = emit_dim(g, type->dims[h->axis]);
    } else {
        return hook_error(g, h, "the tensor has no such axis");
    }
    LLVMBuildRet(e->builder, extent);
    return NULL;
}

static mlcc_status *define_dim(emit_group *g, const hook *h) {
    if (g->prepared != NULL) return return_dim(g, h, g->prepared);
    const ir_value *value = NULL;
    MLCC_TRY(operand_of(g, h, &value));
    return return_dim(g, h, value != NULL ? &value->type : NULL);
}

static mlcc_status *define_result_dim(emit_group *g, const hook *h) {
    const ir_value *value = NULL;
    MLCC_TRY(result_of(g, h, &value));
    return return_dim(g, h, &value->type);
}

static mlcc_status *define_dtype(emit_group *g, const hook *h) {
    ir_dtype dtype = IR_F32;
    if (g->prepared != NULL) {
        dtype = g->prepared->dtype;
    } else {
        const ir_value *value = NULL;
        MLCC_TRY(operand_of(g, h, &value));
        if (value != NULL) dtype = value->type.dtype;
    }
    LLVMBuildRet(g->e->builder, emit_i32(g->e, (int64_t)dtype));
    return NULL;
}

static mlcc_status *define_attr(emit_group *g, const hook *h) {
    emit *e = g->e;
    for (int32_t i = 0; g->anchor != NULL && i < g->anchor->n_attrs; i++) {
        const ir_attr *attr = &g->anchor->attrs[i];
        if (strcmp(attr->name, h->word) != 0) continue;
        bool wants_f64 = LLVMGetReturnType(LLVMGlobalGetValueType(h->function)) == e->f64;
        if (attr->kind == IR_ATTR_F64 && wants_f64) {
            LLVMBuildRet(e->builder, LLVMConstReal(e->f64, attr->as.f64));
        } else if (attr->kind == IR_ATTR_I64 && !wants_f64) {
            LLVMBuildRet(e->builder, emit_i64(e, attr->as.i64));
        } else if (attr->kind == IR_ATTR_BOOL && !wants_f64) {
            LLVMBuildRet(e->builder, emit_i64(e, attr->as.boolean));
        } else {
            return hook_error(g, h, "the attribute is of another kind");
        }
        return NULL;
    }
    return hook_error(g, h, "the op has no such attribute");
}

// A constant of the group. The bitcode declares it as a function that reads no memory, and so it stays.
static mlcc_status *define_knob(emit_group *g, const hook *h) {
    const cpu_knob knob = cpu_knob_find(h->word);
    if (knob == CPU_N_KNOBS) return hook_error(g, h, "it is no row of codegen/cpu/knobs.def");
    if (!cpu_knob_belongs(knob, g->kernel))
        return hook_error(g, h, "its row of codegen/cpu/knobs.def is for other kernels");
    LLVMBuildRet(g->e->builder, emit_i64(g->e, g->knobs.values[knob]));
    return NULL;
}

// ---- memory -------------------------------------------------------------------------------------------

static mlcc_status *define_pointer(emit_group *g, const hook *h) {
    emit *e = g->e;
    const ir_value *value = NULL;
    MLCC_TRY(operand_of(g, h, &value));
    if (value == NULL) {
        LLVMBuildRet(e->builder, LLVMConstPointerNull(e->pointer));
        return NULL;
    }
    int32_t input = input_of(g, value);
    if (input < 0)
        return hook_error(g, h, "the operand is computed by a fused prologue, it is not in memory");
    LLVMBuildRet(e->builder, emit_env_load(g, emit_env_input(g, input), e->pointer));
    return NULL;
}

static mlcc_status *define_result_pointer(emit_group *g, const hook *h) {
    emit *e = g->e;
    const ir_value *value = NULL;
    MLCC_TRY(result_of(g, h, &value));
    int32_t index = return_of(g, value);
    if (index < 0)
        return hook_error(g, h, "the result goes through a fused epilogue, it is not in memory");
    g->stored[index] = true;
    LLVMBuildRet(e->builder, emit_env_load(g, emit_env_result(g, index), e->pointer));
    return NULL;
}

static mlcc_status *define_scratch(emit_group *g, const hook *h) {
    if (!g->has_scratch) return hook_error(g, h, "its row of the kernel table asks for no scratch");
    LLVMBuildRet(g->e->builder, emit_env_load(g, emit_env_scratch(g), g->e->pointer));
    return NULL;
}

static mlcc_status *define_shared(emit_group *g, const hook *h) {
    (void)h;
    LLVMBuildRet(
        g->e->builder, g->shared_bytes > 0 ? emit_env_load(g, emit_env_shared(g), g->e->pointer)
                                           : LLVMConstPointerNull(g->e->pointer));
    return NULL;
}

static mlcc_status *define_shared_bytes(emit_group *g, const hook *h) {
    (void)h;
    LLVMBuildRet(g->e->builder, emit_i64(g->e, g->shared_bytes));
    return NULL;
}

// ---- elements -----------------------------------------------------------------------------------------

static mlcc_status *define_load(emit_group *g, const hook *h) {
    emit *e = g->e;
    const ir_value *value = NULL;
    MLCC_TRY(operand_of(g, h, &value));
    if (value == NULL) {
        LLVMBuildRet(e->builder, LLVMConstReal(e->f32, 0.0));
        return NULL;
    }
    mlcc_status *status = NULL;
    LLVMValueRef element =
        emit_operand(g, value, LLVMGetParam(h->function, 1), LLVMGetParam(h->function, 2), &status);
    if (status != NULL) return status;
    LLVMBuildRet(e->builder, element);
    return NULL;
}

// Writes the returns that `wanted` picks; the element (row, column) of `pushed` is the hook's last parameter.
static mlcc_status *store_returns(
    emit_group *g, const hook *h, const ir_value *pushed, const bool *wanted) {
    const ir_function *group = g->instance->group;
    g->pushed = pushed;
    g->pushed_row = LLVMGetParam(h->function, 1);
    g->pushed_column = LLVMGetParam(h->function, 2);
    g->pushed_value = LLVMGetParam(h->function, 3);
    for (int32_t i = 0; i < group->n_returns; i++) {
        if (!wanted[i]) continue;
        const ir_value *value = group->returns[i];
        if (!ir_type_same_shape(&value->type, &pushed->type)) {
            return hook_error(
                g, h,
                "a value that the group returns has another shape than the one the kernel hands "
                "over");
        }
        mlcc_status *status = NULL;
        LLVMValueRef element = emit_expression(g, value, g->pushed_row, g->pushed_column, &status);
        if (status != NULL) return status;
        LLVMValueRef memory = emit_env_load(g, emit_env_result(g, i), g->e->pointer);
        MLCC_TRY(emit_store(g, &value->type, memory, g->pushed_row, g->pushed_column, element));
        g->stored[i] = true;
    }
    g->pushed = NULL;
    LLVMBuildRetVoid(g->e->builder);
    return NULL;
}

// What follows from result `index`, in an element-wise group everything.
static mlcc_status *define_store(emit_group *g, const hook *h) {
    const ir_function *group = g->instance->group;
    const ir_value *pushed = NULL;
    MLCC_TRY(result_of(g, h, &pushed));
    bool *wanted = MLCC_NEW_ARRAY(g->e->keep, bool, (size_t)group->n_returns + 1);
    for (int32_t i = 0; i < group->n_returns; i++) {
        wanted[i] = g->instance->in_place[i] < 0 &&
                    (g->anchor == NULL || ir_value_depends(group, group->returns[i], pushed));
    }
    return store_returns(g, h, pushed, wanted);
}

// What leads to operand `index`, as far as the group returns it and no other operand has kept it.
static mlcc_status *define_keep(emit_group *g, const hook *h) {
    const ir_function *group = g->instance->group;
    const ir_value *pushed = NULL;
    MLCC_TRY(operand_of(g, h, &pushed));
    bool *wanted = MLCC_NEW_ARRAY(g->e->keep, bool, (size_t)group->n_returns + 1);
    for (int32_t i = 0; g->anchor != NULL && pushed != NULL && i < group->n_returns; i++) {
        const ir_value *value = group->returns[i];
        wanted[i] = g->instance->in_place[i] < 0 && !g->stored[i] &&
                    !ir_value_depends(group, value, g->anchor->results[0]) &&
                    ir_value_depends(group, pushed, value) &&
                    ir_type_same_shape(&value->type, &pushed->type);
    }
    if (pushed == NULL) {
        LLVMBuildRetVoid(g->e->builder);
        return NULL;
    }
    return store_returns(g, h, pushed, wanted);
}

// ---- the table ----------------------------------------------------------------------------------------

typedef struct hook_row {
    const char *prefix;
    int n_numbers;   // after the prefix, joined by '_'
    bool in_prepare; // also in prepare functions, where the param is operand 0
    mlcc_status *(*define)(emit_group *g, const hook *h);
} hook_row;

static const hook_row rows[] = {
    {"kernel_dim_", 2, true, define_dim},
    {"kernel_result_dim_", 2, false, define_result_dim},
    {"kernel_dtype_", 1, true, define_dtype},
    {"kernel_pointer_", 1, false, define_pointer},
    {"kernel_result_pointer_", 1, false, define_result_pointer},
    {"kernel_load_", 1, false, define_load},
    {"kernel_keep_", 1, false, define_keep},
    {"kernel_store_", 1, false, define_store},
    {"kernel_scratch", 0, false, define_scratch},
    {"kernel_shared", 0, false, define_shared},
    {"kernel_shared_bytes", 0, false, define_shared_bytes},
    {"kernel_attr_", -1, false, define_attr}, // followed by a word
    {"kernel_knob_", -1, false, define_knob},
};

// Whether `name` is the row's prefix followed by what the row wants.
static bool parse_hook(const hook_row *row, const char *name, hook *h) {
    size_t length = strlen(row->prefix);
    if (strncmp(name, row->prefix, length) != 0) return false;
    const char *rest = name + length;
    char excess = 0;
    switch (row->n_numbers) {
    case 0: return *rest == '\0';
    case 1: return sscanf(rest, "%2d%c", &h->index, &excess) == 1 && h->index >= 0;
    case 2:
        return sscanf(rest, "%2d_%2d%c", &h->index, &h->axis, &excess) == 2 && h->index >= 0 &&
               h->axis >= 0;
    default: h->word = rest; return *rest != '\0';
    }
}

static mlcc_status *define_hook(emit_group *g, LLVMValueRef function) {
    size_t length = 0;
    hook h = {.name = LLVMGetValueName2(function, &length), .function = function};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!parse_hook(&rows[i], h.name, &h)) continue;
        if (g->prepared != NULL && !rows[i].in_prepare) break;
        emit *e = g->e;
        LLVMPositionBuilderAtEnd(
            e->builder, LLVMAppendBasicBlockInContext(e->context, function, "entry"));
        g->env = LLVMCountParams(function) > 0 ? LLVMGetParam(function, 0) : NULL;
        g->pushed = NULL;
        g->n_memo = 0;
        MLCC_TRY(rows[i].define(g, &h));
        LLVMSetLinkage(function, LLVMInternalLinkage);
        emit_add_attribute(e, function, (unsigned)EMIT_FUNCTION_INDEX, "alwaysinline", 0);
        return NULL;
    }
    return hook_error(g, &h, "it is no hook of codegen/cpu/kernels/kernel.h that may stand here");
}

mlcc_status *emit_hooks(emit_group *g) {
    const ir_function *group = g->instance != NULL ? g->instance->group : NULL;
    for (int32_t i = 0; group != NULL && i < group->n_returns; i++) {
        g->stored[i] = g->instance->in_place[i] >= 0;
    }
    // Bodies may declare functions of math.c; those come behind and are defined in the model's module.
    LLVMValueRef last = LLVMGetLastFunction(g->module);
    for (LLVMValueRef f = LLVMGetFirstFunction(g->module); f != NULL; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f) && LLVMGetIntrinsicID(f) == 0) MLCC_TRY(define_hook(g, f));
        if (f == last) break;
    }
    for (int32_t i = 0; group != NULL && i < group->n_returns; i++) {
        if (g->stored[i]) continue;
        return MLCC_ERROR(
            INTERNAL, "kernel '%s' has no hook that stores return %d of group '%s'", g->kernel, i,
            group->name);
    }
    return NULL;
}
