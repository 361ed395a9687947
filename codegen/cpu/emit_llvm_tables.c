// The structures of runtime/abi.h as constants. Types here follow the C declarations field by field; emit_tables compares the sizes.
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/object.h"
#include "runtime/abi.h"

#include <string.h>

typedef struct tables {
    emit *e;
} tables;

// ---- small constants ----------------------------------------------------------------------------------

static LLVMValueRef record(const tables *t, LLVMValueRef *fields, unsigned n_fields) {
    return LLVMConstStructInContext(t->e->context, fields, n_fields, 0);
}

static LLVMValueRef null_pointer(const tables *t) {
    return LLVMConstPointerNull(t->e->pointer);
}

static LLVMValueRef text(const tables *t, const char *value) {
    LLVMValueRef bytes = LLVMConstStringInContext(t->e->context, value, (unsigned)strlen(value), 0);
    return emit_constant(t->e, bytes, 1);
}

// A constant array of equal records; NULL pointer when empty.
static LLVMValueRef array(const tables *t, LLVMValueRef *records, size_t n_records) {
    if (n_records == 0) return null_pointer(t);
    LLVMValueRef all = LLVMConstArray(LLVMTypeOf(records[0]), records, (unsigned)n_records);
    return emit_constant(t->e, all, 16);
}

static LLVMValueRef hash_bytes(const tables *t, mlcc_hash128 hash) {
    char bytes[16];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)(hash.high >> (56 - 8 * i) & 0xffu);
        bytes[8 + i] = (char)(hash.low >> (56 - 8 * i) & 0xffu);
    }
    return LLVMConstStringInContext(t->e->context, bytes, sizeof bytes, 1);
}

static mlcc_status *abi_dtype(ir_dtype dtype, int64_t *out) {
    switch (dtype) {
    case IR_F32: *out = MLCC_ABI_F32; return NULL;
    case IR_F16: *out = MLCC_ABI_F16; return NULL;
    case IR_BF16: *out = MLCC_ABI_BF16; return NULL;
    case IR_I32: *out = MLCC_ABI_I32; return NULL;
    case IR_U32: *out = MLCC_ABI_U32; return NULL;
    case IR_I8: *out = MLCC_ABI_I8; return NULL;
    case IR_U8: *out = MLCC_ABI_U8; return NULL;
    case IR_F8E4M3: *out = MLCC_ABI_F8E4M3; return NULL;
    case IR_F8E5M2: *out = MLCC_ABI_F8E5M2; return NULL;
    default: break;
    }
    return MLCC_ERROR(INTERNAL, "dtype %s has no place in the ABI", ir_dtype_get(dtype)->text);
}

// ---- tables -------------------------------------------------------------------------------------------

static LLVMValueRef symbols_table(const tables *t) {
    const ir_module *module = t->e->artifact->module;
    LLVMValueRef *records = MLCC_NEW_ARRAY(t->e->keep, LLVMValueRef, module->n_symbols + 1);
    for (size_t i = 0; i < module->n_symbols; i++) {
        const ir_symbol *symbol = module->symbols[i];
        // The cache's extents belong to the caller: no planned memory depends on them (runtime/abi.h).
        bool is_free =
            strcmp(symbol->name, "n_pages") == 0 || strcmp(symbol->name, "n_page_slots") == 0;
        LLVMValueRef fields[] = {
            text(t, symbol->name), emit_i64(t->e, is_free ? 0 : symbol->bound)};
        records[i] = record(t, fields, 2);
    }
    return array(t, records, module->n_symbols);
}

static mlcc_status *piece_record(
    const tables *t, const char *name, const quant_piece *piece, LLVMValueRef *out) {
    emit *e = t->e;
    int64_t dtype = 0;
    MLCC_TRY(abi_dtype(piece->dtype, &dtype));
    LLVMValueRef dims[MLCC_ABI_MAX_RANK];
    for (int32_t i = 0; i < MLCC_ABI_MAX_RANK; i++) {
        dims[i] = emit_i64(e, i < piece->rank ? piece->dims[i] : 0);
    }
    LLVMValueRef fields[] = {
        text(t, name), emit_i32(e, dtype), emit_i32(e, piece->rank),
        LLVMConstArray(e->i64, dims, MLCC_ABI_MAX_RANK), emit_i64(e, (int64_t)piece->size_bytes)};
    *out = record(t, fields, 5);
    return NULL;
}

static mlcc_status *param_record(const tables *t, const codegen_param *param, LLVMValueRef *out) {
    emit *e = t->e;
    LLVMValueRef pieces[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < param->n_pieces; i++) {
        MLCC_TRY(piece_record(t, param->piece_names[i], &param->pieces[i], &pieces[i]));
    }
    const ir_value *value = &param->param->value;
    LLVMValueRef fields[] = {
        text(t, value->name),
        text(t, ir_dtype_get(value->type.dtype)->text),
        text(t, param->param->layout),
        emit_i32(e, param->n_pieces),
        emit_i32(e, 0),
        array(t, pieces, (size_t)param->n_pieces),
        param->prepare >= 0 ? e->prepares[param->prepare] : null_pointer(t),
        emit_i64(e, param->n_prepare_items),
        emit_i64(e, param->prepared_bytes)};
    *out = record(t, fields, 9);
    return NULL;
}

static mlcc_status *params_table(const tables *t, LLVMValueRef *out) {
    const codegen_artifact *artifact = t->e->artifact;
    size_t n_params = (size_t)artifact->n_params;
    LLVMValueRef *records = MLCC_NEW_ARRAY(t->e->keep, LLVMValueRef, n_params + 1);
    for (size_t i = 0; i < n_params; i++) {
        MLCC_TRY_NOTE(
            param_record(t, &artifact->params[i], &records[i]), "describing param '%s'",
            artifact->params[i].param->value.name);
    }
    *out = array(t, records, n_params);
    return NULL;
}

static mlcc_status *tensor_record(
    const tables *t, const char *name, const ir_type *type, LLVMValueRef *out) {
    emit *e = t->e;
    int64_t dtype = 0;
    MLCC_TRY(abi_dtype(type->dtype, &dtype));
    LLVMValueRef dims[MLCC_ABI_MAX_RANK], symbols[MLCC_ABI_MAX_RANK];
    for (int32_t i = 0; i < MLCC_ABI_MAX_RANK; i++) {
        const ir_symbol *symbol = i < type->rank ? type->dims[i].symbol : NULL;
        int64_t extent = i < type->rank ? type->dims[i].value : 0;
        dims[i] = emit_i64(e, symbol != NULL ? -1 : extent);
        symbols[i] = emit_i32(e, symbol != NULL ? symbol->index : -1);
    }
    LLVMValueRef fields[] = {
        text(t, name), emit_i32(e, dtype), emit_i32(e, type->rank),
        LLVMConstArray(e->i64, dims, MLCC_ABI_MAX_RANK),
        LLVMConstArray(e->i32, symbols, MLCC_ABI_MAX_RANK)};
    *out = record(t, fields, 5);
    return NULL;
}

static mlcc_status *function_record(const tables *t, int32_t index, LLVMValueRef *out) {
    emit *e = t->e;
    const codegen_function *f = &e->artifact->functions[index];
    const ir_function *function = f->function;
    LLVMValueRef *args = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, (size_t)function->n_args + 1);
    for (int32_t i = 0; i < function->n_args; i++) {
        const ir_value *arg = function->args[i];
        MLCC_TRY_NOTE(
            tensor_record(t, arg->name, &arg->type, &args[i]), "describing argument '%s'",
            arg->name);
    }
    LLVMValueRef *results = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, (size_t)f->n_results + 1);
    for (int32_t i = 0; i < f->n_results; i++) {
        const ir_value *value = function->returns[f->results[i]];
        const char *name =
            value->name != NULL ? value->name : mlcc_arena_printf(e->keep, "result.%d", i);
        MLCC_TRY_NOTE(tensor_record(t, name, &value->type, &results[i]), "describing result %d", i);
    }
    LLVMValueRef fields[] = {
        text(t, function->name),
        e->functions[index] != NULL ? e->functions[index] : null_pointer(t),
        array(t, args, (size_t)function->n_args),
        array(t, results, (size_t)f->n_results),
        emit_i32(e, function->n_args),
        emit_i32(e, f->n_results),
        emit_i64(e, codegen_workspace_bytes(f)),
        emit_i64(e, f->scratch_bytes),
        emit_i32(e, e->n_counters[index]), // those of launches and of second parts
        emit_i32(e, 0)};
    *out = record(t, fields, 10);
    return NULL;
}

static mlcc_status *functions_table(const tables *t, LLVMValueRef *out) {
    const codegen_artifact *artifact = t->e->artifact;
    size_t n = (size_t)artifact->n_functions;
    LLVMValueRef *records = MLCC_NEW_ARRAY(t->e->keep, LLVMValueRef, n + 1);
    for (size_t i = 0; i < n; i++) {
        MLCC_TRY_NOTE(
            function_record(t, (int32_t)i, &records[i]), "describing function '%s'",
            artifact->functions[i].function->name);
    }
    *out = array(t, records, n);
    return NULL;
}

// const mlcc_abi_model *mlcc_model_query(void), and mlcc_model_levels
static void emit_query(emit *e, const char *name, LLVMValueRef answer) {
    LLVMValueRef query = LLVMAddFunction(e->module, name, emit_function_type(e->pointer, NULL, 0));
    LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, query, "entry"));
    LLVMBuildRet(e->builder, answer);
}

// ---- levels -------------------------------------------------------------------------------------------

static const char *level_symbol(const emit *e, size_t level) {
    return mlcc_arena_printf(e->keep, CODEGEN_LEVEL_SYMBOL "%zu", level);
}

// The model table of another level, which lies in that level's object.
static LLVMValueRef declare_level(const tables *t, size_t level, LLVMTypeRef type) {
    LLVMValueRef table = LLVMAddGlobal(t->e->module, type, level_symbol(t->e, level));
    LLVMSetGlobalConstant(table, 1);
    LLVMSetVisibility(table, LLVMHiddenVisibility);
    return table;
}

static void emit_levels(const tables *t, LLVMValueRef model) {
    emit *e = t->e;
    const size_t n_levels = e->options->n_levels;
    const char *name = level_symbol(e, e->options->level);
    LLVMSetValueName2(model, name, strlen(name));
    LLVMSetLinkage(model, LLVMExternalLinkage);
    LLVMSetVisibility(model, LLVMHiddenVisibility);
    if (e->options->level > 0) return;
    LLVMValueRef *list = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n_levels + 1);
    list[0] = model;
    for (size_t i = 1; i < n_levels; i++)
        list[i] = declare_level(t, i, LLVMGlobalGetValueType(model));
    list[n_levels] = null_pointer(t);
    emit_query(e, MLCC_ABI_LEVELS, array(t, list, n_levels + 1));
}

mlcc_status *emit_tables(emit *e) {
    const codegen_artifact *artifact = e->artifact;
    tables t = {.e = e};
    LLVMValueRef params = NULL, functions = NULL, cuda = NULL;
    MLCC_TRY(params_table(&t, &params));
    MLCC_TRY(functions_table(&t, &functions));
    MLCC_TRY(emit_cuda_tables(e, &cuda));
    const char *version = e->options->layout_version;
    LLVMValueRef fields[] = {
        emit_i32(e, MLCC_ABI_MAGIC),
        emit_i32(e, MLCC_ABI_VERSION),
        emit_i64(e, (int64_t)sizeof(mlcc_abi_model)),
        text(&t, e->options->cpu->name),
        text(&t, e->options->cpu->features),
        text(&t, e->options->metadata_json),
        hash_bytes(&t, codegen_param_fingerprint(artifact->module)),
        hash_bytes(&t, codegen_layout_fingerprint(artifact->module, version)),
        symbols_table(&t),
        params,
        functions,
        emit_i32(e, (int64_t)artifact->module->n_symbols),
        emit_i32(e, artifact->n_params),
        emit_i32(e, artifact->n_functions),
        emit_i32(e, 0),
        cuda};
    LLVMValueRef model = record(&t, fields, sizeof fields / sizeof fields[0]);
    if (LLVMABISizeOfType(e->data, LLVMTypeOf(model)) != sizeof(mlcc_abi_model)) {
        return MLCC_ERROR(INTERNAL, "emitted model table and mlcc_abi_model differ in size");
    }
    LLVMValueRef table = emit_constant(e, model, 64);
    if (e->options->n_levels > 1) emit_levels(&t, table);
    if (e->options->level == 0) emit_query(e, MLCC_ABI_QUERY, table);
    return NULL;
}
