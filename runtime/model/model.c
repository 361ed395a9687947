#include "runtime/model/model.h"

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/model/device_sampler.h"
#include "runtime/model/pooling.h"

#include <stdlib.h>
#include <string.h>

static mlcc_status *open_library(mlcc_model *model, const mlcc_model_options *options) {
    const char *path = options->library;
    if (path == NULL) path = mlcc_path_join(model->arena, options->directory, "lib.so");
    if (!mlcc_file_exists(path)) {
        return MLCC_ERROR(
            INVALID,
            "the model library %s does not exist: compile the model (mlcc compile %s -o %s) or "
            "name its library",
            path, options->directory, path);
    }
    MLCC_TRY(mlcc_library_open(path, &model->library));
    MLCC_TRY_NOTE(mlcc_library_check_cpu(&model->library), "opening the model library %s", path);
    MLCC_TRY_NOTE(
        mlcc_forward_bind(model->library.abi, model->arena, &model->forward),
        "opening the model library %s", path);
    const char *metadata = model->library.abi->metadata;
    MLCC_TRY(mlcc_json_parse(metadata, strlen(metadata), path, 0, &model->metadata));
    if (!model->forward.is_encoder) return NULL;
    const mlcc_json_value *own = mlcc_json_get(mlcc_json_root(model->metadata), "mlcc");
    return mlcc_status_note(
        mlcc_json_get_i64(own, "vocab_size", true, 1, INT32_MAX, &model->forward.vocab),
        "reading the metadata of %s", path);
}

// Of an encoder; `root` may say nothing about it.
static mlcc_status *read_embedding_metadata(
    const mlcc_model *model, const mlcc_json_value *root, mlcc_embedding_defaults *out) {
    const mlcc_json_value *value = mlcc_json_get(root, "embedding_metadata");
    if (!model->forward.is_encoder || mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    const char *pooling = NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "'embedding_metadata' is %s; expected an object",
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    MLCC_TRY(mlcc_json_get_text(value, "pooling_strategy", false, &pooling));
    if (pooling != NULL) MLCC_TRY(mlcc_pooling_find(pooling, &out->pooling));
    MLCC_TRY(mlcc_json_get_bool(value, "normalize", false, &out->normalizes));
    return mlcc_json_get_i64(value, "max_sequence_length", false, 1, INT32_MAX, &out->max_tokens);
}

// The context window is the user's to change: mlc-chat-config.json wins over what the library was
// compiled with. An encoder's may only become shorter, for it has a table of positions. What an encoder does with its rows stands there, too.
static mlcc_status *read_chat_config(mlcc_model *model, const char *directory) {
    int64_t *context = &model->info.context_window;
    const mlcc_json_value *metadata = mlcc_json_root(model->metadata);
    *context = -1;
    MLCC_TRY_NOTE(
        mlcc_json_get_i64(metadata, "context_window_size", false, -1, INT32_MAX, context),
        "reading the library's metadata");
    const int64_t compiled_context = *context;
    model->embedding = (mlcc_embedding_defaults){.pooling = MLCC_POOLING_CLS, .normalizes = true};
    MLCC_TRY_NOTE(
        read_embedding_metadata(model, metadata, &model->embedding),
        "reading the library's metadata");
    const char *path = mlcc_path_join(model->arena, directory, "mlc-chat-config.json");
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *config = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 0, &config));
    mlcc_status *status = mlcc_json_get_i64(
        mlcc_json_root(config), "context_window_size", false, -1, INT32_MAX, context);
    if (status == NULL)
        status = read_embedding_metadata(model, mlcc_json_root(config), &model->embedding);
    mlcc_json_free(config);
    const bool is_longer = *context == -1 || *context > compiled_context;
    if (model->forward.is_encoder && is_longer) *context = compiled_context;
    if (status == NULL && *context == 0) {
        status = MLCC_ERROR(
            INVALID, "'context_window_size' is 0; accepted are -1 (no limit) and 1 … %d",
            INT32_MAX);
    }
    return mlcc_status_note(status, "reading %s", path);
}

static void fill_info(mlcc_model *model) {
    mlcc_model_info *info = &model->info;
    const mlcc_forward *forward = &model->forward;
    const mlcc_json_value *metadata = mlcc_json_root(model->metadata);
    const char *model_type = mlcc_json_text(mlcc_json_get(metadata, "model_type"), NULL);
    const char *quantization = mlcc_json_text(mlcc_json_get(metadata, "quantization"), NULL);
    info->model_type = model_type == NULL ? "" : model_type;
    info->quantization = quantization == NULL ? "" : quantization;
    info->target = model->library.abi->target;
    mlcc_str levels = {0};
    mlcc_library_level_names(&model->library, &levels);
    info->cpu_levels = mlcc_arena_strdup(model->arena, mlcc_str_text(&levels));
    mlcc_str_free(&levels);
    info->vocab = forward->vocab;
    info->prefill_chunk = forward->bounds[MLCC_SYMBOL_N_TOKENS];
    info->max_sequences = forward->bounds[MLCC_SYMBOL_N_SEQS];
    info->max_logits_rows = forward->is_encoder ? 0 : forward->bounds[MLCC_SYMBOL_N_LOGITS];
    info->is_encoder = forward->is_encoder;
    info->n_layers = forward->n_layers;
    info->n_kv_heads = forward->n_kv_heads;
    info->head_dim = forward->head_dim;
    info->n_threads = mlcc_pool_size(model->pool);
    info->weight_bytes = model->weights.prepared_bytes;
    info->mapped_weight_bytes = model->weights.mapped_bytes;
    info->kv_bytes_per_token = forward->kv_bytes_per_token;
    info->workspace_bytes = forward->function->workspace_bytes;
    info->from_cache = model->weights.from_cache;
    info->samples_on_device = mlcc_device_sampler_function(model->library.abi) >= 0;
    const mlcc_device_info *device = mlcc_device_get_info(model->device);
    info->device = device->name;
    info->device_description = device->description;
}

// Before the weights are prepared: that takes long, and a device's memory is known now.
static mlcc_status *check_room(const mlcc_model *model) {
    const mlcc_abi_model *abi = model->library.abi;
    const mlcc_memory_item items[] = {
        {"weights", mlcc_weights_bytes(abi), false},
        {"workspace", model->forward.function->workspace_bytes, false},
    };
    return mlcc_device_check_room(
        model->device, items, sizeof items / sizeof items[0],
        "end what else uses the device, or convert the model with a quantization of fewer bits");
}

static mlcc_status *load_weights(mlcc_model *model, const mlcc_model_options *options) {
    const mlcc_abi_model *abi = model->library.abi;
    MLCC_TRY(check_room(model));
    return mlcc_weights_load(abi, options, model->pool, model->device, &model->weights);
}

static mlcc_status *open_model(mlcc_model *model, const mlcc_model_options *options) {
    double start_s = mlcc_clock_s();
    if (options->n_threads < 0) {
        return MLCC_ERROR(
            INVALID, "%d threads are not possible; accepted are 0 (all cores) and more",
            options->n_threads);
    }
    if (options->weights_memory < MLCC_WEIGHTS_AUTO ||
        options->weights_memory > MLCC_WEIGHTS_COPIED) {
        return MLCC_ERROR(
            INVALID, "weights_memory is %d; accepted are %d … %d", (int)options->weights_memory,
            MLCC_WEIGHTS_AUTO, MLCC_WEIGHTS_COPIED);
    }
    if (!mlcc_dir_exists(options->directory)) {
        return MLCC_ERROR(INVALID, "the model directory %s does not exist", options->directory);
    }
    MLCC_TRY(open_library(model, options));
    MLCC_TRY(read_chat_config(model, options->directory));
    MLCC_TRY(mlcc_pool_create(options->n_threads, &model->pool));
    MLCC_TRY(mlcc_device_open(model->library.abi, options->device, model->pool, &model->device));
    MLCC_TRY(load_weights(model, options));
    fill_info(model);
    model->info.load_s = mlcc_clock_s() - start_s;
    return NULL;
}

mlcc_status *mlcc_model_open(const mlcc_model_options *options, mlcc_model **out) {
    *out = NULL;
    if (options == NULL || options->directory == NULL) {
        return MLCC_ERROR(INVALID, "mlcc_model_open needs a model directory");
    }
    mlcc_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return MLCC_ERROR(NO_MEMORY, "%zu bytes for a model cannot be had", sizeof *model);
    model->arena = mlcc_arena_create();
    mlcc_status *status = open_model(model, options);
    if (status != NULL) {
        mlcc_model_close(model);
        return mlcc_status_note(status, "opening the model in %s", options->directory);
    }
    *out = model;
    return NULL;
}

void mlcc_model_close(mlcc_model *model) {
    if (model == NULL) return;
    mlcc_weights_free(&model->weights);
    mlcc_device_close(model->device);
    mlcc_pool_free(model->pool);
    mlcc_json_free(model->metadata);
    mlcc_library_close(&model->library); // after everything that points into it
    mlcc_arena_free(model->arena);
    free(model);
}

void mlcc_model_get_info(const mlcc_model *model, mlcc_model_info *info) {
    *info = model->info;
}

const char *mlcc_model_metadata(const mlcc_model *model) {
    return model->library.abi->metadata;
}
