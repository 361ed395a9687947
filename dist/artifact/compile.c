#include "dist/artifact/compile.h"

#include "codegen/target.h"
#include "dist/artifact/compile_device.h"
#include "dist/artifact/compile_metadata.h"
#include "dist/artifact/compile_options.h"
#include "frontend/import.h"
#include "ir/text.h"
#include "ir/walk.h"
#include "passes/pipeline.h"
#include "quantization/format.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/device/cpu_features.h"

#include <string.h>

// On a CPU more tokens in one pass than these bring no speed, only workspace.
enum { MAX_CPU_TOKENS = 512, MAX_CPU_SEQUENCES = 128 };
// A GPU's matrix units are busy from a few thousand tokens on.
enum { MAX_CUDA_TOKENS = 2048, MAX_CUDA_SEQUENCES = 128 };
// After so many seconds of timing no further product is begun.
static const double tune_budget_s = 60;
// What gen_config writes where nobody asks for another max_batch_size; Hugging Face's config has none.
enum { GEN_CONFIG_SEQUENCES = 128 };

// The model for one CPU level of the library; most libraries have one.
typedef struct compile_level {
    const char *target;     // as --target names it
    const char *debug_dump; // directory, or NULL
    ir_module *module;
    // Answers the passes; opened before the metadata exists, which depends on the answers.
    codegen_target *chooser;
    codegen_target *generator;
} compile_level;

typedef struct compilation {
    const artifact_compile_options *options;
    artifact_compile_result *result;
    mlcc_arena *keep;
    hf_config_overrides overrides;
    compile_opt opt;
    codegen_tuning tuning;  // where opt.tune
    mlcc_json *chat_config; // mlc-chat-config.json; NULL when the model is a Hugging Face config
    compile_facts facts;
    hf_model_config *config;
    ir_module *module; // as imported; every level plans its own
    compile_level *levels;
    size_t n_levels;
} compilation;

static bool is_auto(const char *text) {
    return text == NULL || text[0] == '\0' || strcmp(text, "auto") == 0;
}

// mlc-chat-config.json if `model` is one or holds one; NULL: read it as a Hugging Face config or
// preset.
static mlcc_status *find_chat_config(compilation *c, const char **path) {
    static const char name[] = "mlc-chat-config.json";
    const char *model = c->options->model;
    *path = NULL;
    if (mlcc_dir_exists(model)) {
        const char *inside = mlcc_path_join(c->keep, model, name);
        const char *hugging_face = mlcc_path_join(c->keep, model, "config.json");
        if (mlcc_file_exists(inside)) {
            *path = inside;
        } else if (!mlcc_file_exists(hugging_face)) {
            return MLCC_ERROR(
                INVALID, "'%s' holds neither %s nor config.json; run mlcc gen_config first", model,
                name);
        }
    } else if (mlcc_file_exists(model) && strcmp(mlcc_path_base(model), "config.json") != 0) {
        *path = model;
    }
    return NULL;
}

// The mode as the checkpoint wants it, so that convert_weight and compile agree.
static mlcc_status *resolve_mode(compilation *c, const char *name) {
    quant_options options;
    MLCC_TRY(import_quant_options(c->config, c->keep, &options));
    return quant_mode_resolve(name, &options, c->keep, &c->facts.mode);
}

static mlcc_status *read_chat_config(compilation *c, const char *path) {
    MLCC_TRY(mlcc_json_read_file(path, 0, &c->chat_config));
    const mlcc_json_value *root = mlcc_json_root(c->chat_config);
    MLCC_TRY(hf_model_config_from_mlc(root, path, &c->overrides, c->keep, &c->config));
    const char *quantization = c->options->quantization;
    if (quantization == NULL)
        MLCC_TRY_NOTE(
            mlcc_json_get_text(root, "quantization", true, &quantization), "reading '%s'", path);
    MLCC_TRY(resolve_mode(c, quantization));
    MLCC_TRY_NOTE(
        mlcc_json_get_i64(
            root, "active_vocab_size", false, 1, INT32_MAX, &c->facts.active_vocab_size),
        "reading '%s'", path);
    MLCC_TRY_NOTE(
        mlcc_json_get_text(root, "model_task", false, &c->facts.model_task), "reading '%s'", path);
    const mlcc_json_value *embedding = mlcc_json_get(root, "embedding_metadata");
    if (mlcc_json_kind_of(embedding) != MLCC_JSON_NULL) c->facts.embedding_metadata = embedding;
    return NULL;
}

static mlcc_status *read_config(compilation *c) {
    const artifact_compile_options *options = c->options;
    const char *path = NULL;
    MLCC_TRY(find_chat_config(c, &path));
    if (path != NULL) {
        MLCC_TRY(read_chat_config(c, path));
        if (!is_auto(options->model_type) &&
            strcmp(options->model_type, c->config->model_type) != 0) {
            return MLCC_ERROR(
                INVALID,
                "--model-type is '%s', but '%s' says '%s'; make the config anew with gen_config "
                "--model-type",
                options->model_type, path, c->config->model_type);
        }
        return NULL;
    }
    hf_config_overrides overrides = c->overrides;
    if (overrides.max_batch_size == 0) overrides.max_batch_size = GEN_CONFIG_SEQUENCES;
    MLCC_TRY_NOTE(
        hf_model_config_read(options->model, options->model_type, &overrides, c->keep, &c->config),
        "reading '%s', which is no mlc-chat-config.json", options->model);
    // Only now, because a model that is not there is the likelier mistake.
    if (options->quantization == NULL) {
        return MLCC_ERROR(
            INVALID,
            "'%s' is no mlc-chat-config.json and names no quantization mode; give --quantization",
            options->model);
    }
    c->facts.model_task = import_task(c->config);
    return resolve_mode(c, options->quantization);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

// The device as codegen names it; "auto" is the CPU, which is everywhere.
static const char *device_of(const artifact_compile_options *options) {
    return is_auto(options->device) ? "cpu" : options->device;
}

static bool is_cuda(const artifact_compile_options *options) {
    return mlcc_text_starts_with(device_of(options), "cuda");
}

// A library for the GPU has no fast host code, only prepare functions: it runs on any CPU of this family.
static const char *target_of(const artifact_compile_options *options) {
    if (options->target != NULL) return options->target;
    if (!is_cuda(options)) return "native";
#if defined(__aarch64__)
    return "aarch64";
#else
    return "x86-64-v2";
#endif
}

static mlcc_status *import(compilation *c) {
    bool disaggregation = false;
    MLCC_TRY(compile_overrides_parse(c->options->overrides, &c->overrides, &disaggregation));
    MLCC_TRY(read_config(c));
    c->facts.config = c->config;
    const bool on_cuda = is_cuda(c->options);
    if (disaggregation || c->config->disaggregation) {
        return MLCC_ERROR(
            UNSUPPORTED, "disaggregation is on, which mlcc does not do; accepted is --overrides "
                         "disaggregation=false");
    }
    const int64_t most_tokens = on_cuda ? MAX_CUDA_TOKENS : MAX_CPU_TOKENS;
    c->facts.max_tokens = c->overrides.prefill_chunk_size > 0
                              ? c->config->prefill_chunk_size
                              : smaller(c->config->prefill_chunk_size, most_tokens);
    // A pass of an encoder takes several whole texts, the longest among them.
    if (c->overrides.prefill_chunk_size == 0 && import_is_encoder(c->config))
        c->facts.max_tokens = larger(c->config->prefill_chunk_size, most_tokens);
    c->facts.max_sequences =
        c->overrides.max_batch_size > 0
            ? c->config->max_batch_size
            : smaller(c->config->max_batch_size, on_cuda ? MAX_CUDA_SEQUENCES : MAX_CPU_SEQUENCES);
    // float32 modes promise exactness end to end; the others already rounded their weights more
    // than float16 rounds keys and values.
    c->facts.kv_dtype =
        c->facts.mode->model == IR_F32 && c->facts.mode->linear == IR_F32 ? IR_F32 : IR_F16;
    // Between the ops of a CPU stand float32 values, which its vectors want; a GPU's matrix units take the mode's own 16 bits.
    const import_options options = {
        .activation_dtype = on_cuda ? c->facts.mode->model : IR_F32,
        .kv_dtype = c->facts.kv_dtype,
        .max_tokens = c->facts.max_tokens,
        .max_sequences = c->facts.max_sequences,
        .samples = on_cuda};
    return import_model(c->config, &options, c->keep, &c->module);
}

// A file of --debug-dump.
static mlcc_status *dump_text(
    const compilation *c, const char *folder, const char *name, const mlcc_str *text) {
    if (folder == NULL) return NULL;
    MLCC_TRY(mlcc_dir_make(folder));
    return mlcc_file_write_atomic(
        mlcc_path_join(c->keep, folder, name), mlcc_str_text(text), text->length);
}

static mlcc_status *dump_module(const compilation *c, const char *name) {
    if (c->options->debug_dump == NULL) return NULL;
    mlcc_str text = {0};
    ir_print_module(c->module, &text);
    mlcc_status *status = dump_text(c, c->options->debug_dump, name, &text);
    mlcc_str_free(&text);
    return status;
}

static codegen_options codegen_options_of(const compilation *c, const compile_level *level) {
    return (codegen_options){.device = device_of(c->options),
                             .target = level->target,
                             .linker = c->options->linker,
                             .metadata_json = "{}",
                             .tuning = c->opt.tune ? &c->tuning : NULL};
}

// Tuning runs the code that it compiles.
static mlcc_status *check_tuning(const codegen_cpu *cpu) {
    const char *here = mlcc_cpu_architecture();
    const bool is_here =
        mlcc_text_starts_with(cpu->triple, "aarch64") == mlcc_text_starts_with(here, "aarch64");
    mlcc_str missing = {0};
    mlcc_status *status = NULL;
    if (!is_here) {
        status = MLCC_ERROR(
            UNSUPPORTED,
            "--opt tune times kernels on this machine, which is %s and cannot run code for target "
            "'%s'; compile there, or without tune",
            here, cpu->name);
    } else if (mlcc_cpu_missing(cpu->features, &missing) > 0) {
        status = MLCC_ERROR(
            UNSUPPORTED,
            "--opt tune times kernels on this machine, which cannot run code for target '%s': it "
            "lacks %s; compile there, or without tune",
            cpu->name, mlcc_str_text(&missing));
    } else {
        status = mlcc_cpu_request(cpu->features);
    }
    mlcc_str_free(&missing);
    return status;
}

static mlcc_status *open_tuning(compilation *c) {
    if (!c->opt.tune) return NULL;
    const artifact_compile_options *options = c->options;
    if (is_cuda(options)) {
        return MLCC_ERROR(
            UNSUPPORTED, "--opt tune is for the CPU, --device is '%s'; compile without tune",
            options->device);
    }
    c->tuning = (codegen_tuning){.cache_dir = options->tune_dir,
                                 .budget_s = tune_budget_s,
                                 .progress = options->tune_progress,
                                 .user = options->tune_user,
                                 .explain = options->explain_kernels};
    for (size_t i = 0; i < c->n_levels; i++)
        MLCC_TRY(check_tuning(codegen_cpu_of(c->levels[i].chooser)));
    return NULL;
}

static mlcc_status *open_levels(compilation *c) {
    const char *targets = target_of(c->options), **names = NULL;
    size_t n = 0;
    MLCC_TRY(codegen_split_levels(targets, c->keep, &names, &n));
    if (n > 1 && is_cuda(c->options)) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "--target names %zu CPU levels ('%s'); beside a CUDA device accepted is one, for its "
            "code only prepares weights",
            n, targets);
    }
    c->levels = MLCC_NEW_ARRAY(c->keep, compile_level, n);
    const char *folder = c->options->debug_dump, *comma = "";
    for (; c->n_levels < n; c->n_levels++) {
        compile_level *level = &c->levels[c->n_levels];
        level->target = names[c->n_levels];
        const codegen_options options = codegen_options_of(c, level);
        MLCC_TRY(codegen_open(&options, c->keep, &level->chooser));
        const char *name = codegen_cpu_of(level->chooser)->name;
        level->module = n > 1 ? ir_module_clone(c->module, c->keep) : c->module;
        level->debug_dump =
            n > 1 && folder != NULL ? mlcc_path_join(c->keep, folder, name) : folder;
        if (n == 1) continue;
        const char *before = c->n_levels > 0 ? c->facts.cpu_levels : "";
        c->facts.cpu_levels = mlcc_arena_printf(c->keep, "%s%s%s", before, comma, name);
        comma = ",";
    }
    return NULL;
}

static void close_levels(compilation *c) {
    for (size_t i = 0; i < c->n_levels; i++) {
        if (c->levels[i].generator != NULL) codegen_close(c->levels[i].generator);
        if (c->levels[i].chooser != NULL) codegen_close(c->levels[i].chooser);
    }
}

// A heading where the levels' texts follow each other.
static void say_level(const compilation *c, const compile_level *level) {
    if (c->n_levels == 1) return;
    const artifact_compile_options *options = c->options;
    const char *name = codegen_cpu_of(level->chooser)->name;
    if (options->explain_kernels != NULL)
        mlcc_str_printf(options->explain_kernels, "CPU level %s\n", name);
    if (options->dump_ir != NULL && options->debug_dump == NULL)
        fprintf(
            options->dump_stream != NULL ? options->dump_stream : stdout, "# ---- CPU level %s\n",
            name);
}

static mlcc_status *run_passes(compilation *c, const compile_level *level) {
    const artifact_compile_options *options = c->options;
    say_level(c, level);
    const pass_target target = {
        .user = level->chooser,
        .choose_kernel = codegen_choose_kernel,
        .choose_layout = codegen_choose_layout,
        .choose_chain = codegen_choose_chain,
        .takes_codes = codegen_takes_codes,
        .takes_dtype = codegen_takes_dtype};
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {
        .scratch = scratch,
        .mode = c->facts.mode,
        .target = &target,
        .exact = c->opt.exact,
        .explain = options->explain_kernels};
    const pass_options passes = {
        .limit = -1,
        .dump = options->dump_ir != NULL    ? options->dump_ir
                : level->debug_dump != NULL ? "changed"
                                            : NULL,
        .dump_dir = level->debug_dump,
        .dump_stream = options->dump_stream != NULL ? options->dump_stream : stdout,
        .times = options->time_passes,
    };
    mlcc_status *status = NULL;
    if (level->debug_dump != NULL) status = mlcc_dir_make(level->debug_dump);
    if (status == NULL) status = pass_pipeline_run(level->module, &passes, &context);
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *plan_levels(compilation *c) {
    for (size_t i = 0; i < c->n_levels; i++) {
        mlcc_status *status = run_passes(c, &c->levels[i]);
        if (status == NULL) continue;
        if (c->n_levels == 1) return status;
        return mlcc_status_note(status, "planning for CPU level '%s'", c->levels[i].target);
    }
    return NULL;
}

// The metadata of a level, and the target that will write it into the library.
static mlcc_status *open_generator(compilation *c, compile_level *level) {
    mlcc_str metadata = {0};
    mlcc_status *status = NULL;
    c->facts.module = level->module;
    c->facts.cpu = codegen_cpu_of(level->chooser);
    c->facts.cuda_archs = codegen_cuda_archs_of(level->chooser);
    MLCC_GOTO(compile_metadata_json(&c->facts, &metadata), done);
    MLCC_GOTO(dump_text(c, level->debug_dump, "metadata.json", &metadata), done);
    codegen_options options = codegen_options_of(c, level);
    options.debug_dump = level->debug_dump;
    options.metadata_json = mlcc_str_text(&metadata);
    status = codegen_open(&options, c->keep, &level->generator);
done:
    mlcc_str_free(&metadata);
    return status;
}

static mlcc_status *generate(compilation *c) {
    codegen_level *levels = MLCC_NEW_ARRAY(c->keep, codegen_level, c->n_levels);
    for (size_t i = 0; i < c->n_levels; i++) {
        MLCC_TRY(open_generator(c, &c->levels[i]));
        levels[i] = (codegen_level){c->levels[i].generator, c->levels[i].module};
    }
    return codegen_generate_levels(levels, c->n_levels, c->options->output);
}

static void count(compilation *c) {
    artifact_compile_result *result = c->result;
    const ir_module *module = c->levels[c->n_levels - 1].module;
    for (size_t i = 0; i < module->n_functions; i++) {
        const ir_function *function = module->functions[i];
        if (function->is_group) {
            result->n_groups++;
            continue;
        }
        if (function->workspace_bytes > (int64_t)result->workspace_bytes)
            result->workspace_bytes = (uint64_t)function->workspace_bytes;
        for (const ir_node *node = function->first; node != NULL; node = node->next)
            result->n_launches += node->op == IR_OP_LAUNCH;
    }
    result->n_levels = c->n_levels;
    result->max_tokens = c->facts.max_tokens;
    result->max_sequences = c->facts.max_sequences;
}

static mlcc_status *count_weights(compilation *c) {
    const ir_module *module = c->levels[c->n_levels - 1].module;
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_type *type = &module->params[i]->value.type;
        quant_piece pieces[QUANT_MAX_PIECES];
        int32_t n_pieces = 0;
        int64_t n_elements = 0;
        MLCC_TRY(quant_format_of(type->dtype)->pieces(type, pieces, &n_pieces));
        for (int32_t j = 0; j < n_pieces; j++) c->result->weight_bytes += pieces[j].size_bytes;
        if (ir_type_bound_elements(type, &n_elements)) c->result->n_weights += (uint64_t)n_elements;
    }
    return NULL;
}

static mlcc_status *compile(compilation *c) {
    const artifact_compile_options *options = c->options;
    const double start_s = mlcc_clock_s();
    if (!options->plan_only) MLCC_TRY(compile_output_check(options->output, c->keep));
    MLCC_TRY(compile_opt_parse(options->opt, &c->opt));
    MLCC_TRY(import(c));
    if (options->debug_dump != NULL) MLCC_TRY(mlcc_dir_make(options->debug_dump));
    MLCC_TRY(dump_module(c, "before.mlcir"));
    MLCC_TRY(open_levels(c));
    MLCC_TRY(open_tuning(c));
    const double frontend_end_s = mlcc_clock_s();
    MLCC_TRY(plan_levels(c));
    const double passes_end_s = mlcc_clock_s();
    if (!options->plan_only) {
        MLCC_TRY(generate(c));
        MLCC_TRY(mlcc_file_size(options->output, &c->result->library_bytes));
    }
    count(c);
    MLCC_TRY(count_weights(c));
    c->result->frontend_s = frontend_end_s - start_s;
    c->result->passes_s = passes_end_s - frontend_end_s;
    c->result->codegen_s = mlcc_clock_s() - passes_end_s;
    c->result->seconds = mlcc_clock_s() - start_s;
    return NULL;
}

mlcc_status *artifact_compile(
    const artifact_compile_options *options, artifact_compile_result *result) {
    artifact_compile_result unused;
    if (result == NULL) result = &unused;
    *result = (artifact_compile_result){0};
    artifact_compile_options resolved = *options;
    compilation c = {.options = &resolved, .result = result, .keep = mlcc_arena_create()};
    c.facts.active_vocab_size = -1;
    c.facts.model_task = "chat";
    mlcc_status *status = compile_device_resolve(options->device, c.keep, &resolved.device);
    if (status == NULL) status = compile(&c);
    close_levels(&c);
    hf_model_config_free(c.config);
    mlcc_json_free(c.chat_config);
    mlcc_arena_free(c.keep);
    return mlcc_status_note(status, "compiling '%s'", options->model);
}
