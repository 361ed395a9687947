// What a model directory or a Hugging Face folder holds: configuration, tokenizer, weights, lib.so.
#include "dist/artifact/store_directory.h"
#include "dist/cli/compile/inspect.h"
#include "frontend/hf/model_config.h"
#include "frontend/hf/tokenizer_files.h"
#include "frontend/import.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/model/tensor_cache.h"

#include <string.h>

// ---- configuration ------------------------------------------------------------------------------------------

static mlcc_status *count_parameters(
    const hf_model_config *config, mlcc_arena *keep, int64_t *n_parameters) {
    ir_module *module = NULL;
    import_options options = {.activation_dtype = IR_F32, .kv_dtype = IR_F32};
    MLCC_TRY(import_model(config, &options, keep, &module));
    *n_parameters = 0;
    for (size_t i = 0; i < module->n_params; i++) {
        int64_t n_elements = 0;
        if (ir_type_bound_elements(&module->params[i]->value.type, &n_elements))
            *n_parameters += n_elements;
    }
    return NULL;
}

static const char *rope_scaling_text(const hf_model_config *config) {
    switch (config->rope_scaling.kind) {
    case HF_ROPE_LLAMA3: return "llama3";
    case HF_ROPE_LINEAR: return "linear";
    case HF_ROPE_YARN: return "yarn";
    case HF_ROPE_LONGROPE: return "longrope";
    case HF_ROPE_NONE: break;
    }
    return NULL;
}

static mlcc_status *put_config(
    inspect_report *report, const hf_model_config *config, const char *quantization,
    const char *conv_template, mlcc_arena *keep) {
    int64_t n_parameters = 0;
    MLCC_TRY(count_parameters(config, keep, &n_parameters));
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"parameters", n_parameters},
        {"n_layers", config->n_layers},
        {"d_model", config->d_model},
        {"d_ff", config->d_ff},
        {"n_heads", config->n_heads},
        {"n_kv_heads", config->n_kv_heads},
        {"head_dim", config->head_dim},
        {"vocab", config->vocab},
        {"context_window_size", config->context_window_size},
        {"prefill_chunk_size", config->prefill_chunk_size},
        {"max_batch_size", config->max_batch_size},
    };
    inspect_section(report, "config");
    inspect_put_text(report, "model_type", config->model_type);
    inspect_put_text(report, "quantization", quantization);
    inspect_put_text(report, "conv_template", conv_template);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        inspect_put_int(report, numbers[i].key, numbers[i].value);
    inspect_put_real(report, "rope_theta", config->rope_theta);
    inspect_put_text(report, "rope_scaling", rope_scaling_text(config));
    inspect_put_real(report, "norm_eps", config->norm_eps);
    inspect_put_bool(report, "tied_head", config->tie_word_embeddings);
    inspect_section_end(report);
    return NULL;
}

static mlcc_status *put_mlc_config(inspect_report *report, const char *path, mlcc_arena *keep) {
    mlcc_json *json = NULL;
    hf_model_config *config = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 16u << 20, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    const mlcc_json_value *conv = mlcc_json_get(root, "conv_template");
    const char *template_name = mlcc_json_text(mlcc_json_get(conv, "name"), NULL);
    if (template_name == NULL) template_name = mlcc_json_text(conv, NULL);
    const char *quantization = mlcc_json_text(mlcc_json_get(root, "quantization"), NULL);
    mlcc_status *status = hf_model_config_from_mlc(root, path, NULL, keep, &config);
    if (status == NULL) status = put_config(report, config, quantization, template_name, keep);
    hf_model_config_free(config);
    mlcc_json_free(json);
    return status;
}

static mlcc_status *put_hf_config(inspect_report *report, const char *directory, mlcc_arena *keep) {
    hf_model_config *config = NULL;
    MLCC_TRY(hf_model_config_read(directory, NULL, NULL, keep, &config));
    mlcc_status *status = put_config(report, config, NULL, NULL, keep);
    hf_model_config_free(config);
    return status;
}

// ---- tokenizer ----------------------------------------------------------------------------------------------

static mlcc_status *put_tokenizer(inspect_report *report, const char *directory, mlcc_arena *keep) {
    hf_tokenizer_files files;
    MLCC_TRY(hf_tokenizer_files_find(directory, keep, &files));
    mlcc_str names = {0};
    for (size_t i = 0; i < files.n_names; i++)
        mlcc_str_printf(&names, "%s%s", i > 0 ? ", " : "", files.names[i]);
    inspect_section(report, "tokenizer");
    inspect_put_text(report, "files", files.n_names > 0 ? mlcc_str_text(&names) : NULL);
    if (files.has_tokenizer_json) {
        inspect_put_int(report, "tokens", files.active_vocab);
        inspect_put_text(report, "token_postproc_method", files.info.token_postproc_method);
        inspect_put_bool(report, "prepend_space_in_encode", files.info.prepend_space_in_encode);
        inspect_put_bool(report, "strip_space_in_decode", files.info.strip_space_in_decode);
    }
    inspect_section_end(report);
    mlcc_str_free(&names);
    return NULL;
}

// ---- weights ------------------------------------------------------------------------------------------------

static void put_shards(inspect_report *report, const mlcc_tensor_cache *cache) {
    static const inspect_column columns[] = {{"bytes", true}, {"md5", false}, {"name", false}};
    inspect_table(report, "shards", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < cache->n_shards; i++) {
        inspect_cell_bytes(report, cache->shards[i].size_bytes);
        inspect_cell_text(report, cache->shards[i].md5);
        inspect_cell_text(report, cache->shards[i].name);
    }
    inspect_table_end(report);
}

static void put_records(inspect_report *report, const mlcc_tensor_cache *cache) {
    static const inspect_column columns[] = {{"dtype", false},     {"shape", false},
                                             {"stored_as", false}, {"bytes", true},
                                             {"shard", true},      {"name", false}};
    inspect_table(report, "records", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < cache->n_records; i++) {
        const mlcc_tensor_record *record = &cache->records[i];
        mlcc_str shape = {0};
        mlcc_tensor_shape_text("", record->rank, record->dims, &shape);
        inspect_cell_text(report, record->dtype);
        inspect_cell_text(report, mlcc_str_text(&shape) + 1); // without the space after the dtype
        inspect_cell_text(report, record->is_bf16_halves ? "bf16" : "raw");
        inspect_cell_bytes(report, record->size_bytes);
        inspect_cell_int(report, (int64_t)record->shard);
        inspect_cell_text(report, record->name);
        mlcc_str_free(&shape);
    }
    inspect_table_end(report);
}

static mlcc_status *put_store(inspect_report *report, const char *directory) {
    mlcc_tensor_cache *cache = NULL;
    MLCC_TRY(mlcc_tensor_cache_open(directory, &cache));
    uint64_t stored_bytes = 0;
    char hex[33];
    for (size_t i = 0; i < cache->n_records; i++) stored_bytes += cache->records[i].size_bytes;
    mlcc_hash128_hex(mlcc_tensor_cache_identity(cache), hex);
    inspect_section(report, "weights");
    inspect_put_text(report, "index", cache->path);
    inspect_put_int(report, "n_records", (int64_t)cache->n_records);
    inspect_put_int(report, "n_shards", (int64_t)cache->n_shards);
    inspect_put_bytes(report, "stored_bytes", stored_bytes);
    inspect_put_real(report, "bits_per_weight", cache->bits_per_param);
    inspect_put_text(report, "store_fingerprint", hex);
    put_shards(report, cache);
    put_records(report, cache);
    inspect_section_end(report);
    mlcc_tensor_cache_close(cache);
    return NULL;
}

static bool has_file(const char *directory, const char *name, mlcc_arena *keep) {
    return mlcc_file_exists(mlcc_path_join(keep, directory, name));
}

// The store of a model directory; in a Hugging Face folder the checkpoint.
static mlcc_status *put_weights(inspect_report *report, const char *directory, mlcc_arena *keep) {
    if (store_directory_has_index(directory)) return put_store(report, directory);
    static const char *const checkpoints[] = {
        "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json",
        "pytorch_model.bin"};
    for (size_t i = 0; i < sizeof checkpoints / sizeof checkpoints[0]; i++)
        if (has_file(directory, checkpoints[i], keep)) return inspect_checkpoint(report, directory);
    inspect_put_text(report, "weights", NULL);
    return NULL;
}

mlcc_status *inspect_directory(inspect_report *report, const char *path) {
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = NULL;
    if (has_file(path, "mlc-chat-config.json", keep)) {
        status = put_mlc_config(report, mlcc_path_join(keep, path, "mlc-chat-config.json"), keep);
    } else if (has_file(path, "config.json", keep)) {
        status = put_hf_config(report, path, keep);
    } else {
        status = MLCC_ERROR(
            INVALID,
            "'%s' holds neither mlc-chat-config.json (a model directory) nor config.json (a "
            "Hugging Face folder)",
            path);
    }
    if (status == NULL) status = put_tokenizer(report, path, keep);
    if (status == NULL) status = put_weights(report, path, keep);
    if (status == NULL) {
        const char *library = mlcc_path_join(keep, path, "lib.so");
        if (mlcc_file_exists(library)) {
            status = inspect_library(report, library);
        } else {
            inspect_put_text(report, "library", NULL);
        }
    }
    mlcc_arena_free(keep);
    return status;
}
