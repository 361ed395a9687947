// cuda_group: kernels of codegen/cuda against ir/eval without a GPU. A module given as GRAPH text is planned for CUDA, every kernel instance is
// written by emit_cuda, compiled for the host and run under cuda_shim with operands in guarded memory of exact size.
//
//   cuda_subject subject = cuda_subject_open(text, "rms_norm__sm80", folder);      skip() first when !cuda_shim_can_compile()
//   cuda_subject_check(&subject, args, 1e-6, 1e-6);
//   cuda_subject_close(&subject);
//
// With MLCC_TEST_DEVICE=cuda the same cases run on a device instead (cuda_direct.h); they are skipped where none is.
//
// Static functions in a header, because the support library links neither passes nor codegen. Every failure is a failed assertion.
#ifndef MLCC_TESTS_SUPPORT_CUDA_GROUP_H
#define MLCC_TESTS_SUPPORT_CUDA_GROUP_H

#include "codegen/artifact.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/emit_cuda.h"
#include "codegen/cuda/kernels/kernel.h"
#include "tests/support/compile_module.h"
#include "tests/support/cuda_direct.h"
#include "tests/support/cuda_shim/cuda_shim_unit.h"
#include "tests/support/layout_prepare.h"

struct cuda_subject_call;

typedef struct cuda_subject {
    mlcc_arena *keep;
    const char *folder;
    const char
        *only; // a kernel row that must be used wherever its op stands; NULL: the last that fits
    ir_module *module;
    const ir_function *forward;
    codegen_artifact *artifact;
    model_weights *weights;
    mlcc_str *sources;            // per instance
    const cuda_shim_unit **units; // per instance
    const cuda_kernel_row **rows; // per instance
    struct cuda_buffer *params;   // per param of the module, in its device layout
    bool was_used;                // `only` stands in the plan
    char *mistake; // [256]; where given, it gets what a launch does wrong, which is else a failure
    // Runs a launch instead of cuda_shim: of entry `symbol`, with `n_words` of words. False: what is wrong, in message. NULL: cuda_shim does.
    bool (*launcher)(
        const struct cuda_subject_call *call, int32_t instance, const char *symbol,
        const cuda_shim_launch *launch, size_t n_words, char message[256]);
    void *launcher_user;
    cuda_direct *direct; // runs it on a device; NULL: cuda_shim does
} cuda_subject;

// ---- memory -------------------------------------------------------------------------------------------

// Aligned as the driver's memory. Under the address sanitizer every access beyond it is a report; without it writes are found.
typedef struct cuda_buffer {
    codegen_place place;
    unsigned char *memory;
    size_t size_bytes;
} cuda_buffer;

#if CUDA_SHIM_HAS_ASAN
enum { CUDA_BUFFER_GUARD = 0 };
#else
enum { CUDA_BUFFER_GUARD = 64 };
#endif

// Filled with 0xFF: NaN in every float format.
static inline cuda_buffer cuda_buffer_create(size_t size_bytes) {
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 256, size_bytes + CUDA_BUFFER_GUARD), 0);
    memset(memory, 0xff, size_bytes);
    memset((char *)memory + size_bytes, 0xa5, CUDA_BUFFER_GUARD);
    return (cuda_buffer){.memory = memory, .size_bytes = size_bytes};
}

static inline void cuda_buffer_free(cuda_buffer *buffer, const char *what) {
    bool is_intact = true;
    for (int i = 0; i < CUDA_BUFFER_GUARD; i++)
        is_intact = is_intact && buffer->memory[buffer->size_bytes + (size_t)i] == 0xa5;
    free(buffer->memory);
    buffer->memory = NULL;
    if (!is_intact) fail_msg("%s: memory beyond its end was written", what);
}

// ---- planning -----------------------------------------------------------------------------------------

static inline mlcc_status *cuda_subject_choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    cuda_subject *s = user;
    const ir_node *anchor = codegen_group_anchor(group);
    const ir_op op = anchor != NULL ? anchor->op : IR_N_OPS;
    size_t n_rows = 0;
    const cuda_kernel_row *rows = cuda_kernel_table(&n_rows);
    *kernel = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].op != op) continue;
        const char *refusal = rows[i].refuses != NULL ? rows[i].refuses(group) : NULL;
        const bool is_only = s->only != NULL && strcmp(rows[i].name, s->only) == 0;
        // Rows of newer architectures are variants: they run where a test asks for them.
        if (!is_only && (rows[i].min_arch > 80 || rows[i].needs_arch_specific)) continue;
        if (refusal != NULL) {
            if (why != NULL) mlcc_str_printf(why, "%s: %s\n", rows[i].name, refusal);
            if (is_only) return MLCC_ERROR(INTERNAL, "'%s' refuses: %s", s->only, refusal);
            continue;
        }
        *kernel = rows[i].name;
        if (is_only) {
            s->was_used = true;
            break;
        }
    }
    if (*kernel == NULL) return MLCC_ERROR(INTERNAL, "no kernel for group '%s'", group->name);
    return NULL;
}

static inline const char *cuda_subject_choose_layout(
    void *user, ir_op op, int32_t operand, const ir_type *type) {
    (void)user;
    return cuda_layout_choose(op, operand, type);
}

// Where the subject's `only` is a kernel for single launches, they stay single.
static inline const char *cuda_subject_choose_chain(
    void *user, const ir_function *chain, int64_t *max_rows) {
    cuda_subject *s = user;
    size_t n_rows = 0;
    const cuda_kernel_row *rows = cuda_kernel_table(&n_rows);
    const char *name = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].op != CUDA_CHAIN_OP || rows[i].min_arch > 80) continue;
        const bool is_only = s->only != NULL && strcmp(rows[i].name, s->only) == 0;
        if ((s->only != NULL && !is_only) || rows[i].refuses(chain) != NULL) continue;
        *max_rows = rows[i].entries[rows[i].n_entries - 1].max_rows;
        name = rows[i].name;
        s->was_used |= is_only;
    }
    return name;
}

static inline bool cuda_subject_takes_codes(
    void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)user;
    return cuda_takes_codes(weight, mantissa_bits, group);
}

// `mode` NULL: params stay as they are.
static inline void cuda_subject_plan(cuda_subject *s, const quant_mode *mode) {
    mlcc_arena *scratch = mlcc_arena_create();
    const pass_target target = {
        .user = s,
        .choose_kernel = cuda_subject_choose_kernel,
        .choose_layout = cuda_subject_choose_layout,
        .takes_codes = cuda_subject_takes_codes,
        .choose_chain = cuda_subject_choose_chain};
    pass_context context = {.scratch = scratch, .mode = mode, .target = &target};
    const pass_options options = {.limit = -1};
    assert_ok(pass_pipeline_run(s->module, &options, &context));
    mlcc_arena_free(scratch);
    assert_ok(codegen_artifact_build(s->module, s->keep, &s->artifact));
    if (s->only != NULL && !s->was_used) fail_msg("'%s' is not used by the module", s->only);
}

// ---- params -------------------------------------------------------------------------------------------

// In two halves, the later one first.
static inline void cuda_subject_prepare(
    cuda_subject *s, int32_t index, const void *const *pieces, cuda_buffer *out) {
    const ir_param *param = s->module->params[index];
    const ir_type flat = ir_type_flat(&param->value.type);
    int64_t prepared_bytes = 0, n_items = 0;
    assert_true(cuda_layout_measure(param->layout, &flat, &prepared_bytes, &n_items));
    *out = cuda_buffer_create((size_t)prepared_bytes);
    const int64_t half = n_items / 2;
    assert_true(layout_prepare(param->layout, &flat, pieces, out->memory, half, n_items));
    assert_true(layout_prepare(param->layout, &flat, pieces, out->memory, 0, half));
}

static inline void cuda_subject_load_params(cuda_subject *s) {
    s->params = MLCC_NEW_ARRAY(s->keep, cuda_buffer, s->module->n_params + 1);
    for (size_t i = 0; i < s->module->n_params; i++) {
        const ir_param *param = s->module->params[i];
        const model_weight *weight = model_weights_find(s->weights, param->value.name);
        quant_piece pieces[QUANT_MAX_PIECES];
        const void *stored[QUANT_MAX_PIECES];
        int32_t n_pieces = 0;
        assert_ok(quant_format_of(param->value.type.dtype)
                      ->pieces(&param->value.type, pieces, &n_pieces));
        for (int32_t p = 0; p < n_pieces; p++) stored[p] = weight->pieces[p];
        if (param->layout != NULL && strcmp(param->layout, "rows") != 0) {
            cuda_subject_prepare(s, (int32_t)i, stored, &s->params[i]);
            continue;
        }
        assert_int_equal(n_pieces, 1);
        s->params[i] = cuda_buffer_create(pieces[0].size_bytes);
        memcpy(s->params[i].memory, stored[0], pieces[0].size_bytes);
    }
}

// ---- opening ------------------------------------------------------------------------------------------

static inline void cuda_subject_emit(cuda_subject *s) {
    const size_t n = (size_t)s->artifact->n_instances;
    s->rows = MLCC_NEW_ARRAY(s->keep, const cuda_kernel_row *, n + 1);
    s->sources = MLCC_NEW_ARRAY(s->keep, mlcc_str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const codegen_instance *instance = &s->artifact->instances[i];
        s->rows[i] = cuda_kernel_find(instance->kernel);
        assert_non_null(s->rows[i]);
        assert_ok(emit_cuda_source(instance, s->rows[i], &s->sources[i]));
    }
}

static inline void cuda_subject_build(cuda_subject *s) {
    const size_t n = (size_t)s->artifact->n_instances;
    s->units = MLCC_NEW_ARRAY(s->keep, const cuda_shim_unit *, n + 1);
    for (size_t i = 0; i < n; i++) {
        const char *entries[CUDA_MAX_ENTRIES + 1] = {NULL};
        // Entries with different grids may name one function.
        for (int32_t e = 0, n_names = 0; e < s->rows[i]->n_entries; e++) {
            const char *symbol = s->rows[i]->entries[e].symbol;
            bool is_named = false;
            for (int32_t k = 0; k < n_names; k++) is_named |= strcmp(entries[k], symbol) == 0;
            if (!is_named) entries[n_names++] = symbol;
        }
        const char *name = mlcc_arena_printf(s->keep, "%02zu_%s", i, s->rows[i]->name);
        assert_ok(cuda_shim_unit_build(
            name, mlcc_str_text(&s->sources[i]), entries, s->folder, &s->units[i]));
    }
}

static inline bool cuda_subject_is_on_device(void) {
    const char *device = getenv("MLCC_TEST_DEVICE");
    return device != NULL && strcmp(device, "cuda") == 0;
}

static inline void cuda_subject_skip(const char *why) {
    print_message("skipped: %s\n", why);
    skip();
}

// Plans `module` (which lives in `keep`, and that in the subject) and writes the sources; nothing is compiled. Where a device is wanted and none is, the
// test ends here.
static inline cuda_subject cuda_subject_start(
    ir_module *module, mlcc_arena *keep, const char *only, const char *folder) {
    const char *why = NULL;
    if (cuda_subject_is_on_device() && cuda_direct_machine_get(&why) == NULL)
        cuda_subject_skip(why);
    cuda_subject s = {.keep = keep, .module = module, .folder = folder, .only = only};
    cuda_subject_plan(&s, NULL);
    s.forward = ir_module_find(s.module, "forward");
    assert_non_null(s.forward);
    cuda_subject_emit(&s);
    return s;
}

// Whether kernels with mistakes put in on purpose may run: a device might wait for ever, and the sanitizers would report what the test wants to see.
static inline bool cuda_subject_takes_mistakes(void) {
    return !CUDA_SHIM_HAS_ASAN && !cuda_subject_is_on_device();
}

// The sources on a device, with the prepared weights.
static inline void cuda_subject_build_on_device(cuda_subject *s) {
    const char *why = NULL;
    s->direct = cuda_direct_open(s->artifact, s->forward, s->rows, s->sources, s->keep, &why);
    if (s->direct == NULL) cuda_subject_skip(why);
    for (size_t i = 0; i < s->module->n_params; i++) {
        assert_ok(mlcc_device_upload(
            s->direct->device, &s->direct->params[i], 0, s->params[i].memory,
            s->params[i].size_bytes));
    }
    assert_ok(mlcc_device_end_uploads(s->direct->device));
}

// Compiles the sources and prepares the weights; `value` as for model_weights_make.
static inline void cuda_subject_finish(cuda_subject *s, ir_eval_param *value) {
    s->weights = model_weights_make(s->module, value, s->keep);
    if (!cuda_subject_is_on_device()) cuda_subject_build(s);
    cuda_subject_load_params(s);
    if (cuda_subject_is_on_device()) cuda_subject_build_on_device(s);
}

// Only the sources: for tests that hand them to NVRTC.
static inline cuda_subject cuda_subject_write(
    const char *text, const char *only, const char *folder) {
    mlcc_arena *keep = mlcc_arena_create();
    return cuda_subject_start(compile_parse(text, keep), keep, only, folder);
}

// A mistake on purpose: `instead` of the first `text` in the first instance's source. Before cuda_subject_finish.
static inline void cuda_subject_put_mistake(
    cuda_subject *s, const char *text, const char *instead) {
    const char *source = mlcc_str_text(&s->sources[0]), *at = strstr(source, text);
    if (at == NULL) fail_msg("the kernel's text has no '%s'", text);
    mlcc_str changed = {0};
    mlcc_str_append(&changed, source, (size_t)(at - source));
    mlcc_str_puts(&changed, instead);
    mlcc_str_puts(&changed, at + strlen(text));
    mlcc_str_free(&s->sources[0]);
    s->sources[0] = changed;
}

// `folder` receives the sources and must outlive the subject. `only`: name of a row, or NULL.
static inline cuda_subject cuda_subject_open(
    const char *text, const char *only, const char *folder) {
    cuda_subject s = cuda_subject_write(text, only, folder);
    cuda_subject_finish(&s, NULL);
    return s;
}

static inline void cuda_subject_close(cuda_subject *s) {
    for (int32_t i = 0; i < s->artifact->n_instances; i++) {
        mlcc_str_free(&s->sources[i]);
    }
    for (size_t i = 0; s->params != NULL && i < s->module->n_params; i++)
        cuda_buffer_free(&s->params[i], "param");
    cuda_direct_close(s->direct);
    mlcc_arena_free(s->keep);
}

// ---- running ------------------------------------------------------------------------------------------

// One run of the function.
typedef struct cuda_subject_call {
    const cuda_subject *subject;
    const cuda_buffer *scratch; // of the launch
    mlcc_arena *keep;
    int64_t *dims; // values of the symbols
    cuda_buffer *buffers;
    size_t n_buffers;
    uint64_t seed;
} cuda_subject_call;

static inline int64_t cuda_subject_dim(const cuda_subject_call *call, ir_dim dim) {
    return dim.symbol != NULL ? call->dims[dim.symbol->index] : dim.value;
}

static inline size_t cuda_subject_bytes(const cuda_subject_call *call, const ir_type *type) {
    int64_t n = 1;
    for (int32_t i = 0; i < type->rank; i++) n *= cuda_subject_dim(call, type->dims[i]);
    return (size_t)n * ir_dtype_bytes(type->dtype);
}

static inline cuda_buffer *cuda_subject_find(
    const cuda_subject_call *call, const codegen_place *place) {
    for (size_t i = 0; i < call->n_buffers; i++) {
        const codegen_place *p = &call->buffers[i].place;
        if (p->kind == place->kind && p->index == place->index &&
            p->offset_bytes == place->offset_bytes) {
            return &call->buffers[i];
        }
    }
    return NULL;
}

// New memory for a place; what lay there before is no longer needed.
static inline cuda_buffer *cuda_subject_place(
    cuda_subject_call *call, const codegen_place *place, size_t size_bytes) {
    cuda_buffer *buffer = cuda_subject_find(call, place);
    if (buffer != NULL)
        cuda_buffer_free(buffer, "workspace");
    else
        buffer = &call->buffers[call->n_buffers++];
    *buffer = cuda_buffer_create(size_bytes);
    buffer->place = *place;
    return buffer;
}

static inline const void *cuda_subject_address(
    const cuda_subject_call *call, const codegen_place *place) {
    if (place->kind == CODEGEN_PLACE_PARAM) return call->subject->params[place->index].memory;
    const cuda_buffer *buffer = cuda_subject_find(call, place);
    assert_non_null(buffer);
    return buffer->memory;
}

static inline int32_t cuda_subject_extent(const cuda_subject_call *call, cuda_extent extent) {
    const int64_t rows = extent.symbol != NULL ? call->dims[extent.symbol->index] : 1;
    const int64_t n = (rows * extent.multiplier + extent.divisor - 1) / extent.divisor;
    return (int32_t)(n < 1 ? 1 : n);
}

static inline const cuda_entry *cuda_subject_entry(
    const cuda_subject_call *call, const cuda_kernel_row *row, const ir_function *group) {
    const int64_t rows = cuda_subject_dim(call, cuda_operand_type(group, 0)->dims[0]);
    for (int32_t i = 0; i + 1 < row->n_entries; i++) {
        if (rows <= row->entries[i].max_rows) return &row->entries[i];
    }
    return &row->entries[row->n_entries - 1];
}

static inline void cuda_subject_launch(cuda_subject_call *call, const codegen_launch *launch) {
    const cuda_subject *s = call->subject;
    const codegen_instance *instance = &s->artifact->instances[launch->instance];
    const cuda_kernel_row *row = s->rows[launch->instance];
    const ir_function *group = instance->group;
    const size_t n_symbols = s->module->n_symbols;
    const int64_t n_rows = launch->rows != NULL ? cuda_subject_dim(call, *launch->rows) : 0;
    if (n_rows < launch->min_rows || (launch->max_rows > 0 && n_rows > launch->max_rows)) return;
    uint64_t *words = MLCC_NEW_ARRAY(
        call->keep, uint64_t,
        (size_t)instance->n_inputs + (size_t)group->n_returns + n_symbols + 2);
    size_t n = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++)
        words[n++] = (uint64_t)(uintptr_t)cuda_subject_address(call, &launch->inputs[i]);
    for (int32_t r = 0; r < group->n_returns; r++) {
        if (instance->in_place[r] >= 0) continue;
        const size_t size_bytes = cuda_subject_bytes(call, &group->returns[r]->type);
        const cuda_buffer *buffer = cuda_subject_place(call, &launch->results[r], size_bytes);
        words[n++] = (uint64_t)(uintptr_t)buffer->memory;
    }
    const cuda_entry *entry = cuda_subject_entry(call, row, group);
    const int64_t scratch_bytes = entry->scratch_bytes != NULL ? entry->scratch_bytes(group) : 0;
    cuda_buffer scratch = cuda_buffer_create(KERNEL_COUNTER_BYTES + (size_t)scratch_bytes);
    memset(scratch.memory, 0, KERNEL_COUNTER_BYTES);
    call->scratch = &scratch;
    words[n++] = (uint64_t)(uintptr_t)scratch.memory;
    for (size_t i = 0; i < n_symbols; i++) words[n++] = (uint64_t)call->dims[i];
    cuda_extent grid[3];
    entry->grid(group, grid);
    cuda_shim_launch shim = {
        .words = words,
        .n_threads = entry->threads,
        .shared_bytes = entry->shared_bytes != NULL ? entry->shared_bytes(group) : 0,
        .seed = call->seed,
    };
    for (int i = 0; i < 3; i++) shim.grid[i] = cuda_subject_extent(call, grid[i]);
    char message[256];
    bool is_right;
    if (s->launcher != NULL) {
        is_right = s->launcher(call, launch->instance, entry->symbol, &shim, n, message);
    } else {
        shim.entry = cuda_shim_unit_entry(s->units[launch->instance], entry->symbol);
        assert_non_null(shim.entry);
        is_right = cuda_shim_run(&shim, message);
    }
    if (!is_right) {
        if (s->mistake == NULL) fail_msg("%s, %s: %s", row->name, entry->symbol, message);
        memcpy(s->mistake, message, sizeof message);
    }
    for (size_t i = 0; i < KERNEL_COUNTER_BYTES; i++) {
        if (scratch.memory[i] != 0) {
            fail_msg("%s, %s: counter byte %zu is not zero again", row->name, entry->symbol, i);
        }
    }
    cuda_buffer_free(&scratch, "scratch");
}

static inline void cuda_subject_load_args(cuda_subject_call *call, ir_tensor *const *args) {
    const cuda_subject *s = call->subject;
    for (int32_t i = 0; i < s->forward->n_args; i++) {
        const ir_type *type = &s->forward->args[i]->type;
        for (int32_t axis = 0; axis < type->rank; axis++) {
            const ir_symbol *symbol = type->dims[axis].symbol;
            if (symbol != NULL) call->dims[symbol->index] = args[i]->dims[axis];
        }
    }
    for (int32_t i = 0; i < s->forward->n_args; i++) {
        const codegen_place place = {.kind = CODEGEN_PLACE_ARG, .index = i};
        const size_t size_bytes = cuda_subject_bytes(call, &s->forward->args[i]->type);
        model_encode(args[i], cuda_subject_place(call, &place, size_bytes)->memory);
    }
    for (size_t i = 0; i < s->module->n_consts; i++) {
        const ir_const *value = s->module->consts[i];
        const codegen_place place = {.kind = CODEGEN_PLACE_CONST, .index = (int32_t)i};
        const size_t size_bytes = cuda_subject_bytes(call, &value->value.type);
        memcpy(cuda_subject_place(call, &place, size_bytes)->memory, value->data, size_bytes);
    }
}

static inline void cuda_subject_read_results(
    cuda_subject_call *call, const codegen_function *function, mlcc_arena *keep,
    ir_tensor **results) {
    const ir_function *forward = call->subject->forward;
    for (int32_t i = 0; i < forward->n_returns; i++) {
        const ir_value *value = forward->returns[i], *arg = model_in_place_arg(value);
        codegen_place place = {.kind = CODEGEN_PLACE_ARG, .index = arg != NULL ? arg->index : 0};
        for (int32_t k = 0; arg == NULL && k < function->n_results; k++) {
            if (function->results[k] != i) continue;
            place = (codegen_place){.kind = CODEGEN_PLACE_RESULT, .index = k};
        }
        int64_t dims[IR_MAX_RANK];
        for (int32_t axis = 0; axis < value->type.rank; axis++)
            dims[axis] = cuda_subject_dim(call, value->type.dims[axis]);
        results[i] = ir_tensor_create(keep, value->type.dtype, value->type.rank, dims);
        model_decode(cuda_subject_address(call, &place), results[i]);
    }
}

// ---- on a device

// A buffer's contents on both sides, with a guard behind it.
static inline mlcc_mirror cuda_subject_mirror(const cuda_subject *s, const cuda_buffer *buffer) {
    mlcc_mirror mirror;
    const size_t size_bytes = buffer->size_bytes + CUDA_DIRECT_GUARD;
    assert_ok(mlcc_device_alloc_mirror(s->direct->device, size_bytes, "a tensor", &mirror));
    memcpy(mirror.host, buffer->memory, buffer->size_bytes);
    memset((char *)mirror.host + buffer->size_bytes, 0xa5, CUDA_DIRECT_GUARD);
    assert_ok(mlcc_device_push(s->direct->device, &mirror, 0, size_bytes));
    return mirror;
}

static inline void cuda_subject_fetch(
    const cuda_subject *s, cuda_buffer *buffer, mlcc_mirror *mirror) {
    const size_t size_bytes = buffer->size_bytes + CUDA_DIRECT_GUARD;
    assert_ok(mlcc_device_pull(s->direct->device, mirror, 0, size_bytes));
    memcpy(buffer->memory, mirror->host, buffer->size_bytes);
    for (size_t i = buffer->size_bytes; i < size_bytes; i++) {
        if (((unsigned char *)mirror->host)[i] != 0xa5)
            fail_msg("%s: memory beyond a tensor's end was written", s->rows[0]->name);
    }
    mlcc_device_free_mirror(s->direct->device, mirror);
}

static inline void cuda_subject_run_direct(
    cuda_subject_call *call, const codegen_function *function) {
    const cuda_subject *s = call->subject;
    for (int32_t k = 0; k < function->n_results; k++) {
        const codegen_place place = {.kind = CODEGEN_PLACE_RESULT, .index = k};
        const ir_type *type = &s->forward->returns[function->results[k]]->type;
        cuda_subject_place(call, &place, cuda_subject_bytes(call, type));
    }
    mlcc_mirror *mirrors = MLCC_NEW_ARRAY(call->keep, mlcc_mirror, call->n_buffers + 1);
    void **args = MLCC_NEW_ARRAY(call->keep, void *, (size_t)s->forward->n_args + 1);
    void **results = MLCC_NEW_ARRAY(call->keep, void *, (size_t)function->n_results + 1);
    for (size_t i = 0; i < call->n_buffers; i++) {
        const codegen_place *place = &call->buffers[i].place;
        if (place->kind == CODEGEN_PLACE_CONST) continue; // among the tables
        mirrors[i] = cuda_subject_mirror(s, &call->buffers[i]);
        void **list = place->kind == CODEGEN_PLACE_ARG ? args : results;
        list[place->index] = mirrors[i].memory.address;
    }
    assert_ok(mlcc_runner_run(s->direct->runner, args, results, call->dims));
    for (size_t i = 0; i < call->n_buffers; i++) {
        if (call->buffers[i].place.kind == CODEGEN_PLACE_CONST) continue;
        cuda_subject_fetch(s, &call->buffers[i], &mirrors[i]);
    }
}

// `args` as for ir_eval_function. `seed` 0: threads in order; else in random order (a device has its own).
static inline void cuda_subject_run(
    const cuda_subject *s, ir_tensor *const *args, uint64_t seed, mlcc_arena *keep,
    ir_tensor **results) {
    const codegen_function *function = NULL;
    for (int32_t i = 0; i < s->artifact->n_functions; i++) {
        if (s->artifact->functions[i].function == s->forward) function = &s->artifact->functions[i];
    }
    assert_non_null(function);
    size_t n_places = (size_t)s->forward->n_args + s->module->n_consts + 1;
    for (int32_t i = 0; i < function->n_launches; i++) {
        n_places += (size_t)s->artifact->instances[function->launches[i].instance].group->n_returns;
    }
    cuda_subject_call call = {.subject = s, .keep = keep, .seed = seed};
    call.dims = MLCC_NEW_ARRAY(keep, int64_t, s->module->n_symbols + 1);
    call.buffers = MLCC_NEW_ARRAY(keep, cuda_buffer, n_places);
    cuda_subject_load_args(&call, args);
    if (s->direct != NULL) {
        cuda_subject_run_direct(&call, function);
    } else {
        for (int32_t i = 0; i < function->n_launches; i++)
            cuda_subject_launch(&call, &function->launches[i]);
    }
    cuda_subject_read_results(&call, function, keep, results);
    for (size_t i = 0; i < call.n_buffers; i++) cuda_buffer_free(&call.buffers[i], "tensor");
}

// Runs in order and in random order, under the address sanitizer in random order only: the same accesses, and release runs see both. Compares with
// ir/eval: |difference| <= absolute + relative |expected|, plus half a unit of the result's own dtype. absolute < 0: every bit counts (NaN is NaN).
static inline void cuda_subject_check(
    const cuda_subject *s, ir_tensor *const *args, double absolute, double relative) {
    mlcc_arena *keep = mlcc_arena_create();
    const size_t n = (size_t)s->forward->n_returns + 1;
    ir_tensor **expected = MLCC_NEW_ARRAY(keep, ir_tensor *, n);
    ir_tensor **actual = MLCC_NEW_ARRAY(keep, ir_tensor *, n);
    const ir_eval_options options = {.param = model_weights_eval, .user = s->weights};
    assert_ok(ir_eval_function(s->forward, args, &options, keep, expected));
    for (uint64_t seed = CUDA_SHIM_HAS_ASAN ? 1 : 0; seed < 2; seed++) {
        cuda_subject_run(s, args, seed * 0x9e3779b97f4a7c15u, keep, actual);
        for (int32_t i = 0; i < s->forward->n_returns; i++) {
            char what[160];
            snprintf(
                what, sizeof what, "%s, result %d, %s", s->only != NULL ? s->only : "module", i,
                seed == 0 ? "in order" : "in random order");
            const ir_dtype dtype = expected[i]->dtype;
            const double own = dtype == IR_F16 ? 0x1p-10 : dtype == IR_BF16 ? 0x1p-7 : 0;
            const bool is_exact = absolute < 0;
            assert_tensors_near(
                actual[i], expected[i], is_exact ? 0 : absolute, is_exact ? 0 : relative + own,
                what);
        }
    }
    mlcc_arena_free(keep);
}

// Whether a mistake shows in one of `n_orders` runs, the first in order, the others in random order: it is reported, or a number of the only result is
// further than `limit` from ir/eval's.
static inline bool cuda_subject_shows_mistake(
    cuda_subject *s, ir_tensor *const *args, int n_orders, double limit) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_tensor *expected = NULL, *actual = NULL;
    const ir_eval_options options = {.param = model_weights_eval, .user = s->weights};
    assert_ok(ir_eval_function(s->forward, args, &options, keep, &expected));
    char message[256] = "";
    s->mistake = message;
    bool shows = false;
    for (int order = 0; order < n_orders && !shows; order++) {
        cuda_subject_run(s, args, (uint64_t)order * 0x9e3779b97f4a7c15u, keep, &actual);
        shows = message[0] != '\0';
        for (int64_t i = 0; i < ir_tensor_count(expected) && !shows; i++) {
            const double difference = (double)actual->f32[i] - (double)expected->f32[i];
            shows = !(difference <= limit && -difference <= limit); // NaN is far
        }
    }
    s->mistake = NULL;
    mlcc_arena_free(keep);
    return shows;
}

#endif
