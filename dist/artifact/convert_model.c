#include "dist/artifact/convert_model.h"

#include "dist/artifact/convert_rows.h"
#include "dist/artifact/random_weights.h"
#include "frontend/hf/weight_files.h"
#include "frontend/import.h"
#include "passes/pipeline.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"

#include <string.h>
#include <sys/stat.h>

// The passes that decide names, joins and formats of the weights.
static const char *const weight_passes[] = {
    "canonicalize", "fuse_projections", "quantize", "quantize_activations", "prune"};

static bool is_auto(const char *text) {
    return text == NULL || text[0] == '\0' || strcmp(text, "auto") == 0;
}

static mlcc_status *import_module(
    const hf_model_config *config, mlcc_arena *keep, ir_module **out) {
    const import_options import = {.activation_dtype = IR_F32, .kv_dtype = IR_F16};
    return import_model(config, &import, keep, out);
}

static mlcc_status *run_passes(ir_module *module, const quant_mode *mode) {
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {.scratch = scratch, .mode = mode};
    const pass_options passes = {
        .only = weight_passes,
        .n_only = sizeof weight_passes / sizeof weight_passes[0],
        .limit = -1};
    mlcc_status *status = pass_pipeline_run(module, &passes, &context);
    mlcc_arena_free(scratch);
    return status;
}

mlcc_status *convert_module_make(
    const hf_model_config *config, const quant_mode *mode, mlcc_arena *keep, ir_module **out) {
    MLCC_TRY(import_module(config, keep, out));
    return run_passes(*out, mode);
}

// ---- the source ---------------------------------------------------------------------------------

static mlcc_status *open_files(
    const convert_model_options *options, mlcc_arena *keep, convert_model *model) {
    model->source_path = is_auto(options->source) ? model->config->directory : options->source;
    if (model->source_path == NULL) {
        return MLCC_ERROR(
            INVALID,
            "the preset '%s' is a configuration without weights; name the folder that holds them "
            "with --source",
            options->config);
    }
    // The checkpoint's word about its quantization stands beside the weights, or beside the config.
    const char *directory = mlcc_dir_exists(model->source_path)
                                ? model->source_path
                                : mlcc_path_dir(keep, model->source_path);
    const mlcc_json_value *config =
        model->config->document != NULL ? mlcc_json_root(model->config->document) : NULL;
    hf_quantization_config quantization;
    MLCC_TRY(hf_quantization_config_read(directory, config, keep, &quantization));
    MLCC_TRY(hf_weight_files_open(
        model->source_path, options->source_format, &quantization, keep, &model->source));
    model->owns_source = true;
    return import_arrange_source(model->config, model->source, keep, &model->source);
}

static mlcc_status *open_source(
    const convert_model_options *options, mlcc_arena *keep, convert_model *model) {
    if (options->weights != NULL) {
        model->source = options->weights;
        return NULL;
    }
    if (!options->random_weights) return open_files(options, keep, model);
    model->owns_source = true;
    return artifact_random_weights_open(
        model->module, model->config->model_type, keep, &model->source);
}

// Quantized tensors are checked now, before anything is written, and counted as they are stored.
static mlcc_status *check_quantized(convert_model *model) {
    hf_weight_source *source = model->source;
    if (source->quantized == NULL) return NULL;
    model->plan.source_bytes = 0;
    for (size_t i = 0; i < model->plan.n_params; i++) {
        convert_param *param = &model->plan.params[i];
        param->source_bytes = 0;
        for (size_t j = 0; j < param->n_sources; j++) {
            const hf_tensor *tensor = param->sources[j].tensor;
            const hf_quantized *quantized = NULL;
            MLCC_TRY(source->quantized(source, tensor, &quantized));
            param->source_bytes +=
                quantized != NULL ? convert_stored_bytes(quantized) : tensor->size_bytes;
            if (source->release != NULL) source->release(source, tensor);
        }
        model->plan.source_bytes += param->source_bytes;
    }
    return NULL;
}

mlcc_status *convert_model_open(
    const convert_model_options *options, mlcc_arena *keep, convert_model *out) {
    *out = (convert_model){.mode = options->mode};
    // First of all the name, which is wrong most often.
    if (options->mode == NULL) MLCC_TRY(quant_mode_find(options->quantization, &out->mode));
    MLCC_TRY(hf_model_config_read(options->config, options->model_type, NULL, keep, &out->config));
    quant_options of_checkpoint = {0};
    if (options->mode == NULL) {
        MLCC_TRY(import_quant_options(out->config, keep, &of_checkpoint));
        MLCC_TRY(quant_mode_resolve(out->mode->name, &of_checkpoint, keep, &out->mode));
    }
    MLCC_TRY(import_module(out->config, keep, &out->module));
    MLCC_TRY(open_source(options, keep, out));
    mlcc_map *used = mlcc_map_create(out->source->n_tensors);
    mlcc_status *status = convert_check_sources(out->config, out->module, out->source, used);
    if (status == NULL) status = run_passes(out->module, out->mode);
    if (status == NULL)
        status = convert_plan_make(out->config, out->module, out->source, used, keep, &out->plan);
    if (status == NULL) status = check_quantized(out);
    if (status == NULL) convert_warn_unused(out->config, out->source, used);
    mlcc_map_free(used);
    return status;
}

void convert_model_close(convert_model *model) {
    if (model->owns_source && model->source != NULL) model->source->close(model->source);
    hf_model_config_free(model->config);
    *model = (convert_model){0};
}

// ---- identity -----------------------------------------------------------------------------------

static void put_hash(mlcc_json_writer *json, const char *key, const mlcc_str *text) {
    char hex[33];
    mlcc_hash128_hex(mlcc_hash128_of(mlcc_str_text(text), text->length), hex);
    mlcc_json_key(json, key);
    mlcc_json_put_text(json, hex);
}

static void put_file(const char *directory, const char *name, mlcc_str *text, mlcc_arena *scratch) {
    struct stat info;
    if (stat(mlcc_path_join(scratch, directory, name), &info) != 0 || !S_ISREG(info.st_mode))
        return;
    mlcc_str_printf(
        text, "%s %llu %lld.%09ld\n", name, (unsigned long long)info.st_size,
        (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

static bool is_weight_file(const char *name) {
    static const char *const endings[] = {".safetensors", ".bin", ".pt", ".pth", ".json"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (mlcc_text_ends_with(name, endings[i])) return true;
    }
    return false;
}

// Every file that could hold weights: which of them do, the names of the tensors tell.
static void put_files(const char *path, mlcc_str *text) {
    mlcc_arena *scratch = mlcc_arena_create();
    const bool is_single = !mlcc_dir_exists(path) && !mlcc_text_ends_with(path, ".json");
    const char *directory = mlcc_dir_exists(path) ? path : mlcc_path_dir(scratch, path);
    char **names = NULL;
    size_t n_names = 0;
    if (is_single) {
        put_file(directory, mlcc_path_base(path), text, scratch);
    } else {
        mlcc_status_free(mlcc_dir_list(directory, scratch, &names, &n_names));
    }
    for (size_t i = 0; i < n_names; i++) {
        if (is_weight_file(names[i])) put_file(directory, names[i], text, scratch);
    }
    mlcc_arena_free(scratch);
}

static void put_tensors(const hf_weight_source *source, mlcc_str *text) {
    for (size_t i = 0; i < source->n_tensors; i++) {
        const hf_tensor *tensor = &source->tensors[i];
        mlcc_str_printf(text, "%s %d", tensor->name, (int)tensor->dtype);
        for (int32_t d = 0; d < tensor->rank; d++)
            mlcc_str_printf(text, " %lld", (long long)tensor->dims[d]);
        mlcc_str_putc(text, '\n');
    }
}

// Names and formats of what is written: the mode and all that modified it.
static void put_params(const convert_plan *plan, mlcc_str *text) {
    for (size_t i = 0; i < plan->n_params; i++) {
        const ir_param *param = plan->params[i].param;
        mlcc_str_printf(
            text, "%s %s\n", param->value.name, ir_dtype_get(param->value.type.dtype)->text);
    }
}

void convert_model_inputs(const convert_model *model, bool f32_as_bf16, mlcc_str *out) {
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, out, 0, true);
    mlcc_json_begin_object(&json);
    mlcc_json_key(&json, "version of mlcc");
    mlcc_json_put_text(&json, MLCC_VERSION);
    mlcc_json_key(&json, "quantization");
    mlcc_json_put_text(&json, model->mode->name);
    mlcc_json_key(&json, "--f32-as-bf16");
    mlcc_json_put_text(&json, f32_as_bf16 ? "on" : "off");
    mlcc_json_key(&json, "source");
    mlcc_json_put_text(&json, model->source->description);
    mlcc_str text = {0};
    mlcc_json_writer config;
    mlcc_json_writer_init(&config, &text, 0, true);
    hf_model_config_write(model->config, &config);
    put_hash(&json, "the config", &text);
    mlcc_str_clear(&text);
    put_params(&model->plan, &text);
    put_hash(&json, "the params' formats", &text);
    mlcc_str_clear(&text);
    put_tensors(model->source, &text);
    put_hash(&json, "the source's tensors", &text);
    mlcc_str_clear(&text);
    if (model->source_path != NULL) put_files(model->source_path, &text);
    put_hash(&json, "the source's files (size, time)", &text);
    mlcc_str_free(&text);
    mlcc_json_end(&json);
}
