// cuda_direct: a planned module on a CUDA device through runtime/device, without a lib.so: every instance compiled by NVRTC with exactly the kernel row
// that is asked for, for this device alone; the tables of runtime/abi.h are made in memory. Tests and benchmarks give contents to params and arguments.
//
//   const cuda_direct_machine *machine = cuda_direct_machine_get(&why);      NULL: no driver, no device or no NVRTC; `why` says which
//   cuda_direct *direct = cuda_direct_open(artifact, function, rows, sources, keep, &why);   NULL: a row is not for this device
//   … mlcc_device_upload(direct->device, &direct->params[i], 0, bytes, size_bytes) …
//   mlcc_runner_run(direct->runner, args, results, dims);
//   cuda_direct_close(direct);
//
// The device is cuda:0 of the driver that $MLCC_CUDA_DRIVER names, or of the system's: tests/support/cuda_fake is one, too. Static functions in a
// header, because the support library links neither codegen nor the runtime. Every failure is a failed assertion.
#ifndef MLCC_TESTS_SUPPORT_CUDA_DIRECT_H
#define MLCC_TESTS_SUPPORT_CUDA_DIRECT_H

#include "codegen/artifact.h"
#include "codegen/cuda/cuda_compile.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/kernel.h"
#include "runtime/device/device_cuda.h"
#include "tests/support/compile_module.h"

// Bytes behind a tensor that no kernel may write.
enum { CUDA_DIRECT_GUARD = 256 };

typedef struct cuda_direct_machine {
    mlcc_arena *keep;
    mlcc_cuda_driver driver;
    nvrtc_library *nvrtc;
    mlcc_pool *pool;
    int capability;  // 90 for compute capability 9.0
    bool has_cubins; // NVRTC compiles for it
    char name[96];
} cuda_direct_machine;

typedef struct cuda_direct {
    const codegen_artifact *artifact;
    const codegen_function *function;
    mlcc_arena *keep;
    mlcc_abi_cuda_module *modules;   // per instance
    mlcc_abi_cuda_variant *variants; // per instance
    const cuda_kernel_row **rows;
    mlcc_abi_function abi_function;
    mlcc_abi_cuda_function cuda_function;
    mlcc_abi_cuda cuda;
    mlcc_abi_model abi;
    mlcc_device *device;
    mlcc_runner *runner;
    mlcc_memory *params; // per param of the module
    int64_t *const_offsets;
} cuda_direct;

// ---- the machine --------------------------------------------------------------------------------------

// The first device's context stays open until the process ends: making one takes long.
static inline const char *cuda_direct_read_device(cuda_direct_machine *m) {
    const mlcc_cuda_driver *driver = &m->driver;
    mlcc_cu_device device = 0;
    mlcc_cu_context *context = NULL;
    int major = 0, minor = 0;
    const bool is_there =
        driver->device_get(&device, 0) == MLCC_CU_SUCCESS &&
        driver->device_get_name(m->name, (int)sizeof m->name, device) == MLCC_CU_SUCCESS &&
        driver->device_get_attribute(&major, MLCC_CU_DEVICE_CAPABILITY_MAJOR, device) ==
            MLCC_CU_SUCCESS &&
        driver->device_get_attribute(&minor, MLCC_CU_DEVICE_CAPABILITY_MINOR, device) ==
            MLCC_CU_SUCCESS &&
        driver->primary_ctx_retain(&context, device) == MLCC_CU_SUCCESS;
    if (!is_there) return "the device does not answer";
    m->capability = major * 10 + minor;
    return NULL;
}

static inline const char *cuda_direct_open_machine(cuda_direct_machine *m) {
    m->keep = mlcc_arena_create();
    mlcc_status *status = mlcc_cuda_driver_open(&m->driver);
    if (status == NULL) status = nvrtc_open(&m->nvrtc);
    if (status == NULL) status = mlcc_pool_create(0, &m->pool);
    if (status != NULL) {
        const char *why = mlcc_arena_strdup(m->keep, mlcc_status_message(status));
        mlcc_status_free(status);
        return why;
    }
    const char *why = cuda_direct_read_device(m);
    size_t n_archs = 0;
    const int *archs = nvrtc_archs(m->nvrtc, &n_archs);
    for (size_t i = 0; i < n_archs; i++) m->has_cubins |= archs[i] == m->capability;
    return why;
}

static inline const cuda_direct_machine *cuda_direct_machine_get(const char **why) {
    static cuda_direct_machine machine;
    static const char *reason;
    static bool is_tried;
    if (!is_tried) reason = cuda_direct_open_machine(&machine);
    is_tried = true;
    if (why != NULL) *why = reason;
    return reason == NULL ? &machine : NULL;
}

// What a row is compiled for: the device itself, or PTX of the oldest that the row allows where NVRTC does not know the device. NULL: not for it.
static inline const cuda_arch *cuda_direct_arch(
    const cuda_direct_machine *m, const cuda_kernel_row *row, mlcc_arena *keep) {
    enum { HOPPER = 90 };
    if (m->capability < row->min_arch) return NULL;
    const bool is_same = m->has_cubins && m->capability == HOPPER;
    if (row->needs_arch_specific && !is_same) return NULL;
    cuda_arch *arch = MLCC_NEW(keep, cuda_arch);
    *arch = (cuda_arch){.number = m->has_cubins ? m->capability : row->min_arch,
                        .is_ptx = !m->has_cubins,
                        .is_specific = is_same};
    arch->text = mlcc_arena_printf(
        keep, "%s_%d%s", arch->is_ptx ? "compute" : "sm", (int)arch->number,
        arch->is_specific ? "a" : "");
    return arch;
}

// ---- modules ------------------------------------------------------------------------------------------

static inline mlcc_abi_cuda_extent cuda_direct_extent(const cuda_extent *extent) {
    return (mlcc_abi_cuda_extent){.symbol = extent->symbol != NULL ? extent->symbol->index : -1,
                                  .multiplier = extent->multiplier,
                                  .divisor = extent->divisor};
}

static inline mlcc_abi_cuda_entry cuda_direct_entry(
    const cuda_entry *entry, const ir_function *group) {
    cuda_extent grid[3];
    for (int i = 0; i < 3; i++) grid[i] = cuda_extent_constant(1);
    entry->grid(group, grid);
    mlcc_abi_cuda_entry out = {
        .symbol = entry->symbol,
        .max_rows = entry->max_rows,
        .threads = (uint32_t)entry->threads,
        .shared_bytes = entry->shared_bytes != NULL ? (uint32_t)entry->shared_bytes(group) : 0,
    };
    for (int i = 0; i < 3; i++) out.grid[i] = cuda_direct_extent(&grid[i]);
    return out;
}

static inline void cuda_direct_add_module(
    cuda_direct *d, int32_t i, const cuda_kernel_row *row, const cuda_image *image) {
    mlcc_abi_cuda_image *abi_image = MLCC_NEW(d->keep, mlcc_abi_cuda_image);
    *abi_image = (mlcc_abi_cuda_image){.arch = (uint32_t)image->arch->number,
                                       .is_ptx = image->arch->is_ptx,
                                       .is_arch_specific = image->arch->is_specific,
                                       .data = image->data,
                                       .size_bytes = image->size_bytes};
    d->modules[i] = (mlcc_abi_cuda_module){row->name, abi_image, 1, 0};
    mlcc_abi_cuda_entry *entries =
        MLCC_NEW_ARRAY(d->keep, mlcc_abi_cuda_entry, (size_t)row->n_entries);
    const ir_function *group = d->artifact->instances[i].group;
    for (int32_t e = 0; e < row->n_entries; e++)
        entries[e] = cuda_direct_entry(&row->entries[e], group);
    d->variants[i] = (mlcc_abi_cuda_variant){(uint32_t)i, (uint32_t)row->n_entries, entries};
}

// False: a row is not for this device.
static inline bool cuda_direct_compile(
    cuda_direct *d, const cuda_direct_machine *m, const mlcc_str *sources, const char **why) {
    const size_t n = (size_t)d->artifact->n_instances;
    cuda_unit *units = MLCC_NEW_ARRAY(d->keep, cuda_unit, n + 1);
    const cuda_arch **archs = MLCC_NEW_ARRAY(d->keep, const cuda_arch *, n + 1);
    for (size_t i = 0; i < n; i++) {
        archs[i] = cuda_direct_arch(m, d->rows[i], d->keep);
        if (archs[i] == NULL) {
            *why = mlcc_arena_printf(d->keep, "'%s' is not for %s", d->rows[i]->name, m->name);
            return false;
        }
        units[i] = (cuda_unit){.name = d->rows[i]->name,
                               .source = mlcc_str_text(&sources[i]),
                               .archs = &archs[i],
                               .n_archs = 1};
    }
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(d->keep)};
    assert_ok(cuda_compile(m->nvrtc, &options, units, n, d->keep));
    d->modules = MLCC_NEW_ARRAY(d->keep, mlcc_abi_cuda_module, n + 1);
    d->variants = MLCC_NEW_ARRAY(d->keep, mlcc_abi_cuda_variant, n + 1);
    for (size_t i = 0; i < n; i++)
        cuda_direct_add_module(d, (int32_t)i, d->rows[i], &units[i].images[0]);
    return true;
}

// ---- tables -------------------------------------------------------------------------------------------

static inline mlcc_abi_cuda_place cuda_direct_place(
    const cuda_direct *d, const codegen_place *place) {
    switch (place->kind) {
    case CODEGEN_PLACE_ARG: return (mlcc_abi_cuda_place){MLCC_ABI_CUDA_ARG, place->index, 0};
    case CODEGEN_PLACE_RESULT: return (mlcc_abi_cuda_place){MLCC_ABI_CUDA_RESULT, place->index, 0};
    case CODEGEN_PLACE_PARAM: return (mlcc_abi_cuda_place){MLCC_ABI_CUDA_PARAM, place->index, 0};
    case CODEGEN_PLACE_CONST:
        return (mlcc_abi_cuda_place){MLCC_ABI_CUDA_CONST, 0,
                                     (uint64_t)d->const_offsets[place->index]};
    default:
        return (mlcc_abi_cuda_place){MLCC_ABI_CUDA_WORKSPACE, 0, (uint64_t)place->offset_bytes};
    }
}

static inline mlcc_abi_cuda_launch cuda_direct_launch(
    const cuda_direct *d, const codegen_launch *launch) {
    const codegen_instance *instance = &d->artifact->instances[launch->instance];
    const ir_function *group = instance->group;
    mlcc_abi_cuda_place *places = MLCC_NEW_ARRAY(
        d->keep, mlcc_abi_cuda_place, (size_t)instance->n_inputs + (size_t)group->n_returns + 2);
    uint32_t n = 0;
    for (int32_t i = 0; i < instance->n_inputs; i++)
        places[n++] = cuda_direct_place(d, &launch->inputs[i]);
    for (int32_t r = 0; r < group->n_returns; r++) {
        if (instance->in_place[r] < 0) places[n++] = cuda_direct_place(d, &launch->results[r]);
    }
    places[n++] = (mlcc_abi_cuda_place){MLCC_ABI_CUDA_SCRATCH, 0, 0};
    const ir_dim rows = launch->rows != NULL ? *launch->rows : cuda_operand_type(group, 0)->dims[0];
    return (mlcc_abi_cuda_launch){.rows_symbol = rows.symbol != NULL ? rows.symbol->index : -1,
                                  .n_variants = 1,
                                  .rows_constant = rows.symbol != NULL ? 0 : rows.value,
                                  .min_rows = launch->min_rows,
                                  .max_rows = launch->max_rows,
                                  .variants = &d->variants[launch->instance],
                                  .places = places,
                                  .n_places = n};
}

static inline void cuda_direct_consts(cuda_direct *d) {
    const ir_module *module = d->artifact->module;
    mlcc_str all = {0};
    d->const_offsets = MLCC_NEW_ARRAY(d->keep, int64_t, module->n_consts + 1);
    for (size_t i = 0; i < module->n_consts; i++) {
        int64_t const_bytes = 0;
        assert_true(ir_type_bound_bytes(&module->consts[i]->value.type, &const_bytes));
        while (all.length % 256 != 0) mlcc_str_putc(&all, '\0');
        d->const_offsets[i] = (int64_t)all.length;
        mlcc_str_append(&all, (const char *)module->consts[i]->data, (size_t)const_bytes);
    }
    char *copy = MLCC_NEW_ARRAY(d->keep, char, all.length + 1);
    memcpy(copy, mlcc_str_text(&all), all.length);
    d->cuda.consts = copy;
    d->cuda.consts_bytes = all.length;
    mlcc_str_free(&all);
}

static inline uint64_t cuda_direct_scratch_bytes(const cuda_direct *d) {
    int64_t largest = 0;
    for (int32_t i = 0; i < d->artifact->n_instances; i++) {
        for (int32_t e = 0; e < d->rows[i]->n_entries; e++) {
            const cuda_entry *entry = &d->rows[i]->entries[e];
            if (entry->scratch_bytes == NULL) continue;
            const int64_t size_bytes =
                KERNEL_COUNTER_BYTES + entry->scratch_bytes(d->artifact->instances[i].group);
            largest = size_bytes > largest ? size_bytes : largest;
        }
    }
    return (uint64_t)largest;
}

static inline void cuda_direct_tables(cuda_direct *d, const cuda_direct_machine *m) {
    const ir_module *module = d->artifact->module;
    const codegen_function *f = d->function;
    int major = 0, minor = 0;
    nvrtc_version(m->nvrtc, &major, &minor);
    cuda_direct_consts(d);
    mlcc_abi_cuda_launch *launches =
        MLCC_NEW_ARRAY(d->keep, mlcc_abi_cuda_launch, (size_t)f->n_launches + 1);
    for (int32_t i = 0; i < f->n_launches; i++)
        launches[i] = cuda_direct_launch(d, &f->launches[i]);
    mlcc_abi_symbol *symbols = MLCC_NEW_ARRAY(d->keep, mlcc_abi_symbol, module->n_symbols + 1);
    for (size_t i = 0; i < module->n_symbols; i++)
        symbols[i] = (mlcc_abi_symbol){module->symbols[i]->name, module->symbols[i]->bound};
    d->cuda_function = (mlcc_abi_cuda_function){launches, (uint32_t)f->n_launches, 0};
    d->abi_function = (mlcc_abi_function){.name = f->function->name,
                                          .n_args = (uint32_t)f->function->n_args,
                                          .n_results = (uint32_t)f->n_results,
                                          .workspace_bytes = (uint64_t)f->function->workspace_bytes,
                                          .scratch_bytes = cuda_direct_scratch_bytes(d)};
    d->cuda.modules = d->modules;
    d->cuda.functions = &d->cuda_function;
    d->cuda.n_modules = (uint32_t)d->artifact->n_instances;
    d->cuda.nvrtc_version = (uint32_t)(major * 100 + minor);
    d->abi = (mlcc_abi_model){.magic = MLCC_ABI_MAGIC,
                              .version = MLCC_ABI_VERSION,
                              .struct_bytes = sizeof(mlcc_abi_model),
                              .target = "cuda",
                              .cpu_features = "",
                              .metadata = "{}",
                              .symbols = symbols,
                              .functions = &d->abi_function,
                              .n_symbols = (uint32_t)module->n_symbols,
                              .n_functions = 1,
                              .cuda = &d->cuda};
}

// ---- life ---------------------------------------------------------------------------------------------

// Device bytes of a param in its layout.
static inline size_t cuda_direct_param_bytes(const ir_param *param) {
    const ir_type *type = &param->value.type;
    int64_t prepared_bytes = 0, n_items = 0, n_pieces = 0;
    if (param->layout != NULL && strcmp(param->layout, "rows") != 0) {
        assert_true(cuda_layout_measure(param->layout, type, &prepared_bytes, &n_items));
        return (size_t)prepared_bytes;
    }
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    assert_ok(quant_format_of(type->dtype)->pieces(type, pieces, &n));
    n_pieces = n;
    assert_int_equal(n_pieces, 1);
    return pieces[0].size_bytes;
}

static inline void cuda_direct_start(cuda_direct *d) {
    const ir_module *module = d->artifact->module;
    const cuda_direct_machine *m = cuda_direct_machine_get(NULL);
    assert_ok(mlcc_device_open(&d->abi, "cuda", m->pool, &d->device));
    d->params = MLCC_NEW_ARRAY(d->keep, mlcc_memory, module->n_params + 1);
    const void **addresses = MLCC_NEW_ARRAY(d->keep, const void *, module->n_params + 1);
    for (size_t i = 0; i < module->n_params; i++) {
        assert_ok(mlcc_device_alloc(
            d->device, cuda_direct_param_bytes(module->params[i]), "a param", &d->params[i]));
        addresses[i] = d->params[i].address;
    }
    assert_ok(mlcc_runner_create(d->device, 0, addresses, &d->runner));
}

// `rows` and `sources` (of emit_cuda_source): one per instance. Everything stays in `keep`.
static inline cuda_direct *cuda_direct_open(
    const codegen_artifact *artifact, const ir_function *function, const cuda_kernel_row **rows,
    const mlcc_str *sources, mlcc_arena *keep, const char **why) {
    const cuda_direct_machine *m = cuda_direct_machine_get(why);
    if (m == NULL) return NULL;
    cuda_direct *d = MLCC_NEW(keep, cuda_direct);
    d->artifact = artifact;
    d->rows = rows;
    d->keep = keep;
    for (int32_t i = 0; i < artifact->n_functions; i++) {
        if (artifact->functions[i].function == function) d->function = &artifact->functions[i];
    }
    assert_non_null(d->function);
    if (!cuda_direct_compile(d, m, sources, why)) return NULL;
    cuda_direct_tables(d, m);
    cuda_direct_start(d);
    return d;
}

static inline void cuda_direct_close(cuda_direct *d) {
    if (d == NULL) return;
    mlcc_runner_free(d->runner);
    for (size_t i = 0; i < d->artifact->module->n_params; i++)
        mlcc_device_free(d->device, &d->params[i]);
    mlcc_device_close(d->device);
}

#endif
