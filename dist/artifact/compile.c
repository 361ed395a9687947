#include "dist/artifact/compile.h"

#include "codegen/target.h"
#include "dist/artifact/compile_device.h"
#include "dist/artifact/compile_metadata.h"
#include "dist/artifact/compile_options.h"
#include "frontend/import.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

#include <string.h>

// On a CPU more tokens in one pass than these bring no speed, only workspace.
enum { MAX_CPU_TOKENS = 512, MAX_CPU_SEQUENCES = 128 };
// A GPU's matrix units are busy from a few thousand tokens on.
enum { MAX_CUDA_TOKENS = 2048, MAX_CUDA_SEQUENCES = 128 };
// What gen_config writes where nobody asks for another max_batch_size; Hugging Face's config has none.
enum { GEN_CONFIG_SEQUENCES = 128 };

typedef struct compilation {
    const artifact_compile_options *options;
    artifact_compile_result *result;
    mlcc_arena *keep;
    hf_config_overrides overrides;
    mlcc_json *chat_config; // mlc-chat-config.json; NULL when the model is a Hugging Face config
    compile_facts facts;
    hf_model_config *config;
    ir_module *module;
    // Answers the passes; opened before the metadata exists, which depends on the answers.
    codegen_target *chooser;
    codegen_target *generator;
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
    if (options->quantization == NULL) {
        return MLCC_ERROR(
            INVALID,
            "'%s' is no mlc-chat-config.json and names no quantization mode; give --quantization",
            options->model);
    }
    hf_config_overrides overrides = c->overrides;
    if (overrides.max_batch_size == 0) overrides.max_batch_size = GEN_CONFIG_SEQUENCES;
    MLCC_TRY(
        hf_model_config_read(options->model, options->model_type, &overrides, c->keep, &c->config));
    return resolve_mode(c, options->quantization);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
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
    c->facts.max_tokens =
        c->overrides.prefill_chunk_size > 0
            ? c->config->prefill_chunk_size
            : smaller(c->config->prefill_chunk_size, on_cuda ? MAX_CUDA_TOKENS : MAX_CPU_TOKENS);
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
static mlcc_status *dump_text(const compilation *c, const char *name, const mlcc_str *text) {
    return mlcc_file_write_atomic(
        mlcc_path_join(c->keep, c->options->debug_dump, name), mlcc_str_text(text), text->length);
}

static mlcc_status *dump_module(const compilation *c, const char *name) {
    if (c->options->debug_dump == NULL) return NULL;
    mlcc_str text = {0};
    ir_print_module(c->module, &text);
    mlcc_status *status = dump_text(c, name, &text);
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *run_passes(compilation *c) {
    const artifact_compile_options *options = c->options;
    const pass_target target = {
        .user = c->chooser,
        .choose_kernel = codegen_choose_kernel,
        .choose_layout = codegen_choose_layout,
        .choose_chain = codegen_choose_chain,
        .takes_codes = codegen_takes_codes};
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {
        .scratch = scratch,
        .mode = c->facts.mode,
        .target = &target,
        .explain = options->explain_kernels};
    const pass_options passes = {
        .limit = -1,
        .dump = options->dump_ir != NULL      ? options->dump_ir
                : options->debug_dump != NULL ? "changed"
                                              : NULL,
        .dump_dir = options->debug_dump,
        .dump_stream = options->dump_stream != NULL ? options->dump_stream : stdout,
        .times = options->time_passes,
    };
    mlcc_status *status = pass_pipeline_run(c->module, &passes, &context);
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *generate(compilation *c) {
    const artifact_compile_options *options = c->options;
    mlcc_str metadata = {0};
    mlcc_status *status = NULL;
    c->facts.module = c->module;
    c->facts.cpu = codegen_cpu_of(c->chooser);
    c->facts.cuda_archs = codegen_cuda_archs_of(c->chooser);
    MLCC_GOTO(compile_metadata_json(&c->facts, &metadata), done);
    if (options->debug_dump != NULL) MLCC_GOTO(dump_text(c, "metadata.json", &metadata), done);
    const codegen_options codegen = {
        .device = device_of(options),
        .target = target_of(options),
        .debug_dump = options->debug_dump,
        .linker = options->linker,
        .metadata_json = mlcc_str_text(&metadata),
    };
    MLCC_GOTO(codegen_open(&codegen, c->keep, &c->generator), done);
    status = codegen_generate(c->generator, c->module, options->output);
done:
    mlcc_str_free(&metadata);
    return status;
}

static void count(compilation *c) {
    artifact_compile_result *result = c->result;
    for (size_t i = 0; i < c->module->n_functions; i++) {
        const ir_function *function = c->module->functions[i];
        if (function->is_group) {
            result->n_groups++;
            continue;
        }
        if (function->workspace_bytes > (int64_t)result->workspace_bytes)
            result->workspace_bytes = (uint64_t)function->workspace_bytes;
        for (const ir_node *node = function->first; node != NULL; node = node->next)
            result->n_launches += node->op == IR_OP_LAUNCH;
    }
    result->max_tokens = c->facts.max_tokens;
    result->max_sequences = c->facts.max_sequences;
}

static mlcc_status *compile(compilation *c) {
    const artifact_compile_options *options = c->options;
    const double start_s = mlcc_clock_s();
    MLCC_TRY(compile_output_check(options->output, c->keep));
    MLCC_TRY(compile_opt_check(options->opt));
    MLCC_TRY(import(c));
    if (options->debug_dump != NULL) MLCC_TRY(mlcc_dir_make(options->debug_dump));
    MLCC_TRY(dump_module(c, "before.mlcir"));
    const codegen_options chooser = {
        .device = device_of(options),
        .target = target_of(options),
        .linker = options->linker,
        .metadata_json = "{}"};
    MLCC_TRY(codegen_open(&chooser, c->keep, &c->chooser));
    const double frontend_end_s = mlcc_clock_s();
    MLCC_TRY(run_passes(c));
    const double passes_end_s = mlcc_clock_s();
    MLCC_TRY(generate(c));
    MLCC_TRY(mlcc_file_size(options->output, &c->result->library_bytes));
    count(c);
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
    if (c.generator != NULL) codegen_close(c.generator);
    if (c.chooser != NULL) codegen_close(c.chooser);
    hf_model_config_free(c.config);
    mlcc_json_free(c.chat_config);
    mlcc_arena_free(c.keep);
    return mlcc_status_note(status, "compiling '%s'", options->model);
}
