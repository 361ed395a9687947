// generate: the driver behind target.h. Resolve the module, measure the params, emit one object, look into it, link it.
#include "codegen/artifact.h"
#include "codegen/cpu/cpu_cost.h"
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/emit_llvm.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/tune.h"
#include "codegen/cuda/cuda_target.h"
#include "codegen/link.h"
#include "codegen/object.h"
#include "codegen/report.h"
#include "codegen/target.h"
#include "ir/text.h"
#include "runtime/base/file.h"
#include "runtime/base/threads.h"

#include <string.h>

struct codegen_target {
    codegen_cpu cpu;
    cuda_target *cuda;       // NULL: the CPU is the device
    codegen_options options; // texts copied
    mlcc_arena *keep;        // the caller's, for choices
};

static const char *copy_text(mlcc_arena *keep, const char *text) {
    return text != NULL ? mlcc_arena_strdup(keep, text) : NULL;
}

mlcc_status *codegen_open(const codegen_options *options, mlcc_arena *keep, codegen_target **out) {
    *out = NULL;
    codegen_target *target = MLCC_NEW(keep, codegen_target);
    target->keep = keep;
    target->options = (codegen_options){
        .device = copy_text(keep, options->device),
        .target = mlcc_arena_strdup(keep, options->target),
        .debug_dump = copy_text(keep, options->debug_dump),
        .linker = copy_text(keep, options->linker),
        .metadata_json =
            options->metadata_json != NULL ? mlcc_arena_strdup(keep, options->metadata_json) : "{}",
        .tuning = options->tuning,
    };
    MLCC_TRY(codegen_cpu_resolve(target->options.target, keep, &target->cpu));
    if (options->device != NULL && strcmp(options->device, "cpu") != 0) {
        MLCC_TRY(cuda_target_open(mlcc_arena_strdup(keep, options->device), keep, &target->cuda));
    }
    *out = target;
    return NULL;
}

const codegen_cpu *codegen_cpu_of(const codegen_target *target) {
    return &target->cpu;
}

const char *codegen_cuda_archs_of(const codegen_target *target) {
    if (target->cuda == NULL) return NULL;
    const char *list = "";
    for (size_t i = 0; i < target->cuda->n_archs; i++) {
        const char *comma = i > 0 ? "," : "";
        list = mlcc_arena_printf(target->keep, "%s%s%s", list, comma, target->cuda->archs[i].text);
    }
    return list;
}

const kernel_row *codegen_kernel_table(size_t *n_rows) {
    return cpu_kernel_table(n_rows);
}

void codegen_close(codegen_target *target) {
    // Lives in the caller's arena; LLVM is opened and closed by every codegen_generate.
    cuda_target_close(target->cuda);
    target->cuda = NULL;
}

// ---- choices ------------------------------------------------------------------------------------------

// A row of either table, as far as choosing goes.
typedef struct candidate {
    const char *name;
    ir_op op;
} candidate;

static size_t count_rows(const codegen_target *target) {
    size_t n_rows = 0;
    if (target->cuda != NULL) {
        cuda_kernel_table(&n_rows);
    } else {
        cpu_kernel_table(&n_rows);
    }
    return n_rows;
}

static candidate row_at(const codegen_target *target, size_t index) {
    size_t n_rows = 0;
    if (target->cuda != NULL) {
        const cuda_kernel_row *row = &cuda_kernel_table(&n_rows)[index];
        return (candidate){row->name, row->op};
    }
    const kernel_row *row = &cpu_kernel_table(&n_rows)[index];
    return (candidate){row->name, row->op};
}

static const char *refusal(codegen_target *target, size_t index, const ir_function *group) {
    size_t n_rows = 0;
    if (target->cuda != NULL) {
        return cuda_kernel_refusal(target->cuda, &cuda_kernel_table(&n_rows)[index], group);
    }
    return cpu_kernel_refusal(&cpu_kernel_table(&n_rows)[index], &target->cpu, group, target->keep);
}

// Of the rows that take a group: the cost model's choice on a CPU, the last on a CUDA device.
static const char *choose_among(
    const codegen_target *target, const ir_function *group, const char *const *accepted,
    size_t n_accepted, mlcc_str *why) {
    const char *chosen = accepted[n_accepted - 1];
    if (target->cuda != NULL) return chosen;
    chosen = cpu_cost_choose_row(&target->cpu, accepted, n_accepted, group);
    if (why == NULL) return chosen;
    for (size_t i = 0; i < n_accepted; i++) {
        if (strcmp(accepted[i], chosen) != 0)
            mlcc_str_printf(why, "  passed over: %s\n", accepted[i]);
    }
    cpu_cost_explain(&target->cpu, chosen, group, why);
    return chosen;
}

mlcc_status *codegen_choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    codegen_target *target = user;
    *kernel = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    const ir_node *anchor = codegen_group_anchor(group);
    const ir_op op = anchor != NULL ? anchor->op : IR_N_OPS;
    const size_t n_rows = count_rows(target);
    const char **accepted = MLCC_NEW_ARRAY(scratch, const char *, n_rows + 1);
    size_t n_accepted = 0;
    mlcc_str refused = {0};
    for (size_t i = 0; i < n_rows; i++) {
        const candidate row = row_at(target, i);
        if (row.op != op) continue;
        const char *reason = refusal(target, i, group);
        if (reason == NULL) {
            accepted[n_accepted++] = row.name;
            continue;
        }
        mlcc_str_printf(&refused, "%s%s %s", refused.length > 0 ? "; " : "", row.name, reason);
        if (why != NULL) mlcc_str_printf(why, "  refused: %s: %s\n", row.name, reason);
    }
    mlcc_status *status = NULL;
    if (n_accepted > 0) {
        *kernel = choose_among(target, group, accepted, n_accepted, why);
    } else {
        status = MLCC_ERROR(
            UNSUPPORTED, "no kernel of target '%s' fits a group around op '%s': %s",
            target->cuda != NULL ? target->options.device : target->cpu.name,
            anchor != NULL ? ir_op_get(op)->text : "element-wise",
            refused.length > 0 ? refused.data : "there is no row for the op");
    }
    mlcc_str_free(&refused);
    mlcc_arena_free(scratch);
    return status;
}

const char *codegen_choose_chain(void *user, const ir_function *chain, int64_t *max_rows) {
    const codegen_target *target = user;
    size_t n_rows = 0;
    if (target->cuda == NULL) return NULL;
    const cuda_kernel_row *rows = cuda_kernel_table(&n_rows), *best = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].op != CUDA_CHAIN_OP) continue;
        if (cuda_kernel_refusal(target->cuda, &rows[i], chain) == NULL) best = &rows[i];
    }
    if (best == NULL) return NULL;
    *max_rows = best->entries[best->n_entries - 1].max_rows;
    return best->name;
}

const char *codegen_choose_layout(void *user, ir_op op, int32_t operand, const ir_type *type) {
    const codegen_target *target = user;
    return target->cuda != NULL ? cuda_layout_choose(op, operand, type)
                                : cpu_layout_choose(op, operand, type);
}

bool codegen_takes_codes(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    codegen_target *target = user;
    if (target->cuda != NULL) return cuda_takes_codes(weight, mantissa_bits, group);
    return cpu_takes_codes(&target->cpu, weight, mantissa_bits, group, target->keep);
}

bool codegen_takes_dtype(void *user, const ir_type *weight, ir_dtype dtype) {
    codegen_target *target = user;
    if (target->cuda != NULL) return false;
    return cpu_takes_dtype(&target->cpu, weight, dtype, target->keep);
}

// ---- generation ---------------------------------------------------------------------------------------

static int64_t round_up(int64_t size_bytes, int64_t multiple) {
    return (size_bytes + multiple - 1) / multiple * multiple;
}

static bool measure_layout(const codegen_target *target, codegen_param *param) {
    const ir_type flat = ir_type_flat(&param->param->value.type), *type = &flat;
    const char *name = param->param->layout;
    if (target->cuda != NULL) {
        return cuda_layout_measure(name, type, &param->prepared_bytes, &param->n_prepare_items);
    }
    const cpu_layout *layout = cpu_layout_find(name);
    return layout != NULL && layout->measure(type, &param->prepared_bytes, &param->n_prepare_items);
}

static mlcc_status *measure_param(const codegen_target *target, codegen_param *param) {
    const ir_value *value = &param->param->value;
    if (param->prepare < 0) {
        const int64_t multiple = target->cuda != NULL ? 256 : 64;
        const size_t size_bytes = param->pieces[0].size_bytes;
        if (size_bytes > (size_t)(INT64_MAX - multiple)) {
            return MLCC_ERROR(UNSUPPORTED, "param '%s' is too large", value->name);
        }
        param->prepared_bytes = round_up((int64_t)size_bytes, multiple);
        return NULL;
    }
    if (!measure_layout(target, param)) {
        return MLCC_ERROR(
            INTERNAL, "param '%s' of format %s cannot have layout '%s'", value->name,
            ir_dtype_get(value->type.dtype)->text, param->param->layout);
    }
    return NULL;
}

static int64_t scratch_bytes_of(const codegen_target *target, const codegen_instance *instance) {
    if (target->cuda != NULL) return cuda_target_scratch_bytes(target->cuda, instance);
    const kernel_row *row = cpu_kernel_find(instance->kernel);
    return row != NULL && row->scratch_bytes != NULL ? row->scratch_bytes(instance->group) : 0;
}

// Launches use it in turn, so the largest wish counts: for every thread of the CPU, or once on a CUDA device.
static void measure_scratch(
    const codegen_target *target, const codegen_artifact *artifact, codegen_function *f) {
    for (int32_t j = 0; j < f->n_launches; j++) {
        const codegen_instance *instance = &artifact->instances[f->launches[j].instance];
        const int64_t scratch_bytes = round_up(scratch_bytes_of(target, instance), 64);
        if (scratch_bytes > f->scratch_bytes) f->scratch_bytes = scratch_bytes;
    }
}

// Launches use it in turn too.
static mlcc_status *measure_shared(const codegen_artifact *artifact, codegen_function *f) {
    for (int32_t j = 0; j < f->n_launches; j++) {
        const codegen_instance *instance = &artifact->instances[f->launches[j].instance];
        const kernel_row *row = cpu_kernel_find(instance->kernel);
        const int64_t wish = row != NULL ? cpu_kernel_shared_bytes(row, instance->group) : 0;
        const int64_t shared_bytes = round_up(wish, 64);
        if (shared_bytes > f->shared_bytes) f->shared_bytes = shared_bytes;
    }
    if (f->function->workspace_bytes > INT64_MAX - 64 - f->shared_bytes) {
        return MLCC_ERROR(
            UNSUPPORTED, "function '%s' needs more memory than addresses reach", f->function->name);
    }
    return NULL;
}

static mlcc_status *measure(const codegen_target *target, codegen_artifact *artifact) {
    for (int32_t i = 0; i < artifact->n_params; i++) {
        MLCC_TRY(measure_param(target, &artifact->params[i]));
    }
    for (int32_t i = 0; i < artifact->n_functions; i++) {
        measure_scratch(target, artifact, &artifact->functions[i]);
        if (target->cuda == NULL) MLCC_TRY(measure_shared(artifact, &artifact->functions[i]));
    }
    return NULL;
}

static mlcc_status *dump_module(const codegen_target *target, const ir_module *module) {
    mlcc_str text = {0};
    ir_print_module(module, &text);
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = mlcc_file_write_atomic(
        mlcc_path_join(scratch, target->options.debug_dump, "plan.mlcir"), mlcc_str_text(&text),
        text.length);
    mlcc_arena_free(scratch);
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *dump_file(
    const codegen_target *target, const char *name, const void *data, size_t size_bytes,
    mlcc_arena *scratch) {
    if (target->options.debug_dump == NULL) return NULL;
    return mlcc_file_write_atomic(
        mlcc_path_join(scratch, target->options.debug_dump, name), data, size_bytes);
}

// One level on its way into the library.
typedef struct level_work {
    const codegen_target *target;
    codegen_artifact *artifact;
    cpu_knobs *knobs; // per instance of the artifact, on a CPU
    emit_llvm_cuda cuda;
    codegen_object object;
    mlcc_arena *keep; // its own, because levels are compiled side by side
    mlcc_status *status;
} level_work;

// Values for every instance's knobs: the cost model's, then those of timing.
static mlcc_status *choose_knobs(level_work *work, mlcc_arena *scratch) {
    const codegen_target *target = work->target;
    const codegen_artifact *artifact = work->artifact;
    work->knobs = MLCC_NEW_ARRAY(scratch, cpu_knobs, (size_t)artifact->n_instances + 1);
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        work->knobs[i] = cpu_cost_choose_knobs(&target->cpu, instance->kernel, instance->group);
    }
    if (target->options.tuning == NULL) return NULL;
    const emit_llvm_options options = {
        .cpu = &target->cpu, .metadata_json = "{}", .layout_version = cpu_layout_version()};
    return cpu_tune(artifact, &options, target->options.tuning, work->knobs);
}

static mlcc_status *plan_level(const codegen_level *level, level_work *work, mlcc_arena *scratch) {
    const codegen_target *target = level->target;
    work->target = target;
    if (target->options.debug_dump != NULL) {
        MLCC_TRY(mlcc_dir_make(target->options.debug_dump));
        MLCC_TRY(dump_module(target, level->module));
    }
    MLCC_TRY(codegen_artifact_build(level->module, scratch, &work->artifact));
    MLCC_TRY(measure(target, work->artifact));
    if (target->cuda == NULL) return choose_knobs(work, scratch);
    int major = 0, minor = 0;
    nvrtc_version(target->cuda->nvrtc, &major, &minor);
    work->cuda.nvrtc_version = major * 100 + minor;
    return cuda_target_compile(
        target->cuda, work->artifact, target->options.debug_dump, scratch, &work->cuda.compiled);
}

static mlcc_status *emit_level(level_work *work, size_t level, size_t n_levels) {
    const codegen_target *target = work->target;
    const emit_llvm_options options = {
        .cpu = &target->cpu,
        .metadata_json = target->options.metadata_json,
        .layout_version = target->cuda != NULL ? cuda_layout_version() : cpu_layout_version(),
        .debug_dump = target->options.debug_dump,
        .n_levels = n_levels,
        .level = level,
        .knobs = work->knobs,
        .cuda = target->cuda != NULL ? &work->cuda : NULL,
    };
    codegen_object *object = &work->object;
    MLCC_TRY(
        emit_llvm_object(work->artifact, &options, work->keep, &object->data, &object->size_bytes));
    MLCC_TRY(dump_file(target, "lib.o", object->data, object->size_bytes, work->keep));
    return codegen_object_check(object->data, object->size_bytes);
}

typedef struct emission {
    level_work *works;
    size_t n_levels;
} emission;

static void emit_some(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const emission *job = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        job->works[i].status = emit_level(&job->works[i], (size_t)i, job->n_levels);
}

// Every level is a module of LLVM's in a context of its own: nothing is shared but what is only read.
static mlcc_status *emit_levels(level_work *works, size_t n_levels) {
    if (n_levels == 1) return emit_level(&works[0], 0, 1);
    emission job = {works, n_levels};
    const int32_t n_cores = mlcc_physical_cores();
    mlcc_pool *pool = NULL;
    MLCC_TRY(mlcc_pool_create(n_levels < (size_t)n_cores ? (int32_t)n_levels : n_cores, &pool));
    mlcc_pool_for(pool, (int64_t)n_levels, 1, emit_some, &job);
    mlcc_pool_free(pool);
    mlcc_status *first = NULL;
    for (size_t i = 0; i < n_levels; i++) {
        mlcc_status *status = works[i].status;
        if (first != NULL) {
            mlcc_status_free(status);
        } else {
            first = mlcc_status_note(status, "CPU level '%s'", works[i].target->cpu.name);
        }
    }
    return first;
}

static mlcc_status *dump_report(const level_work *work, const char *linker, mlcc_arena *scratch) {
    const codegen_target *target = work->target;
    if (target->options.debug_dump == NULL) return NULL;
    mlcc_str report = {0};
    const cpu_share *shares =
        target->cuda == NULL ? cpu_share_instances(work->artifact, work->knobs, scratch) : NULL;
    codegen_report(work->artifact, shares, &target->cpu, linker, work->object.size_bytes, &report);
    if (target->cuda != NULL)
        cuda_target_report(target->cuda, work->artifact, &work->cuda.compiled, &report);
    mlcc_status *status =
        dump_file(target, "report.txt", mlcc_str_text(&report), report.length, scratch);
    mlcc_str_free(&report);
    return status;
}

// Every level reads the same weights.
static mlcc_status *check_params(const codegen_level *first, const codegen_level *level) {
    const mlcc_hash128 expected = codegen_param_fingerprint(first->module);
    if (mlcc_hash128_equal(codegen_param_fingerprint(level->module), expected)) return NULL;
    return MLCC_ERROR(
        INTERNAL, "the plans for CPU levels '%s' and '%s' have different params",
        first->target->cpu.name, level->target->cpu.name);
}

static mlcc_status *generate(
    const codegen_level *levels, level_work *works, size_t n_levels, const char *path,
    mlcc_arena *scratch) {
    for (size_t i = 0; i < n_levels; i++) {
        MLCC_TRY(check_params(&levels[0], &levels[i]));
        MLCC_TRY(plan_level(&levels[i], &works[i], scratch));
    }
    MLCC_TRY(emit_levels(works, n_levels));
    codegen_object *objects = MLCC_NEW_ARRAY(scratch, codegen_object, n_levels);
    for (size_t i = 0; i < n_levels; i++) objects[i] = works[i].object;
    const codegen_target *first = levels[0].target;
    const char *linker = NULL;
    MLCC_TRY(codegen_link(
        &first->cpu, first->options.linker, objects, n_levels, path, scratch, &linker));
    for (size_t i = 0; i < n_levels; i++) MLCC_TRY(dump_report(&works[i], linker, scratch));
    return NULL;
}

mlcc_status *codegen_generate_levels(
    const codegen_level *levels, size_t n_levels, const char *path) {
    mlcc_arena *scratch = mlcc_arena_create();
    level_work *works = MLCC_NEW_ARRAY(scratch, level_work, n_levels);
    for (size_t i = 0; i < n_levels; i++) works[i].keep = mlcc_arena_create();
    mlcc_status *status = generate(levels, works, n_levels, path, scratch);
    for (size_t i = 0; i < n_levels; i++) mlcc_arena_free(works[i].keep);
    mlcc_arena_free(scratch);
    if (n_levels > 1)
        return mlcc_status_note(status, "generating %s for %zu CPU levels", path, n_levels);
    const codegen_target *target = levels[0].target;
    return mlcc_status_note(
        status, "generating %s for target '%s'", path,
        target->cuda != NULL ? target->options.device : target->cpu.name);
}

mlcc_status *codegen_generate(codegen_target *target, const ir_module *module, const char *path) {
    return codegen_generate_levels(&(codegen_level){target, module}, 1, path);
}
