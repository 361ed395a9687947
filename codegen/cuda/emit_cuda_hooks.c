// The hooks of kernels/kernel.h: functions that stand between the kernel and the group's values. Written are those that the kernel's text mentions
// and that the group can provide; a kernel that calls another one does not compile, and NVRTC names it.
#include "codegen/cuda/emit_cuda_inside.h"
#include "ir/walk.h"

#include <ctype.h>
#include <string.h>

// ---- what the kernel mentions -------------------------------------------------------------------------

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static bool mentions(const char *text, const char *name) {
    const size_t length = strlen(name);
    for (const char *p = strstr(text, name); p != NULL; p = strstr(p + 1, name)) {
        if ((p == text || !is_word(p[-1])) && !is_word(p[length])) return true;
    }
    return false;
}

static bool mentions_hook(const emit_cuda *e, const char *text, const char *prefix, int32_t index) {
    return mentions(text, mlcc_arena_printf(e->keep, "kernel_%s_%d", prefix, index));
}

// ---- what the numbers mean ----------------------------------------------------------------------------

static int32_t n_operands(const emit_cuda *e) {
    return e->anchor != NULL ? ir_op_get(e->anchor->op)->max_operands : 1;
}

static int32_t n_results(const emit_cuda *e) {
    return e->anchor != NULL ? e->anchor->n_results : 1;
}

// NULL when the optional operand is absent. For a group without anchor operand 0 is the value to store.
static const ir_value *operand_of(const emit_cuda *e, int32_t index) {
    if (e->anchor == NULL) return e->group->returns[0];
    return index < e->anchor->n_operands ? e->anchor->operands[index] : NULL;
}

static const ir_value *result_of(const emit_cuda *e, int32_t index) {
    return e->anchor != NULL ? e->anchor->results[index] : e->group->returns[0];
}

static int32_t return_of(const emit_cuda *e, const ir_value *value) {
    for (int32_t i = 0; i < e->group->n_returns; i++) {
        if (e->group->returns[i] == value) return i;
    }
    return -1;
}

// Whether a result goes to memory as it is, and nothing else that the group returns is computed from it.
static bool lies_in_memory(const emit_cuda *e, const ir_value *result) {
    if (return_of(e, result) < 0) return false;
    if (e->anchor == NULL) return e->group->n_returns == 1;
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        const ir_value *value = e->group->returns[r];
        if (value != result && ir_value_depends(e->group, value, result)) return false;
    }
    return true;
}

// ---- constants ----------------------------------------------------------------------------------------

// Extents as functions and, where constant, as numbers. Element-wise groups see a vector as one row.
static void emit_dims(const emit_cuda *e, const ir_type *type, const char *infix, int32_t index) {
    ir_dim dims[IR_MAX_RANK + 1];
    int32_t rank = 0;
    if (e->anchor == NULL && type->rank == 1) dims[rank++] = ir_dim_const(1);
    for (int32_t i = 0; i < type->rank; i++) dims[rank++] = type->dims[i];
    for (int32_t i = 0; i < rank; i++) {
        const char *upper = strcmp(infix, "dim") == 0 ? "DIM" : "RESULT_DIM";
        if (dims[i].symbol == NULL) {
            mlcc_str_printf(
                e->out, "#define KERNEL_%s_%d_%d %lld\n", upper, index, i,
                (long long)dims[i].value);
        }
        mlcc_str_printf(
            e->out, "DEVICE i64 kernel_%s_%d_%d(const kernel_env *env) { (void)env; return %s; }\n",
            infix, index, i, emit_cuda_dim(e, dims[i]));
    }
}

static void emit_attr(const emit_cuda *e, const ir_attr *attr) {
    if (attr->kind == IR_ATTR_TEXT) return;
    mlcc_str_printf(e->out, "#define KERNEL_ATTR_%s (", attr->name);
    switch (attr->kind) {
    case IR_ATTR_I64: mlcc_str_printf(e->out, "%lld", (long long)attr->as.i64); break;
    case IR_ATTR_BOOL: mlcc_str_printf(e->out, "%d", attr->as.boolean); break;
    default: mlcc_str_put_f64(e->out, attr->as.f64); break;
    }
    mlcc_str_puts(e->out, ")\n");
}

static void emit_constants(const emit_cuda *e) {
    for (int32_t i = 0; i < n_operands(e); i++) {
        const ir_value *value = operand_of(e, i);
        mlcc_str_printf(
            e->out,
            "#define KERNEL_HAS_%d %d\n#define KERNEL_MEMORY_%d %d\n#define KERNEL_DTYPE_%d %d\n",
            i, value != NULL, i, value != NULL && emit_cuda_input(e, value) >= 0, i,
            value != NULL ? (int)value->type.dtype : (int)IR_F32);
        if (value != NULL) emit_dims(e, &value->type, "dim", i);
    }
    for (int32_t r = 0; r < n_results(e); r++) {
        const ir_value *value = result_of(e, r);
        mlcc_str_printf(
            e->out, "#define KERNEL_RESULT_MEMORY_%d %d\n#define KERNEL_RESULT_DTYPE_%d %d\n", r,
            lies_in_memory(e, value), r, (int)value->type.dtype);
        emit_dims(e, &value->type, "result_dim", r);
    }
    for (int32_t i = 0; e->anchor != NULL && i < e->anchor->n_attrs; i++) {
        emit_attr(e, &e->anchor->attrs[i]);
    }
}

// ---- memory -------------------------------------------------------------------------------------------

static void emit_pointer(const emit_cuda *e, int32_t index) {
    const ir_value *value = operand_of(e, index);
    const int32_t input = value != NULL ? emit_cuda_input(e, value) : -1;
    if (value != NULL && input < 0) return; // computed by a fused prologue
    const char *memory = value != NULL ? mlcc_arena_printf(e->keep, "env->in[%d]", input) : "0";
    mlcc_str_printf(
        e->out,
        "DEVICE const void *kernel_pointer_%d(const kernel_env *env) { (void)env; return %s; }\n",
        index, memory);
}

static void emit_result_pointer(const emit_cuda *e, int32_t index) {
    const ir_value *value = result_of(e, index);
    const int32_t returned = return_of(e, value);
    if (!lies_in_memory(e, value)) return; // goes through a fused epilogue
    mlcc_str_printf(
        e->out,
        "DEVICE void *kernel_result_pointer_%d(const kernel_env *env) { return (void *)%s; }\n",
        index, emit_cuda_return_memory(e, returned));
}

// ---- elements -----------------------------------------------------------------------------------------

static const char *const widths[] = {"", "2"}; // of one column and of two in the names of hooks
static const char *const types[] = {"float", "f32x2"};

static void begin_hook(
    emit_cuda *e, const char *result, const char *name, int32_t index, int32_t width) {
    e->n_names = 0;
    e->n_memo = 0;
    e->pushed = NULL;
    mlcc_str_printf(
        e->out, "DEVICE %s kernel_%s%s_%d(const kernel_env *env, i64 row, i64 col", result, name,
        widths[width - 1], index);
}

static mlcc_status *emit_load(emit_cuda *e, int32_t index, int32_t width) {
    const ir_value *value = operand_of(e, index);
    if (value != NULL && emit_cuda_input(e, value) >= 0 && !emit_cuda_has_elements(&value->type)) {
        return NULL; // only a pointer
    }
    begin_hook(e, types[width - 1], "load", index, width);
    mlcc_str_puts(e->out, ") {\n    (void)env, (void)row, (void)col;\n");
    if (value == NULL) {
        mlcc_str_puts(
            e->out, width == 1 ? "    return 0.0f;\n}\n"
                               : "    const f32x2 zero = {0.0f, 0.0f};\n    return zero;\n}\n");
        return NULL;
    }
    const char *name = NULL;
    MLCC_TRY(emit_cuda_operand(e, value, (cuda_place){"row", "col", width}, &name));
    mlcc_str_printf(e->out, "    return %s;\n}\n", name);
    return NULL;
}

// A keep or store hook: writes the returns that `owners` gives to it.
static mlcc_status *emit_store(
    emit_cuda *e, const char *prefix, const ir_value *pushed, int32_t index, int32_t width,
    const int32_t *owners, int32_t owner) {
    const cuda_place place = {"row", "col", width};
    begin_hook(e, "void", prefix, index, width);
    mlcc_str_printf(
        e->out, ", %s value) {\n    (void)env, (void)row, (void)col, (void)value;\n",
        types[width - 1]);
    e->pushed = pushed;
    e->pushed_place = place;
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        if (owners[r] != owner) continue;
        const ir_value *value = e->group->returns[r];
        if (!ir_type_same_shape(&value->type, &pushed->type) ||
            !emit_cuda_has_elements(&value->type)) {
            return MLCC_ERROR(
                INTERNAL,
                "kernel '%s' uses hook 'kernel_%s_%d', which group '%s' cannot provide: return %d "
                "has another shape than the value that the kernel hands over",
                e->row->name, prefix, index, e->group->name, r);
        }
        const char *name = NULL;
        MLCC_TRY(emit_cuda_expression(e, value, place, &name));
        emit_cuda_store(e, &value->type, emit_cuda_return_memory(e, r), place, name);
    }
    mlcc_str_puts(e->out, "}\n");
    e->pushed = NULL;
    return NULL;
}

// ---- who writes what ----------------------------------------------------------------------------------

enum {
    OWNER_NONE = -1,
    OWNER_KERNEL = -2,
    OWNER_STORE = 1000
}; // or an operand, whose keep hook it is

static bool is_mentioned(const emit_cuda *e, const char *text, const char *prefix, int32_t index) {
    return mentions_hook(e, text, prefix, index) ||
           mentions_hook(e, text, mlcc_arena_printf(e->keep, "%s2", prefix), index);
}

static int32_t keep_owner(const emit_cuda *e, const char *text, const ir_value *value) {
    for (int32_t i = 0; i < n_operands(e); i++) {
        const ir_value *operand = operand_of(e, i);
        if (operand != NULL && is_mentioned(e, text, "keep", i) &&
            ir_value_depends(e->group, operand, value) &&
            ir_type_same_shape(&operand->type, &value->type)) {
            return i;
        }
    }
    return OWNER_NONE;
}

static int32_t owner_of(const emit_cuda *e, const char *text, int32_t index) {
    if (e->instance->in_place[index] >= 0) return OWNER_KERNEL;
    const ir_value *value = e->group->returns[index];
    for (int32_t r = 0; r < n_results(e); r++) {
        const ir_value *result = result_of(e, r);
        const bool follows = e->anchor == NULL || ir_value_depends(e->group, value, result);
        if (follows && is_mentioned(e, text, "store", r)) return OWNER_STORE + r;
        if (value == result && lies_in_memory(e, result) &&
            mentions_hook(e, text, "result_pointer", r)) {
            return OWNER_KERNEL;
        }
        if (follows) return OWNER_NONE;
    }
    return keep_owner(e, text, value);
}

static mlcc_status *emit_elements(emit_cuda *e, const char *text, const int32_t *owners) {
    for (int32_t width = 1; width <= 2; width++) {
        const char *suffix = widths[width - 1];
        const char *load = mlcc_arena_printf(e->keep, "load%s", suffix);
        const char *keep = mlcc_arena_printf(e->keep, "keep%s", suffix);
        const char *store = mlcc_arena_printf(e->keep, "store%s", suffix);
        for (int32_t i = 0; i < n_operands(e); i++) {
            if (mentions_hook(e, text, load, i)) MLCC_TRY(emit_load(e, i, width));
            if (mentions_hook(e, text, keep, i)) {
                MLCC_TRY(emit_store(e, "keep", operand_of(e, i), i, width, owners, i));
            }
        }
        for (int32_t r = 0; r < n_results(e); r++) {
            if (!mentions_hook(e, text, store, r)) continue;
            MLCC_TRY(emit_store(e, "store", result_of(e, r), r, width, owners, OWNER_STORE + r));
        }
    }
    return NULL;
}

mlcc_status *emit_cuda_hooks(emit_cuda *e, const char *text) {
    int32_t *owners = MLCC_NEW_ARRAY(e->keep, int32_t, (size_t)e->group->n_returns + 1);
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        owners[r] = e->instance->is_chain ? OWNER_KERNEL : owner_of(e, text, r);
        if (owners[r] != OWNER_NONE) continue;
        return MLCC_ERROR(
            INTERNAL, "kernel '%s' has no hook that stores return %d of group '%s'", e->row->name,
            r, e->group->name);
    }
    emit_constants(e);
    for (int32_t i = 0; i < n_operands(e); i++) {
        if (mentions_hook(e, text, "pointer", i)) emit_pointer(e, i);
    }
    for (int32_t r = 0; r < n_results(e); r++) {
        if (mentions_hook(e, text, "result_pointer", r)) emit_result_pointer(e, r);
    }
    MLCC_TRY(emit_elements(e, text, owners));
    return e->instance->is_chain ? emit_cuda_chain(e) : NULL;
}
