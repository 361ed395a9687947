// Element-wise ops as LLVM IR. An op computes in float32; its result is rounded to its dtype when another op reads it or it is stored, as
// ir/eval does, so that fusing changes nothing. Everything is select and arithmetic: the loops it lands in can become vector code.
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/cpu/features.h"

#include <string.h>

// ---- small builders -----------------------------------------------------------------------------------

// A function of portable/math.c.
static LLVMValueRef call_math(
    emit_group *g, const char *name, LLVMTypeRef result, LLVMValueRef *args, unsigned n_args) {
    LLVMTypeRef types[4];
    for (unsigned i = 0; i < n_args; i++) types[i] = LLVMTypeOf(args[i]);
    LLVMTypeRef type = emit_function_type(result, types, n_args);
    LLVMValueRef function = LLVMGetNamedFunction(g->module, name);
    if (function == NULL) function = LLVMAddFunction(g->module, name, type);
    return LLVMBuildCall2(g->e->builder, type, function, args, n_args, "");
}

// Products and sums may be contracted to fused multiply-add, which rounds once less.
static LLVMValueRef contract(LLVMValueRef value) {
    if (LLVMIsAInstruction(value) != NULL && LLVMCanValueUseFastMathFlags(value)) {
        LLVMSetFastMathFlags(value, LLVMFastMathAllowContract);
    }
    return value;
}

static LLVMValueRef multiply(emit_group *g, LLVMValueRef a, LLVMValueRef b) {
    return contract(LLVMBuildFMul(g->e->builder, a, b, ""));
}

static LLVMValueRef add(emit_group *g, LLVMValueRef a, LLVMValueRef b) {
    return contract(LLVMBuildFAdd(g->e->builder, a, b, ""));
}

static LLVMValueRef f32_const(emit_group *g, double value) {
    return LLVMConstReal(g->e->f32, (double)(float)value);
}

// ---- memory and number formats ------------------------------------------------------------------------

static bool has_f16(const emit_group *g) {
    const codegen_cpu *cpu = g->e->options->cpu;
    return !codegen_cpu_is_x86(cpu) || codegen_cpu_has(cpu, "f16c");
}

static LLVMTypeRef element_type(emit_group *g, ir_dtype dtype) {
    emit *e = g->e;
    switch (dtype) {
    case IR_F32: return e->f32;
    case IR_F16: return has_f16(g) ? e->f16 : e->i16;
    case IR_BF16: return e->i16;
    case IR_I32:
    case IR_U32: return e->i32;
    case IR_I8:
    case IR_U8: return e->i8;
    default: return NULL;
    }
}

static LLVMValueRef to_f32(emit_group *g, ir_dtype dtype, LLVMValueRef value) {
    emit *e = g->e;
    switch (dtype) {
    case IR_F16:
        if (has_f16(g)) return LLVMBuildFPExt(e->builder, value, e->f32, "");
        return call_math(g, "kernel_f16_to_f32", e->f32, &value, 1);
    case IR_BF16: return call_math(g, "kernel_bf16_to_f32", e->f32, &value, 1);
    case IR_I32:
    case IR_I8: return LLVMBuildSIToFP(e->builder, value, e->f32, "");
    case IR_U32:
    case IR_U8: return LLVMBuildUIToFP(e->builder, value, e->f32, "");
    default: return value;
    }
}

static LLVMValueRef from_f32(emit_group *g, ir_dtype dtype, LLVMValueRef value) {
    emit *e = g->e;
    switch (dtype) {
    case IR_F16:
        if (has_f16(g)) return LLVMBuildFPTrunc(e->builder, value, e->f16, "");
        return call_math(g, "kernel_f32_to_f16", e->i16, &value, 1);
    case IR_BF16: return call_math(g, "kernel_f32_to_bf16", e->i16, &value, 1);
    default: return value;
    }
}

static bool is_float(ir_dtype dtype) {
    return ir_dtype_get(dtype)->kind == IR_KIND_FLOAT;
}

// Address of an element: rank 2 is [row, column], rank 1 a row vector that every row sees.
static LLVMValueRef element_address(
    emit_group *g, const ir_type *type, LLVMValueRef memory, LLVMValueRef row,
    LLVMValueRef column) {
    emit *e = g->e;
    LLVMValueRef index = column;
    if (type->rank == 2) {
        LLVMValueRef start = LLVMBuildNSWMul(e->builder, row, emit_dim(g, type->dims[1]), "");
        index = LLVMBuildNSWAdd(e->builder, start, column, "");
    }
    return LLVMBuildInBoundsGEP2(e->builder, element_type(g, type->dtype), memory, &index, 1, "");
}

static mlcc_status *type_error(const emit_group *g, const ir_type *type, const char *verb) {
    mlcc_str text = {0};
    mlcc_str_printf(&text, "%s of rank %d", ir_dtype_get(type->dtype)->text, type->rank);
    mlcc_status *status = MLCC_ERROR(
        INTERNAL, "kernel '%s' %s elements of a tensor %s, which it can only take as a pointer",
        g->kernel, verb, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

mlcc_status *emit_store(
    emit_group *g, const ir_type *type, LLVMValueRef memory, LLVMValueRef row, LLVMValueRef column,
    LLVMValueRef value) {
    if (!is_float(type->dtype) || type->rank < 1 || type->rank > 2) {
        return type_error(g, type, "stores");
    }
    LLVMValueRef address = element_address(g, type, memory, row, column);
    LLVMBuildStore(g->e->builder, from_f32(g, type->dtype, value), address);
    return NULL;
}

static LLVMValueRef load_input(
    emit_group *g, int32_t input, const ir_type *type, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    LLVMTypeRef element = element_type(g, type->dtype);
    if (element == NULL || type->rank < 1 || type->rank > 2) {
        *status = type_error(g, type, "loads");
        return NULL;
    }
    LLVMValueRef memory = emit_env_load(g, emit_env_input(g, input), g->e->pointer);
    LLVMValueRef address = element_address(g, type, memory, row, column);
    return to_f32(g, type->dtype, LLVMBuildLoad2(g->e->builder, element, address, ""));
}

// ---- ops ----------------------------------------------------------------------------------------------

// Where one column of a rotated tensor finds its partner and its angle.
typedef struct rope_place {
    LLVMValueRef partner; // column of the other half of the pair
    LLVMValueRef angle;   // column of the cosine in the table; the sine lies half a table further
    LLVMValueRef first;   // i1: this column is the pair's first
    LLVMValueRef rotated; // i1: the column takes part; NULL: all do
} rope_place;

static rope_place place_rope(
    emit_group *g, LLVMValueRef column, int64_t head_dim, int64_t half, bool interleaved) {
    emit *e = g->e;
    LLVMBuilderRef b = e->builder;
    rope_place place = {0};
    LLVMValueRef inside = LLVMBuildURem(b, column, emit_i64(e, head_dim), "");
    if (interleaved) {
        LLVMValueRef odd = LLVMBuildAnd(b, inside, emit_i64(e, 1), "");
        place.first = LLVMBuildICmp(b, LLVMIntEQ, odd, emit_i64(e, 0), "");
        LLVMValueRef next = LLVMBuildNSWAdd(b, column, emit_i64(e, 1), "");
        LLVMValueRef previous = LLVMBuildNSWSub(b, column, emit_i64(e, 1), "");
        place.partner = LLVMBuildSelect(b, place.first, next, previous, "");
        place.angle = LLVMBuildLShr(b, inside, emit_i64(e, 1), "");
    } else {
        place.first = LLVMBuildICmp(b, LLVMIntULT, inside, emit_i64(e, half), "");
        LLVMValueRef later = LLVMBuildNSWAdd(b, column, emit_i64(e, half), "");
        LLVMValueRef earlier = LLVMBuildNSWSub(b, column, emit_i64(e, half), "");
        place.partner = LLVMBuildSelect(b, place.first, later, earlier, "");
        LLVMValueRef second = LLVMBuildNSWSub(b, inside, emit_i64(e, half), "");
        place.angle = LLVMBuildSelect(b, place.first, inside, second, "");
    }
    if (2 * half < head_dim) {
        place.rotated = LLVMBuildICmp(b, LLVMIntULT, inside, emit_i64(e, 2 * half), "");
        // Columns that stay as they are must not read beyond the tensor or the table.
        place.partner = LLVMBuildSelect(b, place.rotated, place.partner, column, "");
        place.angle = LLVMBuildSelect(b, place.rotated, place.angle, emit_i64(e, 0), "");
    }
    return place;
}

static LLVMValueRef emit_rope(
    emit_group *g, const ir_node *node, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    emit *e = g->e;
    LLVMBuilderRef b = e->builder;
    const ir_value *x = node->operands[0], *table = node->operands[1];
    const int64_t half = table->type.dims[1].value / 2;
    LLVMValueRef own = emit_operand(g, x, row, column, status);
    if (*status != NULL || half == 0) return own;
    rope_place place = place_rope(
        g, column, ir_attr_i64(node, "head_dim"), half, ir_attr_bool(node, "interleaved"));
    LLVMValueRef other = emit_operand(g, x, row, place.partner, status);
    if (*status != NULL) return NULL;
    LLVMValueRef cosine = emit_operand(g, table, row, place.angle, status);
    if (*status != NULL) return NULL;
    LLVMValueRef sine_column = LLVMBuildNSWAdd(b, place.angle, emit_i64(e, half), "");
    LLVMValueRef sine = emit_operand(g, table, row, sine_column, status);
    if (*status != NULL) return NULL;
    // First of the pair: x cos - y sin; second: y cos + x sin.
    LLVMValueRef negative = LLVMBuildFNeg(b, other, "");
    LLVMValueRef turned = LLVMBuildSelect(b, place.first, negative, other, "");
    LLVMValueRef value = add(g, multiply(g, own, cosine), multiply(g, turned, sine));
    return place.rotated == NULL ? value : LLVMBuildSelect(b, place.rotated, value, own, "");
}

// Column of the operand that a slice's `column` shows. Divisions are in 32 bits, of which there are vectors.
static LLVMValueRef sliced_column(emit_group *g, const ir_node *node, LLVMValueRef column) {
    emit *e = g->e;
    LLVMBuilderRef b = e->builder;
    const int64_t begin = ir_attr_i64(node, "begin"), parts = ir_attr_i64(node, "parts");
    LLVMValueRef shifted = LLVMBuildNSWAdd(b, column, emit_i64(e, begin), "");
    const int64_t all = node->operands[0]->type.dims[1].value;
    const int64_t columns = ir_attr_i64(node, "end") - begin, gap = all / parts - columns;
    if (parts == 1 || gap == 0) return shifted;
    LLVMTypeRef type = all <= INT32_MAX ? e->i32 : e->i64;
    LLVMValueRef narrow = LLVMBuildTruncOrBitCast(b, column, type, "");
    LLVMValueRef part = LLVMBuildUDiv(b, narrow, LLVMConstInt(type, (uint64_t)columns, 0), "");
    LLVMValueRef skipped = LLVMBuildMul(b, part, LLVMConstInt(type, (uint64_t)gap, 0), "");
    skipped = LLVMBuildZExtOrBitCast(b, skipped, e->i64, "");
    return LLVMBuildNSWAdd(b, shifted, skipped, "");
}

static LLVMValueRef emit_combine(
    emit_group *g, const ir_node *node, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    emit *e = g->e;
    const ir_value *y = node->operands[0], *weights = node->operands[1];
    const int64_t k = weights->type.dims[1].value, columns = y->type.dims[1].value / k;
    LLVMValueRef sum = NULL;
    for (int64_t j = 0; j < k && *status == NULL; j++) {
        LLVMValueRef place = LLVMBuildNSWAdd(e->builder, column, emit_i64(e, j * columns), "");
        LLVMValueRef part = emit_operand(g, y, row, place, status);
        if (*status != NULL) return NULL;
        LLVMValueRef weight = emit_operand(g, weights, row, emit_i64(e, j), status);
        if (*status != NULL) return NULL;
        LLVMValueRef product = multiply(g, weight, part);
        sum = sum == NULL ? product : add(g, sum, product);
    }
    return sum;
}

static LLVMValueRef emit_op(
    emit_group *g, const ir_node *node, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    emit *e = g->e;
    if (node->op == IR_OP_ROPE) return emit_rope(g, node, row, column, status);
    if (node->op == IR_OP_SLICE) {
        return emit_operand(g, node->operands[0], row, sliced_column(g, node, column), status);
    }
    if (node->op == IR_OP_COMBINE_EXPERTS) return emit_combine(g, node, row, column, status);
    LLVMValueRef x[3] = {NULL, NULL, NULL};
    for (int32_t i = 0; i < node->n_operands && i < 2; i++) {
        x[i] = emit_operand(g, node->operands[i], row, column, status);
        if (*status != NULL) return NULL;
    }
    switch (node->op) {
    case IR_OP_ADD: return add(g, x[0], x[1]);
    case IR_OP_MUL: return multiply(g, x[0], x[1]);
    case IR_OP_SCALE: return multiply(g, x[0], f32_const(g, ir_attr_f64(node, "factor")));
    case IR_OP_SILU: return call_math(g, "kernel_silu", e->f32, x, 1);
    case IR_OP_GELU: return call_math(g, "kernel_gelu", e->f32, x, 1);
    case IR_OP_GELU_TANH: return call_math(g, "kernel_gelu_tanh", e->f32, x, 1);
    case IR_OP_RELU: return call_math(g, "kernel_relu", e->f32, x, 1);
    case IR_OP_SIGMOID: return call_math(g, "kernel_sigmoid", e->f32, x, 1);
    case IR_OP_SOFTCAP:
        x[1] = f32_const(g, ir_attr_f64(node, "cap"));
        return call_math(g, "kernel_softcap", e->f32, x, 2);
    case IR_OP_CLAMP:
        x[1] = f32_const(g, ir_attr_f64(node, "min"));
        x[2] = f32_const(g, ir_attr_f64(node, "max"));
        return call_math(g, "kernel_clamp", e->f32, x, 3);
    case IR_OP_CAST: return x[0]; // whoever reads or stores the result rounds it
    default: break;
    }
    *status = MLCC_ERROR(
        INTERNAL, "element-wise op '%s' has no expression in codegen (group '%s')",
        ir_op_get(node->op)->text, g->instance->group->name);
    return NULL;
}

// ---- elements -----------------------------------------------------------------------------------------

static int32_t find_input(const emit_group *g, const ir_value *value) {
    for (int32_t i = 0; i < g->instance->n_inputs; i++) {
        if (g->instance->inputs[i] == value) return i;
    }
    return -1;
}

static LLVMValueRef compute(
    emit_group *g, const ir_value *value, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    int32_t input = find_input(g, value);
    if (input >= 0) return load_input(g, input, &value->type, row, column, status);
    if (value->kind == IR_VALUE_RESULT && (ir_op_get(value->def->op)->flags & IR_ELEMENTWISE)) {
        return emit_op(g, value->def, row, column, status);
    }
    *status = MLCC_ERROR(
        INTERNAL,
        "group '%s' needs an element of its anchor's result that kernel '%s' has not computed yet",
        g->instance->group->name, g->kernel);
    return NULL;
}

LLVMValueRef emit_expression(
    emit_group *g, const ir_value *value, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    if (*status != NULL) return NULL;
    if (value == g->pushed && row == g->pushed_row && column == g->pushed_column) {
        return g->pushed_value;
    }
    // A value that is read several times is computed once; without this a chain of squares would double at every link.
    for (size_t i = 0; i < g->n_memo; i++) {
        const emit_memo *memo = &g->memo[i];
        if (memo->value == value && memo->row == row && memo->column == column) {
            return memo->result;
        }
    }
    LLVMValueRef result = compute(g, value, row, column, status);
    if (*status != NULL) return NULL;
    MLCC_ARENA_GROW(g->e->keep, g->memo, g->n_memo, g->memo_capacity);
    g->memo[g->n_memo++] =
        (emit_memo){.value = value, .row = row, .column = column, .result = result};
    return result;
}

LLVMValueRef emit_operand(
    emit_group *g, const ir_value *value, LLVMValueRef row, LLVMValueRef column,
    mlcc_status **status) {
    LLVMValueRef element = emit_expression(g, value, row, column, status);
    // What was loaded is exact.
    if (*status != NULL || value->kind != IR_VALUE_RESULT) return element;
    return to_f32(g, value->type.dtype, from_f32(g, value->type.dtype, element));
}
