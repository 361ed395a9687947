// The CUDA part of the tables: images, launches, constants (runtime/abi.h). Fields follow the C declarations; the sizes of the records are compared.
#include "codegen/cpu/emit_llvm_inside.h"
#include "codegen/cuda/cuda_grid.h"
#include "runtime/abi.h"

#include <string.h>

typedef struct cuda_tables {
    emit *e;
    const emit_llvm_cuda *cuda;
    int64_t *const_offsets; // per constant of the module
    LLVMValueRef *variants; // per instance
} cuda_tables;

// Constants lie in one block, each where 16-byte loads and copies may begin.
enum { CONST_ALIGNMENT = 256 };

static LLVMValueRef record(const cuda_tables *t, LLVMValueRef *fields, unsigned n_fields) {
    return LLVMConstStructInContext(t->e->context, fields, n_fields, 0);
}

// A constant array of equal records; NULL pointer when empty.
static LLVMValueRef array(const cuda_tables *t, LLVMValueRef *records, size_t n_records) {
    if (n_records == 0) return LLVMConstPointerNull(t->e->pointer);
    LLVMValueRef all = LLVMConstArray(LLVMTypeOf(records[0]), records, (unsigned)n_records);
    return emit_constant(t->e, all, 16);
}

static LLVMValueRef bytes(
    const cuda_tables *t, const void *data, size_t size_bytes, unsigned alignment) {
    LLVMValueRef value = LLVMConstStringInContext(t->e->context, data, (unsigned)size_bytes, 1);
    return emit_constant(t->e, value, alignment);
}

static LLVMValueRef text(const cuda_tables *t, const char *value) {
    return bytes(t, value, strlen(value) + 1, 1);
}

static mlcc_status *check_size(
    const cuda_tables *t, LLVMValueRef value, size_t size_bytes, const char *name) {
    if (LLVMABISizeOfType(t->e->data, LLVMTypeOf(value)) == size_bytes) return NULL;
    return MLCC_ERROR(INTERNAL, "emitted table and %s differ in size", name);
}

// ---- modules ------------------------------------------------------------------------------------------

static mlcc_status *image_record(const cuda_tables *t, const cuda_image *image, LLVMValueRef *out) {
    emit *e = t->e;
    if (image->size_bytes > INT32_MAX) {
        return MLCC_ERROR(UNSUPPORTED, "a compiled kernel is larger than 2 GiB");
    }
    LLVMValueRef fields[] = {
        emit_i32(e, image->arch->number),
        emit_i32(e, image->arch->is_ptx),
        emit_i32(e, image->arch->is_specific),
        emit_i32(e, 0),
        bytes(t, image->data, image->size_bytes, 64),
        emit_i64(e, (int64_t)image->size_bytes)};
    *out = record(t, fields, sizeof fields / sizeof fields[0]);
    return check_size(t, *out, sizeof(mlcc_abi_cuda_image), "mlcc_abi_cuda_image");
}

static mlcc_status *modules_table(const cuda_tables *t, LLVMValueRef *out) {
    emit *e = t->e;
    const size_t n_modules = (size_t)t->cuda->compiled.n_modules;
    LLVMValueRef *records = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n_modules + 1);
    for (size_t m = 0; m < n_modules; m++) {
        const cuda_module *module = &t->cuda->compiled.modules[m];
        const size_t n_images = module->unit.n_archs;
        LLVMValueRef *images = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n_images + 1);
        for (size_t i = 0; i < n_images; i++) {
            MLCC_TRY(image_record(t, &module->unit.images[i], &images[i]));
        }
        LLVMValueRef fields[] = {
            text(t, module->row->name), array(t, images, n_images), emit_i32(e, (int64_t)n_images),
            emit_i32(e, 0)};
        records[m] = record(t, fields, sizeof fields / sizeof fields[0]);
        MLCC_TRY(check_size(t, records[m], sizeof(mlcc_abi_cuda_module), "mlcc_abi_cuda_module"));
    }
    *out = array(t, records, n_modules);
    return NULL;
}

// ---- entries ------------------------------------------------------------------------------------------

static LLVMValueRef extent_record(const cuda_tables *t, const cuda_extent *extent) {
    emit *e = t->e;
    LLVMValueRef fields[] = {
        emit_i32(e, extent->symbol != NULL ? extent->symbol->index : -1), emit_i32(e, 0),
        emit_i64(e, extent->multiplier), emit_i64(e, extent->divisor)};
    return record(t, fields, sizeof fields / sizeof fields[0]);
}

static mlcc_status *entry_record(
    const cuda_tables *t, const cuda_entry *entry, bool is_last, const ir_function *group,
    LLVMValueRef *out) {
    emit *e = t->e;
    cuda_extent grid[3];
    for (int i = 0; i < 3; i++) grid[i] = cuda_extent_constant(1);
    entry->grid(group, grid);
    LLVMValueRef extents[3];
    for (int i = 0; i < 3; i++) extents[i] = extent_record(t, &grid[i]);
    const int64_t shared_bytes = entry->shared_bytes != NULL ? entry->shared_bytes(group) : 0;
    if (shared_bytes < 0 || shared_bytes > INT32_MAX) {
        return MLCC_ERROR(
            INTERNAL, "kernel '%s' asks for %lld bytes of shared memory", entry->symbol,
            (long long)shared_bytes);
    }
    LLVMValueRef fields[] = {
        text(t, entry->symbol),
        emit_i64(e, is_last ? 0 : entry->max_rows), // of a chain the launch has the limit
        LLVMConstArray(LLVMTypeOf(extents[0]), extents, 3), emit_i32(e, entry->threads),
        emit_i32(e, shared_bytes)};
    *out = record(t, fields, sizeof fields / sizeof fields[0]);
    return check_size(t, *out, sizeof(mlcc_abi_cuda_entry), "mlcc_abi_cuda_entry");
}

static mlcc_status *variant_record(const cuda_tables *t, int32_t index, LLVMValueRef *out) {
    emit *e = t->e;
    const cuda_module *module = &t->cuda->compiled.modules[index];
    const cuda_kernel_row *row = module->row;
    const ir_function *group = e->artifact->instances[module->instance].group;
    LLVMValueRef records[CUDA_MAX_ENTRIES];
    for (int32_t k = 0; k < row->n_entries; k++) {
        MLCC_TRY_NOTE(
            entry_record(t, &row->entries[k], k + 1 == row->n_entries, group, &records[k]),
            "sizing kernel '%s' for '%s'", row->name, group->name);
    }
    LLVMValueRef fields[] = {
        emit_i32(e, index), emit_i32(e, row->n_entries), array(t, records, (size_t)row->n_entries)};
    *out = record(t, fields, sizeof fields / sizeof fields[0]);
    return check_size(t, *out, sizeof(mlcc_abi_cuda_variant), "mlcc_abi_cuda_variant");
}

static int32_t n_variants_of(const cuda_tables *t, int32_t instance) {
    return t->cuda->compiled.first[instance + 1] - t->cuda->compiled.first[instance];
}

static mlcc_status *make_variants(cuda_tables *t) {
    emit *e = t->e;
    const cuda_modules *compiled = &t->cuda->compiled;
    t->variants = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, (size_t)e->artifact->n_instances + 1);
    LLVMValueRef *records = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, (size_t)compiled->n_modules + 1);
    for (int32_t i = 0; i < e->artifact->n_instances; i++) {
        const int32_t n = n_variants_of(t, i);
        for (int32_t v = 0; v < n; v++) {
            MLCC_TRY(variant_record(t, compiled->first[i] + v, &records[v]));
        }
        t->variants[i] = array(t, records, (size_t)n);
    }
    return NULL;
}

// ---- constants ----------------------------------------------------------------------------------------

static mlcc_status *consts_block(cuda_tables *t, LLVMValueRef *block, int64_t *size_bytes) {
    emit *e = t->e;
    const ir_module *module = e->artifact->module;
    mlcc_str all = {0};
    t->const_offsets = MLCC_NEW_ARRAY(e->keep, int64_t, module->n_consts + 1);
    mlcc_status *status = NULL;
    for (size_t i = 0; i < module->n_consts && status == NULL; i++) {
        const ir_const *constant = module->consts[i];
        int64_t const_bytes = 0;
        if (!ir_type_bound_bytes(&constant->value.type, &const_bytes) ||
            const_bytes > INT32_MAX - CONST_ALIGNMENT - (int64_t)all.length) {
            status = MLCC_ERROR(
                UNSUPPORTED, "the constants are larger than 2 GiB with '@%s'; make it a param",
                constant->value.name);
            break;
        }
        while (all.length % CONST_ALIGNMENT != 0) mlcc_str_putc(&all, '\0');
        t->const_offsets[i] = (int64_t)all.length;
        mlcc_str_append(&all, constant->data, (size_t)const_bytes);
    }
    *size_bytes = (int64_t)all.length;
    *block = all.length > 0 ? bytes(t, all.data, all.length, 64) : LLVMConstPointerNull(e->pointer);
    mlcc_str_free(&all);
    return status;
}

// ---- launches -----------------------------------------------------------------------------------------

static LLVMValueRef place_record(const cuda_tables *t, const codegen_place *place) {
    emit *e = t->e;
    static const int64_t kinds[] = {
        [CODEGEN_PLACE_ARG] = MLCC_ABI_CUDA_ARG,
        [CODEGEN_PLACE_RESULT] = MLCC_ABI_CUDA_RESULT,
        [CODEGEN_PLACE_PARAM] = MLCC_ABI_CUDA_PARAM,
        [CODEGEN_PLACE_CONST] = MLCC_ABI_CUDA_CONST,
        [CODEGEN_PLACE_WORKSPACE] = MLCC_ABI_CUDA_WORKSPACE,
    };
    int64_t index = 0, offset_bytes = 0;
    switch (place->kind) {
    case CODEGEN_PLACE_CONST: offset_bytes = t->const_offsets[place->index]; break;
    case CODEGEN_PLACE_WORKSPACE: offset_bytes = place->offset_bytes; break;
    default: index = place->index; break;
    }
    LLVMValueRef fields[] = {
        emit_i32(e, kinds[place->kind]), emit_i32(e, index), emit_i64(e, offset_bytes)};
    return record(t, fields, sizeof fields / sizeof fields[0]);
}

static mlcc_status *launch_record(
    const cuda_tables *t, const codegen_launch *launch, LLVMValueRef *out) {
    emit *e = t->e;
    const codegen_instance *instance = &e->artifact->instances[launch->instance];
    const ir_function *group = instance->group;
    LLVMValueRef *places = MLCC_NEW_ARRAY(
        e->keep, LLVMValueRef, (size_t)instance->n_inputs + (size_t)group->n_returns + 2);
    size_t n_places = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        places[n_places++] = place_record(t, &launch->inputs[i]);
    }
    for (int32_t r = 0; r < group->n_returns; r++) {
        if (instance->in_place[r] < 0) places[n_places++] = place_record(t, &launch->results[r]);
    }
    LLVMValueRef scratch[] = {emit_i32(e, MLCC_ABI_CUDA_SCRATCH), emit_i32(e, 0), emit_i64(e, 0)};
    places[n_places++] = record(t, scratch, 3);
    const ir_dim rows = launch->rows != NULL ? *launch->rows : cuda_operand_type(group, 0)->dims[0];
    LLVMValueRef fields[] = {
        emit_i32(e, rows.symbol != NULL ? rows.symbol->index : -1),
        emit_i32(e, n_variants_of(t, launch->instance)),
        emit_i64(e, rows.symbol != NULL ? 0 : rows.value),
        emit_i64(e, launch->min_rows),
        emit_i64(e, launch->max_rows),
        t->variants[launch->instance],
        array(t, places, n_places),
        emit_i32(e, (int64_t)n_places),
        emit_i32(e, 0)};
    *out = record(t, fields, sizeof fields / sizeof fields[0]);
    return check_size(t, *out, sizeof(mlcc_abi_cuda_launch), "mlcc_abi_cuda_launch");
}

static mlcc_status *functions_table(const cuda_tables *t, LLVMValueRef *out) {
    emit *e = t->e;
    const size_t n = (size_t)e->artifact->n_functions;
    LLVMValueRef *records = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n + 1);
    for (size_t f = 0; f < n; f++) {
        const codegen_function *function = &e->artifact->functions[f];
        const size_t n_launches = (size_t)function->n_launches;
        LLVMValueRef *launches = MLCC_NEW_ARRAY(e->keep, LLVMValueRef, n_launches + 1);
        for (size_t i = 0; i < n_launches; i++) {
            MLCC_TRY(launch_record(t, &function->launches[i], &launches[i]));
        }
        LLVMValueRef fields[] = {
            array(t, launches, n_launches), emit_i32(e, (int64_t)n_launches), emit_i32(e, 0)};
        records[f] = record(t, fields, sizeof fields / sizeof fields[0]);
    }
    *out = array(t, records, n);
    return NULL;
}

mlcc_status *emit_cuda_tables(emit *e, LLVMValueRef *out) {
    cuda_tables t = {.e = e, .cuda = e->options->cuda};
    LLVMValueRef modules = NULL, functions = NULL, consts = NULL;
    int64_t consts_bytes = 0;
    *out = LLVMConstPointerNull(e->pointer);
    if (t.cuda == NULL) return NULL;
    MLCC_TRY(modules_table(&t, &modules));
    MLCC_TRY(make_variants(&t));
    MLCC_TRY(consts_block(&t, &consts, &consts_bytes));
    MLCC_TRY(functions_table(&t, &functions));
    LLVMValueRef fields[] = {
        modules,
        functions,
        consts,
        emit_i64(e, consts_bytes),
        emit_i32(e, t.cuda->compiled.n_modules),
        emit_i32(e, t.cuda->nvrtc_version)};
    LLVMValueRef all = record(&t, fields, sizeof fields / sizeof fields[0]);
    MLCC_TRY(check_size(&t, all, sizeof(mlcc_abi_cuda), "mlcc_abi_cuda"));
    *out = emit_constant(e, all, 16);
    return NULL;
}
